// SPDX-License-Identifier: GPL-3.0-only
//! The records of the servers' north side wraps: copied before what depends on them is sent on, and handed to a replacement.
//!
//! A wrap (guest-driver/wrap) writes what its program could not compute into a file that is memory, and publishes it before
//! the `send` that depends on it. So when a frame of that server is here, its records are there: they are copied, and then
//! the frame is sent on. That is the output commit, without a message and without a wait. The copy is the logger's own, and
//! is what counts when the server is dead: of a dead server's file nothing is believed.
//!
//! Who lives here: [`Wraps`], the records of all groups; `server`, one of them; `place` and `area`, where it is; `header`, the
//! words at its beginning. Who may call in: the daemon.

mod area;
mod header;
mod place;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::clock::log;
use super::grants::{Grants, is_place};
use crate::control::{GRANTED, Grant, GroupSpec, WrapStatus};
use crate::frame::PortId;
use crate::service::KINDS;
use area::Area;
use header::{REPLAY, REPLAYS, WAITS};
use place::Place;
use server::{Ordered, Server};

pub(super) use server::Lack;

/// The records of all groups.
#[derive(Debug, Default)]
pub(super) struct Wraps {
    servers: Vec<Server>,
    totals: BTreeMap<String, WrapStatus>,
    areas: Grants,
}

/// Why a group's servers cannot be wrapped as it says.
pub(super) fn check(spec: &GroupSpec) -> Result<(), String> {
    let (group, Some(path)) = (&spec.name, &spec.wrap) else {
        return Ok(());
    };
    // A program that is replayed from its beginning must be told all that it was told.
    if let Some(service) = spec.services.iter().find(|it| it.kind != KINDS[0]) {
        let (port, kind) = (service.port, &service.kind);
        return Err(format!(
            "group {group}: port {port}: servers with a wrap are replayed from their beginning, which {kind} is not; give \
             {} as its kind, or leave out wrap",
            KINDS[0]
        ));
    }
    is_place(path).then_some(()).ok_or_else(|| {
        format!(
            "group {group}: wrap = {path}: expected {GRANTED}, or an absolute path with {{}} once, for the server's \
             interface, such as /run/rxl/{{}}.record"
        )
    })
}

impl Wraps {
    /// Areas that were granted to a logger before this one; from now on they are kept at `path`.
    pub(super) fn keep_areas(&mut self, path: &Path) {
        self.areas.keep_at(path);
    }

    /// No logger comes after this one that is to know them.
    pub(super) fn forget_areas(&self) {
        self.areas.forget();
    }

    /// The record of the server behind `interface`, whose frames come at `port`, is where `template` says.
    pub(super) fn watch(&mut self, group: &str, template: &str, interface: &str, port: PortId) {
        self.totals.entry(group.to_owned()).or_default();
        let place = if template == GRANTED {
            Place::Granted(None)
        } else {
            Place::File {
                path: template.replace("{}", interface).into(),
                file: None,
            }
        };
        self.servers
            .push(Server::new(group, interface, port, place));
        if let Some(area) = self.areas.granted(interface) {
            self.attach(interface, area);
        }
    }

    /// Where the record of the server behind `interface` is: its domain grants other memory now, or none any more.
    ///
    /// # Errors
    /// This domain cannot use what another one grants, or it cannot be kept for the next logger.
    pub(super) fn set_area(&mut self, interface: &str, area: Option<Grant>) -> Result<(), String> {
        // What cannot be kept for the next logger is read by this one all the same.
        let kept = self.areas.set(interface, area);
        match area {
            Some(area) => self.attach(interface, area),
            // Its program may go on without the agent, in the memory that it has.
            None => {
                for server in self
                    .servers
                    .iter_mut()
                    .filter(|it| it.interface == interface)
                {
                    server.withdrawn = true;
                }
            }
        }
        kept
    }

