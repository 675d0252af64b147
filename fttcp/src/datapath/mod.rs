// SPDX-License-Identifier: GPL-3.0-only
//! Where frames come from and go to: the logger's interfaces.
//!
//! There are three data paths behind the trait [`Output`]: packet sockets with a kernel program before them that
//! forwards most by itself (`fast`), packet sockets alone, and the plain frames of the simulation. Which of the first
//! two is used is chosen here ([`Choice`]).
//!
//! Who lives here: [`DataPath`] (the table of open interfaces, receiving, counting) and [`Ports`] (the sending half, an
//! [`Output`] for the engine). Who may call in: the daemon. Super-segments stay whole on the way through, and
//! checksums that a sender left to its device are left to the next one.

mod choice;
mod fast;
mod interface;
mod links;
#[allow(unsafe_code)]
mod packet_socket;
mod vnet;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::control::{FastTotals, PortStatus};
use crate::flow::{FlowKey, FlowState, Record, Route};
use crate::frame::{Frames, Offload, Output, PortId};
use crate::journal::Log;
use crate::journal::file::JournalFile;
use fast::FastPath;
use links::Links;
use packet_socket::{Batch, PacketSocket};

pub use choice::{Capabilities, Choice, Settings, capabilities};
pub use fast::{FastError, FastSettings};
pub use interface::OpenError;
pub(crate) use packet_socket::{prefer_huge_pages, trim_memory};

/// The open interfaces and the memory that frames are received into.
#[derive(Debug)]
pub struct DataPath {
    ports: Ports,
    batch: Batch,
    links: Links,
    /// Why there is no fast path, if there is none.
    reason: Option<String>,
}

/// The open interfaces: where the engine sends to.
#[derive(Debug, Default)]
pub struct Ports {
    open: BTreeMap<PortId, Port>,
    opened: u32,
    fast: Option<FastPath>,
    journal: Option<JournalFile>,
}

#[derive(Debug)]
struct Port {
    /// One for all protocols, or with a fast path one for each that may be left to us. Any of them sends.
    sockets: Vec<PacketSocket>,
    index: u32,
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
    /// A data path of packet sockets, without interfaces.
    ///
    /// # Errors
    /// The kernel tells nothing of changes to interfaces.
    pub fn new() -> io::Result<Self> {
        Self::make(None, None)
    }

    /// A data path without interfaces.
    ///
    /// # Errors
    /// The kernel tells nothing of changes to interfaces, or cannot what the settings demand.
    pub fn choose(settings: &Settings) -> io::Result<Self> {
        let (fast, reason) = choice::choose(settings)?;
        Self::make(fast, reason)
    }

    fn make(fast: Option<FastPath>, reason: Option<String>) -> io::Result<Self> {
        Ok(Self {
            ports: Ports {
                fast,
                ..Ports::default()
            },
            batch: Batch::new(),
            links: Links::new()?,
            reason,
        })
    }

