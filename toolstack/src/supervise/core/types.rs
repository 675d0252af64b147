// SPDX-License-Identifier: GPL-3.0-only
//! What goes into the supervisor's mind, and what comes out.

use fttcp::control::{GroupSpec, Silence};
use serde::{Deserialize, Serialize};

use crate::config::DomainConfig;
use crate::error::{Error, Result};
use crate::hypervisor::{DomainInfo, ShutdownReason};
use crate::ids::DomId;
use crate::supervise::proto::{Event, EventKind, GroupState, Member, WatchedDomain};

/// What the supervisor learns.
#[derive(Clone, Debug)]
pub enum Input {
    /// All domains, asked after `@releaseDomain` or after a change of what is watched.
    Domains(Vec<DomainInfo>),
    /// A domain is to be watched.
    Watch {
        /// The domain.
        domid: DomId,
        /// What it was made from.
        config: Box<DomainConfig>,
    },
    /// A domain is to be left alone.
    Unwatch(DomId),
    /// The logger has taken a group.
    Protected(GroupState),
    /// The logger has ended a group.
    Unprotected(String),
    /// [`Action::Make`] is done, or not.
    Made {
        /// The group.
        group: String,
        /// The member's name.
        name: String,
        /// Its domain and the logger's interface towards it.
        result: Result<(DomId, String)>,
    },
    /// [`Action::Capture`] is done, or not.
    Captured {
        /// The group.
        group: String,
        /// The member, which is gone if it is done.
        domid: DomId,
        /// The image's length in bytes.
        result: Result<u64>,
    },
    /// [`Action::Join`] or [`Action::Serve`] is done, or not.
    Joined {
        /// The group.
        group: String,
        /// The member.
        domid: DomId,
        /// What the logger said.
        result: Result<()>,
    },
    /// Answer to [`Action::Look`].
    Seen {
        /// The group.
        group: String,
        /// What was seen.
        sights: Vec<Sight>,
    },
    /// Answer to [`Action::Ask`].
    Heard {
        /// The group.
        group: String,
        /// What the logger knows of the active server.
        result: Result<Silence>,
    },
    /// [`Action::Check`] is done.
    Checked {
        /// The group.
        group: String,
        /// The new member is healthy, or why not.
        result: Result<()>,
    },
    /// The logger has answered [`Action::Change`].
    Changed {
        /// The group.
        group: String,
        /// What it was told.
        change: Change,
        /// What it said.
        result: Result<()>,
    },
    /// Answer to [`Action::Progress`].
    Progressed {
        /// The group.
        group: String,
        /// How far the logger is; `None`: it knows of no upgrade.
        result: Result<Option<Moves>>,
    },
    /// The old server of [`Action::Failover`] could not be stopped; the logger was not asked.
    Unfenced {
        /// The group.
        group: String,
        /// Why.
        error: Error,
    },
    /// The logger has answered [`Action::Failover`].
    Relayed {
        /// The group.
        group: String,
        /// What it said.
        result: Result<()>,
    },
    /// [`Action::Destroy`] is done, or not.
    Destroyed {
        /// The domain.
        domid: DomId,
        /// How it went.
        result: Result<()>,
    },
    /// [`Action::Restart`] is done, or not.
    Restarted {
        /// The domain that had ended.
        old: DomId,
        /// What the new one was made from, and its number.
        result: Result<(DomId, Box<DomainConfig>)>,
    },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell a logger to move a group's connections. Answer: [`Input::Relayed`].
    Failover {
        /// The group.
        group: String,
        /// The logger's domain.
        logger: DomId,
        /// Why.
        reason: String,
        /// The logger's interface towards the new server.
        to: String,
        /// Ask first whether the logger has moved already.
        check: bool,
        /// Stop this domain before anything else: it may live.
        fence: Option<DomId>,
        /// Then let this one go on.
        wake: Option<DomId>,
    },
    /// Create a member of a group, or find it if it is there. Answer: [`Input::Made`].
    Make {
        /// The group.
        group: String,
        /// The logger's domain.
        logger: DomId,
        /// The member.
        config: Box<DomainConfig>,
        /// Of the group's image, instead of booting it.
        of_image: bool,
    },
    /// Turn a member that is ready into the group's image, and destroy it. Answer: [`Input::Captured`].
    Capture {
        /// The group.
        group: String,
        /// The member.
        domid: DomId,
    },
    /// Remove a group's image.
    DropImage(String),
    /// Give a group its first member. Answer: [`Input::Joined`].
    Serve {
        /// The logger's domain.
        logger: DomId,
        /// The member.
        domid: DomId,
        /// The group.
        spec: Box<GroupSpec>,
    },
    /// Give a group a standby. Answer: [`Input::Joined`].
    Join {
        /// The group.
        group: String,
        /// The logger's domain.
        logger: DomId,
        /// The member.
        member: Member,
        /// Pause it first.
        pause: bool,
    },
    /// Take a standby out of a group.
    Leave {
        /// The group.
        group: String,
        /// The logger's domain.
        logger: DomId,
        /// The logger's interface towards it.
        interface: String,
    },
    /// Look whether members live. Answer: [`Input::Seen`].
    Look {
        /// The group.
        group: String,
        /// Where to look.
        targets: Vec<Target>,
    },
    /// Ask the logger whether the active server is silent. Answer: [`Input::Heard`].
    Ask {
        /// The group.
        group: String,
        /// The logger's domain.
        logger: DomId,
    },
    /// Have the agent of a member that has just begun to serve, or was made of an image, set its clock and take fresh
    /// randomness: it has slept, or is a copy of another. No answer: a guest without an agent does without.
    Refresh(DomId),
    /// Look whether the new member of an upgrade is healthy. Answer: [`Input::Checked`].
    Check {
        /// The group.
        group: String,
        /// The new member.
        member: Member,
        /// The command.
        command: String,
    },
    /// Tell the logger of an upgrade. Answer: [`Input::Changed`].
    Change {
        /// The group.
        group: String,
        /// The logger's domain.
        logger: DomId,
        /// What it is told.
        change: Change,
    },
    /// Ask the logger how far an upgrade is. Answer: [`Input::Progressed`].
    Progress {
        /// The group.
        group: String,
        /// The logger's domain.
        logger: DomId,
    },
    /// Free what an ended domain holds. Answer: [`Input::Destroyed`].
    Destroy(DomId),
    /// Create an ended domain again. Answer: [`Input::Restarted`].
    Restart {
        /// The ended domain.
        old: DomId,
        /// What it was made from.
        config: Box<DomainConfig>,
        /// Keep the ended one under another name.
        keep: bool,
    },
    /// Keep [`Core::saved`] where it outlives the process.
    Save,
    /// Tell those who follow.
    Tell(Event),
}

