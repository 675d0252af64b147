// SPDX-License-Identifier: GPL-3.0-only
//! Connections that the server opened and that are over: how long, and how many of them, are kept.
//!
//! A service that is replayed from the start asks its origin again what it had asked. One that is over is needed as
//! long as a client's connection lives that is older than its end, and is kept so long; all of them together may hold
//! as many bytes as one connection may log. Beyond that, the one that ended first goes.

use std::collections::VecDeque;

use super::Engine;
use super::dormant::Dormant;
use super::outbound::{Place, place};
use crate::conn::{Connection, State};
use crate::frame::Time;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct History {
    /// With the bytes of their logs; the first that ended first.
    over: VecDeque<(Place, u64)>,
    bytes: u64,
    /// When it was last looked for, and when the oldest living connection of a client began.
    oldest: Option<(Time, Option<Time>)>,
}

impl History {
    fn forget(&mut self, serial: u64) {
        let at = self.over.iter().position(|(it, _)| it.serial == serial);
        if let Some((_, bytes)) = at.and_then(|at| self.over.remove(at)) {
            self.bytes -= bytes;
        }
    }
}

/// What a replacement is told at a failover, by when it was said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replayed {
    /// When the oldest of the clients began of which everything is told.
    whole: Option<Time>,
    /// The others' beginnings are not told: since when the oldest of them is.
    cut: Option<Time>,
}

impl Replayed {
    fn add(&mut self, client: &Connection) {
        let oldest = if client.since == client.opened {
            &mut self.whole
        } else {
            &mut self.cut
        };
        *oldest = Some(oldest.map_or(client.since, |it| it.min(client.since)));
    }

    /// Whether a replacement may open this connection again, which is over. One that the dead server had opened for what is
    /// not told again would else be taken for a living one, of which the same was asked.
    pub(super) fn may_open_again(&self, connection: &Connection) -> bool {
        let ended = connection.outbound.as_ref().and_then(|it| it.over);
        let by_whole = self
            .whole
            .zip(ended)
            .is_some_and(|(oldest, ended)| oldest <= ended);
        let by_cut = self.cut.is_some_and(|oldest| oldest <= connection.opened);
        by_whole || by_cut
    }
}

impl Engine {
    /// What is replayed of these connections' clients.
    pub(super) fn replayed(&mut self, slots: &[usize]) -> Replayed {
        let mut replayed = Replayed::default();
        for &slot in slots {
            if let Some(client) = self.table.get(slot)
                && client.outbound.is_none()
                && client.protected
                && !matches!(client.state, State::Closed | State::Orphaned)
            {
                replayed.add(client);
            }
        }
        replayed
    }

    /// The connection, which is over, will not be needed again.
    pub(super) fn leave_history(&mut self, slot: usize) {
        let Some(connection) = self.table.get(slot) else {
            return;
        };
        let (index, place) = (connection.group, place(slot, connection));
        connection.leave_history();
        if let (Some(group), Some(place)) = (&mut self.groups[index], place) {
            group.opening.history.forget(place.serial);
        }
    }

    /// If the connection is over, its streams are part of the history, which is bounded.
    pub(super) fn note_history(&mut self, slot: usize) {
        let Some(connection) = self.table.get(slot) else {
            return;
        };
        let (Some(place), index) = (place(slot, connection), connection.group) else {
            return;
        };
        let bytes = connection.log.len() as u64;
        match &mut connection.outbound {
            Some(opened) if opened.over.is_some() && !opened.in_history => opened.in_history = true,
            _ => return,
        }
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let bound = u64::from(group.spec.outbound_service.buffer_bytes);
        let history = &mut group.opening.history;
        history.over.push_back((place, bytes));
        history.bytes += bytes;
        while history.bytes > bound
            && let Some((first, bytes)) = history.over.pop_front()
        {
            history.bytes -= bytes;
            if let Some(old) = self.table.get(first.slot)
                && old
                    .outbound
                    .as_ref()
                    .is_some_and(|it| it.serial == first.serial)
            {
                old.leave_history();
                self.table.schedule(first.slot);
            }
        }
    }

    /// A connection has been silent for so long that it is to be forgotten. Says whether a replacement may need to be
    /// told of it yet: a client's connection lives that is older than its end.
    pub(super) fn still_needed(&mut self, now: Time, slot: usize) -> bool {
        const LOOK_AGAIN_US: u64 = 1_000_000;
        let Some(connection) = self.table.get(slot) else {
            return false;
        };
        let Some(ended) = connection.outbound.as_ref().and_then(|it| it.over) else {
            return false;
        };
        let (index, place) = (connection.group, place(slot, connection));
        let Some(group) = &mut self.groups[index] else {
            return false;
        };
        let oldest = match group.opening.history.oldest {
            Some((at, oldest)) if now.0 < at.0 + LOOK_AGAIN_US => oldest,
            _ => {
                let asleep = self.table.all_dormant();
                let asleep = asleep.filter(|it| it.key().group == index && it.protected());
                let living = self.table.all_awake().filter(|it| {
                    it.group == index
                        && it.outbound.is_none()
                        && it.protected
                        && !matches!(it.state, State::Closed | State::Orphaned)
                });
                let oldest = living.map(|it| it.opened);
                let oldest = oldest.chain(asleep.map(Dormant::opened)).min();
                group.opening.history.oldest = Some((now, oldest));
                oldest
            }
        };
        if oldest.is_some_and(|oldest| oldest <= ended) {
            if let Some(connection) = self.table.get(slot) {
                connection.active = now;
            }
            return true;
        }
        if let Some(place) = place {
            group.opening.history.forget(place.serial);
        }
        false
    }
}