    /// What the data path calls itself.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        if self.ports.fast.is_some() {
            choice::BPF
        } else {
            choice::PACKET
        }
    }

    /// Why there is no fast path; `None` if there is one, or none was wanted.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Opens an interface: sets it up, promiscuous, without IPv6 of its own. Nothing is open after an error.
    pub fn open(&mut self, interface: &str) -> Result<PortId, OpenError> {
        if self.ports.find(interface).is_some() {
            return Err(OpenError::InUse {
                interface: interface.to_owned(),
            });
        }
        let protocols: &[u16] = if self.ports.fast.is_some() {
            &interface::PUNTED
        } else {
            &interface::ALL
        };
        let (sockets, index) = interface::open(interface, protocols)?;
        if let Some(fast) = &mut self.ports.fast {
            fast.attach(interface).map_err(|error| OpenError::Failed {
                action: "put the fast path at",
                interface: interface.to_owned(),
                source: io::Error::other(error),
            })?;
        }
        let id = PortId(self.ports.opened);
        self.ports.opened += 1;
        let status = PortStatus {
            interface: interface.to_owned(),
            ..PortStatus::default()
        };
        let port = Port {
            sockets,
            index,
            status,
        };
        self.ports.open.insert(id, port);
        Ok(id)
    }

    /// A port without an interface, for one that does not exist any more: what is sent there is lost.
    pub fn reserve(&mut self) -> PortId {
        let id = PortId(self.ports.opened);
        self.ports.opened += 1;
        id
    }

    /// Closes an interface; its totals, or `None` if it was not open.
    pub fn close(&mut self, port: PortId) -> Option<PortStatus> {
        let mut port = self.ports.open.remove(&port)?;
        port.count_receive_drops();
        let present = port.is_present();
        let Port {
            sockets,
            index,
            status,
        } = port;
        if let Some(fast) = &mut self.ports.fast {
            // With an interface that is gone, its programs are, too. To ask for them would wait for the kernel's lock of all
            // interfaces, which whoever removes them holds for long, and the failover would wait, too.
            if present {
                fast.detach(&status.interface, index);
            } else {
                fast.forget(index);
            }
        }
        // The kernel ends a packet socket only after an RCU grace period. That would hold up every other frame for
        // 10 to 20 ms, in the very moment in which connections are moved. Without a thread to be had, it is so.
        let closer = std::thread::Builder::new().name("closer".to_owned());
        let _ = closer.spawn(move || drop(sockets));
        Some(status)
    }

    /// Receives what waits at `port` and gives each frame to `each`, with the ports to send to.
    pub fn receive(
        &mut self,
        port: PortId,
        mut each: impl FnMut(&mut [u8], Offload, &mut Ports),
    ) -> Received {
        self.receive_from(port, 0, |frames, ports| {
            for index in 0..frames.count() {
                if let Some((frame, offload)) = frames.frame(index) {
                    each(frame, offload, ports);
                }
            }
        })
    }

    /// The same at one of the sockets of `port`, of which there are several with a fast path; `take` gets all frames at
    /// once.
    pub fn receive_from(
        &mut self,
        port: PortId,
        socket: usize,
        take: impl FnOnce(&mut dyn Frames, &mut Ports),
    ) -> Received {
        let Some(source) = self.ports.open.get_mut(&port) else {
            return Received::All;
        };
        let Some(queue) = source.sockets.get(socket) else {
            return Received::All;
        };
        if let Err(error) = queue.receive(&mut self.batch) {
            return source.judge(&error, socket);
        }
        take(&mut self.batch, &mut self.ports);
        let (received, cut) = (self.batch.count() as u64, self.batch.cut());
        self.ports.count(port, |status| {
            status.received += received;
            status.receive_drops += cut;
        });
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
            .filter(|(_, port)| !port.is_present());
        removed.map(|(id, _)| *id).collect()
    }

    /// The half that sends.
    pub fn ports(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// What an event loop waits on for `port`, if it has one socket.
    #[must_use]
    pub fn descriptor(&self, port: PortId) -> Option<BorrowedFd<'_>> {
        self.descriptors(port).next().map(|(_, socket)| socket)
    }

    /// What an event loop waits on for `port`, each with the number that [`Self::receive_from`] wants.
    pub fn descriptors(&self, port: PortId) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let sockets = self.ports.open.get(&port).map(|port| &port.sockets);
        let sockets = sockets.into_iter().flatten();
        sockets.map(AsFd::as_fd).enumerate()
    }

    /// What wakes an event loop, edge-triggered, when much waits in [`Output::records`].
    #[must_use]
    pub fn records(&self) -> Option<BorrowedFd<'_>> {
        self.ports.fast.as_ref().map(FastPath::ring)
    }

    /// Tells the kernel's program that we are there; to be called again, with [`Output::records`], after the time
    /// returned.
    pub fn attend(&mut self) -> Option<Duration> {
        self.ports.fast.as_mut().map(FastPath::attend)
    }

    /// Lets the kernel's program do at once what it does without us: for an end of which it is to survive.
    pub fn leave(&mut self) {
        if let Some(fast) = &mut self.ports.fast {
            fast.leave();
        }
    }

    /// Closes all interfaces and leaves nothing behind.
    pub fn shut_down(&mut self) {
        let ports: Vec<PortId> = self.ports.open.keys().copied().collect();
        for port in ports {
            self.close(port);
        }
        if let Some(fast) = self.ports.fast.take() {
            fast.remove();
        }
    }

    /// The totals of the fast path.
    #[must_use]
    pub fn fast_totals(&self) -> Option<FastTotals> {
        self.ports.fast.as_ref().map(FastPath::totals)
    }

    /// The connections that the fast path has: after a start, those of a logger that died.
    #[must_use]
    pub fn connections(&self) -> Vec<FlowKey> {
        let fast = self.ports.fast.as_ref();
        fast.map(FastPath::connections).unwrap_or_default()
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
    /// From now on, what the engine has for the journal is written to this one.
    pub fn set_journal(&mut self, journal: JournalFile) {
        self.journal = Some(journal);
    }

    /// The journal that is written.
    pub const fn journal(&mut self) -> Option<&mut JournalFile> {
        self.journal.as_mut()
    }

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

/// No interface has this index: what is sent there is dropped.
const NOWHERE: u32 = 0;

impl Output for Ports {
    fn log(&mut self, log: Log<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.log(log);
        }
    }

    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload) {
        let Some(port) = self.open.get_mut(&port) else {
            return;
        };
        // A full queue, an interface that is down or gone, a frame longer than its MTU: dropped, and TCP sends again.
        let sent = vnet::emit(offload, frame)
            .is_some_and(|header| port.sockets[0].send(&header, frame).is_ok());
        if sent {
            port.status.sent += 1;
        } else {
            port.status.send_drops += 1;
        }
    }
    fn route(&mut self, port: PortId, route: Route) {
        let index = |port: &PortId| self.open.get(port).map(|port| port.index);
        let (Some(here), Some(fast)) = (index(&port), &mut self.fast) else {
            return;
        };
        match route {
            Route::Closed => fast.close_port(here),
            Route::Watched => fast.watch_port(here),
            Route::Forward { to, group, side } => match self.open.get(&to) {
                Some(peer) => fast.join(here, peer.index, group, side),
                // What comes must still be known and logged: nobody says an acknowledgement or a window twice.
                None => fast.join(here, NOWHERE, group, side),
            },
        }
    }

    fn services(&mut self, group: u32, ports: &[u16], outbound: bool) {
        if let Some(fast) = &mut self.fast {
            fast.services(group, ports, outbound);
        }
    }

    fn offload(&mut self, key: &FlowKey, state: &FlowState) -> bool {
        let fast = self.fast.as_mut();
        fast.is_some_and(|fast| fast.offload(key, state))
    }

    fn peek(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.fast.as_mut()?.peek(key)
    }

    fn reclaim(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.fast.as_mut()?.reclaim(key)
    }

    fn records(&mut self, each: &mut dyn FnMut(&Record<'_>)) {
        if let Some(fast) = &mut self.fast {
            fast.records(each);
        }
    }

    fn release(&mut self) {
        if let Some(fast) = &mut self.fast {
            fast.release();
        }
    }
}

impl Port {
    fn is_present(&self) -> bool {
        self.sockets.iter().all(PacketSocket::is_present)
    }

    /// What a failed receive means.
    fn judge(&mut self, error: &io::Error, socket: usize) -> Received {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Received::All,
            // Told once to each socket. If the interface is being removed, [`DataPath::removed`] will tell of that.
            Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) if socket > 0 => Received::All,
            Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => Received::Down,
            // A kind of super-segment that this kernel cannot describe. The frame is used up; there may be more.
            _ => {
                self.status.receive_drops += 1;
                Received::More
            }
        }
    }

    fn count_receive_drops(&mut self) {
        let drops = self.sockets.iter().map(PacketSocket::take_receive_drops);
        self.status.receive_drops += drops.sum::<u64>();
    }
}
