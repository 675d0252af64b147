// SPDX-License-Identifier: GPL-3.0-only
//! The directory of an area: pages that tell the logger the grefs of the area's pages, in their order.
//!
//! The root page: word 0 the magic, word 1 how many pages of the area are in the directory, word 2 how many leaf pages there
//! are, and from byte 64 on the grefs of these (u32). A leaf page has grefs of 1024 pages of the area (u32). Words are
//! little-endian; the count is written last, so that whoever reads it finds what it counts.

use xen_sys::grants::SharedWords;

use crate::grants::hypervisor::{PAGE, Pages};

/// Word 0 of the root.
const MAGIC: u64 = u64::from_le_bytes(*b"rxlarea1");
/// Where the grefs of leaves begin in the root.
const LEAVES_AT: usize = 64;
/// Grefs in a leaf.
const PER_LEAF: usize = PAGE as usize / 4;
/// Most leaves of a directory.
pub(super) const LEAVES_MAX: usize = 16;

mod word {
    pub(super) const MAGIC: usize = 0;
    pub(super) const PAGES: usize = 1;
    pub(super) const LEAVES: usize = 2;
}

/// A directory for the domain `logger`.
#[derive(Debug)]
pub(super) struct Directory<P> {
    pages: P,
    logger: u16,
    gref: u32,
    root: SharedWords,
    leaves: Vec<SharedWords>,
    listed: usize,
}

impl<P: Pages> Directory<P> {
    /// An empty directory in `pages`, which has none yet.
    pub(super) fn new(mut pages: P, logger: u16) -> Result<Self, String> {
        let (gref, root) = page(&mut pages, logger, 0)?;
        root.store(word::MAGIC, MAGIC);
        Ok(Self {
            pages,
            logger,
            gref,
            root,
            leaves: Vec::new(),
            listed: 0,
        })
    }

    /// The root's gref.
    pub(super) const fn gref(&self) -> u32 {
        self.gref
    }

    /// For whom it is.
    pub(super) const fn logger(&self) -> u16 {
        self.logger
    }

    /// Makes room for `more` pages of the area.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), String> {
        let leaves = (self.listed + more).div_ceil(PER_LEAF);
        if leaves > LEAVES_MAX {
            return Err(format!("a directory has {LEAVES_MAX} leaves at most"));
        }
        for at in self.leaves.len()..leaves {
            let (gref, leaf) = page(&mut self.pages, self.logger, 1 + at as u64)?;
            self.leaves.push(leaf);
            self.root.put_u32(LEAVES_AT + 4 * at, gref);
            self.root.store(word::LEAVES, 1 + at as u64);
        }
        Ok(())
    }

    /// Lists pages of the area, for which room was made.
    pub(super) fn list(&mut self, grefs: &[u32]) {
        for &gref in grefs {
            self.leaves[self.listed / PER_LEAF].put_u32(4 * (self.listed % PER_LEAF), gref);
            self.listed += 1;
        }
        self.root.store(word::PAGES, self.listed as u64);
    }
}

/// One more page of a directory, the `at`th, and its gref.
fn page<P: Pages>(pages: &mut P, logger: u16, at: u64) -> Result<(u32, SharedWords), String> {
    let grefs = pages.add(logger, 1)?;
    let words = SharedWords::map(&*pages, at * PAGE, PAGE as usize)
        .map_err(|e| format!("a granted page cannot be mapped: {e}"))?;
    Ok((grefs[0], words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::fake::Fake;
    use crate::grants::hypervisor::Hypervisor;

    #[test]
    fn the_root_counts_and_the_leaves_list() {
        let fake = Fake::default();
        let mut directory = Directory::new(fake.pages().unwrap(), 3).unwrap();
        assert_eq!(fake.word(directory.gref(), 0).to_le_bytes(), *b"rxlarea1");
        assert_eq!(fake.word(directory.gref(), 1), 0);

        let grefs: Vec<u32> = (5000..6500).collect();
        directory.reserve(1500).unwrap();
        directory.list(&grefs[..1000]);
        directory.list(&grefs[1000..]);

        let root = directory.gref();
        assert_eq!((fake.word(root, 1), fake.word(root, 2)), (1500, 2));
        let leaves = [fake.half(root, 64), fake.half(root, 68)];
        assert_eq!(fake.half(leaves[0], 0), 5000);
        assert_eq!(fake.half(leaves[0], 4092), 6023);
        assert_eq!(fake.half(leaves[1], 0), 6024);
        assert_eq!(fake.half(leaves[1], 4 * 475), 6499);
        assert_eq!(fake.half(leaves[1], 4 * 476), 0);
    }

    #[test]
    fn a_directory_has_no_more_leaves_than_its_reader_knows() {
        let fake = Fake::default();
        let mut directory = Directory::new(fake.pages().unwrap(), 3).unwrap();
        assert!(directory.reserve(16 * 1024).is_ok());
        assert!(directory.reserve(16 * 1024 + 1).is_err());
    }
}
