// SPDX-License-Identifier: GPL-3.0-only
//! Word of changes to the interfaces of this network namespace (rtnetlink(7)).
//!
//! A packet socket tells of its interface's going down, but not of its removal after that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The multicast group of changes to links (`RTMGRP_LINK`).
const GROUP_LINK: u32 = 1;

/// Becomes readable when an interface changes.
#[derive(Debug)]
pub(super) struct Links {
    fd: OwnedFd,
}

impl Links {
    pub(super) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // The protocol's number is 0: NETLINK_ROUTE.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&fd, &SocketAddrNetlink::new(0, GROUP_LINK))?;
        Ok(Self { fd })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the messages that wait. What they say is not read: who is told looks at its own interfaces.
    pub(super) fn drain(&self) {
        let mut message = [0; 64];
        // When there were too many messages, the kernel says so once, and some may still wait.
        while matches!(
            recv(&self.fd, &mut message, RecvFlags::TRUNC),
            Ok(_) | Err(Errno::NOBUFS | Errno::INTR)
        ) {}
    }
}
