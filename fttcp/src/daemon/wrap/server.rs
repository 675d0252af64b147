// SPDX-License-Identifier: GPL-3.0-only
//! One server's record: the logger's copy of it, and what is written for the server's program.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::super::clock::log;
use super::area::Area;
use super::header::{HEADER, Header, LIVE, REPLAY, WAITS, word};
use super::place::Place;
use crate::frame::PortId;

/// Longest record that is kept of one server, in bytes: as long as a wrap's gets unless it is told otherwise.
const MAX_BYTES: u64 = 64 << 20;
/// So much more room than is needed now is asked for, so that it is there when it is needed.
const AHEAD: u64 = 1 << 20;

/// No program's generation: that of one that will begin with a gift.
const NOT_BEGUN: u64 = u64::MAX;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) port: PortId,
    pub(super) group: String,
    pub(super) interface: String,
    pub(super) place: Place,
    /// Of the program whose record is copied; 0: none yet.
    pub(super) generation: u64,
    pub(super) copy: Rc<Vec<u8>>,
    pub(super) records: u64,
    pub(super) calls: u64,
    pub(super) ended: bool,
    /// It replays, and knows these clients.
    pub(super) told: Option<BTreeSet<SocketAddr>>,
    /// How often clients were told.
    times: u64,
    /// What it is to get as soon as there is room for it.
    pub(super) gift: Option<Gift>,
    /// How much granted memory was asked for.
    wanted: u64,
    /// Its record could not be read, which was told.
    pub(super) unreadable: bool,
    /// Its domain says that it grants this memory no longer.
    pub(super) withdrawn: bool,
}

/// A dead server's record for its replacement.
#[derive(Debug)]
pub(super) struct Gift {
    pub(super) record: Rc<Vec<u8>>,
    pub(super) records: u64,
    /// It is where the replacement's program finds it.
    written: bool,
}

/// What came of an order to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    /// So many records are replayed.
    Replays(u64),
    /// There is no record: its program begins anew.
    Anew,
    /// No program waits.
    Nobody,
    /// There is not yet room for the record.
    Later,
}

/// What the program of an active server is still to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Lack {
    /// The record of the one before it, and the order to replay it.
    Record,
    /// The order to begin.
    Order,
    /// Nothing, or there is no such program.
    Nothing,
}

impl Server {
    pub(super) fn new(group: &str, interface: &str, port: PortId, place: Place) -> Self {
        Self {
            port,
            group: group.to_owned(),
            interface: interface.to_owned(),
            place,
            generation: 0,
            copy: Rc::default(),
            records: 0,
            calls: 0,
            ended: false,
            told: None,
            times: 0,
            gift: None,
            wanted: 0,
            unreadable: false,
            withdrawn: false,
        }
    }

    /// Its domain grants other memory now.
    pub(super) fn move_to(&mut self, area: Area) {
        self.place = Place::Granted(Some(area));
        (self.wanted, self.unreadable, self.withdrawn) = (0, false, false);
        if let Some(gift) = &mut self.gift {
            gift.written = false;
        }
    }

    /// Copies what is new; how many records and bytes that were.
    pub(super) fn take(&mut self) -> io::Result<(u64, u64)> {
        let nothing = Ok((0, 0));
        let Some(header) = self.place.header()?.filter(|header| header.begun) else {
            return nothing;
        };
        if header.state == WAITS || (self.ended && header.generation == self.generation) {
            return nothing;
        }
        if header.generation != self.generation {
            // Another program, with another record.
            (self.generation, self.ended) = (header.generation, false);
            self.copy = Rc::default();
            self.records = 0;
        }
        self.calls = header.calls;
        let have = self.copy.len();
        let new = header.bytes.saturating_sub(have as u64);
        let too_long = header.bytes > MAX_BYTES;
        if header.ended || too_long {
            let why = if too_long {
                "it is too long"
            } else {
                "its program says so"
            };
            log(format_args!(
                "group {}: the record of {} has ended, because {why}: a replacement will begin anew",
                self.group, self.interface
            ));
            self.end();
            return nothing;
        }
        if new == 0 {
            return nothing;
        }
        let copy = Rc::make_mut(&mut self.copy);
        copy.resize(header.bytes as usize, 0);
        if let Err(error) = self.place.read(HEADER + have as u64, &mut copy[have..]) {
            copy.truncate(have);
            return Err(error);
        }
        let records = header.records.saturating_sub(self.records);
        self.records = header.records;
        Ok((records, new))
    }

    /// Nothing can be replayed from its record any more.
    pub(super) fn end(&mut self) {
        (self.ended, self.copy) = (true, Rc::default());
    }

    /// Its record, if a replacement can go on from it.
    pub(super) fn record(&self) -> Option<(Rc<Vec<u8>>, u64)> {
        let usable = !self.ended && self.generation != 0;
        usable.then(|| (Rc::clone(&self.copy), self.records))
    }

