// SPDX-License-Identifier: GPL-3.0-only
//! Feeding the logged client bytes to the replacement: a minimal TCP sender (window, go-back-N, probe).
//!
//! The link between logger and replacement is short and loses little, so there is no congestion control here.

use super::Phase;
use crate::conn::{Connection, Context};
use crate::wire::{Flags, Head, SegmentRepr};

impl Connection {
    /// Sends what the replacement's window and the order of cause and effect allow.
    pub(super) fn feed(&mut self, cx: &mut Context<'_>) {
        let allowed = self.allowed();
        let logged = self.log.stable();
        let (ack, mss) = (self.replacement_ack(), self.replacement_mss());
        let Some((mut next, right)) = self.recovery.as_deref().and_then(|recovery| {
            let feeding = recovery.phase == Phase::Replay;
            feeding.then_some((recovery.fed_next, recovery.fed_right))
        }) else {
            return;
        };
        let data_end = logged.min(allowed).min(right);
        let mut unreadable = false;
        while next < data_end {
            let mark = self.urgent.after(next).unwrap_or(u64::MAX);
            // Urgent data ends its segment: that has room for one mark.
            let room = (data_end.min(mark) - next).min(mss as u64) as usize;
            let Ok(data) = self.log.fetch(next, room) else {
                unreadable = true;
                break;
            };
            let end = next + data.len() as u64;
            let mut flags = if end == data_end {
                Flags::PSH
            } else {
                Flags::default()
            };
            if end == mark {
                flags = flags.with(Flags::URG);
            }
            let segment = self.for_server(flags, next, ack, &data);
            cx.send_south(&SegmentRepr {
                urgent: if end == mark { data.len() as u16 } else { 0 },
                ..segment
            });
            next = end;
        }
        if self.client.fin == Some(next) && next == logged && next < allowed {
            cx.send_south(&self.for_server(Flags::FIN, next, ack, &[]));
            next += 1;
        }
        self.note_fed(next, logged.min(allowed), cx);
        if unreadable {
            self.unreadable(cx);
        }
    }

    /// The client position below which what the client said had no cause in what the replacement has still to say.
    fn allowed(&mut self) -> u64 {
        let Some(recovery) = &mut self.recovery else {
            return 0;
        };
        let regenerated = self.sent.end() + u64::from(recovery.fin_seen);
        while let Some(&(_, seen)) = self.causes.get(recovery.causes_met)
            && seen <= regenerated
        {
            recovery.causes_met += 1;
        }
        // Once everything has been said again, the client's bytes come as they come.
        let next_cause = self.causes.get(recovery.causes_met);
        let next_cause = next_cause.filter(|_| self.sent.expects());
        next_cause.map_or(u64::MAX, |&(at, _)| at)
    }

    /// Everything below `next` has been sent, and everything below `ready` could be if there were room.
    fn note_fed(&mut self, next: u64, ready: u64, cx: &Context<'_>) {
        // A replacement that has not said a word may not know the connection yet: with SYN cookies, it does so only
        // by the handshake's last segment, which it does not ask for again (RFC 4987 section 3.6).
        let unheard = self.sent.expects() && self.map.is_some_and(|map| map.next == map.first);
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        recovery.fed_next = next;
        recovery.fed_most = recovery.fed_most.max(next);
        // What the peer says first, it says to anyone: the choice is made.
        recovery.provisional &= next == 0;
        let waiting = unheard || recovery.fed_una < next;
        let window_closed = recovery.fed_right <= next && next < ready;
        if !(waiting || window_closed) {
            recovery.retry = None;
        } else if recovery.retry.is_none() {
            recovery.retry = Some(cx.now.after(recovery.rto));
        }
    }

    /// The retransmission timer: goes back to what is not acknowledged; probes a closed window with one byte.
    pub(super) fn feed_again(&mut self, cx: &mut Context<'_>) {
        let fed = self.recovery.as_ref().map(|recovery| recovery.fed());
        if fed.is_some_and(|(una, next)| una == next) {
            self.ack_replacement(cx);
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.retry = None;
            recovery.fed_next = recovery.fed_una;
            recovery.fed_right = recovery.fed_right.max(recovery.fed_una + 1);
        }
        self.feed(cx);
    }

    /// Takes the replacement's acknowledgement and window. False: it acknowledges what it was not sent, so that it is
    /// no segment of this connection (RFC 9293 section 3.10.7.4).
    pub(super) fn track_replacement_ack(&mut self, head: &Head, cx: &Context<'_>) -> bool {
        let (scale, isn) = (self.present_scale(), self.present_client_isn());
        let Some(recovery) = &mut self.recovery else {
            return false;
        };
        let ack = head.ack.position(isn, recovery.fed_una);
        let Ok(ack) = u64::try_from(ack) else {
            return true;
        };
        if recovery.inherited && ack > recovery.fed_most {
            // Not of this attempt: an earlier one had come further.
            return false;
        }
        let window = u64::from(head.window) << scale;
        self.intake.note(ack, window);
        recovery.fed_right = recovery.fed_right.max(ack + window);
        if ack > recovery.fed_una {
            recovery.fed_una = ack;
            recovery.fed_next = recovery.fed_next.max(ack);
            recovery.retry = None;
            recovery.rto = super::RTO;
            recovery.progressed(cx.now);
        }
        true
    }

    pub(super) fn replacement_mss(&self) -> usize {
        let offered = self.map.and_then(|map| map.options.mss).unwrap_or(536);
        let mut mss = offered.min(self.client.options.mss.unwrap_or(536));
        if let Some(mtu) = self.server_mtu {
            mss = mss.min(mtu.saturating_sub(self.headers()));
        }
        usize::from(mss)
            .saturating_sub(if self.stamped() { 12 } else { 0 })
            .max(64)
    }

    /// Highest position that the replacement may be told is received: it has said it, and the client has it (or the
    /// logger has taken it in custody).
    pub(super) fn replacement_ack(&self) -> u64 {
        let had = self.server.una.min(self.map.map_or(0, |map| map.next));
        let recovery = self.recovery.as_ref();
        recovery.map_or(had, |recovery| recovery.custody.end().max(had))
    }

    /// Sends the replacement a pure acknowledgement.
    pub(crate) fn ack_replacement(&mut self, cx: &mut Context<'_>) {
        let phase = self.recovery.as_ref().map(|recovery| recovery.phase);
        if self.map.is_none() || phase == Some(Phase::Pause) {
            return;
        }
        if phase == Some(Phase::Asking) {
            self.say_asking(Flags::default(), cx);
            return;
        }
        let at = self
            .recovery
            .as_ref()
            .map_or_else(|| self.stable(), |recovery| recovery.fed_next);
        let ack = self.replacement_ack();
        cx.send_south(&self.for_server(Flags::default(), at, ack, &[]));
    }
}
