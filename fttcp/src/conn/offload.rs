// SPDX-License-Identifier: GPL-3.0-only
//! Handing a connection to the fast path, and taking it back.
//!
//! What the fast path may have: a connection on which nothing is pending, and of which only parts need be remembered.
//! While it has it, its word counts; all of its numbers only rise, so that what the engine knew before is never lost.

use super::{Connection, Context, Sent, State};
use crate::control::OnFull;
use crate::flow::{FlowState, Record, RecordKind, SAMPLE_EVERY, flag};
use crate::wire::SeqNumber;

/// How many segments a client must have sent before the fast path gets its connection. A short one is over sooner than
/// the trouble is worth, and the client's round trip is measured meanwhile.
pub(super) const AT_FIRST: u8 = 4;

/// How many ordinary segments must pass before a connection that the fast path gave back is given to it again.
const CALM: u8 = 8;

/// `base`, moved as `to` lies from `from` (RFC 9293 section 3.4).
fn moved(base: u64, from: u32, to: u32) -> u64 {
    base.saturating_add_signed(to.wrapping_sub(from).cast_signed().into())
}

impl Connection {
    /// Whether the fast path may have it now; asked after each segment.
    pub(crate) fn may_offload(&mut self, cx: &Context<'_>) -> bool {
        let calm = self.calm == 0;
        self.calm = self.calm.saturating_sub(1);
        let parts = !self.protected
            || match &self.sent {
                Sent::Full(_) => false,
                Sent::Sampled(_) => self.sent.values().next().is_none() && !self.log.has_gap(),
            };
        let told = cx
            .progress
            .as_ref()
            .is_none_or(|progress| progress.status.first_new_byte_us.is_some());
        // The fast path does not close windows.
        let open = !self.protected || cx.service.spec.on_full != OnFull::Hold;
        // What it would have to know of a connection that the server opened: see `outbound`. It rewrites no port. Whatever
        // comes from the north it sends to the active server, which is another one while an upgrade is under way.
        !cx.leaving
            && !self.steps_aside(cx)
            && self.outbound.is_none()
            && self.south_port.is_none()
            && !self.plugin.as_ref().is_some_and(|plugin| plugin.sees_all())
            && calm
            && parts
            && told
            && open
            && self.state == State::Established
            && (self.client.heard || !self.protected)
            && self.hold.is_none()
            && self.recovery.is_none()
            && self.uncommitted.is_none()
            && self.scale_for_present() == self.client_scale()
            && self.client.fin.is_none()
            && self.server.fin.is_none()
    }

    /// Its state for the fast path.
    pub(crate) fn flow_state(&mut self, slot: usize) -> FlowState {
        let client_at = |position| SeqNumber::at(self.client.isn, position).0;
        let server_at = |position| SeqNumber::at(self.server.isn, position).0;
        let client_pos = if self.protected {
            self.log.stable()
        } else {
            self.client.acked
        };
        let mut flags = 0;
        for (set, bit) in [
            (self.protected, flag::LOG),
            (self.stamped(), flag::STAMPED),
            (self.map.is_some(), flag::MAPPED),
        ] {
            flags |= if set { bit } else { 0 };
        }
        let mut state = FlowState {
            slot: slot as u32,
            generation: self.generation,
            flags,
            scales: [
                self.client_scale(),
                self.server_scale(),
                self.present_scale(),
            ],
            client_next: client_at(client_pos),
            client_tsval: self.client.tsval,
            client_right: server_at(self.client.right),
            server_una: server_at(self.server.una),
            server_next: server_at(self.server.end),
            server_tsval: self.server.tsval,
            server_right: client_at(self.server.right),
            client_acked: client_at(self.client.acked),
            client_pos,
            server_pos: self.server.end,
            ..FlowState::default()
        };
        if let Some(map) = &self.map {
            state.seq_delta = self.delta_seq();
            state.ts_delta = map.ts_delta;
            state.ts_first = map.ts_first;
            state.ts_last = map.ts_last;
            state.present_next = server_at(map.next);
        }
        let isn = self.server.isn;
        if let (Some(plugin), Some(sketch)) = (&self.plugin, self.sent.sketch()) {
            state.capture = plugin.capture();
            state.capture_to = SeqNumber::at(isn, sketch.capture_to()).0;
            // What was overtaken or lost may still come, until the client has all of it.
            if sketch.capture_to() > self.server.una {
                state.flags |= flag::CAPTURING;
            }
            let next = sketch.next_sample();
            state.sample_index = next as u32;
            state.sample_next = SeqNumber::at(isn, next * u64::from(SAMPLE_EVERY)).0;
        }
        state
    }

