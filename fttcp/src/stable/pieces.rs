// SPDX-License-Identifier: GPL-3.0-only
//! Bytes of a stream that came before their turn: kept by position, without overlap, until the gap before them closes.
//!
//! Where pieces overlap, what came first stays. A small piece that goes on where another ends becomes part of it, so
//! that a stream in small segments behind one gap is few pieces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::conn::FAR;

/// What a piece costs beside its bytes: its share of the tree, and its allocation.
const PIECE: usize = 96;

/// A piece grows up to here. It is as large as its bytes at any time, and so is copied when it grows.
const GROWS: usize = 32 << 10;

/// See the module's text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pieces {
    pieces: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    /// Where bytes have been added since [`Pieces::take_added`].
    #[serde(skip)]
    added: Vec<(u64, usize)>,
}

impl Pieces {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether the pieces lie apart, and none before `known`.
    pub(crate) fn is_sound(&self, known: u64) -> bool {
        let mut end = known;
        let apart = self.pieces.iter().all(|(&at, bytes)| {
            let apart = at >= end && at < FAR;
            end = if apart { at + bytes.len() as u64 } else { end };
            apart
        });
        apart && self.bytes == self.pieces.values().map(Vec::len).sum::<usize>()
    }

    /// Where bytes have been added since the last call, as positions and lengths.
    pub(crate) fn take_added(&mut self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.added)
    }

    /// Bytes kept.
    pub(crate) const fn len(&self) -> usize {
        self.bytes
    }

    /// Memory used, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes + self.pieces.len() * PIECE
    }

    /// What one more piece than there are costs beside its bytes.
    pub(crate) fn next_overhead(&self) -> usize {
        (self.pieces.len() + 1) * PIECE
    }

    /// What keeping `len` further bytes may cost.
    pub(crate) const fn cost_of(len: usize) -> usize {
        len + PIECE
    }

    /// Keeps what is new of `data`, which begins at `at`.
    pub(crate) fn insert(&mut self, mut at: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let before = self.pieces.range(..=at).next_back();
            let covered = before.map_or(0, |(&start, bytes)| {
                (start + bytes.len() as u64).saturating_sub(at) as usize
            });
            let covered = covered.min(data.len());
            at += covered as u64;
            data = &data[covered..];
            let next = self.pieces.range(at..).next().map(|(&start, _)| start);
            let free = next.map_or(data.len(), |start| ((start - at) as usize).min(data.len()));
            if free > 0 {
                self.add(at, &data[..free]);
                at += free as u64;
                data = &data[free..];
            }
        }
    }

    /// Adds bytes to where nothing is.
    fn add(&mut self, at: u64, data: &[u8]) {
        self.bytes += data.len();
        match self.added.last_mut() {
            Some((start, len)) if *start + *len as u64 == at => *len += data.len(),
            _ => self.added.push((at, data.len())),
        }
        if let Some((&start, bytes)) = self.pieces.range_mut(..at).next_back()
            && start + bytes.len() as u64 == at
            && bytes.len() + data.len() <= GROWS
        {
            bytes.reserve_exact(data.len());
            bytes.extend_from_slice(data);
            return;
        }
        self.pieces.insert(at, data.to_vec());
    }

    /// The first piece, if it begins at or before `known` and ends after it: the bytes from `known` on. Pieces that
    /// bring nothing new are forgotten.
    pub(crate) fn next(&mut self, known: u64) -> Option<Vec<u8>> {
        loop {
            let first = self.pieces.first_entry()?;
            if *first.key() > known {
                return None;
            }
            let (at, mut bytes) = first.remove_entry();
            self.bytes -= bytes.len();
            if self.pieces.is_empty() {
                self.added = Vec::new();
            }
            let stale = (known - at) as usize;
            if stale < bytes.len() {
                bytes.drain(..stale);
                return Some(bytes);
            }
        }
    }

    /// The same, so many positions earlier.
    pub(crate) fn earlier(mut self, by: u64) -> Self {
        let pieces = std::mem::take(&mut self.pieces).into_iter();
        let moved = pieces.map(|(at, bytes)| (at.saturating_sub(by), bytes));
        self.pieces = moved.collect();
        self.added.clear();
        self
    }

    /// Forgets the bytes below `end`.
    pub(crate) fn forget_below(&mut self, end: u64) {
        while let Some(first) = self.pieces.first_entry()
            && *first.key() < end
        {
            let (at, mut bytes) = first.remove_entry();
            let gone = ((end - at) as usize).min(bytes.len());
            self.bytes -= gone;
            if gone < bytes.len() {
                bytes.drain(..gone);
                bytes.shrink_to_fit();
                self.pieces.insert(end, bytes);
            }
        }
    }

    /// Position after the last byte kept.
    pub(crate) fn end(&self) -> Option<u64> {
        let (&at, bytes) = self.pieces.last_key_value()?;
        Some(at + bytes.len() as u64)
    }

    /// The pieces that lie, in part, within `len` bytes from `at`, in order.
    pub(crate) fn within(&self, at: u64, len: usize) -> impl Iterator<Item = (u64, &[u8])> {
        let end = at + len as u64;
        let first = self.pieces.range(..=at).next_back();
        let first = first.map_or(at, |(&start, _)| start);
        self.pieces
            .range(first..end.max(first))
            .map(|(&start, bytes)| (start, bytes.as_slice()))
            .filter(move |(start, bytes)| start + bytes.len() as u64 > at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn next_gives_pieces_in_their_turn_and_forgets_the_stale() {
        let mut pieces = Pieces::default();
        pieces.insert(30, b"cc");
        pieces.insert(10, b"a");
        pieces.insert(20, b"bbbb");
        assert_eq!(pieces.end(), Some(32));
        assert_eq!(pieces.next(9), None);
        assert_eq!(pieces.next(22), Some(b"bb".to_vec()));
        assert_eq!(pieces.next(24), None);
        assert_eq!(pieces.next(30), Some(b"cc".to_vec()));
        assert_eq!((pieces.next(99), pieces.len()), (None, 0));
    }

    #[test]
    fn what_lies_below_is_forgotten_the_rest_stays() {
        let mut pieces = Pieces::default();
        pieces.insert(10, b"abc");
        pieces.insert(20, b"defg");
        pieces.insert(30, b"h");
        pieces.forget_below(10);
        assert_eq!(pieces.len(), 8);
        pieces.forget_below(22);
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.next(22), Some(b"fg".to_vec()));
        pieces.forget_below(31);
        assert_eq!((pieces.is_empty(), pieces.bytes), (true, 0));
    }

    #[test]
    fn pieces_that_touch_become_one() {
        let mut pieces = Pieces::default();
        for at in (100..1100).step_by(10) {
            pieces.insert(at, &[7; 10]);
        }
        assert_eq!(pieces.cost(), Pieces::cost_of(1000));
        assert_eq!(pieces.next(100), Some(vec![7; 1000]));
    }

    #[test]
    fn within_gives_what_overlaps() {
        let mut pieces = Pieces::default();
        pieces.insert(10, b"abc");
        pieces.insert(20, b"def");
        pieces.insert(30, b"ghi");
        let found = |at, len| pieces.within(at, len).map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(found(0, 10), Vec::<u64>::new());
        assert_eq!(found(0, 11), [10]);
        assert_eq!(found(12, 9), [10, 20]);
        assert_eq!(found(13, 7), Vec::<u64>::new());
        assert_eq!(found(22, 100), [20, 30]);
    }

    proptest! {
        #[test]
        fn any_order_keeps_what_came_first(
            inserts in proptest::collection::vec((1u64..200, 1usize..60), 1..60),
        ) {
            let mut pieces = Pieces::default();
            let mut want = vec![None; 300];
            for (salt, (at, len)) in inserts.into_iter().enumerate() {
                pieces.insert(at, &vec![salt as u8; len]);
                for byte in &mut want[at as usize..at as usize + len] {
                    byte.get_or_insert(salt as u8);
                }
            }
            let mut got = vec![None; 300];
            for (at, bytes) in pieces.within(0, 300) {
                for (place, &byte) in got[at as usize..].iter_mut().zip(bytes) {
                    prop_assert_eq!(place.replace(byte), None);
                }
            }
            prop_assert_eq!(pieces.len(), want.iter().flatten().count());
            prop_assert_eq!(got, want);
        }
    }
}
