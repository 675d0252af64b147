// SPDX-License-Identifier: GPL-3.0-only
//! The engine: groups, ports and connections; frames, commands and the time in, frames and reports out.
//!
//! Sans-IO: it opens nothing, reads no clock and starts no thread. Its owner (the daemon, a test, the simulation)
//! gives it frames with [`Engine::handle_frame`], wakes it with [`Engine::handle_timeout`] when
//! [`Engine::next_timeout`] is reached, and reads [`Engine::poll_event`] until it is empty.
//!
//! Who lives here. Connections: `table`, `dormant`, `group`, `links`, `places`. Frames: `frames`, `segment`, `fragments`,
//! `icmp`, `outbound`, `opened_links`; `offload`, what the fast path has. Answers that wait for a disk: `commits`. Commands: `failover`, `upgrade`, `moved_links`,
//! `probe`. Another process: `image`, `recorder`; one connection alone: `handover`. Reports: `event`, `error`, `status`, `history`.

mod commits;
mod dormant;
mod error;
mod event;
mod failover;
mod fragments;
mod frames;
mod group;
mod handover;
mod history;
mod icmp;
mod image;
mod links;
mod moved_links;
mod offload;
mod opened_links;
mod outbound;
mod places;
mod probe;
mod recorder;
mod segment;
mod status;
mod table;
mod upgrade;

use std::collections::VecDeque;
use std::time::Duration;

use crate::conn::{Desk, State, Verdict};
use crate::control::{GroupSpec, Outbound, ServiceSpec};
use crate::frame::{Output, PortId, Time};
use crate::service::Kinds;
use crate::stable::Store;
use fragments::Fragments;
use group::{Group, Role};
use recorder::Recorder;
use table::Table;

pub use crate::stable::{Chunk, Spill, Unreadable};
pub(crate) use commits::Commits;
pub use commits::{Commit, Committed};
pub use error::EngineError;
pub use event::{Ends, Event};
pub(crate) use image::{GroupImage, VERSION as IMAGE_VERSION};
pub use image::{Image, ImageError, Imported};

/// Limits of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Most connections tracked at once; further ones pass unprotected.
    pub max_connections: usize,
    /// The data path can forward connections by itself ([`Output::offload`]).
    pub shortcut: bool,
    /// Most memory, in bytes, that all connections together use for the bytes that they keep. A connection that finds
    /// it used up fares as with a full buffer of its own (`ServiceSpec::on_full`).
    pub memory_bytes: u64,
    /// A connection that has been quiet for so long is kept in few bytes until something happens to it.
    pub doze_after: Duration,
    /// Most connections that are half-open, or only passed on, at once. Beyond it the oldest of them is forgotten: a
    /// flood of SYNs costs this much memory, and takes none from established connections.
    pub max_half_open: usize,
    /// Most connections that are over, and were never moved, to be remembered at once. Beyond it the one that was over
    /// first is forgotten before its minute is.
    pub max_closed: usize,
    /// A new journal is begun when the present one is this many bytes larger than twice what is alive.
    pub journal_slack: u64,
    /// The kinds of services that there are.
    pub kinds: Kinds,
    /// Most events kept for [`Engine::poll_event`]; further ones are dropped.
    pub max_events: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_connections: 1 << 17,
            shortcut: false,
            memory_bytes: 256 << 20,
            doze_after: Duration::from_secs(5),
            max_half_open: 1 << 14,
            max_closed: 1 << 14,
            journal_slack: 1 << 20,
            kinds: Kinds::default(),
            max_events: 1024,
        }
    }
}

/// The ports of a group, opened by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPorts {
    /// Towards the clients.
    pub north: PortId,
    /// Towards the active server.
    pub active: PortId,
    /// Towards the standbys, in the order of [`GroupSpec::standbys`].
    pub standbys: Vec<PortId>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    groups: Vec<Option<Group>>,
    ports: Vec<(PortId, usize, Role)>,
    table: Table,
    /// Half-open connections and those only passed on, oldest first: slot and generation. Also some that are so no more.
    evictable: VecDeque<(u32, u32)>,
    /// Connections that are over, in the order in which they were: slot and generation.
    closed: VecDeque<(usize, u32)>,
    fragments: Fragments,
    recorder: Option<Box<Recorder>>,
    desk: Desk,
    /// The connection of the frame at hand.
    touched: Option<usize>,
    /// Connections that the fast path may perhaps have; see [`Engine::settle`].
    ready: Vec<usize>,
    generations: u32,
    spill: Option<Store>,
}

