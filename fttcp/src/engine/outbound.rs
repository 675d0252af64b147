// SPDX-License-Identifier: GPL-3.0-only
//! Connections that the server opens: which one a replacement means.
//!
//! A SYN of the active server is a new connection, unless connections of its predecessor wait to be opened again
//! ([`Awaited`]). Of those to the same remote end, the logger answers in the name of
//!
//! 1. the one with the same local port (a fixed port such as FTP's 20 is part of what the service does);
//! 2. else the first not yet taken, in the order of opening; one with a privileged port does not count.
//!
//! When the replacement says something first, that is compared with what had been said on each of them: requests that
//! run at the same time come in any order. If it fits another better, that one takes over; if it fits none, it is a new
//! connection after all, and is opened at the peer then.
//!
//! Connections that are over are awaited only if what is replayed may open them again (`history`), and until the failover is
//! done: later, the same request is a new one.
//!
//! One that another connection has announced (`opened_links`) is known by its client's end alone, and kept under any policy
//! but that which forbids it.
//!
//! What is not seen as opened by the server: a SYN from the port of a protected service.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::history::History;
use super::table::Key;
use super::{Ends, Engine, Event, Role};
use crate::conn::{Adopted, Connection, Outbound as Opened, State, Verdict, prepare_syn};
use crate::control::Outbound;
use crate::frame::{Output, PortId, Time};
use crate::wire::{EthernetFrame, Flags, OptionsRepr, Segment, SegmentRepr, SeqNumber};

/// Most remote ends whose refusal is told.
const MAX_TOLD: usize = 1024;

/// Ports from which a new connection is seen by its peer if its own is in use there.
const SPARE_PORTS: std::ops::Range<u16> = 49_152..65_535;

/// A connection in its slot, which another may have taken since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) slot: usize,
    pub(super) serial: u64,
}

/// What a group knows of the connections that its server opens.
#[derive(Debug, Default)]
pub(super) struct Opening {
    opened: u64,
    /// May be opened again by the replacement, in the order of opening.
    awaited: Vec<Place>,
    pub(super) history: History,
    told: HashSet<SocketAddr>,
}

impl Opening {
    /// The next connection that the server opens, from this port.
    fn next(&mut self, south_port: u16, keep: bool) -> Opened {
        let serial = self.opened;
        self.opened += 1;
        Opened {
            serial,
            keep,
            linked: false,
            south_port,
            seq_delta: 0,
            ts_delta: 0,
            over: None,
            told: None,
            in_history: false,
        }
    }
}

pub(super) fn place(slot: usize, connection: &Connection) -> Option<Place> {
    let serial = connection.outbound.as_ref()?.serial;
    Some(Place { slot, serial })
}

impl Engine {
    /// Takes a TCP segment that is of no protected service. Says where it is to be forwarded.
    pub(super) fn outbound(
        &mut self,
        now: Time,
        key: Key,
        role: Role,
        segment: &mut Segment<'_>,
        out: &mut dyn Output,
    ) -> Option<PortId> {
        let flags = segment.head().flags;
        let opens = flags.has(Flags::SYN) && !flags.has(Flags::ACK) && !flags.has(Flags::RST);
        let found = match role {
            Role::North => self.table.find(&key),
            _ if opens => {
                let north = self.groups[key.group].as_ref()?.ports.north;
                let opened = self.server_opens(now, key, role, segment, out);
                return opened.then_some(north);
            }
            _ => self.table.find_south(&key),
        };
        let Some(mut slot) = found else {
            return self.stranger(&key, role, flags);
        };
        if self.is_stray(slot, role) {
            return self.refuse_stray(now, slot, segment, out);
        }
        if role != Role::North {
            slot = self.choose(now, key.group, slot, segment, out)?;
        }
        let known = self.table.get(slot)?;
        let (service, number) = (known.service, known.server_number);
        let group = self.groups[key.group].as_mut()?;
        let to = match role {
            Role::North => group.port_of(number),
            _ => group.ports.north,
        };
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        let verdict = self.table.rename(slot, |connection| {
            let verdict = match role {
                Role::North => connection.on_client_segment(segment, &mut cx),
                _ => connection.on_server_segment(segment, &mut cx),
            };
            match role {
                Role::North => segment.set_dst_port(connection.south_port()),
                _ => segment.set_src_port(connection.path.server.socket.port()),
            }
            verdict
        });
        self.table.schedule(slot);
        self.note_history(slot);
        let group = self.groups[key.group].as_ref();
        if group.is_some_and(|group| group.is_announced(service)) {
            self.follow_linked(now, slot, out);
        }
        (verdict == Some(Verdict::Forward)).then_some(to)
    }

