// SPDX-License-Identifier: GPL-3.0-only
//! The receive window that the client is told. It is the server's, but for a service whose full buffer holds
//! (`on_full`: `hold`): there it ends where the stable buffer does, so that what the client may send always fits.
//!
//! The held edge is kept from the first answer on, since an edge once told must not retreat (RFC 9293 section 3.8.6);
//! it moves when the log is cut. A window is told in units of its scale: rounding up tells up to a unit more than is
//! meant, which the buffer has room for, and the next window may tell less again by that much (RFC 7323 section 2.4).
//! Probes of a closed window pass to the server, whose answers are told the held edge like all others.

use super::full::BOOKKEEPING;
use super::{Connection, Context};
use crate::control::OnFull;
use crate::wire::{Flags, Segment};

impl Connection {
    /// Right edge of the window that the client may be told.
    pub(super) fn told_right(&self) -> u64 {
        self.server.right.min(self.window_limit)
    }

    /// The window field for the client, given the acknowledgement beside it. Rounded up, so that the right edge
    /// does not retreat (RFC 7323 section 2.4).
    pub(crate) fn announce_window(&mut self, ack: u64) -> u16 {
        let scale = self.server_scale();
        let field = window_field(self.told_right(), ack, scale);
        self.server.right = self.server.right.max(ack + (u64::from(field) << scale));
        field
    }

    /// Says the window anew in a segment that was rewritten for the client already.
    pub(crate) fn announce_again(&mut self, segment: &mut Segment<'_>) {
        let ack = segment
            .head()
            .ack
            .position(self.client.isn, self.client.acked);
        let window = self.announce_window(ack.max(0).unsigned_abs());
        segment.set_window(window);
    }

    /// Sets the edge to where the buffer ends. Says whether it moved.
    pub(super) fn limit_window(&mut self, cx: &Context<'_>) -> bool {
        let before = self.window_limit;
        if self.protected && cx.service.spec.on_full == OnFull::Hold {
            let bound = u64::from(cx.service.spec.buffer_bytes);
            let rounding = 1 << self.server_scale();
            let room = bound.saturating_sub(bound / BOOKKEEPING + rounding);
            // A chunk that was cut in its middle, and one that is not full, take room for nothing.
            let spill = cx.spill.map_or(0, |store| {
                let chunks = 2 * store.chunk_bytes() as u64;
                cx.service.spec.spill_bytes.saturating_sub(chunks)
            });
            self.window_limit = self.log.start() + room + spill;
        }
        before != self.window_limit
    }

    /// Holds the window of a segment that is otherwise passed on as it came from the server.
    pub(super) fn hold_window(&mut self, segment: &mut Segment<'_>, cx: &mut Context<'_>) {
        if self.window_limit == u64::MAX || !segment.head().flags.has(Flags::ACK) {
            return;
        }
        let head = segment.head();
        // A SYN's window is never scaled (RFC 7323 section 2.2).
        let syn = head.flags.has(Flags::SYN);
        let scale = if syn { 0 } else { self.server_scale() };
        let ack = head.ack.position(self.client.isn, self.client.acked);
        let ack = ack.max(0).unsigned_abs();
        let field = window_field(self.window_limit, ack, scale);
        let held = field < head.window;
        if held {
            segment.set_window(field);
        }
        self.note_held(held, cx);
    }

    /// Notes whether the client is now told less than the server would say.
    pub(super) fn note_held(&mut self, held: bool, cx: &mut Context<'_>) {
        cx.counters.windows_held += u64::from(held && !self.window_held);
        self.window_held = held;
    }

    /// The log was cut: a client whose window was held learns at once that it may send more. The server cannot tell it,
    /// since its own window was open all the time. If this is lost, the client's probe asks again.
    pub(super) fn open_window(&mut self, cx: &mut Context<'_>) {
        if self.limit_window(cx) && self.window_held {
            self.note_held(self.server.right > self.window_limit, cx);
            self.ack_client(cx);
        }
    }
}

/// The window field that tells at least this edge.
fn window_field(right: u64, ack: u64, scale: u8) -> u16 {
    let units = right.saturating_sub(ack).div_ceil(1 << scale);
    u16::try_from(units).unwrap_or(u16::MAX)
}
