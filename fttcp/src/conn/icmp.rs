// SPDX-License-Identifier: GPL-3.0-only
//! ICMP errors about a connection's segments: judged, renumbered, and what they say of the path remembered.
//!
//! An error quotes a segment as its sender numbered it on the wire beyond the logger; whom it is sent to knows other
//! numbers. It is believed only if what it quotes is in flight (RFC 5927 section 4.1): an attacker who does not see
//! the connection's segments would have to guess that.
//!
//! A replacement knows nothing of the path that its predecessor has learnt. It is told the path's MTU by the MSS in
//! the fabricated SYN: this holds from its first byte on, and also for a server that is deaf to ICMP. What is learnt
//! only after the SYN has left is told at hand-over by a fabricated error.

use super::{Connection, Context, State, Verdict};
use crate::wire::{Flags, IcmpError, IcmpKind, SeqNumber, TooBigRepr};

/// Least MTU believed. IPv6 has none below (RFC 8200 section 5); for IPv4 Linux believes none below
/// (`net.ipv4.route.min_pmtu`), because small ones are a known attack (RFC 5927 section 7.1).
const MIN_MTU_V4: u16 = 552;
const MIN_MTU_V6: u16 = 1280;

/// MTUs that an old router may have meant (RFC 1191 section 7), for those that say none.
const PLATEAUS: [u32; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 552];

impl Connection {
    /// Takes an ICMP error about a segment of the server (`about_server`, it comes from the clients' side) or of the
    /// client. If it is to be forwarded, it quotes the numbers that its receiver knows.
    pub(crate) fn on_icmp(
        &mut self,
        error: &mut IcmpError,
        frame: &mut [u8],
        about_server: bool,
        cx: &mut Context<'_>,
    ) -> Verdict {
        if !self.protected && self.map.is_none() {
            return Verdict::Forward;
        }
        let verdict = if about_server {
            self.icmp_about_server(error, frame, cx)
        } else {
            self.icmp_about_client(error, frame, cx)
        };
        if verdict == Verdict::Drop {
            cx.counters.icmp_dropped += 1;
        }
        verdict
    }

    /// Whether a router has dropped something that its sender repeats only because it has not got the acknowledgement:
    /// the other end, which would repeat that, does not get it either. The logger tells it then. That is no answer to a
    /// forged error worth having: one acknowledgement, which changes nothing.
    fn repeats_in_vain(&self, error: &IcmpError, at: i64, una: i64) -> bool {
        let recent = una - i64::from(u16::MAX)..una;
        self.state == State::Established
            && self.protected
            && matches!(error.kind, IcmpKind::TooBig(_))
            && recent.contains(&at)
    }

