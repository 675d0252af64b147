// SPDX-License-Identifier: GPL-3.0-only
//! The fabricated answer: the replacement opens the connection that its predecessor had opened, and believes that the
//! peer answers. (See [`crate::conn`], `outbound`.)
//!
//! While it is waited for, the peer is kept alive: what it sends is logged and acknowledged, its probes are answered.
//! After the handshake everything goes as with any connection.

use super::{GIVE_UP, Phase, RTO};
use crate::conn::{Adopted, Connection, Context, Ecn, Mapping, State};
use crate::wire::{Flags, Head, OptionsRepr, SegmentRepr, SeqNumber, Timestamps};

/// How long a connection waits to be opened by the replacement.
const OPEN_WITHIN: std::time::Duration = GIVE_UP;

impl Connection {
    /// The replacement has still to open it.
    pub(crate) fn awaits_opening(&self) -> bool {
        let handshake = |recovery: &super::Recovery| recovery.phase == Phase::Handshake;
        self.outbound.is_some()
            && self.state == State::Recovering
            && self.map.is_none()
            && self.recovery.as_deref().is_some_and(handshake)
    }

    /// Recovery has begun.
    pub(super) fn await_opening(&mut self, cx: &mut Context<'_>) {
        self.unanswer();
        if let Some(recovery) = &mut self.recovery {
            recovery.give_up = cx.now.after(OPEN_WITHIN);
        }
        if !self.over() {
            // Also the third part of the handshake, if the dead server's was lost.
            self.ack_client(cx);
        }
    }

    /// Nothing that the replacement has opened is this connection. It waits on.
    pub(crate) fn unanswer(&mut self) {
        self.map = None;
        let port = self.path.server.socket.port();
        if let Some(outbound) = &mut self.outbound {
            outbound.south_port = port;
            (outbound.seq_delta, outbound.ts_delta) = (0, 0);
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.phase = Phase::Handshake;
            recovery.provisional = false;
            recovery.ended_early = None;
            recovery.retry = None;
            recovery.rto = RTO;
        }
    }

    /// Whether a replacement with these options can go on where its predecessor was.
    pub(crate) fn suits(&self, head: &Head) -> bool {
        let lacks_stamps = self.stamped() && head.options.timestamps.is_none();
        let lacks_scale = self.server_scale() != 0 && head.options.window_scale.is_none();
        !lacks_stamps && !lacks_scale
    }

    /// The replacement opens it, from `south_port`. `alone`: there is no other that it could mean.
    pub(crate) fn answer(
        &mut self,
        head: &Head,
        south_port: u16,
        alone: bool,
        cx: &mut Context<'_>,
    ) {
        self.map_to(head);
        if let Some(outbound) = &mut self.outbound {
            outbound.south_port = south_port;
        }
        if self.asking_room().is_none() {
            self.sent.expect_again(self.released());
        }
        let provisional = !self.is_linked() && (!alone || self.sent.expected_end() > 0);
        if let Some(recovery) = &mut self.recovery {
            recovery.provisional = provisional;
        }
        self.repeat_answer(cx);
    }

    /// Whether the replacement opened it with this sequence number.
    pub(crate) fn answered(&self, isn: SeqNumber) -> bool {
        self.map
            .is_some_and(|map| SeqNumber::at(map.isn, map.first) == isn + 1)
    }

    /// The peer's SYN-ACK, as it had been, once or once more.
    pub(crate) fn repeat_answer(&mut self, cx: &mut Context<'_>) {
        let Some(map) = self.map else {
            return;
        };
        let told_mss = self.path_mss();
        if let Some(recovery) = &mut self.recovery
            && recovery.phase == Phase::Handshake
        {
            recovery.retry = Some(cx.now.after(recovery.rto));
            recovery.told_mss = told_mss;
        }
        let options = self.told_options(&map);
        let room = self.asking_room().unwrap_or(self.client.right);
        cx.send_south(&SegmentRepr {
            src: self.path.client,
            dst: self.present_server(),
            tags: self.path.tags(),
            seq: self.present_client_isn(),
            ack: SeqNumber::at(map.isn, map.first),
            flags: if self.ecn == Ecn::Agreed {
                Flags::SYN.with(Flags::ACK).with(Flags::ECE)
            } else {
                Flags::SYN.with(Flags::ACK)
            },
            // A SYN's window is never scaled.
            window: room.min(u64::from(u16::MAX)) as u16,
            urgent: 0,
            options,
            payload: &[],
        });
    }

    fn told_options(&self, map: &Mapping) -> OptionsRepr {
        OptionsRepr {
            mss: self.client.options.mss.map(|_| self.path_mss()),
            window_scale: self.client.options.window_scale.filter(|_| self.scaled()),
            sack_permitted: self.client.options.sack_permitted && map.options.sack_permitted,
            timestamps: self.stamped().then(|| Timestamps {
                value: self.client.tsval.wrapping_add(self.peer_deltas().1),
                echo: map.ts_first,
            }),
        }
    }

