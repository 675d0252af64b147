// SPDX-License-Identifier: GPL-3.0-only
//! A fast path in software: what the kernel's programs and maps do with a frame, for the simulation and for tests.

use std::collections::{HashMap, VecDeque};

use super::model::{self, Action};
use super::{FlowKey, FlowState, Record, RecordKind, Route, Side};
use crate::frame::{Offload, PortId};
use crate::wire::{Segment, locate};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The engine must see it.
    Punt,
    /// It is gone.
    Drop,
    /// It goes out of this port.
    Forward(PortId),
}

#[derive(Clone, Debug)]
struct Kept {
    slot: u32,
    generation: u32,
    kind: RecordKind,
    at: u64,
    seen: u64,
    data: Vec<u8>,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Shortcut {
    routes: HashMap<PortId, Route>,
    services: HashMap<u32, (Vec<u16>, bool)>,
    flows: HashMap<FlowKey, FlowState>,
    records: VecDeque<Kept>,
    used: usize,
    room: usize,
}

impl Shortcut {
    /// A fast path whose records may take `room` bytes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self {
            routes: HashMap::new(),
            services: HashMap::new(),
            flows: HashMap::new(),
            records: VecDeque::new(),
            used: 0,
            room,
        }
    }

    /// See [`crate::frame::Output::route`].
    pub fn route(&mut self, port: PortId, route: Route) {
        self.routes.insert(port, route);
    }

    /// See [`crate::frame::Output::services`].
    pub fn services(&mut self, group: u32, ports: &[u16], outbound: bool) {
        self.services.insert(group, (ports.to_vec(), outbound));
    }

    /// See [`crate::frame::Output::offload`].
    pub fn offload(&mut self, key: &FlowKey, state: &FlowState) {
        self.flows.insert(*key, state.clone());
    }

    /// See [`crate::frame::Output::peek`].
    #[must_use]
    pub fn peek(&self, key: &FlowKey) -> Option<FlowState> {
        self.flows.get(key).cloned()
    }

    /// See [`crate::frame::Output::reclaim`].
    pub fn reclaim(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.flows.remove(key)
    }

    /// See [`crate::frame::Output::records`].
    pub fn records(&mut self, each: &mut dyn FnMut(&Record<'_>)) {
        self.used = 0;
        for kept in self.records.drain(..) {
            each(&Record {
                slot: kept.slot,
                generation: kept.generation,
                kind: kept.kind,
                at: kept.at,
                seen: kept.seen,
                data: &kept.data,
            });
        }
    }

    /// Takes a frame that came in at `port`; it may be rewritten.
    pub fn receive(&mut self, port: PortId, frame: &mut [u8], offload: &Offload) -> Outcome {
        let (to, group, side) = match self.routes.get(&port) {
            None | Some(Route::Watched) => return Outcome::Punt,
            Some(Route::Closed) => return Outcome::Drop,
            Some(&Route::Forward { to, group, side }) => (to, group, side),
        };
        let Ok(layout) = locate(frame) else {
            return Outcome::Punt;
        };
        let (client, server) = match side {
            Side::North => (layout.src, layout.dst),
            Side::South => (layout.dst, layout.src),
        };
        let key = FlowKey {
            group,
            client,
            server,
        };
        let Some(state) = self.flows.get_mut(&key) else {
            let none = (Vec::new(), false);
            let (ports, outbound) = self.services.get(&group).unwrap_or(&none);
            return if *outbound || ports.contains(&server.port()) {
                Outcome::Punt
            } else {
                Outcome::Forward(to)
            };
        };
        let trusted = offload.partial_checksum.is_some() || offload.checksum_valid;
        let Ok(mut segment) = Segment::parse(frame, layout, offload) else {
            return Outcome::Punt;
        };
        let (records, used, room) = (&mut self.records, &mut self.used, self.room);
        let action = model::pass(side, state, &mut segment, trusted, &mut |record| {
            let length = super::RECORD_HEADER + record.data.len();
            if *used + length > room {
                return false;
            }
            *used += length;
            records.push_back(Kept {
                slot: record.slot,
                generation: record.generation,
                kind: record.kind,
                at: record.at,
                seen: record.seen,
                data: record.data.to_vec(),
            });
            true
        });
        match action {
            Action::Forward => Outcome::Forward(to),
            Action::Punt => Outcome::Punt,
        }
    }
}
