// SPDX-License-Identifier: GPL-3.0-only
//! A scripted end: a small TCP of our own, at either end of a connection, whose habits a scenario chooses. What it
//! sends is legal, if often odd; and it objects to what no TCP may send it.
//!
//! * `tcb`: one connection and what its program sees of it.
//! * `input`: what an arriving segment changes, and what is wrong with it.
//! * `output`: what is sent when: windows, timers, odd habits.

mod input;
mod output;
mod tcb;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;

use super::app::{App, Program, Server};
use super::end::Identity;
use super::frames::{Arrival, Arrived, Out, read};
use super::{Death, EndSpec, Rng};
use crate::frame::Time;
use crate::wire::{Address, Flags, MacAddr, SeqNumber};
use tcb::Tcb;

/// The habits of a scripted end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Initial sequence numbers lie so far before 2^32; `None`: anywhere.
    pub isn_before_wrap: Option<u32>,
    /// The clock of its timestamps begins so many milliseconds before 2^32; `None`: anywhere.
    pub clock_before_wrap: Option<u32>,
    /// Window scale offered; `None`: the option is left out.
    pub scale: Option<u8>,
    /// SACK is offered, and used.
    pub sack: bool,
    /// Most window offered at a time, in bytes.
    pub window: usize,
    /// Most data in a segment, in bytes, if the way allows more.
    pub segment: usize,
    /// Segments of any smaller size, in a thousand.
    pub ragged: u64,
    /// Retransmissions that begin with bytes which are acknowledged already, in a thousand.
    pub overlap: u64,
    /// Segments with an urgent pointer, in a thousand.
    pub urgent: u64,
    /// Acknowledges every so many segments at once, the others after a while.
    pub ack_every: u32,
    /// That while, in microseconds.
    pub ack_delay_us: u64,
    /// Asks whether the other end is still there after so much silence, in microseconds.
    pub keep_alive_us: Option<u64>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            isn_before_wrap: None,
            clock_before_wrap: None,
            scale: Some(7),
            sack: true,
            window: usize::MAX,
            segment: usize::MAX,
            ragged: 0,
            overlap: 0,
            urgent: 0,
            ack_every: 2,
            ack_delay_us: 40_000,
            keep_alive_us: None,
        }
    }
}

/// What all connections of a host share.
#[derive(Debug)]
struct Host {
    spec: EndSpec,
    rng: Rng,
    clock_offset: u32,
    outgoing: VecDeque<Vec<u8>>,
    violations: Vec<String>,
    /// Its programs have died; its kernel goes on.
    dying: bool,
}

impl Host {
    fn clock(&self, now: Time) -> u32 {
        self.clock_offset.wrapping_add((now.0 / 1000) as u32)
    }

    fn isn(&mut self) -> SeqNumber {
        // Each incarnation of a connection has another (RFC 6528), that of each end's first may be chosen.
        let before = self.spec.habits.isn_before_wrap.take();
        SeqNumber(before.map_or_else(
            || self.rng.bits() as u32,
            |before| 0u32.wrapping_sub(before),
        ))
    }

    fn object(&mut self, at: SocketAddr, what: &str) {
        if self.violations.len() < 20 {
            self.violations.push(format!("{at}: {what}"));
        }
    }
}

/// One connection with its program, unless that has died or hangs.
#[derive(Debug)]
struct Connection {
    tcb: Tcb,
    app: Option<App>,
    wake: Option<Time>,
}

/// The two ports of a connection, own and other.
type Ports = (u16, u16);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Peer {
    identity: Identity,
    host: Host,
    incoming: VecDeque<Vec<u8>>,
    connections: BTreeMap<Ports, Connection>,
    /// What has ended, with its program.
    ended: BTreeMap<Ports, Option<App>>,
    wakes: BinaryHeap<Reverse<(Time, Ports)>>,
    serves: Option<(u16, Program)>,
    /// The ports of the connections that it began.
    called: Vec<Ports>,
    pub(super) violations: Vec<String>,
    /// Objects to nothing: what was meant for a connection that was reset may reach its successor, in links that
    /// reorder, and when the logger begins several times.
    pub(super) lenient: bool,
}

impl Peer {
    pub(super) fn new(spec: &EndSpec, identity: Identity, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let clock_offset = match spec.habits.clock_before_wrap {
            Some(before) => 0u32.wrapping_sub(before),
            None => rng.bits() as u32,
        };
        Self {
            identity,
            host: Host {
                spec: spec.clone(),
                rng,
                clock_offset,
                outgoing: VecDeque::new(),
                violations: Vec::new(),
                dying: false,
            },
            incoming: VecDeque::new(),
            connections: BTreeMap::new(),
            ended: BTreeMap::new(),
            wakes: BinaryHeap::new(),
            serves: None,
            called: Vec::new(),
            violations: Vec::new(),
            lenient: false,
        }
    }

    pub(super) fn connect(&mut self, to: (SocketAddr, MacAddr), from: u16, app: App, now: Time) {
        let local = Address {
            mac: self.identity.mac,
            socket: SocketAddr::new(self.identity.ip, from),
        };
        let remote = Address {
            mac: to.1,
            socket: to.0,
        };
        let isn = self.host.isn();
        let ports = (from, to.0.port());
        let connection = Connection {
            tcb: Tcb::call(local, remote, isn, &self.host, now),
            app: Some(app),
            wake: None,
        };
        self.connections.insert(ports, connection);
        self.called.push(ports);
        self.turn(ports, now);
    }

    pub(super) fn listen(&mut self, port: u16, program: &Program) {
        self.serves = Some((port, program.clone()));
    }

    pub(super) fn deliver(&mut self, frame: Vec<u8>) {
        self.incoming.push_back(frame);
    }

