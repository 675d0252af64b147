// SPDX-License-Identifier: GPL-3.0-only
//! Connections that another one announces, such as FTP's data connections: to ports that no group names, known only
//! because the server said so a moment ago; or from the server to an end that its client has named (`opened_links`).
//!
//! What is kept (`places`) is where to look, and who announced it. Whether the announcement still stands, the plug-in of the
//! connection that made it says when the connection comes.

use std::time::Duration;

use super::places::{Place, South};
use super::table::Key;
use super::{Ends, Engine, Group};
use crate::conn::State;
use crate::control::Outbound;
use crate::frame::{Output, Time};
use crate::service::{Link, News};
use crate::wire::Segment;

/// How long a client may take to come.
const WITHIN: Duration = Duration::from_secs(60);

impl Group {
    /// Whether connections of this service announce others.
    pub(super) fn announces(&self, service: usize) -> bool {
        self.linked.get(service).is_some_and(Option::is_some)
    }

    /// Whether connections of this service are announced by others.
    pub(super) fn is_announced(&self, service: usize) -> bool {
        self.linked.contains(&Some(service))
    }

    /// The service of the connections that those of this one announce.
    pub(super) fn announced_service(&self, service: usize) -> Option<usize> {
        self.linked.get(service).copied().flatten()
    }