    /// What tells that an agent has something to say, once there is one.
    pub(super) fn bells(&self) -> Option<BorrowedFd<'_>> {
        self.areas.bells()
    }

    fn attach(&mut self, interface: &str, place: Grant) {
        for server in &mut self.servers {
            if server.interface != interface || !matches!(server.place, Place::Granted(_)) {
                continue;
            }
            let same = matches!(&server.place, Place::Granted(Some(area)) if area.place == place);
            if same {
                server.withdrawn = false;
            } else if let Some(copier) = self.areas.copier() {
                server.move_to(Area::new(place, copier, self.areas.bell(place)));
            }
        }
    }

    /// The interface is closed.
    pub(super) fn forget(&mut self, port: PortId) {
        self.servers.retain(|server| server.port != port);
    }

    /// The group has ended.
    pub(super) fn forget_group(&mut self, group: &str) {
        self.servers.retain(|server| server.group != group);
        self.totals.remove(group);
    }

    /// Frames of the server at `port` have come: what they depend on is copied. Says whether they may be sent on.
    pub(super) fn commit(&mut self, port: PortId) -> bool {
        let Some(server) = self.servers.iter_mut().find(|server| server.port == port) else {
            return true;
        };
        let Some(totals) = self.totals.get_mut(&server.group) else {
            return true;
        };
        totals.looks += 1;
        match server.take() {
            Ok((0, 0)) => server.unreadable = false,
            Ok((records, bytes)) => {
                server.unreadable = false;
                totals.copies += 1;
                totals.records += records;
                totals.bytes += bytes;
                let (group, kept) = (server.group.clone(), server.copy.len() as u64);
                self.make_room(&group, port, kept);
            }
            Err(error) => {
                let (group, interface) = (&server.group, &server.interface);
                let place = server.place.name();
                if matches!(server.place, Place::Granted(_)) && !server.withdrawn {
                    // Of a domain that dies, what it sent last cannot be accounted for: it was never said.
                    totals.held += 1;
                    if !server.unreadable {
                        log(format_args!(
                            "group {group}: cannot read the record of {interface} in {place}: {error}; what it sends is held back"
                        ));
                    }
                    server.unreadable = true;
                    return false;
                }
                log(format_args!(
                    "group {group}: cannot read the record of {interface} in {place}: {error}; a replacement will begin anew"
                ));
                server.end();
                if server.withdrawn {
                    server.place = Place::Granted(None);
                }
            }
        }
        true
    }

    /// The standbys beside `active` get room for a record of so many bytes before they need it.
    fn make_room(&mut self, group: &str, active: PortId, kept: u64) {
        let others = self.servers.iter_mut();
        for server in others.filter(|it| it.group == group && it.port != active) {
            if let Err(error) = server.want(kept) {
                log(format_args!(
                    "group {group}: cannot ask {} for room for a record: {error}",
                    server.interface
                ));
            }
        }
    }

    fn find(&mut self, group: &str, interface: &str) -> Option<&mut Server> {
        let mut servers = self.servers.iter_mut();
        servers.find(|server| server.group == group && server.interface == interface)
    }

    /// Gives the record of the server behind `from` to the program behind `to`, which waits: everything but the order to
    /// begin. It is given before the connections are moved, so that a logger that is killed meanwhile can give the order
    /// when it is started again.
    pub(super) fn give(&mut self, group: &str, from: &str, to: &str) {
        let Some(record) = self.find(group, from).map(|source| source.record()) else {
            return;
        };
        let Some(target) = self.find(group, to) else {
            return;
        };
        let given = match record {
            Some((record, records)) => target.prepare(record, records),
            None => target.take_back(),
        };
        if let Err(error) = given {
            log(format_args!(
                "group {group}: cannot write the record for {to} into {}: {error}",
                target.place.name()
            ));
        }
    }

    /// Orders the program behind `to`, if it waits, to begin: with the record that it was given, and these clients.
    pub(super) fn order(&mut self, group: &str, to: &str, clients: &BTreeSet<SocketAddr>) {
        let Some(target) = self.find(group, to) else {
            return;
        };
        let done = target.order(clients);
        if !matches!(done, Ok(Ordered::Later)) {
            target.gift = None;
        }
        let Some(totals) = self.totals.get_mut(group) else {
            return;
        };
        match done {
            Ok(Ordered::Anew) => {
                totals.missing += 1;
                log(format_args!(
                    "group {group}: there is no record for {to}: its program begins anew"
                ));
            }
            Ok(Ordered::Replays(records)) => {
                totals.handed += 1;
                log(format_args!(
                    "group {group}: {to} replays {records} records, with {} connections that come again",
                    clients.len()
                ));
            }
            Ok(Ordered::Nobody) => {
                totals.missing += 1;
                log(format_args!(
                    "group {group}: no program at {to} waits for a record"
                ));
            }
            Ok(Ordered::Later) => log(format_args!(
                "group {group}: {to} gets its record when there is room for it"
            )),
            Err(error) => log(format_args!(
                "group {group}: cannot tell {to} of its record: {error}"
            )),
        }
    }

    /// Whether the program behind `interface` is still to be given a record, or, if `active`, to be told to begin.
    pub(super) fn lacks(&mut self, group: &str, interface: &str) -> Lack {
        match self.find(group, interface) {
            Some(server) => server.lacks().unwrap_or(Lack::Nothing),
            None => Lack::Nothing,
        }
    }

    /// An agent's bell has rung: the interfaces, with their groups, where something may be done now.
    pub(super) fn rung(&mut self) -> Vec<(String, String)> {
        let mut rung = Vec::new();
        while let Some(port) = self.areas.next_bell() {
            for server in &self.servers {
                let heard = matches!(&server.place, Place::Granted(Some(area)) if area.hears(port));
                if heard {
                    rung.push((server.group.clone(), server.interface.clone()));
                    if let Some(totals) = self.totals.get_mut(&server.group) {
                        totals.bells += 1;
                    }
                }
            }
        }
        rung
    }

    /// The groups in which `interface` is used.
    pub(super) fn groups_of(&self, interface: &str) -> Vec<String> {
        let servers = self.servers.iter();
        let used = servers.filter(|server| server.interface == interface);
        used.map(|server| server.group.clone()).collect()
    }

    /// After a restart of the logger: whether the program behind `interface` has its order yet to get. One that replays is told
    /// its clients again.
    pub(super) fn resume(
        &mut self,
        group: &str,
        interface: &str,
        clients: impl FnOnce() -> BTreeSet<SocketAddr>,
    ) -> bool {
        let Some(server) = self.find(group, interface) else {
            return false;
        };
        let Ok(Some(header)) = server.place.header() else {
            return false;
        };
        let begins = header.state == WAITS && header.order == REPLAY;
        if begins || header.state == REPLAYS {
            server.told_before(header.told);
            if let Err(error) = server.tell(clients(), header.bytes) {
                log(format_args!(
                    "group {group}: cannot tell {interface} which clients there are: {error}"
                ));
            }
        }
        header.waits()
    }

    /// Orders the program behind `to`, if it waits, to begin anew.
    pub(super) fn order_live(&mut self, group: &str, to: &str) {
        let Some(target) = self.find(group, to) else {
            return;
        };
        if let Err(error) = target.order_live() {
            log(format_args!(
                "group {group}: cannot tell {to} to begin: {error}"
            ));
        }
    }

    /// Clients that have gone are told to programs that replay. `living` gives those of a group.
    pub(super) fn follow(&mut self, living: impl Fn(&str) -> BTreeSet<SocketAddr>) {
        for server in &mut self.servers {
            let Some(told) = &server.told else {
                continue;
            };
            let living: BTreeSet<_> = living(&server.group).intersection(told).copied().collect();
            let changed = living.len() < told.len();
            // What cannot be read now is told of when frames come.
            let Ok(header) = server.place.header() else {
                continue;
            };
            let header = header.unwrap_or_default();
            if header.begun && header.state != WAITS && header.state != REPLAYS {
                server.told = None;
                log(format_args!(
                    "group {}: {} has replayed its record",
                    server.group, server.interface
                ));
            } else if changed && let Err(error) = server.tell(living, header.bytes) {
                log(format_args!(
                    "group {}: cannot tell {} which clients have gone: {error}",
                    server.group, server.interface
                ));
            }
        }
    }

    /// The totals of a group, if its servers have wraps.
    pub(super) fn status(&self, group: &str, active: &str) -> Option<WrapStatus> {
        let totals = *self.totals.get(group)?;
        let mut servers = self.servers.iter();
        let server = servers.find(|it| it.group == group && it.interface == active);
        Some(server.map_or(totals, |server| WrapStatus {
            kept: server.copy.len() as u64,
            calls: server.calls,
            ended: server.ended,
            ..totals
        }))
    }
}

#[cfg(test)]
mod tests;
