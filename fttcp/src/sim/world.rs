// SPDX-License-Identifier: GPL-3.0-only
//! The event loop: clients, links, the engine, servers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use super::app::{Client, Server};
use super::check::Checker;
use super::host::{Host, HostSpec};
use super::logger::{Logger, ports};
use super::{Crash, Death, Link, Outcome, Rng, Scenario};
use crate::control::{GroupSpec, ServiceSpec};
use crate::flow::shortcut::{Outcome as Fate, Shortcut};
use crate::flow::{FlowKey, FlowState, Record, Route};
use crate::frame::{Offload, Output, PortId, Time};
use crate::wire::{Segment, locate};

const SERVER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVICE_PORT: u16 = 80;
const NORTH: PortId = PortId(0);
const GROUP: &str = "web";
/// A run that takes longer has hung.
const MAX_TIME: Time = Time(300_000_000);

/// Where a frame is on its way to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Engine(u32),
    Client,
    Server(usize),
    Failover,
}

type Queued = Reverse<(Time, u64, Target, Vec<u8>)>;

struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    rng: Rng,
    queue: BinaryHeap<Queued>,
    order: u64,
    checker: Checker,
    client: Host,
    clients: Vec<(SocketHandle, Client)>,
    servers: Vec<Host>,
    apps: Vec<Vec<(SocketHandle, Server)>>,
    silent: Vec<bool>,
}

/// The data path: collects what is sent during one step, and forwards by itself if the scenario has it.
#[derive(Default)]
struct Sent {
    frames: Vec<(PortId, Vec<u8>)>,
    shortcut: Option<Shortcut>,
}

impl Sent {
    /// A frame came in at `port`. Gives it back if the engine must see it.
    fn receive(&mut self, port: PortId, mut frame: Vec<u8>) -> Option<(Vec<u8>, Offload)> {
        let Some(shortcut) = &mut self.shortcut else {
            return Some((frame, Offload::default()));
        };
        // The device verifies checksums, as most do.
        let whole = locate(&frame)
            .is_ok_and(|layout| Segment::parse(&mut frame, layout, &Offload::default()).is_ok());
        let offload = Offload {
            checksum_valid: whole,
            ..Offload::default()
        };
        match shortcut.receive(port, &mut frame, &offload) {
            Fate::Punt => return Some((frame, offload)),
            Fate::Drop => {}
            Fate::Forward(to) => self.frames.push((to, frame)),
        }
        None
    }
}

impl Output for Sent {
    fn transmit(&mut self, port: PortId, frame: &[u8], _: &Offload) {
        self.frames.push((port, frame.to_vec()));
    }

    fn route(&mut self, port: PortId, route: Route) {
        if let Some(shortcut) = &mut self.shortcut {
            shortcut.route(port, route);
        }
    }

    fn services(&mut self, group: u32, ports: &[u16], outbound: bool) {
        if let Some(shortcut) = &mut self.shortcut {
            shortcut.services(group, ports, outbound);
        }
    }

    fn offload(&mut self, key: &FlowKey, state: &FlowState) -> bool {
        self.shortcut.as_mut().is_some_and(|shortcut| {
            shortcut.offload(key, state);
            true
        })
    }

    fn peek(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.shortcut.as_ref()?.peek(key)
    }

    fn reclaim(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.shortcut.as_mut()?.reclaim(key)
    }

    fn records(&mut self, each: &mut dyn FnMut(&Record<'_>)) {
        if let Some(shortcut) = &mut self.shortcut {
            shortcut.records(each);
        }
    }
}

fn dates(server: usize) -> String {
    format!("Sat, 21 Nov 2026 04:0{server}:00 GMT")
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let now = Time(1_000_000);
        let mut rng = Rng::new(scenario.seed);
        let mut client = Host::new(
            HostSpec {
                mac: [2, 0, 0, 0, 0, 1],
                ip: CLIENT_IP,
                seed: rng.bits(),
                timestamps: scenario.timestamps,
                buffer: scenario.client_buffer,
            },
            now,
        );
        let clients = (0..scenario.connections)
            .map(|index| {
                let handle = client.add_socket();
                client.connect(handle, (SERVER_IP, SERVICE_PORT), 40_000 + index as u16);
                (handle, Client::new(scenario.script.clone()))
            })
            .collect();
        let mut servers = Vec::new();
        let mut apps = Vec::new();
        for index in 0..=scenario.crashes.len() {
            let last = scenario.server_buffers.len() - 1;
            let mut host = Host::new(
                HostSpec {
                    mac: [2, 0, 0, 0, 0, 2],
                    ip: SERVER_IP,
                    seed: rng.bits(),
                    timestamps: scenario.timestamps,
                    buffer: scenario.server_buffers[index.min(last)],
                },
                now,
            );
            let lie_at = scenario.lie_at.filter(|_| index > 0);
            let sockets = (0..scenario.connections)
                .map(|_| {
                    let handle = host.add_socket();
                    host.socket(handle)
                        .listen(SERVICE_PORT)
                        .expect("a fresh socket can listen");
                    (handle, Server::new(&dates(index), lie_at))
                })
                .collect();
            servers.push(host);
            apps.push(sockets);
        }
        let in_order = scenario.server_link.keeps_order();
        Self {
            scenario,
            now,
            rng,
            queue: BinaryHeap::new(),
            order: 0,
            checker: Checker::new(in_order, scenario.on_full != crate::control::OnFull::Hold),
            client,
            clients,
            silent: vec![false; servers.len()],
            servers,
            apps,
        }
    }

