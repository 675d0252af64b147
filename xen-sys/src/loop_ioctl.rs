// SPDX-License-Identifier: GPL-3.0-only
//! The loop driver's ioctls (Linux `include/uapi/linux/loop.h`), each as a safe function over an open file.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const LOOP_CLR_FD: libc::Ioctl = 0x4C01;
const LOOP_SET_STATUS64: libc::Ioctl = 0x4C04;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Length of a name field, its NUL included.
const LO_NAME_SIZE: usize = 64;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; LO_NAME_SIZE],
    crypt_name: [u8; LO_NAME_SIZE],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

// The kernel's sizes.
const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);

const EMPTY: Info = Info {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; LO_NAME_SIZE],
    crypt_name: [0; LO_NAME_SIZE],
    encrypt_key: [0; 32],
    init: [0; 2],
};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The number of a loop device that is free now, made if none is. `control` is `/dev/loop-control`. Another process may
/// take it before [`configure`] does.
pub fn get_free(control: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the request takes no argument and touches no memory of ours.
    let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
    u32::try_from(number).map_err(io::Error::other)
}

/// Puts the file `backing` (its path `name`, for people to read) behind the loop device `device`, and lets the device
/// go when its last user closes it. `EBUSY`: the device is taken.
pub fn configure(
    device: BorrowedFd<'_>,
    backing: BorrowedFd<'_>,
    read_only: bool,
    name: &Path,
) -> io::Result<()> {
    let mut info = EMPTY;
    info.flags = LO_FLAGS_AUTOCLEAR;
    if read_only {
        info.flags |= LO_FLAGS_READ_ONLY;
    }
    let bytes = name.as_os_str().as_bytes();
    let length = bytes.len().min(LO_NAME_SIZE - 1);
    info.file_name[..length].copy_from_slice(&bytes[..length]);
    let config = Config {
        fd: u32::try_from(backing.as_raw_fd()).map_err(io::Error::other)?,
        block_size: 0,
        info,
        reserved: [0; 8],
    };
    // SAFETY: `config` has the layout of `struct loop_config`, lives through the call and is only read.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }).map(drop)
}

/// Sets whether the device goes when its last user closes it.
pub fn set_autoclear(device: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut info = EMPTY;
    // SAFETY: `info` has the layout of `struct loop_info64`, which the kernel fills.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) })?;
    if on {
        info.flags |= LO_FLAGS_AUTOCLEAR;
    } else {
        info.flags &= !LO_FLAGS_AUTOCLEAR;
    }
    // SAFETY: `info` has the layout of `struct loop_info64` and is only read.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_STATUS64, &raw const info) }).map(drop)
}

/// Takes the device down: now, or when its last other user closes it. `ENXIO`: nothing was behind it.
pub fn clear(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes no argument that the kernel reads.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD, 0) }).map(drop)
}
