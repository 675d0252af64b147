// SPDX-License-Identifier: GPL-3.0-only
//! Connections that another one announces, such as FTP's data connections: to ports that no group names, known only
//! because the server said so a moment ago.
//!
//! What is kept here is where to look: the port, and who announced it. Whether the announcement still stands, the plug-in
//! of the connection that made it says when the client comes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::table::Key;
use super::{Ends, Engine, Group};
use crate::conn::State;
use crate::control::Outbound;
use crate::frame::{Output, Time};
use crate::service::{Link, News};
use crate::wire::Segment;

/// How long a client may take to come.
const WITHIN: Duration = Duration::from_secs(60);

/// Beyond so many ports, those that are not needed any more are looked for.
const TIDY_AT: usize = 64;

/// A port that was announced to a client.
#[derive(Clone, Copy, Debug)]
struct Announced {
    by: Ends,
    at: Time,
    /// The newest connection that came.
    linked: Option<Ends>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By the client's address and the server's end.
    ports: HashMap<(IpAddr, SocketAddr), Announced>,
    /// Of those that announce, what they announced last.
    newest: HashMap<Ends, SocketAddr>,
    tidy_at: usize,
}

impl Links {
    /// Whether a connection between these may have been announced.
    pub(super) fn may_know(&self, key: &Key) -> bool {
        !self.ports.is_empty() && self.ports.contains_key(&(key.client.ip(), key.server))
    }

    /// The ports that were announced, some of them perhaps more than once.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.keys().map(|(_, server)| server.port())
    }

    fn note(&mut self, server: SocketAddr, announced: Announced) {
        self.newest.insert(announced.by, server);
        let client = announced.by.client.ip();
        self.ports.insert((client, server), announced);
    }
}

impl Group {
    /// Whether connections of this service announce others.
    pub(super) fn announces(&self, service: usize) -> bool {
        self.linked.get(service).is_some_and(Option::is_some)
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
        let announced = *group.links.ports.get(&(key.client.ip(), key.server))?;
        if opens && now.since(announced.at) < WITHIN {
            let by = Key {
                group: key.group,
                client: announced.by.client,
                server: announced.by.server,
            };
            let slot = self.table.find(&by)?;
            let control = self.table.get(slot)?;
            let stands =
                matches!(control.link(), Some(Link::Expects(_, port)) if port == key.server.port());
            let service = control.service;
            self.table.schedule(slot);
            let group = self.groups[key.group].as_ref()?;
            if let Some(&Some(linked)) = group.linked.get(service).filter(|_| stands) {
                return Some((linked, Some(announced.by)));
            }
        }
        let slot = self.table.find(key)?;
        let service = self.table.get(slot)?.service;
        self.table.schedule(slot);
        let group = self.groups[key.group].as_ref()?;
        group
            .linked
            .contains(&Some(service))
            .then_some((service, None))
    }

    /// A connection came that `by` had announced.
    pub(super) fn link(&mut self, slot: usize, by: Ends) {
        let Some(connection) = self.table.get(slot) else {
            return;
        };
        connection.link_to(by);
        let ends = connection.ends();
        if let Some(group) = &mut self.groups[connection.group]
            && let Some(known) = group.links.ports.get_mut(&(ends.client.ip(), ends.server))
        {
            known.linked = Some(ends);
        }
    }

    /// Sees to what the connection's last segment told of others.
    pub(super) fn follow_news(&mut self, now: Time, slot: usize, out: &mut dyn Output) {
        while let Some(connection) = self.table.get(slot)
            && let Some(group) = &mut self.groups[connection.group]
        {
            let (index, ends) = (connection.group, connection.ends());
            let service = connection.service;
            let mut cx = group.context(service, now, out, &mut self.events, &mut self.scratch);
            match connection.news(&mut cx) {
                None => break,
                Some(News::Expects(Some((address, port)))) => {
                    let own = ends.server.ip();
                    let meant = address.is_none_or(|it| it.is_unspecified() || own == it);
                    if meant {
                        self.expect(now, index, ends, SocketAddr::new(own, port), out);
                    }
                }
                Some(News::Over) => self.linked_is_over(now, index, ends, out),
                Some(_) => {}
            }
        }
        self.table.schedule(slot);
    }

