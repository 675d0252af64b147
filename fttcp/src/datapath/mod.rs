// SPDX-License-Identifier: GPL-3.0-only
//! Where frames come from and go to: one packet socket for each interface of the logger.
//!
//! Who lives here: [`DataPath`] (the table of open interfaces, receiving, counting) and [`Ports`] (the sending half, an
//! [`Output`] for the engine). Who may call in: the daemon. Super-segments stay whole on the way through, and
//! checksums that a sender left to its device are left to the next one.

mod interface;
mod links;
#[allow(unsafe_code)]
mod packet_socket;
mod vnet;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::control::PortStatus;
use crate::frame::{Offload, Output, PortId};
use links::Links;
use packet_socket::{Batch, PacketSocket};

pub use interface::OpenError;

/// What the data path calls itself in `Hello` and `ftlogger caps`.
pub const NAME: &str = "af-packet+vnet-hdr";

/// The open interfaces and the memory that frames are received into.
#[derive(Debug)]
pub struct DataPath {
    ports: Ports,
    batch: Batch,
    links: Links,
}

/// The open interfaces: where the engine sends to.
#[derive(Debug, Default)]
pub struct Ports {
    open: BTreeMap<PortId, Port>,
    opened: u32,
}

#[derive(Debug)]
struct Port {
    socket: PacketSocket,
    status: PortStatus,
}

/// How an attempt to receive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Frames are still waiting, perhaps.
    More,
    /// All frames were taken.
    All,
    /// The interface was set down; it may come up again.
    Down,
}

impl DataPath {
    /// A data path without interfaces.
    ///
    /// # Errors
    /// The kernel tells nothing of changes to interfaces.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            ports: Ports::default(),
            batch: Batch::new(),
            links: Links::new()?,
        })
    }

    /// Tries what every interface needs, without one: why not, if this machine or user cannot.
    pub fn probe() -> io::Result<()> {
        PacketSocket::new().map(drop)
    }

    /// Opens an interface: sets it up, promiscuous, without IPv6 of its own. Nothing is open after an error.
    pub fn open(&mut self, interface: &str) -> Result<PortId, OpenError> {
        if self.ports.find(interface).is_some() {
            return Err(OpenError::InUse {
                interface: interface.to_owned(),
            });
        }
        let socket = interface::open(interface)?;
        let id = PortId(self.ports.opened);
        self.ports.opened += 1;
        let status = PortStatus {
            interface: interface.to_owned(),
            ..PortStatus::default()
        };
        self.ports.open.insert(id, Port { socket, status });
        Ok(id)
    }

    /// Closes an interface; its totals, or `None` if it was not open.
    pub fn close(&mut self, port: PortId) -> Option<PortStatus> {
        let Port { socket, mut status } = self.ports.open.remove(&port)?;
        status.receive_drops += socket.take_receive_drops();
        // The kernel ends a packet socket only after an RCU grace period. That would hold up every other frame for
        // 10 to 20 ms, in the very moment in which connections are moved. Without a thread to be had, it is so.
        let closer = std::thread::Builder::new().name("closer".to_owned());
        let _ = closer.spawn(move || drop(socket));
        Some(status)
    }

    /// Receives what waits at `port` and gives each frame to `each`, with the ports to send to.
    pub fn receive(
        &mut self,
        port: PortId,
        mut each: impl FnMut(&mut [u8], Offload, &mut Ports),
    ) -> Received {
        let Some(source) = self.ports.open.get_mut(&port) else {
            return Received::All;
        };
        if let Err(error) = source.socket.receive(&mut self.batch) {
            return source.judge(&error);
        }
        for index in 0..self.batch.count() {
            match self.batch.frame(index) {
                Some((frame, offload)) => each(frame, offload, &mut self.ports),
                None => self.ports.count(port, |status| status.receive_drops += 1),
            }
        }
        let received = self.batch.count() as u64;
        self.ports.count(port, |status| status.received += received);
        if self.batch.is_full() {
            Received::More
        } else {
            Received::All
        }
    }

    /// What an event loop waits on for changes to interfaces; then it is time for [`Self::removed`].
    #[must_use]
    pub fn changes(&self) -> BorrowedFd<'_> {
        self.links.descriptor()
    }

    /// The open ports whose interfaces do not exist any more.
    pub fn removed(&mut self) -> Vec<PortId> {
        self.links.drain();
        let removed = self
            .ports
            .open
            .iter()
            .filter(|(_, port)| !port.socket.is_present());
        removed.map(|(id, _)| *id).collect()
    }

    /// The half that sends.
    pub fn ports(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// What an event loop waits on for `port`.
    #[must_use]
    pub fn descriptor(&self, port: PortId) -> Option<BorrowedFd<'_>> {
        self.ports.open.get(&port).map(|p| p.socket.as_fd())
    }

    /// The name of an open interface.
    #[must_use]
    pub fn interface(&self, port: PortId) -> Option<&str> {
        let port = self.ports.open.get(&port)?;
        Some(&port.status.interface)
    }

    /// The totals of each open interface.
    pub fn status(&mut self) -> Vec<PortStatus> {
        self.ports
            .open
            .values_mut()
            .map(|port| {
                port.count_receive_drops();
                port.status.clone()
            })
            .collect()
    }
}

impl Ports {
    fn find(&self, interface: &str) -> Option<PortId> {
        let found = self
            .open
            .iter()
            .find(|(_, p)| p.status.interface == interface);
        found.map(|(id, _)| *id)
    }

    fn count(&mut self, port: PortId, change: impl FnOnce(&mut PortStatus)) {
        if let Some(port) = self.open.get_mut(&port) {
            change(&mut port.status);
        }
    }
}

impl Output for Ports {
    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload) {
        let Some(port) = self.open.get_mut(&port) else {
            return;
        };
        // A full queue, an interface that is down or gone, a frame longer than its MTU: dropped, and TCP sends again.
        let sent = vnet::emit(offload, frame)
            .is_some_and(|header| port.socket.send(&header, frame).is_ok());
        if sent {
            port.status.sent += 1;
        } else {
            port.status.send_drops += 1;
        }
    }
}

impl Port {
    /// What a failed receive means.
    fn judge(&mut self, error: &io::Error) -> Received {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Received::All,
            // Told once. If the interface is being removed, [`DataPath::removed`] will tell of that.
            Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => Received::Down,
            // A kind of super-segment that this kernel cannot describe. The frame is used up; there may be more.
            _ => {
                self.status.receive_drops += 1;
                Received::More
            }
        }
    }

    fn count_receive_drops(&mut self) {
        self.status.receive_drops += self.socket.take_receive_drops();
    }
}
