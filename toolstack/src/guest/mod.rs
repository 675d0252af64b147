// SPDX-License-Identifier: GPL-3.0-only
//! The agent in a guest, `rxl-guest`, as both ends see it: its nodes in xenstore, its orders and answers.
//!
//! Who lives here: the names of the nodes; `proto` (orders and answers as text); `ask` (Dom0's end). The agent itself is the
//! crate `rxl-guest`, which uses the names and `proto`. Who may call in: `cli`, `supervise`, `rxl-guest`.
//!
//! All nodes are relative to the domain's directory. Those below `data/rxl` are the guest's: what stands there is not to
//! be trusted to make sense.

#[cfg(feature = "host")]
mod ask;
mod proto;

#[cfg(feature = "host")]
pub use ask::{Pulse, ask, clock, pulse, seed};
pub use proto::{Answer, Malformed, Order, Seed, Verb, mount_word};

/// The agent's version; there as long as it runs and can say so.
pub const VERSION: &str = "data/rxl/version";
/// A decimal number that grows by one with every interval: the agent lives, so its kernel does.
pub const HEARTBEAT: &str = "data/rxl/heartbeat";
/// A decimal number that grows while the probe finds the service answering; a service that hangs stops it.
pub const PROGRESS: &str = "data/rxl/progress";
/// The heartbeat's interval in ms.
pub const INTERVAL: &str = "data/rxl/interval-ms";
/// The probe behind [`PROGRESS`], as it was configured.
pub const PROBE: &str = "data/rxl/probe";
/// The mounts that are frozen, or being frozen; absent otherwise. While it is there, [`PROGRESS`] says nothing: a service
/// that waits for its disk does not hang.
pub const FROZEN: &str = "data/rxl/frozen";
/// The agent's answer to its last order, an [`Answer`].
pub const ANSWER: &str = "data/rxl/answer";
/// Where the record of the guest's north side wrap is, `GREF PORT` in decimal: its grant of the directory's first page, and its
/// event channel port. There while the guest has one; the domain that serves its network interface may read it.
pub const WRAP: &str = "data/rxl/wrap";
/// By which page the guest is asked to bring to disk what its service has written, `GREF PORT` in decimal. There while its agent
/// is; the domain that serves its network interface may read it.
pub const COMMIT: &str = "data/rxl/commit";
/// Dom0's order, an [`Order`]; the guest can only read it.
pub const ORDER: &str = "control/rxl/order";
