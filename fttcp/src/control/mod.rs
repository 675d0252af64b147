// SPDX-License-Identifier: GPL-3.0-only
//! The protocol between the toolstack and the logger: one JSON object a line, a request and its reply.
//!
//! Who lives here: the messages ([`Request`], [`Reply`]); `spec`, what a group is asked to be; `status`, what one is;
//! `upgrade`, how far a planned move is; `define`, services described in configuration files; `client`, a connection to a
//! logger. Who may call in: the `ftlogger` daemon
//! (serves it on a UNIX socket) and the toolstack (speaks it through the driver domain's daemon, which relays
//! between xenstore and that socket). Unknown fields are ignored, so that either end may be newer.

pub mod client;
mod define;
mod spec;
mod status;
mod upgrade;

use serde::{Deserialize, Serialize};

pub use spec::{GroupSpec, OnFull, Outbound, ServiceSpec, Verify};
pub use status::{
    ConnectionStatus, Counters, FailoverStatus, FastTotals, GroupStatus, Hello, PortStatus,
    Silence, WrapStatus,
};
pub use upgrade::{UpgradeEnd, UpgradeStatus};

/// Version of the protocol, in [`Hello`]. Raised when an old peer would misunderstand a new message.
pub const VERSION: u32 = 1;

/// [`GroupSpec::wrap`] or [`GroupSpec::commit`] in place of a path: the servers' domains grant the memory for it ([`Grant`]).
pub const GRANTED: &str = "xen";

/// Where `ftlogger` listens unless told otherwise.
pub const SOCKET: &str = "/run/ftlogger.sock";

/// Memory that a service domain grants to this one, and its bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The service domain.
    pub domain: u16,
    /// Its grant reference of the first page.
    pub gref: u32,
    /// Its event channel port, not yet bound.
    pub port: u32,
}

/// What the toolstack asks. Serialised as `{"op": "...", ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and none is kept"
)]
pub enum Request {
    /// Who is there. Reply: [`Reply::Hello`].
    Hello,
    /// Starts forwarding for a group, and protecting its connections if its spec says so. Reply: [`Reply::Done`].
    Protect {
        /// The group.
        group: GroupSpec,
    },
    /// Ends a group: its interfaces are closed, its connections are forgotten. Reply: [`Reply::Done`].
    Unprotect {
        /// The group's name.
        group: String,
    },
    /// Adds a standby's interface to a group. Reply: [`Reply::Done`].
    AddStandby {
        /// The group's name.
        group: String,
        /// The interface towards the standby.
        interface: String,
    },
    /// Takes a standby out of a group and closes its interface. Reply: [`Reply::Done`], also if it was none.
    RemoveStandby {
        /// The group's name.
        group: String,
        /// The interface towards the standby.
        interface: String,
    },
    /// Where the server behind an interface keeps its wrap's record, if that is in memory that its domain grants. Reply:
    /// [`Reply::Done`], also for an interface that is not used yet.
    WrapArea {
        /// The interface towards the server.
        interface: String,
        /// The directory of that memory. `None`: it grants none any more.
        area: Option<Grant>,
    },
    /// By which page the agent of the server behind an interface is asked to bring to disk what the server has written
    /// ([`ServiceSpec::durable`]). Reply: [`Reply::Done`], also for an interface that is not used yet.
    CommitPage {
        /// The interface towards the server.
        interface: String,
        /// `None`: it grants none any more.
        page: Option<Grant>,
    },
    /// Asks the active server for a sign of life. Reply, at once: [`Reply::Silence`].
    Probe {
        /// The group's name.
        group: String,
    },
    /// Closes the active server's interface and moves every connection to the first standby. The reply,
    /// [`Reply::Done`], is sent at once; progress is in [`Reply::Status`].
    Failover {
        /// The group's name.
        group: String,
        /// Why, for the log: `"domain 5 died"`.
        reason: String,
    },
    /// The server at `interface` is dead. If it is the active one: as [`Request::Failover`]. If connections are being
    /// moved from it, what is left with it is moved as at a failover. A standby leaves the group. Reply:
    /// [`Reply::Done`].
    ServerDied {
        /// The group's name.
        group: String,
        /// The interface towards the dead server.
        interface: String,
        /// Why, for the log.
        reason: String,
    },
    /// Moves the connections of a living server to a living standby, each when nothing is under way on it; new
    /// connections go to the standby at once, which is the active server from now on. The old server stays, as the first
    /// standby, until [`Request::Finish`]. The reply, [`Reply::Done`], is sent at once; progress is in
    /// [`GroupStatus::upgrade`].
    Upgrade {
        /// The group's name.
        group: String,
        /// The interface towards the new server, one of the group's standbys.
        interface: String,
        /// After this time, in ms, what is left is moved by replay or resume, but for what must not be done twice.
        drain_ms: u32,
    },
    /// Moves the connections back to the old server in the same way, allowed until [`Request::Finish`]. Reply:
    /// [`Reply::Done`].
    Rollback {
        /// The group's name.
        group: String,
    },
    /// Ends an upgrade: the interface of the server that was left is closed for good and leaves the group. What is still
    /// there is moved, or ended if it must not be done twice. Reply: [`Reply::Done`].
    Finish {
        /// The group's name.
        group: String,
    },
    /// The state of all groups. Reply: [`Reply::Status`].
    Status {
        /// Only this group.
        group: Option<String>,
        /// With one entry per connection.
        connections: bool,
    },
}

/// What the logger answers. Serialised as `{"reply": "...", ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Who is here.
    Hello(Hello),
    /// How long the active server has been silent.
    Silence(Silence),
    /// It was done.
    Done,
    /// It could not be done; nothing changed.
    Error {
        /// What failed, on which object, why.
        message: String,
    },
    /// The state of the groups.
    Status {
        /// One entry per group.
        groups: Vec<GroupStatus>,
    },
}
