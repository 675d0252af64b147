// SPDX-License-Identifier: GPL-3.0-only
//! IP fragments of TCP segments: kept until the segment is whole, which is then taken like any other.
//!
//! Only the first fragment has the ports, and only a whole segment can be judged, logged and rewritten. What is
//! forwarded of it is cut into fragments no longer than those that came. Bounded in bytes and in time; a packet whose
//! fragments overlap is dropped with all of them (RFC 5722 section 4, RFC 1858).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Engine, Role};
use crate::frame::{Offload, Output, Time};
use crate::wire::{Fragment, join, locate_fragment, split};

/// Most bytes kept, of all packets together. When more come, the oldest packet is dropped.
const MAX_BYTES: usize = 1 << 20;
/// What a packet costs besides its fragments' payload.
const OVERHEAD: usize = 256;
/// What a fragment costs besides its payload.
const PIECE: usize = 64;
/// How long a packet may take to become whole (`net.ipv4.ipfrag_time` of Linux; RFC 8200 allows 60 s).
const PATIENCE: Duration = Duration::from_secs(30);

/// Which packet a fragment is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    group: usize,
    north: bool,
    src: IpAddr,
    dst: IpAddr,
    id: u32,
}

/// A packet on its way to be whole.
#[derive(Debug)]
struct Packet {
    name: Name,
    until: Time,
    /// The header of the first fragment.
    header: Option<Vec<u8>>,
    /// Payloads by their place; none of them overlaps another.
    pieces: BTreeMap<usize, Vec<u8>>,
    bytes: usize,
    /// Length of the whole payload, once the last fragment is there.
    len: Option<usize>,
    largest: usize,
    congested: bool,
    /// Its fragments overlapped: what still comes of it is dropped.
    spoilt: bool,
}

/// A packet that became whole.
#[derive(Debug)]
struct Whole {
    frame: Vec<u8>,
    header: Vec<u8>,
    largest: usize,
}

impl Packet {
    fn new(name: Name, now: Time) -> Self {
        Self {
            name,
            until: now.after(PATIENCE),
            header: None,
            pieces: BTreeMap::new(),
            bytes: 0,
            len: None,
            largest: 0,
            congested: false,
            spoilt: false,
        }
    }

    fn cost(&self) -> usize {
        OVERHEAD + self.bytes + self.pieces.len() * PIECE
    }

    /// Adds a fragment. False: it does not fit those that are there.
    fn add(&mut self, frame: &[u8], fragment: &Fragment) -> bool {
        let (at, payload) = (fragment.offset, &frame[fragment.payload.clone()]);
        let end = at + payload.len();
        if self.pieces.get(&at).is_some_and(|known| known == payload) {
            // The network has doubled it (RFC 8200 section 4.5 allows to take no offence).
            return true;
        }
        let before = self.pieces.range(..end).next_back();
        let overlaps = before.is_some_and(|(&start, known)| start + known.len() > at);
        let beyond = self.len.is_some_and(|len| end > len || !fragment.more);
        let cuts = !fragment.more
            && self
                .pieces
                .last_key_value()
                .is_some_and(|(&start, known)| start + known.len() > at);
        if overlaps || beyond || cuts {
            return false;
        }
        if at == 0 {
            self.header = Some(frame[..fragment.payload.start].to_vec());
        }
        if !fragment.more {
            self.len = Some(end);
        }
        self.largest = self.largest.max(payload.len());
        self.congested |= fragment.congested;
        self.bytes += payload.len();
        self.pieces.insert(at, payload.to_vec());
        true
    }

    fn whole(&self) -> Option<Whole> {
        let header = self
            .header
            .as_ref()
            .filter(|_| self.len == Some(self.bytes))?;
        let payload: Vec<u8> = self.pieces.values().flatten().copied().collect();
        Some(Whole {
            frame: join(header, &payload, self.congested).ok()?,
            header: header.clone(),
            largest: self.largest,
        })
    }
}

