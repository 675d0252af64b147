// SPDX-License-Identifier: GPL-3.0-only
//! A seeded network with real TCP ends (smoltcp) and the engine in the middle. Everything that happens follows from
//! the [`Scenario`]; a run counts its events, and a server can be crashed at any of them.

mod app;
mod check;
mod host;
mod logger;
pub(crate) mod rng;
mod world;

pub use app::{Request, Script};
pub use rng::Rng;
pub use world::run;

use crate::control::{GroupStatus, OnFull};

/// How a link treats frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Least delay, in microseconds.
    pub delay_us: u64,
    /// Frames lost, in a thousand.
    pub loss: u64,
    /// Frames duplicated, in a thousand.
    pub duplicate: u64,
    /// Frames that are held up and so come out of order, in a thousand.
    pub reorder: u64,
}

impl Link {
    /// A link that loses nothing.
    #[must_use]
    pub const fn clean(delay_us: u64) -> Self {
        Self {
            delay_us,
            loss: 0,
            duplicate: 0,
            reorder: 0,
        }
    }

    const fn keeps_order(&self) -> bool {
        self.reorder == 0 && self.duplicate == 0
    }
}

/// How a server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The machine stops: nothing more comes from it, not even what is on its way.
    Silent,
    /// The process dies: its kernel closes the connections.
    Closes,
    /// The process dies with input unread: its kernel resets the connections.
    Resets,
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

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Of everything left to chance.
    pub seed: u64,
    /// Connections, all with the same script.
    pub connections: usize,
    /// What each client does.
    pub script: Script,
    /// Between clients and engine.
    pub client_link: Link,
    /// Between engine and servers.
    pub server_link: Link,
    /// The servers' deaths, in order; there is a standby for each.
    pub crashes: Vec<Crash>,
    /// Before these events of the run (ascending) the logger's process ends and another goes on in its place.
    pub restarts: Vec<u64>,
    /// The ends use timestamps.
    pub timestamps: bool,
    /// Bytes of socket buffers at clients and at each server in turn (more than 64 KiB needs window scaling).
    pub client_buffer: usize,
    /// See `client_buffer`; the last holds for all further servers.
    pub server_buffers: Vec<usize>,
    /// The standbys' output differs from this byte on.
    pub lie_at: Option<usize>,
    /// Protect the service at all.
    pub protect: bool,
    /// The service's plug-in.
    pub kind: &'static str,
    /// Most client bytes logged for one connection.
    pub buffer_bytes: u32,
    /// After so long a silence the logger puts a connection to sleep, in microseconds.
    pub doze_us: u64,
    /// What a full buffer does.
    pub on_full: OnFull,
    /// With a fast path whose records may take so many bytes.
    pub shortcut: Option<usize>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            connections: 1,
            script: Script {
                requests: vec![Request {
                    upload: 3000,
                    download: 40 * 1024,
                }],
                chunk: 1000,
                half_close: false,
            },
            client_link: Link::clean(1000),
            server_link: Link::clean(50),
            crashes: Vec::new(),
            restarts: Vec::new(),
            timestamps: true,
            client_buffer: 16 * 1024,
            server_buffers: vec![16 * 1024],
            lie_at: None,
            protect: true,
            kind: "opaque",
            buffer_bytes: 1 << 20,
            doze_us: 5_000_000,
            on_full: OnFull::Unprotect,
            shortcut: None,
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
    /// What must not happen and did.
    pub violations: Vec<String>,
    /// The engine's last word.
    pub status: GroupStatus,
    /// The engine's log.
    pub log: Vec<String>,
    /// Simulated time, in microseconds.
    pub took_us: u64,
}

#[cfg(test)]
mod linked;
#[cfg(test)]
mod tests;