/// How far a logger is with an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// Connections go back to the old member.
    pub back: bool,
    /// Connections that have not moved yet.
    pub waiting: u64,
}

/// What a logger is told of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Move to the new member.
    Begin {
        /// The logger's interface towards it.
        interface: String,
        /// After this time, in ms, move also in the middle of something.
        drain_ms: u32,
    },
    /// Move back.
    Back,
    /// The member that was left is not needed any more. It is stopped; what is still with it is moved as at its death.
    Finish {
        /// The member; `None`: it is gone already.
        left: Option<Member>,
    },
    /// The member that was left is dead.
    Died {
        /// The logger's interface towards it.
        interface: String,
        /// How.
        reason: String,
    },
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The member.
    pub domid: DomId,
    /// Which of its network interfaces.
    pub devid: usize,
    /// Find out what this logger calls it.
    pub find: Option<DomId>,
}

/// What was seen of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The member.
    pub domid: DomId,
    /// The counter of its agent.
    pub beat: Option<u64>,
    /// How often the agent has found its service answering; `None`: nothing is said of it, as while something is frozen.
    pub progress: Option<u64>,
    /// Its network interface is connected.
    pub connected: bool,
    /// Its agent has memory for the record of a wrap, which a program uses.
    pub wrapped: bool,
    /// The logger's interface towards it, if that was to be found.
    pub interface: Option<String>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The service groups.
    #[serde(default)]
    pub groups: Vec<GroupState>,
    /// The domains whose end is acted upon.
    #[serde(default)]
    pub domains: Vec<WatchedDomain>,
}

/// How a domain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Shutdown(ShutdownReason),
    Gone,
}

impl End {
    pub(super) const fn kind(self) -> EventKind {
        match self {
            Self::Gone => EventKind::DomainGone,
            Self::Shutdown(ShutdownReason::Poweroff) => EventKind::DomainPoweroff,
            Self::Shutdown(ShutdownReason::Reboot) => EventKind::DomainReboot,
            Self::Shutdown(ShutdownReason::Crash | ShutdownReason::Watchdog) => {
                EventKind::DomainCrashed
            }
            Self::Shutdown(_) => EventKind::DomainShutdown,
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self.kind() {
            EventKind::DomainPoweroff => "powered off",
            EventKind::DomainReboot => "rebooted",
            EventKind::DomainCrashed => "crashed",
            EventKind::DomainGone => "is gone",
            _ => "shut down",
        }
    }
}
