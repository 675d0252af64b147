// SPDX-License-Identifier: GPL-3.0-only
//! The area: memory for one program's record, as long as a file that only grows. Of its content, the agent knows two words of
//! the header (`rxl-wrap`'s record tells the others).

use std::os::fd::{AsFd, BorrowedFd};

use xen_sys::grants::SharedWords;

use super::directory::{Directory, LEAVES_MAX};
use crate::grants::hypervisor::{PAGE, Pages};

/// A new area, and what it grows by.
const STEP: u64 = 1 << 20;
/// The largest area.
const MAX: u64 = 64 << 20;
/// Most pages of an area and its directory, and of a second directory: the next area has one before the last one goes.
pub(crate) const PAGES_MAX: u32 = (MAX / PAGE) as u32 + 1 + LEAVES_MAX as u32 + 1;

const _: () = assert!(MAX / PAGE == 1024 * LEAVES_MAX as u64 && MAX.is_multiple_of(STEP));

/// Words of the header.
mod word {
    /// The agent's: bytes of the area that are there.
    pub(super) const SIZE: usize = 9;
    /// The logger's: bytes that it wants there to be.
    pub(super) const WANT: usize = 10;
}

/// An area and its directory.
#[derive(Debug)]
pub(super) struct Area<P> {
    pages: P,
    directory: Directory<P>,
    header: SharedWords,
    size: u64,
}

impl<P: Pages> Area<P> {
    /// A new area in `pages`, which has none yet, listed in the empty `directory`.
    pub(super) fn new(mut pages: P, mut directory: Directory<P>) -> Result<Self, String> {
        extend(&mut pages, &mut directory, STEP)?;
        let header = SharedWords::map(&pages, 0, PAGE as usize)
            .map_err(|e| format!("granted pages cannot be mapped: {e}"))?;
        header.store(word::SIZE, STEP);
        Ok(Self {
            pages,
            directory,
            header,
            size: STEP,
        })
    }

    /// Its size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The size that the logger wants.
    pub(super) fn wanted(&self) -> u64 {
        self.header.load(word::WANT)
    }

    /// Gref of the directory's root.
    pub(super) const fn root(&self) -> u32 {
        self.directory.gref()
    }

    /// Grows it to `wanted` bytes at least, and says whether it has grown. What is larger than an area can be changes
    /// nothing.
    pub(super) fn grow(&mut self, wanted: u64) -> Result<bool, String> {
        let Some(size) = grown(self.size, wanted) else {
            return Ok(false);
        };
        extend(&mut self.pages, &mut self.directory, size - self.size)?;
        self.size = size;
        self.header.store(word::SIZE, size);
        Ok(true)
    }
}

impl<P: AsFd> AsFd for Area<P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pages.as_fd()
    }
}

/// The size of an area of `size` after growing to `wanted` at least; `None` if it is that large, or cannot be.
const fn grown(size: u64, wanted: u64) -> Option<u64> {
    if wanted <= size || wanted > MAX {
        return None;
    }
    Some(wanted.next_multiple_of(STEP))
}

/// Adds `bytes` behind what is there, and lists them.
fn extend<P: Pages>(pages: &mut P, directory: &mut Directory<P>, bytes: u64) -> Result<(), String> {
    let count = (bytes / PAGE) as u32;
    directory.reserve(count as usize)?;
    let grefs = pages.add(directory.logger(), count)?;
    directory.list(&grefs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::fake::Fake;
    use crate::grants::hypervisor::Hypervisor;

    fn area(fake: &Fake) -> Area<<Fake as Hypervisor>::Pages> {
        let directory = Directory::new(fake.pages().unwrap(), 3).unwrap();
        Area::new(fake.pages().unwrap(), directory).unwrap()
    }

    #[test]
    fn sizes_are_whole_steps_up_to_the_largest() {
        assert_eq!(grown(STEP, STEP), None);
        assert_eq!(grown(STEP, STEP + 1), Some(2 * STEP));
        assert_eq!(grown(STEP, 5 * STEP), Some(5 * STEP));
        assert_eq!(grown(STEP, MAX), Some(MAX));
        assert_eq!(grown(STEP, MAX + 1), None);
        assert_eq!(grown(MAX, u64::MAX), None);
    }

    #[test]
    fn an_area_grows_to_its_largest_and_the_directory_has_all_of_it() {
        let fake = Fake::default();
        let mut area = area(&fake);
        assert_eq!(fake.pages_of(area.root()).len(), 256);
        assert!(area.grow(MAX).unwrap());
        let grefs = fake.pages_of(area.root());
        assert_eq!(grefs.len(), 16384);
        assert_eq!(fake.word(grefs[0], word::SIZE), MAX);
        // The last page of the directory is the last of the file.
        let words = SharedWords::map(&area, MAX - PAGE, PAGE as usize).unwrap();
        words.store(511, 77);
        assert_eq!(fake.word(grefs[16383], 511), 77);
        assert!(!area.grow(MAX + 1).unwrap());
        // All of it, but for the directory of the next one.
        assert_eq!(fake.granted(), PAGES_MAX as usize - 1);
    }

    #[test]
    fn an_area_that_cannot_grow_stays_as_it_is() {
        let fake = Fake::default();
        let mut area = area(&fake);
        fake.allow(100);
        let told = area.grow(2 * STEP).unwrap_err();
        assert_eq!(told, "no room for 256 more pages");
        assert_eq!(area.size(), STEP);
        let grefs = fake.pages_of(area.root());
        assert_eq!((grefs.len(), fake.word(grefs[0], word::SIZE)), (256, STEP));
        fake.allow(1000);
        assert!(area.grow(2 * STEP).unwrap());
        assert_eq!(fake.pages_of(area.root()).len(), 512);
    }
}
