// SPDX-License-Identifier: GPL-3.0-only
//! The fabricated handshake takes as long as the client's did.
//!
//! A replacement measures its first round trip by the handshake. If the logger completed that at once, its
//! retransmission timer would begin at its floor and its congestion control (BBR's `min_rtt`) with a path that does
//! not exist. What the replacement measures while it says again what had been said is still the logger's answer: this
//! cannot be helped without making the move as slow as the path.

use std::time::Duration;

use super::Phase;
use crate::conn::{Connection, Context};

/// Shorter round trips are not worth a timer.
const LEAST: Duration = Duration::from_millis(1);
/// The client is not made to wait any longer for an honest measurement.
const MOST: Duration = Duration::from_millis(100);

impl Connection {
    /// The replacement has answered the SYN: goes on now, or after the round trip that the client had.
    pub(super) fn complete_handshake(&mut self, cx: &mut Context<'_>) {
        let trip = self.round_trip().filter(|&trip| trip >= LEAST);
        if let (Some(trip), Some(recovery)) = (trip, &mut self.recovery) {
            recovery.phase = Phase::Pause;
            recovery.retry = Some(cx.now.after(trip.min(MOST)));
        } else {
            self.end_pause(cx);
        }
    }

    /// The last segment of the handshake has still to leave.
    pub(super) fn in_pause(&self) -> bool {
        let phase = self.recovery.as_ref().map(|recovery| recovery.phase);
        phase == Some(Phase::Pause)
    }

    /// The last segment of the handshake leaves, and everything after it.
    pub(super) fn end_pause(&mut self, cx: &mut Context<'_>) {
        if let Some(recovery) = &mut self.recovery {
            recovery.retry = None;
            if recovery.resume.is_some() {
                recovery.phase = Phase::Asking;
                if !self.go_on_unasked(cx) {
                    self.ask(cx);
                }
                return;
            }
            recovery.phase = Phase::Replay;
        }
        self.ack_replacement(cx);
        self.settle_expected(cx);
        self.feed(cx);
        self.check_caught_up(cx);
    }
}