    /// The server's SYN.
    fn server_opens(
        &mut self,
        now: Time,
        key: Key,
        role: Role,
        segment: &mut Segment<'_>,
        out: &mut dyn Output,
    ) -> bool {
        let Some(number) = self.number_of(key.group, role) else {
            return false;
        };
        let announced = self.opening_service(&key, number);
        let known = self.table.find_south(&key);
        let known = known.and_then(|slot| self.table.get(slot));
        let known = known.map(|known| known.service);
        let Some(group) = &mut self.groups[key.group] else {
            return false;
        };
        let policy = group.spec.outbound;
        let unannounced = match policy {
            Outbound::Pass => known,
            _ => Some(group.outbound_service()),
        };
        let Some(service) = announced.map(|(service, _)| service).or(unannounced) else {
            // Nothing is to be known of it.
            return true;
        };
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        if policy == Outbound::Forbid {
            cx.send_south(&refusal(segment, &segment.ethernet()));
            cx.counters.forbidden += 1;
            let told = &mut group.opening.told;
            if told.len() < MAX_TOLD && told.insert(key.client) {
                let (client, server) = (key.client, key.server);
                let ends = Ends { client, server };
                self.desk.events.push(Event::Forbidden { ends });
            }
            return false;
        }
        let head = *segment.head();
        if let Some(slot) = self.table.find_south(&key)
            && let Some(known) = self.table.get(slot)
        {
            let lives = matches!(known.state, State::Established | State::Recovering);
            if known.server_number != number && lives && cx.pair {
                // The other server of an upgrade has a connection of this name, which cannot be told from this one.
                cx.send_south(&refusal(segment, &segment.ethernet()));
                self.table.schedule(slot);
                return false;
            }
            if known.answered(head.seq) {
                known.repeat_answer(&mut cx);
                self.table.schedule(slot);
                return false;
            }
            if known.map.is_none() && known.server.isn == head.seq && !known.awaits_opening() {
                prepare_syn(segment, &cx);
                return true;
            }
            match known.state {
                State::Recovering => {
                    self.table.rename(slot, Connection::unanswer);
                }
                State::Established => {
                    // The server knows nothing of it any more.
                    known.reset_client(&mut cx);
                    known.close(&mut cx);
                }
                State::Opening | State::Closed | State::Orphaned => {}
            }
            self.table.schedule(slot);
            self.note_history(slot);
        }
        self.table.forget_south(&key);
        let awaited = match announced {
            Some(_) => self.waiting_link(&key, &head).map(|slot| (slot, true)),
            None if policy == Outbound::Keep => self.awaited(key, segment),
            None => None,
        };
        if let Some((slot, alone)) = awaited {
            let Some(group) = &mut self.groups[key.group] else {
                return false;
            };
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            self.table.rename(slot, |connection| {
                connection.answer(&head, key.server.port(), alone, &mut cx);
            });
            self.table.schedule(slot);
            return false;
        }
        if announced.is_none() && policy == Outbound::Pass {
            // Nothing of what had this name is this one's.
            self.free_port(key);
            return true;
        }
        self.opened(now, key, number, (service, announced), segment, out)
    }