    /// A segment of the replacement during the handshake. True: it completes it, and is to be taken as any other.
    pub(super) fn opened_again(&mut self, head: &Head, cx: &mut Context<'_>) -> bool {
        if head.flags.has(Flags::SYN) {
            return false;
        }
        if self.map.is_none() {
            if !head.flags.has(Flags::RST) {
                // It was answered by a logger that has ended since: it is to be opened once more.
                cx.send_south(&SegmentRepr {
                    seq: head.ack,
                    ack: SeqNumber(0),
                    flags: Flags::RST,
                    ..self.for_server(Flags::RST, 0, 0, &[])
                });
            }
            return false;
        }
        if head.flags.has(Flags::RST) {
            self.unanswer();
            return false;
        }
        if !head.flags.has(Flags::ACK) || head.ack != self.present_client_isn() + 1 {
            return false;
        }
        let right = u64::from(head.window) << self.present_scale();
        if self.asking_room().is_some() {
            // It goes on by itself where its predecessor was.
            self.begin_asking(right, cx);
            return self.go_on_unasked(cx);
        }
        self.begin_replay(right, cx)
    }

    /// The replacement has not shown yet which connection it means.
    pub(crate) fn provisional(&self) -> bool {
        self.recovery
            .as_ref()
            .is_some_and(|recovery| recovery.provisional)
    }

    /// The replacement says its first words, or that it has none, and this is the connection that it means.
    pub(super) fn settle_choice(&mut self, head: &Head, data: usize) {
        let first = self.present_isn() + 1;
        if let Some(recovery) = &mut self.recovery
            && (data > 0 || head.flags.has(Flags::FIN))
            && head.seq == first
        {
            recovery.provisional = false;
        }
    }

    /// The replacement has opened it and neither end has anything to say: that is enough. Says whether it was so.
    pub(super) fn opened_in_silence(&mut self, cx: &mut Context<'_>) -> bool {
        if self.sent.expects() && self.sent.expected_end() > 0 {
            return false;
        }
        let waited = self.recovery.as_mut().is_some_and(|recovery| {
            let waited = recovery.provisional && recovery.phase == Phase::Replay;
            recovery.provisional &= !waited;
            waited
        });
        if waited {
            self.check_caught_up(cx);
        }
        waited
    }

    /// Whether a replacement may say this first. `None`: nothing is known of what it says.
    pub(crate) fn may_begin_with(&self, data: &[u8], cx: &Context<'_>) -> Option<bool> {
        if self.sent.expected_end() == 0 {
            return None;
        }
        let within = self.server.fin.is_none_or(|fin| data.len() as u64 <= fin);
        Some(within && self.sent.begins_with(&cx.service.masks, data))
    }

    /// Whether what was told in the name of one could have been told in the name of the other.
    pub(crate) fn alike(&self, other: &Self) -> bool {
        let told = |it: &Self| {
            let options = &it.client.options;
            let scale = options.window_scale.filter(|_| it.scaled());
            (options.mss, scale, options.sack_permitted, it.stamped())
        };
        told(self) == told(other)
    }

    /// It is not the one that the replacement means: what it was told goes to another.
    pub(crate) fn hand_over(&mut self) -> Option<Adopted> {
        let map = self.map?;
        let adopted = Adopted {
            map,
            told: self.told_options(&map),
            south_port: self.south_port(),
            isn: self.present_client_isn(),
            tsval: self.client.tsval.wrapping_add(self.peer_deltas().1),
            right: self.recovery.as_ref()?.fed_right,
        };
        self.unanswer();
        Some(adopted)
    }

    /// It is the one that the replacement means.
    pub(crate) fn adopt(&mut self, adopted: &Adopted, cx: &mut Context<'_>) {
        let mut map = adopted.map;
        map.ts_delta = self
            .server
            .tsval
            .wrapping_add(1)
            .wrapping_sub(adopted.map.ts_first);
        self.map = Some(map);
        let (isn, tsval) = (self.client.isn, self.client.tsval);
        if let Some(outbound) = &mut self.outbound {
            outbound.south_port = adopted.south_port;
            outbound.seq_delta = adopted.isn.0.wrapping_sub(isn.0);
            outbound.ts_delta = adopted.tsval.wrapping_sub(tsval);
        }
        self.begin_replay(adopted.right, cx);
    }

    /// A connection that was over has been told again.
    pub(super) fn retold(&mut self, cx: &mut Context<'_>) {
        if self.client.fin.is_none() || self.server.fin.is_none() {
            // It had ended with a reset.
            self.reset_replacement(cx);
        }
        self.stop(cx);
    }

    /// A connection that was over is not told again to its end.
    pub(super) fn stop_retelling(&mut self, cx: &mut Context<'_>) {
        self.reset_replacement(cx);
        self.stop(cx);
    }

    fn stop(&mut self, cx: &Context<'_>) {
        self.recovery = None;
        self.state = State::Orphaned;
        self.active = cx.now;
    }

    /// A replacement that was told everything repeats its last words.
    pub(crate) fn answer_retold(&self, head: &Head, cx: &mut Context<'_>) {
        if self.over()
            && self.map.is_some()
            && !head.flags.has(Flags::RST)
            && head.flags.has(Flags::FIN)
        {
            let ack = self.server.una.min(self.map.map_or(0, |map| map.next));
            cx.send_south(&self.for_server(Flags::default(), self.stable(), ack, &[]));
        }
    }
}
