// SPDX-License-Identifier: GPL-3.0-only
//! How far the supervisor is with a declared group: the domains that it has made, the one that it is making, and what
//! keeps it from making more. All of it outlives the process.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plan::{GroupPlan, Image};
use super::proto::Member;
use crate::config::DomainConfig;
use crate::ids::DomId;

/// A declared group's care.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Care {
    /// What is wanted.
    pub plan: GroupPlan,
    /// From this handle those of the members are made.
    pub seed: Uuid,
    /// Members ordered so far.
    pub ordered: u64,
    /// Raised when members are made from something else than before.
    pub version: u32,
    /// The logger knows the group.
    pub in_logger: bool,
    /// All domains of the group that are there, whatever they are to it.
    pub crew: Vec<Crew>,
    /// When the last failovers were, in ms since the UNIX epoch.
    pub failovers_ms: Vec<u64>,
    /// The number of the domain that went last: Xen may not have taken it down yet, nor let go of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_gone: Option<u32>,
    /// Members in a row that did not become ready.
    pub failures: u32,
    /// No member is begun before this time, in ms since the UNIX epoch.
    pub retry_ms: u64,
    /// Why no more members are made.
    pub halted: Option<String>,
    /// Standbys of an older version are replaced, one after the other.
    #[serde(default)]
    pub renew: bool,
    /// The upgrade that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// The image of which standbys are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prebuilt: Option<Prebuilt>,
    /// Images in a row that could not be taken, or of which no standby became ready.
    #[serde(default)]
    pub image_failures: u32,
}

/// The image of a member that was ready, in Dom0's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prebuilt {
    /// What the member was made from.
    pub of: Image,
    /// The image's length in bytes.
    pub bytes: u64,
}

impl Care {
    /// A group of which nothing is there yet.
    #[must_use]
    pub const fn new(plan: GroupPlan, seed: Uuid) -> Self {
        Self {
            plan,
            seed,
            ordered: 0,
            version: 1,
            in_logger: false,
            crew: Vec::new(),
            failovers_ms: Vec::new(),
            last_gone: None,
            failures: 0,
            retry_ms: 0,
            halted: None,
            renew: false,
            upgrade: None,
            prebuilt: None,
            image_failures: 0,
        }
    }

    /// The lowest number that no domain of the group has, nor the one that went last.
    #[must_use]
    pub fn free_number(&self) -> u32 {
        let has = |number: u32| self.crew.iter().any(|one| one.number == number);
        let taken = |number: &u32| has(*number) || self.last_gone == Some(*number);
        (1..).find(|number| !taken(number)).unwrap_or(u32::MAX)
    }

    /// What is known of a domain.
    #[must_use]
    pub fn one(&self, domid: DomId) -> Option<&Crew> {
        self.crew.iter().find(|one| one.domid == domid)
    }

    pub(super) fn one_mut(&mut self, domid: DomId) -> Option<&mut Crew> {
        self.crew.iter_mut().find(|one| one.domid == domid)
    }

    /// What the member that is being made is made from.
    #[must_use]
    pub fn image(&self, purpose: Purpose) -> &Image {
        match purpose {
            Purpose::Upgrade => self
                .upgrade
                .as_ref()
                .map_or(&self.plan.member, |upgrade| &upgrade.order.to),
            Purpose::First | Purpose::Return => &self.plan.member,
            Purpose::Standby => self.plan.standby_image(),
        }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self, making: &Making) -> DomainConfig {
        let handle = self.seed.as_u128() ^ u128::from(making.serial);
        self.image(making.purpose)
            .member(making.number, Uuid::from_u128(handle))
    }
}

/// A domain of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crew {
    /// Its number in Xen.
    pub domid: DomId,
    /// Its name.
    pub name: String,
    /// Its number in the group.
    pub number: u32,
    /// [`Care::version`] of what it was made from.
    pub version: u32,
    /// Which of its interfaces leads to the logger.
    pub devid: usize,
    /// `rxld` has paused it.
    pub paused: bool,
    /// It has failed and is kept for autopsy.
    pub kept: bool,
}

/// A failover that the logger has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Why.
    pub reason: String,
    /// The logger's interface towards the new server.
    pub to: String,
    /// The old server, if it may live.
    pub old: Option<Member>,
    /// The new server, if it was paused.
    pub wake: Option<DomId>,
    /// With this failover there were too many.
    pub halted: bool,
}