    fn push(&mut self, delay: u64, to: Target, frame: Vec<u8>) {
        self.order += 1;
        let at = Time(self.now.0 + delay);
        self.queue.push(Reverse((at, self.order, to, frame)));
    }

    fn send(&mut self, link: Link, to: &Target, frame: &[u8]) {
        let copies = 1 + u64::from(self.rng.permille(link.duplicate));
        for _ in 0..copies {
            if self.rng.permille(link.loss) {
                continue;
            }
            let late = self.rng.permille(link.reorder);
            let extra = if late {
                self.rng.below(4 * link.delay_us)
            } else {
                0
            };
            self.push(link.delay_us + extra, to.clone(), frame.to_vec());
        }
    }

    fn engine_sent(&mut self, sent: &mut Sent) {
        for (port, frame) in sent.frames.drain(..) {
            if port == NORTH {
                self.checker.sees_for_client(&frame);
                self.send(self.scenario.client_link, &Target::Client, &frame);
            } else {
                let server = Target::Server(port.0 as usize - 1);
                self.send(self.scenario.server_link, &server, &frame);
            }
        }
    }

    fn run_client(&mut self) {
        self.client.run(self.now);
        for (handle, client) in &mut self.clients {
            client.run(self.client.sockets.get_mut(*handle));
        }
        self.client.run(self.now);
        while let Some(frame) = self.client.sent() {
            self.send(self.scenario.client_link, &Target::Engine(NORTH.0), &frame);
        }
    }

    fn run_server(&mut self, index: usize) {
        if self.silent[index] {
            return;
        }
        let host = &mut self.servers[index];
        host.run(self.now);
        let lie_at = self.scenario.lie_at.filter(|_| index > 0);
        for (handle, server) in &mut self.apps[index] {
            if host.socket(*handle).state() == tcp::State::Closed {
                // It may have been reset, and the listener is still there. A socket at the end, because smoltcp gives
                // a repeated SYN to the first that wants it.
                *handle = host.add_socket();
                host.socket(*handle)
                    .listen(SERVICE_PORT)
                    .expect("a fresh socket can listen");
                *server = Server::new(&dates(index), lie_at);
            }
            server.run(host.socket(*handle));
        }
        host.run(self.now);
        while let Some(frame) = self.servers[index].sent() {
            let port = Target::Engine(index as u32 + 1);
            self.send(self.scenario.server_link, &port, &frame);
        }
    }

    fn crash(&mut self, index: usize, crash: Crash) {
        match crash.death {
            Death::Silent => {
                self.silent[index] = true;
                let port = Target::Engine(index as u32 + 1);
                self.queue
                    .retain(|Reverse((_, _, target, _))| *target != port);
            }
            Death::Closes | Death::Resets => {
                for (handle, _) in &mut self.apps[index] {
                    let socket = self.servers[index].socket(*handle);
                    if crash.death == Death::Closes {
                        socket.close();
                    } else {
                        socket.abort();
                    }
                }
                self.apps[index].clear();
                self.run_server(index);
            }
        }
        self.push(crash.detect_us, Target::Failover, Vec::new());
    }

    fn client_done(&self, at: usize) -> bool {
        let (handle, client) = &self.clients[at];
        let state = self.client.sockets.get::<tcp::Socket<'_>>(*handle).state();
        client.complete && matches!(state, tcp::State::TimeWait | tcp::State::Closed)
    }

    /// An end has something that its peer has not acknowledged, and no timer: a defect of smoltcp, by which no
    /// connection can go on (a correct sender always retransmits or probes, RFC 9293 section 3.8).
    fn end_stalled(&mut self) -> bool {
        let now = self.now;
        let silent = &self.silent;
        let stuck = |host: &mut Host| host.next(now).is_none() && host.owes();
        stuck(&mut self.client)
            || self
                .servers
                .iter_mut()
                .zip(silent)
                .any(|(host, &silent)| !silent && stuck(host))
    }

