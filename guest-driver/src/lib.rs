// SPDX-License-Identifier: GPL-3.0-only
//! The agent in a service VM, `rxl-guest`: says that it lives and that its service answers, and carries out Dom0's
//! orders. It talks through xenstore only, never through the network.
//!
//! Who lives here: `agent` (what to do at each event, sans-IO), `driver` (carries its actions out on a xenstore), `jobs`
//! (the orders' work, each in a thread of its own, so that a slow disk does not stop the heartbeat), `probe` (does the
//! service answer?), `mounts` and `memory` (what the kernel tells), `wrap` (memory for a wrapped program's record, in a thread
//! of its own), `commit` (brings data to disk when the logger asks, in another), `grants` (what both share with the logger's
//! domain), `run` (the loop that waits).
//! The words that both ends use are in `toolstack::guest`.
#![deny(unsafe_code)]

pub mod agent;
pub mod commit;
pub mod driver;
mod grants;
pub mod jobs;
pub mod memory;
pub mod mounts;
pub mod probe;
mod run;
pub mod wrap;

pub use run::{Options, check, run, serve_commits};

/// Version that the agent publishes.
pub const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// One line for people, on standard error.
fn say(line: &str) {
    eprintln!("rxl-guest: {line}");
}
