// SPDX-License-Identifier: GPL-3.0-only
//! What the engine writes to the journal, and when.
//!
//! Whatever the engine does, it does through [`Engine::journaled`]: the frames that it makes are held until the records
//! of what it has changed are written. What only an acknowledgement without data has changed can wait for a moment: a
//! logger that has lost it learns the same from the next segment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use crate::conn::StoredRef;
use crate::flow::{FlowKey, FlowState, Record, Route};
use crate::frame::{Frames, Offload, Output, PortId, Time};
use crate::journal::{Kind, Log, Writer};

/// How long a change without data may wait.
const LAZY: Duration = Duration::from_millis(10);
/// How often a group's counters are written.
const GROUPS: Duration = Duration::from_millis(200);
/// How many whole connections are written in one go while a new journal is being completed.
const SWEEP: usize = 16;
/// How exact the times are in the journal.
const TICK: Duration = Duration::from_millis(1);
/// Records of many connections are written in pieces of this size.
const PIECE: usize = 256 * 1024;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Recorder {
    writer: Writer,
    /// What is to be sent, in order.
    held: Vec<Send>,
    generation: u32,
    /// The next slot to be written whole, until all are.
    sweep: Option<usize>,
    /// Bytes written to this journal, and how many they were when it was complete.
    written: u64,
    complete: u64,
    tick: Time,
    /// Changes that wait since.
    waiting: Option<Time>,
    /// Digests of the groups as they are written.
    groups: BTreeMap<u32, u64>,
    groups_at: Time,
    /// A group has changed in more than its counters.
    pub(super) regroup: bool,
}

/// A frame that waits for the records.
#[derive(Debug)]
enum Send {
    Made(PortId, Vec<u8>, Offload),
    /// One of those that have come, by its number.
    Passed(PortId, usize),
}

impl Recorder {
    fn new() -> Self {
        Self {
            writer: Writer::default(),
            held: Vec::new(),
            generation: 0,
            sweep: None,
            written: 0,
            complete: 0,
            tick: Time::default(),
            waiting: None,
            groups: BTreeMap::new(),
            groups_at: Time::default(),
            regroup: false,
        }
    }

    /// When there is something to write at the latest.
    pub(super) fn due(&self) -> Option<Time> {
        if self.sweep.is_some() || self.regroup {
            return Some(self.tick);
        }
        self.waiting.map(|since| since.after(LAZY))
    }

    fn begin(&mut self, out: &mut dyn Output) {
        out.log(Log::Begin);
        self.generation += 1;
        self.sweep = Some(0);
        self.written = 0;
        self.tick = Time::default();
        self.groups.clear();
        self.regroup = true;
    }

    /// Writes what must be written now; everything that waits, if `all`.
    fn record(&mut self, now: Time, engine: &mut Engine, out: &mut dyn Output, all: bool) {
        // What is alive: at least what it was, or what the connections keep now.
        let alive = self.complete.max(engine.table.memory());
        if self.sweep.is_none() && self.written > 2 * alive + engine.config.journal_slack {
            self.begin(out);
        }
        let overdue = self.due().is_some_and(|due| due <= now);
        let made = self.held.iter().any(|it| matches!(it, Send::Made(..)));
        let whole = made || overdue || all;
        if !(whole || engine.table.has_urgent()) {
            self.note_waiting(now, engine);
            return;
        }
        if now < self.tick || now >= self.tick.after(TICK) {
            self.tick = now;
            self.number(Kind::Tick, &now);
        }
        if self.regroup || all || now >= self.groups_at.after(GROUPS) {
            self.write_groups(now, engine);
        }
        while let Some(slot) = engine.table.next_gone() {
            self.number(Kind::Gone, &(slot as u32));
        }
        while let Some(slot) = engine.table.next_urgent() {
            self.write_connection(slot, engine);
        }
        if whole {
            while let Some(slot) = engine.table.next_touched() {
                self.write_connection(slot, engine);
            }
            self.waiting = None;
        }
        self.note_waiting(now, engine);
        let complete = self.sweep_some(engine, out, all);
        self.flush(out);
        if complete {
            self.complete = self.written;
            out.log(Log::Complete);
        }
    }

    /// Sends what was held; `frames` are those that have come.
    fn send(&mut self, frames: &mut dyn Frames, out: &mut dyn Output) {
        for held in self.held.drain(..) {
            match held {
                Send::Made(port, frame, offload) => out.transmit(port, &frame, &offload),
                Send::Passed(port, index) => {
                    if let Some((frame, offload)) = frames.frame(index) {
                        out.transmit(port, frame, &offload);
                    }
                }
            }
        }
    }

    /// Writes a record that is a number, which always has a form.
    fn number(&mut self, kind: Kind, number: &impl serde::Serialize) {
        let _ = self.writer.put(kind, number, &[]);
    }

    fn note_waiting(&mut self, now: Time, engine: &Engine) {
        if engine.table.has_touched() {
            self.waiting.get_or_insert(now);
        }
    }

    fn flush(&mut self, out: &mut dyn Output) {
        if !self.writer.bytes().is_empty() {
            self.written += self.writer.bytes().len() as u64;
            out.log(Log::Records(self.writer.bytes()));
            self.writer.clear();
        }
    }

