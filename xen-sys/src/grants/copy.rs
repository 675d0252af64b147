// SPDX-License-Identifier: GPL-3.0-only
//! Copies from and to pages that another domain has granted: `/dev/xen/gntdev`. Nothing is mapped, so that the other domain
//! can end whenever it likes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::{PAGE, check, open, request};

const DEVICE: &str = "/dev/xen/gntdev";
const GRANT_COPY: libc::Ioctl = request(b'G', 8, size_of::<Copies>());
/// `GNTCOPY_source_gref`.
const FROM_GREF: u16 = 1;
/// `GNTCOPY_dest_gref`.
const TO_GREF: u16 = 2;
/// `GNTST_okay`.
const OKAY: i16 = 0;

/// The other side's end of a copy.
#[repr(C)]
#[derive(Clone, Copy)]
struct Foreign {
    gref: u32,
    offset: u16,
    domain: u16,
}

/// One end of a copy.
#[repr(C)]
#[derive(Clone, Copy)]
union End {
    near: *mut u8,
    far: Foreign,
}

/// `struct gntdev_grant_copy_segment`.
#[repr(C)]
struct Segment {
    source: End,
    dest: End,
    len: u16,
    flags: u16,
    status: i16,
}

/// `struct ioctl_gntdev_grant_copy`.
#[repr(C)]
struct Copies {
    count: libc::c_uint,
    segments: *mut Segment,
}

// The kernel's sizes (64 bit).
const _: () = assert!(size_of::<Segment>() == 24 && size_of::<Copies>() == 16);

/// A copy within one page that another domain has granted.
#[derive(Debug)]
pub enum Piece<'a> {
    /// From its page.
    Read {
        /// The page.
        gref: u32,
        /// Where in it.
        offset: u16,
        /// What is copied there.
        into: &'a mut [u8],
    },
    /// To its page.
    Write {
        /// The page.
        gref: u32,
        /// Where in it.
        offset: u16,
        /// What is copied there.
        from: &'a [u8],
    },
}

impl Piece<'_> {
    /// The same for the kernel, which uses the near end until the copy is over.
    fn segment(&mut self, domain: u16) -> io::Result<Segment> {
        let (gref, offset, len) = match self {
            Self::Read { gref, offset, into } => (*gref, *offset, into.len()),
            Self::Write { gref, offset, from } => (*gref, *offset, from.len()),
        };
        let fits = usize::from(offset) + len <= PAGE;
        let len = u16::try_from(len).ok().filter(|_| fits);
        let len =
            len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a copy crosses pages"))?;
        let far = Foreign {
            gref,
            offset,
            domain,
        };
        let (source, dest, flags) = match self {
            Self::Read { into, .. } => {
                let near = into.as_mut_ptr();
                (End { far }, End { near }, FROM_GREF)
            }
            Self::Write { from, .. } => {
                let near = from.as_ptr().cast_mut();
                (End { near }, End { far }, TO_GREF)
            }
        };
        Ok(Segment {
            source,
            dest,
            len,
            flags,
            status: OKAY,
        })
    }
}

/// The device, open.
#[derive(Debug)]
pub struct GrantCopy {
    device: File,
}

impl GrantCopy {
    /// Opens the device.
    ///
    /// # Errors
    /// `ENOENT` without the module `xen-gntdev`, `EACCES` without the right.
    pub fn open() -> io::Result<Self> {
        let device = open(DEVICE, libc::O_CLOEXEC)?;
        Ok(Self { device })
    }

    /// Copies all pieces, in their order, from and to pages of `domain`, with one call of the kernel.
    ///
    /// # Errors
    /// One of them crosses the end of its page, or Xen refused it: which, and why. The others may have been copied.
    pub fn copy(&self, domain: u16, pieces: &mut [Piece<'_>]) -> io::Result<()> {
        let segments: io::Result<Vec<Segment>> = pieces
            .iter_mut()
            .map(|piece| piece.segment(domain))
            .collect();
        let mut segments = segments?;
        let copies = Copies {
            count: libc::c_uint::try_from(segments.len()).map_err(io::Error::other)?,
            segments: segments.as_mut_ptr(),
        };
        // SAFETY: the descriptor is open for the whole call. `copies` counts the segments of `segments`, whose status the
        // kernel writes. The near end of each is memory of `len` bytes that `pieces` borrows through the call: to be
        // written where the flags tell that the source is the gref, else only read.
        check(unsafe { libc::ioctl(self.device.as_raw_fd(), GRANT_COPY, &raw const copies) })?;
        let failed = segments.iter().position(|segment| segment.status != OKAY);
        failed.map_or(Ok(()), |at| {
            let gref = match &pieces[at] {
                Piece::Read { gref, .. } | Piece::Write { gref, .. } => gref,
            };
            let why = text_of(segments[at].status);
            Err(io::Error::other(format!(
                "copy of grant {gref} of domain {domain}: {why}"
            )))
        })
    }
}

/// What Xen's `GNTST_*` mean (`public/grant_table.h`).
const fn text_of(status: i16) -> &'static str {
    match status {
        -2 => "no such domain",
        -3 => "no such grant (any more)",
        -4 => "no such handle",
        -5 => "no such virtual address",
        -6 => "no such device address",
        -7 => "no room in the I/O MMU",
        -8 => "it is granted to another domain, or for reading only",
        -9 => "no such page",
        -10 => "the copy crosses pages",
        -11 => "the page is too far up",
        -12 => "it is in use; try again",
        _ => "Xen does not say why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_goes_from_the_grant_and_a_write_to_it() {
        let mut into = [0; 96];
        let to = into.as_mut_ptr();
        let mut piece = Piece::Read {
            gref: 9,
            offset: 4000,
            into: &mut into,
        };
        let read = piece.segment(5).unwrap();
        assert_eq!((read.len, read.flags, read.status), (96, 1, 0));
        // SAFETY: both ends were written so by `segment`, and any bytes are valid as either.
        let (far, near) = unsafe { (read.source.far, read.dest.near) };
        assert_eq!((far.gref, far.offset, far.domain), (9, 4000, 5));
        assert_eq!(near, to);

        let from = [0; 4096];
        let mut piece = Piece::Write {
            gref: 8,
            offset: 0,
            from: &from,
        };
        let write = piece.segment(5).unwrap();
        assert_eq!((write.len, write.flags), (4096, 2));
        // SAFETY: as above.
        let (near, far) = unsafe { (write.source.near, write.dest.far) };
        assert_eq!((far.gref, near.cast_const()), (8, from.as_ptr()));
    }

    #[test]
    fn a_piece_that_crosses_its_page_is_refused() {
        let from = [0; 97];
        let mut piece = Piece::Write {
            gref: 1,
            offset: 4000,
            from: &from,
        };
        assert!(piece.segment(5).is_err());
    }
}
