// SPDX-License-Identifier: GPL-3.0-only
//! The connections: found by their two ends, kept in slots, woken in order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;

use crate::conn::Connection;
use crate::frame::Time;
use crate::stable::Budget;

/// A connection's name: the same two ends may exist in two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) group: usize,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Table {
    names: HashMap<Key, usize>,
    /// Of connections whose server speaks from another port than their peer knows: the server's end as it is now.
    south: HashMap<Key, usize>,
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    wakes: BinaryHeap<Reverse<(Time, usize)>>,
    budget: Budget,
}

impl Table {
    /// A table without connections, whose connections may use so much memory for the bytes that they keep.
    pub(super) fn new(memory: u64) -> Self {
        Self {
            names: HashMap::new(),
            south: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            wakes: BinaryHeap::new(),
            budget: Budget::new(memory),
        }
    }

    /// Memory that the connections use for the bytes that they keep.
    pub(super) const fn memory(&self) -> u64 {
        self.budget.used()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        self.names.get(key).copied()
    }

    /// A connection, which is told how much memory it may take. [`Table::schedule`] must follow.
    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(slot)?.as_deref_mut()?;
        self.budget.open(&mut connection.account);
        Some(connection)
    }

    /// Puts a connection under a name, in the place of one that had it.
    pub(super) fn insert(&mut self, key: Key, connection: Connection) -> usize {
        if let Some(slot) = self.find(&key) {
            let old = self.slots[slot].replace(Box::new(connection));
            if let Some(mut old) = old {
                self.budget.settle(&mut old.account, 0);
            }
            return slot;
        }
        let slot = self.insert_nameless(connection);
        self.names.insert(key, slot);
        slot
    }

    /// Puts a connection into a slot; no segment finds it.
    pub(super) fn insert_nameless(&mut self, connection: Connection) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Box::new(connection));
        slot
    }

    /// Puts a connection under a new name into the slot `wanted`, or into another if that is taken.
    pub(super) fn insert_at(&mut self, wanted: usize, key: Key, connection: Connection) -> usize {
        let vacant = self.slots.get(wanted).is_none_or(Option::is_none);
        if !vacant || self.names.contains_key(&key) {
            return self.insert(key, connection);
        }
        if wanted < self.slots.len() {
            self.free.retain(|&slot| slot != wanted);
        } else {
            self.free.extend(self.slots.len()..wanted);
            self.slots.resize_with(wanted + 1, || None);
        }
        self.slots[wanted] = Some(Box::new(connection));
        self.names.insert(key, wanted);
        wanted
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if let Some(mut connection) = self.slots.get_mut(slot).and_then(Option::take) {
            self.budget.settle(&mut connection.account, 0);
            let (north, south) = Self::keys(&connection);
            for (map, key) in [(&mut self.names, north), (&mut self.south, south)] {
                if map.get(&key) == Some(&slot) {
                    map.remove(&key);
                }
            }
            self.free.push(slot);
        }
    }

    /// A connection's names in the north and in the south.
    fn keys(connection: &Connection) -> (Key, Key) {
        let north = Key {
            group: connection.group,
            client: connection.path.client.socket,
            server: connection.path.server.socket,
        };
        let server = connection.present_server().socket;
        (north, Key { server, ..north })
    }

    /// The connection that the server knows by this name.
    pub(super) fn find_south(&self, key: &Key) -> Option<usize> {
        if let Some(&slot) = self.south.get(key) {
            return Some(slot);
        }
        let slot = self.find(key)?;
        let connection = self.slots.get(slot)?.as_deref()?;
        (connection.south_port() == key.server.port()).then_some(slot)
    }

    /// Runs what may change the server's port, and keeps its name in the south right.
    pub(super) fn rename<T>(
        &mut self,
        slot: usize,
        change: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let connection = self.slots.get_mut(slot)?.as_deref_mut()?;
        self.budget.open(&mut connection.account);
        let (_, before) = Self::keys(connection);
        let done = change(connection);
        let (north, after) = Self::keys(connection);
        if before != after || before != north {
            if self.south.get(&before) == Some(&slot) {
                self.south.remove(&before);
            }
            if after != north {
                self.south.insert(after, slot);
            }
        }
        Some(done)
    }

    /// Forgets that a connection's server speaks from this end: it opens another one from there.
    pub(super) fn forget_south(&mut self, key: &Key) {
        self.south.remove(key);
    }

    /// Two connections at once.
    pub(super) fn pair(&self, one: usize, other: usize) -> Option<(&Connection, &Connection)> {
        let get = |slot: usize| self.slots.get(slot)?.as_deref();
        Some((get(one)?, get(other)?))
    }

    /// Takes a connection's name in the north from it; it stays in its slot.
    pub(super) fn unname(&mut self, key: &Key) {
        self.names.remove(key);
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

    /// The connections with their slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, &Connection)> {
        let all = self.slots.iter().enumerate();
        all.filter_map(|(slot, connection)| Some((slot, connection.as_deref()?)))
    }

    /// Settles what the connection holds, and sees to it that it is woken when something is due. It may be woken early,
    /// never late.
    pub(super) fn schedule(&mut self, slot: usize) {
        if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            let holds = connection.memory();
            self.budget.settle(&mut connection.account, holds);
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
