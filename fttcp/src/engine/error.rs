// SPDX-License-Identifier: GPL-3.0-only
//! Why a group could not be changed, as an operator is told.

use super::Ends;
use crate::frame::PortId;

/// Why a command was refused. Nothing changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    /// A group of this name exists.
    #[error("group {0} exists already; unprotect it first")]
    GroupExists(String),
    /// No group has this name.
    #[error("no group is named {0}")]
    NoGroup(String),
    /// The group has no standby left.
    #[error("group {0} has no standby to move to; add one first")]
    NoStandby(String),
    /// The group has no such standby.
    #[error("group {group}: {interface} is none of its standbys ({}); add it first", if .standbys.is_empty() { "it has none" } else { .standbys })]
    NoSuchStandby {
        /// The group.
        group: String,
        /// What was asked for.
        interface: String,
        /// The standbys that it has.
        standbys: String,
    },
    /// One upgrade at a time.
    #[error(
        "group {group}: an upgrade from {from} to {to} is under way; finish it first, or roll it back and finish that"
    )]
    UpgradeUnderWay {
        /// The group.
        group: String,
        /// The interface towards the old server.
        from: String,
        /// The interface towards the new server.
        to: String,
    },
    /// There is no upgrade that could be rolled back.
    #[error("group {group}: nothing to roll back: {why}")]
    NothingToRollBack {
        /// The group.
        group: String,
        /// Why.
        why: &'static str,
    },
    /// There is no upgrade that could be finished.
    #[error("group {0}: nothing to finish: no upgrade is under way")]
    NothingToFinish(String),
    /// No interface of the group has this name.
    #[error("group {group}: no server of it is at {interface}; it has {known}")]
    NoSuchServer {
        /// The group.
        group: String,
        /// What was asked for.
        interface: String,
        /// The interfaces that it has.
        known: String,
    },
    /// A port is used already.
    #[error("port {} of group {group} is used already", port.0)]
    PortUsed {
        /// The group that asked for it.
        group: String,
        /// The port.
        port: PortId,
    },
    /// The spec names no plug-in that exists.
    #[error("group {group}: port {port}: no service plug-in is named {kind}; there are: {known}")]
    UnknownKind {
        /// The group.
        group: String,
        /// The service's TCP port.
        port: u16,
        /// What was asked for.
        kind: String,
        /// The kinds that the engine knows.
        known: String,
    },
    /// The service's kind is told by a definition that is none.
    #[error("group {group}: port {port}: the definition of {kind} cannot be used: {message}")]
    Definition {
        /// The group.
        group: String,
        /// The service's TCP port.
        port: u16,
        /// The kind.
        kind: String,
        /// What is wrong, where, and what to do.
        message: String,
    },
    /// The service's window is to be held, but its plug-in would never open it again.
    #[error(
        "group {group}: port {port}: on_full cannot be \"hold\" with plug-in {kind}, which never gives up logged bytes: a held client would wait for ever; use \"unprotect\" or \"reset\""
    )]
    CannotHold {
        /// The group.
        group: String,
        /// The service's TCP port.
        port: u16,
        /// The plug-in.
        kind: String,
    },
    /// The service's answers are to wait for its disk, but its plug-in cannot say which.
    #[error(
        "group {group}: port {port}: durable cannot be used with plug-in {kind}, which does not know which answers tell of a change; leave it out"
    )]
    CannotCommit {
        /// The group.
        group: String,
        /// The service's TCP port.
        port: u16,
        /// The plug-in.
        kind: String,
    },
    /// The service asks for a spill file, but there is none, or its buffer is too small for chunks of it.
    #[error("group {group}: port {port}: spill_bytes cannot be used: {}", match .least {
        None => "the logger has no spill file; start it with --spill DIR, or leave spill_bytes out".to_owned(),
        Some(least) => format!("buffer_bytes must be at least {least}"),
    })]
    CannotSpill {
        /// The group.
        group: String,
        /// The service's TCP port.
        port: u16,
        /// Least `buffer_bytes`; `None`: there is no spill file.
        least: Option<u64>,
    },
    /// A connection cannot go to another logger, or come from one.
    #[error("group {group}: {ends} cannot be handed over: {why}")]
    CannotHandOver {
        /// The group.
        group: String,
        /// The connection.
        ends: Ends,
        /// Why.
        why: &'static str,
    },
    /// The number of standby ports is not that of the spec.
    #[error("group {group}: {interfaces} standby interfaces but {ports} ports")]
    PortCount {
        /// The group.
        group: String,
        /// Interfaces in the spec.
        interfaces: usize,
        /// Ports given.
        ports: usize,
    },
}