    fn expect(&mut self, now: Time, index: usize, by: Ends, at: SocketAddr, out: &mut dyn Output) {
        // A server that waits for the next has done with the last, of which perhaps nothing was asked.
        self.linked_is_over(now, index, by, out);
        self.tidy_links(now, index);
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let links = &mut group.links;
        let known = links.ports.get(&(by.client.ip(), at));
        let linked = known.and_then(|known| known.linked);
        links.note(
            at,
            Announced {
                by,
                at: now,
                linked,
            },
        );
        self.announce_services(index, out);
    }

    fn linked_is_over(&mut self, now: Time, index: usize, by: Ends, out: &mut dyn Output) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let links = &group.links;
        let newest = links.newest.get(&by).copied();
        let announced = newest.and_then(|at| links.ports.get(&(by.client.ip(), at)));
        let linked = announced.filter(|it| it.by == by).and_then(|it| it.linked);
        let Some(Ends { client, server }) = linked else {
            return;
        };
        let key = Key {
            group: index,
            client,
            server,
        };
        let Some(slot) = self.table.find(&key) else {
            return;
        };
        self.take_back(now, slot, out);
        let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
        else {
            return;
        };
        let service = connection.service;
        let lived = connection.state != State::Closed;
        let mut cx = group.context(service, now, out, &mut self.events, &mut self.scratch);
        connection.linked_is_over(&mut cx);
        let (closed, generation) = (connection.state == State::Closed, connection.generation);
        self.table.schedule(slot);
        self.table.touch(slot);
        if lived && closed {
            self.note_closed(slot, generation);
        }
    }

    /// Forgets ports at which nobody is, nor is expected.
    fn tidy_links(&mut self, now: Time, index: usize) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let links = &mut group.links;
        if links.ports.len() < links.tidy_at.max(TIDY_AT) {
            return;
        }
        let table = &self.table;
        let lives = |ends: &Ends| {
            let &Ends { client, server } = ends;
            let group = index;
            table.find(&Key {
                group,
                client,
                server,
            })
        };
        links.ports.retain(|_, it| {
            let expected = now.since(it.at) < WITHIN && lives(&it.by).is_some();
            expected || it.linked.is_some_and(|linked| lives(&linked).is_some())
        });
        let ports = &links.ports;
        links
            .newest
            .retain(|by, at| ports.contains_key(&(by.client.ip(), *at)));
        links.tidy_at = 2 * links.ports.len();
    }

    /// After a group was taken in from an image.
    pub(super) fn resume_links(&mut self, now: Time, index: usize) {
        for slot in self.table.of_group(index) {
            let Some(connection) = self.table.get(slot) else {
                continue;
            };
            let (link, ends) = (connection.link(), connection.ends());
            self.table.schedule(slot);
            let Some(group) = &mut self.groups[index] else {
                return;
            };
            let (at, by, linked) = match link {
                None => continue,
                Some(Link::Expects(_, port)) => {
                    (SocketAddr::new(ends.server.ip(), port), ends, None)
                }
                Some(Link::To(by)) => (ends.server, by, Some(ends)),
            };
            let known = group.links.ports.get(&(ends.client.ip(), at));
            let linked = linked.or_else(|| known.and_then(|known| known.linked));
            group.links.note(
                at,
                Announced {
                    by,
                    at: now,
                    linked,
                },
            );
        }
    }

    /// Tells the data path which ports of a group it must not forward by itself.
    pub(super) fn announce_services(&self, index: usize, out: &mut dyn Output) {
        let group = self.groups.get(index).and_then(Option::as_ref);
        let ports = group.map(Group::seen_ports).unwrap_or_default();
        let outbound = group.is_some_and(|group| group.spec.outbound != Outbound::Pass);
        out.services(index as u32, &ports, outbound);
    }
}

/// What opens a connection.
pub(super) fn opens(segment: &Segment<'_>) -> bool {
    use crate::wire::Flags;
    let flags = segment.head().flags;
    flags.has(Flags::SYN) && !flags.has(Flags::ACK) && !flags.has(Flags::RST)
}
