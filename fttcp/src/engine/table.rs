// SPDX-License-Identifier: GPL-3.0-only
//! The connections: found by their two ends, kept in slots, woken in order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;

use crate::conn::Connection;
use crate::frame::Time;

/// A connection's name: the same two ends may exist in two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) group: usize,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: HashMap<Key, usize>,
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    wakes: BinaryHeap<Reverse<(Time, usize)>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        self.names.get(key).copied()
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// Puts a connection under a name, in the place of one that had it.
    pub(super) fn insert(&mut self, key: Key, connection: Connection) -> usize {
        if let Some(old) = self.find(&key) {
            self.slots[old] = Some(Box::new(connection));
            return old;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Box::new(connection));
        self.names.insert(key, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if let Some(connection) = self.slots.get_mut(slot).and_then(Option::take) {
            let ends = connection.ends();
            self.names.remove(&Key {
                group: connection.group,
                client: ends.client,
                server: ends.server,
            });
            self.free.push(slot);
        }
    }

    /// The slots of a group's connections, in order of slot.
    pub(super) fn of_group(&self, group: usize) -> Vec<usize> {
        let in_group = |slot: &&usize| {
            self.slots[**slot]
                .as_ref()
                .is_some_and(|it| it.group == group)
        };
        let all: Vec<usize> = (0..self.slots.len()).collect();
        all.iter().filter(in_group).copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten().map(Box::as_ref)
    }

    /// Sees to it that the connection is woken when something is due. It may be woken early, never late.
    pub(super) fn schedule(&mut self, slot: usize) {
        if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            let due = connection.deadline();
            if connection.wake.is_none_or(|wake| due < wake) {
                connection.wake = Some(due);
                self.wakes.push(Reverse((due, slot)));
            }
        }
    }

    /// A connection for which something is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<usize> {
        while let Some(&Reverse((due, slot))) = self.wakes.peek() {
            if due > now {
                return None;
            }
            self.wakes.pop();
            let Some(connection) = self.get(slot) else {
                continue;
            };
            if connection.wake != Some(due) {
                continue;
            }
            connection.wake = None;
            if connection.deadline() <= now {
                return Some(slot);
            }
            self.schedule(slot);
        }
        None
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.wakes.peek().map(|&Reverse((due, _))| due)
    }
}
