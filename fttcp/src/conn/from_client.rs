// SPDX-License-Identifier: GPL-3.0-only
//! What a client's segment changes. Its data is logged first and forwarded then.

use super::clock::newer;
use super::{Connection, Context, Mapping, Planned, State, Verdict};
use crate::stable::Unreadable;
use crate::wire::{Flags, Segment, SegmentRepr, SeqNumber};

/// How far beyond the window that the client was told its segments may reach: the byte, or the FIN, of a window probe
/// (RFC 9293 section 3.8.6.1). Every window passes the logger before the client knows it, so a true client says nothing
/// beyond; what is logged there would be a forger's, and wait for ever for what comes before it.
const PROBE: u64 = crate::flow::PROBE as u64;

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
    /// It lies beyond the window: the server is to say how much it takes.
    pub(crate) beyond: bool,
    /// It repeats logged bytes, and says others.
    pub(crate) conflict: bool,
    /// Nothing was under way before its data, and its server is being left.
    pub(crate) rested: bool,
    /// An old acknowledgement with a new clock.
    pub(crate) misdated: bool,
    /// How much it has room for now, beyond what it acknowledges.
    pub(crate) room: Option<u64>,
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
        if brought.rested && self.protected && self.state == State::Established {
            return Verdict::Move;
        }
        if brought.misdated {
            // Linux believes the clock of a predicted segment before it looks at the acknowledgement, and from then on
            // takes nothing that the client says.
            let believed = self.client.tsval;
            segment.map_timestamps(|_| believed, |echo| echo);
        }
        if self.state == State::Established && self.step_aside(segment, cx) {
            if brought.advanced {
                self.consider_truncation(cx);
            }
            return Verdict::Drop;
        }
        match self.state {
            State::Recovering if !self.over() => {
                self.recovery_from_client(brought, cx);
                Verdict::Drop
            }
            State::Recovering | State::Orphaned => {
                self.forget_said();
                if brought.wants_ack {
                    self.ack_client(cx);
                }
                Verdict::Drop
            }
            State::Established if brought.beyond => {
                self.ask_window(cx);
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
                    self.ack_held_fin(cx);
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
            brought.beyond = self.reaches_beyond(segment);
            return brought;
        }
        if head.flags.has(Flags::RST) {
            // Whether it is believed, its number says; what it acknowledges no TCP reads before that (RFC 9293 section
            // 3.10.7.4), nor its clock (RFC 7323 section 5.2).
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
                // It acknowledges what was never sent: likewise. But the server may have sent that meanwhile, and would
                // take data that is not logged.
                brought.wants_ack = true;
                brought.refused = !segment.payload().is_empty();
                brought.withheld = brought.refused || head.flags.has(Flags::FIN);
                return brought;
            }
            if let Ok(ack) = u64::try_from(ack)
                && ack <= self.server.next()
            {
                self.client.heard = true;
                let room = u64::from(head.window) << self.client_scale();
                let right = ack + room;
                brought.advanced = ack > self.server.una || right > self.client.right;
                self.client.right = self.client.right.max(right);
                if ack > self.server.una {
                    self.server.una = ack;
                    self.sent.prune(ack, &cx.service.masks);
                }
                brought.room = (ack == self.server.una).then_some(room);
            }
        }
        if cx.leaving && self.planned != Planned::Returned && !head.flags.has(Flags::FIN) {
            if brought.advanced {
                self.consider_truncation(cx);
            }
            brought.rested = self.rests();
        }
        // Nor one from beyond the next byte that is due (RFC 7323 section 4.3).
        let (at, _) = self.extent(segment);
        let due = at <= self.stable().max(self.client.acked).cast_signed();
        if let Some(stamps) = head.options.timestamps
            && (silent || newer(stamps.value, self.client.tsval))
        {
            if !old && (due || !self.protected) {
                self.client.tsval = stamps.value;
            }
            brought.misdated = old && !silent && self.protected;
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

    /// Where the segment begins, and where it ends with its FIN.
    fn extent(&self, segment: &Segment<'_>) -> (i64, i64) {
        let head = segment.head();
        let at = head.seq.position(self.client.isn, self.client.acked);
        let len = segment.payload().len() as i64 + i64::from(head.flags.has(Flags::FIN));
        (at, at + len)
    }

    /// Whether any of the segment, or the byte before it as in a keep-alive, lies in the window that the client was
    /// told.
    fn acceptable(&self, segment: &Segment<'_>) -> bool {
        let (at, end) = self.extent(segment);
        let acked = self.client.acked.cast_signed();
        end + 1 >= acked && at <= (self.server.right + PROBE).cast_signed()
    }

    /// Whether the segment says something beyond the window that the client was told. The server may have opened its
    /// window just then, and would take what is not logged.
    fn reaches_beyond(&self, segment: &Segment<'_>) -> bool {
        let (at, end) = self.extent(segment);
        end > at && end > (self.server.right + PROBE).cast_signed()
    }

    /// Lets the server say its window to the client, by a segment that it must answer (RFC 9293 section 3.8.4). A logger
    /// that was started anew may not know the newest.
    fn ask_window(&self, cx: &mut Context<'_>) {
        let ack = self
            .server
            .una
            .min(self.map.map_or(u64::MAX, |map| map.next));
        let ask = self.for_server(Flags::default(), self.client.acked, ack, &[]);
        cx.send_south(&SegmentRepr {
            seq: ask.seq - 1,
            ..ask
        });
    }

    /// Notes how far the client has sent.
    fn note_sent(&mut self, segment: &Segment<'_>) {
        let (_, end) = self.extent(segment);
        if let Ok(end) = u64::try_from(end)
            && end <= self.server.right + PROBE
        {
            self.client.next = self.client.next.max(end);
        }
    }

    fn log_data(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>, brought: &mut FromClient) {
        let data = segment.payload();
        self.hush.note(data.len());
        let stable = self.log.stable();
        let at = segment.head().seq.position(self.client.isn, stable);
        let fin = segment.head().flags.has(Flags::FIN);
        brought.wants_ack = !data.is_empty() || fin || at < self.stable().cast_signed();
        let end = at + data.len() as i64;
        let Ok(end) = u64::try_from(end) else {
            return;
        };
        brought.beyond = self.reaches_beyond(segment);
        if brought.beyond || self.client.fin.is_some_and(|fin| end > fin) {
            brought.refused = !data.is_empty();
            brought.withheld = brought.refused || fin;
            return;
        }
        if fin && self.client.fin.is_none() {
            self.client.fin = Some(end);
            // Without room for it, the FIN is said again without waiting.
            let _ = self.note_cause(end, self.server.una, cx);
        }
        // A keep-alive repeats the byte before the stream's first, or its last; it need not be the true one.
        let skip = at.min(0).unsigned_abs() as usize;
        let (at, data) = (at.max(0).unsigned_abs(), &data[skip.min(data.len())..]);
        let keep_alive = data.len() == 1 && end == stable;
        // What begins earlier counts, as with Linux and the BSDs: what came before its turn may be forged, and what comes
        // in its turn goes on from what both ends have. (What began earlier in the log, the segment is made to say.)
        let forgotten = self.log.give_way(at, data);
        cx.counters.conflicts += u64::from(forgotten);
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
        if at <= stable
            && let Err(lack) = self.note_cause(stable, seen, cx)
        {
            return (true, self.on_full(lack, cx));
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
        self.hear_complaint(cx);
        self.notice_tls(stable, cx);
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

    fn client_reset(&mut self, segment: &mut Segment<'_>, cx: &mut Context<'_>) -> Verdict {
        // Only a reset at the next expected byte is believed (RFC 5961 section 3.2).
        let at = segment
            .head()
            .seq
            .position(self.client.isn, self.client.acked);
        let exact = at == self.client.acked.cast_signed() || at == self.stable().cast_signed();
        if self.state == State::Orphaned || self.over() {
            if exact {
                self.farewell = None;
            }
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
