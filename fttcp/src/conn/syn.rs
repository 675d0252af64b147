// SPDX-License-Identifier: GPL-3.0-only
//! SYN and SYN-ACK: what may be negotiated through a rewriter, and what was.
//!
//! An option that binds the connection to one server's secrets or state (TFO, MPTCP, ENO, the experiments) is taken
//! out before either end can agree to it, AccECN likewise: its counters would begin anew in the middle of a
//! connection. The MSS is lowered if the service asks for it. ECN is noted: a replacement is offered it if it was
//! agreed, and only then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Connection, Context, State, Verdict};
use crate::wire::{Flags, Segment};

/// Whether the ends use ECN (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ecn {
    Off,
    Offered,
    Agreed,
}

impl Ecn {
    /// Of a client's SYN with these flags.
    pub(crate) const fn of_syn(flags: Flags) -> Self {
        if flags.has(Flags::ECE) && flags.has(Flags::CWR) {
            Self::Offered
        } else {
            Self::Off
        }
    }

    /// After the server has answered with these flags.
    pub(super) const fn answered(self, flags: Flags) -> Self {
        match self {
            Self::Offered if flags.has(Flags::ECE) && !flags.has(Flags::CWR) => Self::Agreed,
            Self::Offered | Self::Off | Self::Agreed => Self::Off,
        }
    }
}

/// Takes out of a SYN or SYN-ACK what must not be negotiated.
pub(crate) fn prepare(segment: &mut Segment<'_>, cx: &Context<'_>) {
    segment.strip_stateful();
    segment.strip_accurate_ecn();
    if let Some(max) = cx.service.spec.mss_clamp {
        segment.clamp_mss(max);
    }
}

impl Connection {
    /// A SYN of an incarnation that is known already.
    pub(super) fn client_syn(
        &mut self,
        segment: &mut Segment<'_>,
        cx: &mut Context<'_>,
    ) -> Verdict {
        let known = segment.head().seq == self.client.isn;
        match self.state {
            State::Opening => {
                if self.protected {
                    prepare(segment, cx);
                    self.log_syn_data(segment, cx);
                }
                Verdict::Forward
            }
            State::Recovering | State::Orphaned if known => {
                self.repeat_syn_ack(cx);
                Verdict::Drop
            }
            State::Recovering | State::Orphaned => Verdict::Drop,
            // The replacement does not know the client's SYN-ACK; the logger does.
            State::Established if known && self.map.is_some() => {
                self.repeat_syn_ack(cx);
                Verdict::Drop
            }
            State::Established | State::Closed => {
                if self.protected {
                    prepare(segment, cx);
                }
                Verdict::Forward
            }
        }
    }

    /// Logs what a SYN carries: a server may take it, or wait until the client sends it again. If there is no room,
    /// the server's answer decides.
    pub(crate) fn log_syn_data(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>) {
        let data = segment.payload();
        if self.protected && !data.is_empty() {
            let _ = self.log_bytes(0, data, cx);
        }
    }

    /// The client has answered the SYN-ACK, if it had not yet.
    pub(super) fn note_round_trip(&mut self, cx: &Context<'_>) {
        if let Some(answered) = self.answered.take() {
            let micros = cx.now.since(answered).as_micros();
            self.round_trip_us = u32::try_from(micros).unwrap_or(u32::MAX);
        }
    }

    /// The client's first round trip, beyond the logger.
    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        match self.round_trip_us {
            0 => None,
            micros => Some(Duration::from_micros(micros as u64)),
        }
    }

    pub(super) fn server_syn(
        &mut self,
        segment: &mut Segment<'_>,
        cx: &mut Context<'_>,
    ) -> Verdict {
        if self.map.is_some() {
            // The replacement has not got the logger's last handshake segment.
            let ack = self.server.una.min(self.map.map_or(0, |map| map.next));
            cx.send_south(&self.for_server(Flags::default(), self.stable(), ack, &[]));
            return Verdict::Drop;
        }
        if !self.protected || !segment.head().flags.has(Flags::ACK) {
            return Verdict::Forward;
        }
        prepare(segment, cx);
        let head = *segment.head();
        let untouched = self.server.una == 0 && self.server.end == 0;
        if self.state == State::Opening || (self.state == State::Established && untouched) {
            let first = self.state == State::Opening;
            self.server.isn = head.seq;
            self.server.options = head.options;
            self.server.tsval = head.options.timestamps.map_or(0, |stamps| stamps.value);
            self.server.right = u64::from(head.window);
            self.state = State::Established;
            // Of a SYN-ACK that is repeated it is not known which is answered (RFC 6298 section 3).
            self.answered = first.then_some(cx.now);
            if first {
                self.ecn = self.ecn.answered(head.flags);
            }
            let ack = head.ack.position(self.client.isn, 0);
            match u64::try_from(ack) {
                Ok(ack) if ack <= self.log.stable() => {
                    self.client.acked = ack;
                    self.server.right += ack;
                }
                _ => self.unprotect("its server acknowledged bytes that were not logged", cx),
            }
            self.limit_window(cx);
        }
        self.hold_window(segment, cx);
        Verdict::Forward
    }
}
