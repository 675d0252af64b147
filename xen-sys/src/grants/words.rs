// SPDX-License-Identifier: GPL-3.0-only
//! Memory shared with others (another process, another domain) as atomic words, behind a safe interface.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A mapping of a range of a file, written and read as little-endian words. Others may change it at any time: so there are
/// no references into it, only loads and stores.
///
/// The range must be there as long as the mapping is: a file that somebody makes shorter ends the process with SIGBUS. Pages of
/// [`super::Granting`] stay.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and all accesses to it are atomic.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps `len` bytes from `offset` on (a multiple of a page), shared, to read and write.
    ///
    /// # Errors
    /// `EINVAL` for a length of 0 or an offset inside of a page, `ENOENT` if granted pages do not reach that far.
    pub fn map(fd: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address that the kernel chooses overlaps nothing of this process.
        let start = unsafe {
            libc::mmap(
                null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_fd().as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, len })
    }

    /// Word `index` of 8 bytes; what its writer stored before it is seen, too.
    ///
    /// # Panics
    /// The word is not within the mapping.
    #[must_use]
    pub fn load(&self, index: usize) -> u64 {
        u64::from_le(self.word(index).load(Ordering::Acquire))
    }

    /// Stores word `index` of 8 bytes; who loads it sees what was stored before, too.
    ///
    /// # Panics
    /// The word is not within the mapping.
    pub fn store(&self, index: usize, value: u64) {
        self.word(index).store(value.to_le(), Ordering::Release);
    }

    /// Writes 4 bytes at `byte_offset`, a multiple of 4. A [`Self::store`] after it makes it visible.
    ///
    /// # Panics
    /// The offset is none, or not within the mapping.
    pub fn put_u32(&self, byte_offset: usize, value: u32) {
        assert!(
            byte_offset.is_multiple_of(4),
            "{byte_offset} is between words"
        );
        let at = self.at(byte_offset, 4).cast::<AtomicU32>();
        // SAFETY: `at` found 4 bytes of this mapping there, which begins at a page and ends with `self`: so it is aligned
        // and lives through the call.
        let word = unsafe { at.as_ref() };
        word.store(value.to_le(), Ordering::Relaxed);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        let at = self.at(index.saturating_mul(8), 8).cast::<AtomicU64>();
        // SAFETY: `at` found 8 bytes of this mapping there, which begins at a page and ends with `self`: so it is aligned
        // and lives as long as the reference.
        unsafe { at.as_ref() }
    }

    fn at(&self, offset: usize, bytes: usize) -> NonNull<u8> {
        let inside = self
            .len
            .checked_sub(bytes)
            .is_some_and(|last| offset <= last);
        assert!(inside, "{offset} is not within {} shared bytes", self.len);
        // SAFETY: `offset` is within the mapping.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the range is what `map` got from the kernel, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::FileExt;

    use super::*;

    /// A file of two pages, which has lost its name. `test` makes that name its own: tests run side by side.
    fn file(test: &str) -> File {
        let name = format!("rxl-shared-words-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.set_len(8192).unwrap();
        file
    }

    #[test]
    fn words_are_those_of_the_file_little_endian() {
        let file = file("words");
        let words = SharedWords::map(&file, 4096, 4096).unwrap();
        words.store(1, 0x0102_0304_0506_0708);
        words.put_u32(20, 0x0a0b_0c0d);
        let mut bytes = [0; 16];
        file.read_exact_at(&mut bytes, 4096 + 8).unwrap();
        assert_eq!(
            bytes,
            [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a]
        );
        file.write_all_at(&[9], 8184).unwrap();
        assert_eq!(words.load(511), 9);
    }

    #[test]
    fn outside_of_the_mapping_there_is_nothing() {
        let words = SharedWords::map(file("outside"), 0, 4096).unwrap();
        for index in [512, usize::MAX / 8, usize::MAX] {
            let load = std::panic::AssertUnwindSafe(|| words.load(index));
            assert!(std::panic::catch_unwind(load).is_err(), "{index}");
        }
        for offset in [4096, 2, usize::MAX - 3] {
            let put = std::panic::AssertUnwindSafe(|| words.put_u32(offset, 1));
            assert!(std::panic::catch_unwind(put).is_err(), "{offset}");
        }
    }

    #[test]
    fn an_empty_or_crooked_range_is_refused() {
        let file = file("refused");
        assert!(SharedWords::map(&file, 0, 0).is_err());
        assert!(SharedWords::map(&file, 8, 4096).is_err());
    }
}
