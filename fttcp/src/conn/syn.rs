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
use crate::wire::{Flags, OptionsRepr, Segment, SegmentRepr, SeqNumber};

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

/// What a SYN-ACK said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    isn: SeqNumber,
    pub(super) options: OptionsRepr,
    pub(super) right: u64,
}

/// So many SYN-ACKs are remembered that another has followed.
const OFFERS: usize = 3;

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
            // No connection ends by a SYN (RFC 5961 section 4): its client, if it has forgotten the connection, resets it
            // first. A server whose socket is gone already would answer what the logger does not log.
            State::Established if !known && self.tells_apart() => {
                self.ack_client(cx);
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

    /// It is more to the logger than segments to be passed on: no other connection may take its place while it lives.
    pub(crate) fn tells_apart(&self) -> bool {
        let live = matches!(self.state, State::Established | State::Recovering);
        live && (self.protected || self.map.is_some())
    }

    /// Logs what a SYN carries: a server may take it, or wait until the client sends it again. If there is no room,
    /// the server's answer decides.
    pub(crate) fn log_syn_data(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>) {
        let data = segment.payload();
        if self.protected && !data.is_empty() {
            self.client.next = self.client.next.max(data.len() as u64);
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

    /// Another SYN-ACK takes the place of the one that had passed, which the client may have got.
    fn remember_offer(&mut self) {
        let server = &mut self.server;
        if server.offers.len() == OFFERS {
            server.offers.remove(0);
        }
        server.offers.push(Offer {
            isn: server.isn,
            options: server.options,
            right: server.right,
        });
    }

    /// The client acknowledges this for the first time: so it had got this SYN-ACK, and has ignored all others.
    pub(super) fn settle_offer(&mut self, ack: SeqNumber, cx: &Context<'_>) {
        let server = &mut self.server;
        if server.offers.is_empty() || self.client.heard {
            return;
        }
        let accepted = server.offers.iter().position(|offer| offer.isn + 1 == ack);
        if let Some(at) = accepted.filter(|_| server.isn + 1 != ack) {
            let offer = server.offers.remove(at);
            server.isn = offer.isn;
            server.options = offer.options;
            server.right = server.right.max(offer.right);
            if self.map.is_none() {
                server.tsval = offer.options.timestamps.map_or(0, |stamps| stamps.value);
            }
            self.limit_window(cx);
        } else if server.isn + 1 != ack {
            return;
        }
        self.server.offers = Vec::new();
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
        let head = segment.head();
        if self.state == State::Closed && head.flags.has(Flags::ACK) && head.seq != self.server.isn
        {
            // A replacement answers what was given up meanwhile: the client knows another server.
            let (seq, none) = (head.ack, SeqNumber(0));
            cx.send_south(&SegmentRepr {
                seq,
                ack: none,
                ..self.for_server(Flags::RST, 0, 0, &[])
            });
            return Verdict::Drop;
        }
        if !self.protected || !segment.head().flags.has(Flags::ACK) {
            return Verdict::Forward;
        }
        prepare(segment, cx);
        let head = *segment.head();
        let acked = u64::try_from(head.ack.position(self.client.isn, 0));
        let Some(ack) = acked.ok().filter(|&ack| ack <= self.client.next) else {
            // It answers a SYN of this name that came before: its client resets it (RFC 9293 section 3.10.7.3).
            return Verdict::Forward;
        };
        let untouched = !self.client.heard && self.server.una == 0 && self.server.end == 0;
        if self.state == State::Opening || (self.state == State::Established && untouched) {
            let first = self.state == State::Opening;
            if !first && self.server.isn != head.seq {
                self.remember_offer();
            }
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
            self.client.acked = ack;
            self.intake.note(ack, u64::from(head.window));
            self.server.right += ack;
            if ack > self.log.stable() {
                self.unprotect("its server acknowledged bytes that were not logged", cx);
            }
            self.limit_window(cx);
        }
        self.hold_window(segment, cx);
        Verdict::Forward
    }
}
