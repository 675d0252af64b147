// SPDX-License-Identifier: GPL-3.0-only
//! What `rxl` and `rxld` say to each other: one JSON object a line over a UNIX socket, a request and its reply.
//!
//! Unknown fields are ignored, so that either end may be the newer one. [`Request::Events`] with `follow` is the only
//! request with more than one reply.

use std::fmt;

use fttcp::control::{GroupStatus, Outbound, ServiceSpec};
use serde::{Deserialize, Serialize};

use super::care::{Care, Making, Order, UpgradeOrder};
use super::plan::GroupPlan;
use crate::config::DomainConfig;
use crate::error::Error;
use crate::ids::DomId;

/// Where `rxld` listens unless told otherwise.
pub const SOCKET: &str = "/run/rxl/rxld.sock";

/// The logger's interface towards the clients unless a group says otherwise.
pub const NORTH: &str = "eth0";

/// What `rxl` asks of the supervisor. Serialised as `{"op": "...", ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Who is there. Reply: [`Reply::Status`].
    Status,
    /// Carries out the configuration's `on_poweroff`, `on_reboot` and `on_crash` when this domain ends. Sent
    /// after a create; a domain that has ended in the meantime is acted upon at once. Reply: [`Reply::Done`].
    Watch {
        /// The domain.
        domid: DomId,
        /// What it was made from, and what a restart makes it from.
        config: Box<DomainConfig>,
    },
    /// Leaves the domain alone from now on (before a destroy by hand). Reply: [`Reply::Done`], also if it
    /// was not watched.
    Unwatch {
        /// The domain.
        domid: DomId,
    },
    /// The domains that are watched. Reply: [`Reply::Domains`].
    List,
    /// Sets up a service group in the logger, replacing one of the same name. Reply: [`Reply::Done`] once the
    /// logger has taken it.
    FtProtect {
        /// The group.
        group: GroupConfig,
    },
    /// Takes care of a group as a file declares it, from now on; of one that is there already, as it says now. Reply:
    /// [`Reply::Done`] once it is taken; what follows is told by events.
    FtApply {
        /// The group.
        plan: Box<GroupPlan>,
    },
    /// Moves a declared group to another version of its member. Reply: [`Reply::Done`] once it has begun; what follows is
    /// told by events.
    FtUpgrade {
        /// Its name.
        group: String,
        /// What is asked for.
        order: Box<UpgradeOrder>,
    },
    /// Undoes an upgrade that is under way, or whose old member is still kept. Reply: [`Reply::Done`] once it has begun.
    FtRollback {
        /// Its name.
        group: String,
    },
    /// Ends a group. Reply: [`Reply::Done`].
    FtUnprotect {
        /// Its name.
        group: String,
    },
    /// Moves a group's connections to its first standby now. Reply: [`Reply::Done`] once the logger has taken the
    /// order.
    FtFailover {
        /// Its name.
        group: String,
        /// Why, for the log.
        reason: String,
    },
    /// The state of the groups, with what their loggers say. Reply: [`Reply::Groups`].
    FtStatus {
        /// Only this group.
        group: Option<String>,
        /// With one entry per connection.
        connections: bool,
    },
    /// What happened. Reply: [`Reply::Events`]; with `follow`, one more of them whenever something happens, until the
    /// client hangs up.
    Events {
        /// Only events with a higher number than this ([`Event::seq`]); 0 for all that are kept.
        since: u64,
        /// Keep the connection open and send what comes.
        follow: bool,
    },
}

/// A service group in terms of domains; names or numbers, as the operator gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// The group's name.
    pub name: String,
    /// The domain that serves now.
    pub service: String,
    /// The domains that take over, in this order.
    #[serde(default)]
    pub standbys: Vec<String>,
    /// The driver domain in which `ftlogger` runs.
    pub logger: String,
    /// The logger's interface towards the clients.
    #[serde(default = "default_north")]
    pub north: String,
    /// The TCP services to protect.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
    /// Protect connections; without, a failover only moves the path and connections break.
    #[serde(default = "default_ft")]
    pub ft: bool,
    /// What becomes of connections that the service itself opens.
    #[serde(default)]
    pub outbound: Outbound,
}

fn default_north() -> String {
    NORTH.to_owned()
}

const fn default_ft() -> bool {
    true
}

/// What `rxld` answers. Serialised as `{"reply": "...", ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// It was done.
    Done,
    /// It could not be done; nothing changed.
    Error {
        /// The failure.
        error: Error,
    },
    /// Who is here.
    Status {
        /// The daemon.
        status: Status,
    },
    /// The domains that are watched.
    Domains {
        /// In order of their numbers.
        domains: Vec<WatchedDomain>,
    },
    /// The service groups.
    Groups {
        /// In order of their names.
        groups: Vec<GroupReport>,
    },
    /// What happened, oldest first.
    Events {
        /// The events.
        events: Vec<Event>,
    },
}

/// The daemon's introduction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `rxld 0.1.0`.
    pub software: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs, in ms since the UNIX epoch.
    pub started_ms: u64,
    /// Domains watched.
    pub domains: usize,
    /// Service groups.
    pub groups: usize,
    /// The number of the last event; 0 if there was none.
    pub last_event: u64,
}