    /// When the next thing happens, other than a frame's arrival.
    fn next_wake(&mut self, logger: &Logger) -> Option<Time> {
        let now = self.now;
        let eager = self.clients.iter().any(|(handle, client)| {
            let socket = self.client.sockets.get::<tcp::Socket<'_>>(*handle);
            client.eager() && socket.can_send()
        });
        // A client with more to send hands it over a little later, so that it takes several segments.
        let client = if eager { Some(Time(now.0 + 200)) } else { None };
        let mut next = [client, self.client.next(now), logger.next_timeout()]
            .into_iter()
            .flatten()
            .min();
        for (index, server) in self.servers.iter_mut().enumerate() {
            if !self.silent[index]
                && let Some(at) = server.next(now)
            {
                next = Some(next.map_or(at, |next: Time| next.min(at)));
            }
        }
        next.map(|at| Time(at.0.max(now.0)))
    }
}

fn group(scenario: &Scenario) -> GroupSpec {
    let count = scenario.crashes.len() as u32;
    let services = if scenario.protect {
        vec![ServiceSpec {
            mask: vec!["Date".to_owned()],
            buffer_bytes: scenario.buffer_bytes,
            on_full: scenario.on_full,
            ..ServiceSpec::new(SERVICE_PORT, scenario.kind)
        }]
    } else {
        Vec::new()
    };
    GroupSpec {
        name: GROUP.to_owned(),
        north: "north".to_owned(),
        active: "server0".to_owned(),
        standbys: (1..=count).map(|n| format!("server{n}")).collect(),
        services,
        ..GroupSpec::default()
    }
}

/// Runs a scenario to its end.
///
/// # Panics
/// If the engine refuses a group or a failover that the scenario asks for.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    let mut world = World::new(scenario);
    let spec = group(scenario);
    let ports = ports(&spec);
    let mut sent = Sent {
        frames: Vec::new(),
        shortcut: scenario.shortcut.map(Shortcut::new),
    };
    let shortcut = scenario.shortcut.is_some();
    let doze = Duration::from_micros(scenario.doze_us);
    let mut logger = Logger::new(world.now, spec, ports, shortcut, doze, &mut sent);
    let mut restarts = scenario.restarts.iter().peekable();
    let mut crashes = scenario.crashes.iter().enumerate();
    let mut next_crash = crashes.next();
    let (mut events, mut log) = (0u64, Vec::new());
    world.run_client();
    while world.now < MAX_TIME {
        if (0..world.clients.len()).all(|at| world.client_done(at)) {
            break;
        }
        if let Some((index, &crash)) = next_crash
            && events >= crash.at_event
        {
            world.crash(index, crash);
            next_crash = crashes.next();
        }
        if restarts.next_if(|&&at| events >= at).is_some() {
            logger.restart(world.now, &mut sent);
            world.engine_sent(&mut sent);
        }
        let arrival = world.queue.peek().map(|Reverse((at, ..))| *at);
        let wake = world.next_wake(&logger);
        let Some(next) = [arrival, wake].into_iter().flatten().min() else {
            break;
        };
        world.now = next;
        if arrival == Some(next)
            && let Some(Reverse((_, _, target, frame))) = world.queue.pop()
        {
            match target {
                Target::Engine(port) => {
                    if port == NORTH.0 {
                        world.checker.sees_from_client(&frame);
                    }
                    let port = PortId(port);
                    if let Some((mut frame, offload)) = sent.receive(port, frame) {
                        logger.handle_frame(next, port, &mut frame, offload, &mut sent);
                    }
                }
                Target::Client => {
                    world.client.deliver(frame);
                    world.run_client();
                }
                Target::Server(index) => {
                    world.servers[index].deliver(frame);
                    world.run_server(index);
                }
                Target::Failover => {
                    let dead = logger.failover(next, GROUP, &mut sent);
                    world.silent[dead.0 as usize - 1] = true;
                    world.checker.failover();
                }
            }
        } else {
            logger.handle_timeout(next, &mut sent);
            world.run_client();
            for index in 0..world.servers.len() {
                world.run_server(index);
            }
            // Nothing may ask to be woken at the same instant for ever.
            world.now = Time(world.now.0 + 1);
        }
        world.engine_sent(&mut sent);
        while let Some(event) = logger.poll_event() {
            log.push(format!("{} {event}", world.now.0));
        }
        events += 1;
    }
    let complete = (0..world.clients.len())
        .filter(|&at| world.client_done(at))
        .count();
    let end_stalled = complete < world.clients.len() && world.end_stalled();
    let mut status = logger.status(world.now, &mut sent);
    Outcome {
        events,
        streams: world
            .clients
            .into_iter()
            .map(|(_, client)| client.stream)
            .collect(),
        complete,
        end_stalled,
        violations: world.checker.violations,
        status: status.remove(0),
        log,
        took_us: world.now.0,
    }
}
