// SPDX-License-Identifier: GPL-3.0-only
//! Network interfaces by rtnetlink, synchronously: look at links, change them, wait for one to appear.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage as Route;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Code, Error, Result};

/// Multicast group of link news (`RTNLGRP_LINK`).
const GROUP_LINK: u32 = 1;

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It is a bridge.
    pub bridge: bool,
    /// The bridge (or bond) that it is a port of.
    pub master: Option<u32>,
    /// Administratively up.
    pub up: bool,
    /// Largest payload in bytes.
    pub mtu: u32,
    /// Hardware address.
    pub mac: Vec<u8>,
}

/// What to change of a link; everything left `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A new name; the link must be down.
    pub name: Option<String>,
    /// Up or down.
    pub up: Option<bool>,
    /// Answers ARP and takes multicast: off for a port whose own address nobody needs.
    pub arp: Option<bool>,
    /// Index of the bridge to be a port of; 0 leaves the bridge.
    pub master: Option<u32>,
    /// A new MTU.
    pub mtu: Option<u32>,
    /// A new hardware address.
    pub mac: Option<[u8; 6]>,
}

/// A connection to the kernel's rtnetlink, in the network namespace of the calling thread.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Netlink {
    /// Opens a connection.
    pub fn open() -> Result<Self> {
        let socket = route_socket(&[]).map_err(|e| failed("open netlink", "rtnetlink", &e))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let request = Route::GetLink(LinkMessage::default());
        let answers = self
            .ask(request, NLM_F_DUMP)
            .map_err(|e| failed("list network interfaces", "rtnetlink", &e))?;
        Ok(answers.iter().filter_map(link_of).collect())
    }

    /// The link called `name`, if there is one.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(Route::GetLink(message), 0) {
            Ok(answers) => Ok(answers.iter().find_map(link_of)),
            Err(e) if gone(&e) => Ok(None),
            Err(e) => Err(failed("look for the network interface", name, &e)),
        }
    }

    /// The bridges by name, sorted.
    pub fn bridges(&mut self) -> Result<Vec<String>> {
        let links = self.links()?;
        let mut names: Vec<String> = links
            .into_iter()
            .filter(|l| l.bridge)
            .map(|l| l.name)
            .collect();
        names.sort();
        Ok(names)
    }

    /// Changes `link`.
    pub fn change(&mut self, link: &Link, change: &Change) -> Result<()> {
        self.set(link, change)
            .map_err(|e| failed("set up the network interface", &link.name, &e))
    }

    /// Takes `name` down and off its bridge; false if there is no such link.
    pub fn release(&mut self, name: &str) -> Result<bool> {
        let Some(link) = self.link(name)? else {
            return Ok(false);
        };
        let change = Change {
            up: Some(false),
            master: Some(0),
            ..Change::default()
        };
        match self.set(&link, &change) {
            Ok(()) => Ok(true),
            // The back-end removed it between look and change.
            Err(e) if gone(&e) => Ok(false),
            Err(e) => Err(failed("take down the network interface", name, &e)),
        }
    }

    fn set(&mut self, link: &Link, change: &Change) -> std::io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        let mut flag = |bit: LinkFlags, on: Option<bool>| {
            if let Some(on) = on {
                message.header.change_mask |= bit;
                message.header.flags.set(bit, on);
            }
        };
        flag(LinkFlags::Up, change.up);
        flag(LinkFlags::Noarp, change.arp.map(|arp| !arp));
        flag(LinkFlags::Multicast, change.arp);
        let attributes = &mut message.attributes;
        attributes.extend(change.name.clone().map(LinkAttribute::IfName));
        attributes.extend(change.master.map(LinkAttribute::Controller));
        attributes.extend(change.mtu.map(LinkAttribute::Mtu));
        attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        self.ask(Route::SetLink(message), NLM_F_ACK).map(drop)
    }

    /// Sends a request and collects the answers to it.
    fn ask(&mut self, request: Route, flags: u16) -> std::io::Result<Vec<Route>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = NetlinkMessage::from(request);
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        // A dump ends with a word of its own, an acknowledged request with the acknowledgement, another with its answer.
        let many = flags & (NLM_F_DUMP | NLM_F_ACK) != 0;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram)? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => {
                        answers.push(answer);
                        if !many {
                            return Ok(answers);
                        }
                    }
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
            }
        }
    }
}

/// Waits until the link `name` exists; `None` if it does not before `deadline`, or if `cancel` is set by a signal handler.
/// Subscribes first and looks then, so that no news is missed.
pub fn wait_for_link(name: &str, deadline: Instant, cancel: &AtomicBool) -> Result<Option<Link>> {
    let news = LinkNews::subscribe()?;
    let mut netlink = Netlink::open()?;
    loop {
        if let Some(link) = netlink.link(name)? {
            return Ok(Some(link));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        readable(&news.socket, left)
            .map_err(|e| failed("wait for the network interface", name, &e))?;
        news.take();
    }
}

/// A subscription to news of links, for who polls.
pub struct LinkNews {
    socket: Socket,
}

impl std::fmt::Debug for LinkNews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkNews")
    }
}

impl LinkNews {
    /// Subscribes.
    pub fn subscribe() -> Result<Self> {
        let open = || {
            let socket = route_socket(&[GROUP_LINK])?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket =
            open().map_err(|e| failed("subscribe to network interfaces", "rtnetlink", &e))?;
        Ok(Self { socket })
    }

    /// Takes all news that have come. What they say does not matter: any of them is a reason to look again.
    pub fn take(&self) {
        // An error is "no more", or ENOBUFS: some were lost, which is a reason to look as well.
        while self.socket.recv_from_full().is_ok() {}
    }
}

impl AsFd for LinkNews {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns when there is something to read, when the time is up, or at a signal.
fn readable(socket: &Socket, left: std::time::Duration) -> std::io::Result<()> {
    let fd: BorrowedFd<'_> = socket.as_fd();
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn route_socket(groups: &[u32]) -> std::io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn messages(datagram: &[u8]) -> std::io::Result<Vec<NetlinkMessage<Route>>> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<Route>::deserialize(rest)
            .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e.to_string()))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        // Messages are aligned to four bytes.
        let step = length.next_multiple_of(4).max(16).min(rest.len());
        rest = &rest[step..];
        found.push(message);
    }
    Ok(found)
}

fn link_of(message: &Route) -> Option<Link> {
    let Route::NewLink(message) = message else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        bridge: false,
        master: None,
        up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        mac: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::LinkInfo(infos) => {
                link.bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    Some(link)
}

fn gone(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn failed(op: &str, object: &str, error: &std::io::Error) -> Error {
    let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
    let code = if denied { Code::Denied } else { Code::System };
    let failure = Error::new(code, op, object, error);
    if denied {
        failure.hint("run this as root")
    } else {
        failure
    }
}

#[cfg(test)]
mod tests;
