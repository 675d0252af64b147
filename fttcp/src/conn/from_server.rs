// SPDX-License-Identifier: GPL-3.0-only
//! What a server's segment changes. Its data is hashed first and forwarded then.

use super::clock::newer;
use super::{Close, Connection, Context, State, Verdict};
use crate::frame::Time;
use crate::wire::{Flags, Head, Segment, SeqNumber};

/// How far beyond the client's window a server's data may reach and still be believed.
const SLACK: u64 = crate::flow::SLACK as u64;

impl Connection {
    /// Takes a segment of the active server.
    pub(crate) fn on_server_segment(
        &mut self,
        segment: &mut Segment<'_>,
        cx: &mut Context<'_>,
    ) -> Verdict {
        let head = *segment.head();
        if self.opening_late() {
            return self.server_waits(&head, cx);
        }
        if head.flags.has(Flags::SYN) && self.state != State::Recovering {
            return self.server_syn(segment, cx);
        }
        match self.state {
            State::Recovering => self.recovery_from_server(segment, cx),
            State::Orphaned => {
                self.answer_retold(&head, cx);
                Verdict::Drop
            }
            State::Opening if head.flags.has(Flags::RST) => self.server_reset(segment, cx),
            State::Opening => Verdict::Forward,
            State::Established | State::Closed if head.flags.has(Flags::RST) => {
                self.server_reset(segment, cx)
            }
            State::Established => self.pass_from_server(segment, cx),
            State::Closed => {
                self.rewrite_for_client(segment, cx.now);
                Verdict::Forward
            }
        }
    }

    fn server_reset(&mut self, segment: &mut Segment<'_>, cx: &mut Context<'_>) -> Verdict {
        let expected = !self.protected || self.state == State::Closed;
        let pause = self.pause(segment.head());
        if self.state == State::Established || self.state == State::Closed {
            self.rewrite_for_client(segment, cx.now);
        }
        if expected {
            return Verdict::Forward;
        }
        if !self.believes_reset(segment.head(), cx) {
            return Verdict::Drop;
        }
        let at = self.server.end;
        let fin = self.hold.and_then(|hold| hold.fin());
        // A server that closes though more was asked resets (RFC 9293 section 3.6.1).
        if self.explained() && self.fin_expected(at, pause, cx) || self.closes_unsaid(at, pause, cx)
        {
            self.tell_fin_before_reset(fin, cx);
            self.close(cx);
            return Verdict::Forward;
        }
        let head = segment.head();
        let reset = Close::Reset {
            fin,
            seq: head.seq,
            ack: head.ack,
            flags: head.flags,
        };
        self.hold_close(reset, pause, cx);
        Verdict::Drop
    }

    /// Whether a reset says that this connection is over. A server also answers with resets what belongs to an earlier
    /// connection of the same name, or to none: those end nothing at the client either (RFC 9293 section 3.10.7).
    fn believes_reset(&self, head: &Head, cx: &mut Context<'_>) -> bool {
        if self.state == State::Opening {
            let acked = u64::try_from(head.ack.position(self.client.isn, 0));
            let answers_syn =
                head.flags.has(Flags::ACK) && acked.is_ok_and(|it| it <= self.client.next);
            return answers_syn || self.outbound.is_some();
        }
        let at = head.seq.position(self.present_isn(), self.server.end);
        let Some(at) = u64::try_from(at).ok().filter(|&at| at >= self.server.una) else {
            return false;
        };
        let withheld = self.hold.and_then(|hold| hold.fin()).map(|fin| fin + 1);
        let next = self.server.next().max(withheld.unwrap_or_default());
        if at > next && at <= self.client.right.max(next) + SLACK {
            // A client that does not wait for this byte asks the server for the number of which it is sure (RFC 5961
            // section 3.2). What came before it may have been lost on the way here.
            let ack = self.server.una;
            cx.send_south(&self.for_server(Flags::default(), self.stable(), ack, &[]));
        }
        at <= next
    }

