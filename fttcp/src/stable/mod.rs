// SPDX-License-Identifier: GPL-3.0-only
//! The stable buffer: what a client has sent, by byte range, until the service no longer needs it.
//!
//! Positions are offsets in the client's byte stream. The contiguous prefix ends at [`StableBuffer::stable`]; ranges
//! beyond a gap are kept apart until the gap closes. Where ranges overlap, what came first stays.
//!
//! * `pieces`: bytes beyond a gap. `budget`: the bound over all connections. `spill`: the beginning of a long prefix,
//!   not in memory.

mod budget;
mod pieces;
mod spill;

pub(crate) use budget::{Account, Budget};
pub(crate) use pieces::Pieces;
pub(crate) use spill::Store;
pub use spill::{Chunk, Spill, Unreadable};

use std::borrow::Cow;

use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};

use crate::conn::FAR;
use crate::datapath::prefer_huge_pages;
use spill::Spilled;

/// A prefix up to this long has no room to spare: most connections say little and live long. A longer one grows by a
/// quarter.
const EXACT: usize = 4096;
/// A longer one is a bulk upload's, which costs more page faults than anything else.
const LARGE: usize = 4 << 20;

/// The log of one connection.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StableBuffer {
    /// The first byte in memory.
    from: u64,
    #[serde(with = "crate::bytes")]
    prefix: Vec<u8>,
    beyond: Option<Box<Pieces>>,
    /// What comes before the bytes in memory.
    #[serde(skip)]
    spilled: Option<Box<Spilled>>,
}

/// An image of a log: all of it is in memory.
#[derive(Serialize)]
struct Image<'a> {
    from: u64,
    #[serde(with = "crate::bytes")]
    prefix: Cow<'a, [u8]>,
    beyond: Option<&'a Pieces>,
}

impl Serialize for StableBuffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut prefix = Cow::Borrowed(self.prefix.as_slice());
        if self.spilled.is_some() {
            let mut all = Vec::with_capacity((self.stable() - self.start()) as usize);
            while let at = self.start() + all.len() as u64
                && at < self.stable()
            {
                all.extend_from_slice(&self.fetch(at, usize::MAX).map_err(S::Error::custom)?);
            }
            prefix = Cow::Owned(all);
        }
        let image = Image {
            from: self.start(),
            prefix,
            beyond: self.beyond.as_deref(),
        };
        image.serialize(serializer)
    }
}

