// SPDX-License-Identifier: GPL-3.0-only
//! What a connection is given along with a segment: time, ways out, its service, and where to report.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Masks, Unsaid};
use crate::control::{Counters, FailoverStatus, OnFull, ServiceSpec, UpgradeStatus, Verify};
use crate::engine::{Commits, Event};
use crate::frame::{Offload, Output, PortId, Time};
use crate::service::Maker;
use crate::stable::Store;
use crate::wire::{SegmentRepr, TooBigRepr};

/// A service of a group, made ready for use.
#[derive(Debug)]
pub(crate) struct ProtectedService {
    pub(crate) spec: ServiceSpec,
    pub(crate) masks: Masks,
    pub(crate) make: Maker,
    pub(crate) unsaid: Unsaid,
    /// A replacement's program is replayed from its beginning, and remembers what it was told: it must not be told again on
    /// another connection.
    pub(crate) remembers: bool,
}

/// A failover under way or done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) group: String,
    pub(crate) status: FailoverStatus,
    pub(crate) started: Time,
    pub(crate) pending: u64,
}

impl Progress {
    pub(crate) fn since(&self, now: Time) -> u64 {
        now.since(self.started).as_micros() as u64
    }

    /// One connection less to move. `waited`: its client was waited for.
    pub(crate) fn settle(&mut self, waited: bool, now: Time, events: &mut Events) {
        self.pending = self.pending.saturating_sub(1);
        self.status.waiting = self.status.waiting.saturating_sub(u64::from(waited));
        self.check_done(now, events);
    }

    /// For one connection more, its client is waited for.
    pub(crate) fn wait(&mut self, now: Time, events: &mut Events) {
        self.status.waiting += 1;
        self.check_done(now, events);
    }

    /// Connections for which something can be done.
    pub(crate) const fn under_way(&self) -> u64 {
        self.pending.saturating_sub(self.status.waiting)
    }

    pub(crate) fn check_done(&mut self, now: Time, events: &mut Events) {
        if self.under_way() == 0 && self.status.done_us.is_none() {
            let took_us = self.since(now);
            self.status.done_us = Some(took_us);
            events.push(Event::FailoverDone {
                group: self.group.clone(),
                number: self.status.number,
                recovered: self.status.recovered,
                lost: self.status.lost,
                waiting: self.status.waiting,
                took_us,
            });
        }
    }
}

/// The events not yet polled, up to a bound.
#[derive(Debug)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    bound: usize,
}

impl Events {
    pub(crate) const fn new(bound: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            bound,
        }
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.queue.len() < self.bound {
            self.queue.push_back(event);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }
}

/// What every step needs besides: where reports go, and a buffer in which frames are made.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) events: Events,
    pub(crate) scratch: Vec<u8>,
}

impl Desk {
    /// An empty one that keeps so many events.
    pub(crate) const fn new(max_events: usize) -> Self {
        Self {
            events: Events::new(max_events),
            scratch: Vec::new(),
        }
    }
}

/// See the module's text.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) out: &'a mut dyn Output,
    pub(crate) north: PortId,
    /// Towards the connection's server.
    pub(crate) south: PortId,
    /// An upgrade moves connections away from that server.
    pub(crate) leaving: bool,
    /// An upgrade is under way: there is another living server.
    pub(crate) pair: bool,
    pub(crate) service: &'a ProtectedService,
    pub(crate) counters: &'a mut Counters,
    pub(crate) progress: Option<&'a mut Progress>,
    /// The upgrade under way or last done.
    pub(crate) upgrade: Option<&'a mut UpgradeStatus>,
    /// The number of the connection's server.
    pub(crate) number: u32,
    /// What servers are asked to bring to their disks.
    pub(crate) commits: &'a mut Commits,
    pub(crate) events: &'a mut Events,
    pub(crate) scratch: &'a mut Vec<u8>,
    /// The data path can forward connections by itself.
    pub(crate) shortcut: bool,
    /// Where long logs go.
    pub(crate) spill: Option<&'a Store>,
}

impl Context<'_> {
    /// Whether of what a server sends only parts are remembered.
    pub(crate) const fn sampled(&self) -> bool {
        match self.service.spec.verify {
            Verify::Full => false,
            Verify::Sampled => true,
            // A window can be held in the engine only, which then sees every byte in any case.
            Verify::Auto => self.shortcut && !matches!(self.service.spec.on_full, OnFull::Hold),
        }
    }

    /// Builds the segment and sends it to the client.
    pub(crate) fn send_north(&mut self, segment: &SegmentRepr<'_>) {
        segment.emit(self.scratch);
        self.out
            .transmit(self.north, self.scratch, &Offload::default());
    }

    /// Builds the segment and sends it to the server.
    pub(crate) fn send_south(&mut self, segment: &SegmentRepr<'_>) {
        segment.emit(self.scratch);
        self.out
            .transmit(self.south, self.scratch, &Offload::default());
    }

    /// Builds the ICMP error and sends it to the server.
    pub(crate) fn send_south_icmp(&mut self, error: &TooBigRepr<'_>) {
        error.emit(self.scratch);
        self.out
            .transmit(self.south, self.scratch, &Offload::default());
    }

    /// Builds the ICMP error and sends it to the client.
    pub(crate) fn send_north_icmp(&mut self, error: &TooBigRepr<'_>) {
        error.emit(self.scratch);
        self.out
            .transmit(self.north, self.scratch, &Offload::default());
    }

    /// A byte that no client had been sent before leaves.
    pub(crate) fn new_byte(&mut self) {
        if let Some(progress) = &mut self.progress
            && progress.status.first_new_byte_us.is_none()
        {
            progress.status.first_new_byte_us = Some(progress.since(self.now));
        }
    }
}