    /// Tracks, hashes, rewrites and passes on a segment of a server that is up to date.
    pub(crate) fn pass_from_server(
        &mut self,
        segment: &mut Segment<'_>,
        cx: &mut Context<'_>,
    ) -> Verdict {
        let head = *segment.head();
        let data_len = segment.payload().len() as u64;
        let at = head.seq.position(self.present_isn(), self.server.end);
        let end = at + data_len.cast_signed();
        if self.protected && self.is_foreign(at, end) {
            // No receiver takes it; what is not sensible must not move the record of what was sent.
            return Verdict::Drop;
        }
        if self.hear_left(&head, cx) {
            return Verdict::Drop;
        }
        let acked_before = self.client.acked;
        if head.flags.has(Flags::ACK) {
            self.track_server_ack(&head, cx);
        }
        let payload = segment.payload();
        if data_len > 0
            && (self.withhold(at, payload, cx) || self.hold_uncommitted(at, payload, cx))
        {
            return Verdict::Drop;
        }
        if data_len == 0 && head.flags.has(Flags::FIN) && self.closes_uncommitted(end) {
            return Verdict::Drop;
        }
        if data_len > 0 && self.exceeds(at, end) {
            self.pass_part(at, segment.payload(), cx);
            return Verdict::Drop;
        }
        // A keep-alive may carry any byte in the place of one that the client has.
        let new = data_len > 0 && end > self.server.una.cast_signed();
        if new && self.protected && self.sent.wants(at, end) {
            let Ok(at) = u64::try_from(at) else {
                return Verdict::Drop;
            };
            if !self.absorb(at, segment.payload(), cx) {
                return Verdict::Drop;
            }
        }
        let end = end.max(0).unsigned_abs();
        if data_len > 0 && end > self.server.end {
            cx.counters.said_bytes += end - self.server.end;
            self.server.end = end;
            cx.new_byte();
        }
        let fin = head.flags.has(Flags::FIN);
        if let Some(map) = &mut self.map {
            map.next = map.next.max(end + u64::from(fin));
        }
        let fin_withheld = fin && !self.pass_fin(end, self.pause(&head), cx);
        if self.map.is_none() {
            self.hold_window(segment, cx);
        } else if self.window_limit != u64::MAX {
            self.note_held(self.server.right > self.window_limit, cx);
        }
        self.rewrite_for_client(segment, cx.now);
        if self.withhold_ack(segment, self.client.acked > acked_before, cx) {
            return Verdict::Drop;
        }
        if fin_withheld {
            if data_len == 0 && self.client.acked == acked_before {
                return Verdict::Drop;
            }
            segment.set_flags(head.flags.without(Flags::FIN));
        }
        self.check_closed(cx);
        Verdict::Forward
    }

    /// Whether a segment has bytes that the client must not get, because a response was taken up: of the answer's head,
    /// once more, or beyond the window of a client that had less room than that head needed. (A probe is one byte.)
    fn exceeds(&self, at: i64, end: i64) -> bool {
        let right = self.client.right.max(self.server.next()) + 1;
        self.map.is_some_and(|map| {
            map.lead > 0 && (at < map.first.cast_signed() || end > right.cast_signed())
        })
    }

    /// Of such a segment, the client is sent the rest. (What lies beyond comes once more, and a FIN.)
    fn pass_part(&mut self, at: i64, data: &[u8], cx: &mut Context<'_>) {
        let first = self.map.map_or(0, |map| map.first);
        let lead = (first.cast_signed() - at).max(0).unsigned_abs();
        let first = first.max(at.max(0).unsigned_abs());
        let data = data.get(lead as usize..).unwrap_or_default();
        let all = data;
        let data = self.within_window(first, all).to_vec();
        if data.is_empty() && !all.is_empty() && first == self.server.next() {
            // It had room for a head, and does not probe a window of which it sent a part: the word of more may be lost.
            self.probe_client(cx);
        }
        let end = first + data.len() as u64;
        let wanted = self.protected && self.sent.wants(first.cast_signed(), end.cast_signed());
        if data.is_empty() || (wanted && !self.absorb(first, &data, cx)) {
            self.ack_replacement(cx);
            return;
        }
        if let Some(map) = &mut self.map {
            map.next = map.next.max(end);
        }
        self.send_data(first, data, cx);
    }

