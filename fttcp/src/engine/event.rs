// SPDX-License-Identifier: GPL-3.0-only
//! What the engine has to say to the operator: one event, one line in the log.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::control::UpgradeEnd;

/// The two ends of a connection, as the client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// The server.
    pub server: SocketAddr,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.client, self.server)
    }
}

/// Something worth a line in the log. [`fmt::Display`] gives that line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A failover began.
    FailoverStarted {
        /// The group.
        group: String,
        /// Counted from 1 in the group.
        number: u32,
        /// As the request said.
        reason: String,
        /// Connections to move.
        connections: u64,
    },
    /// The last connection of a failover was moved or given up.
    FailoverDone {
        /// The group.
        group: String,
        /// Counted from 1 in the group.
        number: u32,
        /// Connections moved.
        recovered: u64,
        /// Connections given up.
        lost: u64,
        /// Connections whose clients must acknowledge something first.
        waiting: u64,
        /// Time since the failover was told, in microseconds.
        took_us: u64,
    },
    /// A connection was moved to the replacement.
    Recovered {
        /// The connection.
        ends: Ends,
        /// Time since the failover was told, in microseconds.
        took_us: u64,
        /// Client bytes replayed.
        replayed: u64,
        /// Server bytes regenerated that the client had acknowledged.
        discarded: u64,
        /// If it was only asked for the rest of a response: where that begins in the server's stream.
        resumed: Option<u64>,
    },
    /// An upgrade began.
    UpgradeStarted {
        /// The group.
        group: String,
        /// The interface towards the server that is left.
        from: String,
        /// The interface towards the server that takes over.
        to: String,
        /// Protected connections that are with the server that is left.
        connections: u64,
        /// It is the way back.
        rollback: bool,
    },
    /// No protected connection is with the server that is left any more.
    UpgradeDrained {
        /// The group.
        group: String,
        /// Connections moved while nothing was under way.
        quiet: u64,
        /// Connections moved by a replay or a resume.
        replayed: u64,
        /// Connections lost.
        lost: u64,
        /// Time since the upgrade was told, in microseconds.
        took_us: u64,
    },
    /// The time for a planned move is over: what is left is moved by replay or resume.
    UpgradeOverdue {
        /// The group.
        group: String,
        /// Protected connections that are left.
        waiting: u64,
    },
    /// An upgrade is over.
    UpgradeEnded {
        /// The group.
        group: String,
        /// The interface of the server that all connections are with now.
        with: String,
        /// Why.
        end: UpgradeEnd,
        /// Connections that were still with the other one.
        left: u64,
    },
    /// A connection was moved from one living server to another in the middle of something.
    MovedBusy {
        /// The connection.
        ends: Ends,
        /// Client bytes replayed.
        replayed: u64,
        /// Server bytes regenerated that the client had acknowledged.
        discarded: u64,
        /// If the server was only asked for the rest of a response: where that begins in the server's stream.
        resumed: Option<u64>,
    },
    /// A planned move did not succeed: the connection goes on where it was.
    NotMoved {
        /// The connection.
        ends: Ends,
        /// Why.
        reason: &'static str,
    },
    /// A replacement did not give the rest of a response that it was asked for: everything is replayed.
    NotResumed {
        /// The connection.
        ends: Ends,
        /// Why.
        reason: &'static str,
    },
    /// A connection is no longer (or was never) protected; it goes on as it would without the logger.
    Unprotected {
        /// The connection.
        ends: Ends,
        /// Why.
        reason: &'static str,
    },
    /// A connection speaks TLS, and is not protected. Told for the first of a group; `Counters::tls` counts all.
    Tls {
        /// The connection.
        ends: Ends,
    },
    /// The plug-in does not understand a connection any more, and treats it from here on as one of which nothing is known.
    NotUnderstood {
        /// The connection.
        ends: Ends,
        /// The plug-in.
        kind: String,
        /// Why.
        reason: &'static str,
    },
    /// The replacement's output differed from what had been sent; the connection was reset.
    Diverged {
        /// The connection.
        ends: Ends,
        /// Offset in the server's byte stream at or before which the difference lies.
        offset: u64,
        /// What had been sent there, masked, if it is still known.
        sent: String,
        /// What the replacement gave instead, masked.
        regenerated: String,
    },
    /// A connection that the server had opened was reset, as the group's `outbound` policy says: its replacement opens a
    /// new one.
    Reissued {
        /// The connection.
        ends: Ends,
    },
    /// The server tried to open a connection and was refused, as the group's `outbound` policy says. Told once for each
    /// remote end.
    Forbidden {
        /// The connection.
        ends: Ends,
    },
    /// A connection could not be moved; it was reset.
    Lost {
        /// The connection.
        ends: Ends,
        /// Why.
        reason: &'static str,
    },
    /// The same request was under way each time that a server died: it is not given to another. The connection is lost.
    Poisoned {
        /// The connection.
        ends: Ends,
        /// The beginning of the request's first line.
        request: String,
        /// How many servers have died.
        deaths: u8,
    },
    /// An answer passed though it is not known that the server's disk has what it tells of.
    NotDurable {
        /// The connection.
        ends: Ends,
        /// Why.
        reason: &'static str,
    },
    /// Nobody can be asked to bring to disk what a server has written. Told for the first answer of a group;
    /// `Counters::commits_not_durable` counts all.
    NobodyCommits {
        /// The group.
        group: String,
        /// The interface towards the server.
        interface: String,
    },
    /// A connection could not be moved; its client was told so by an error reply.
    Answered {
        /// The connection.
        ends: Ends,
        /// Why.
        reason: &'static str,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailoverStarted {
                group,
                number,
                reason,
                connections,
            } => write!(
                f,
                "group {group}: failover {number} began ({reason}), {connections} connections to move"
            ),
            Self::FailoverDone {
                group,
                number,
                recovered,
                lost,
                waiting,
                took_us,
            } => {
                write!(
                    f,
                    "group {group}: failover {number} done in {took_us} us, {recovered} moved, {lost} lost"
                )?;
                if *waiting > 0 {
                    write!(f, ", {waiting} held up by slow clients")?;
                }
                Ok(())
            }
            Self::Recovered {
                ends,
                took_us,
                replayed,
                discarded,
                resumed,
            } => {
                match resumed {
                    Some(at) => write!(f, "{ends}: resumed at byte {at}")?,
                    None => write!(f, "{ends}: moved")?,
                }
                write!(
                    f,
                    " in {took_us} us, {replayed} client bytes replayed, {discarded} server bytes discarded"
                )
            }
            Self::UpgradeStarted {
                group,
                from,
                to,
                connections,
                rollback,
            } => {
                let what = if *rollback { "rollback" } else { "upgrade" };
                write!(
                    f,
                    "group {group}: {what} began, from {from} to {to}, {connections} connections to move"
                )
            }
            Self::UpgradeDrained {
                group,
                quiet,
                replayed,
                lost,
                took_us,
            } => write!(
                f,
                "group {group}: all connections have left after {took_us} us: {quiet} moved at rest, {replayed} by replay or resume, {lost} lost"
            ),
            Self::UpgradeOverdue { group, waiting } => write!(
                f,
                "group {group}: time is up: the {waiting} connections that are left are moved by replay or resume, but for what must not be done twice"
            ),
            Self::UpgradeEnded {
                group,
                with,
                end,
                left,
            } => {
                let why = match end {
                    UpgradeEnd::Finished => "it was finished",
                    UpgradeEnd::ActiveDied => "the server that connections were moved to died",
                    UpgradeEnd::LeftDied => "the server that connections were moved from died",
                };
                write!(
                    f,
                    "group {group}: upgrade over ({why}), {with} is the active server; {left} connections were still with the other one"
                )
            }
            Self::MovedBusy {
                ends,
                replayed,
                discarded,
                resumed,
            } => {
                match resumed {
                    Some(at) => write!(f, "{ends}: resumed at byte {at} by the other server")?,
                    None => write!(f, "{ends}: moved to the other server by a replay")?,
                }
                write!(
                    f,
                    ", {replayed} client bytes replayed, {discarded} server bytes discarded"
                )
            }
            Self::NotMoved { ends, reason } => {
                write!(f, "{ends}: not moved, it goes on where it was: {reason}")
            }
            Self::NotResumed { ends, reason } => {
                write!(f, "{ends}: not resumed, to be replayed: {reason}")
            }
            Self::Unprotected { ends, reason } => write!(f, "{ends}: not protected: {reason}"),
            Self::Tls { ends } => write!(
                f,
                "{ends}: not protected: it speaks TLS, and a replacement would have other keys; further ones of its group are only counted (tls)"
            ),
            Self::NotUnderstood { ends, kind, reason } => {
                write!(f, "{ends}: not understood as {kind} any more: {reason}")
            }
            Self::Diverged {
                ends,
                offset,
                sent,
                regenerated,
            } => write!(
                f,
                "{ends}: reset: the replacement's output differs at or before offset {offset}: sent {sent}, regenerated {regenerated}"
            ),
            Self::Reissued { ends } => {
                write!(f, "{ends}: opened by the server: reset, to be opened anew")
            }
            Self::Forbidden { ends } => {
                write!(
                    f,
                    "{ends}: opened by the server: refused (outbound = forbid)"
                )
            }
            Self::NotDurable { ends, reason } => {
                write!(
                    f,
                    "{ends}: an answer passed before it was durable: {reason}"
                )
            }
            Self::NobodyCommits { group, interface } => write!(
                f,
                "group {group}: an answer passed before it was durable: there is nobody at {interface} who could be asked; further ones are only counted (commits_not_durable)"
            ),
            Self::Lost { ends, reason } => write!(f, "{ends}: reset: {reason}"),
            Self::Poisoned {
                ends,
                request,
                deaths,
            } => write!(
                f,
                "{ends}: {deaths} servers have died with this request under way, no other gets it: \"{request}\""
            ),
            Self::Answered { ends, reason } => {
                write!(f, "{ends}: ended with an error reply: {reason}")
            }
        }
    }
}
