// SPDX-License-Identifier: GPL-3.0-only
//! When a crowd of connections is moved, those that have been step aside until the others have, for a moment.
//!
//! Each of them could use all that the machine has, and what the kernel does for them goes before the process that moves
//! the others: measured with 500 downloads, the last was moved when the first were over. So a moved connection gets what
//! its replacement may send without being acknowledged, and the client's bare acknowledgements wait. They are cumulative:
//! one, at the end, says all.

use std::time::Duration;

use super::{Connection, Context, Kick, Progress};
use crate::frame::Time;
use crate::wire::{Flags, Segment};

/// Of at most so many, none does.
const CROWD: u64 = 64;
/// So long after its failover began, none does any more.
const LIMIT: Duration = Duration::from_millis(500);

impl Progress {
    /// Until when its connections step aside, if they do now.
    fn aside_until(&self, now: Time) -> Option<Time> {
        let until = self.limit();
        (self.status.connections > CROWD && self.under_way() > 0 && now < until).then_some(until)
    }

    /// When that ends at the latest.
    fn limit(&self) -> Time {
        self.started.after(LIMIT)
    }

    /// Whether those that stepped aside go on.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        self.aside_until(now).is_none()
    }
}

impl Connection {
    /// Until when it steps aside for others, if it was moved and others are not.
    fn aside_until(&self, cx: &Context<'_>) -> Option<Time> {
        let crowd = cx.progress.as_ref().filter(|_| self.map.is_some())?;
        crowd.aside_until(cx.now)
    }

    /// Whether it steps aside.
    pub(crate) fn steps_aside(&self, cx: &Context<'_>) -> bool {
        self.aside_until(cx).is_some()
    }

    /// If the connection steps aside, a client's segment that says nothing but how far it is waits: says whether it does.
    pub(super) fn step_aside(&mut self, segment: &Segment<'_>, cx: &Context<'_>) -> bool {
        let bare = segment.head().flags == Flags::ACK && segment.payload().is_empty();
        let open = self.server.fin.is_none() && self.hold.is_none();
        let Some(until) = self.aside_until(cx).filter(|_| bare && open) else {
            return false;
        };
        self.kick = Some(Kick::once(until));
        true
    }

    /// It goes on: tells both ends where they are. Says whether it had stepped aside.
    pub(crate) fn wake(&mut self, cx: &mut Context<'_>) -> bool {
        let until = cx.progress.as_ref().map(|progress| progress.limit());
        let aside = self.kick.is_some_and(|kick| Some(kick.at) == until);
        if aside {
            self.kick_now(cx);
        }
        aside
    }
}
