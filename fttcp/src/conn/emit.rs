// SPDX-License-Identifier: GPL-3.0-only
//! Segments that the logger makes itself, in the name of either end.

use super::clock::newer;
use super::{Connection, Context, Ecn, State};
use crate::wire::{Flags, OptionsRepr, SegmentRepr, SeqNumber, Timestamps};

impl Connection {
    /// Most data bytes in one segment to the client.
    pub(crate) fn client_mss(&self) -> usize {
        usize::from(self.path_mss())
            .saturating_sub(if self.stamped() { 12 } else { 0 })
            .max(64)
    }

    fn stamps_for_client(&mut self) -> Option<Timestamps> {
        if let Some(map) = self.map {
            let mapped = map.ts_last.wrapping_add(map.ts_delta);
            if newer(mapped, self.server.tsval) {
                self.server.tsval = mapped;
            }
        }
        self.stamped().then_some(Timestamps {
            value: self.server.tsval,
            echo: self.client.tsval,
        })
    }

    /// Sends the client a segment in the server's name; `at`: position in the server's stream. It acknowledges what
    /// has been acknowledged before, and while the connection recovers, everything logged.
    pub(crate) fn send_client(&mut self, flags: Flags, at: u64, data: &[u8], cx: &mut Context<'_>) {
        if self.state == State::Recovering || self.state == State::Orphaned {
            self.client.acked = self.client.acked.max(self.stable());
        }
        let window = self.announce_window(self.client.acked);
        let options = OptionsRepr {
            timestamps: self.stamps_for_client(),
            ..OptionsRepr::default()
        };
        cx.send_north(&SegmentRepr {
            src: self.path.server,
            dst: self.path.client,
            tags: self.path.tags(),
            seq: SeqNumber::at(self.server.isn, at),
            ack: SeqNumber::at(self.client.isn, self.client.acked),
            flags: flags.with(Flags::ACK),
            window,
            urgent: 0,
            options,
            payload: data,
        });
    }

    /// Sends the client a pure acknowledgement in the server's name.
    pub(crate) fn ack_client(&mut self, cx: &mut Context<'_>) {
        let at = self.server.next();
        self.send_client(Flags::default(), at, &[], cx);
    }

    /// Asks the client what it has and how much it takes: nothing below what it has acknowledged lies in its window, so
    /// that it answers at once (RFC 9293 section 3.10.7.4).
    pub(crate) fn probe_client(&mut self, cx: &mut Context<'_>) {
        let before = self.server.una.wrapping_sub(1);
        self.send_client(Flags::default(), before, &[], cx);
    }

    /// Answers the client's SYN again, in the dead server's name.
    pub(crate) fn repeat_syn_ack(&mut self, cx: &mut Context<'_>) {
        let options = OptionsRepr {
            mss: self.server.options.mss,
            window_scale: self.server.options.window_scale.filter(|_| self.scaled()),
            sack_permitted: self.server.options.sack_permitted
                && self.client.options.sack_permitted,
            timestamps: self.stamps_for_client(),
        };
        cx.send_north(&SegmentRepr {
            src: self.path.server,
            dst: self.path.client,
            tags: self.path.tags(),
            seq: self.server.isn,
            ack: SeqNumber::at(self.client.isn, 0),
            flags: if self.ecn == Ecn::Agreed {
                Flags::SYN.with(Flags::ACK).with(Flags::ECE)
            } else {
                Flags::SYN.with(Flags::ACK)
            },
            // A SYN's window is never scaled.
            window: self.told_right().min(u64::from(u16::MAX)) as u16,
            urgent: 0,
            options,
            payload: &[],
        });
    }

    /// A segment to the present server in the client's name; `at`: position in the client's stream, `ack`: in the
    /// server's.
    pub(crate) fn for_server<'a>(
        &'a self,
        flags: Flags,
        at: u64,
        ack: u64,
        data: &'a [u8],
    ) -> SegmentRepr<'a> {
        let scale = self.scale_for_present();
        // What the client has acknowledged, the logger itself takes, and what a dead server had sent has to be said
        // again, be it beyond a window that has closed: rounding must not withhold the last of it. Nor may it offer
        // more than the client does.
        let needed = if self.state == State::Recovering {
            self.server.next()
        } else {
            self.server.una
        };
        let room = self.client.right.max(needed).saturating_sub(ack);
        let room = room.min(self.replay_room(ack));
        let withheld = ack + (room >> scale << scale) < needed;
        let window = (room >> scale) + u64::from(withheld);
        let timestamps = self.stamped().then(|| Timestamps {
            value: self.client.tsval.wrapping_add(self.peer_deltas().1),
            echo: self.map.map_or(self.server.tsval, |map| map.ts_last),
        });
        SegmentRepr {
            src: self.path.client,
            dst: self.present_server(),
            tags: self.path.tags(),
            seq: SeqNumber::at(self.present_client_isn(), at),
            ack: SeqNumber::at(self.present_isn(), ack),
            flags: flags.with(Flags::ACK),
            window: window.min(u64::from(u16::MAX)) as u16,
            urgent: 0,
            options: OptionsRepr {
                timestamps,
                ..OptionsRepr::default()
            },
            payload: data,
        }
    }

    /// The client's SYN, once more. `negotiated`: only with the options on which both ends had agreed, so that the
    /// replacement agrees to the same.
    pub(crate) fn syn(&self, negotiated: bool) -> SegmentRepr<'_> {
        let mut options = self.client.options;
        options.mss = options.mss.map(|_| self.path_mss());
        if negotiated {
            options.window_scale = options.window_scale.filter(|_| self.scaled());
            options.sack_permitted &= self.server.options.sack_permitted;
            options.timestamps = options.timestamps.filter(|_| self.stamped());
        }
        options.timestamps = options.timestamps.map(|_| Timestamps {
            value: self.client.tsval,
            echo: 0,
        });
        let room = self.asking_room().unwrap_or_else(|| {
            let room = self.client.right.saturating_sub(self.replay_from);
            room.min(self.replay_room(self.replay_from))
        });
        SegmentRepr {
            src: self.path.client,
            dst: self.present_server(),
            tags: self.path.tags(),
            // It stands before the first byte that is told.
            seq: self.feed_start() - 1,
            ack: SeqNumber(0),
            // A connection must not gain ECN: its client does not expect marks.
            flags: if self.ecn == Ecn::Agreed || (!negotiated && self.ecn == Ecn::Offered) {
                Flags::SYN.with(Flags::ECE).with(Flags::CWR)
            } else {
                Flags::SYN
            },
            window: room.min(u64::from(u16::MAX)) as u16,
            urgent: 0,
            options,
            payload: &[],
        }
    }

    /// Resets the client's side. Its next expected byte may be any from the last acknowledged to the last sent; a
    /// reset elsewhere is only challenged (RFC 5961 section 3.2), so both ends of that range are tried.
    pub(crate) fn reset_client(&mut self, cx: &mut Context<'_>) {
        let (una, next) = (self.server.una, self.server.next());
        self.send_client(Flags::RST, una, &[], cx);
        if next != una {
            self.send_client(Flags::RST, next, &[], cx);
        }
    }
}
