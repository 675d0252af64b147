// SPDX-License-Identifier: GPL-3.0-only
//! Four ioctls that no crate offers safely: freezing and thawing a file system (`linux/fs.h`), and mixing randomness into
//! the kernel's generator (random(4)). For the agent in a service VM, which has no `unsafe` of its own.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `_IOWR('X', 119, int)`.
const FIFREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;
/// `_IOWR('X', 120, int)`.
const FITHAW: libc::Ioctl = 0xc004_5878_u32 as libc::Ioctl;
/// `_IOW('R', 0x03, int[2])`.
const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
/// `_IO('R', 0x07)`.
const RNDRESEEDCRNG: libc::Ioctl = 0x5207;

/// Most bytes that [`add_entropy`] takes.
pub const ENTROPY_MAX: usize = 64;

/// `struct rand_pool_info` with room for [`ENTROPY_MAX`] bytes.
#[repr(C)]
struct PoolInfo {
    entropy_count: libc::c_int,
    buf_size: libc::c_int,
    buf: [u8; ENTROPY_MAX],
}

/// Writes the file system of `mount` out and blocks further writing.
///
/// # Errors
/// `EBUSY` if it is frozen already, `EOPNOTSUPP` if its kind cannot be frozen, `EPERM` without `CAP_SYS_ADMIN`.
pub fn freeze(mount: impl AsFd) -> io::Result<()> {
    without_argument(mount, FIFREEZE)
}

/// Lets it be written again.
///
/// # Errors
/// `EINVAL` if it is not frozen.
pub fn thaw(mount: impl AsFd) -> io::Result<()> {
    without_argument(mount, FITHAW)
}

/// Has the kernel's generator take new randomness out of its pool now, not in a minute. `random` is `/dev/random`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn reseed(random: impl AsFd) -> io::Result<()> {
    without_argument(random, RNDRESEEDCRNG)
}

fn without_argument(file: impl AsFd, request: libc::Ioctl) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call. Each of the three requests that get here ignores its argument
    // (`ioctl_fsfreeze` and `ioctl_fsthaw` in fs/ioctl.c, `random_ioctl`), so that no memory is touched.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Mixes `seed` into the kernel's pool and counts every bit of it as random. `random` is `/dev/random`.
///
/// # Errors
/// `EINVAL` if there are more than [`ENTROPY_MAX`] bytes, `EPERM` without `CAP_SYS_ADMIN`.
pub fn add_entropy(random: impl AsFd, seed: &[u8]) -> io::Result<()> {
    let mut info = PoolInfo {
        entropy_count: 0,
        buf_size: 0,
        buf: [0; ENTROPY_MAX],
    };
    let room = info.buf.get_mut(..seed.len());
    room.ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(seed);
    let length = libc::c_int::try_from(seed.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    info.buf_size = length;
    info.entropy_count = length * 8;
    // SAFETY: the descriptor is open for the whole call; the request reads a `rand_pool_info` and `buf_size` bytes behind
    // it, which `info` has: `buf_size` is at most the size of `buf`.
    let result = unsafe { libc::ioctl(random.as_fd().as_raw_fd(), RNDADDENTROPY, &raw const info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    #[test]
    fn a_file_system_that_is_not_frozen_cannot_be_thawed() {
        // EINVAL for root, EPERM for others: either way the request is the one that the kernel knows, not ENOTTY.
        let error = thaw(File::open("/").unwrap()).unwrap_err().raw_os_error();
        assert!(
            matches!(error, Some(libc::EINVAL | libc::EPERM | libc::EOPNOTSUPP)),
            "{error:?}"
        );
    }

    #[test]
    fn the_generator_knows_the_requests() {
        let mut random = File::open("/dev/random").unwrap();
        // Its own bytes: what is counted as random must be.
        let mut seed = [0; ENTROPY_MAX];
        random.read_exact(&mut seed).unwrap();
        for result in [add_entropy(&random, &seed), reseed(&random)] {
            let error = result.err().and_then(|e| e.raw_os_error());
            assert!(matches!(error, None | Some(libc::EPERM)), "{error:?}");
        }
        assert!(add_entropy(&random, &[7; 65]).is_err());
    }
}