    fn icmp_about_server(
        &mut self,
        error: &mut IcmpError,
        frame: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Verdict {
        let at = error.seq.position(self.server.isn, self.server.una);
        let in_flight = from_syn(self.server.una)..=self.server.next().cast_signed();
        if self.repeats_in_vain(error, at, *in_flight.start()) {
            let una = self.server.una;
            let said = self.map.map_or(una, |map| map.next.min(una));
            cx.send_south(&self.for_server(Flags::default(), self.stable(), said, &[]));
        }
        if self.state == State::Opening || !in_flight.contains(&at) {
            return Verdict::Drop;
        }
        if let IcmpKind::TooBig(mtu) = error.kind {
            let Some(mtu) = self.sensible_mtu(mtu, error.quoted_len) else {
                return Verdict::Drop;
            };
            self.path_mtu = lower(self.path_mtu, mtu);
        }
        match self.state {
            State::Recovering | State::Orphaned => return Verdict::Drop,
            State::Opening | State::Established | State::Closed => {}
        }
        let peer_delta = self.peer_deltas().0;
        error.set_seq(frame, error.seq - self.delta_seq());
        if let Some(ack) = error.ack {
            error.set_ack(frame, ack + peer_delta);
        }
        error.set_src_port(frame, self.south_port());
        Verdict::Forward
    }

    fn icmp_about_client(
        &mut self,
        error: &mut IcmpError,
        frame: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Verdict {
        // While the connection is moved, it is the logger that sends in the client's name.
        let (acked, sent) = self.recovery.as_ref().map_or_else(
            || (self.client.acked, self.client.next.max(self.stable())),
            |recovery| recovery.fed(),
        );
        let at = error.seq.position(self.present_client_isn(), acked);
        if self.repeats_in_vain(error, at, from_syn(acked)) {
            self.ack_client(cx);
        }
        if !(from_syn(acked)..=sent.cast_signed()).contains(&at) {
            return Verdict::Drop;
        }
        match self.state {
            State::Recovering => {
                if let IcmpKind::TooBig(mtu) = error.kind
                    && let Some(mtu) = self.sensible_mtu(mtu, error.quoted_len)
                {
                    self.server_mtu = lower(self.server_mtu, mtu);
                }
                return Verdict::Drop;
            }
            State::Orphaned => return Verdict::Drop,
            // A dying server's kernel or its neighbours may say so; as with a reset, that is no reason to give up.
            State::Established if self.protected && error.kind == IcmpKind::Hard => {
                return Verdict::Drop;
            }
            State::Opening | State::Established | State::Closed => {}
        }
        error.set_seq(frame, error.seq - self.peer_deltas().0);
        if let Some(ack) = error.ack {
            error.set_ack(frame, ack + self.delta_seq());
        }
        error.set_dst_port(frame, self.path.server.socket.port());
        Verdict::Forward
    }

    /// The MTU that an error means; `None`: it makes no sense (RFC 5927 section 7.2), the packet fitted.
    fn sensible_mtu(&self, mtu: u32, quoted_len: usize) -> Option<u16> {
        let quoted_len = quoted_len as u32;
        if mtu >= quoted_len {
            return None;
        }
        let mtu = if mtu == 0 {
            PLATEAUS.into_iter().find(|&plateau| plateau < quoted_len)?
        } else {
            mtu
        };
        let least = if self.path.client.socket.is_ipv4() {
            MIN_MTU_V4
        } else {
            MIN_MTU_V6
        };
        Some(u16::try_from(mtu).unwrap_or(u16::MAX).max(least))
    }

    /// IP and TCP headers without options: what an MTU has more than an MSS (RFC 6691).
    pub(crate) const fn headers(&self) -> u16 {
        if self.path.client.socket.is_ipv4() {
            40
        } else {
            60
        }
    }

    /// Most bytes, options included, that a segment to the client may have.
    pub(crate) fn path_mss(&self) -> u16 {
        let offered = self.client.options.mss.unwrap_or(536);
        self.path_mtu.map_or(offered, |mtu| {
            offered.min(mtu.saturating_sub(self.headers()))
        })
    }

    /// The replacement takes smaller segments than its predecessor: tells the client, which cannot know.
    pub(crate) fn tell_smaller_mss(&self, cx: &mut Context<'_>) {
        let announced = self.server.options.mss.unwrap_or(536);
        let Some(mss) = self.map.and_then(|map| map.options.mss) else {
            return;
        };
        if mss >= announced || self.client.fin.is_some() {
            return;
        }
        cx.send_north_icmp(&TooBigRepr {
            src: self.path.server,
            dst: self.path.client,
            tags: self.path.tags(),
            mtu: mss.saturating_add(self.headers()),
            quoted_dst: self.path.server.socket,
            seq: SeqNumber::at(self.client.isn, self.client.acked),
            ack: SeqNumber::at(self.server.isn, self.server.una),
            quoted_len: announced.saturating_add(self.headers()),
        });
    }

    /// Tells the present server an MTU that was learnt after it was sent the SYN with this MSS.
    pub(crate) fn tell_path_mtu(&self, told_mss: u16, acked: u64, cx: &mut Context<'_>) {
        let Some(mtu) = self.path_mtu.filter(|_| self.path_mss() < told_mss) else {
            return;
        };
        let error = TooBigRepr {
            src: self.path.client,
            dst: self.present_server(),
            tags: self.path.tags(),
            mtu,
            quoted_dst: self.path.client.socket,
            // The first byte that it knows to be in flight.
            seq: SeqNumber::at(self.present_isn(), acked),
            ack: SeqNumber::at(self.client.isn, self.stable()),
            quoted_len: told_mss.saturating_add(self.headers()),
        };
        cx.send_south_icmp(&error);
    }
}

fn lower(known: Option<u16>, mtu: u16) -> Option<u16> {
    Some(known.map_or(mtu, |known| known.min(mtu)))
}

/// The first position in flight when everything below `una` is acknowledged: at the beginning, it is the SYN.
const fn from_syn(una: u64) -> i64 {
    if una == 0 { -1 } else { una.cast_signed() }
}