/// What became of a fragment.
enum Taken {
    Kept,
    Dropped,
    Whole(Whole),
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// The oldest first. They are few.
    packets: Vec<Packet>,
}

impl Fragments {
    fn bytes(&self) -> usize {
        self.packets.iter().map(Packet::cost).sum()
    }

    /// Drops what has waited too long. Gives the group of each packet that was dropped.
    fn expire(&mut self, now: Time) -> Vec<usize> {
        let late = self.packets.iter().take_while(|it| it.until <= now).count();
        let gone = self.packets.drain(..late).filter(|it| !it.spoilt);
        gone.map(|packet| packet.name.group).collect()
    }

    /// When the next packet has waited too long.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.packets.first().map(|packet| packet.until)
    }

    /// Forgets what came of a group, `north` or south of the logger.
    pub(super) fn forget(&mut self, group: usize, north: bool) {
        self.packets
            .retain(|packet| packet.name.group != group || packet.name.north != north);
    }

    fn take(&mut self, now: Time, name: Name, frame: &[u8], fragment: &Fragment) -> Taken {
        let known = self.packets.iter().position(|packet| packet.name == name);
        let at = known.unwrap_or_else(|| {
            self.packets.push(Packet::new(name, now));
            self.packets.len() - 1
        });
        let packet = &mut self.packets[at];
        if packet.spoilt {
            return Taken::Dropped;
        }
        if !packet.add(frame, fragment) {
            packet.spoilt = true;
            packet.pieces.clear();
            packet.bytes = 0;
            return Taken::Dropped;
        }
        if packet.len.is_some_and(|len| len == packet.bytes) {
            let packet = self.packets.remove(at);
            return packet.whole().map_or(Taken::Dropped, Taken::Whole);
        }
        Taken::Kept
    }

    /// Drops the oldest packets until the rest is within the bound. Gives how many.
    fn make_room(&mut self) -> u64 {
        let mut dropped = 0;
        while self.bytes() > MAX_BYTES {
            self.packets.remove(0);
            dropped += 1;
        }
        dropped
    }
}

impl Engine {
    /// Takes a frame that is no whole TCP segment. `None`: nor is it a fragment of one that may be of a protected
    /// service. Else it was kept or dropped, or the segment became whole and was forwarded.
    pub(super) fn take_fragment(
        &mut self,
        now: Time,
        index: usize,
        role: Role,
        frame: &[u8],
        out: &mut dyn Output,
    ) -> Option<()> {
        let fragment = locate_fragment(frame).ok()?;
        let north = role == Role::North;
        let group = self.groups[index].as_mut()?;
        let server = if north { fragment.dst } else { fragment.src };
        if !group.serves(server) {
            return None;
        }
        let name = Name {
            group: index,
            north,
            src: fragment.src,
            dst: fragment.dst,
            id: fragment.id,
        };
        self.expire_fragments(now);
        let taken = self.fragments.take(now, name, frame, &fragment);
        let dropped = self.fragments.make_room() + u64::from(matches!(taken, Taken::Dropped));
        self.groups[index].as_mut()?.counters.fragments_dropped += dropped;
        if let Taken::Whole(mut whole) = taken {
            let offload = Offload::default();
            if let Some(to) = self.protect(now, index, role, &mut whole.frame, &offload, out) {
                let frames = split(&whole.frame, &whole.header, whole.largest);
                self.groups[index].as_mut()?.counters.frames += frames.len() as u64;
                for frame in frames {
                    out.transmit(to, &frame, &offload);
                }
            }
        }
        Some(())
    }

    /// Drops packets that have not become whole in time.
    pub(super) fn expire_fragments(&mut self, now: Time) {
        for group in self.fragments.expire(now) {
            if let Some(group) = &mut self.groups[group] {
                group.counters.fragments_dropped += 1;
            }
        }
    }
}
