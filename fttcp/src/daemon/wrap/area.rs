// SPDX-License-Identifier: GPL-3.0-only
//! A record in memory that a service domain grants to this one.
//!
//! It is copied by Xen, never mapped: a domain whose memory is mapped elsewhere cannot go. Its pages are found through a
//! directory, which is granted too: a root page with the grants of leaves, and leaves with those of the record's pages.

use std::io;
use std::rc::Rc;

use xen_sys::grants::Piece;

use super::super::grants::{Bell, Copier};
use super::header::{HEADER, Header};
use crate::control::Grant;

const PAGE: u64 = 4096;
/// First word of the directory: `rxlarea1`.
const ROOT_MAGIC: u64 = u64::from_le_bytes(*b"rxlarea1");
/// Where the leaves' grants begin in the root.
const LEAVES_AT: u16 = 64;
/// Most leaves of a directory.
const LEAVES: usize = 16;
/// Grants in a leaf.
const PER_LEAF: usize = 1024;
/// Most pieces of one copy; more are copied one after the other.
const PIECES: usize = 64;
/// The header is read twice until both are the same, so often at most: Xen promises no more than bytes.
const TRIES: usize = 8;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Area {
    pub(super) place: Grant,
    copier: Rc<dyn Copier>,
    bell: Option<Bell>,
    /// Grants of the record's pages, as far as they were needed yet.
    pages: Vec<u32>,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Area {
    pub(super) fn new(place: Grant, copier: Rc<dyn Copier>, bell: Option<Bell>) -> Self {
        Self {
            place,
            copier,
            bell,
            pages: Vec::new(),
        }
    }

    /// Whether this is the local port of its bell.
    pub(super) fn hears(&self, port: u32) -> bool {
        self.bell.as_ref().is_some_and(|bell| bell.has(port))
    }

    /// Tells the agent that there is news.
    pub(super) fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    fn read_page(&self, gref: u32, offset: u16, into: &mut [u8]) -> io::Result<()> {
        let mut pieces = [Piece::Read { gref, offset, into }];
        self.copier.copy(self.place.domain, &mut pieces)
    }

    /// Learns the grants of the first `count` pages.
    fn learn(&mut self, count: usize) -> io::Result<()> {
        if count <= self.pages.len() {
            return Ok(());
        }
        let mut root = [0; LEAVES_AT as usize + 4 * LEAVES];
        self.read_page(self.place.gref, 0, &mut root)?;
        let word = |at: usize| {
            root[at..]
                .first_chunk()
                .map_or(0, |it| u64::from_le_bytes(*it))
        };
        if word(0) != ROOT_MAGIC {
            return Err(malformed(
                "what its domain grants is no directory of a record",
            ));
        }
        let (known, leaves) = (word(8) as usize, word(16) as usize);
        if count > known || known > leaves.min(LEAVES) * PER_LEAF {
            return Err(malformed("the directory of its record has too few pages"));
        }
        let first = self.pages.len();
        let mut pages = Vec::with_capacity(known - first);
        for leaf in first / PER_LEAF..known.div_ceil(PER_LEAF) {
            let from = first.max(leaf * PER_LEAF);
            let to = known.min((leaf + 1) * PER_LEAF);
            let mut grants = vec![0; 4 * (to - from)];
            let at = LEAVES_AT as usize + 4 * leaf;
            let gref = root[at..]
                .first_chunk()
                .map_or(0, |it| u32::from_le_bytes(*it));
            self.read_page(gref, (4 * (from % PER_LEAF)) as u16, &mut grants)?;
            let grants = grants.chunks_exact(4).filter_map(<[u8]>::first_chunk);
            pages.extend(grants.map(|it| u32::from_le_bytes(*it)));
        }
        self.pages.extend(pages);
        Ok(())
    }

    pub(super) fn read(&mut self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        self.learn((at + into.len() as u64).div_ceil(PAGE) as usize)?;
        while !into.is_empty() {
            let mut pieces = Vec::with_capacity(PIECES);
            while !into.is_empty() && pieces.len() < PIECES {
                let length = into.len().min((PAGE - at % PAGE) as usize);
                let (head, rest) = into.split_at_mut(length);
                pieces.push(Piece::Read {
                    gref: self.pages[(at / PAGE) as usize],
                    offset: (at % PAGE) as u16,
                    into: head,
                });
                (at, into) = (at + length as u64, rest);
            }
            self.copier.copy(self.place.domain, &mut pieces)?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, mut at: u64, mut from: &[u8]) -> io::Result<()> {
        self.learn((at + from.len() as u64).div_ceil(PAGE) as usize)?;
        while !from.is_empty() {
            let mut pieces = Vec::with_capacity(PIECES);
            while !from.is_empty() && pieces.len() < PIECES {
                let length = from.len().min((PAGE - at % PAGE) as usize);
                let (head, rest) = from.split_at(length);
                pieces.push(Piece::Write {
                    gref: self.pages[(at / PAGE) as usize],
                    offset: (at % PAGE) as u16,
                    from: head,
                });
                (at, from) = (at + length as u64, rest);
            }
            self.copier.copy(self.place.domain, &mut pieces)?;
        }
        Ok(())
    }

    pub(super) fn header(&mut self) -> io::Result<Header> {
        self.learn(1)?;
        let mut last = [0; HEADER as usize];
        for _ in 0..TRIES {
            let (mut one, mut two) = ([0; HEADER as usize], [0; HEADER as usize]);
            let gref = self.pages[0];
            let mut pieces = [
                Piece::Read {
                    gref,
                    offset: 0,
                    into: &mut one,
                },
                Piece::Read {
                    gref,
                    offset: 0,
                    into: &mut two,
                },
            ];
            self.copier.copy(self.place.domain, &mut pieces)?;
            last = two;
            if one == two {
                break;
            }
        }
        Ok(Header::parse(&last))
    }
}