    /// A connection that no one knows, of this service, and who announced it.
    fn opened(
        &mut self,
        now: Time,
        key: Key,
        number: u32,
        (service, announced): (usize, Option<(usize, Ends)>),
        segment: &mut Segment<'_>,
        out: &mut dyn Output,
    ) -> bool {
        let port = self.free_port(key);
        let Some(group) = &mut self.groups[key.group] else {
            return false;
        };
        let keep = announced.is_some() || group.spec.outbound == Outbound::Keep;
        let mut opened = group.opening.next(key.server.port(), keep);
        opened.linked = announced.is_some();
        let cx = group.context(service, number, now, out, &mut self.desk);
        let room = self.table.len() < self.config.max_connections;
        let (Some(port), true, false) = (port, room, segment.head().signed) else {
            cx.counters.unprotected += 1;
            return true;
        };
        prepare_syn(segment, &cx);
        let mut connection =
            Connection::opened_by_server(key.group, service, segment, port, opened, &cx);
        connection.server_number = number;
        segment.set_src_port(port);
        let slot = self.insert_opened(key, port, connection);
        if let Some((_, by)) = announced {
            self.link(slot, by);
        }
        true
    }

    /// Puts a new connection into the table, under its names in the north and in the south.
    fn insert_opened(&mut self, key: Key, port: u16, connection: Connection) -> usize {
        let mut server = key.server;
        server.set_port(port);
        let slot = self.table.insert(Key { server, ..key }, connection);
        self.table.rename(slot, |_| ());
        self.table.schedule(slot);
        slot
    }

    /// The port from which the peer is to see a new connection: the server's own, unless the peer has another
    /// connection with it, which the server has with another port.
    fn free_port(&mut self, key: Key) -> Option<u16> {
        let known = self.table.find(&key);
        let known = known.and_then(|slot| self.table.get(slot));
        let dispensable = known.as_ref().is_none_or(|known| {
            !matches!(known.state, State::Established | State::Recovering) || known.over()
        });
        if dispensable {
            if known.is_some_and(|known| known.is_linked())
                && let Some(slot) = self.table.find(&key)
            {
                // It may be repeating its last words.
                self.table.remove(slot);
            }
            self.table.unname(&key);
            return Some(key.server.port());
        }
        let free = |&port: &u16| {
            let mut server = key.server;
            server.set_port(port);
            self.table.find(&Key { server, ..key }).is_none()
        };
        SPARE_PORTS.clone().find(free)
    }

    /// What the replacement said shows that it opened a new connection, after it was answered in another's name.
    fn open_late(
        &mut self,
        now: Time,
        index: usize,
        segment: &Segment<'_>,
        adopted: &Adopted,
        out: &mut dyn Output,
    ) -> Option<usize> {
        let layout = segment.layout();
        let key = Key {
            group: index,
            client: layout.dst,
            server: layout.src,
        };
        let room = self.table.len() < self.config.max_connections;
        let port = self.free_port(key).filter(|_| room)?;
        let group = self.groups[index].as_mut()?;
        let service = group.outbound_service();
        let opened = group.opening.next(layout.src.port(), true);
        let number = group.number;
        let cx = group.context(service, number, now, out, &mut self.desk);
        let mut connection =
            Connection::opened_late((index, service), segment, port, opened, adopted, &cx);
        connection.server_number = number;
        Some(self.insert_opened(key, port, connection))
    }

    /// The connections of a failover have begun to wait.
    pub(super) fn await_openings(&mut self, index: usize, slots: &[usize]) {
        let mut awaited: Vec<Place> = Vec::new();
        for &slot in slots {
            let known = self.table.get(slot).filter(|known| known.awaits_opening());
            awaited.extend(known.and_then(|known| place(slot, known)));
        }
        awaited.sort_unstable_by_key(|place| place.serial);
        if let Some(group) = &mut self.groups[index] {
            group.opening.awaited = awaited;
        }
    }

    /// After a group was taken in from an image.
    pub(super) fn resume_waiting(&mut self, index: usize) {
        let slots = self.table.of_group(index);
        let mut opened = 0;
        for &slot in &slots {
            let known = self.table.get(slot).and_then(|it| it.outbound.as_ref());
            opened = known.map_or(opened, |it| opened.max(it.serial + 1));
        }
        if let Some(group) = &mut self.groups[index] {
            group.opening.opened = opened;
        }
        self.await_openings(index, &slots);
    }