    fn write_groups(&mut self, now: Time, engine: &Engine) {
        self.regroup = false;
        self.groups_at = now;
        for index in 0..engine.groups.len() {
            let number = index as u32;
            if let Some(image) = engine.group_image(index) {
                let known = self.groups.get(&number).copied().unwrap_or(0);
                // Made of numbers and strings, none of which is without a form.
                if let Ok(digest) = self.writer.put_new(Kind::Group, &(number, image), known) {
                    self.groups.insert(number, digest);
                }
            } else if self.groups.remove(&number).is_some() {
                self.number(Kind::GroupEnd, &number);
            }
        }
    }

    fn write_connection(&mut self, slot: usize, engine: &mut Engine) {
        let Some(connection) = engine.table.peek(slot) else {
            return;
        };
        // One that was never protected is known again by its next segment.
        if connection.protected || connection.map.is_some() || connection.mark.generation != 0 {
            connection.journal(slot as u32, self.generation, &mut self.writer);
        } else {
            (connection.mark.touched, connection.mark.urgent) = (false, false);
        }
    }

    /// Goes on completing a new journal. Says whether that is done now.
    fn sweep_some(&mut self, engine: &mut Engine, out: &mut dyn Output, all: bool) -> bool {
        let Some(from) = self.sweep else {
            return false;
        };
        let end = engine.table.slots_end();
        let to = if all { end } else { end.min(from + SWEEP) };
        for slot in from..to {
            if let Some(dormant) = engine.table.dormant(slot)
                && dormant.journal != self.generation
                && dormant.protected()
            {
                dormant.journal = self.generation;
                let Some(connection) = engine.table.dormant_copy(slot) else {
                    continue;
                };
                let image = StoredRef::from(&connection);
                // It has nothing in the spill file that could be unreadable.
                let _ = self
                    .writer
                    .put(Kind::Connection, &(slot as u32, image), &[]);
            }
            if engine
                .table
                .peek(slot)
                .is_some_and(|it| it.mark.generation != self.generation)
            {
                self.write_connection(slot, engine);
                if self.writer.bytes().len() > PIECE {
                    self.flush(out);
                }
            }
        }
        self.sweep = (to < end).then_some(to);
        self.sweep.is_none()
    }
}

/// No frame has come.
struct Nothing;

impl Frames for Nothing {
    fn count(&self) -> usize {
        0
    }

    fn frame(&mut self, _: usize) -> Option<(&mut [u8], Offload)> {
        None
    }
}

/// Holds frames back; everything else goes on at once.
struct Held<'a> {
    frames: &'a mut Vec<Send>,
    out: &'a mut dyn Output,
}

impl Output for Held<'_> {
    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload) {
        self.frames.push(Send::Made(port, frame.to_vec(), *offload));
    }

    fn log(&mut self, log: Log<'_>) {
        self.out.log(log);
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
}

impl Engine {
    /// Does something, writes what it has changed, and only then sends what it wants sent.
    pub(super) fn journaled<R>(
        &mut self,
        now: Time,
        out: &mut dyn Output,
        action: impl FnOnce(&mut Self, &mut dyn Output) -> R,
    ) -> R {
        let Some(mut recorder) = self.recorder.take() else {
            let result = action(self, out);
            // Within another action, this is held until that one is written.
            out.release();
            return result;
        };
        let mut held = Held {
            frames: &mut recorder.held,
            out,
        };
        let result = action(self, &mut held);
        recorder.record(now, self, out, false);
        out.release();
        recorder.send(&mut Nothing, out);
        self.recorder = Some(recorder);
        result
    }

    /// Takes each of `frames` by `take`, which says where it is to go; writes what all of them have changed; and only
    /// then sends them and what was made because of them, in order.
    pub(super) fn journaled_frames(
        &mut self,
        now: Time,
        frames: &mut dyn Frames,
        out: &mut dyn Output,
        mut take: impl FnMut(&mut Self, &mut [u8], &Offload, &mut dyn Output) -> Option<PortId>,
    ) {
        let mut recorder = self.recorder.take();
        for index in 0..frames.count() {
            let Some((frame, offload)) = frames.frame(index) else {
                continue;
            };
            if let Some(recorder) = &mut recorder {
                let held = &mut recorder.held;
                let to = take(self, frame, &offload, &mut Held { frames: held, out });
                held.extend(to.map(|to| Send::Passed(to, index)));
            } else if let Some(to) = take(self, frame, &offload, out) {
                out.transmit(to, frame, &offload);
            }
        }
        if let Some(recorder) = &mut recorder {
            recorder.record(now, self, out, false);
            out.release();
            recorder.send(frames, out);
        } else {
            out.release();
        }
        self.recorder = recorder;
    }

    /// Begins to write everything to the journal ([`Output::log`]), starting with all that is known now.
    pub fn start_journal(&mut self, now: Time, out: &mut impl Output) {
        let mut recorder = Box::new(Recorder::new());
        self.table.start_journal();
        recorder.begin(out);
        recorder.record(now, self, out, true);
        self.recorder = Some(recorder);
    }

    /// Writes what has changed and was not urgent, and what a command has changed.
    pub fn sync_journal(&mut self, now: Time, out: &mut impl Output) {
        if let Some(mut recorder) = self.recorder.take() {
            recorder.record(now, self, out, true);
            self.recorder = Some(recorder);
        }
    }

    /// Writes nothing any more.
    pub fn stop_journal(&mut self) {
        self.recorder = None;
        self.table.stop_journal();
    }

    /// A group has changed: the journal is told at the next opportunity.
    pub(super) fn regrouped(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.regroup = true;
        }
    }
}