/// The segment would take the buffer beyond its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl StableBuffer {
    /// The first byte that is still held, or would be.
    #[must_use]
    pub(crate) fn start(&self) -> u64 {
        let spilled = self.spilled.as_ref();
        spilled.map_or(self.from, |spilled| spilled.start())
    }

    /// The first byte that is not known to be contiguous in the log.
    #[must_use]
    pub(crate) const fn stable(&self) -> u64 {
        self.from + self.prefix.len() as u64
    }

    /// Whether the parts fit together, as in an image from elsewhere they may not.
    pub(crate) fn is_sound(&self) -> bool {
        self.from < FAR
            && self
                .beyond
                .as_ref()
                .is_none_or(|beyond| beyond.is_sound(self.stable()))
    }

    /// Bytes held.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        let prefix = (self.stable() - self.start()) as usize;
        prefix + self.beyond.as_ref().map_or(0, |beyond| beyond.len())
    }

    /// Bytes that its chunks take in the store.
    #[must_use]
    pub(crate) fn spilled(&self) -> u64 {
        let spilled = self.spilled.as_ref();
        spilled.map_or(0, |spilled| spilled.stored())
    }

    /// Memory used, in bytes.
    #[must_use]
    pub(crate) fn cost(&self) -> usize {
        self.prefix.capacity() + self.beyond.as_ref().map_or(0, |beyond| beyond.cost())
    }

    /// Gives up room to spare.
    pub(crate) fn tighten(&mut self) {
        self.prefix.shrink_to_fit();
    }

    /// Gives up the ranges beyond a gap.
    pub(crate) fn forget_beyond(&mut self) {
        self.beyond = None;
    }

    /// Whether ranges beyond a gap are held.
    #[must_use]
    pub(crate) fn has_gap(&self) -> bool {
        self.beyond.is_some()
    }

    /// Logs `data` as the bytes from `at` on.
    ///
    /// # Errors
    /// [`Full`]: more than `bound` bytes would be used; nothing was logged.
    pub(crate) fn insert(&mut self, at: u64, data: &[u8], bound: usize) -> Result<(), Full> {
        let end = at + data.len() as u64;
        let stable = self.stable();
        if end <= stable {
            return Ok(());
        }
        let skip = stable.saturating_sub(at) as usize;
        let (at, data) = (at + skip as u64, &data[skip..]);
        let beyond = self.beyond.as_ref().map_or(0, |beyond| beyond.cost());
        let gap = at > stable || self.beyond.is_some();
        // Bytes in their turn need no bookkeeping. That of the others must leave room for those in their turn.
        let overhead = match &self.beyond {
            _ if at <= stable => 0,
            Some(beyond) => beyond.next_overhead(),
            None => Pieces::cost_of(0),
        };
        let more = if overhead == 0 {
            data.len()
        } else {
            Pieces::cost_of(data.len())
        };
        if self.prefix.len() + beyond + more > bound || overhead > bound / 8 {
            return Err(Full);
        }
        if !gap {
            self.extend(data, bound - beyond);
            return Ok(());
        }
        // Room to spare gives way to bytes.
        self.prefix.shrink_to(bound - beyond - more);
        // First come, first kept: fill only what no earlier range holds.
        let mut pieces = self.beyond.take().unwrap_or_default();
        pieces.insert(at, data);
        self.beyond = Some(pieces);
        self.close_gap(bound);
        Ok(())
    }

    /// Takes into the prefix what now follows it.
    fn close_gap(&mut self, bound: usize) {
        let Some(mut pieces) = self.beyond.take() else {
            return;
        };
        while let Some(bytes) = pieces.next(self.stable()) {
            self.extend(&bytes, bound.saturating_sub(pieces.cost()));
        }
        if !pieces.is_empty() {
            self.beyond = Some(pieces);
        }
    }

    /// `data` comes from `at` on. If it is in its turn, the bytes beyond a gap give way to it. Says whether they were
    /// others.
    pub(crate) fn give_way(&mut self, at: u64, data: &[u8]) -> bool {
        let end = at + data.len() as u64;
        if at > self.stable() || end <= self.stable() {
            return false;
        }
        let Some(mut pieces) = self.beyond.take() else {
            return false;
        };
        let others = pieces.within(at, data.len()).any(|(start, bytes)| {
            let said = &data[(start - at) as usize..];
            let len = said.len().min(bytes.len());
            said[..len] != bytes[..len]
        });
        pieces.forget_below(end);
        self.beyond = Some(pieces).filter(|pieces| !pieces.is_empty());
        others
    }

    fn extend(&mut self, data: &[u8], bound: usize) {
        let needed = self.prefix.len() + data.len();
        if needed > self.prefix.capacity() {
            let room = if needed > EXACT { needed / 4 } else { 0 };
            let room = room.min(bound.saturating_sub(needed));
            self.prefix.reserve_exact(data.len() + room);
            if needed > LARGE {
                prefer_huge_pages(&mut self.prefix);
            }
        }
        self.prefix.extend_from_slice(data);
    }

    /// Moves the beginning of the prefix to `store`, in whole chunks, until at most `keep` bytes of it are in memory, or
    /// no more than `most` would be stored.
    ///
    /// # Errors
    /// [`Full`]: the store did not take a chunk, which stays in memory.
    pub(crate) fn spill(&mut self, keep: usize, most: u64, store: &Store) -> Result<(), Full> {
        let size = store.chunk_bytes();
        let mut moved = 0;
        let mut done = Ok(());
        while self.prefix.len() - moved > keep && self.prefix.len() - moved >= size {
            if self.spilled() + size as u64 > most {
                break;
            }
            let spilled = self.spilled.get_or_insert_with(|| {
                // Nothing of it is stored so far.
                Box::new(Spilled::new(store, self.from))
            });
            if !spilled.push(&self.prefix[moved..moved + size]) {
                done = Err(Full);
                break;
            }
            moved += size;
        }
        self.from += moved as u64;
        self.prefix.drain(..moved);
        if moved > 0 && (keep == 0 || self.prefix.capacity() / 4 > keep) {
            self.prefix.shrink_to_fit();
        }
        self.drop_empty();
        done
    }

    /// A store in which nothing is left is not needed.
    fn drop_empty(&mut self) {
        self.spilled = self.spilled.take().filter(|it| it.stored() > 0);
    }

    /// At most `max` logged bytes from `at` on, wherever they are; they may be fewer. Empty at the end of the contiguous
    /// prefix.
    ///
    /// # Errors
    /// [`Unreadable`]: the store failed.
    pub(crate) fn fetch(&self, at: u64, max: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        match &self.spilled {
            Some(spilled) if at < self.from => {
                spilled.read(at.max(spilled.start()), max).map(Cow::Owned)
            }
            _ => Ok(Cow::Borrowed(self.read(at, max))),
        }
    }

    /// What is logged of the `len` bytes from `at` on and is not in memory, with its position.
    ///
    /// # Errors
    /// [`Unreadable`]: the store failed.
    pub(crate) fn fetch_spilled(&self, at: u64, len: usize) -> Result<(u64, Vec<u8>), Unreadable> {
        let end = at + len as u64;
        let mut found = (at.max(self.start()), Vec::new());
        while let at = found.0 + found.1.len() as u64
            && at < end.min(self.from)
        {
            let max = (end.min(self.from) - at) as usize;
            found.1.extend_from_slice(&self.fetch(at, max)?);
        }
        Ok(found)
    }

    /// At most `max` logged bytes from `at` on, of those in memory; empty at the end of the contiguous prefix. The bytes
    /// logged last are in memory.
    #[must_use]
    pub(crate) fn read(&self, at: u64, max: usize) -> &[u8] {
        let from = at.saturating_sub(self.from).min(self.prefix.len() as u64) as usize;
        let to = from.saturating_add(max).min(self.prefix.len());
        &self.prefix[from..to]
    }

    /// What is logged of the `len` bytes from `at` on and is in memory, in order of position.
    pub(crate) fn logged(&self, at: u64, len: usize) -> impl Iterator<Item = (u64, &[u8])> {
        let end = at + len as u64;
        let from = at.max(self.from);
        let prefix = self.read(from, end.saturating_sub(from) as usize);
        let beyond = self
            .beyond
            .iter()
            .flat_map(move |pieces| pieces.within(at, len));
        let beyond = beyond.map(move |(start, bytes)| {
            let from = start.max(at);
            let to = (start + bytes.len() as u64).min(end);
            (from, &bytes[(from - start) as usize..(to - start) as usize])
        });
        std::iter::once((from, prefix))
            .filter(|(_, bytes)| !bytes.is_empty())
            .chain(beyond)
    }

    /// Whether `data`, from `at` on, says other bytes than those that are logged.
    ///
    /// # Errors
    /// [`Unreadable`]: the store failed.
    pub(crate) fn contradicts(&self, at: u64, data: &[u8]) -> Result<bool, Unreadable> {
        let other = |start: u64, bytes: &[u8]| {
            let skip = (start - at) as usize;
            data[skip..skip + bytes.len()] != *bytes
        };
        if self
            .logged(at, data.len())
            .any(|(start, bytes)| other(start, bytes))
        {
            return Ok(true);
        }
        let (start, bytes) = self.fetch_spilled(at, data.len())?;
        Ok(!bytes.is_empty() && other(start, &bytes))
    }

    /// The bytes below `at` are no longer needed. Those beyond the contiguous prefix stay.
    pub(crate) fn truncate(&mut self, at: u64) {
        if let Some(spilled) = &mut self.spilled {
            spilled.truncate(at);
            self.drop_empty();
        }
        let gone = at.saturating_sub(self.from).min(self.prefix.len() as u64);
        self.from += gone;
        if gone as usize == self.prefix.len() && self.prefix.capacity() > EXACT {
            self.prefix = Vec::new();
        } else {
            self.prefix.drain(..gone as usize);
        }
    }

    /// Bytes beyond a gap that were logged since the last call.
    pub(crate) fn take_added(&mut self) -> Vec<(u64, usize)> {
        let beyond = self.beyond.as_mut();
        beyond.map_or_else(Vec::new, |beyond| beyond.take_added())
    }

    /// Where the log begins, where its contiguous prefix ends, and whether there is a gap.
    pub(crate) fn extent(&self) -> (u64, u64, bool) {
        (self.start(), self.stable(), self.beyond.is_some())
    }

    /// Forgets what a log of this extent does not hold. False: it holds bytes that are not here.
    pub(crate) fn conform(&mut self, (start, stable, gap): (u64, u64, bool)) -> bool {
        if start > self.stable() {
            // What came in the same moment as what it follows was cut stands beyond a gap until now.
            let beyond = self.beyond.take();
            self.clear();
            self.from = start;
            self.beyond = beyond;
            self.close_gap(usize::MAX / 2);
        } else {
            self.truncate(start);
        }
        if !gap {
            self.beyond = None;
        }
        self.extent() == (start, stable, gap)
    }

    /// Forgets everything but where the prefix ended.
    pub(crate) fn clear(&mut self) {
        self.truncate(self.stable());
        self.prefix = Vec::new();
        self.beyond = None;
    }
}

#[cfg(test)]
mod spill_tests;
#[cfg(test)]
mod tests;
