// SPDX-License-Identifier: GPL-3.0-only
//! Taking what the replacement says again: a minimal TCP receiver that compares.
//!
//! The rule: a byte that the client has acknowledged is swallowed and acknowledged to the replacement. A byte that was
//! sent but may be lost is held until it is proven, then sent to the client again; it is acknowledged to the
//! replacement only when the client has acknowledged it. A byte that was never sent passes once everything before it
//! is proven.

use std::time::Duration;

use super::{MAX_EARLY, Phase};
use crate::conn::{Close, Connection, Context, Divergence, Verdict};
use crate::stable::Pieces;
use crate::wire::{Flags, Segment};

impl Connection {
    /// A segment of the replacement came.
    pub(crate) fn recovery_from_server(
        &mut self,
        segment: &mut Segment<'_>,
        cx: &mut Context<'_>,
    ) -> Verdict {
        let head = *segment.head();
        let Some(recovery) = &self.recovery else {
            return Verdict::Drop;
        };
        if matches!(recovery.phase, Phase::Unheard(_)) {
            return Verdict::Drop;
        }
        if recovery.phase == Phase::Handshake {
            if self.outbound.is_none() {
                self.handshake_from_server(&head, cx);
                return Verdict::Drop;
            }
            if !self.opened_again(&head, cx) {
                return Verdict::Drop;
            }
        }
        self.settle_choice(&head, segment.payload().len());
        if head.flags.has(Flags::RST) {
            if self.has_resumed() {
                self.refuse_resume("the connection was reset without the answer", cx);
            } else {
                self.restart_handshake(cx);
            }
            return Verdict::Drop;
        }
        if head.flags.has(Flags::SYN) {
            if self.is_other_answer(&head) {
                self.handshake_from_server(&head, cx);
            } else {
                self.ack_replacement(cx);
            }
            return Verdict::Drop;
        }
        if self.in_pause() {
            // Its handshake is not complete: this is from an earlier attempt.
            return Verdict::Drop;
        }
        let at = head.seq.position(self.present_isn(), self.sent.end());
        if self.is_foreign(at, at + segment.payload().len() as i64) {
            return Verdict::Drop;
        }
        if self.is_asking() {
            return self.hear_answer(segment, cx);
        }
        let caught_up = !self.sent.expects();
        let limit = self.window_limit;
        if !self.track_replacement_ack(&head, cx) {
            return Verdict::Drop;
        }
        let verdict = if caught_up {
            self.pass_from_server(segment, cx)
        } else {
            self.catch_up(segment, cx);
            Verdict::Drop
        };
        let over = self.over();
        let right = self.server.right;
        self.feed(cx);
        self.check_caught_up(cx);
        self.watch_client(cx);
        if limit != self.window_limit || right != self.server.right {
            // The client has just been told more than this segment says.
            self.announce_again(segment);
        }
        // The peer of a connection that is over hears nothing of its retelling.
        if over { Verdict::Drop } else { verdict }
    }

    pub(super) fn catch_up(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>) {
        let head = *segment.head();
        let data = segment.payload();
        let known = self.sent.end();
        let fin = head.flags.has(Flags::FIN);
        let at = head.seq.position(self.present_isn(), known);
        self.note_clock(&head);
        // What goes before is the head of an answer, be it longer than all that was said before.
        let lead = self.map.filter(|map| map.lead > 0);
        if lead.is_none() && at < 0 {
            self.ack_replacement(cx);
            return;
        }
        let first = lead.map_or(0, |map| map.first.cast_signed());
        let before = (first - at).max(0) as usize;
        let fin = fin && before <= data.len();
        let data = data.get(before..).unwrap_or_default();
        let at = at.max(first).unsigned_abs();
        if at > known {
            // A gap. What fills it is often just behind, overtaken on another processor; and the replacement, told of
            // no SACK blocks, would repeat it only when its timer runs out.
            let more = Pieces::cost_of(data.len());
            if let Some(recovery) = &mut self.recovery
                && !fin
                && recovery.early.cost() + more <= MAX_EARLY
                && more <= self.account.room as usize
            {
                recovery.early.insert(at, data);
            }
            self.ack_replacement(cx);
            return;
        }
        if !self.take(at, data, fin, cx) {
            return;
        }
        while let Some((at, data)) = self.next_early() {
            if !self.take(at, &data, false, cx) {
                return;
            }
        }
        if !data.is_empty() || fin || before > 0 {
            self.ack_replacement(cx);
        }
    }

