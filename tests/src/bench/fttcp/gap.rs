// SPDX-License-Identifier: GPL-3.0-only
//! How long a client gets no byte when its server is killed: one download at a time.
//!
//! The client's line is slow beside the servers', as lines are, and short: with the client's small window no more than
//! 4 ms of bytes wait behind the logger, so that the queue does not hide the pause.

use std::io::Read;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::plan::Plan;
use crate::bench::{Gate, Row};
use crate::netns::http::Connection;
use crate::netns::random::Random;
use crate::netns::topology::{Middle, Topology};
use crate::netns::victim::Told;

/// Size of the file. The server may be a whole window ahead of the client, and must not have sent it all.
pub(in crate::bench) const FILE: usize = 16 << 20;
/// What asks a web server for it.
pub(in crate::bench) const FILE_REQUEST: &str = "GET /file HTTP/1.1\r\nHost: web\r\n\r\n";
/// The client's line in Mbit/s: at this rate bytes arrive in bursts far shorter than a pause.
pub(in crate::bench) const LINE: u32 = 500;
/// The client's window in bytes, about.
const WINDOW: usize = 128 << 10;

/// One failover.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Gap {
    /// The longest pause between two reads of the client that ends after the crash.
    pub(in crate::bench) client_ms: f64,
    /// From the logger's being told to the first byte that is new to the client.
    pub(in crate::bench) logger_ms: f64,
}

/// Kills the server again and again in the middle of a download. The data path is the default one.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Row>, String> {
    let mut topology = Topology::new(Middle::Protected)?;
    topology.put("file", &Random::new(1).bytes(FILE))?;
    topology.serve()?;
    topology.shape(LINE)?;
    let gaps = pauses(&mut topology, FILE_REQUEST, plan.failovers)?;
    let clients: Vec<f64> = gaps.iter().map(|gap| gap.client_ms).collect();
    let loggers: Vec<f64> = gaps.iter().map(|gap| gap.logger_ms).collect();
    let row = |figure: &str, percent, runs: &[f64]| Row::percentile(figure, "ms", percent, runs);
    let mut reference = Row::new(
        "reference, not run here: planned move by CRIU, p50",
        "ms",
        "-",
        crate::bench::Runs::default(),
    );
    // Measured once, on a machine on which CRIU works; Debian's 3.17 cannot dump on newer kernels.
    reference.peer = Some(101.0);
    reference.peer_name = "CRIU".to_owned();
    Ok(vec![
        row("pause at failover, 1 download, p50", 50.0, &clients).gated(Gate::AtMost(20.0)),
        row("pause at failover, 1 download, p99", 99.0, &clients).gated(Gate::AtMost(100.0)),
        row("of it, logger told to first new byte, p50", 50.0, &loggers),
        reference,
    ])
}

/// Lets the active server die in the middle of a download, so many times. `request` asks for a file of [`FILE`] bytes.
pub(in crate::bench) fn pauses(
    topology: &mut Topology,
    request: &str,
    failovers: usize,
) -> Result<Vec<Gap>, String> {
    let mut random = Random::new(1);
    let mut gaps = Vec::new();
    for _ in 0..failovers {
        let kill_at = FILE / 8 + random.below(FILE as u64 / 4) as usize;
        gaps.push(once(topology, request, FILE, kill_at)?);
        // Or the next failover would have to move this connection too.
        topology.wait_idle()?;
        topology.renew_standby()?;
    }
    Ok(gaps)
}

/// One failover when the client has `kill_at` bytes of a file of `bytes`, for which `request` asks.
pub(in crate::bench) fn once(
    topology: &Topology,
    request: &str,
    bytes: usize,
    kill_at: usize,
) -> Result<Gap, String> {
    let mut victim = Some(topology.victim()?);
    let mut teller: Option<JoinHandle<Result<Told, String>>> = None;
    let mut connection = Connection::open(topology.client(), 80)?;
    set_socket_recv_buffer_size(connection.stream(), WINDOW)
        .map_err(|error| format!("cannot set the client's window: {error}"))?;
    connection.send(request.as_bytes())?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut received, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    // The head is a part of what is received; the file's last byte is past its length.
    while received < bytes {
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
