// SPDX-License-Identifier: GPL-3.0-only
//! Where connections are announced that belong to others (`links`): who announced them, and which came.
//!
//! One place may have several at the same time, each announced by another connection: a server that has accepted a
//! connection may listen at that port again, and a replacement knows nothing of the ports of the dead one.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

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

/// A connection that came to where it had been announced.
#[derive(Clone, Copy, Debug)]
struct Came {
    ends: Ends,
    by: Ends,
    /// Where the present server takes it, if that is at another port.
    south: Option<u16>,
}

/// What is known of a place.
#[derive(Debug)]
struct Spot {
    /// Who announced it last, and when.
    by: Ends,
    at: Time,
    /// Those that came, and are perhaps over.
    came: Vec<Came>,
}

/// What a connection announced last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) place: Place,
    /// The newest connection that came.
    pub(super) linked: Option<Ends>,
    /// If it is to a port of the server, and that is not there.
    south: Option<South>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Links {
    places: HashMap<Place, Spot>,
    /// By who announced it.
    newest: HashMap<Ends, Newest>,
    tidy_at: usize,
}

impl Links {
    /// Who announced something at this place last, and when.
    pub(super) fn announced(&self, place: Place) -> Option<(Ends, Time)> {
        if self.places.is_empty() {
            return None;
        }
        self.places.get(&place).map(|spot| (spot.by, spot.at))
    }

    /// Whether a connection between these may have been announced, which the server opens or has opened.
    pub(super) fn may_be_opened(&self, key: &Key) -> bool {
        let place = Place::opening(key.client, key.server);
        self.announced(place).is_some()
    }

    /// Whether a connection between these may have been announced.
    pub(super) fn may_know(&self, key: &Key) -> bool {
        let coming = self.announced(Place::coming(key.client, key.server));
        coming.is_some() || self.may_be_opened(key)
    }

    /// Whether the server opens connections that were announced, or has.
    pub(super) fn has_openings(&self) -> bool {
        let mut places = self.places.keys();
        places.any(|place| matches!(place, Place::Client(..)))
    }

