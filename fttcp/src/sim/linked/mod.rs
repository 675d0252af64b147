// SPDX-License-Identifier: GPL-3.0-only
//! A small simulated network around services that open connections themselves: clients and an origin in the north,
//! servers in the south, links that lose nothing. A server can be crashed at any event.

mod apps;
mod ftp;
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;

use apps::App;

use super::Death;
use super::host::{Host, HostSpec};
use crate::control::{Counters, GroupSpec, Outbound, ServiceSpec};
use crate::engine::{Commit, Committed, Engine, EngineConfig, GroupPorts};
use crate::frame::{Offload, Output, PortId, Time};

const NORTH: PortId = PortId(0);
/// A run that takes longer has hung.
const MAX_TIME: Time = Time(200_000_000);
const NORTH_DELAY: u64 = 1000;
const SOUTH_DELAY: u64 = 50;
const DETECT: u64 = 2000;
/// How long a server takes to bring to its disk what it has written.
const COMMIT: u64 = 3000;

/// What a run consists of.
struct Scenario {
    /// Crashes before these events, in order.
    crashes: Vec<(u64, Death)>,
    outbound: Outbound,
    /// The plug-in of control connections.
    control: &'static str,
    /// Their answers wait for the servers' disks.
    durable: bool,
    /// Puts the applications on client, origin and, with its number, each server.
    client: fn(&mut Host) -> Vec<Box<dyn App>>,
    server: fn(&mut Host, usize) -> Vec<Box<dyn App>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    events: u64,
    /// What the applications in the north have to show; `None`: one is not done.
    results: Vec<Option<Vec<String>>>,
    counters: Counters,
    log: Vec<String>,
}

struct Machine {
    host: Host,
    apps: Vec<Box<dyn App>>,
    /// Nothing leaves it any more.
    silent: bool,
}

impl Machine {
    fn new(ip: Ipv4Addr, seed: u64, now: Time) -> Self {
        let spec = HostSpec {
            mac: [2, 0, 0, 0, 0, ip.octets()[3]],
            ip,
            seed,
            timestamps: true,
            buffer: 8 * 1024,
            mtu: 1500,
        };
        Self {
            host: Host::new(spec, now),
            apps: Vec::new(),
            silent: false,
        }
    }

    fn run(&mut self, now: Time) -> Vec<Vec<u8>> {
        self.host.run(now);
        for app in &mut self.apps {
            app.run(&mut self.host);
        }
        self.host.run(now);
        let sent = std::iter::from_fn(|| self.host.sent()).collect();
        if self.silent { Vec::new() } else { sent }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Engine(u32),
    North(usize),
    Server(usize),
    /// This server's disk has what was asked for by this number.
    Committed(usize, u64),
    Failover,
}

#[derive(Default)]
struct Sent(Vec<(PortId, Vec<u8>)>);

impl Output for Sent {
    fn transmit(&mut self, port: PortId, frame: &[u8], _: &Offload) {
        self.0.push((port, frame.to_vec()));
    }
}

type Queued = Reverse<(Time, u64, Target, Vec<u8>)>;

struct World {
    now: Time,
    queue: BinaryHeap<Queued>,
    order: u64,
    north: Vec<Machine>,
    servers: Vec<Machine>,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let now = Time(1_000_000);
        let mut client = Machine::new(apps::CLIENT, 1, now);
        client.apps = (scenario.client)(&mut client.host);
        let mut origin = Machine::new(apps::ORIGIN, 2, now);
        origin.apps = vec![Box::new(apps::Origin::new(&mut origin.host))];
        let server = |index: usize| {
            let mut server = Machine::new(apps::SERVER, 10 + index as u64, now);
            server.apps = (scenario.server)(&mut server.host, index);
            server
        };
        Self {
            now,
            queue: BinaryHeap::new(),
            order: 0,
            north: vec![client, origin],
            servers: (0..=scenario.crashes.len()).map(server).collect(),
        }
    }

    fn push(&mut self, delay: u64, target: Target, frame: Vec<u8>) {
        self.order += 1;
        let at = Time(self.now.0 + delay);
        self.queue.push(Reverse((at, self.order, target, frame)));
    }

    fn run_north(&mut self, index: usize) {
        for frame in self.north[index].run(self.now) {
            self.push(NORTH_DELAY, Target::Engine(NORTH.0), frame);
        }
    }

    fn run_server(&mut self, index: usize) {
        for frame in self.servers[index].run(self.now) {
            self.push(SOUTH_DELAY, Target::Engine(index as u32 + 1), frame);
        }
    }

    fn engine_sent(&mut self, sent: Sent) {
        for (port, frame) in sent.0 {
            if port != NORTH {
                self.push(SOUTH_DELAY, Target::Server(port.0 as usize - 1), frame);
                continue;
            }
            for index in 0..self.north.len() {
                // The last byte of its hardware address, or a broadcast.
                let last = frame[5];
                if last == 255 || usize::from(last) == 1 + 2 * index {
                    self.push(NORTH_DELAY, Target::North(index), frame.clone());
                }
            }
        }
    }

