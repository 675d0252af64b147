// SPDX-License-Identifier: GPL-3.0-only
//! The logger's process: the engine with a clock of its own, which begins anew with each process.

use std::time::Duration;

use super::{MemorySpill, SpillPlan};
use crate::control::GroupSpec;
use crate::engine::{Engine, EngineConfig, EngineError, Event, GroupPorts, Image};
use crate::flow::{FlowKey, FlowState, Record, Route};
use crate::frame::{Offload, Output, PortId, Time};
use crate::journal::{self, Log, Replay};
use crate::service::Kinds;

/// What a process's clock shows when it takes over.
const BOOT: Time = Time(5000);

/// A command of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To this port; what is left after so many microseconds is replayed.
    Begin(PortId, u64),
    Rollback,
    Finish,
}

/// Small, so that journals are begun often.
const JOURNAL_SLACK: u64 = 2000;

/// See the module's text.
pub(super) struct Logger {
    engine: Engine,
    started: Time,
    settings: Settings,
    journal: Option<Files>,
    /// Frames that have come to this process.
    frames: u32,
}

/// With what each process is started.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) kinds: Kinds,
    pub(super) shortcut: bool,
    pub(super) doze: Duration,
    pub(super) journal: bool,
    pub(super) spill: Option<SpillPlan>,
    pub(super) memory_bytes: u64,
}

/// The journal, and the one that it continues.
#[derive(Debug, Default)]
struct Files {
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Frames go on, records into the files.
struct Split<'a, O> {
    out: &'a mut O,
    files: Option<&'a mut Files>,
}

impl<O: Output> Output for Split<'_, O> {
    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload) {
        self.out.transmit(port, frame, offload);
    }

    fn route(&mut self, port: PortId, route: Route) {
        self.out.route(port, route);
    }

    fn services(&mut self, group: u32, ports: &[u16], outbound: bool) {
        self.out.services(group, ports, outbound);
    }

    fn offload(&mut self, key: &FlowKey, state: &FlowState) -> bool {
        self.out.offload(key, state)
    }

    fn peek(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.out.peek(key)
    }

    fn reclaim(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.out.reclaim(key)
    }

    fn records(&mut self, each: &mut dyn FnMut(&Record<'_>)) {
        self.out.records(each);
    }

    fn log(&mut self, log: Log<'_>) {
        let Some(files) = &mut self.files else {
            return;
        };
        match log {
            Log::Begin => {
                assert!(files.old.is_empty(), "the new journal was not complete");
                files.old = std::mem::replace(&mut files.new, journal::header().to_vec());
            }
            Log::Records(records) => files.new.extend_from_slice(records),
            Log::Complete => files.old.clear(),
        }
    }
}

impl Files {
    fn read(&self) -> Image {
        let mut replay = Replay::new();
        for file in [&self.old, &self.new] {
            replay.read(file).expect("a journal is whole");
        }
        replay.finish().expect("a journal is sound")
    }
}

impl Logger {
    pub(super) fn new(
        now: Time,
        spec: GroupSpec,
        ports: GroupPorts,
        settings: Settings,
        out: &mut impl Output,
    ) -> Self {
        let mut engine = engine(&settings);
        engine
            .add_group(spec, ports)
            .expect("a fresh engine takes a group");
        engine.announce(out);
        let mut logger = Self {
            engine,
            started: now,
            settings,
            journal: None,
            frames: 0,
        };
        if logger.settings.journal {
            logger.start_journal(now, out);
        }
        logger
    }

    fn start_journal(&mut self, now: Time, out: &mut impl Output) {
        let now = self.clock(now);
        let mut split = Split {
            out,
            files: Some(self.journal.insert(Files::default())),
        };
        self.engine.start_journal(now, &mut split);
    }

    fn clock(&self, now: Time) -> Time {
        now.moved(self.started, BOOT)
    }

    /// The process ends, and another takes in what it has left.
    pub(super) fn restart(&mut self, now: Time, out: &mut impl Output) {
        let left = self.engine.export(self.clock(now));
        let image = Image::parse(&left).expect("an engine understands itself");
        let image = self.journal.as_ref().map_or(image, Files::read);
        let journal = self.journal.is_some();
        *self = Self {
            engine: engine(&self.settings),
            started: now,
            settings: self.settings.clone(),
            journal: None,
            frames: 0,
        };
        self.engine
            .import(self.clock(now), image, |spec| Some(ports(spec)), out)
            .expect("a fresh engine takes in an image");
        if journal {
            self.start_journal(now, out);
        }
    }

    pub(super) fn handle_frame(
        &mut self,
        now: Time,
        port: PortId,
        frame: &mut [u8],
        offload: Offload,
        out: &mut impl Output,
    ) {
        let now = self.clock(now);
        let files = self.journal.as_mut();
        let mut split = Split { out, files };
        self.engine.handle_records(now, &mut split);
        self.engine
            .handle_frame(now, port, frame, offload, &mut split);
        // Now and then others wait behind this one.
        self.frames = self.frames.wrapping_add(1);
        self.engine
            .settle(now, self.frames.is_multiple_of(3), &mut split);
    }

