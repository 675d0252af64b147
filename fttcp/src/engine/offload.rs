// SPDX-License-Identifier: GPL-3.0-only
//! Which connections the fast path has: giving, taking back, and what it copies out.
//!
//! The rule: before anything is done with a connection that the fast path has, it is taken back, then its records are
//! taken, and only then its state is believed.

use std::collections::HashSet;

use super::table::Key;
use super::{Engine, EngineError, Group, Role};
use crate::conn::Connection;
use crate::flow::{FlowKey, Route, Side, flag};
use crate::frame::{Offload, Output, PortId, Time};

/// How often records are asked for that must come, each time without waiting: far longer than it takes to write one.
const PATIENCE: u32 = 100_000;

/// For what a record changes nothing is sent.
struct Nowhere;

impl Output for Nowhere {
    fn transmit(&mut self, _: PortId, _: &[u8], _: &Offload) {}
}

fn flow_key(connection: &Connection) -> FlowKey {
    let ends = connection.ends();
    FlowKey {
        group: connection.group as u32,
        client: ends.client,
        server: ends.server,
    }
}

impl Engine {
    /// Tells the data path what to do with the frames of every port. To be called after each command that changed a
    /// group.
    pub fn announce(&self, out: &mut dyn Output) {
        for &(port, index, role) in &self.ports {
            let Some(group) = &self.groups[index] else {
                continue;
            };
            out.route(port, route(group, index, role));
        }
        for index in 0..self.groups.len() {
            self.announce_services(index, out);
        }
    }

    /// Closes the way from a group's active server, as the first thing of a failover: whatever the fast path still
    /// forwards of it would not be known.
    ///
    /// # Errors
    /// There is no such group, or it has no standby.
    pub(super) fn cut(
        &mut self,
        now: Time,
        index: usize,
        out: &mut dyn Output,
    ) -> Result<(), EngineError> {
        let Some(group) = &self.groups[index] else {
            return Ok(());
        };
        if group.ports.standbys.is_empty() {
            return Err(EngineError::NoStandby(group.spec.name.clone()));
        }
        out.route(group.ports.active, Route::Closed);
        for slot in self.table.of_group(index) {
            self.take_back(now, slot, out);
        }
        Ok(())
    }

    /// Takes what the fast path has copied out. To be called when there is something, at the latest every few
    /// milliseconds, and before frames are handled that came in meanwhile.
    pub fn handle_records(&mut self, now: Time, out: &mut dyn Output) {
        self.journaled(now, out, |engine, out| engine.take_records(now, out));
    }

    fn take_records(&mut self, now: Time, out: &mut dyn Output) {
        let mut stale = Vec::new();
        let Self {
            table,
            groups,
            desk,
            ..
        } = self;
        out.records(&mut |record| {
            let slot = record.slot as usize;
            let Some(connection) = table.get(slot) else {
                return;
            };
            let Some(group) = &mut groups[connection.group] else {
                return;
            };
            if connection.generation != record.generation {
                return;
            }
            let was = connection.protected;
            let mut nowhere = Nowhere;
            let (service, number) = (connection.service, connection.server_number);
            let mut cx = group.context(service, number, now, &mut nowhere, desk);
            connection.on_record(record, &mut cx);
            if was && !connection.protected {
                stale.push(slot);
            }
            table.hurry(true);
            table.settle(slot);
        });
        // What is not protected any more need not be copied out.
        for slot in stale {
            self.take_back(now, slot, out);
            self.try_offload(now, slot, out);
        }
    }

    /// Whether a connection that the fast path has is known here.
    #[must_use]
    pub fn knows(&self, key: &FlowKey) -> bool {
        let found = self.table.find(&Key {
            group: key.group as usize,
            client: key.client,
            server: key.server,
        });
        found.is_some()
    }

    /// Takes back every connection that the fast path has: it is going to end.
    pub fn take_back_all(&mut self, now: Time, out: &mut impl Output) {
        self.journaled(now, out, |engine, out| {
            for slot in 0..engine.table.slots_end() {
                engine.take_back(now, slot, out);
                engine.table.touch(slot);
            }
        });
    }

