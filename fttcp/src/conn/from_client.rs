// SPDX-License-Identifier: GPL-3.0-only
//! What a client's segment changes. Its data is logged first and forwarded then.

use super::clock::newer;
use super::{Connection, Context, Mapping, State, Verdict};
use crate::stable::Unreadable;
use crate::wire::{Flags, Segment, SeqNumber};

/// How far beyond the announced window a segment's data may reach and still be logged: window probes, and what a
/// server accepts that opens its window just then.
pub(super) const WINDOW_SLACK: u64 = 64 * 1024;

/// What a client's segment brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FromClient {
    /// It acknowledged something new or moved its window.
    pub(crate) advanced: bool,
    /// It is one that TCP answers: with data, a FIN, or from before the window (a keep-alive).
    pub(crate) wants_ack: bool,
    /// Its data could not be logged.
    pub(crate) refused: bool,
    /// Its data must not reach the server.
    pub(crate) withheld: bool,
    /// It repeats logged bytes, and says others.
    pub(crate) conflict: bool,
}

impl Connection {
    /// Takes a segment of the client.
    pub(crate) fn on_client_segment(
        &mut self,
        segment: &mut Segment<'_>,
        cx: &mut Context<'_>,
    ) -> Verdict {
        let silent = self.was_silent(cx.now);
        self.active = cx.now;
        let flags = segment.head().flags;
        if flags.has(Flags::SYN) {
            return match self.outbound {
                Some(_) => self.peer_syn(segment, cx),
                None => self.client_syn(segment, cx),
            };
        }
        if self.state == State::Opening {
            if self.opening_late() && flags.has(Flags::RST) {
                return self.refuse_late(cx);
            }
            if self.outbound.is_some() && flags.has(Flags::RST) {
                self.refused();
            }
            return Verdict::Forward;
        }
        if self.state == State::Closed {
            self.rewrite_for_server(segment);
            return Verdict::Forward;
        }
        self.note_round_trip(cx);
        let brought = self.track_client(segment, silent, cx);
        if flags.has(Flags::RST) {
            return self.client_reset(segment, cx);
        }
        if brought.conflict && self.correct(segment).is_err() {
            self.unreadable(cx);
            return Verdict::Drop;
        }
        match self.state {
            State::Recovering if !self.over() => {
                self.recovery_from_client(brought, cx);
                Verdict::Drop
            }
            State::Recovering | State::Orphaned => {
                if brought.wants_ack {
                    self.ack_client(cx);
                }
                Verdict::Drop
            }
            State::Established if brought.withheld => {
                self.ack_client(cx);
                Verdict::Drop
            }
            State::Closed if brought.withheld => Verdict::Drop,
            State::Opening | State::Established | State::Closed => {
                self.rewrite_for_server(segment);
                if brought.advanced {
                    self.consider_truncation(cx);
                }
                self.check_closed(cx);
                Verdict::Forward
            }
        }
    }

    /// Notes acknowledgement, window and clock, and logs the data.
    fn track_client(
        &mut self,
        segment: &Segment<'_>,
        silent: bool,
        cx: &mut Context<'_>,
    ) -> FromClient {
        let head = *segment.head();
        let mut brought = FromClient::default();
        if self.protected && !self.acceptable(segment) {
            // No server takes anything of it (RFC 9293 section 3.10.7.4); it may be forged.
            brought.wants_ack = !head.flags.has(Flags::RST);
            brought.refused = !segment.payload().is_empty();
            return brought;
        }
        // It is heard: nobody need be told again.
        self.kick = None;
        // A client says an old number only in what was overtaken, of which the clock is old, too; or it is forged, and no
        // TCP believes the clock (RFC 5961 section 5).
        let mut old = false;
        if head.flags.has(Flags::ACK) {
            self.settle_offer(head.ack, cx);
            let ack = head.ack.position(self.server.isn, self.server.una);
            old = ack < self.server.una.cast_signed();
            let inbound = self.protected && self.outbound.is_none();
            if inbound && ack > self.server.next().cast_signed() {
                // It acknowledges what was never sent: likewise.
                brought.wants_ack = !head.flags.has(Flags::RST);
                brought.refused = !segment.payload().is_empty();
                return brought;
            }
            if let Ok(ack) = u64::try_from(ack)
                && ack <= self.server.next()
            {
                self.client.heard = true;
                let right = ack + (u64::from(head.window) << self.client_scale());
                brought.advanced = ack > self.server.una || right > self.client.right;
                self.client.right = self.client.right.max(right);
                if ack > self.server.una {
                    self.server.una = ack;
                    self.sent.prune(ack, &cx.service.masks);
                }
            }
        }
        if let Some(stamps) = head.options.timestamps
            && !old
            && (silent || newer(stamps.value, self.client.tsval))
        {
            self.client.tsval = stamps.value;
        }
        if head.flags.has(Flags::RST) {
            return brought;
        }
        self.note_sent(segment);
        if !self.protected {
            if head.flags.has(Flags::FIN) {
                let at = head.seq.position(self.client.isn, self.client.acked);
                let end = at + segment.payload().len() as i64;
                self.client.fin = u64::try_from(end).ok();
            }
            return brought;
        }
        self.log_data(segment, cx, &mut brought);
        brought
    }

