// SPDX-License-Identifier: GPL-3.0-only
//! How long a client gets no byte when its server is killed.

use std::io::Read;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::netns::http::Connection;
use crate::netns::random::Random;
use crate::netns::topology::{Middle, Topology};
use crate::netns::victim::Told;

/// Size of the file. The server may be a whole window ahead of the client, and must not have sent it all.
const FILE: usize = 16 << 20;
/// The client's line in Mbit/s: at this rate bytes arrive in bursts far shorter than a pause.
const LINE: u32 = 500;

/// One failover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// The longest pause between two reads of the client that ends after the crash.
    pub(super) client_ms: f64,
    /// From the logger's being told to the first byte that is new to the client.
    pub(super) logger_ms: f64,
}

/// Kills the server `count` times in the middle of a download.
pub(super) fn measure(count: usize) -> Result<Vec<Gap>, String> {
    let mut random = Random::new(1);
    let mut topology = Topology::new(Middle::Protected)?;
    topology.put("file", &random.bytes(FILE))?;
    topology.serve()?;
    topology.shape(LINE)?;
    let mut gaps = Vec::new();
    for _ in 0..count {
        let kill_at = FILE / 8 + random.below(FILE as u64 / 4) as usize;
        gaps.push(once(&topology, kill_at)?);
        // Or the next failover would have to move this connection too.
        topology.wait_idle()?;
        topology.renew_standby()?;
    }
    Ok(gaps)
}

fn once(topology: &Topology, kill_at: usize) -> Result<Gap, String> {
    let mut victim = Some(topology.victim()?);
    let mut teller: Option<JoinHandle<Result<Told, String>>> = None;
    let mut connection = Connection::open(topology.client(), 80)?;
    connection.ask("file", &[])?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut received, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    // The head is a part of what is received; the file's last byte is past its length.
    while received < FILE {
        let count = connection.stream().read(&mut buffer);
        let count = count.map_err(|error| format!("the download broke off: {error}"))?;
        if count == 0 {
            return Err(format!("the download ended after {received} bytes"));
        }
        let now = Instant::now();
        if teller.is_some() {
            longest = longest.max(now - last);
        }
        (received, last) = (received + count, now);
        if received >= kill_at
            && let Some(victim) = victim.take()
        {
            teller = Some(victim.kill()?);
        }
    }
    let teller = teller.ok_or("the server was never killed")?;
    teller
        .join()
        .map_err(|_| "the watching thread panicked")??;
    let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
    let first = failover.first_new_byte_us.ok_or("no new byte was sent")?;
    Ok(Gap {
        client_ms: longest.as_secs_f64() * 1e3,
        logger_ms: first as f64 / 1e3,
    })
}
