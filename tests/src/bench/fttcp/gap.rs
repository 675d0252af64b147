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

/// How a file is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) enum Asks<'a> {
    /// With these bytes, at port 80.
    Http(&'a str),
    /// `file` by FTP, in passive mode.
    Ftp,
}

/// A download: the connection on which the file comes, and the one on which it was asked for, if that is another.
struct Download {
    file: Connection,
    control: Option<Connection>,
}

impl Asks<'_> {
    fn begin(self, topology: &Topology) -> Result<Download, String> {
        let narrow = |connection: &Connection| {
            set_socket_recv_buffer_size(connection.stream(), WINDOW)
                .map_err(|error| format!("cannot set the client's window: {error}"))
        };
        match self {
            Self::Http(request) => {
                let mut file = Connection::open(topology.client(), 80)?;
                narrow(&file)?;
                file.send(request.as_bytes())?;
                Ok(Download {
                    file,
                    control: None,
                })
            }
            Self::Ftp => {
                let mut control = Connection::open(topology.client(), 21)?;
                expect(&mut control, "220")?;
                let mut port = 0;
                for (command, reply) in [
                    ("USER anonymous", "230"),
                    ("TYPE I", "200"),
                    ("PASV", "227"),
                ] {
                    control.send(format!("{command}\r\n").as_bytes())?;
                    let said = expect(&mut control, reply)?;
                    port = passive_port(&said).unwrap_or(port);
                }
                let file = Connection::open(topology.client(), port)?;
                narrow(&file)?;
                control.send(b"RETR file\r\n")?;
                expect(&mut control, "150")?;
                Ok(Download {
                    file,
                    control: Some(control),
                })
            }
        }
    }
}

/// The control connection's next line, which must begin so.
fn expect(control: &mut Connection, reply: &str) -> Result<String, String> {
    let said = control.line()?;
    if said.starts_with(reply) {
        Ok(said)
    } else {
        Err(format!("the server said {said:?}, not {reply}"))
    }
}

/// The port of a reply to PASV (RFC 959 section 4.1.2).
fn passive_port(said: &str) -> Option<u16> {
    let (_, rest) = said.strip_prefix("227")?.split_once('(')?;
    let mut numbers = rest.split([',', ')']).skip(4);
    let mut next = || numbers.next()?.parse::<u8>().ok();
    Some(u16::from_be_bytes([next()?, next()?]))
}

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
    let gaps = pauses(&mut topology, Asks::Http(FILE_REQUEST), plan.failovers)?;
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

/// Lets the active server die in the middle of a download, so many times. `asks`: for a file of [`FILE`] bytes.
pub(in crate::bench) fn pauses(
    topology: &mut Topology,
    asks: Asks<'_>,
    failovers: usize,
) -> Result<Vec<Gap>, String> {
    let mut random = Random::new(1);
    let mut gaps = Vec::new();
    for _ in 0..failovers {
        let kill_at = FILE / 8 + random.below(FILE as u64 / 4) as usize;
        gaps.push(once(topology, asks, FILE, kill_at)?);
        // Or the next failover would have to move this connection too.
        topology.wait_idle()?;
        topology.renew_standby()?;
    }
    Ok(gaps)
}

/// One failover when the client has `kill_at` bytes of a file of `bytes`, for which it `asks`.
pub(in crate::bench) fn once(
    topology: &Topology,
    asks: Asks<'_>,
    bytes: usize,
    kill_at: usize,
) -> Result<Gap, String> {
    let mut victim = Some(topology.victim()?);
    let mut teller: Option<JoinHandle<Result<Told, String>>> = None;
    let mut download = asks.begin(topology)?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut received, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    // The head is a part of what is received; the file's last byte is past its length.
    while received < bytes {
        let count = download.file.stream().read(&mut buffer);
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
    if let Some(control) = &mut download.control {
        expect(control, "226")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_port_is_the_last_two_numbers() {
        let said = "227 Entering Passive Mode (10,77,0,2,19,137).";
        assert_eq!(passive_port(said), Some(5001));
        assert_eq!(passive_port("227 (10,77,0,2,300,1)"), None);
        assert_eq!(passive_port("200 ok"), None);
    }
}