    /// Takes bytes whose turn has come. False: the recovery is over.
    fn take(&mut self, at: u64, data: &[u8], fin: bool, cx: &mut Context<'_>) -> bool {
        if let Some(fresh) = self.splits_at(at, at + data.len() as u64, cx) {
            // Of what is new the plug-in can say whether it waits when it has been shown the old.
            let (old, new) = data.split_at((fresh - at) as usize);
            return self.take(at, old, false, cx) && self.take(fresh, new, fin, cx);
        }
        let known = self.sent.end();
        let all = data.len();
        let data = self.within_window(at, data);
        let data = self.take_committed(at, data, cx);
        let fin = fin && data.len() == all;
        let end = at + data.len() as u64;
        if let Some(map) = &mut self.map {
            map.next = map.next.max(end + u64::from(fin));
        }
        if end <= known {
            self.take_custody(at, data, cx);
        }
        self.repeat_to_client(at, &data[..data.len().min((known - at) as usize)], cx);
        if end > known && !self.compare(&data[(known - at) as usize..], cx) {
            return false;
        }
        if fin && end == self.sent.end() {
            self.regenerated_fin(end, cx);
        }
        if self.recovery.is_none() {
            return false;
        }
        self.release_verified(cx);
        self.settle_expected(cx);
        true
    }