    /// The ports whose connections must be seen.
    pub(super) fn seen_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.service_ports().chain(self.links.ports()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

impl Engine {
    /// The service of a segment to or from a port that was announced; `None`: it is of no connection that was.
    pub(super) fn linked_service(
        &mut self,
        now: Time,
        key: &Key,
        opens: bool,
    ) -> Option<(usize, Option<Ends>)> {
        let group = self.groups[key.group].as_ref()?;
        let place = Place::coming(key.client, key.server);
        let (by, at) = group.links.announced(place)?;
        if opens && now.since(at) < WITHIN {
            let slot = self.table.find(&Key::of(key.group, by))?;
            let control = self.table.get(slot)?;
            let stands =
                matches!(control.link(), Some(Link::Expects(_, port)) if port == key.server.port());
            let service = control.service;
            self.table.schedule(slot);
            let group = self.groups[key.group].as_ref()?;
            if let Some(&Some(linked)) = group.linked.get(service).filter(|_| stands) {
                return Some((linked, Some(by)));
            }
        }
        let slot = self.table.find(key)?;
        let connection = self.table.get(slot)?;
        let (service, opened) = (connection.service, connection.outbound.is_some());
        self.table.schedule(slot);
        if opened {
            // The server has opened it from a port that had been announced for another.
            return None;
        }
        let group = self.groups[key.group].as_ref()?;
        group
            .linked
            .contains(&Some(service))
            .then_some((service, None))
    }

    /// The number of the server that a connection is with.
    pub(super) fn number_with(&mut self, group: usize, ends: Ends) -> Option<u32> {
        let slot = self.table.find(&Key::of(group, ends))?;
        let number = self.table.get(slot)?.server_number;
        self.table.schedule(slot);
        Some(number)
    }

    /// A connection came that `by` had announced.
    pub(super) fn link(&mut self, slot: usize, by: Ends) {
        let Some(connection) = self.table.get(slot) else {
            return;
        };
        connection.link_to(by);
        let ends = connection.ends();
        let place = Place::of(ends, connection.outbound.is_some());
        let index = connection.group;
        let table = &self.table;
        if let Some(group) = &mut self.groups[index] {
            let lives = |ends| table.find(&Key::of(index, ends)).is_some();
            group.links.set_linked(place, ends, by, lives);
        }
    }

    /// Sees to what the connection's last segment told of others.
    pub(super) fn follow_news(&mut self, now: Time, slot: usize, out: &mut dyn Output) {
        while let Some(connection) = self.table.get(slot)
            && let Some(group) = &mut self.groups[connection.group]
        {
            let (index, ends) = (connection.group, connection.ends());
            let (service, number) = (connection.service, connection.server_number);
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            match connection.news(&mut cx) {
                None => break,
                Some(News::Expects(Some((address, port)))) => {
                    self.expect(now, index, ends, Link::Expects(address, port), out);
                }
                Some(News::Opens(at)) => self.expect(now, index, ends, Link::Opens(at), out),
                Some(News::Over) => {
                    self.linked_is_over(now, index, ends, out);
                    self.forget_unused(index, ends, out);
                }
                Some(News::Moved(port)) => self.linked_moves(now, index, ends, port, out),
                Some(News::Lost) => self.lose_linked(now, index, ends, out),
                Some(_) => {}
            }
        }
        if let Some(connection) = self.table.get(slot)
            && connection.state == State::Closed
        {
            let (index, ends) = (connection.group, connection.ends());
            self.lose_linked(now, index, ends, out);
            self.forget_unused(index, ends, out);
        }
        self.table.schedule(slot);
    }

    fn expect(&mut self, now: Time, index: usize, by: Ends, link: Link, out: &mut dyn Output) {
        let Some(place) = Place::announced(link, by) else {
            return;
        };
        // A server that waits for the next has done with the last, of which perhaps nothing was asked.
        self.linked_is_over(now, index, by, out);
        self.tidy_links(now, index);
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let links = &mut group.links;
        links.forget_unused(by);
        let table = &mut self.table;
        // One that is over has not come to what is announced now; one that sleeps is not over.
        let lives = |ends| {
            let slot = table.find(&Key::of(index, ends));
            let known = slot.map(|slot| table.peek(slot));
            known.is_some_and(|it| it.is_none_or(|it| it.state != State::Closed))
        };
        links.note(place, (by, now), None, lives);
        self.announce_services(index, out);
    }

    fn linked_is_over(&mut self, now: Time, index: usize, by: Ends, out: &mut dyn Output) {
        let Some(slot) = self.linked_slot(index, by) else {
            return;
        };
        self.take_back(now, slot, out);
        let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
        else {
            return;
        };
        let service = connection.service;
        let lived = connection.state != State::Closed;
        let mut cx = group.context(service, connection.server_number, now, out, &mut self.desk);
        connection.linked_is_over(&mut cx);
        let (closed, generation) = (connection.state == State::Closed, connection.generation);
        self.table.schedule(slot);
        self.table.touch(slot);
        if lived && closed {
            self.note_closed(slot, generation);
        }
    }

    /// Where the connection is that came to what `by` announced last.
    pub(super) fn linked_slot(&mut self, index: usize, by: Ends) -> Option<usize> {
        let links = &mut self.groups[index].as_mut()?.links;
        let linked = links.newest(by)?.linked?;
        // The same ends may have been announced by another since.
        let same = links.announcer(linked).is_none_or(|it| it == by);
        let linked = Some(linked).filter(|_| same)?;
        self.table.find(&Key::of(index, linked))
    }

    /// Forgets ports at which nobody is, nor is expected.
    fn tidy_links(&mut self, now: Time, index: usize) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let table = &self.table;
        let lives = |ends| table.find(&Key::of(index, ends)).is_some();
        group.links.tidy(now, WITHIN, lives);
    }

    /// After a group was taken in from an image.
    pub(super) fn resume_links(&mut self, now: Time, index: usize) {
        let slots = self.table.of_group(index);
        // A connection that came is noted behind what announced it, wherever the two are.
        for came in [false, true] {
            for &slot in &slots {
                self.resume_link(now, slot, came);
            }
        }
    }

    /// Notes what this one announces, or if `came`, that it was announced.
    fn resume_link(&mut self, now: Time, slot: usize, came: bool) {
        let Some(connection) = self.table.get(slot) else {
            return;
        };
        let (link, ends) = (connection.link(), connection.ends());
        let present = connection.linked_port();
        let moves = connection.state == State::Recovering;
        let opened = connection.outbound.is_some();
        let port = connection.south_port.filter(|_| !opened);
        let group = &mut self.groups[connection.group];
        self.table.schedule(slot);
        let Some(links) = group.as_mut().map(|group| &mut group.links) else {
            return;
        };
        match link {
            Some(Link::To(by)) if came => {
                links.note_linked(Place::of(ends, opened), (by, now), ends, port);
            }
            Some(link @ (Link::Expects(..) | Link::Opens(_))) if !came => {
                let south = match present {
                    None if moves => Some(South::Awaited),
                    present => present.map(South::At),
                };
                if let Some(place) = Place::announced(link, ends) {
                    links.note(place, (ends, now), south, |_| true);
                }
            }
            None | Some(_) => {}
        }
    }

    /// Tells the data path which ports of a group it must not forward by itself.
    pub(super) fn announce_services(&self, index: usize, out: &mut dyn Output) {
        let group = self.groups.get(index).and_then(Option::as_ref);
        let ports = group.map(Group::seen_ports).unwrap_or_default();
        // While there are two servers, each segment must be seen to know which of them it is for; and a connection that the
        // server opens may be from any port.
        let outbound = group.is_some_and(|group| {
            group.spec.outbound != Outbound::Pass
                || group.leaving().is_some()
                || group.links.has_openings()
        });
        out.services(index as u32, &ports, outbound);
    }
}

/// What opens a connection.
pub(super) fn opens(segment: &Segment<'_>) -> bool {
    use crate::wire::Flags;
    let flags = segment.head().flags;
    flags.has(Flags::SYN) && !flags.has(Flags::ACK) && !flags.has(Flags::RST)
}
