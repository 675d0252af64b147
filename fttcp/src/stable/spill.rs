// SPDX-License-Identifier: GPL-3.0-only
//! Where the beginning of a long log goes, so that it does not take memory: chunks of one size, in a store that the
//! caller brings.
//!
//! A log owns its chunks: they are free again when it is cut, and when it is gone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

/// A stored chunk, by the number that its store gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk(pub u32);

/// A stored chunk could not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was moved to the spill file could not be read back")]
pub struct Unreadable;

/// A store for chunks of one size.
pub trait Spill: fmt::Debug {
    /// Bytes of a chunk: always the same, and not 0.
    fn chunk_bytes(&self) -> usize;

    /// Stores a chunk; `None`: it cannot, now.
    fn store(&mut self, bytes: &[u8]) -> Option<Chunk>;

    /// Reads the bytes of a chunk from `at` on.
    ///
    /// # Errors
    /// They could not be read; `into` holds anything.
    fn load(&mut self, chunk: Chunk, at: usize, into: &mut [u8]) -> Result<(), Unreadable>;

    /// The chunk is not needed any more.
    fn free(&mut self, chunk: Chunk);
}

/// A store that all logs of an engine share.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    spill: Rc<RefCell<Box<dyn Spill>>>,
    chunk_bytes: usize,
}

impl Store {
    pub(crate) fn new(spill: Box<dyn Spill>) -> Self {
        Self {
            chunk_bytes: spill.chunk_bytes(),
            spill: Rc::new(RefCell::new(spill)),
        }
    }

    pub(crate) const fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }
}

/// The beginning of a log, stored.
#[derive(Debug)]
pub(super) struct Spilled {
    store: Store,
    /// The first byte that is still needed.
    start: u64,
    /// The first byte of the first chunk.
    first: u64,
    chunks: VecDeque<Chunk>,
}

impl Spilled {
    /// Nothing yet, of a log that begins at `start`.
    pub(super) fn new(store: &Store, start: u64) -> Self {
        Self {
            store: store.clone(),
            start,
            first: start,
            chunks: VecDeque::new(),
        }
    }

    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    /// Position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.first + self.stored()
    }

    /// Bytes that the chunks take in the store.
    pub(super) fn stored(&self) -> u64 {
        (self.chunks.len() * self.store.chunk_bytes) as u64
    }

    /// Adds the next chunk. False: it could not be stored.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let stored = self.store.spill.borrow_mut().store(bytes);
        self.chunks.extend(stored);
        stored.is_some()
    }

    /// At most `max` bytes from `at` on, and at most as many as a chunk has. `at` must be one of its bytes.
    pub(super) fn read(&self, at: u64, max: usize) -> Result<Vec<u8>, Unreadable> {
        let size = self.store.chunk_bytes;
        let rest = usize::try_from(self.end().saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; max.min(size).min(rest)];
        let mut from = (at - self.first) as usize;
        let mut into = bytes.as_mut_slice();
        let mut spill = self.store.spill.borrow_mut();
        while !into.is_empty() {
            let skip = from % size;
            let (now, later) = into.split_at_mut(into.len().min(size - skip));
            spill.load(self.chunks[from / size], skip, now)?;
            from += now.len();
            into = later;
        }
        Ok(bytes)
    }

    /// The bytes below `at` are no longer needed.
    pub(super) fn truncate(&mut self, at: u64) {
        self.start = self.start.max(at.min(self.end()));
        let size = self.store.chunk_bytes as u64;
        while self.first + size <= self.start {
            let Some(chunk) = self.chunks.pop_front() else {
                return;
            };
            self.store.spill.borrow_mut().free(chunk);
            self.first += size;
        }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let mut spill = self.store.spill.borrow_mut();
        for &chunk in &self.chunks {
            spill.free(chunk);
        }
    }
}
