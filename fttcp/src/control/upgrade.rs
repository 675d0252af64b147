// SPDX-License-Identifier: GPL-3.0-only
//! How a planned move of connections from one living server to another goes: what the logger tells of it.

use serde::{Deserialize, Serialize};

/// Why an upgrade is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeEnd {
    /// It was finished ([`super::Request::Finish`]).
    Finished,
    /// The server that new connections went to died; its connections were moved to the other one.
    ActiveDied,
    /// The server that connections were moved from died; what was still with it was moved as at any failover.
    LeftDied,
}

/// An upgrade, under way or last done. Counts begin anew with a rollback: they then tell what was moved back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpgradeStatus {
    /// The interface towards the old server.
    pub from: String,
    /// The interface towards the new server.
    pub to: String,
    /// Connections go back to the old server.
    pub rolled_back: bool,
    /// Protected connections that are still with the server that is being left, or on their way to the other one.
    pub waiting: u64,
    /// Connections moved while nothing was under way on them.
    pub moved_quiet: u64,
    /// Connections moved in the middle of something, by a replay or a resume.
    pub moved_by_replay: u64,
    /// Connections that could be moved neither way and were ended.
    pub lost: u64,
    /// Attempts to move that failed; these connections went on where they had been.
    pub returned: u64,
    /// When the last connection had been moved, in microseconds since the upgrade, or its rollback, was told.
    pub drained_us: Option<u64>,
    /// Why it is over; `None`: it is under way.
    pub ended: Option<UpgradeEnd>,
}
