// SPDX-License-Identifier: GPL-3.0-only
//! An upload that is much longer than the logger's memory for it: what does not fit is in a file, and a replacement gets
//! all of it.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::storm::PORT;
use rxl_tests::netns::storm::protocol::Ask;
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};
use rxl_tests::netns::victim::End;
use sha2::{Digest, Sha256};

type Outcome = Result<(), Box<dyn Error>>;

/// Size of the upload; the server ends in its middle.
const UPLOAD: usize = 64 << 20;
/// What the logger may keep of it in memory.
const BUFFER: u32 = 1 << 20;

/// Says the upload; after its half tells of it, and waits for the word to go on. The server's digest of all of it.
fn upload(
    bytes: &[u8],
    half: &mpsc::Sender<()>,
    go_on: &mpsc::Receiver<()>,
) -> Result<[u8; 32], Box<dyn Error + Send + Sync>> {
    let mut stream = TcpStream::connect((SERVER, PORT))?;
    let ask = Ask::Upload {
        bytes: u32::try_from(bytes.len())?,
        pause_ms: 0,
    };
    stream.write_all(&ask.encode())?;
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    stream.write_all(first)?;
    half.send(())?;
    go_on.recv()?;
    stream.write_all(rest)?;
    let mut digest = [0; 32];
    stream.read_exact(&mut digest)?;
    Ok(digest)
}

#[test]
fn upload_longer_than_the_memory_for_it_is_moved_whole() -> Outcome {
    let mut random = Random::announced("upload_longer_than_the_memory_for_it_is_moved_whole");
    let bytes = random.bytes(UPLOAD);
    let sent: [u8; 32] = Sha256::digest(&bytes).into();
    let service = ServiceSpec {
        buffer_bytes: BUFFER,
        spill_bytes: 2 * UPLOAD as u64,
        ..ServiceSpec::new(PORT, "opaque")
    };
    let folder = std::env::temp_dir();
    let mut topology = Topology::build(Layout {
        storm: Some(env!("CARGO_BIN_EXE_storm-server").into()),
        group: Some(GroupSpec {
            services: vec![service],
            ..GroupSpec::default()
        }),
        logger: vec!["--spill".to_owned(), folder.display().to_string()],
        ..Layout::default()
    })?;
    topology.serve()?;
    let (half, at_half) = mpsc::channel();
    let (go, go_on) = mpsc::channel();
    let client = topology
        .client()
        .spawn(move || upload(&bytes, &half, &go_on).map_err(|error| error.to_string()))?;
    at_half.recv()?;
    topology.wait_logged(UPLOAD as u64 / 3)?;
    let before = topology.logger()?.totals(GROUP)?.counters;

    topology.end(End::Killed)?;
    go.send(())?;
    let digest = client.join().map_err(|_| "the client panicked")???;

    let after = topology.wait_moved()?.counters;
    println!("at the failover: {before:?}");
    assert_eq!(digest, sent);
    assert!(before.spilled_bytes > UPLOAD as u64 / 4, "{before:?}");
    assert!(before.memory_bytes <= u64::from(BUFFER), "{before:?}");
    assert_eq!((after.recovered, after.lost), (1, 0), "{after:?}");
    assert_eq!((after.spill_full, after.spill_unreadable), (0, 0));
    Ok(())
}