    pub(super) fn sent(&mut self) -> Option<Vec<u8>> {
        self.host.outgoing.pop_front()
    }

    pub(super) fn run(&mut self, now: Time) {
        while let Some(mut frame) = self.incoming.pop_front() {
            match read(&mut frame, (self.identity.mac, self.identity.ip)) {
                Arrived::Segment(arrival) => self.segment(&arrival, now),
                Arrived::TooBig {
                    local,
                    remote,
                    seq,
                    mtu,
                } => {
                    if let Some(connection) = self.connections.get_mut(&(local, remote)) {
                        connection.tcb.too_big(seq, mtu);
                        self.turn((local, remote), now);
                    }
                }
                Arrived::Reply(reply) => self.host.outgoing.push_back(reply),
                Arrived::Other => {}
            }
        }
        while let Some(&Reverse((at, ports))) = self.wakes.peek()
            && at <= now
        {
            self.wakes.pop();
            if let Some(connection) = self.connections.get_mut(&ports)
                && connection.wake == Some(at)
            {
                connection.wake = None;
                self.turn(ports, now);
            }
        }
        if self.lenient {
            self.host.violations.clear();
        }
        self.violations.append(&mut self.host.violations);
    }

    fn segment(&mut self, arrival: &Arrival, now: Time) {
        let ports = (arrival.to.socket.port(), arrival.from.socket.port());
        let flags = arrival.head.flags;
        let opens = flags.has(Flags::SYN) && !flags.has(Flags::ACK) && !flags.has(Flags::RST);
        let serves = self
            .serves
            .as_ref()
            .is_some_and(|serves| serves.0 == ports.0);
        if opens && serves && !self.connections.contains_key(&ports) {
            let program = self.serves.as_ref().map(|serves| &serves.1);
            let app = program.map(|program| App::Server(Server::new(program)));
            let isn = self.host.isn();
            let connection = Connection {
                tcb: Tcb::called(arrival, isn, &self.host, now),
                app: app.filter(|_| !self.host.dying),
                wake: None,
            };
            self.connections.insert(ports, connection);
        } else if let Some(connection) = self.connections.get_mut(&ports) {
            connection.tcb.arrive(arrival, &mut self.host, now);
        } else if !flags.has(Flags::RST) {
            self.refuse(arrival);
            return;
        }
        self.turn(ports, now);
    }

    /// Nobody has this connection (RFC 9293 section 3.5.2).
    fn refuse(&mut self, arrival: &Arrival) {
        let head = &arrival.head;
        let len = arrival.data.len() as u32
            + u32::from(head.flags.has(Flags::SYN))
            + u32::from(head.flags.has(Flags::FIN));
        let (seq, ack, flags) = if head.flags.has(Flags::ACK) {
            (head.ack, SeqNumber(0), Flags::RST)
        } else {
            (SeqNumber(0), head.seq + len, Flags::RST.with(Flags::ACK))
        };
        let out = Out {
            src: arrival.to,
            dst: arrival.from,
            seq,
            ack,
            flags,
            window: 0,
            urgent: None,
            options: &[],
            data: &[],
        };
        self.host.outgoing.push_back(out.frame());
    }

    /// Lets a connection do what it can now.
    fn turn(&mut self, ports: Ports, now: Time) {
        let Some(connection) = self.connections.get_mut(&ports) else {
            return;
        };
        if let Some(app) = &mut connection.app
            && connection.tcb.is_open()
        {
            app.run(now, &mut connection.tcb);
        }
        connection.tcb.output(&mut self.host, now);
        connection.tcb.forget_if_over();
        if connection.tcb.is_gone() {
            let gone = self.connections.remove(&ports);
            self.ended.insert(ports, gone.and_then(|gone| gone.app));
            return;
        }
        let program = connection.app.as_ref().and_then(App::wake);
        let next = [connection.tcb.deadline(), program];
        let next = next.into_iter().flatten().min();
        if next != connection.wake {
            connection.wake = next;
            if let Some(at) = next {
                self.wakes.push(Reverse((at, ports)));
            }
        }
    }

    pub(super) fn next(&mut self) -> Option<Time> {
        while let Some(Reverse((at, ports))) = self.wakes.peek() {
            let connection = self.connections.get(ports);
            if connection.is_some_and(|connection| connection.wake == Some(*at)) {
                return Some(*at);
            }
            self.wakes.pop();
        }
        None
    }

    /// The programs die, or hang; the kernel goes on. What it sends then leaves at the next run.
    pub(super) fn die(&mut self, death: Death) {
        self.host.dying = true;
        for (&ports, connection) in &mut self.connections {
            match death {
                Death::Closes => connection.tcb.shut(),
                Death::Resets => connection.tcb.reset(),
                Death::Silent | Death::Hangs => {}
            }
            connection.app = None;
            connection.wake = Some(Time(0));
            self.wakes.push(Reverse((Time(0), ports)));
        }
    }

    pub(super) fn apps(&self) -> impl Iterator<Item = &App> {
        let mut ports: Vec<_> = self.connections.keys().chain(self.ended.keys()).collect();
        ports.sort_unstable();
        ports.into_iter().filter_map(|ports| {
            let open = self.connections.get(ports);
            open.map_or_else(|| self.ended.get(ports), |open| Some(&open.app))?
                .as_ref()
        })
    }

    /// Whether the connection that it began as so many-th is over, with everything received.
    pub(super) fn done(&self, index: usize) -> bool {
        let Some(ports) = self.called.get(index) else {
            return false;
        };
        let complete = |app: &Option<App>| matches!(app, Some(App::Client(it)) if it.complete);
        match self.connections.get(ports) {
            Some(open) => open.tcb.is_over() && complete(&open.app),
            None => self.ended.get(ports).is_some_and(complete),
        }
    }
}