    /// What the client has room for. A replacement that was asked for the rest had more, for its answer's head.
    pub(crate) fn within_window<'a>(&self, at: u64, data: &'a [u8]) -> &'a [u8] {
        let right = self.client.right.max(self.server.next());
        let room = right.saturating_sub(at).min(data.len() as u64) as usize;
        match self.map {
            Some(map) if map.lead > 0 => &data[..room],
            _ => data,
        }
    }

    /// What came early and whose turn is now.
    fn next_early(&mut self) -> Option<(u64, Vec<u8>)> {
        let known = self.sent.end();
        let recovery = self.recovery.as_mut()?;
        Some((known, recovery.early.next(known)?))
    }

    pub(super) fn note_clock(&mut self, head: &crate::wire::Head) {
        if let (Some(map), Some(stamps)) = (&mut self.map, head.options.timestamps) {
            map.note_clock(stamps.value, false);
        }
    }

    /// Compares new bytes of the replacement and holds those that the client may need. False: they differ.
    fn compare(&mut self, new: &[u8], cx: &mut Context<'_>) -> bool {
        let at = self.sent.end();
        let Some(recovery) = &mut self.recovery else {
            return false;
        };
        let masks = &cx.service.masks;
        let mut result = self.sent.retell(masks, new);
        let end = at + new.len() as u64;
        if result.is_ok() && self.server.fin.is_some_and(|fin| end > fin) {
            result = Err(Divergence {
                offset: self.server.end,
                sent: Some(b"(end of stream)".to_vec()),
                regenerated: new[..new.len().min(48)].to_vec(),
            });
        }
        if let Err(found) = result {
            self.diverge(&found, cx);
            return false;
        }
        if let Some(plugin) = &mut self.plugin {
            plugin.server_bytes(at, new);
        }
        let from = at.max(self.server.una).min(end);
        recovery.discarded += from - at;
        if recovery.held.is_empty() {
            recovery.held_at = from;
        }
        recovery
            .held
            .extend_from_slice(&new[(from - at) as usize..]);
        recovery.progressed(cx.now);
        true
    }

    /// The replacement's stream ends at `at`.
    fn regenerated_fin(&mut self, at: u64, cx: &mut Context<'_>) {
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        if at < self.sent.expected_end() {
            let hold = Duration::from_millis(u64::from(cx.service.spec.fin_hold_ms));
            recovery.ended_early.get_or_insert(cx.now.after(hold));
            return;
        }
        (recovery.fin_seen, recovery.close_due) = (true, None);
        self.release_verified(cx);
        match self.server.fin {
            Some(fin) if self.server.una <= fin => self.send_client(Flags::FIN, fin, &[], cx),
            Some(_) => {}
            None if self.fin_expected(at, None, cx) => {
                self.server.fin = Some(at);
                self.send_client(Flags::FIN, at, &[], cx);
            }
            None => self.hold_close(Close::Fin(at), None, cx),
        }
    }

    /// Sends the client what is proven and it has not acknowledged.
    pub(super) fn release_verified(&mut self, cx: &mut Context<'_>) {
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        let verified = self.sent.verified();
        let held_end = recovery.held_at + recovery.held.len() as u64;
        let una = self.server.una.min(held_end);
        self.sent.prune(una, &cx.service.masks);
        let stale = una.saturating_sub(recovery.held_at) as usize;
        let ready = verified.min(held_end).saturating_sub(recovery.held_at) as usize;
        let at = recovery.held_at + stale as u64;
        if ready > stale {
            let bytes = recovery.held[stale..ready].to_vec();
            recovery.held.drain(..ready);
            recovery.held_at += ready as u64;
            recovery.custody.sent(at, &bytes, cx.now);
            self.send_data(at, bytes, cx);
        } else if stale > 0 {
            recovery.held.drain(..stale);
            recovery.held_at += stale as u64;
        }
    }

    /// Everything below that has been said again was sent to the client, if it needed it.
    pub(super) fn released(&self) -> u64 {
        match &self.recovery {
            Some(recovery) if !recovery.held.is_empty() => recovery.held_at,
            _ => self.sent.end(),
        }
    }

    /// The replacement sent again what it had sent: so must the client get it, as far as it is proven and needed.
    fn repeat_to_client(&mut self, at: u64, data: &[u8], cx: &mut Context<'_>) {
        let end = at + data.len() as u64;
        let (from, to) = (at.max(self.server.una), end.min(self.released()));
        if from < to {
            let bytes = data[(from - at) as usize..(to - at) as usize].to_vec();
            self.send_data(from, bytes, cx);
        }
    }

    /// Sends regenerated bytes to the client in segments of its size, with the values that it may have seen.
    pub(crate) fn send_data(&mut self, at: u64, mut bytes: Vec<u8>, cx: &mut Context<'_>) {
        let end = at + bytes.len() as u64;
        for value in self.sent.values() {
            let from = value.at.max(at);
            let to = (value.at + value.bytes.len() as u64).min(end);
            if from < to {
                let old = &value.bytes[(from - value.at) as usize..(to - value.at) as usize];
                bytes[(from - at) as usize..(to - at) as usize].copy_from_slice(old);
            }
        }
        let mss = self.client_mss();
        if at == self.server.una
            && let (Some(recovery), Some(head)) = (&mut self.recovery, bytes.chunks(mss).next())
        {
            recovery.custody.head_leaves(at, head, cx.now);
        }
        let mut position = at;
        for piece in bytes.chunks(mss) {
            let next = position + piece.len() as u64;
            let flags = if next == end {
                Flags::PSH
            } else {
                Flags::default()
            };
            self.send_client(flags, position, piece, cx);
            position = next;
        }
        if end > self.server.end {
            self.server.end = end;
            cx.new_byte();
        }
    }

    /// Whether everything that had been sent has been said again; then the expectation is dropped.
    pub(super) fn settle_expected(&mut self, cx: &mut Context<'_>) {
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        if !self.sent.expects() || self.sent.end() < self.sent.expected_end() {
            return;
        }
        if self.server.fin.is_none() || recovery.fin_seen {
            self.release_verified(cx);
            self.sent.settle();
        } else if self.outbound.is_none() {
            let hold = Duration::from_millis(u64::from(cx.service.spec.fin_hold_ms));
            recovery.close_due.get_or_insert(cx.now.after(hold));
        }
    }
}