    /// The ports that were announced, and those of replacements, some of them perhaps more than once.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let awaited = self.newest.values().filter_map(|it| match it.south {
            Some(South::At(port)) => Some(port),
            Some(South::Awaited) | None => None,
        });
        let came = self.places.values().flat_map(|spot| &spot.came);
        let north = self.places.keys().filter_map(|place| match place {
            Place::Server(_, server) => Some(server.port()),
            Place::Client(..) => None,
        });
        north.chain(awaited).chain(came.filter_map(|it| it.south))
    }

    /// Where the present server takes this connection when it comes, if it is not at the port that the client knows.
    pub(super) fn south(&self, key: &Key) -> Option<South> {
        let place = Place::coming(key.client, key.server);
        let spot = self.places.get(&place)?;
        let Key { client, server, .. } = *key;
        let came = spot
            .came
            .iter()
            .find(|it| it.ends == Ends { client, server });
        let newest = self.newest.get(&came.map_or(spot.by, |it| it.by))?;
        newest.south.filter(|_| newest.place == place)
    }

    /// What a connection has announced last.
    pub(super) fn newest(&self, by: Ends) -> Option<&Newest> {
        self.newest.get(&by)
    }

    /// Notes where the present server takes what `by` has announced last. `None`: where the client was told.
    pub(super) fn set_south(&mut self, by: Ends, south: Option<South>) {
        let Some(newest) = self.newest.get_mut(&by) else {
            return;
        };
        newest.south = south;
        // It is seen there as long as it lives, also when something else has been announced.
        if let Some(South::At(port)) = south
            && let Some(spot) = self.places.get_mut(&newest.place)
        {
            let came = spot.came.iter_mut();
            for it in came.filter(|it| newest.linked == Some(it.ends)) {
                it.south = Some(port);
            }
        }
    }

    /// Who announced this connection.
    pub(super) fn announcer(&self, ends: Ends) -> Option<Ends> {
        let places = [false, true].map(|opened| Place::of(ends, opened));
        let spots = places.iter().filter_map(|place| self.places.get(place));
        let mut came = spots.flat_map(|spot| &spot.came);
        came.find(|it| it.ends == ends).map(|it| it.by)
    }

    /// The connections that came to this place.
    pub(super) fn came(&self, place: Place) -> impl Iterator<Item = Ends> {
        let spot = self.places.get(&place);
        let came = spot.into_iter().flat_map(|spot| &spot.came);
        came.map(|it| it.ends)
    }

    /// A connection came that `by` had announced at this place. Others that came there are forgotten unless they live.
    pub(super) fn set_linked(
        &mut self,
        place: Place,
        ends: Ends,
        by: Ends,
        lives: impl Fn(Ends) -> bool,
    ) {
        let Some(spot) = self.places.get_mut(&place) else {
            return;
        };
        spot.came.retain(|it| it.ends != ends && lives(it.ends));
        let newest = self.newest.get_mut(&by).filter(|it| it.place == place);
        let south = newest.and_then(|newest| {
            newest.linked = Some(ends);
            match newest.south {
                Some(South::At(port)) => Some(port),
                Some(South::Awaited) | None => None,
            }
        });
        spot.came.push(Came { ends, by, south });
    }

    /// This connection has not come after all: the server that opened it is dead, and the client has not answered.
    pub(super) fn forget_opened(&mut self, ends: Ends) {
        self.forget_came(Place::of(ends, true), ends);
    }

    /// This connection, which the server opened, is forgotten. Says whether none is expected there now.
    pub(super) fn forget_place(&mut self, ends: Ends) -> bool {
        let place = Place::of(ends, true);
        if let Some(by) = self.forget_came(place, ends) {
            self.newest.remove(&by);
        }
        let newest = &self.newest;
        let unused = |spot: &Spot| {
            let expected = newest.get(&spot.by).is_some_and(|it| it.place == place);
            spot.came.is_empty() && !expected
        };
        let done = self.places.get(&place).is_some_and(unused);
        if done {
            self.places.remove(&place);
        }
        done
    }

    /// This connection is none any more that came to this place. Who had announced it, if that has announced nothing since.
    fn forget_came(&mut self, place: Place, ends: Ends) -> Option<Ends> {
        let spot = self.places.get_mut(&place)?;
        let at = spot.came.iter().position(|it| it.ends == ends)?;
        let by = spot.came.swap_remove(at).by;
        let newest = self.newest.get_mut(&by).filter(|it| it.place == place)?;
        newest.linked.take_if(|linked| *linked == ends).map(|_| by)
    }

    /// The end of a client that `by` announced last is needed no more, if no connection came to it. Says whether it was so.
    pub(super) fn forget_unused(&mut self, by: Ends) -> bool {
        let Some(&Newest { place, linked, .. }) = self.newest.get(&by) else {
            return false;
        };
        let last = |spot: &Spot| spot.by == by && spot.came.is_empty();
        let unused = matches!(place, Place::Client(..)) && linked.is_none();
        let unused = unused && self.places.get(&place).is_some_and(last);
        if unused {
            self.places.remove(&place);
            self.newest.remove(&by);
        }
        unused
    }

    /// `by` announces something. If it had announced it before, a connection that the server has opened since and that
    /// lives is the one: there are servers that open it before they say that they will. A client comes when it was told.
    pub(super) fn note(
        &mut self,
        place: Place,
        (by, at): (Ends, Time),
        south: Option<South>,
        lives: impl FnOnce(Ends) -> bool,
    ) {
        let before = self.newest.get(&by).filter(|it| it.place == place);
        let before = before.filter(|_| matches!(place, Place::Client(..)));
        let linked = before.and_then(|it| it.linked).filter(|&it| lives(it));
        let newest = Newest {
            place,
            linked,
            south,
        };
        self.newest.insert(by, newest);
        let came = Vec::new();
        let spot = self.places.entry(place).or_insert(Spot { by, at, came });
        (spot.by, spot.at) = (by, at);
    }

    /// A connection had come that `by` had announced at this place, which may have announced another since.
    pub(super) fn note_linked(
        &mut self,
        place: Place,
        (by, at): (Ends, Time),
        ends: Ends,
        south: Option<u16>,
    ) {
        let newest = self.newest.entry(by).or_insert(Newest {
            place,
            linked: None,
            south: south.map(South::At),
        });
        if newest.place == place {
            newest.linked = Some(ends);
        }
        let came = Vec::new();
        let spot = self.places.entry(place).or_insert(Spot { by, at, came });
        spot.came.retain(|it| it.ends != ends);
        spot.came.push(Came { ends, by, south });
    }

    /// If they are many, forgets what nobody needs. The end of a client stands as long as who announced it, since
    /// a server may take its time to open a connection.
    pub(super) fn tidy(&mut self, now: Time, within: Duration, lives: impl Fn(Ends) -> bool) {
        let known = self.places.len().max(self.newest.len());
        if known < self.tidy_at.max(TIDY_AT) {
            return;
        }
        let newest = &self.newest;
        self.places.retain(|place, spot| {
            spot.came.retain(|it| lives(it.ends));
            let opens = matches!(place, Place::Client(..));
            let lasts = opens && newest.get(&spot.by).is_some_and(|it| it.place == *place);
            let expected = (lasts || now.since(spot.at) < within) && lives(spot.by);
            expected || !spot.came.is_empty()
        });
        let places = &self.places;
        self.newest
            .retain(|&by, it| places.contains_key(&it.place) && lives(by));
        self.tidy_at = 2 * self.places.len().max(self.newest.len());
    }
}
