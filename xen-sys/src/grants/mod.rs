// SPDX-License-Identifier: GPL-3.0-only
//! Grants and event channels from user space: memory that another domain may copy from and to, and a bell for both ends.
//! Linux's devices `/dev/xen/{gntalloc,gntdev,evtchn}`, whose numbers and layouts are those of its
//! `include/uapi/xen/{gntalloc,gntdev,evtchn}.h`. No library of Xen is needed.
//!
//! Who lives here: [`Granting`] (pages granted to another domain), [`SharedWords`] (a mapping of them, or of any file, as
//! atomic words), [`GrantCopy`] (copies from and to pages that another domain has granted), [`EventChannels`] (the bell).

mod allocate;
mod channels;
mod copy;
mod words;

pub use allocate::Granting;
pub use channels::EventChannels;
pub use copy::{GrantCopy, Piece};
pub use words::SharedWords;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

/// Bytes of a page, as grants count them.
pub const PAGE: usize = 4096;

/// `_IOC(_IOC_NONE, kind, number, size)`, as all these devices make their numbers.
const fn request(kind: u8, number: u8, size: usize) -> libc::Ioctl {
    assert!(size < 1 << 14);
    ((size as libc::Ioctl) << 16) | ((kind as libc::Ioctl) << 8) | number as libc::Ioctl
}

fn open(device: &str, flags: libc::c_int) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(device)
}

/// The result of an ioctl.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_number_of_the_headers() {
        assert_eq!(request(b'G', 5, 24), 0x0018_4705);
        assert_eq!(request(b'E', 4, 4), 0x0004_4504);
    }
}
