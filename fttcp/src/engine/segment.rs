// SPDX-License-Identifier: GPL-3.0-only
//! From a frame to its connection.

use super::places::South;
use super::table::Key;
use super::{Engine, Event, Role, links};
use crate::conn::{Connection, State, Verdict, prepare_syn};
use crate::control::Outbound;
use crate::frame::{Offload, Output, PortId, Time};
use crate::wire::{Flags, Segment, locate};

impl Engine {
    /// Takes a frame of a group with services. Says where it is to be forwarded.
    ///
    /// What is not TCP, not of a protected service, or not well-formed, is forwarded untouched: the engine keeps no
    /// state of it, and its receiver judges it.
    pub(super) fn protect(
        &mut self,
        now: Time,
        index: usize,
        role: Role,
        frame: &mut [u8],
        offload: &Offload,
        out: &mut dyn Output,
    ) -> Option<PortId> {
        self.touched = None;
        self.table.hurry(false);
        let Ok(layout) = locate(frame) else {
            if self.take_fragment(now, index, role, frame, out).is_some() {
                return None;
            }
            let group = self.groups[index].as_mut()?;
            let swallow =
                role == Role::Active && group.has_solicited() && group.answers_solicitation(frame);
            if swallow {
                return None;
            }
            return self.judge_icmp(now, index, role, frame, offload, out);
        };
        let group = self.groups[index].as_mut()?;
        let (client, server) = match role {
            Role::North => (layout.src, layout.dst),
            _ => (layout.dst, layout.src),
        };
        let mut key = Key {
            group: index,
            client,
            server,
        };
        if role != Role::North
            && let Some(north) = self.table.renamed(&key)
        {
            key = north;
        }
        let service = group.service(key.server);
        let seen = service.is_some() || group.links.may_know(&key);
        let passes = group.spec.outbound == Outbound::Pass;
        let upgrading = group.leaving().is_some();
        let (north, active) = (group.ports.north, group.ports.active);
        let opposite = if role == Role::North { active } else { north };
        if !seen && passes && !upgrading {
            return Some(opposite);
        }
        let Ok(mut segment) = Segment::parse(frame, layout, offload) else {
            return (role != Role::Leaving).then_some(opposite);
        };
        let flags = segment.head().flags;
        let told = [Flags::SYN, Flags::FIN, Flags::RST];
        // A server's word on its window and its clock must not be forgotten either: the client has it.
        if role != Role::North
            || !segment.payload().is_empty()
            || told.into_iter().any(|flag| flags.has(flag))
        {
            self.table.hurry(true);
        }
        let opens = role == Role::North && links::opens(&segment);
        let (service, announced) = match service {
            None if seen => self.linked_service(now, &key, opens).unzip(),
            known => (known, None),
        };
        let Some(service) = service else {
            let group = self.groups[index].as_ref()?;
            if passes && !group.links.may_be_opened(&key) {
                return self.stranger(&key, role, flags);
            }
            return self.outbound(now, key, role, &mut segment, out);
        };
        let found = self.table.find(&key);
        let mut number = self.number_for(&key, opens);
        let announcer = announced
            .flatten()
            .and_then(|by| self.number_with(index, by));
        if let Some(slot) = found {
            self.take_back(now, slot, out);
            if self.is_stray(slot, role) {
                return self.refuse_stray(now, slot, &segment, out);
            }
            number = self.table.get(slot).map_or(number, |it| it.server_number);
        }
        let unfinished =
            role != Role::North && self.linked_unfinished(now, index, key, service, out);
        let group = self.groups[index].as_mut()?;
        let newest = announcer.unwrap_or(group.number);
        let to = if role == Role::North {
            group.port_of(number)
        } else {
            north
        };
        let south = group.links.south(&key);
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        let known = found.and_then(|slot| self.table.get(slot));
        let again = known
            .as_ref()
            .is_some_and(|known| known.client.isn == segment.head().seq || known.tells_apart());
        if opens && !again {
            if found.is_none() && self.table.len() >= self.config.max_connections {
                // One that is over makes room. Else, whoever is there answers within moments: the oldest that has not.
                let table = &self.table;
                let mut over = std::iter::from_fn(|| self.closed.pop_front());
                let over = over.find(|&(slot, generation)| table.is_over(slot, generation));
                let over = over.map(|(slot, _)| slot);
                if let Some(oldest) = over.or_else(|| self.table.oldest_half_open()) {
                    self.table.remove(oldest);
                } else {
                    cx.counters.unprotected += 1;
                    return Some(opposite);
                }
            }
            let mut connection = if segment.head().signed {
                let connection = Connection::unknown(index, service, &segment, &cx);
                cx.counters.unprotected += 1;
                cx.events.push(Event::Unprotected {
                    ends: connection.ends(),
                    reason: "its segments are signed (TCP-MD5 or TCP-AO)",
                });
                connection
            } else {
                prepare_syn(&mut segment, &cx);
                Connection::new(index, service, &segment, &cx)
            };
            self.generations = self.generations.wrapping_add(1);
            connection.generation = self.generations;
            connection.server_number = newest;
            let south = south.filter(|_| announced.is_some_and(|by| by.is_some()));
            if let Some(South::At(port)) = south {
                connection.south_port = Some(port);
                segment.set_dst_port(port);
            }
            let slot = self.table.insert(key, connection);
            self.evictable.push_back((slot as u32, self.generations));
            self.table.rename(slot, |connection| {
                connection.log_syn_data(&segment, &mut cx);
            });
            if let Some(by) = announced.flatten() {
                self.link(slot, by);
            }
            self.table.note_half_open(slot);
            self.table.schedule(slot);
            self.evict(now, out);
            // The replacement will say where: the SYN leaves then.
            let group = self.groups[index].as_ref();
            return group
                .filter(|_| south != Some(South::Awaited))
                .map(|it| it.port_of(newest));
        }
        let (Some(slot), Some(connection)) = (found, known) else {
            let counts = role == Role::North && !segment.head().flags.has(Flags::RST);
            if counts && self.table.len() < self.config.max_connections {
                cx.counters.unprotected += 1;
                let mut connection = Connection::unknown(index, service, &segment, &cx);
                self.generations = self.generations.wrapping_add(1);
                connection.generation = self.generations;
                connection.server_number = number;
                let slot = self.table.insert(key, connection);
                self.evictable.push_back((slot as u32, self.generations));
                self.table.schedule(slot);
                self.evict(now, out);
            }
            return Some(to);
        };
        let lived = connection.state != State::Closed;
        connection.linked_unfinished = unfinished;
        let mut verdict = match role {
            Role::North => connection.on_client_segment(&mut segment, &mut cx),
            _ => connection.on_server_segment(&mut segment, &mut cx),
        };
        match (role, connection.south_port) {
            (Role::North, Some(port)) => segment.set_dst_port(port),
            (_, Some(_)) => segment.set_src_port(key.server.port()),
            (Role::North, None) if opens && south == Some(South::Awaited) => {
                verdict = Verdict::Drop;
            }
            _ => {}
        }
        let waits = connection.uncommitted.is_some();
        if lived && connection.state == State::Closed {
            let generation = connection.generation;
            self.note_closed(slot, generation);
        }
        self.table.schedule(slot);
        if waits {
            self.note_uncommitted(slot);
        }
        let group = self.groups[index].as_ref();
        if group.is_some_and(|group| group.announces(service)) {
            self.follow_news(now, slot, out);
        } else if group.is_some_and(|group| group.is_announced(service)) {
            self.follow_linked(now, slot, out);
        }
        if self.config.shortcut && role == Role::North {
            self.touched = Some(slot);
        }
        let moved = upgrading && self.follow(now, slot, verdict, out);
        (verdict == Verdict::Forward && !(moved && role == Role::North)).then_some(to)
    }

    /// A connection is over. If they are too many, those that were over first are forgotten: what still comes of them is
    /// passed on as before, but as that of a connection whose beginning was not seen.
    pub(super) fn note_closed(&mut self, slot: usize, generation: u32) {
        self.closed.push_back((slot, generation));
        while self.closed.len() > self.config.max_closed {
            if let Some((slot, generation)) = self.closed.pop_front()
                && self.table.is_over(slot, generation)
            {
                self.table.remove(slot);
            }
        }
    }

    /// Forgets the oldest half-open connections, and those only passed on, that are too many.
    fn evict(&mut self, now: Time, out: &mut dyn Output) {
        while self.evictable.len() > self.config.max_half_open {
            let Some((slot, generation)) = self.evictable.pop_front() else {
                return;
            };
            let slot = slot as usize;
            if !self.table.evictable(slot, generation) {
                continue;
            }
            self.take_back(now, slot, out);
            if let Some(connection) = self.table.get(slot)
                && let Some(group) = &mut self.groups[connection.group]
            {
                group.counters.evicted += 1;
            }
            self.table.remove(slot);
        }
    }
}
