// SPDX-License-Identifier: GPL-3.0-only
//! The demo without Xen: a download goes on while its web server is killed.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::http::curl;
use super::random::Random;
use super::topology::{Middle, Topology};
use super::victim::Told;
use crate::demo::DemoRun;
use crate::demo::client::{self, Download};

/// What is downloaded, how fast, and when the server dies.
#[derive(Clone, Copy, Debug)]
pub struct NetnsDemo {
    /// Whether the connections are protected; `false` is the control run.
    pub protected: bool,
    /// Size of the file.
    pub file_bytes: u64,
    /// The client's line, in Mbit/s.
    pub megabits: u32,
    /// The server is killed when the client has this part of the file, in percent.
    pub crash_percent: u64,
    /// What the file's random bytes come from.
    pub seed: u64,
}

impl Default for NetnsDemo {
    /// A protected download of about two seconds, killed at 40 %.
    fn default() -> Self {
        Self {
            protected: true,
            file_bytes: 64 << 20,
            megabits: 300,
            crash_percent: 40,
            seed: 1,
        }
    }
}

/// A file that is served: what a client must get.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its sha256, in lower-case hexadecimal.
    pub sha256: String,
}

impl Served {
    /// Writes a file of random bytes for both servers of `topology`.
    ///
    /// # Errors
    /// It could not be written.
    pub fn new(topology: &Topology, name: &str, bytes: u64, seed: u64) -> Result<Self, String> {
        let length = usize::try_from(bytes).map_err(|error| error.to_string())?;
        let content = Random::new(seed).bytes(length);
        topology.put(name, &content)?;
        Ok(Self {
            name: name.to_owned(),
            bytes,
            sha256: hex(&Sha256::digest(&content)),
        })
    }

    /// The download of this file by curl, with a crash when the client has `crash_at_bytes`.
    #[must_use]
    pub fn download(&self, topology: &Topology, crash_at_bytes: Option<u64>) -> Download {
        Download {
            curl: curl(topology.client(), &[], &[&self.name]),
            file_bytes: self.bytes,
            sha256: self.sha256.clone(),
            crash_at_bytes,
            patience: Duration::from_secs(20),
        }
    }
}

/// Bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs it once, with everything made for it and removed after it.
///
/// # Errors
/// Something could not be made or started. A download that fails is no error; the result tells of it.
pub fn run(demo: &NetnsDemo) -> Result<DemoRun, String> {
    let middle = if demo.protected {
        Middle::Protected
    } else {
        Middle::Forwarded
    };
    let mut topology = Topology::new(middle)?;
    let file = Served::new(&topology, "file", demo.file_bytes, demo.seed)?;
    topology.serve()?;
    topology.shape(demo.megabits)?;

    let mut victim = Some(topology.victim()?);
    let mut teller: Option<(Instant, JoinHandle<Result<Told, String>>)> = None;
    let crash_at = demo.file_bytes * demo.crash_percent / 100;
    let (mut run, _) = client::run(&file.download(&topology, Some(crash_at)), &mut || {
        let victim = victim.take().ok_or("the server was killed already")?;
        teller = Some((Instant::now(), victim.kill()?));
        Ok("kill -9 of the active nginx".to_owned())
    })?;
    run.title = if demo.protected {
        "with FT-TCP"
    } else {
        "control"
    }
    .to_owned();
    run.protected = demo.protected;
    let (killed, teller) = teller.ok_or("the server was never killed")?;
    let told = teller
        .join()
        .map_err(|_| "the watching thread panicked")??;
    let detected = run.crash_at + told.seen.duration_since(killed).as_secs_f64();
    run.mark(
        detected,
        "detection",
        "the process's end was seen, the logger is told",
    );
    if demo.protected {
        run.failover = topology.wait_moved()?.failover;
        mark_failover(&mut run, detected);
    }
    Ok(run)
}

/// Puts what the logger says of its failover on the run's timeline. The logger counts from when it was told.
fn mark_failover(run: &mut DemoRun, told: f64) {
    let Some(failover) = run.failover.clone() else {
        return;
    };
    let at = |us: u64| told + us as f64 / 1e6;
    if let Some(us) = failover.first_handshake_us {
        run.mark(
            at(us),
            "handshake",
            "the standby answered the fabricated SYN",
        );
    }
    if let Some(us) = failover.done_us {
        let detail = format!(
            "{} moved, {} bytes replayed, {} discarded",
            failover.recovered, failover.replayed_bytes, failover.discarded_bytes
        );
        run.mark(at(us), "hand-over", detail);
    }
    if let Some(us) = failover.first_new_byte_us {
        run.mark(at(us), "first new client byte", "left the logger");
    }
}
