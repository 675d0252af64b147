// SPDX-License-Identifier: GPL-3.0-only
//! A store for spilled logs in memory, that fails when it is told to.

use std::cell::Cell;
use std::rc::Rc;

use crate::engine::{Chunk, Spill, Unreadable};

/// How a store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpillPlan {
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
    /// So many chunks can be stored, ever; then it fails.
    pub stores: u64,
    /// So many reads succeed; then they fail.
    pub loads: u64,
}

impl SpillPlan {
    /// Chunks of this size, no failures.
    #[must_use]
    pub const fn sound(chunk_bytes: usize) -> Self {
        Self {
            chunk_bytes,
            stores: u64::MAX,
            loads: u64::MAX,
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct MemorySpill {
    plan: SpillPlan,
    chunks: Vec<Option<Vec<u8>>>,
    used: Rc<Cell<usize>>,
}

impl MemorySpill {
    /// An empty store.
    #[must_use]
    pub fn new(plan: SpillPlan) -> Self {
        Self {
            plan,
            chunks: Vec::new(),
            used: Rc::default(),
        }
    }

    /// How many chunks are in use, also later.
    #[must_use]
    pub fn used(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.used)
    }
}

impl Spill for MemorySpill {
    fn chunk_bytes(&self) -> usize {
        self.plan.chunk_bytes
    }

    fn store(&mut self, bytes: &[u8]) -> Option<Chunk> {
        assert_eq!(bytes.len(), self.plan.chunk_bytes, "chunks are of one size");
        self.plan.stores = self.plan.stores.checked_sub(1)?;
        let free = self.chunks.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.chunks.push(None);
            self.chunks.len() - 1
        });
        self.chunks[place] = Some(bytes.to_vec());
        self.used.set(self.used.get() + 1);
        Some(Chunk(place as u32))
    }

    fn load(&mut self, chunk: Chunk, at: usize, into: &mut [u8]) -> Result<(), Unreadable> {
        self.plan.loads = self.plan.loads.checked_sub(1).ok_or(Unreadable)?;
        let bytes = self.chunks[chunk.0 as usize].as_ref();
        let bytes = bytes.expect("only what is stored is read");
        into.copy_from_slice(&bytes[at..at + into.len()]);
        Ok(())
    }

    fn free(&mut self, chunk: Chunk) {
        let freed = self.chunks[chunk.0 as usize].take();
        assert!(freed.is_some(), "a chunk is freed once");
        self.used.set(self.used.get() - 1);
    }
}