/// A domain whose end `rxld` acts upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedDomain {
    /// Its number.
    pub domid: DomId,
    /// What it was made from.
    pub config: Box<DomainConfig>,
}

/// One domain of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub domid: DomId,
    /// Its name.
    pub name: String,
    /// The logger's interface towards it: `vif5.0`.
    pub interface: String,
}

/// A group as `rxld` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// The group's name.
    pub name: String,
    /// The domain in which `ftlogger` runs.
    pub logger: DomId,
    /// The logger's interface towards the clients.
    pub north: String,
    /// Who serves; `None` after a failure with no standby left.
    pub active: Option<Member>,
    /// Who takes over, in this order.
    pub standbys: Vec<Member>,
    /// The TCP services that are protected; empty without FT-TCP.
    pub services: Vec<ServiceSpec>,
    /// Failovers ordered so far.
    pub failovers: u32,
    /// Failovers that the logger has not answered yet, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Order>,
    /// The member that is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub making: Option<Making>,
    /// What a group file says, and how far `rxld` is with it; `None` for a group that no file declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub care: Option<Box<Care>>,
}

/// A group and what its logger says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// As `rxld` knows it.
    pub state: GroupState,
    /// As the logger knows it; `None` if it did not answer.
    pub logger: Option<GroupStatus>,
    /// Why it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logger_error: Option<String>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// `rxld` began to watch; what happened before is not known.
    Started,
    /// A watched domain or group member shut itself down cleanly.
    DomainPoweroff,
    /// It asked for a reboot.
    DomainReboot,
    /// Its kernel crashed or its watchdog fired.
    DomainCrashed,
    /// It shut down for another reason (suspend, soft reset).
    DomainShutdown,
    /// It was destroyed, or vanished.
    DomainGone,
    /// `rxld` destroyed what was left of it.
    DomainDestroyed,
    /// `rxld` created it again; the event's domain is the new one.
    DomainRestarted,
    /// An action of `rxld` failed; the detail says why.
    ActionFailed,
    /// A group was set up.
    GroupProtected,
    /// A group was ended.
    GroupUnprotected,
    /// A standby ended; the group is weaker.
    StandbyLost,
    /// The active domain ended and no standby is left.
    NoStandby,
    /// The logger was told to move the connections; the event's domain is the new active one.
    FailoverSent,
    /// The logger has taken the order.
    FailoverAcknowledged,
    /// The logger refused, or did not answer.
    FailoverFailed,
    /// `rxld` has taken a group file.
    GroupApplied,
    /// A member is being made.
    MemberOrdered,
    /// It serves, or stands by.
    MemberReady,
    /// It did not become ready, and was taken away.
    MemberFailed,
    /// A member has become the image of which standbys are made.
    ImageMade,
    /// There is no such image; standbys boot.
    ImageFailed,
    /// A member runs and does not answer.
    MemberHung,
    /// A member that failed is kept for autopsy.
    MemberKept,
    /// No more standbys are made; the detail says why.
    StandbysStopped,
    /// A declared group is as its file says.
    GroupComplete,
    /// An upgrade has begun.
    UpgradeBegun,
    /// It goes on; the detail says how far it is.
    UpgradeProgress,
    /// All connections are with the new member; the old one is kept for a while.
    UpgradeMoved,
    /// The old member is gone.
    UpgradeDone,
    /// The upgrade was undone; the detail says why.
    UpgradeUndone,
    /// A failover was not carried out because the old server could not be stopped.
    FenceFailed,
    /// The domain in which the logger runs ended: the group is neither reachable nor protected.
    LoggerLost,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counted from 1 while the daemon runs.
    pub seq: u64,
    /// When, in ms since the UNIX epoch (Dom0's clock).
    pub time_ms: u64,
    /// What.
    pub kind: EventKind,
    /// The domain that it happened to.
    pub domain: Option<DomId>,
    /// The service group that it touches.
    pub group: Option<String>,
    /// The rest, for people: the domain's name, the reason.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn group_config_with_only_the_necessary_fields_gets_the_defaults() {
        let line =
            r#"{"op":"ft-protect","group":{"name":"web","service":"web","logger":"logger"}}"#;
        let request: Request = serde_json::from_str(line).unwrap();
        let Request::FtProtect { group } = request else {
            panic!("not a protect request: {request:?}");
        };
        assert!(group.ft);
        assert_eq!(group.north, "eth0");
        assert!(group.standbys.is_empty());
    }

    #[test]
    fn error_reply_survives_the_wire() {
        let error = Error::new(
            Code::NotFound,
            "end the group",
            "web",
            "there is no such group",
        )
        .hint("rxl ft status lists them")
        .domain(DomId(4));
        let line = serde_json::to_string(&Reply::Error {
            error: error.clone(),
        })
        .unwrap();
        let back: Reply = serde_json::from_str(&line).unwrap();
        let Reply::Error { error: back } = back else {
            panic!("not an error: {line}");
        };
        assert_eq!(back.to_string(), error.to_string());
        assert_eq!(back.domain, Some(DomId(4)));
    }

    #[test]
    fn event_kind_prints_as_it_is_serialised() {
        assert_eq!(EventKind::FailoverSent.to_string(), "failover-sent");
    }
}
