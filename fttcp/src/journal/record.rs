// SPDX-License-Identifier: GPL-3.0-only
//! What records say, one change each.

use serde::{Deserialize, Serialize};

use crate::conn::Connection;

/// The kinds of record, with what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The time ([`crate::frame::Time`]).
    Tick = 1,
    /// A group as it is now: its number, [`crate::engine::GroupImage`].
    Group = 2,
    /// A group has ended: its number.
    GroupEnd = 3,
    /// A whole connection: its slot, [`crate::conn::Stored`].
    Connection = 4,
    /// A connection has changed: [`State`].
    State = 5,
    /// A client's bytes: slot, position, then the bytes.
    Client = 6,
    /// What servers sent, whole: slot, [`crate::conn::Sent`].
    Sent = 7,
    /// What servers sent, the change: slot, [`crate::conn::SentDelta`].
    SentDelta = 8,
    /// A connection is forgotten: its slot.
    Gone = 9,
}

impl Kind {
    pub(crate) const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Tick,
            2 => Self::Group,
            3 => Self::GroupEnd,
            4 => Self::Connection,
            5 => Self::State,
            6 => Self::Client,
            7 => Self::Sent,
            8 => Self::SentDelta,
            9 => Self::Gone,
            _ => return None,
        })
    }

    /// Whether it says nothing of a connection.
    pub(crate) const fn is_of_groups(self) -> bool {
        matches!(self, Self::Tick | Self::Group | Self::GroupEnd)
    }
}

/// A connection's state without what may be large.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State<C> {
    pub(crate) slot: u32,
    pub(crate) fixed: C,
    /// [`crate::stable::StableBuffer::extent`].
    pub(crate) log: (u64, u64, bool),
    pub(crate) causes: Causes,
}

/// For writing.
impl<'a> State<&'a Connection> {
    pub(crate) fn new(slot: u32, connection: &'a Connection) -> Self {
        let causes = &connection.causes;
        let (written, last) = connection.mark.causes;
        let kept = written <= causes.len()
            && written
                .checked_sub(1)
                .is_none_or(|index| causes[index].0 == last);
        let from = if kept { written } else { 0 };
        Self {
            slot,
            fixed: connection,
            log: connection.log.extent(),
            causes: Causes {
                kept,
                added: causes.range(from..).copied().collect(),
            },
        }
    }
}

/// How a connection's causes have changed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Causes {
    /// Those before stay.
    pub(crate) kept: bool,
    pub(crate) added: Vec<(u64, u64)>,
}
