// SPDX-License-Identifier: GPL-3.0-only
//! What must hold on the client's link whatever happens, watched from outside the engine.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::frame::Offload;
use crate::stable::StableBuffer;
use crate::wire::{Flags, Segment, SeqNumber, locate};

#[derive(Debug, Default)]
struct Flow {
    isn: Option<SeqNumber>,
    logged: StableBuffer,
    fin: Option<u64>,
    scale: u8,
    right: Option<SeqNumber>,
    tsval: Option<u32>,
    /// The client was sent a SYN-ACK.
    answered: bool,
    /// The client was sent a FIN.
    ended: bool,
    /// It has been moved: segments are rewritten. Before that, smoltcp's own windows pass, whose edge goes back by
    /// less than one step of the scale.
    moved: bool,
}

/// Watches the frames that enter from, and leave for, the clients.
#[derive(Debug, Default)]
pub(super) struct Checker {
    flows: HashMap<SocketAddr, Flow>,
    /// Also that nothing goes backwards. Not so when the servers' links reorder: old segments pass as they are.
    in_order: bool,
    /// Windows are not held: once moved, no edge goes back by as much as rounding.
    exact: bool,
    pub(super) violations: Vec<String>,
}

impl Checker {
    pub(super) fn new(in_order: bool, exact: bool) -> Self {
        Self {
            in_order,
            exact,
            ..Self::default()
        }
    }

    /// Every connection that is open is being moved.
    pub(super) fn failover(&mut self) {
        for flow in self.flows.values_mut() {
            flow.moved |= flow.answered;
        }
    }

    pub(super) fn sees_from_client(&mut self, frame: &[u8]) {
        let mut copy = frame.to_vec();
        let Ok(layout) = locate(frame) else {
            return;
        };
        let Ok(segment) = Segment::parse(&mut copy, layout, &Offload::default()) else {
            return;
        };
        let head = segment.head();
        let flow = self.flows.entry(layout.src).or_default();
        if head.flags.has(Flags::SYN) && flow.isn != Some(head.seq) {
            *flow = Flow {
                isn: Some(head.seq),
                ..Flow::default()
            };
            return;
        }
        let Some(isn) = flow.isn else {
            return;
        };
        let at = head.seq.position(isn, flow.logged.stable());
        let Ok(at) = u64::try_from(at) else {
            return;
        };
        let fits = flow.logged.insert(at, segment.payload(), usize::MAX);
        debug_assert_eq!(fits, Ok(()));
        if head.flags.has(Flags::FIN) {
            flow.fin = Some(at + segment.payload().len() as u64);
        }
    }

    pub(super) fn sees_for_client(&mut self, frame: &[u8]) {
        let mut copy = frame.to_vec();
        let Ok(layout) = locate(frame) else {
            return;
        };
        let segment = match Segment::parse(&mut copy, layout, &Offload::default()) {
            Ok(segment) => segment,
            Err(error) => {
                self.violations.push(format!("sent a bad segment: {error}"));
                return;
            }
        };
        let head = *segment.head();
        let Some(flow) = self.flows.get_mut(&layout.dst) else {
            self.violations
                .push(format!("segment to {} from nowhere", layout.dst));
            return;
        };
        let Some(isn) = flow.isn else {
            return;
        };
        if head.flags.has(Flags::RST) && flow.ended && flow.fin.is_some() {
            // A server that has closed in the ordinary way answers late duplicates so.
            return;
        }
        if head.flags.has(Flags::RST) {
            self.violations
                .push(format!("reset reached {}", layout.dst));
            return;
        }
        flow.ended |= head.flags.has(Flags::FIN);
        let stable = flow.logged.stable();
        let stable = stable + u64::from(flow.fin == Some(stable));
        let acked = head.ack.position(isn, stable);
        if acked > stable.cast_signed() {
            self.violations
                .push(format!("acknowledged {acked}, but only {stable} is logged"));
        }
        let syn = head.flags.has(Flags::SYN);
        if syn {
            flow.answered = true;
            flow.scale = head.options.window_scale.unwrap_or(0);
        }
        let scale = if syn { 0 } else { flow.scale };
        let right = head.ack + (u32::from(head.window) << scale);
        let stamp = head.options.timestamps.map(|stamps| stamps.value);
        if self.in_order && !syn {
            if let Some(before) = flow.right
                && right.ahead_of(before)
                    < if flow.moved && self.exact {
                        0
                    } else {
                        1 - (1 << scale)
                    }
            {
                let back = -right.ahead_of(before);
                self.violations
                    .push(format!("the window's right edge went back by {back}"));
            }
            if let (Some(before), Some(now)) = (flow.tsval, stamp)
                && now.wrapping_sub(before).cast_signed() < 0
            {
                self.violations
                    .push(format!("timestamp went back from {before} to {now}"));
            }
        }
        if flow.tsval.is_some() && stamp.is_none() {
            self.violations
                .push("a segment lacks its timestamp".to_owned());
        }
        if !syn {
            flow.right = Some(right);
        }
        flow.tsval = stamp.or(flow.tsval);
    }
}