    /// Takes a connection back if the fast path has it.
    pub(super) fn take_back(&mut self, now: Time, slot: usize, out: &mut dyn Output) {
        let Some(connection) = self.table.get(slot).filter(|it| it.offloaded) else {
            return;
        };
        connection.offloaded = false;
        let state = out.reclaim(&flow_key(connection));
        self.handle_records(now, out);
        // A record that another processor is still writing, of whatever connection, keeps back those behind it.
        for _ in 0..PATIENCE {
            let behind = |connection: &mut Connection| {
                let copied = state.as_ref().map_or(0, |state| state.client_pos);
                connection.protected && connection.log.stable() < copied
            };
            if !self.table.get(slot).is_some_and(behind) {
                break;
            }
            std::hint::spin_loop();
            self.handle_records(now, out);
        }
        let (Some(state), Some(connection)) = (state, self.table.get(slot)) else {
            return;
        };
        let Some(group) = &mut self.groups[connection.group] else {
            return;
        };
        let (service, number) = (connection.service, connection.server_number);
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        connection.merge_flow(&state, &mut cx);
        if state.flags & flag::PUNTED != 0 {
            connection.unsettle();
        }
        // The data path forgets it as soon as the journal is written.
        self.table.hurry(true);
        self.table.touch(slot);
    }

    /// The connections that the fast path was given.
    #[must_use]
    pub fn given(&self) -> HashSet<FlowKey> {
        let slots = self.table.slots();
        let given = slots.filter(|(_, connection)| connection.offloaded);
        given.map(|(_, connection)| flow_key(&connection)).collect()
    }

    /// Takes back the connection of this name, if the fast path has it.
    pub(super) fn take_back_named(&mut self, now: Time, key: &Key, out: &mut dyn Output) {
        if let Some(slot) = self.table.find(key) {
            self.take_back(now, slot, out);
        }
    }

    /// Gives connections to the fast path. To be called when all frames are handled that have come: what comes later may
    /// overtake those that still wait. `waiting`: there are such; then only those are given that cannot be made to wait.
    pub fn settle(&mut self, now: Time, waiting: bool, out: &mut dyn Output) {
        let mut ready = std::mem::take(&mut self.ready);
        let mut hushed = Vec::new();
        for slot in ready.drain(..) {
            if !self.give(now, slot, waiting, out) && !hushed.contains(&slot) {
                hushed.push(slot);
            }
        }
        ready.append(&mut hushed);
        self.ready = ready;
    }

    /// Gives a connection to the fast path, if it may have it.
    pub(super) fn try_offload(&mut self, now: Time, slot: usize, out: &mut dyn Output) {
        self.give(now, slot, false, out);
    }

    /// The same; `waiting`: not if its client can be made to be quiet. False: it is, and the connection is to be given
    /// later.
    fn give(&mut self, now: Time, slot: usize, waiting: bool, out: &mut dyn Output) -> bool {
        if !self.config.shortcut {
            return true;
        }
        let Some(connection) = self.table.get(slot).filter(|it| !it.offloaded) else {
            return true;
        };
        let Some(group) = self.groups[connection.group]
            .as_mut()
            .filter(|it| it.shortcut)
        else {
            return true;
        };
        let (service, number) = (connection.service, connection.server_number);
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        let may = connection.may_offload(&cx);
        if may && waiting && connection.hush(&cx) {
            self.table.schedule(slot);
            return false;
        }
        connection.unhush(&mut cx);
        if may {
            let state = connection.flow_state(slot);
            connection.packets = 0;
            connection.offloaded = out.offload(&flow_key(connection), &state);
        }
        true
    }

    /// Brings what the engine knows of the connections that the fast path has up to date, for a status.
    pub fn refresh(&mut self, now: Time, out: &mut dyn Output) {
        self.handle_records(now, out);
        for slot in self.table.all_offloaded() {
            let Some(connection) = self.table.get(slot).filter(|it| it.offloaded) else {
                continue;
            };
            let (Some(state), Some(group)) = (
                out.peek(&flow_key(connection)),
                &mut self.groups[connection.group],
            ) else {
                continue;
            };
            let (service, number) = (connection.service, connection.server_number);
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            connection.merge_flow(&state, &mut cx);
            self.table.schedule(slot);
        }
    }
}

fn route(group: &Group, index: usize, role: Role) -> Route {
    let forward = |to, side| Route::Forward {
        to,
        group: index as u32,
        side,
    };
    match role {
        Role::North => forward(group.ports.active, Side::North),
        Role::Active => forward(group.ports.north, Side::South),
        Role::Leaving => Route::Watched,
        Role::Standby | Role::Dead => Route::Closed,
    }
}
