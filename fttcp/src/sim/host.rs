// SPDX-License-Identifier: GPL-3.0-only
//! An end: smoltcp's IP and TCP over an in-memory interface.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use crate::frame::{Offload, Time};
use crate::wire::{Flags, Segment, SeqNumber, locate};

thread_local! {
    /// smoltcp asks for timestamps through a bare function; each host sets this before it runs.
    static CLOCK: Cell<u32> = const { Cell::new(0) };
}

fn tsval() -> u32 {
    CLOCK.with(Cell::get)
}

/// The wire's end: frames in, frames out.
#[derive(Debug, Default)]
struct Wire {
    mtu: usize,
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let frame = self.incoming.pop_front()?;
        Some((Arrived(frame), Leaving(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// What a host is set up with.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostSpec {
    pub(super) mac: [u8; 6],
    pub(super) ip: Ipv4Addr,
    pub(super) seed: u64,
    /// Send timestamps (RFC 7323); each host's clock has its own offset.
    pub(super) timestamps: bool,
    pub(super) buffer: usize,
    /// Longest IP packet, in bytes.
    pub(super) mtu: u16,
}

/// One host with its sockets.
pub(super) struct Host {
    spec: HostSpec,
    wire: Wire,
    interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    clock_offset: u32,
    /// By own port and other end.
    windows: HashMap<(u16, SocketAddr), Window>,
}

/// The window that a socket has offered last.
#[derive(Debug, Default)]
struct Window {
    scale: u8,
    right: SeqNumber,
}

fn instant(now: Time) -> Instant {
    Instant::from_micros(now.0.cast_signed())
}

fn remote_of(socket: &tcp::Socket<'_>) -> Option<SocketAddr> {
    let remote = socket.remote_endpoint()?;
    Some(SocketAddr::new(remote.addr.into(), remote.port))
}

impl Host {
    pub(super) fn new(spec: HostSpec, now: Time) -> Self {
        let mut wire = Wire {
            // smoltcp counts the Ethernet header.
            mtu: usize::from(spec.mtu) + 14,
            ..Wire::default()
        };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(spec.mac)));
        config.random_seed = spec.seed;
        let mut interface = Interface::new(config, &mut wire, instant(now));
        interface.update_ip_addrs(|addresses| {
            // One address always fits.
            let _ = addresses.push(IpCidr::new(spec.ip.into(), 24));
        });
        let mut rng = super::Rng::new(spec.seed ^ 0x7473);
        Self {
            spec,
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            clock_offset: rng.bits() as u32,
            windows: HashMap::new(),
        }
    }

    pub(super) fn add_socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; self.spec.buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        if self.spec.timestamps {
            socket.set_tsval_generator(Some(tsval));
        }
        self.sockets.add(socket)
    }

    pub(super) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(super) fn connect(&mut self, handle: SocketHandle, to: (Ipv4Addr, u16), from: u16) {
        let context = self.interface.context();
        let socket: &mut tcp::Socket<'static> = self.sockets.get_mut(handle);
        socket
            .connect(context, to, from)
            .expect("a fresh socket can connect");
    }

    pub(super) fn deliver(&mut self, mut frame: Vec<u8>) {
        self.cut_fin(&mut frame);
        if self.challenge(&mut frame).is_none() {
            self.wire.incoming.push_back(frame);
        }
    }

    /// smoltcp says nothing to a SYN for a connection that it has (RFC 5961 section 4.2 asks for a challenge
    /// acknowledgement). In its place come two acknowledgements so far from each other that it challenges one of them.
    fn challenge(&mut self, frame: &mut [u8]) -> Option<()> {
        let layout = locate(frame).ok()?;
        let known = self.sockets.iter().any(|(_, socket)| {
            let smoltcp::socket::Socket::Tcp(socket) = socket;
            remote_of(socket) == Some(layout.src) && (socket.may_recv() || socket.may_send())
        });
        let mut segment = Segment::parse(frame, layout, &Offload::default()).ok()?;
        let flags = segment.head().flags;
        let opening = self.sockets.iter().any(|(_, socket)| {
            let smoltcp::socket::Socket::Tcp(socket) = socket;
            socket.state() == tcp::State::SynReceived && remote_of(socket) == Some(layout.src)
        });
        if opening && flags.has(Flags::SYN) {
            // smoltcp would give it to another socket that listens, and have the connection twice.
            return Some(());
        }
        if !known || !flags.has(Flags::SYN) || flags.has(Flags::ACK) {
            return None;
        }
        segment.set_flags(Flags::ACK);
        for ack in [0, 1 << 31] {
            segment.set_ack(SeqNumber(ack));
            self.wire.incoming.push_back(segment.frame().to_vec());
        }
        Some(())
    }

    pub(super) fn run(&mut self, now: Time) {
        CLOCK.with(|clock| clock.set(self.clock_offset.wrapping_add((now.0 / 1000) as u32)));
        self.interface
            .poll(instant(now), &mut self.wire, &mut self.sockets);
    }

    pub(super) fn sent(&mut self) -> Option<Vec<u8>> {
        let mut frame = self.wire.outgoing.pop_front()?;
        self.note_window(&mut frame);
        Some(frame)
    }

    fn note_window(&mut self, frame: &mut [u8]) -> Option<()> {
        let layout = locate(frame).ok()?;
        let segment = Segment::parse(frame, layout, &Offload::default()).ok()?;
        let head = segment.head();
        let window = self.windows.entry((layout.src.port(), layout.dst));
        let window = window.or_default();
        let mut scale = window.scale;
        if head.flags.has(Flags::SYN) {
            window.scale = head.options.window_scale.unwrap_or(0);
            scale = 0;
        }
        window.right = head.ack + (u32::from(head.window) << scale);
        Some(())
    }

    /// smoltcp cuts a segment where its window ends, and takes the FIN after it all the same: its stream would end too
    /// early. All others ignore it then (RFC 9293 section 3.10.7.4), as the sender of a window that has shrunk relies on.
    fn cut_fin(&mut self, frame: &mut [u8]) -> Option<()> {
        let layout = locate(frame).ok()?;
        let mut segment = Segment::parse(frame, layout, &Offload::default()).ok()?;
        let head = *segment.head();
        let window = self.windows.get_mut(&(layout.dst.port(), layout.src))?;
        if head.flags.has(Flags::SYN) && head.options.window_scale.is_none() {
            window.scale = 0;
        }
        let end = head.seq + segment.payload().len() as u32;
        if head.flags.has(Flags::FIN) && end.ahead_of(window.right) > 0 {
            segment.set_flags(head.flags.without(Flags::FIN));
        }
        Some(())
    }

    /// Whether a socket waits for an acknowledgement, or could send and has not.
    pub(super) fn owes(&self) -> bool {
        self.sockets.iter().any(|(_, socket)| {
            let smoltcp::socket::Socket::Tcp(socket) = socket;
            let closing = matches!(
                socket.state(),
                tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck
            );
            closing || socket.send_queue() > 0
        })
    }

    /// When it wants to run next.
    pub(super) fn next(&mut self, now: Time) -> Option<Time> {
        self.interface
            .poll_at(instant(now), &self.sockets)
            .map(|at| Time(at.total_micros().max(0).unsigned_abs()))
    }
}