    fn crash(&mut self, index: usize, death: Death) {
        let port = Target::Engine(index as u32 + 1);
        let server = &mut self.servers[index];
        server.apps.clear();
        self.queue.retain(
            |Reverse((_, _, target, _))| !matches!(target, Target::Committed(of, _) if *of == index),
        );
        let server = &mut self.servers[index];
        if death == Death::Silent {
            server.silent = true;
            self.queue
                .retain(|Reverse((_, _, target, _))| *target != port);
        } else {
            let close = death == Death::Closes;
            for (_, socket) in server.host.sockets.iter_mut() {
                let smoltcp::socket::Socket::Tcp(socket) = socket;
                if close {
                    socket.close();
                } else {
                    socket.abort();
                }
            }
            self.run_server(index);
        }
        self.push(DETECT, Target::Failover, Vec::new());
    }

    fn results(&mut self) -> Vec<Option<Vec<String>>> {
        let mut results = Vec::new();
        for machine in &mut self.north {
            for app in &machine.apps {
                results.push(app.done(&mut machine.host));
            }
        }
        results
    }

    fn next_wake(&mut self, engine: &Engine) -> Option<Time> {
        let now = self.now;
        let living = self.servers.iter_mut().filter(|server| !server.silent);
        let hosts = self.north.iter_mut().chain(living);
        let wakes = hosts.filter_map(|machine| machine.host.next(now));
        let next = wakes.chain(engine.next_timeout()).min()?;
        Some(Time(next.0.max(now.0)))
    }
}

fn engine(scenario: &Scenario) -> Engine {
    let count = scenario.crashes.len() as u32;
    let mut engine = Engine::new(EngineConfig::default());
    let spec = GroupSpec {
        name: "g".to_owned(),
        active: "server0".to_owned(),
        standbys: (1..=count).map(|n| format!("server{n}")).collect(),
        services: vec![
            ServiceSpec::new(apps::PROXY_PORT, "opaque"),
            ServiceSpec {
                // Servers die here of nothing that was said.
                poison_deaths: 0,
                durable: scenario.durable,
                ..ServiceSpec::new(apps::CONTROL_PORT, scenario.control)
            },
        ],
        outbound: scenario.outbound,
        ..GroupSpec::default()
    };
    let ports = GroupPorts {
        north: NORTH,
        active: PortId(1),
        standbys: (2..2 + count).map(PortId).collect(),
    };
    let added = engine.add_group(spec, ports);
    assert_eq!(added, Ok(()), "a fresh engine takes a group");
    engine
}

fn run(scenario: &Scenario) -> Outcome {
    let mut world = World::new(scenario);
    let mut engine = engine(scenario);
    let mut crashes = scenario.crashes.iter().enumerate();
    let mut next_crash = crashes.next();
    let (mut events, mut log) = (0u64, Vec::new());
    world.run_north(0);
    while world.now < MAX_TIME && world.results().iter().any(Option::is_none) {
        if let Some((index, &(at, death))) = next_crash
            && events >= at
        {
            world.crash(index, death);
            next_crash = crashes.next();
        }
        let arrival = world.queue.peek().map(|Reverse((at, ..))| *at);
        let wake = world.next_wake(&engine);
        let Some(next) = [arrival, wake].into_iter().flatten().min() else {
            break;
        };
        world.now = next;
        let mut sent = Sent::default();
        if arrival == Some(next)
            && let Some(Reverse((_, _, target, mut frame))) = world.queue.pop()
        {
            match target {
                Target::Engine(port) => {
                    let offload = Offload::default();
                    engine.handle_frame(next, PortId(port), &mut frame, offload, &mut sent);
                }
                Target::North(index) => {
                    world.north[index].host.deliver(frame);
                    world.run_north(index);
                }
                Target::Server(index) => {
                    world.servers[index].host.deliver(frame);
                    world.run_server(index);
                }
                Target::Committed(index, number) => {
                    let done = Commit {
                        group: "g".to_owned(),
                        interface: format!("server{index}"),
                        number,
                    };
                    engine.committed(next, &done, Committed::Done, &mut sent);
                }
                Target::Failover => {
                    let dead = engine.failover(next, 0, "g", "simulated", &mut sent);
                    let dead = dead.expect("there is a standby for each crash");
                    world.servers[dead.0 as usize - 1].silent = true;
                }
            }
        } else {
            engine.handle_timeout(next, &mut sent);
            for index in 0..world.north.len() {
                world.run_north(index);
            }
            for index in 0..world.servers.len() {
                world.run_server(index);
            }
            // Nothing may ask to be woken at the same instant for ever.
            world.now = Time(world.now.0 + 1);
        }
        world.engine_sent(sent);
        while let Some(wanted) = engine.poll_commit() {
            let index = wanted.interface.strip_prefix("server");
            let index: usize = index.and_then(|it| it.parse().ok()).expect("a server");
            // One that is dead does not get so far; the logger may not know yet that it is.
            if !world.servers[index].apps.is_empty() {
                let target = Target::Committed(index, wanted.number);
                world.push(COMMIT, target, Vec::new());
            }
        }
        while let Some(event) = engine.poll_event() {
            log.push(format!("{} {event}", world.now.0));
        }
        events += 1;
    }
    Outcome {
        events,
        results: world.results(),
        counters: engine.status(None, false)[0].counters,
        log,
    }
}
