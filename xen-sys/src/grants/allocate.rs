// SPDX-License-Identifier: GPL-3.0-only
//! Pages that this domain grants to another one: `/dev/xen/gntalloc`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::{PAGE, check, open, request};

const DEVICE: &str = "/dev/xen/gntalloc";
const ALLOC_GREF: libc::Ioctl = request(b'G', 5, size_of::<Header>());
const DEALLOC_GREF: libc::Ioctl = request(b'G', 6, size_of::<Deallocate>());
/// `GNTALLOC_FLAG_WRITABLE`: the other domain may write.
const WRITABLE: u16 = 1;

/// `struct ioctl_gntalloc_alloc_gref` in words of 8 bytes: what is asked, the offset, and the first grefs of a list that
/// goes on behind it.
type Header = [u64; 3];

/// `struct ioctl_gntalloc_dealloc_gref`.
#[repr(C)]
struct Deallocate {
    index: u64,
    count: u32,
    padding: u32,
}

// The kernel's sizes.
const _: () = assert!(size_of::<Header>() == 24 && size_of::<Deallocate>() == 16);

/// Pages granted to other domains, one behind the other: the file's offsets `0..len` can be mapped (shared), here or by
/// whoever is sent the descriptor. They are zero at first. The pages go with the last descriptor and the last mapping of
/// them; those that another domain has mapped go when it has unmapped them.
#[derive(Debug)]
pub struct Granting {
    device: File,
    bytes: usize,
}

impl Granting {
    /// Opens the device; no page is there yet.
    ///
    /// # Errors
    /// `ENOENT` without the module `xen-gntalloc`, `EACCES` without the right.
    pub fn open() -> io::Result<Self> {
        let device = open(DEVICE, libc::O_CLOEXEC)?;
        Ok(Self { device, bytes: 0 })
    }

    /// Adds pages behind those that are there, which `domain` may read and write, and returns their grefs. All of them
    /// come, or none.
    ///
    /// # Errors
    /// `ENOSPC` if the module's limit (`/sys/module/xen_gntalloc/parameters/limit`) or the domain's grant table is full;
    /// once the grant table was, this file takes no more pages.
    pub fn add(&mut self, domain: u16, pages: u32) -> io::Result<Vec<u32>> {
        let count = pages as usize;
        let mut words = asking(domain, pages);
        // SAFETY: the descriptor is open for the whole call. The request reads and writes 24 bytes, and writes 4 * `pages`
        // bytes from offset 16 on: `asking` made the words for both, aligned to 8 bytes.
        check(unsafe { libc::ioctl(self.device.as_raw_fd(), ALLOC_GREF, words.as_mut_ptr()) })?;
        let [_, index, list @ ..] = words.as_slice() else {
            unreachable!("`asking` makes three words at least");
        };
        if *index != self.bytes as u64 {
            // An earlier failure in the middle has used up offsets. Who maps the whole file must not find a hole in it.
            self.remove(*index, pages)?;
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.bytes += count * PAGE;
        Ok(grefs(list, count))
    }

    fn remove(&self, index: u64, count: u32) -> io::Result<()> {
        let pages = Deallocate {
            index,
            count,
            padding: 0,
        };
        // SAFETY: the descriptor is open for the whole call; `pages` has the kernel's layout and is only read.
        check(unsafe { libc::ioctl(self.device.as_raw_fd(), DEALLOC_GREF, &raw const pages) })
            .map(drop)
    }

    /// Bytes so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// No page is there yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl AsFd for Granting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// The argument of `ALLOC_GREF`, with room for all grefs: `domid: u16, flags: u16, count: u32, index: u64, gref_ids: [u32]`.
fn asking(domain: u16, pages: u32) -> Vec<u64> {
    let list = (pages as usize).div_ceil(2);
    let mut words = vec![0; size_of::<Header>() / 8 + list];
    let ([a, b], [c, d], [e, f, g, h]) = (
        domain.to_ne_bytes(),
        WRITABLE.to_ne_bytes(),
        pages.to_ne_bytes(),
    );
    words[0] = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    words
}

/// The first `count` grefs of the list.
fn grefs(list: &[u64], count: usize) -> Vec<u32> {
    let halves = list.iter().flat_map(|word| {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        [[a, b, c, d], [e, f, g, h]]
    });
    halves.take(count).map(u32::from_ne_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_has_the_layout_of_the_header() {
        for (pages, words) in [(1, 4), (2, 4), (3, 5), (1024, 515)] {
            let asked = asking(7, pages);
            assert_eq!(asked.len(), words);
            assert_eq!(asked[0].to_le(), 7 | 1 << 16 | u64::from(pages) << 32);
            // The kernel writes its 24 bytes and the list, which begins in them.
            assert!(asked.len() * 8 >= (16 + pages as usize * 4).max(24));
        }
    }

    #[test]
    fn grefs_are_read_in_their_order() {
        let word = |a: u32, b: u32| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&a.to_ne_bytes());
            bytes[4..].copy_from_slice(&b.to_ne_bytes());
            u64::from_ne_bytes(bytes)
        };
        assert_eq!(grefs(&[word(8, 9), word(3, 0)], 3), [8, 9, 3]);
    }

    #[test]
    fn without_the_device_the_error_tells_it() {
        match Granting::open() {
            Ok(granting) => assert!(granting.is_empty()),
            Err(error) => assert!(
                matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EACCES)),
                "{error}"
            ),
        }
    }
}
