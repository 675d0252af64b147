// SPDX-License-Identifier: GPL-3.0-only
//! Where connections are announced that belong to others (`links`): who announced them, and which came.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::Ends;
use super::table::Key;
use crate::frame::Time;
use crate::service::Link;

/// Beyond so many places, those that are not needed any more are looked for.
const TIDY_AT: usize = 64;

/// Where the present server takes connections to a port that another had announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum South {
    /// It has still to say.
    Awaited,
    At(u16),
}

/// Where a connection is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A client at this address comes to this end of the server.
    Server(IpAddr, SocketAddr),
    /// The server at this address comes to this end of the client.
    Client(SocketAddr, IpAddr),
}

impl Place {
    /// Of a connection between these ends that its client opens.
    pub(super) const fn coming(client: SocketAddr, server: SocketAddr) -> Self {
        Self::Server(client.ip(), server)
    }

    /// Of one that the server opens.
    pub(super) const fn opening(client: SocketAddr, server: SocketAddr) -> Self {
        Self::Client(client, server.ip())
    }

    /// `opened`: by the server.
    pub(super) const fn of(Ends { client, server }: Ends, opened: bool) -> Self {
        if opened {
            Self::opening(client, server)
        } else {
            Self::coming(client, server)
        }
    }

    /// Of what the connection between these ends announces. `None`: it is of another host.
    pub(super) fn announced(link: Link, by: Ends) -> Option<Self> {
        let (client, server) = (by.client.ip(), by.server.ip());
        match link {
            Link::Expects(address, port) => {
                let own = address.is_none_or(|it| it.is_unspecified() || server == it);
                own.then_some(Self::Server(client, SocketAddr::new(server, port)))
            }
            Link::Opens(at) => (at.ip() == client).then_some(Self::Client(at, server)),
            Link::To(_) => None,
        }
    }
}

/// A connection that was announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) by: Ends,
    pub(super) at: Time,
    /// If it is to a port of the server, and that is not there.
    pub(super) south: Option<South>,
    /// The newest connection that came.
    pub(super) linked: Option<Ends>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Links {
    places: HashMap<Place, Announced>,
    /// Of those that announce, what they announced last.
    newest: HashMap<Ends, Place>,
    tidy_at: usize,
}

impl Links {
    pub(super) fn get(&self, place: Place) -> Option<&Announced> {
        if self.places.is_empty() {
            return None;
        }
        self.places.get(&place)
    }

    /// Whether a connection between these may have been announced, which the server opens or has opened.
    pub(super) fn may_be_opened(&self, key: &Key) -> bool {
        self.get(Place::opening(key.client, key.server)).is_some()
    }

    /// Whether a connection between these may have been announced.
    pub(super) fn may_know(&self, key: &Key) -> bool {
        let coming = self.get(Place::coming(key.client, key.server));
        coming.is_some() || self.may_be_opened(key)
    }

    /// Whether the server opens connections that were announced, or has.
    pub(super) fn has_openings(&self) -> bool {
        let mut places = self.places.keys();
        places.any(|place| matches!(place, Place::Client(..)))
    }

    /// The ports that were announced, and those of replacements, some of them perhaps more than once.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let south = self.places.values().filter_map(|it| match it.south {
            Some(South::At(port)) => Some(port),
            Some(South::Awaited) | None => None,
        });
        let north = self.places.keys().filter_map(|place| match place {
            Place::Server(_, server) => Some(server.port()),
            Place::Client(..) => None,
        });
        north.chain(south)
    }

    /// Where the present server takes this connection, if it is not at the port that the client knows.
    pub(super) fn south(&self, key: &Key) -> Option<South> {
        self.get(Place::coming(key.client, key.server))?.south
    }

    /// What a connection has announced last.
    pub(super) fn newest(&self, by: Ends) -> Option<&Announced> {
        let announced = self.places.get(self.newest.get(&by)?);
        announced.filter(|it| it.by == by)
    }

    fn newest_mut(&mut self, by: Ends) -> Option<&mut Announced> {
        let announced = self.places.get_mut(self.newest.get(&by)?);
        announced.filter(|it| it.by == by)
    }

    /// Notes where the present server takes what `by` has announced last. `None`: where the client was told.
    pub(super) fn set_south(&mut self, by: Ends, south: Option<South>) {
        if let Some(announced) = self.newest_mut(by) {
            announced.south = south;
        }
    }

    /// Who announced this connection.
    pub(super) fn announcer(&self, ends: Ends) -> Option<Ends> {
        let mut places = [false, true]
            .map(|opened| Place::of(ends, opened))
            .into_iter();
        places.find_map(|place| {
            let announced = self.get(place)?;
            (announced.linked == Some(ends)).then_some(announced.by)
        })
    }

    /// A connection came that was announced at this place.
    pub(super) fn set_linked(&mut self, place: Place, linked: Ends) {
        if let Some(announced) = self.places.get_mut(&place) {
            announced.linked = Some(linked);
        }
    }

    /// This connection has not come after all: the server that opened it is dead, and the client has not answered.
    pub(super) fn forget_opened(&mut self, ends: Ends) {
        if let Some(announced) = self.places.get_mut(&Place::of(ends, true)) {
            announced.linked.take_if(|linked| *linked == ends);
        }
    }

    /// This connection, which the server opened, is forgotten. Says whether another is not expected there.
    pub(super) fn forget_place(&mut self, ends: Ends) -> bool {
        let place = Place::of(ends, true);
        let done = self.get(place).is_some_and(|it| it.linked == Some(ends));
        if done {
            self.places.remove(&place);
            self.newest.retain(|_, newest| *newest != place);
        }
        done
    }

    /// The end of a client that `by` announced last is needed no more, if no connection came to it. Says whether it was so.
    pub(super) fn forget_unused(&mut self, by: Ends) -> bool {
        let Some(&place) = self.newest.get(&by) else {
            return false;
        };
        let unused = |it: &Announced| it.by == by && it.linked.is_none();
        let unused = matches!(place, Place::Client(..)) && self.get(place).is_some_and(unused);
        if unused {
            self.places.remove(&place);
            self.newest.remove(&by);
        }
        unused
    }

    pub(super) fn note(&mut self, place: Place, announced: Announced) {
        self.newest.insert(announced.by, place);
        self.places.insert(place, announced);
    }

    /// As [`Links::note`], of a connection that had come; who announced it may have announced another since.
    pub(super) fn note_linked(&mut self, place: Place, announced: Announced) {
        self.newest.entry(announced.by).or_insert(place);
        self.places.insert(place, announced);
    }

    /// If they are many, forgets those places of which `needed` does not hold. The flag: it stands as long as who announced it,
    /// since a server may take its time to open a connection.
    pub(super) fn tidy(&mut self, needed: impl Fn(&Announced, bool) -> bool) {
        if self.places.len() < self.tidy_at.max(TIDY_AT) {
            return;
        }
        let newest = &self.newest;
        self.places.retain(|place, it| {
            let opens = matches!(place, Place::Client(..));
            needed(it, opens && newest.get(&it.by) == Some(place))
        });
        let places = &self.places;
        self.newest.retain(|_, place| places.contains_key(place));
        self.tidy_at = 2 * self.places.len();
    }
}
