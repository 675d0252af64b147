// SPDX-License-Identifier: GPL-3.0-only
//! Server bytes that came before their turn while a connection is moved: kept, within a bound, until it is.

use std::collections::BTreeMap;

/// Most bytes kept for one connection. What overtakes something is a few super-segments.
const LIMIT: usize = 1 << 20;

/// The pieces, by the stream position of their first byte.
#[derive(Debug, Default)]
pub(super) struct Early {
    pieces: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl Early {
    /// Keeps a piece; beyond the bound it is dropped, and the sender repeats it.
    pub(super) fn keep(&mut self, at: u64, data: &[u8]) {
        let longer = |known: &Vec<u8>| known.len() >= data.len();
        if self.bytes + data.len() > LIMIT || self.pieces.get(&at).is_some_and(longer) {
            return;
        }
        self.bytes += data.len();
        let replaced = self.pieces.insert(at, data.to_vec());
        self.bytes -= replaced.map_or(0, |piece| piece.len());
    }

    /// A piece that starts at or before `known` and ends after it. Pieces that bring nothing new are forgotten.
    pub(super) fn next(&mut self, known: u64) -> Option<(u64, Vec<u8>)> {
        loop {
            let first = self.pieces.first_entry()?;
            if *first.key() > known {
                return None;
            }
            let (at, data) = first.remove_entry();
            self.bytes -= data.len();
            if at + data.len() as u64 > known {
                return Some((at, data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_gives_pieces_in_their_turn_and_forgets_the_stale() {
        let mut early = Early::default();
        early.keep(30, b"cc");
        early.keep(10, b"a");
        early.keep(20, b"bbbb");
        assert_eq!(early.next(9), None);
        assert_eq!(early.next(22), Some((20, b"bbbb".to_vec())));
        assert_eq!(early.next(24), None);
        assert_eq!(early.next(30), Some((30, b"cc".to_vec())));
        assert_eq!((early.next(99), early.bytes), (None, 0));
    }

    #[test]
    fn keep_longer_piece_at_the_same_place_wins() {
        let mut early = Early::default();
        early.keep(5, b"ab");
        early.keep(5, b"abcd");
        early.keep(5, b"a");
        assert_eq!(early.next(5), Some((5, b"abcd".to_vec())));
        assert_eq!(early.bytes, 0);
    }

    #[test]
    fn keep_beyond_the_bound_is_dropped() {
        let mut early = Early::default();
        let piece = vec![0; LIMIT / 2];
        for at in [1, 2_000_000, 4_000_000] {
            early.keep(at, &piece);
        }
        assert_eq!((early.pieces.len(), early.bytes), (2, LIMIT));
    }
}