    /// It is to get this record when it is ordered to replay; what can be done before is done now.
    pub(super) fn prepare(&mut self, record: Rc<Vec<u8>>, records: u64) -> io::Result<()> {
        self.gift = Some(Gift {
            record,
            records,
            written: false,
        });
        self.write_gift(&BTreeSet::new()).map(drop)
    }

    /// There is no record for it, nor is what it was given before a failover that did not take place.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        self.gift = None;
        let given = self.place.header()?.filter(Header::waits);
        if given.is_some_and(|header| header.bytes > 0) {
            self.place.put(word::BYTES, 0)?;
        }
        Ok(())
    }

    /// Writes the gift where its program finds it, if there is room for it and for these clients. Says whether it is there.
    fn write_gift(&mut self, clients: &BTreeSet<SocketAddr>) -> io::Result<bool> {
        let Some(header) = self.place.header()?.filter(Header::waits) else {
            return Ok(false);
        };
        let Some(gift) = &mut self.gift else {
            return Ok(false);
        };
        let needed = Place::needs(gift.record.len(), clients);
        if matches!(self.place, Place::Granted(_)) && header.size < needed {
            self.want(needed)?;
            return Ok(false);
        }
        if !gift.written {
            self.place.write(HEADER, &gift.record)?;
            self.place.put(word::RECORDS, gift.records)?;
            self.place.put(word::BYTES, gift.record.len() as u64)?;
            gift.written = true;
            // In granted memory it may lie before its program has begun; what that is called is seen later.
            let begun = header.begun.then_some(header.generation);
            self.generation = begun.unwrap_or(NOT_BEGUN);
            self.records = gift.records;
            self.copy = Rc::clone(&gift.record);
        }
        Ok(true)
    }

    /// Orders its program, if it waits, to begin: with its gift, or with the record that is there, and these clients.
    pub(super) fn order(&mut self, clients: &BTreeSet<SocketAddr>) -> io::Result<Ordered> {
        let granted = matches!(self.place, Place::Granted(_));
        let needs = |gift: &Gift| Place::needs(gift.record.len(), clients);
        if granted && self.gift.as_ref().map(needs) > Some(MAX_BYTES) {
            // There will never be room for it.
            self.take_back()?;
        }
        if self.gift.is_some() && !self.write_gift(clients)? {
            let later = granted && self.place.header()?.is_none_or(|header| header.waits());
            return Ok(if later {
                Ordered::Later
            } else {
                Ordered::Nobody
            });
        }
        let Some(header) = self.place.header()?.filter(Header::waits) else {
            return Ok(Ordered::Nobody);
        };
        if header.bytes == 0 && self.gift.is_none() {
            self.place.put(word::ORDER, LIVE)?;
            self.place.ring();
            return Ok(Ordered::Anew);
        }
        self.tell(clients.clone(), header.bytes)?;
        self.place.put(word::ORDER, REPLAY)?;
        self.place.ring();
        self.gift = None;
        Ok(Ordered::Replays(header.records))
    }

    /// What it is still to get, if it is the active server.
    pub(super) fn lacks(&mut self) -> io::Result<Lack> {
        let Some(header) = self.place.header()?.filter(Header::waits) else {
            return Ok(Lack::Nothing);
        };
        let record = self.gift.is_some() || header.bytes > 0;
        Ok(if record { Lack::Record } else { Lack::Order })
    }

    /// Orders its program, if it waits, to begin anew. Says whether it did.
    pub(super) fn order_live(&mut self) -> io::Result<bool> {
        let waits = self.place.header()?.is_some_and(|header| header.waits());
        if waits {
            self.place.put(word::ORDER, LIVE)?;
            self.place.ring();
        }
        Ok(waits)
    }

    /// Tells its program, whose record has so many bytes, which clients there are.
    pub(super) fn tell(&mut self, clients: BTreeSet<SocketAddr>, bytes: u64) -> io::Result<()> {
        self.place.tell(&clients, bytes, self.times + 1)?;
        self.place.ring();
        self.times += 1;
        self.told = Some(clients);
        Ok(())
    }

    /// A logger before this one had told clients so often.
    pub(super) const fn told_before(&mut self, times: u64) {
        self.times = times;
    }

    /// Asks for so much granted memory, and for more.
    pub(super) fn want(&mut self, bytes: u64) -> io::Result<()> {
        if !matches!(self.place, Place::Granted(Some(_))) || bytes <= self.wanted {
            return Ok(());
        }
        // An agent does nothing about a wish that it can never fulfil.
        let more = (bytes + bytes / 2 + AHEAD).min(MAX_BYTES).max(bytes);
        self.place.put(word::WANT, more)?;
        self.place.ring();
        self.wanted = more;
        Ok(())
    }
}