    /// The waiting connections to a remote end, in the order of opening.
    fn waiting(&mut self, index: usize, remote: SocketAddr) -> Vec<usize> {
        let Some(group) = &mut self.groups[index] else {
            return Vec::new();
        };
        let under_way = group
            .progress
            .as_ref()
            .is_some_and(|progress| progress.status.done_us.is_none());
        let mut waiting = Vec::new();
        for known in &group.opening.awaited {
            let connection = self.table.get(known.slot).filter(|connection| {
                place(known.slot, connection).is_some_and(|place| place.serial == known.serial)
                    && connection.awaits_opening()
                    && connection.path.client.socket == remote
                    && !connection.is_linked()
                    && (under_way || !connection.over())
            });
            if connection.is_some() {
                waiting.push(known.slot);
            }
        }
        waiting
    }

    /// The waiting connection that this SYN opens, and whether it is the only one.
    fn awaited(&mut self, key: Key, segment: &Segment<'_>) -> Option<(usize, bool)> {
        const PRIVILEGED: u16 = 1024;
        let mut waiting = self.waiting(key.group, key.client);
        waiting.retain(|&slot| {
            let known = self.table.get(slot);
            known.is_some_and(|known| known.suits(segment.head()))
        });
        let alone = waiting.len() == 1;
        let mut port = |slot: usize| {
            let known = self.table.get(slot);
            known.map_or(0, |known| known.path.server.socket.port())
        };
        let same = waiting
            .iter()
            .find(|&&slot| port(slot) == key.server.port());
        let same = same.copied();
        let first = waiting.into_iter().find(|&slot| port(slot) >= PRIVILEGED);
        same.or(first).map(|slot| (slot, alone))
    }

    /// The replacement says something on the connection in `slot`: on which does it mean to? `None`: that is not known yet,
    /// or it is a new one, for which there is no room.
    fn choose(
        &mut self,
        now: Time,
        index: usize,
        slot: usize,
        segment: &Segment<'_>,
        out: &mut dyn Output,
    ) -> Option<usize> {
        let data = segment.payload();
        let known = self.table.get(slot)?;
        let head = segment.head();
        let says = !data.is_empty() || head.flags.has(Flags::FIN);
        if !known.provisional() || !says || head.flags.has(Flags::RST) {
            return Some(slot);
        }
        if head.seq != known.present_isn() + 1 {
            // It has overtaken the first words, and is repeated behind them.
            self.table.schedule(slot);
            return None;
        }
        if data.is_empty() {
            return Some(slot);
        }
        let remote = known.path.client.socket;
        let others = self.waiting(index, remote);
        let Some(group) = &mut self.groups[index] else {
            return Some(slot);
        };
        let service = group.outbound_service();
        let number = group.number;
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        let known = self.table.get(slot)?;
        let mut fits = known.may_begin_with(data, &cx);
        let mut chosen = slot;
        for other in others {
            if fits == Some(true) {
                break;
            }
            let Some((known, candidate)) = self.table.pair(slot, other) else {
                continue;
            };
            if !candidate.alike(known) {
                continue;
            }
            let candidate = candidate.may_begin_with(data, &cx);
            if candidate == Some(true) || (fits == Some(false) && candidate.is_none()) {
                (fits, chosen) = (candidate, other);
            }
        }
        if fits == Some(false) || chosen != slot {
            let adopted = self.table.rename(slot, Connection::hand_over)??;
            self.table.schedule(slot);
            if fits == Some(false) {
                return self.open_late(now, index, segment, &adopted, out);
            }
            self.table
                .rename(chosen, |other| other.adopt(&adopted, &mut cx));
        }
        Some(chosen)
    }
}

/// What a closed port answers to this SYN.
fn refusal<'a>(segment: &Segment<'_>, ethernet: &'a EthernetFrame<&[u8]>) -> SegmentRepr<'a> {
    let layout = segment.layout();
    let end = |mac, socket| crate::wire::Address { mac, socket };
    SegmentRepr {
        src: end(ethernet.dst(), layout.dst),
        dst: end(ethernet.src(), layout.src),
        tags: ethernet.tags(),
        seq: SeqNumber(0),
        ack: segment.head().seq + (1 + segment.payload().len() as u32),
        flags: Flags::RST.with(Flags::ACK),
        window: 0,
        urgent: 0,
        options: OptionsRepr::default(),
        payload: &[],
    }
}
