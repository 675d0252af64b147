// SPDX-License-Identifier: GPL-3.0-only
//! What goes into the supervisor's mind, and what comes out.

use serde::{Deserialize, Serialize};

use crate::config::DomainConfig;
use crate::error::Result;
use crate::hypervisor::{DomainInfo, ShutdownReason};
use crate::ids::DomId;
use crate::supervise::proto::{Event, EventKind, GroupState, WatchedDomain};

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
