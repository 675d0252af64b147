// SPDX-License-Identifier: GPL-3.0-only
//! The event loop: clients, links, the engine, servers.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::app::{App, Client, Program, Script};
use super::check::{Checker, Rules};
use super::end::{End, Identity};
use super::link::Link;
use super::logger::{Logger, Settings, ports, server_name};
use super::path::Sent;
use super::truth::Truth;
use super::{Outcome, Rng, Scenario, Stack};
use crate::control::{GroupSpec, OnFull, ServiceSpec};
use crate::flow::shortcut::Shortcut;
use crate::frame::{PortId, Time};
use crate::service::Kinds;
use crate::wire::MacAddr;

const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const SERVICE_PORT: u16 = 80;
pub(super) const NORTH: PortId = PortId(0);
pub(super) const GROUP: &str = "web";
const START: Time = Time(1_000_000);
/// A run that takes longer, or has more events for each connection, has hung. A window of a few bytes, or a smoltcp that
/// repeats once a minute only, is as slow.
const MAX_TIME: Time = Time(3_600_000_000);
const MAX_EVENTS: u64 = 300_000;

/// Where a frame is on its way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Engine(PortId),
    Client,
    /// The server on this port.
    Server(PortId),
    /// The engine is told of a server's death.
    Failover,
    /// A dead server comes back on this port.
    Rejoin(PortId),
}

type Queued = Reverse<(Time, u64, Target, Vec<u8>)>;

/// A server's place: one port of the logger.
pub(super) struct Place {
    /// Made when something first reaches it.
    pub(super) end: Option<End>,
    /// Counted over all servers of the run.
    pub(super) number: usize,
    /// Nothing comes from it any more.
    pub(super) silent: bool,
    pub(super) wake: Option<Time>,
}

pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario,
    script: Rc<Script>,
    pub(super) truth: Rc<Truth>,
    pub(super) now: Time,
    pub(super) rng: Rng,
    pub(super) queue: BinaryHeap<Queued>,
    order: u64,
    /// The servers' links keep the order.
    in_order: bool,
    pub(super) checker: Checker,
    client: End,
    client_wake: Option<Time>,
    /// Clients before this one are done.
    done: usize,
    /// By port, from port 1 on.
    pub(super) places: Vec<Place>,
    /// The ports of all servers in order of taking over; so many are dead, or dying; so many have been given up.
    pub(super) line: Vec<PortId>,
    pub(super) crashed: usize,
    pub(super) failed: usize,
    pub(super) active: PortId,
    /// The other living server of an upgrade.
    pub(super) left: Option<PortId>,
    /// Servers that died of which the engine has not been told, and so many steps of the upgrade are done.
    pub(super) dying: std::collections::VecDeque<PortId>,
    pub(super) steps: usize,
    pub(super) started: usize,
    carried_out: Rc<Cell<u64>>,
    violations: Vec<String>,
    log: Vec<String>,
    spare: Vec<(u64, Vec<u8>)>,
}

