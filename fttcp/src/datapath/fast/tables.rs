// SPDX-License-Identifier: GPL-3.0-only
//! What the program is told and asked while it runs: routes, services, connections, records, and that we are there.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use aya::programs::{TestRun, TestRunOptions};
use rustix::time::{ClockId, clock_gettime};

use super::maps::{self, KEY, LOCKED};
use super::{FastPath, classifier};
use crate::control::FastTotals;
use crate::flow::{FlowKey, FlowState, Record, Side, flag};

/// How often the program is told that we are there, and for how long it believes it.
const ATTEND: Duration = Duration::from_millis(250);
const BELIEVED: Duration = Duration::from_secs(2);

/// Shortest time between two looks at the ring, unless the program wakes us; the longest is [`ATTEND`]. Records are
/// safe in the ring: a look costs those who use the processor more than it brings.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(100);

/// The ring wakes us when this part of it is unread.
const WAKE_PART: u32 = 8;

impl FastPath {
    /// Tells what is to become of the frames of the interface `index`.
    pub(in super::super) fn close_port(&mut self, index: u32) {
        let _ = self.ports.insert(index, maps::CLOSED, 0);
    }

    /// Tells that every frame of the interface `index` is for us, and is dropped while we are not there.
    pub(in super::super) fn watch_port(&mut self, index: u32) {
        let _ = self.ports.insert(index, maps::WATCHED, 0);
    }

    /// Frames that come in at `index` go out at `peer`.
    pub(in super::super) fn join(&mut self, index: u32, peer: u32, group: u32, side: Side) {
        let _ = self
            .ports
            .insert(index, maps::forward(peer, group, side), 0);
    }

    /// See [`crate::frame::Output::services`]. Port 0 stands for all.
    pub(in super::super) fn services(&mut self, group: u32, ports: &[u16], outbound: bool) {
        let mut wanted: Vec<u32> = ports.iter().copied().map(u32::from).collect();
        if outbound {
            wanted.push(0);
        }
        wanted.sort_unstable();
        let before = self.known.insert(group, wanted.clone()).unwrap_or_default();
        // Both in order: with thousands of ports, each one more costs little.
        let missing = |all: &[u32], port: &u32| all.binary_search(port).is_err();
        for port in wanted.iter().filter(|port| missing(&before, port)) {
            let _ = self.services.insert([group, *port], 1, 0);
        }
        for port in before.iter().filter(|port| missing(&wanted, port)) {
            let _ = self.services.remove(&[group, *port]);
        }
    }

    /// Takes a connection; false: there is no room.
    pub(in super::super) fn offload(&mut self, key: &FlowKey, state: &FlowState) -> bool {
        let key = maps::key(key);
        self.taken.retain(|taken| *taken != key);
        self.look = FIRST_LOOK;
        self.flows.insert(key, maps::flow(&key, state), 0).is_ok()
    }

    /// The state of a connection, which stays.
    pub(in super::super) fn peek(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.get(&maps::key(key))
    }

    fn get(&self, key: &[u32; KEY]) -> Option<FlowState> {
        Some(maps::state(&self.flows.get(key, LOCKED).ok()?))
    }

    /// Takes a connection back. The program stops first to handle it, or a segment could pass between the look at its
    /// state and its removal. One that was handed to us it does not handle anyway.
    pub(in super::super) fn reclaim(&mut self, key: &FlowKey) -> Option<FlowState> {
        let key = maps::key(key);
        if self.taken.contains(&key) {
            return None;
        }
        let mut state = self.get(&key)?;
        if state.flags & flag::PUNTED == 0 {
            self.stop(&key);
            state = self.get(&key)?;
            state.flags &= !flag::PUNTED;
        }
        self.taken.push(key);
        Some(state)
    }

    fn stop(&mut self, key: &[u32; KEY]) {
        let frame = maps::key_frame(key);
        if let Ok(program) = classifier(&mut self.program, "stop") {
            let _ = program.test_run(TestRunOptions {
                data_in: Some(&frame),
                ..TestRunOptions::new()
            });
        }
    }

    /// The connections that the maps hold: after a start, those of the logger before us.
    pub(in super::super) fn connections(&self) -> Vec<FlowKey> {
        let keys = self.flows.keys().filter_map(Result::ok);
        keys.map(|key| maps::flow_key(&key)).collect()
    }

    /// Lets `each` read the records that wait.
    pub(in super::super) fn records(&mut self, each: &mut dyn FnMut(&Record<'_>)) {
        let mut any = false;
        while let Some(item) = self.ring.next() {
            any = true;
            if let Some(record) = Record::parse(item) {
                each(&record);
            }
        }
        self.look = if any {
            FIRST_LOOK
        } else {
            (self.look * 2).min(ATTEND)
        };
    }

    /// What was read, and the last states of connections that were taken back, is kept elsewhere now.
    pub(in super::super) fn release(&mut self) {
        self.ring.release();
        for key in self.taken.drain(..) {
            let _ = self.flows.remove(&key);
        }
    }

    /// What wakes an event loop when much is unread; each time once.
    pub(in super::super) fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Tells the program that we are there, if it is time to; says when to look at the ring and to call again.
    pub(in super::super) fn attend(&mut self) -> Duration {
        let now = Instant::now();
        let due = |attended: Instant| now.duration_since(attended) >= ATTEND;
        if self.attended.is_none_or(due) {
            self.attended = Some(now);
            // The clock of the kernel's bpf_ktime_get_ns.
            let time = clock_gettime(ClockId::Monotonic);
            let until = Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32) + BELIEVED;
            self.tell(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX));
        }
        self.look
    }

    /// Tells the program that we go, so that it does at once what it does without us.
    pub(in super::super) fn leave(&mut self) {
        self.tell(0);
    }

    fn tell(&mut self, alive_until: u64) {
        let wake_at = self.settings.ring / WAKE_PART;
        let fail_open = u32::from(self.settings.fail_open);
        // Two 32-bit fields in the order of memory.
        let [a, b] = [wake_at, fail_open].map(u32::to_ne_bytes);
        let fields = u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]);
        let _ = self.control.set(0, [alive_until, fields], 0);
    }

    /// The program's totals.
    pub(in super::super) fn totals(&self) -> FastTotals {
        let total = |index: u32| -> u64 {
            self.stats
                .get(&index, 0)
                .map_or(0, |values| values.iter().sum())
        };
        FastTotals {
            forwarded: total(0),
            punted: total(1),
            ring_full: total(2),
            closed: total(3),
            unattended: total(4),
            unprotected: total(5),
        }
    }
}