    /// Whether a segment from `at` to `end` cannot be of the present server's stream. It may be late, and of an attempt
    /// that was reset; its acknowledgement then speaks of what that attempt had got.
    pub(crate) fn is_foreign(&self, at: i64, end: i64) -> bool {
        let first = self
            .map
            .map_or(0, |map| map.first.cast_signed() - i64::from(map.lead));
        let right = self.client.right.max(self.server.next());
        // A keep-alive has the number before the first.
        at < first - 1 || end > (right + SLACK).cast_signed()
    }

    /// Notes that a FIN came; says whether it may pass.
    fn pass_fin(&mut self, at: u64, pause: Option<u32>, cx: &mut Context<'_>) -> bool {
        if self.server.fin.is_none() && !self.fin_expected(at, pause, cx) {
            self.hold_close(Close::Fin(at), pause, cx);
            self.ack_held_fin(cx);
            return false;
        }
        self.server.fin = Some(at);
        true
    }

    fn track_server_ack(&mut self, head: &Head, cx: &mut Context<'_>) {
        let stable = self.stable();
        let ack = head
            .ack
            .position(self.present_client_isn(), self.client.acked);
        let Ok(ack) = u64::try_from(ack) else {
            return;
        };
        if ack > stable && self.protected {
            self.unprotect("its server acknowledged bytes that were not logged", cx);
        }
        self.client.acked = self.client.acked.max(ack);
        let window = u64::from(head.window) << self.present_scale();
        self.intake.note(ack, window);
        self.server.right = self.server.right.max(ack + window);
    }

    /// Remembers what is new in the data. False: it lies too far beyond a gap and must not pass.
    pub(super) fn absorb(&mut self, at: u64, data: &[u8], cx: &Context<'_>) -> bool {
        let plugin = &mut self.plugin;
        let room = self.account.room as usize;
        self.sent
            .absorb(at, data, &cx.service.masks, room, |at, bytes| {
                if let Some(plugin) = plugin {
                    plugin.server_bytes(at, bytes);
                }
            })
    }

    /// Rewrites a segment of the present server for the client. Without a mapping it stays untouched.
    pub(crate) fn rewrite_for_client(&mut self, segment: &mut Segment<'_>, now: Time) {
        let silent = self.was_silent(now);
        let head = *segment.head();
        let (peer_seq, peer_ts) = self.peer_deltas();
        if let Some(map) = &mut self.map {
            if let Some(stamps) = head.options.timestamps {
                map.note_clock(stamps.value, silent);
            }
            segment.strip_unknown();
            segment.map_timestamps(
                |value| map.stamp_for_client(value),
                |echo| echo.wrapping_sub(peer_ts),
            );
            if peer_seq != 0 {
                segment.shift_sack(peer_seq);
            }
            let old_values = head.seq.position(self.present_isn(), self.server.end);
            self.substitute(segment, old_values);
            segment.set_seq(head.seq + self.delta_seq());
            if head.flags.has(Flags::ACK) {
                let acked = self.client.acked;
                segment.set_ack(SeqNumber::at(self.client.isn, acked));
                if !head.flags.has(Flags::RST) {
                    let window = self.announce_window(acked);
                    segment.set_window(window);
                }
            }
        }
        if let Some(stamps) = segment.head().options.timestamps
            && (silent || newer(stamps.value, self.server.tsval))
        {
            self.server.tsval = stamps.value;
        }
    }

    /// Puts the values that the client may have seen in the place of those that this server generated.
    fn substitute(&self, segment: &mut Segment<'_>, at: i64) {
        let len = segment.payload().len() as i64;
        for value in self.sent.values() {
            let start = value.at.cast_signed();
            let from = start.max(at);
            let to = (start + value.bytes.len() as i64).min(at + len);
            if from < to {
                let bytes = &value.bytes[(from - start) as usize..(to - start) as usize];
                segment.set_payload((from - at) as usize, bytes);
            }
        }
    }
}
