// SPDX-License-Identifier: GPL-3.0-only
//! The queueing discipline `clsact`, to which the program is attached: taken away again (tc(8), rtnetlink(7)).

use std::io;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

const RTM_DELQDISC: u16 = 37;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
/// `TC_H_CLSACT`, as parent.
const PARENT: u32 = 0xffff_fff1;
/// Its handle, `ffff:`.
const HANDLE: u32 = 0xffff_0000;
/// `struct nlmsghdr` and `struct tcmsg`.
const LEN: usize = 16 + 20;

/// Removes `clsact` with all that is attached to it from the interface with this index.
pub(super) fn remove(index: u32) -> io::Result<()> {
    // The protocol's number is 0: NETLINK_ROUTE.
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sendto(
        &socket,
        &request(index),
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut answer = [0; 256];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    match answer.get(..length.min(answer.len())).and_then(error) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(-code).into()),
        None => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

fn request(index: u32) -> [u8; LEN] {
    let mut message = [0; LEN];
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(LEN as u32).to_ne_bytes());
    put(4, &RTM_DELQDISC.to_ne_bytes());
    put(6, &(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    put(8, &1_u32.to_ne_bytes());
    put(20, &index.to_ne_bytes());
    put(24, &HANDLE.to_ne_bytes());
    put(28, &PARENT.to_ne_bytes());
    message
}

/// The code in an `NLMSG_ERROR`, negative or 0.
fn error(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(())?;
    Some(i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?))
}
