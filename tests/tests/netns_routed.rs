// SPDX-License-Identifier: GPL-3.0-only
//! Clients behind a real router: its ICMP errors reach the kernel whose segments they quote, and its fragments come
//! together, also after the connection was moved.

use std::error::Error;

use rxl_tests::demo::client;
use rxl_tests::netns::demo::Served;
use rxl_tests::netns::far::{FAR, FAR6, Far, counter};
use rxl_tests::netns::http::{Connection, curl};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::space::Space;
use rxl_tests::netns::topology::{GROUP, Middle, SERVER, SERVER6, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// Size of the file: most of it is still to come when a client that was not read for a while has a third.
const FILE: u64 = 48 << 20;
/// The least that IPv6 allows (RFC 8200 section 5), and below what the ends take each other to have.
const NARROW: u32 = 1280;

/// When the line to the client becomes narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Narrow {
    /// The dead server has learned it; its replacement is told by the MSS in its handshake.
    BeforeTheCrash,
    /// The replacement is told about segments that the client knows by other numbers.
    AfterTheMove,
}

#[test]
fn path_that_becomes_narrow_after_the_move_is_found() -> Outcome {
    narrow_path_is_found(Narrow::AfterTheMove, false)
}

#[test]
fn path_that_becomes_narrow_after_the_move_is_found_by_ipv6() -> Outcome {
    narrow_path_is_found(Narrow::AfterTheMove, true)
}

#[test]
fn path_that_was_narrow_before_the_crash_is_found_again() -> Outcome {
    narrow_path_is_found(Narrow::BeforeTheCrash, false)
}

#[test]
fn path_that_was_narrow_before_the_crash_is_found_again_by_ipv6() -> Outcome {
    narrow_path_is_found(Narrow::BeforeTheCrash, true)
}

fn narrow_path_is_found(narrow: Narrow, v6: bool) -> Outcome {
    let mut topology = Topology::new(Middle::Protected)?;
    let far = Far::behind(&topology)?;
    let file = Served::new(&topology, "file", FILE, 21)?;
    topology.serve()?;
    topology.shape(800)?;
    let mut download = file.download(&topology, Some(FILE / 3));
    download.curl = curl(far.space(), &[], &[&file.name]);
    if v6 {
        let address = download.curl.last_mut().ok_or("no address")?;
        *address = format!("http://[{SERVER6}]/{}", file.name);
    }
    if narrow == Narrow::BeforeTheCrash {
        Far::narrow_towards(&topology, NARROW)?;
    }

    let errors = || {
        let name = if v6 {
            "Ip6InTooBigErrors"
        } else {
            "IpFragFails"
        };
        counter(topology.client(), name)
    };
    let mut before = 0;

    let (run, _) = client::run(&download, &mut || {
        if narrow == Narrow::BeforeTheCrash {
            learned(topology.servers()[0], v6)?;
        }
        before = errors()?;
        let teller = topology.victim()?.kill()?;
        teller
            .join()
            .map_err(|_| "the watching thread panicked")??;
        topology.wait_moved()?;
        if narrow == Narrow::AfterTheMove {
            Far::narrow_towards(&topology, NARROW)?;
        }
        Ok(String::new())
    })?;

    let counters = topology.logger()?.status(GROUP)?.counters;
    let log = topology.logger()?.log();
    assert_eq!((run.curl_exit, run.sha256_ok), (0, true), "{log}");
    assert_eq!(
        (counters.recovered, counters.diverged, counters.lost),
        (1, 0, 0)
    );
    let replacement = topology.servers()[1];
    let since = errors()? - before;
    match narrow {
        Narrow::BeforeTheCrash => assert_eq!((before > 0, since), (true, 0)),
        Narrow::AfterTheMove => {
            assert!(since > 0);
            learned(replacement, v6)?;
        }
    }
    // Its kernel throws away errors about what it has not sent (RFC 5927 section 4.1).
    let refused = counter(replacement, "TcpExtOutOfWindowIcmps")?;
    assert_eq!(refused, 0, "{counters:?}\n{log}");
    Ok(())
}

/// Whether a server was told how narrow the path is.
fn learned(server: &Space, v6: bool) -> Result<(), String> {
    let (family, to) = if v6 { ("-6", FAR6) } else { ("-4", FAR) };
    let route = server.ip(&[family, "route", "get", to])?;
    if route.contains(&format!("mtu {NARROW}")) {
        Ok(())
    } else {
        Err(format!("{} was not told: {route}", server.name()))
    }
}

#[test]
fn upload_in_fragments_survives_kill() -> Outcome {
    let mut topology = Topology::build(Layout {
        nginx: "dav_methods PUT; client_max_body_size 0;",
        ..Layout::default()
    })?;
    let far = Far::behind(&topology)?;
    far.cut_from_here(&topology, 1000)?;
    topology.serve()?;
    let body = Random::new(23).bytes(6 << 20);
    let half = body.len() / 2;

    let mut connection = Connection::open(far.space(), 80)?;
    let head = format!(
        "PUT /in HTTP/1.1\r\nHost: {SERVER}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes())?;
    connection.send(&body[..half])?;
    topology.wait_logged(half as u64 / 2)?;
    let teller = topology.victim()?.kill()?;
    teller
        .join()
        .map_err(|_| "the watching thread panicked")??;
    connection.send(&body[half..])?;
    let answer = connection.answer()?;

    let counters = topology.wait_moved()?.counters;
    let log = topology.logger()?.log();
    assert!((200..300).contains(&answer.status), "{answer:?}\n{log}");
    let stored = std::fs::read(topology.folder().join("files/in"))?;
    assert!(stored == body, "the file on disk is another\n{log}");
    assert_eq!(
        (counters.recovered, counters.diverged, counters.lost),
        (1, 0, 0)
    );
    assert_eq!(counters.fragments_dropped, 0, "{counters:?}");
    let cut = counter(topology.client(), "IpFragOKs")?;
    let segments = body.len() as u64 / 1460;
    assert!(cut >= segments, "{cut} packets were cut, not {segments}");
    Ok(())
}
