// SPDX-License-Identifier: GPL-3.0-only
//! Event channels, each a bell that two domains share: `/dev/xen/evtchn`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::{check, open, request};

const DEVICE: &str = "/dev/xen/evtchn";
const BIND_INTERDOMAIN: libc::Ioctl = request(b'E', 1, size_of::<Interdomain>());
const BIND_UNBOUND_PORT: libc::Ioctl = request(b'E', 2, size_of::<u32>());
const UNBIND: libc::Ioctl = request(b'E', 3, size_of::<u32>());
const NOTIFY: libc::Ioctl = request(b'E', 4, size_of::<u32>());

/// `struct ioctl_evtchn_bind_interdomain`. The other requests have one number.
#[repr(C)]
struct Interdomain {
    domain: u32,
    port: u32,
}

// The kernel's size.
const _: () = assert!(size_of::<Interdomain>() == 8);

/// Event channels of this domain. Dropping closes all of them. The descriptor is readable while [`Self::next`] would find
/// one that was rung.
#[derive(Debug)]
pub struct EventChannels {
    device: File,
}

impl EventChannels {
    /// Opens the device; nothing is bound yet.
    ///
    /// # Errors
    /// `ENOENT` without the module `xen-evtchn`, `EACCES` without the right.
    pub fn open() -> io::Result<Self> {
        let device = open(DEVICE, libc::O_NONBLOCK | libc::O_CLOEXEC)?;
        Ok(Self { device })
    }

    /// A new port here, to which `domain` may bind one of its own.
    ///
    /// # Errors
    /// No port is free.
    pub fn bind_unbound(&self, domain: u16) -> io::Result<u32> {
        self.port_of(BIND_UNBOUND_PORT, &u32::from(domain))
    }

    /// A new port here, bound to the unbound `port` of `domain`.
    ///
    /// # Errors
    /// `EINVAL` if there is no such port for this domain (any more), `ESRCH` if there is no such domain.
    pub fn bind_interdomain(&self, domain: u16, port: u32) -> io::Result<u32> {
        let domain = u32::from(domain);
        self.port_of(BIND_INTERDOMAIN, &Interdomain { domain, port })
    }

    /// Closes a port of this file.
    ///
    /// # Errors
    /// It is none.
    pub fn unbind(&self, port: u32) -> io::Result<()> {
        self.port_of(UNBIND, &port).map(drop)
    }

    /// Rings. Nothing happens if nobody has bound to the port yet.
    ///
    /// # Errors
    /// The port is none of this file.
    pub fn notify(&self, port: u32) -> io::Result<()> {
        self.port_of(NOTIFY, &port).map(drop)
    }

    /// A port that was rung since it was returned last; `None`: none was.
    ///
    /// # Errors
    /// The device does not work.
    pub fn next(&self) -> io::Result<Option<u32>> {
        let mut port = [0; 4];
        match (&self.device).read_exact(&mut port) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        // It was masked when it rang.
        (&self.device).write_all(&port)?;
        Ok(Some(u32::from_ne_bytes(port)))
    }

    /// A request, whose `argument` must have the size that the request's number tells. Its result is a port, or 0.
    fn port_of<T>(&self, request: libc::Ioctl, argument: &T) -> io::Result<u32> {
        debug_assert_eq!(size_of::<T>() as libc::Ioctl, request >> 16);
        // SAFETY: the descriptor is open for the whole call; these requests only read an argument of the size in their
        // number, which is that of `T`, and touch no other memory.
        let port =
            check(unsafe { libc::ioctl(self.device.as_raw_fd(), request, &raw const *argument) })?;
        u32::try_from(port).map_err(io::Error::other)
    }
}

impl AsFd for EventChannels {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
