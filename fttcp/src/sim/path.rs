// SPDX-License-Identifier: GPL-3.0-only
//! The data path below the engine: collects what is sent during one step, and forwards by itself if the scenario has a
//! fast path.

use crate::flow::shortcut::{Outcome as Fate, Shortcut};
use crate::flow::{FlowKey, FlowState, Record, Route};
use crate::frame::{Offload, Output, PortId};

/// See the module's text.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) frames: Vec<(PortId, Vec<u8>)>,
    pub(super) shortcut: Option<Shortcut>,
    /// The fast path had no room for a record: the engine is woken to take what there is.
    pub(super) full: bool,
}

impl Sent {
    /// A frame came in at `port`. Gives it back if the engine must see it. `whole`: its checksums are right.
    pub(super) fn receive(
        &mut self,
        port: PortId,
        mut frame: Vec<u8>,
        whole: bool,
    ) -> Option<(Vec<u8>, Offload)> {
        let Some(shortcut) = &mut self.shortcut else {
            return Some((frame, Offload::default()));
        };
        // The device verifies checksums, as most do.
        let offload = Offload {
            checksum_valid: whole,
            ..Offload::default()
        };
        match shortcut.receive(port, &mut frame, &offload) {
            Fate::Punt => return Some((frame, offload)),
            Fate::Drop => self.full = true,
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
