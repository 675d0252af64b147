// SPDX-License-Identifier: GPL-3.0-only
//! A client that sends faster than the engine works is quiet for a moment, so that its connection can be given to the
//! fast path.
//!
//! While frames of a connection wait to be handled, those that come behind them would overtake them on the fast path, and
//! the engine would take the connection back for each that waits. A client in the middle of an upload keeps the queue
//! filled for as long as it is acknowledged. So its server's bare acknowledgements wait until the queue is empty, for a few
//! milliseconds at most. They are cumulative: one, at the end, says all.

use std::time::Duration;

use super::{Connection, Context, State};
use crate::frame::Time;
use crate::wire::{Flags, Segment};

/// How long acknowledgements wait at most: a tenth of the least retransmission time-out of Linux. A client's loss probe may
/// come sooner (RFC 8985 section 7), and is one segment.
const LIMIT: Duration = Duration::from_millis(20);
/// If that was not enough, there is too much to do for others: so long it is not tried again.
const REST: Duration = Duration::from_secs(1);
/// A client that sends so much in one segment is in the middle of something.
const BULK: usize = 1000;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hush {
    /// The client's last segment with data was a large one.
    bulk: bool,
    /// Acknowledgements wait until then.
    until: Option<Time>,
    /// One waits.
    withheld: bool,
    /// It is not tried before.
    rests: Option<Time>,
}

impl Hush {
    /// When something is due.
    pub(super) fn due(&self) -> Option<Time> {
        self.until.filter(|_| self.withheld)
    }

    /// The client has sent so many bytes at once.
    pub(super) const fn note(&mut self, bytes: usize) {
        if bytes > 0 {
            self.bulk = bytes >= BULK;
        }
    }
}

impl Connection {
    /// The fast path is to have it as soon as no frames wait. Says whether its client is made to be quiet for that.
    pub(crate) fn hush(&mut self, cx: &Context<'_>) -> bool {
        let rests = self.hush.rests.is_some_and(|until| cx.now < until);
        if !self.protected || !self.hush.bulk || rests {
            return false;
        }
        let until = *self.hush.until.get_or_insert(cx.now.after(LIMIT));
        cx.now < until
    }

    /// No frames wait any more, or it has taken too long.
    pub(crate) fn unhush(&mut self, cx: &mut Context<'_>) {
        self.say_withheld(cx);
        if self.hush.until.take().is_some_and(|until| until <= cx.now) {
            self.hush.rests = Some(cx.now.after(REST));
        }
    }

    /// The client is told what it was not told meanwhile.
    pub(super) fn say_withheld(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.hush.withheld) && self.state != State::Closed {
            self.ack_client(cx);
        }
    }

    /// Whether a server's segment waits that says nothing but how much it has. `advanced`: more than it had before; one
    /// that repeats itself tells of a loss.
    pub(super) fn withhold_ack(
        &mut self,
        segment: &Segment<'_>,
        advanced: bool,
        cx: &Context<'_>,
    ) -> bool {
        let bare = segment.head().flags == Flags::ACK && segment.payload().is_empty();
        let hushes = self.hush.until.is_some_and(|until| cx.now < until);
        let waits = hushes && bare && advanced;
        self.hush.withheld |= waits;
        waits
    }
}