fn addresses(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        let ip = |host| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host);
        (ip(1).into(), ip(2).into())
    } else {
        let ip = |host| Ipv4Addr::new(10, 0, 0, host);
        (ip(1).into(), ip(2).into())
    }
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let mut rng = Rng::new(scenario.seed);
        let script = Rc::new(scenario.script.clone());
        let truth = Rc::new(Truth::new(&script));
        let (client_ip, server_ip) = addresses(scenario.v6);
        let identity = Identity {
            mac: CLIENT_MAC,
            ip: client_ip,
        };
        let apps = (0..scenario.connections).map(|_| App::Client(Client::new(&script, &truth)));
        let to = (SocketAddr::new(server_ip, SERVICE_PORT), SERVER_MAC);
        let client = End::client(&scenario.client, identity, to, apps, rng.bits(), START);
        let standbys = match scenario.rejoin_us {
            Some(_) => 1,
            None => scenario.crashes.len() as u32 + u32::from(scenario.upgrade.is_some()),
        };
        let line: Vec<_> = (1..=1 + standbys).map(PortId).collect();
        let link = &scenario.server_link;
        let in_order = [link.to, link.from]
            .iter()
            .all(|link| link.reorder == 0 && link.duplicate == 0);
        let rules = Rules {
            in_order,
            exact: scenario.on_full != OnFull::Hold,
            window: scenario
                .servers
                .iter()
                .all(|it| it.stack == Stack::Scripted),
            truth: scenario.lie_at.is_none() && !scenario.may_end,
            lasting: !scenario.may_end,
        };
        let mut world = Self {
            scenario,
            script,
            now: START,
            rng,
            queue: BinaryHeap::new(),
            order: 0,
            in_order,
            checker: Checker::new(&truth, rules),
            truth,
            client,
            client_wake: None,
            done: 0,
            places: Vec::new(),
            active: line[0],
            left: None,
            dying: std::collections::VecDeque::new(),
            steps: 0,
            line: line.clone(),
            crashed: 0,
            failed: 0,
            started: 0,
            carried_out: Rc::default(),
            violations: Vec::new(),
            log: Vec::new(),
            spare: Vec::new(),
        };
        for _ in line {
            let number = world.next_number();
            world.places.push(Place {
                end: None,
                number,
                silent: false,
                wake: None,
            });
        }
        world
    }

    pub(super) fn next_number(&mut self) -> usize {
        self.started += 1;
        self.started - 1
    }

    fn server(&self, number: usize) -> End {
        let scenario = self.scenario;
        let program = Program {
            truth: Rc::clone(&self.truth),
            number,
            lie_at: scenario.lie_at.filter(|_| number > 0),
            reads: self.script.server_reads,
            ranges: self.script.ranges,
            done: Rc::clone(&self.carried_out),
        };
        let identity = Identity {
            mac: SERVER_MAC,
            ip: addresses(scenario.v6).1,
        };
        let spec = &scenario.servers[number.min(scenario.servers.len() - 1)];
        let seed = Rng::new(scenario.seed ^ (number as u64 + 1) << 32).bits();
        let serves = (&program, scenario.connections);
        let mut end = End::server(spec, identity, SERVICE_PORT, serves, seed, self.now);
        if let End::Scripted(peer) = &mut end {
            peer.lenient = !self.in_order || !self.scenario.restarts.is_empty();
        }
        end
    }

    pub(super) fn push(&mut self, delay: u64, to: Target, frame: Vec<u8>) {
        self.order += 1;
        let at = Time(self.now.0 + delay);
        self.queue.push(Reverse((at, self.order, to, frame)));
    }

    /// Puts a frame on a link; `back`: where the sender is.
    fn send(&mut self, link: Link, (to, back): (Target, Target), frame: Vec<u8>) {
        let mut arrives = std::mem::take(&mut self.spare);
        let at = self.now.0 - START.0;
        if let Some(answer) = link.carry(&mut self.rng, at, frame, &mut arrives) {
            self.push(2 * link.delay_us, back, answer);
        }
        for (delay, frame) in arrives.drain(..) {
            self.push(delay, to, frame);
        }
        self.spare = arrives;
    }

    /// Takes what was sent. `passed`: the frame that came in was not right.
    pub(super) fn take_sent(&mut self, sent: &mut Sent, passed: bool) {
        let scenario = self.scenario;
        for (port, mut frame) in sent.frames.drain(..) {
            self.trace("out", port, &frame);
            let back = Target::Engine(port);
            if port == NORTH {
                self.checker.sees_for_client(&mut frame, passed);
                self.send(scenario.client_link.from, (Target::Client, back), frame);
            } else {
                let lit = self.left.filter(|&left| left == port);
                if self.scenario.upgrade.is_some() && super::frames::is_syn(&mut frame) {
                    // Whatever had been said of a date, another server may say the rest of it.
                    self.checker.failover();
                }
                let ports = (port, lit.unwrap_or(self.active));
                self.checker.sees_for_server(&mut frame, ports, passed);
                let to = Target::Server(port);
                self.send(scenario.server_link.from, (to, back), frame);
            }
        }
    }

    fn trace(&mut self, way: &str, port: PortId, frame: &[u8]) {
        if self.scenario.trace {
            let (now, port) = (self.now.0, port.0);
            let line = format!("{now} {way} {port}: {}", super::frames::describe(frame));
            self.log.push(line);
        }
    }

    fn run_client(&mut self) {
        self.client.run(self.now);
        while let Some(frame) = self.client.sent() {
            let way = (Target::Engine(NORTH), Target::Client);
            self.send(self.scenario.client_link.to, way, frame);
        }
        self.client_wake = self.client.next(self.now);
    }

    pub(super) fn run_server(&mut self, port: PortId) {
        let place = &mut self.places[port.0 as usize - 1];
        let Some(end) = place.end.as_mut().filter(|_| !place.silent) else {
            return;
        };
        end.run(self.now);
        place.wake = end.next(self.now);
        let mut frames = Vec::new();
        while let Some(frame) = end.sent() {
            frames.push(frame);
        }
        for frame in frames {
            let way = (Target::Engine(port), Target::Server(port));
            self.send(self.scenario.server_link.to, way, frame);
        }
    }

    fn reach_server(&mut self, port: PortId, frame: Vec<u8>) {
        let at = port.0 as usize - 1;
        if self.places[at].silent {
            return;
        }
        if self.places[at].end.is_none() {
            self.places[at].end = Some(self.server(self.places[at].number));
        }
        if let Some(end) = &mut self.places[at].end {
            end.deliver(frame);
        }
        self.run_server(port);
    }

    fn all_done(&mut self) -> bool {
        while self.done < self.scenario.connections && self.client.done(self.done) {
            self.done += 1;
        }
        self.done == self.scenario.connections
    }

    /// When the next thing happens, other than a frame's arrival.
    fn next_wake(&self, logger: &Logger) -> Option<Time> {
        let servers = self.places.iter().filter(|place| !place.silent);
        let servers = servers.filter_map(|place| place.wake).min();
        let next = [self.client_wake, logger.next_timeout(), servers];
        let next = next.into_iter().flatten().min();
        next.map(|at| Time(at.0.max(self.now.0)))
    }

    fn arrival(&mut self, logger: &mut Logger, sent: &mut Sent, target: Target, frame: Vec<u8>) {
        let mut passed = false;
        match target {
            Target::Engine(port) => {
                self.trace("in", port, &frame);
                let mut frame = frame;
                passed = super::frames::is_wrong(&mut frame);
                if port == NORTH {
                    self.checker.sees_from_client(&mut frame);
                } else {
                    self.checker.sees_from_server(&mut frame, port);
                }
                if let Some((mut frame, offload)) = sent.receive(port, frame, !passed) {
                    logger.handle_frame(self.now, port, &mut frame, offload, sent);
                } else if std::mem::take(&mut sent.full) {
                    logger.handle_records(self.now, sent);
                }
            }
            Target::Client => {
                self.client.deliver(frame);
                self.run_client();
            }
            Target::Server(port) => self.reach_server(port, frame),
            Target::Failover => self.fail_over(logger, sent),
            Target::Rejoin(port) => self.rejoin(logger, sent, port),
        }
        self.take_sent(sent, passed);
    }

    fn timers(&mut self, logger: &mut Logger, sent: &mut Sent) {
        let now = self.now;
        if logger.next_timeout().is_some_and(|at| at <= now) {
            logger.handle_timeout(now, sent);
            self.take_sent(sent, false);
        }
        if self.client_wake.is_some_and(|at| at <= now) {
            self.run_client();
        }
        for port in 1..=self.places.len() as u32 {
            let place = &self.places[port as usize - 1];
            if !place.silent && place.wake.is_some_and(|at| at <= now) {
                self.run_server(PortId(port));
            }
        }
        // Nothing may ask to be woken at the same instant for ever.
        self.now = Time(now.0 + 1);
    }

    /// What an end had to object to, before it is forgotten.
    pub(super) fn note_violations(&mut self, port: PortId) {
        let place = &mut self.places[port.0 as usize - 1];
        if let Some(end) = &mut place.end {
            self.violations.extend(end.violations());
        }
    }

    fn check_memory(&mut self, logger: &Logger) {
        let (used, longest) = logger.memory();
        let (all, each) = (self.scenario.memory_bytes, self.scenario.buffer_bytes);
        if self.violations.is_empty() && (used > all || longest > each as usize) {
            let what = format!(
                "{used} bytes of memory are used, the bound is {all}; {longest} by one log, the bound is {each}"
            );
            self.violations.push(what);
        }
    }

    fn outcome(mut self, logger: &mut Logger, sent: &mut Sent, events: u64) -> Outcome {
        for port in 1..=self.places.len() as u32 {
            self.note_violations(PortId(port));
        }
        let clients = self.scenario.connections;
        let complete = (0..clients).filter(|&at| self.client.done(at)).count();
        let mut stalled = self.client.stalled(self.now);
        for place in &mut self.places {
            let end = place.end.as_mut().filter(|_| !place.silent);
            stalled |= end.is_some_and(|end| end.stalled(self.now));
        }
        let (cuts, mut violations) = (self.checker.cuts, self.checker.violations);
        violations.extend(self.violations);
        violations.extend(self.client.violations());
        let streams = self.client.clients();
        Outcome {
            events,
            streams: streams.iter().map(|client| client.stream.clone()).collect(),
            complete,
            end_stalled: complete < clients && stalled,
            cuts,
            violations,
            servers: self.started,
            carried_out: self.carried_out.get(),
            status: logger.status(self.now, sent).remove(0),
            log: self.log,
            took_us: self.now.0,
        }
    }
}