    /// Takes over what the fast path knows. Its records must have been taken before.
    pub(crate) fn merge_flow(&mut self, state: &FlowState, cx: &mut Context<'_>) {
        if state.packets != self.packets {
            self.packets = state.packets;
            self.active = cx.now;
        }
        let tracked = state.flags & (flag::LOG | flag::MAPPED) != 0 || state.capture > 0;
        if !tracked {
            return;
        }
        let client_at = |seq| moved(state.client_pos, state.client_next, seq);
        let server_at = |seq| moved(state.server_pos, state.server_next, seq);
        let newer = |old: &mut u32, new: u32| {
            if new.wrapping_sub(*old).cast_signed() > 0 {
                *old = new;
            }
        };
        let (client, server) = (&mut self.client, &mut self.server);
        newer(&mut client.tsval, state.client_tsval);
        newer(&mut server.tsval, state.server_tsval);
        client.right = client.right.max(server_at(state.client_right));
        client.acked = client.acked.max(client_at(state.client_acked));
        let right = client_at(state.server_right);
        self.intake
            .note(client.acked, right.saturating_sub(client.acked));
        server.right = server.right.max(right);
        client.next = client.next.max(state.client_pos);
        let said = server.end.max(state.server_pos);
        cx.counters.said_bytes += said - server.end;
        server.end = said;
        server.una = server.una.max(server_at(state.server_una));
        if let Some(map) = &mut self.map {
            newer(&mut map.ts_last, state.ts_last);
            newer(&mut map.ts_first, state.ts_first);
            map.next = map.next.max(server_at(state.present_next));
        }
        let una = self.server.una;
        if let Some(sketch) = self.sent.sketch() {
            let known = sketch.next_sample();
            let next = moved(known, known as u32, state.sample_index);
            sketch.take_samples(next, state.sample_valid, &state.samples);
            sketch.advance(state.server_pos, server_at(state.capture_to));
        }
        self.sent.prune(una, &cx.service.masks);
        // What the client has acknowledged may make a part of the log needless.
        self.consider_truncation(cx);
    }

    /// It was taken back because of a segment that is not the fast path's business.
    pub(crate) const fn unsettle(&mut self) {
        self.calm = CALM;
    }

    /// Takes what the fast path has copied out.
    pub(crate) fn on_record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        self.active = cx.now;
        if !self.protected {
            return;
        }
        match record.kind {
            RecordKind::Client => {
                let (una, end) = (self.server.una, self.server.end);
                self.server.una = una.max(record.seen);
                self.server.end = end.max(record.seen);
                cx.counters.said_bytes += self.server.end - end;
                if record.seen > una {
                    self.sent.prune(record.seen, &cx.service.masks);
                    self.consider_truncation(cx);
                }
                self.log_from(record.at, record.seen, record.data, cx);
            }
            RecordKind::Server => {
                // A keep-alive may carry any byte in the place of one that the client has, or of the SYN.
                let at = record.at.cast_signed();
                let known = (self.server.una.cast_signed() - at).max(0).unsigned_abs();
                let Some(data) = record.data.get(known as usize..) else {
                    return;
                };
                let plugin = &mut self.plugin;
                let at = record.at.wrapping_add(known);
                self.sent.captured(at, data, |at, bytes| {
                    if let Some(plugin) = plugin {
                        plugin.server_bytes(at, bytes);
                    }
                });
            }
        }
    }
}