    /// Whether any of the segment, or the byte before it as in a keep-alive, lies in the window that the client was
    /// told, or not far beyond it.
    fn acceptable(&self, segment: &Segment<'_>) -> bool {
        let head = segment.head();
        let acked = self.client.acked;
        let at = head.seq.position(self.client.isn, acked);
        let end = at + segment.payload().len() as i64 + i64::from(head.flags.has(Flags::FIN));
        end + 1 >= acked.cast_signed() && at <= (self.server.right + WINDOW_SLACK).cast_signed()
    }

    /// Notes how far the client has sent, as far as its peer lets it.
    fn note_sent(&mut self, segment: &Segment<'_>) {
        let head = segment.head();
        let at = head.seq.position(self.client.isn, self.client.acked);
        let end = at + segment.payload().len() as i64 + i64::from(head.flags.has(Flags::FIN));
        if let Ok(end) = u64::try_from(end)
            && end <= self.server.right + WINDOW_SLACK
        {
            self.client.next = self.client.next.max(end);
        }
    }

    fn log_data(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>, brought: &mut FromClient) {
        let data = segment.payload();
        let stable = self.log.stable();
        let at = segment.head().seq.position(self.client.isn, stable);
        let fin = segment.head().flags.has(Flags::FIN);
        brought.wants_ack = !data.is_empty() || fin || at < self.stable().cast_signed();
        let end = at + data.len() as i64;
        let Ok(end) = u64::try_from(end) else {
            return;
        };
        if end > self.server.right + WINDOW_SLACK || self.client.fin.is_some_and(|fin| end > fin) {
            brought.refused = !data.is_empty();
            return;
        }
        if fin && self.client.fin.is_none() {
            self.client.fin = Some(end);
            self.note_cause(end, self.server.una, cx);
        }
        // A keep-alive repeats the byte before the stream's first, or its last; it need not be the true one.
        let skip = at.min(0).unsigned_abs() as usize;
        let (at, data) = (at.max(0).unsigned_abs(), &data[skip.min(data.len())..]);
        let keep_alive = data.len() == 1 && end == stable;
        if (at < stable || self.log.has_gap()) && !keep_alive {
            let Ok(conflict) = self.log.contradicts(at, data) else {
                brought.withheld = true;
                self.unreadable(cx);
                return;
            };
            brought.conflict = conflict;
            cx.counters.conflicts += u64::from(brought.conflict);
        }
        if data.is_empty() || end <= stable {
            return;
        }
        if segment.head().urgent != 0 {
            self.urgent.note(at, segment.head().urgent);
        }
        let (refused, withheld) = self.log_from(at, self.server.una, data, cx);
        (brought.refused, brought.withheld) = (refused, withheld);
    }

