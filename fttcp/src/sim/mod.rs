// SPDX-License-Identifier: GPL-3.0-only
//! A seeded network with real TCP ends and the engine in the middle. Everything that happens follows from the
//! [`Scenario`]; a run counts its events, and a server can be crashed, and the logger restarted, at any of them.
//!
//! * `world`: the event loop. `faults`: crashes, restarts, standbys that join.
//! * `logger`: the engine's process. `path`: the data path below it, with or without a fast path.
//! * `end`: a host; `smol`: with smoltcp, `peer`: with a TCP of our own and odd habits. `app`: what runs on them;
//!   `ranges`: of its answers, which part is asked for.
//! * `link`: loss, duplication, reordering, corruption, darkness, narrow ways.
//! * `check`, `truth`: what must hold, seen from outside the engine.

mod app;
mod check;
mod end;
mod faults;
mod frames;
mod host;
mod link;
mod logger;
mod path;
mod peer;
mod ranges;
pub(crate) mod rng;
mod smol;
mod spill;
mod truth;
mod world;

pub use app::{Closing, Request, Script, Slow};
pub use link::{Dark, Link, Narrow, Wire};
pub use peer::Habits;
pub use ranges::Ranges;
pub use rng::Rng;
pub use spill::{MemorySpill, SpillPlan};
pub use world::{run, run_with};

use crate::control::{GroupStatus, OnFull};

/// How a server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The machine stops: nothing more comes from it, not even what is on its way.
    Silent,
    /// The process dies: its kernel closes the connections.
    Closes,
    /// The process dies with input unread: its kernel resets the connections.
    Resets,
    /// The process hangs: its kernel goes on acknowledging. So is a server that is replaced while it runs.
    Hangs,
}

/// A server's death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Before this event of the run (counted from 0).
    pub at_event: u64,
    /// How.
    pub death: Death,
    /// How long until the engine is told, in microseconds.
    pub detect_us: u64,
}

/// A planned move to another living server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradePlan {
    /// Begins before this event of the run.
    pub at_event: u64,
    /// After so long what is left is replayed, in microseconds.
    pub drain_us: u64,
    /// It is rolled back before this event.
    pub rollback_at: Option<u64>,
    /// It is finished before this event.
    pub finish_at: Option<u64>,
    /// The crashes are first of the new server, then of the old one; else the other way round.
    pub new_dies: bool,
}

/// Which TCP an end has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// smoltcp's.
    Smoltcp,
    /// The scripted one, with its [`Habits`].
    Scripted,
}

/// A host at an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndSpec {
    /// Its TCP.
    pub stack: Stack,
    /// Bytes of each socket's buffers (more than 64 KiB needs window scaling).
    pub buffer: usize,
    /// Uses timestamps.
    pub timestamps: bool,
    /// Longest IP packet on its own link, in bytes; from it follows the segment size that it offers.
    pub mtu: u16,
    /// Of a scripted end.
    pub habits: Habits,
}