impl Engine {
    /// An engine without groups.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            desk: Desk::new(config.max_events),
            table: Table::new(config.memory_bytes, config.doze_after),
            evictable: VecDeque::new(),
            closed: VecDeque::new(),
            fragments: Fragments::default(),
            config,
            groups: Vec::new(),
            ports: Vec::new(),
            recorder: None,
            touched: None,
            ready: Vec::new(),
            generations: 0,
            spill: None,
        }
    }

    /// Long logs of services that ask for it (`ServiceSpec::spill_bytes`) go to `spill`. To be called once, before any
    /// group is added.
    pub fn set_spill(&mut self, spill: Box<dyn Spill>) {
        self.spill = Some(Store::new(spill));
    }

    fn find(&self, name: &str) -> Result<usize, EngineError> {
        self.groups
            .iter()
            .position(|group| group.as_ref().is_some_and(|group| group.spec.name == name))
            .ok_or_else(|| EngineError::NoGroup(name.to_owned()))
    }

    fn check_free(&self, group: &str, port: PortId) -> Result<(), EngineError> {
        if self
            .ports
            .iter()
            .any(|&(used, _, role)| used == port && role != Role::Dead)
        {
            return Err(EngineError::PortUsed {
                group: group.to_owned(),
                port,
            });
        }
        Ok(())
    }

    /// Starts forwarding for a group, and protecting the services that its spec names.
    ///
    /// # Errors
    /// The name or a port is taken, a plug-in is unknown, or the ports do not match the spec.
    pub fn add_group(&mut self, spec: GroupSpec, ports: GroupPorts) -> Result<(), EngineError> {
        let services = spec.services.into_iter();
        let spec = GroupSpec {
            services: services.map(ServiceSpec::settled).collect(),
            outbound_service: spec.outbound_service.settled(),
            ..spec
        };
        self.check_spill(&spec)?;
        self.place_group(None, spec, ports).map(drop)
    }

    /// Whether what a group's services ask of the spill file can be done. Groups of an image are taken in without it: a
    /// restart with other options must not end their connections.
    fn check_spill(&self, spec: &GroupSpec) -> Result<(), EngineError> {
        let outbound = (spec.outbound != Outbound::Pass).then_some(&spec.outbound_service);
        let mut asking = spec.services.iter().chain(outbound);
        let least = self.spill.as_ref().map(|it| 2 * it.chunk_bytes() as u64);
        let refused = asking.find(|service| {
            let fits = least.is_some_and(|least| u64::from(service.buffer_bytes) >= least);
            service.spill_bytes > 0 && !fits
        });
        refused.map_or(Ok(()), |service| {
            Err(EngineError::CannotSpill {
                group: spec.name.clone(),
                port: service.port,
                least,
            })
        })
    }

    /// Adds a group, under the number `wanted` if that is free. Returns its number.
    fn place_group(
        &mut self,
        wanted: Option<usize>,
        spec: GroupSpec,
        ports: GroupPorts,
    ) -> Result<usize, EngineError> {
        if self.find(&spec.name).is_ok() {
            return Err(EngineError::GroupExists(spec.name));
        }
        if spec.standbys.len() != ports.standbys.len() {
            return Err(EngineError::PortCount {
                group: spec.name,
                interfaces: spec.standbys.len(),
                ports: ports.standbys.len(),
            });
        }
        let plugins = group::plugins(&spec, &self.config.kinds)?;
        let mut all = vec![(ports.north, Role::North), (ports.active, Role::Active)];
        all.extend(ports.standbys.iter().map(|&port| (port, Role::Standby)));
        for (at, &(port, _)) in all.iter().enumerate() {
            self.check_free(&spec.name, port)?;
            if all[..at].iter().any(|&(other, _)| other == port) {
                return Err(EngineError::PortUsed {
                    group: spec.name,
                    port,
                });
            }
        }
        let wanted = wanted.filter(|&index| self.groups.get(index).is_none_or(Option::is_none));
        let index = wanted.unwrap_or_else(|| {
            let free = self.groups.iter().position(Option::is_none);
            free.unwrap_or(self.groups.len())
        });
        while self.groups.len() <= index {
            self.groups.push(None);
        }
        for (port, role) in all {
            self.ports.retain(|&(other, ..)| other != port);
            self.ports.push((port, index, role));
        }
        let mut group = Group::new(spec, ports, plugins, self.config.shortcut);
        group.spill = self.spill.clone();
        let makers = group.services.iter().map(|service| service.make.clone());
        self.table.set_plugins(index, makers.collect());
        self.groups[index] = Some(group);
        self.regrouped();
        Ok(index)
    }

    /// Ends a group and forgets its connections. Returns the ports that are no longer used.
    ///
    /// # Errors
    /// There is no such group.
    pub fn remove_group(
        &mut self,
        now: Time,
        name: &str,
        out: &mut dyn Output,
    ) -> Result<Vec<PortId>, EngineError> {
        let index = self.find(name)?;
        let mut closed = Vec::new();
        self.ports.retain(|&(port, group, role)| {
            if group == index && role != Role::Dead {
                closed.push(port);
            }
            group != index
        });
        for slot in self.table.of_group(index) {
            self.take_back(now, slot, out);
            self.table.remove(slot);
        }
        self.groups[index] = None;
        for north in [false, true] {
            self.fragments.forget(index, north);
        }
        self.regrouped();
        Ok(closed)
    }

    /// Adds a standby, last in the order of taking over.
    ///
    /// # Errors
    /// There is no such group, or the port is used.
    pub fn add_standby(
        &mut self,
        group: &str,
        interface: String,
        port: PortId,
    ) -> Result<(), EngineError> {
        let index = self.find(group)?;
        self.check_free(group, port)?;
        if let Some(group) = &mut self.groups[index] {
            group.spec.standbys.push(interface);
            group.ports.standbys.push(port);
            self.ports.retain(|&(other, ..)| other != port);
            self.ports.push((port, index, Role::Standby));
        }
        self.regrouped();
        Ok(())
    }

    /// Takes a standby out of its group, because its interface is gone: it must not be failed over to. Returns the
    /// group's name; `None` if the port is no standby's.
    pub fn remove_standby(&mut self, port: PortId) -> Option<&str> {
        let known = |entry: &&(PortId, usize, Role)| entry.0 == port && entry.2 == Role::Standby;
        let &(_, index, _) = self.ports.iter().find(known)?;
        self.ports.retain(|&(other, ..)| other != port);
        let group = self.groups[index].as_mut()?;
        let place = group
            .ports
            .standbys
            .iter()
            .position(|&other| other == port)?;
        group.ports.standbys.remove(place);
        group.spec.standbys.remove(place);
        self.regrouped();
        Some(&self.groups[index].as_ref()?.spec.name)
    }

    /// Does what has become due by `now`.
    pub fn handle_timeout(&mut self, now: Time, out: &mut impl Output) {
        self.journaled(now, out, |engine, out| engine.do_due(now, out));
    }

    fn do_due(&mut self, now: Time, out: &mut dyn Output) {
        self.table.hurry(false);
        self.expire_fragments(now);
        self.upgrades_due(now, out);
        while let Some(slot) = {
            let groups = &self.groups;
            self.table.pop_due(now, |connection| {
                let group = groups.get(connection.group).and_then(Option::as_ref);
                if let Some(service) = group.and_then(|it| it.services.get(connection.service)) {
                    let una = connection.server.una;
                    connection.sent.settle_down(una, &service.masks);
                }
            })
        } {
            self.take_back(now, slot, out);
            let Some(connection) = self.table.get(slot) else {
                continue;
            };
            let Some(group) = &mut self.groups[connection.group] else {
                continue;
            };
            let (service, number) = (connection.service, connection.server_number);
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            let (lived, generation) = (connection.state != State::Closed, connection.generation);
            let (expired, index) = (connection.on_timeout(&mut cx), connection.group);
            let (ends, opened) = (connection.ends(), connection.outbound.is_some());
            let closed = lived && connection.state == State::Closed;
            let announces = self.groups[index].as_ref();
            if announces.is_some_and(|group| group.announces(service)) {
                self.follow_news(now, slot, out);
            }
            self.note_history(slot);
            if expired && !self.still_needed(now, slot) {
                self.table.remove(slot);
                if opened {
                    self.forget_opening(index, ends, out);
                }
            } else {
                self.table.schedule(slot);
                self.try_offload(now, slot, out);
            }
            if closed {
                self.note_closed(slot, generation);
            }
            self.follow(now, slot, Verdict::Drop, out);
            self.start_queued(now, index, out);
        }
    }

    /// When [`Engine::handle_timeout`] is to be called next; `None`: nothing is waiting.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let recorder = self.recorder.as_ref().and_then(|recorder| recorder.due());
        let waiting = [
            self.table.next_wake(),
            self.fragments.deadline(),
            self.next_upgrade(),
            recorder,
        ];
        waiting.into_iter().flatten().min()
    }

    /// How many connections were put to sleep since the last call: what they held while awake is free, in many pieces.
    pub fn take_dozed(&mut self) -> usize {
        self.table.take_dozed()
    }

    /// Memory that all connections use now for the bytes that they keep; bounded by [`EngineConfig::memory_bytes`].
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.table.memory()
    }

    /// Memory of the longest log of a connection that is awake: at most its service's `buffer_bytes`.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn longest_log(&self) -> usize {
        self.table.longest_log()
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.desk.events.pop()
    }
}

#[cfg(test)]
mod tests;
