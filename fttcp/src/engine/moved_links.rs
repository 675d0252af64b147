// SPDX-License-Identifier: GPL-3.0-only
//! Connections that another one announces, when their server dies: they go on with the replacement at a port of its own,
//! which it says to that other one. And the end of what they are for, which a client is told when it has all of them.

use super::places::{Place, South};
use super::table::Key;
use super::{Ends, Engine};
use crate::conn::{Connection, State};
use crate::frame::{Output, Time};
use crate::recovery::Reached;
use crate::service::Stands;

impl Engine {
    /// Before a failover: what becomes of the connections that these have announced. With the transfers of those that are
    /// `given_up` no other server is to go on.
    pub(super) fn plan_links(&mut self, index: usize, moving: &[usize], given_up: &[usize]) {
        for &slot in moving {
            let service = self.table.get(slot).map_or(0, |it| it.service);
            let announces = |group: &super::Group| group.announces(service);
            if !self.groups[index].as_ref().is_some_and(announces) {
                continue;
            }
            let known = self.table.get(slot);
            let Some((by, link)) = known.map(|control| (control.ends(), control.link())) else {
                continue;
            };
            let linked = self.linked_slot(index, by);
            let stands = linked.and_then(|slot| self.table.get(slot)?.stands());
            let links = self.groups[index].as_ref().map(|group| &group.links);
            let place = link.and_then(|link| Place::announced(link, by));
            let newest = links.and_then(|links| links.newest(by));
            // None has come yet.
            let free = newest.is_some_and(|it| Some(it.place) == place && it.linked.is_none());
            let stands = stands.or_else(|| free.then(Stands::default));
            let stands = stands.filter(|_| !given_up.contains(&slot));
            let Some(control) = self.table.get(slot) else {
                continue;
            };
            let moves = control.linked_stands(stands);
            self.table.schedule(slot);
            if let Some(group) = &mut self.groups[index] {
                let south = moves.asks.then_some(South::Awaited);
                group.links.set_south(by, south);
            }
            if let Some(slot) = linked
                && let Some(connection) = self.table.get(slot)
            {
                connection.goes(moves.linked);
                self.table.schedule(slot);
            }
        }
    }

    /// The server is dead: those of these connections of whose transfers its servers die.
    pub(super) fn poisoned_links(
        &mut self,
        now: Time,
        index: usize,
        moving: &[usize],
        out: &mut dyn Output,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        for &slot in moving {
            let service = self.table.get(slot).map_or(0, |it| it.service);
            let announces = |group: &super::Group| group.announces(service);
            if !self.groups[index].as_ref().is_some_and(announces) {
                continue;
            }
            let by = self.table.get(slot).map(|control| control.ends());
            let linked = by.and_then(|by| self.linked_slot(index, by));
            let known = linked.and_then(|slot| self.table.get(slot));
            let known = known.filter(|it| it.stands().is_some());
            let reached = known.map_or_else(Reached::default, |it| it.reached());
            if let Some(linked) = linked {
                self.table.schedule(linked);
            }
            let (Some(control), Some(group)) = (self.table.get(slot), &mut self.groups[index])
            else {
                continue;
            };
            let number = control.server_number;
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            let given_up = control.gives_up_linked(reached, &mut cx);
            self.table.schedule(slot);
            if !given_up {
                continue;
            }
            found.push(slot);
            // Before its close is explained: half a file must not look like a whole one.
            if let Some(linked) = linked
                && let Some(connection) = self.table.get(linked)
            {
                connection.swallow_close(&mut cx);
                self.table.schedule(linked);
            }
        }
        found
    }

    /// The replacement expects at this port what `by` has announced.
    pub(super) fn linked_moves(
        &mut self,
        now: Time,
        index: usize,
        by: Ends,
        port: u16,
        out: &mut dyn Output,
    ) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        group.links.set_south(by, Some(South::At(port)));
        self.announce_services(index, out);
        let Some(slot) = self.linked_slot(index, by) else {
            return;
        };
        let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
        else {
            return;
        };
        let (service, number) = (connection.service, connection.server_number);
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        self.table
            .rename(slot, |connection| connection.come_to(port, &mut cx));
        self.table.schedule(slot);
    }

    /// No replacement goes on with what `by` has announced.
    pub(super) fn lose_linked(&mut self, now: Time, index: usize, by: Ends, out: &mut dyn Output) {
        if let Some(group) = &mut self.groups[index] {
            group.links.set_south(by, None);
        }
        let Some(slot) = self.linked_slot(index, by) else {
            return;
        };
        let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
        else {
            return;
        };
        let (service, number) = (connection.service, connection.server_number);
        let (generation, lived) = (connection.generation, connection.state != State::Closed);
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        let reason = "the replacement does not go on with its session";
        connection.lose_linked(reason, &mut cx);
        let closed = connection.state == State::Closed;
        self.table.schedule(slot);
        if lived && closed {
            self.note_closed(slot, generation);
        }
    }

    /// Whether the client of this connection may lack something of the one that it has announced.
    pub(super) fn linked_unfinished(
        &mut self,
        now: Time,
        index: usize,
        key: Key,
        service: usize,
        out: &mut dyn Output,
    ) -> bool {
        let announces = |group: &super::Group| group.announces(service);
        if !self.groups[index].as_ref().is_some_and(announces) {
            return false;
        }
        let Key { client, server, .. } = key;
        let Some(slot) = self.linked_slot(index, Ends { client, server }) else {
            return false;
        };
        self.take_back(now, slot, out);
        let unfinished = self.table.get(slot).is_some_and(|it| it.is_unfinished());
        self.table.schedule(slot);
        unfinished
    }

    /// After a segment of a connection that another has announced: if its client has all of it, the other one may say so; if
    /// its client has ended it, no replacement need be asked to go on with it.
    pub(super) fn follow_linked(&mut self, now: Time, slot: usize, out: &mut dyn Output) {
        let Some(connection) = self.table.get(slot) else {
            return;
        };
        let (index, unfinished) = (connection.group, connection.is_unfinished());
        let (ends, over) = (connection.ends(), connection.state == State::Closed);
        self.table.schedule(slot);
        let group = self.groups[index].as_ref().filter(|_| !unfinished);
        let Some(links) = group.map(|group| &group.links) else {
            return;
        };
        let Some(by) = links.announcer(ends) else {
            return;
        };
        let over = over && links.newest(by).is_some_and(|it| it.linked == Some(ends));
        let Some(slot) = self.table.find(&Key::of(index, by)) else {
            return;
        };
        let waits = |it: &mut Connection| it.withheld.is_some();
        let (Some(control), Some(group)) = (self.table.get(slot), &mut self.groups[index]) else {
            return;
        };
        let gone = over && control.state == State::Recovering;
        if waits(control) || gone {
            let (service, number) = (control.service, control.server_number);
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            control.pass_withheld(&mut cx);
            if gone {
                control.linked_is_gone(&mut cx);
            }
            self.table.touch(slot);
            self.follow_news(now, slot, out);
        }
        self.table.schedule(slot);
    }
}
