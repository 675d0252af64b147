// SPDX-License-Identifier: GPL-3.0-only
//! The stable buffer: what a client has sent, by byte range, until the service no longer needs it.
//!
//! Positions are offsets in the client's byte stream. The contiguous prefix ends at [`StableBuffer::stable`]; ranges
//! beyond a gap are kept apart until the gap closes. Where ranges overlap, what came first stays.

use std::collections::BTreeMap;

/// The log of one connection.
#[derive(Debug, Default)]
pub(crate) struct StableBuffer {
    start: u64,
    prefix: Vec<u8>,
    beyond: BTreeMap<u64, Vec<u8>>,
    beyond_bytes: usize,
}

/// The segment would take the buffer beyond its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl StableBuffer {
    /// The first byte that is not known to be contiguous in the log.
    #[must_use]
    pub(crate) const fn stable(&self) -> u64 {
        self.start + self.prefix.len() as u64
    }

    /// Bytes held.
    #[must_use]
    pub(crate) const fn len(&self) -> usize {
        self.prefix.len() + self.beyond_bytes
    }

    /// Whether ranges beyond a gap are held.
    #[must_use]
    pub(crate) fn has_gap(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// Logs `data` as the bytes from `at` on.
    ///
    /// # Errors
    /// [`Full`]: more than `bound` bytes would be held; nothing was logged.
    pub(crate) fn insert(&mut self, at: u64, data: &[u8], bound: usize) -> Result<(), Full> {
        let end = at + data.len() as u64;
        if end <= self.stable() {
            return Ok(());
        }
        let skip = self.stable().saturating_sub(at) as usize;
        let (at, data) = (at + skip as u64, &data[skip..]);
        if self.len() + data.len() > bound {
            return Err(Full);
        }
        if at > self.stable() {
            self.insert_beyond(at, data);
            return Ok(());
        }
        if self.beyond.is_empty() {
            self.prefix.extend_from_slice(data);
            return Ok(());
        }
        // First come, first kept: fill only what no earlier range holds.
        self.insert_beyond(at, data);
        while let Some(range) = self.beyond.first_entry() {
            if *range.key() != self.start + self.prefix.len() as u64 {
                break;
            }
            let bytes = range.remove();
            self.beyond_bytes -= bytes.len();
            self.prefix.extend_from_slice(&bytes);
        }
        Ok(())
    }

    fn insert_beyond(&mut self, mut at: u64, mut data: &[u8]) {
        if let Some((&start, bytes)) = self.beyond.range(..=at).next_back() {
            let covered = (start + bytes.len() as u64).saturating_sub(at) as usize;
            let covered = covered.min(data.len());
            at += covered as u64;
            data = &data[covered..];
        }
        while !data.is_empty() {
            let next = self.beyond.range(at..).next();
            let next = next.map(|(&start, bytes)| (start, bytes.len()));
            let free = next.map_or(data.len(), |(start, _)| {
                ((start - at) as usize).min(data.len())
            });
            if free > 0 {
                self.beyond.insert(at, data[..free].to_vec());
                self.beyond_bytes += free;
            }
            let skip = (free + next.map_or(0, |(_, len)| len)).min(data.len());
            at += skip as u64;
            data = &data[skip..];
        }
    }

    /// At most `max` logged bytes from `at` on; empty at the end of the contiguous prefix.
    #[must_use]
    pub(crate) fn read(&self, at: u64, max: usize) -> &[u8] {
        let from = at.saturating_sub(self.start).min(self.prefix.len() as u64) as usize;
        let to = from.saturating_add(max).min(self.prefix.len());
        &self.prefix[from..to]
    }

    /// Forgets everything, positions included.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            start: self.stable(),
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn trap_22_overlap_keeps_what_came_first() {
        let mut log = StableBuffer::default();
        log.insert(4, b"EFGH", 100).unwrap();
        log.insert(2, b"cdefghij", 100).unwrap();
        assert!(log.has_gap());
        assert_eq!(log.stable(), 0);
        log.insert(0, b"abxx", 100).unwrap();
        assert_eq!(log.read(0, 100), b"abcdEFGHij");
        assert!(!log.has_gap());
        assert_eq!(log.len(), 10);
    }

    #[test]
    fn insert_beyond_the_bound_is_refused_whole() {
        let mut log = StableBuffer::default();
        log.insert(0, &[1; 8], 10).unwrap();
        assert_eq!(log.insert(8, &[2; 3], 10), Err(Full));
        assert_eq!(log.stable(), 8);
        log.insert(8, &[2; 2], 10).unwrap();
        log.insert(0, &[9; 10], 10).unwrap();
        assert_eq!(log.read(0, 100), [1, 1, 1, 1, 1, 1, 1, 1, 2, 2]);
    }

    proptest! {
        #[test]
        fn any_order_of_pieces_gives_the_stream(
            pieces in proptest::collection::vec((0usize..200, 1usize..60), 1..60),
        ) {
            let stream: Vec<u8> = (0..260u32).map(|n| (n * 7) as u8).collect();
            let mut log = StableBuffer::default();
            let mut seen = vec![false; stream.len()];
            for (at, len) in pieces {
                log.insert(at as u64, &stream[at..at + len], 1 << 20).unwrap();
                seen[at..at + len].fill(true);
                let prefix = seen.iter().take_while(|&&seen| seen).count();
                prop_assert_eq!(log.stable(), prefix as u64);
                prop_assert_eq!(log.read(0, usize::MAX), &stream[..prefix]);
                prop_assert_eq!(log.len(), seen.iter().filter(|&&seen| seen).count());
                prop_assert_eq!(log.has_gap(), log.len() > prefix);
            }
        }
    }
}