    /// Logs the client's bytes from `at` on; it had acknowledged the server's stream up to `seen`. Says whether they
    /// could not be logged, and whether they must then not reach the server.
    pub(super) fn log_from(
        &mut self,
        at: u64,
        seen: u64,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> (bool, bool) {
        let stable = self.log.stable();
        if at <= stable {
            self.note_cause(stable, seen, cx);
        }
        if let Some(plugin) = &self.plugin {
            self.sent.capture(plugin.capture());
        }
        if let Err(lack) = self.log_bytes(at, data, cx) {
            return (true, self.on_full(lack, cx));
        }
        if let Some(plugin) = &mut self.plugin {
            let new = self.log.read(stable, usize::MAX);
            if !new.is_empty() {
                plugin.client_bytes(stable, new);
            }
        }
        self.forget_reissued();
        (false, false)
    }

    /// Puts the bytes that came first in the place of those that the segment says: the server may not have got them,
    /// and would then keep others than those that are logged.
    fn correct(&self, segment: &mut Segment<'_>) -> Result<(), Unreadable> {
        let head = segment.head();
        let at = head.seq.position(self.client.isn, self.log.stable());
        let skip = at.min(0).unsigned_abs() as usize;
        let at = at.max(0).unsigned_abs();
        let len = segment.payload().len().saturating_sub(skip);
        for (start, bytes) in self.log.logged(at, len) {
            segment.set_payload((start - at) as usize + skip, bytes);
        }
        let (start, bytes) = self.log.fetch_spilled(at, len)?;
        if !bytes.is_empty() {
            segment.set_payload((start - at) as usize + skip, &bytes);
        }
        Ok(())
    }

    /// What the client sends from `at` on, it sends knowing the server's stream up to what it has acknowledged.
    fn note_cause(&mut self, at: u64, seen: u64, cx: &Context<'_>) {
        let known = self
            .causes
            .back()
            .map_or(self.replay_from, |&(_, seen)| seen);
        if seen > known && self.may_note_cause(cx) {
            self.causes.push_back((at, seen));
        }
    }

    fn client_reset(&mut self, segment: &mut Segment<'_>, cx: &mut Context<'_>) -> Verdict {
        // Only a reset at the next expected byte is believed (RFC 5961 section 3.2).
        let at = segment
            .head()
            .seq
            .position(self.client.isn, self.client.acked);
        let exact = at == self.client.acked.cast_signed() || at == self.stable().cast_signed();
        if self.state == State::Orphaned || self.over() {
            return Verdict::Drop;
        }
        if self.state == State::Recovering {
            if exact {
                self.abandon_recovery(cx);
            }
            return Verdict::Drop;
        }
        self.rewrite_for_server(segment);
        if exact {
            self.close(cx);
        }
        Verdict::Forward
    }

    /// What the client acknowledges, as the present server numbers it: never what this one has not sent yet, nor what an
    /// earlier one had sent. What nobody had sent, or long ago, must not become a number that the server believes.
    fn ack_for_server(&self, map: &Mapping, ack: SeqNumber) -> SeqNumber {
        let una = self.server.una.cast_signed();
        let at = ack.position(self.server.isn, self.server.una);
        let oldest = una - (i64::from(u16::MAX) << self.client_scale());
        if at < oldest || at > self.server.next().cast_signed() {
            return ack - self.delta_seq();
        }
        let known = at.min(map.next.cast_signed()).max(map.first.cast_signed());
        SeqNumber::at(map.isn, known.unsigned_abs())
    }

    /// Rewrites the client's segment for the present server. Without a mapping it stays untouched.
    fn rewrite_for_server(&self, segment: &mut Segment<'_>) {
        let Some(map) = self.map else {
            return;
        };
        let head = *segment.head();
        if head.flags.has(Flags::ACK) {
            segment.set_ack(self.ack_for_server(&map, head.ack));
        }
        let (seq_delta, ts_delta) = self.peer_deltas();
        segment.set_seq(head.seq + seq_delta);
        if self.scale_for_present() != self.client_scale() {
            let room = u32::from(head.window) << self.client_scale() >> self.scale_for_present();
            segment.set_window(room.min(u32::from(u16::MAX)) as u16);
        }
        segment.shift_sack(self.delta_seq());
        segment.map_timestamps(
            |value| value.wrapping_add(ts_delta),
            |echo| map.echo_for_server(echo),
        );
        segment.strip_unknown();
    }
}
