// SPDX-License-Identifier: GPL-3.0-only
//! A connection that a replacement opened while others were awaited, and that is none of them.
//!
//! The logger answered in the peer's name before it could know, so it opens the connection at the peer only now, in
//! the server's name. What the peer answers must agree with what the server was told; its initial sequence number and
//! clock differ and are mapped. What the server says meanwhile is dropped; it repeats it.

use serde::{Deserialize, Serialize};

use super::{Adopted, Connection, Context, Mapping, Outbound, State, Verdict};
use crate::wire::{Flags, Head, OptionsRepr, Segment, SegmentRepr, SeqNumber, Timestamps};

/// What the server was told in the peer's name.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    isn: SeqNumber,
    tsval: u32,
    options: OptionsRepr,
    map: Mapping,
}

impl Connection {
    /// From the first segment with data. The peer will see the connection come from `port`.
    pub(crate) fn opened_late(
        (group, service): (usize, usize),
        segment: &Segment<'_>,
        port: u16,
        mut outbound: Outbound,
        adopted: &Adopted,
        cx: &Context<'_>,
    ) -> Self {
        outbound.seq_delta = adopted.isn.0;
        outbound.told = Some(Box::new(Told {
            isn: adopted.isn,
            tsval: adopted.tsval,
            options: adopted.told,
            map: Mapping {
                lead: 0,
                ts_delta: 0,
                ..adopted.map
            },
        }));
        let mut connection = Self::opened_by_server(group, service, segment, port, outbound, cx);
        let told = &adopted.told;
        let mut options = adopted.map.options;
        options.window_scale = options.window_scale.filter(|_| told.window_scale.is_some());
        options.timestamps = options.timestamps.filter(|_| told.timestamps.is_some());
        options.sack_permitted &= told.sack_permitted;
        connection.server.isn = adopted.map.isn;
        connection.server.options = options;
        connection.server.tsval = adopted.map.ts_last;
        connection.server.right = adopted.right;
        connection
    }

    /// The peer has still to answer.
    pub(super) fn opening_late(&self) -> bool {
        let told = self.outbound.as_ref().is_some_and(|it| it.told.is_some());
        told && self.state == State::Opening
    }

    /// The server says something before the peer has answered, once or again.
    pub(super) fn server_waits(&mut self, head: &Head, cx: &mut Context<'_>) -> Verdict {
        if head.flags.has(Flags::RST) {
            self.refused();
            return Verdict::Drop;
        }
        let stamps = Timestamps {
            value: self.server.tsval,
            echo: 0,
        };
        cx.send_north(&SegmentRepr {
            src: self.path.server,
            dst: self.path.client,
            tags: self.path.tags(),
            seq: self.server.isn,
            ack: SeqNumber(0),
            flags: Flags::SYN,
            window: self.server.right.min(u64::from(u16::MAX)) as u16,
            urgent: 0,
            options: OptionsRepr {
                timestamps: self.server.options.timestamps.map(|_| stamps),
                ..self.server.options
            },
            payload: &[],
        });
        Verdict::Drop
    }

    /// The peer has refused: so the server is told, as it knows the connection.
    pub(super) fn refuse_late(&mut self, cx: &mut Context<'_>) -> Verdict {
        self.refused();
        cx.send_south(&self.for_server(Flags::RST, 0, 0, &[]));
        Verdict::Drop
    }

    /// The peer has answered, and its half is known.
    pub(super) fn answered_late(&mut self, cx: &mut Context<'_>) -> Verdict {
        let told = self.outbound.as_ref().and_then(|it| it.told.as_deref());
        let Some(told) = told.copied() else {
            return Verdict::Forward;
        };
        let answer = &self.client.options;
        let same_scale = told.options.window_scale == answer.window_scale.filter(|_| self.scaled());
        let agrees = same_scale
            && told.options.timestamps.is_some() == self.stamped()
            && told.options.sack_permitted <= answer.sack_permitted
            && told.options.mss.unwrap_or(536) <= answer.mss.unwrap_or(536);
        let (isn, tsval) = (self.client.isn, self.client.tsval);
        if let Some(outbound) = &mut self.outbound {
            outbound.told = None;
            outbound.seq_delta = told.isn.0.wrapping_sub(isn.0);
            outbound.ts_delta = told.tsval.wrapping_sub(tsval);
        }
        self.map = Some(told.map);
        if agrees {
            self.ack_client(cx);
        } else {
            self.reset_client(cx);
            cx.send_south(&self.for_server(Flags::RST, 0, 0, &[]));
            self.refused();
        }
        Verdict::Drop
    }
}