fn group(scenario: &Scenario, line: &[PortId]) -> GroupSpec {
    let services = if scenario.protect {
        vec![ServiceSpec {
            mask: vec!["Date".to_owned()],
            buffer_bytes: scenario.buffer_bytes,
            spill_bytes: scenario.spill.map_or(0, |_| 1 << 30),
            on_full: scenario.on_full,
            poison_deaths: scenario.poison_deaths,
            ..ServiceSpec::new(SERVICE_PORT, scenario.kind)
        }]
    } else {
        Vec::new()
    };
    let names: Vec<_> = line.iter().map(|&port| server_name(port)).collect();
    GroupSpec {
        name: GROUP.to_owned(),
        north: "north".to_owned(),
        active: names[0].clone(),
        standbys: names[1..].to_vec(),
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
    run_with(scenario, &Kinds::default())
}

/// The same with an engine that knows these kinds of services.
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn run_with(scenario: &Scenario, kinds: &Kinds) -> Outcome {
    let mut world = World::new(scenario);
    let spec = group(scenario, &world.line);
    let ports = ports(&spec);
    let mut sent = Sent {
        shortcut: scenario.shortcut.map(Shortcut::new),
        ..Sent::default()
    };
    let settings = Settings {
        kinds: kinds.clone(),
        shortcut: scenario.shortcut.is_some(),
        doze: Duration::from_micros(scenario.doze_us),
        journal: scenario.journal,
        spill: scenario.spill,
        memory_bytes: scenario.memory_bytes,
    };
    let mut logger = Logger::new(world.now, spec, ports, settings, &mut sent);
    let mut restarts = scenario.restarts.iter().peekable();
    let most_events = MAX_EVENTS * scenario.connections.max(1) as u64;
    let mut events = 0;
    world.run_client();
    while world.now < MAX_TIME && events < most_events && !world.all_done() {
        world.crash_if_due(events);
        world.upgrade_if_due(events, &mut logger, &mut sent);
        if restarts.next_if(|&&at| events >= at).is_some() {
            logger.restart(world.now, &mut sent);
            world.take_sent(&mut sent, false);
        }
        let arrival = world.queue.peek().map(|Reverse((at, ..))| *at);
        let wake = world.next_wake(&logger);
        let Some(next) = [arrival, wake].into_iter().flatten().min() else {
            break;
        };
        world.now = next.max(world.now);
        if arrival == Some(next)
            && let Some(Reverse((_, _, target, frame))) = world.queue.pop()
        {
            world.arrival(&mut logger, &mut sent, target, frame);
        } else {
            world.timers(&mut logger, &mut sent);
        }
        while let Some(event) = logger.poll_event() {
            world.log.push(format!("{} {event}", world.now.0));
        }
        world.check_memory(&logger);
        events += 1;
    }
    world.outcome(&mut logger, &mut sent, events)
}
