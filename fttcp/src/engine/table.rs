// SPDX-License-Identifier: GPL-3.0-only
//! The connections: found by their two ends, kept in slots, woken in order of time. One that has been quiet for a
//! while is kept as its image (`dormant`) until someone wants it.

mod cells;
mod changes;
mod timers;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use hashbrown::HashTable;

pub(super) use cells::{Cells, Place};
use changes::Changes;

use super::Ends;
use super::dormant::Dormant;
use crate::conn::{Connection, State};
use crate::frame::Time;
use crate::service::Maker;
use crate::stable::Budget;

/// A connection's name: the same two ends may exist in two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) group: usize,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

impl Key {
    pub(super) const fn of(group: usize, Ends { client, server }: Ends) -> Self {
        Self {
            group,
            client,
            server,
        }
    }
}

/// Where a connection is, or could be.
#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Awake(Box<Connection>),
    /// In its place, not in one of its own: see `cells`.
    Dormant(Dormant),
}

impl Slot {
    fn key(&self) -> Option<Key> {
        match self {
            Self::Empty => None,
            Self::Awake(connection) => Some(Table::keys(connection).0),
            Self::Dormant(dormant) => Some(dormant.key()),
        }
    }

    fn awake(&self) -> Option<&Connection> {
        match self {
            Self::Awake(connection) => Some(connection),
            Self::Empty | Self::Dormant(_) => None,
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Table {
    /// Slots, by the connections' names in the north.
    names: HashTable<u32>,
    hasher: RandomState,
    /// Of connections whose server speaks from another port than their peer knows: the server's end as it is now.
    south: HashMap<Key, usize>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    wakes: BinaryHeap<Reverse<(Time, u32)>>,
    /// Slots and generations of those that were half-open when they came, in the order in which they came.
    half_open: VecDeque<(usize, u32)>,
    budget: Budget,
    /// Who makes the plug-ins, by group and service: for those that wake.
    plugins: Vec<Vec<Maker>>,
    /// After so long a silence a connection is put to sleep.
    doze: Duration,
    /// Connections that were put to sleep since this was asked for.
    dozed: usize,
    /// The images of those that sleep.
    cells: Cells,
    journal: Option<Changes>,
}

impl Table {
    /// A connection, without giving it a turn.
    pub(super) fn peek(&mut self, slot: usize) -> Option<&mut Connection> {
        match self.slots.get_mut(slot)? {
            Slot::Awake(connection) => Some(connection),
            Slot::Empty | Slot::Dormant(_) => None,
        }
    }

    /// A connection that sleeps.
    pub(super) fn dormant(&mut self, slot: usize) -> Option<&mut Dormant> {
        match self.slots.get_mut(slot)? {
            Slot::Dormant(dormant) => Some(dormant),
            Slot::Empty | Slot::Awake(_) => None,
        }
    }

    /// A copy of a connection that sleeps.
    pub(super) fn dormant_copy(&self, slot: usize) -> Option<Connection> {
        match self.slots.get(slot)? {
            Slot::Dormant(dormant) => dormant.connection(&self.cells),
            Slot::Empty | Slot::Awake(_) => None,
        }
    }

    /// After the last slot.
    pub(super) const fn slots_end(&self) -> usize {
        self.slots.len()
    }

    /// A table without connections, whose connections may use so much memory for the bytes that they keep.
    /// `doze`: after so long a silence one is kept as its image.
    pub(super) fn new(memory: u64, doze: Duration) -> Self {
        Self {
            names: HashTable::new(),
            hasher: RandomState::new(),
            south: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            wakes: BinaryHeap::new(),
            half_open: VecDeque::new(),
            budget: Budget::new(memory),
            plugins: Vec::new(),
            doze,
            dozed: 0,
            cells: Cells::default(),
            journal: None,
        }
    }

    /// Who makes the plug-ins of a group's services.
    pub(super) fn set_plugins(&mut self, group: usize, plugins: Vec<Maker>) {
        let known = self.plugins.len().max(group + 1);
        self.plugins.resize_with(known, Vec::new);
        self.plugins[group] = plugins;
    }

    /// How many connections were put to sleep since the last call.
    pub(super) fn take_dozed(&mut self) -> usize {
        std::mem::take(&mut self.dozed)
    }

    /// Memory that the connections use for the bytes that they keep.
    pub(super) const fn memory(&self) -> u64 {
        self.budget.used()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        let hash = self.hasher.hash_one(Some(*key));
        let slots = &self.slots;
        let found = self
            .names
            .find(hash, |&slot| slots[slot as usize].key() == Some(*key));
        found.map(|&slot| slot as usize)
    }

    fn set_name(&mut self, key: &Key, slot: usize) {
        let (hasher, slots) = (&self.hasher, &self.slots);
        let rehash = |&slot: &u32| hasher.hash_one(slots[slot as usize].key());
        let hash = hasher.hash_one(Some(*key));
        self.names.insert_unique(hash, slot as u32, rehash);
    }

    /// Forgets the name `key`, if it is that of this slot.
    fn drop_name(&mut self, key: &Key, slot: usize) {
        let hash = self.hasher.hash_one(Some(*key));
        let found = self.names.find_entry(hash, |&known| known as usize == slot);
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    /// Wakes the connection in a slot if it sleeps.
    fn awake(&mut self, slot: usize) -> Option<&mut Connection> {
        let place = self.slots.get_mut(slot)?;
        if let Slot::Dormant(dormant) = place {
            let mut connection = dormant.connection(&self.cells)?;
            let plugins = self.plugins.get(connection.group);
            if let Some(make) = plugins.and_then(|all| all.get(connection.service)) {
                // What was saved here is known here.
                connection.revive(make);
            }
            let asleep = std::mem::replace(place, Slot::Awake(Box::new(connection)));
            if let Slot::Dormant(dormant) = asleep {
                dormant.drop_image(&mut self.cells);
            }
        }
        match place {
            Slot::Awake(connection) => Some(connection),
            Slot::Empty | Slot::Dormant(_) => None,
        }
    }

    /// A connection, which is told how much memory it may take. [`Table::schedule`] must follow.
    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Connection> {
        self.awake(slot)?;
        let Slot::Awake(connection) = &mut self.slots[slot] else {
            return None;
        };
        self.budget.open(&mut connection.account);
        Some(connection)
    }

    /// Puts a connection under a name, in the place of one that had it.
    pub(super) fn insert(&mut self, key: Key, connection: Connection) -> usize {
        if let Some(slot) = self.find(&key) {
            let new = Slot::Awake(Box::new(connection));
            let old = std::mem::replace(&mut self.slots[slot], new);
            self.give_back(slot, old);
            return slot;
        }
        let slot = self.insert_nameless(connection);
        self.set_name(&key, slot);
        slot
    }

    /// What the connection that was here held is free again.
    fn give_back(&mut self, slot: usize, old: Slot) {
        let written = match &old {
            Slot::Empty => false,
            Slot::Awake(connection) => connection.mark.generation != 0,
            Slot::Dormant(dormant) => dormant.journal != 0,
        };
        if let Some(journal) = self.journal.as_mut().filter(|_| written) {
            journal.gone.push(slot);
        }
        match old {
            Slot::Empty => {}
            Slot::Awake(mut connection) => self.budget.settle(&mut connection.account, 0),
            Slot::Dormant(mut dormant) => {
                self.budget.settle(&mut dormant.account, 0);
                dormant.drop_image(&mut self.cells);
            }
        }
    }

    /// Puts a connection into a slot; no segment finds it.
    pub(super) fn insert_nameless(&mut self, connection: Connection) -> usize {
        let free = self.free.pop().map(|slot| slot as usize);
        let slot = free.unwrap_or_else(|| {
            self.slots.push(Slot::Empty);
            self.slots.len() - 1
        });
        self.slots[slot] = Slot::Awake(Box::new(connection));
        slot
    }

    /// Puts a connection under a new name into the slot `wanted`, or into another if that is taken.
    pub(super) fn insert_at(&mut self, wanted: usize, key: Key, connection: Connection) -> usize {
        let vacant = matches!(self.slots.get(wanted), None | Some(Slot::Empty));
        if !vacant || self.find(&key).is_some() {
            return self.insert(key, connection);
        }
        if wanted < self.slots.len() {
            self.free.retain(|&slot| slot as usize != wanted);
        } else {
            self.free.extend(self.slots.len() as u32..wanted as u32);
            self.slots.resize_with(wanted + 1, Slot::default);
        }
        self.slots[wanted] = Slot::Awake(Box::new(connection));
        self.set_name(&key, wanted);
        wanted
    }

    /// Notes a connection that is half-open, as one that may make room for others.
    pub(super) fn note_half_open(&mut self, slot: usize) {
        while let Some(&entry) = self.half_open.front()
            && (!self.is_half_open(entry) || self.half_open.len() > 2 * self.slots.len())
        {
            self.half_open.pop_front();
        }
        if let Some(connection) = self.slots.get(slot).and_then(Slot::awake) {
            self.half_open.push_back((slot, connection.generation));
        }
    }

    fn is_half_open(&self, (slot, generation): (usize, u32)) -> bool {
        let connection = self.slots.get(slot).and_then(Slot::awake);
        connection.is_some_and(|it| it.generation == generation && it.is_half_open())
    }

    /// The half-open connection that has waited longest for its client, and is not being moved.
    pub(super) fn oldest_half_open(&mut self) -> Option<usize> {
        while let Some(entry) = self.half_open.pop_front() {
            let moves = |slot: usize| {
                let connection = self.slots[slot].awake();
                connection.is_some_and(|it| it.recovery.is_some())
            };
            if self.is_half_open(entry) && !moves(entry.0) {
                return Some(entry.0);
            }
        }
        None
    }

    pub(super) fn remove(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot).map(std::mem::take) else {
            return;
        };
        let Some(north) = connection.key() else {
            return;
        };
        self.drop_name(&north, slot);
        // One that sleeps has no other name.
        if let Some(connection) = connection.awake() {
            let (_, south) = Self::keys(connection);
            if self.south.get(&south) == Some(&slot) {
                self.south.remove(&south);
            }
        }
        self.give_back(slot, connection);
        self.free.push(slot as u32);
    }

    /// A connection's names in the north and in the south.
    fn keys(connection: &Connection) -> (Key, Key) {
        let north = Key::of(connection.group, connection.ends());
        let server = connection.present_server().socket;
        (north, Key { server, ..north })
    }

    /// The connection that the server knows by this name.
    pub(super) fn find_south(&self, key: &Key) -> Option<usize> {
        if let Some(&slot) = self.south.get(key) {
            return Some(slot);
        }
        let slot = self.find(key)?;
        match self.slots.get(slot)? {
            Slot::Empty => None,
            Slot::Awake(connection) => {
                (connection.south_port() == key.server.port()).then_some(slot)
            }
            Slot::Dormant(_) => Some(slot),
        }
    }

    /// The name in the north of a connection that its client opened, and that the server knows by this name, which is
    /// another.
    pub(super) fn renamed(&self, key: &Key) -> Option<Key> {
        let slot = *self.south.get(key)?;
        let connection = self.slots.get(slot)?.awake()?;
        let (north, _) = Self::keys(connection);
        connection.outbound.is_none().then_some(north)
    }

    /// Runs what may change the server's port, and keeps its name in the south right.
    pub(super) fn rename<T>(
        &mut self,
        slot: usize,
        change: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let connection = self.get(slot)?;
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
        let get = |slot: usize| self.slots.get(slot)?.awake();
        Some((get(one)?, get(other)?))
    }

    /// Whether the connection that was put into this slot under this generation is still there, and half-open or only
    /// passed on.
    pub(super) fn evictable(&self, slot: usize, generation: u32) -> bool {
        match self.slots.get(slot) {
            Some(Slot::Awake(it)) => {
                let idle = match it.state {
                    State::Opening => true,
                    State::Established => !it.protected && it.map.is_none(),
                    State::Recovering | State::Closed | State::Orphaned => false,
                };
                it.generation == generation && it.outbound.is_none() && idle
            }
            Some(Slot::Dormant(it)) => it.generation() == generation && !it.protected(),
            Some(Slot::Empty) | None => false,
        }
    }

    /// Whether the connection that was put into this slot under this generation is still there, is over, and needs no
    /// rewriting of what still comes.
    pub(super) fn is_over(&self, slot: usize, generation: u32) -> bool {
        let connection = self.slots.get(slot).and_then(Slot::awake);
        connection.is_some_and(|it| {
            let plain = it.map.is_none() && it.outbound.is_none() && it.recovery.is_none();
            it.generation == generation && it.state == State::Closed && plain
        })
    }

    /// Takes a connection's name in the north from it; it stays in its slot.
    pub(super) fn unname(&mut self, key: &Key) {
        if let Some(slot) = self.find(key) {
            self.drop_name(key, slot);
        }
    }

    /// The slots of a group's connections, in order of slot.
    pub(super) fn of_group(&self, group: usize) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.key().is_some_and(|key| key.group == group))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// The connections that are not asleep.
    pub(super) fn all_awake(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(Slot::awake)
    }

    /// Those that are.
    pub(super) fn all_dormant(&self) -> impl Iterator<Item = &Dormant> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Dormant(dormant) => Some(dormant),
            Slot::Empty | Slot::Awake(_) => None,
        })
    }

    /// The slots of the connections that the fast path has.
    pub(super) fn all_offloaded(&self) -> Vec<usize> {
        let offloaded = |slot: &Slot| match slot {
            Slot::Empty => false,
            Slot::Awake(connection) => connection.offloaded,
            Slot::Dormant(dormant) => dormant.offloaded,
        };
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| offloaded(slot))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// The connections with their slots; those asleep as a copy.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, Seen<'_>)> {
        let all = self.slots.iter().enumerate();
        all.filter_map(|(slot, connection)| {
            let seen = match connection {
                Slot::Empty => return None,
                Slot::Awake(connection) => Seen::Awake(connection),
                Slot::Dormant(dormant) => Seen::Copy(Box::new(dormant.connection(&self.cells)?)),
            };
            Some((slot, seen))
        })
    }
}

/// A connection to look at.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    Awake(&'a Connection),
    /// Of one that sleeps.
    Copy(Box<Connection>),
}

impl std::ops::Deref for Seen<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Awake(connection) => connection,
            Self::Copy(connection) => connection,
        }
    }
}