impl EndSpec {
    /// A usual host with this TCP.
    #[must_use]
    pub fn new(stack: Stack) -> Self {
        Self {
            stack,
            buffer: 16 * 1024,
            timestamps: true,
            mtu: 1500,
            habits: Habits::default(),
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Of everything left to chance.
    pub seed: u64,
    /// Connections, all with the same script.
    pub connections: usize,
    /// What each client does.
    pub script: Script,
    /// Between clients and logger.
    pub client_link: Wire,
    /// Between logger and servers.
    pub server_link: Wire,
    /// The servers' deaths, in order of taking over.
    pub crashes: Vec<Crash>,
    /// A planned move, for which there is one standby more.
    pub upgrade: Option<UpgradePlan>,
    /// Before these events of the run (ascending) the logger's process ends and another goes on in its place.
    pub restarts: Vec<u64>,
    /// What goes over to the next process is what stands in the journal, as after a kill; else an image is taken.
    pub journal: bool,
    /// A dead server is made anew and joins as the last standby so long after it was given up, in microseconds; there
    /// is one standby at first. `None`: there is a standby for each crash.
    pub rejoin_us: Option<u64>,
    /// The clients' host.
    pub client: EndSpec,
    /// The servers, in order of their beginning; the last holds for all further.
    pub servers: Vec<EndSpec>,
    /// IPv6, between scripted ends only.
    pub v6: bool,
    /// The standbys' output differs from this byte on.
    pub lie_at: Option<usize>,
    /// Connections may end before their clients have everything.
    pub may_end: bool,
    /// Protect the service at all.
    pub protect: bool,
    /// The service's plug-in.
    pub kind: &'static str,
    /// Most client bytes logged for one connection.
    pub buffer_bytes: u32,
    /// Most memory for the bytes that all connections keep.
    pub memory_bytes: u64,
    /// Where more of it goes.
    pub spill: Option<SpillPlan>,
    /// After so long a silence the logger puts a connection to sleep, in microseconds.
    pub doze_us: u64,
    /// What a full buffer does.
    pub on_full: OnFull,
    /// After how many deaths a request is suspected; 0: never.
    pub poison_deaths: u8,
    /// With a fast path whose records may take so many bytes.
    pub shortcut: Option<usize>,
    /// Writes every frame that enters or leaves the logger into the log.
    pub trace: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            connections: 1,
            script: Script {
                requests: vec![Request::new(3000, 40 * 1024)],
                chunk: 1000,
                closing: Closing::Client,
                reads: None,
                server_reads: None,
                ranges: Ranges::Unknown,
                method: "GET",
            },
            client_link: Wire::clean(1000),
            server_link: Wire::clean(50),
            crashes: Vec::new(),
            upgrade: None,
            restarts: Vec::new(),
            journal: false,
            rejoin_us: None,
            client: EndSpec::new(Stack::Smoltcp),
            servers: vec![EndSpec::new(Stack::Smoltcp)],
            v6: false,
            lie_at: None,
            may_end: false,
            protect: true,
            kind: "opaque",
            buffer_bytes: 1 << 20,
            memory_bytes: 256 << 20,
            spill: None,
            doze_us: 5_000_000,
            on_full: OnFull::Unprotect,
            poison_deaths: 0,
            shortcut: None,
            trace: false,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Events that happened.
    pub events: u64,
    /// What each client received.
    pub streams: Vec<Vec<u8>>,
    /// How many clients got all they asked for and closed in the ordinary way.
    pub complete: usize,
    /// The run ended because an end did not retransmit what it must: a defect of smoltcp, not of the engine.
    pub end_stalled: bool,
    /// Where a date's beginning may be one server's and its end another's: see `check`.
    pub cuts: Vec<usize>,
    /// What must not happen and did.
    pub violations: Vec<String>,
    /// How many servers were started.
    pub servers: usize,
    /// How many requests they have carried out.
    pub carried_out: u64,
    /// The engine's last word.
    pub status: GroupStatus,
    /// The engine's log.
    pub log: Vec<String>,
    /// Simulated time, in microseconds.
    pub took_us: u64,
}

impl Outcome {
    /// What is wrong, of all that the fault-free run would have done: no violation, every client done, every stream the
    /// same. `Ok(false)`: an end's defect cut the run short.
    ///
    /// # Errors
    /// What is wrong, one entry each.
    pub fn judge(&self, scenario: &Scenario) -> Result<bool, Vec<String>> {
        let mut wrong = self.violations.clone();
        if self.end_stalled && wrong.is_empty() {
            return Ok(false);
        }
        if self.complete != scenario.connections {
            let (done, all) = (self.complete, scenario.connections);
            wrong.push(format!("{done} of {all} clients done"));
        }
        let truth = truth::Truth::new(&scenario.script);
        for stream in &self.streams {
            wrong.extend(truth.compare(stream, self.servers, &self.cuts).err());
        }
        if wrong.is_empty() {
            Ok(true)
        } else {
            Err(wrong)
        }
    }
}

#[cfg(test)]
mod linked;
#[cfg(test)]
mod tests;