    /// Takes what the fast path has copied out.
    pub(super) fn handle_records(&mut self, now: Time, out: &mut impl Output) {
        let now = self.clock(now);
        let files = self.journal.as_mut();
        self.engine.handle_records(now, &mut Split { out, files });
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut impl Output) {
        let now = self.clock(now);
        let files = self.journal.as_mut();
        let mut split = Split { out, files };
        self.engine.handle_records(now, &mut split);
        self.engine.handle_timeout(now, &mut split);
    }

    pub(super) fn failover(
        &mut self,
        now: Time,
        group: &str,
        out: &mut impl Output,
    ) -> Result<PortId, EngineError> {
        let now = self.clock(now);
        let files = self.journal.as_mut();
        let mut split = Split { out, files };
        self.engine.failover(now, 0, group, "simulated", &mut split)
    }

    /// As [`Logger::failover`], of the server at this port.
    pub(super) fn server_died(
        &mut self,
        now: Time,
        (group, port): (&str, PortId),
        out: &mut impl Output,
    ) -> Result<PortId, EngineError> {
        let now = self.clock(now);
        let files = self.journal.as_mut();
        let mut split = Split { out, files };
        let name = server_name(port);
        self.engine
            .server_died(now, 0, (group, &name), "simulated", &mut split)
    }

    /// One of the commands of an upgrade.
    pub(super) fn planned(
        &mut self,
        now: Time,
        group: &str,
        step: Step,
        out: &mut impl Output,
    ) -> Result<(), EngineError> {
        let now = self.clock(now);
        let files = self.journal.as_mut();
        let mut split = Split { out, files };
        match step {
            Step::Begin(to, drain_us) => {
                let drain_ms = (drain_us / 1000) as u32;
                self.engine
                    .upgrade(now, group, &server_name(to), drain_ms, &mut split)
            }
            Step::Rollback => self.engine.rollback(now, group, &mut split),
            Step::Finish => self.engine.finish(now, group, &mut split).map(drop),
        }
    }

    /// The ports of the servers that may be sent something now: the active one's, and that of one which is left.
    pub(super) fn lit(&self) -> [Option<PortId>; 2] {
        let status = self.engine.status(None, false).remove(0);
        let all = ports(&status.spec);
        let two = status
            .upgrade
            .is_some_and(|upgrade| upgrade.ended.is_none());
        let left = all.standbys.first().copied().filter(|_| two);
        [Some(all.active), left]
    }

    pub(super) fn add_standby(
        &mut self,
        now: Time,
        group: &str,
        port: PortId,
        out: &mut impl Output,
    ) {
        self.engine
            .add_standby(group, server_name(port), port)
            .expect("the port of a dead server is free");
        // As the daemon does in the same round; not before it has answered, but who asked would ask again.
        if self.journal.is_some() {
            self.handle_timeout(now, out);
        }
    }

    /// Memory that the engine uses for the bytes that it keeps, and its bound.
    /// Memory of all connections, and of the longest log of one.
    pub(super) fn memory(&self) -> (u64, usize) {
        (self.engine.memory(), self.engine.longest_log())
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let next = self.engine.next_timeout()?;
        Some(next.moved(BOOT, self.started))
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.engine.poll_event()
    }

    pub(super) fn status(
        &mut self,
        now: Time,
        out: &mut impl Output,
    ) -> Vec<crate::control::GroupStatus> {
        self.engine.refresh(self.clock(now), out);
        self.engine.status(None, true)
    }
}

fn engine(settings: &Settings) -> Engine {
    let mut engine = Engine::new(EngineConfig {
        shortcut: settings.shortcut,
        doze_after: settings.doze,
        journal_slack: JOURNAL_SLACK,
        kinds: settings.kinds.clone(),
        memory_bytes: settings.memory_bytes,
        ..EngineConfig::default()
    });
    if let Some(plan) = settings.spill {
        engine.set_spill(Box::new(MemorySpill::new(plan)));
    }
    engine
}

/// The name of a server's interface.
pub(super) fn server_name(port: PortId) -> String {
    format!("server{}", port.0 - 1)
}

/// The ports of the simulated interfaces: `north` and `server` with a number.
pub(super) fn ports(spec: &GroupSpec) -> GroupPorts {
    let port = |interface: &String| {
        let number = interface.strip_prefix("server");
        PortId(number.map_or(0, |number| number.parse::<u32>().expect("a number") + 1))
    };
    GroupPorts {
        north: port(&spec.north),
        active: port(&spec.active),
        standbys: spec.standbys.iter().map(port).collect(),
    }
}
