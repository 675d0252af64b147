// SPDX-License-Identifier: GPL-3.0-only
//! What the engine has to say to the operator: one event, one line in the log.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

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
                took_us,
            } => write!(
                f,
                "group {group}: failover {number} done in {took_us} us, {recovered} moved, {lost} lost"
            ),
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
            Self::Lost { ends, reason } => write!(f, "{ends}: reset: {reason}"),
        }
    }
}
