// SPDX-License-Identifier: GPL-3.0-only
//! The logger's process: the engine with a clock of its own, which begins anew with each process.

use crate::control::GroupSpec;
use std::time::Duration;

use crate::engine::{Engine, EngineConfig, EngineError, Event, GroupPorts, Image};
use crate::frame::{Offload, Output, PortId, Time};

/// What a process's clock shows when it takes over.
const BOOT: Time = Time(5000);

/// See the module's text.
pub(super) struct Logger {
    engine: Engine,
    started: Time,
    shortcut: bool,
    doze: Duration,
}

impl Logger {
    pub(super) fn new(
        now: Time,
        spec: GroupSpec,
        ports: GroupPorts,
        shortcut: bool,
        doze: Duration,
        out: &mut impl Output,
    ) -> Self {
        let mut engine = engine(shortcut, doze);
        engine
            .add_group(spec, ports)
            .expect("a fresh engine takes a group");
        engine.announce(out);
        Self {
            engine,
            started: now,
            shortcut,
            doze,
        }
    }

    fn clock(&self, now: Time) -> Time {
        now.moved(self.started, BOOT)
    }

    /// The process ends, and another takes in what it has left.
    pub(super) fn restart(&mut self, now: Time, out: &mut impl Output) {
        let left = self.engine.export(self.clock(now));
        let image = Image::parse(&left).expect("an engine understands itself");
        *self = Self {
            engine: engine(self.shortcut, self.doze),
            started: now,
            shortcut: self.shortcut,
            doze: self.doze,
        };
        self.engine
            .import(self.clock(now), image, |spec| Some(ports(spec)), out)
            .expect("a fresh engine takes in an image");
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
        self.engine.handle_records(now, out);
        self.engine.handle_frame(now, port, frame, offload, out);
        self.engine.settle(now, out);
    }

    /// Takes what the fast path has copied out.
    pub(super) fn handle_records(&mut self, now: Time, out: &mut impl Output) {
        let now = self.clock(now);
        self.engine.handle_records(now, out);
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut impl Output) {
        let now = self.clock(now);
        self.engine.handle_records(now, out);
        self.engine.handle_timeout(now, out);
    }

    pub(super) fn failover(
        &mut self,
        now: Time,
        group: &str,
        out: &mut impl Output,
    ) -> Result<PortId, EngineError> {
        let now = self.clock(now);
        self.engine.failover(now, 0, group, "simulated", out)
    }

    pub(super) fn add_standby(&mut self, group: &str, port: PortId) {
        self.engine
            .add_standby(group, server_name(port), port)
            .expect("the port of a dead server is free");
    }

    /// Memory that the engine uses for the bytes that it keeps, and its bound.
    pub(super) fn memory(&self) -> (u64, u64) {
        (self.engine.memory(), EngineConfig::default().memory_bytes)
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

fn engine(shortcut: bool, doze_after: Duration) -> Engine {
    Engine::new(EngineConfig {
        shortcut,
        doze_after,
        ..EngineConfig::default()
    })
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