/// A member that is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Making {
    /// Its name.
    pub name: String,
    /// Its number in the group; 0 in a group that no file declares.
    pub number: u32,
    /// How many were ordered before.
    pub serial: u64,
    /// What for.
    pub purpose: Purpose,
    /// Its domain, once it is there.
    pub domid: Option<DomId>,
    /// The logger's interface towards it, likewise.
    pub interface: Option<String>,
    /// When it was ordered, in ms since the UNIX epoch.
    pub since_ms: u64,
    /// How far it is.
    pub stage: Stage,
    /// It is made of the group's image.
    #[serde(default)]
    pub of_image: bool,
    /// [`Care::version`] of what it is made from, as when it was ordered.
    #[serde(default)]
    pub version: u32,
}

/// What a member is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To be the group's first.
    First,
    /// To stand by.
    Standby,
    /// To take over from the active member in an upgrade.
    Upgrade,
    /// A member that was restarted stands by again.
    Return,
}

/// How far a new member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "at")]
pub enum Stage {
    /// Its domain is being created.
    Creating,
    /// Its network is not up, or its heart does not beat yet.
    Booting,
    /// It is, and its services get time to start.
    Settling {
        /// Until when, in ms since the UNIX epoch.
        until_ms: u64,
    },
    /// The logger is being told.
    Joining,
    /// It becomes the image of which standbys are made.
    Capturing,
}

impl Stage {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Creating => "is being created",
            Self::Booting => "boots",
            Self::Settling { .. } => "has booted, its services get time to start",
            Self::Joining => "is ready, the logger is being told",
            Self::Capturing => "becomes the image of which standbys are made",
        }
    }
}

/// What `rxl ft upgrade` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeOrder {
    /// What the new member is made from, and all later ones.
    pub to: Image,
    /// After this time, in ms, connections are moved in the middle of something.
    pub drain_ms: u32,
    /// How long the old member is kept after that, in ms.
    pub rollback_ms: u64,
    /// What decides whether the new member is healthy: a command in Dom0.
    pub health: Option<String>,
}

/// An upgrade that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// What is asked for.
    pub order: UpgradeOrder,
    /// How far it is.
    pub stage: UpgradeStage,
    /// The member that it leads away from; it lives until the end.
    pub old: Option<Member>,
    /// The member that it leads to.
    pub new: Option<Member>,
    /// Connections that have not moved yet, as the logger said last.
    pub waiting: Option<u64>,
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "at")]
pub enum UpgradeStage {
    /// The new member is being made.
    Making,
    /// It is ready, and its health is looked at.
    Checking,
    /// The logger is being told.
    Telling,
    /// Connections are moving to the new member.
    Moving {
        /// When it is too late, in ms since the UNIX epoch.
        until_ms: u64,
    },
    /// All have moved; the old member is kept.
    Holding {
        /// Until when, in ms since the UNIX epoch.
        until_ms: u64,
    },
    /// The logger is being told to move them back.
    Returning,
    /// Connections are moving back to the old member.
    MovingBack {
        /// When it is too late, in ms since the UNIX epoch.
        until_ms: u64,
    },
    /// The logger is being told that the member which was left is not needed any more.
    Finishing {
        /// The old member stays, the new one goes.
        back: bool,
    },
}

impl UpgradeStage {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Making => "the new member is being made",
            Self::Checking => "the new member's health is being looked at",
            Self::Telling => "the logger is being told",
            Self::Moving { .. } => "connections are moving to the new member",
            Self::Holding { .. } => {
                "all connections have moved; the old member is kept for a rollback"
            }
            Self::Returning => "the logger is being told to move back",
            Self::MovingBack { .. } => "connections are moving back to the old member",
            Self::Finishing { .. } => "the member that was left is being taken away",
        }
    }

    /// Which of the two the logger has for active is not known before it answers: nothing else can be decided.
    #[must_use]
    pub const fn undecided(self) -> bool {
        matches!(self, Self::Telling | Self::Returning)
    }

    /// Two members answer, each its own connections.
    #[must_use]
    pub const fn two_servers(self) -> bool {
        matches!(
            self,
            Self::Moving { .. }
                | Self::Holding { .. }
                | Self::Returning
                | Self::MovingBack { .. }
                | Self::Finishing { .. }
        )
    }
}
