// SPDX-License-Identifier: GPL-3.0-only
//! A recovery that does not come to its end: the client leaves, the replacement fails, or it says something else.

use crate::conn::{Connection, Context, Divergence, State};
use crate::engine::Event;
use crate::wire::Flags;

use super::Phase;

impl Connection {
    /// The client reset the connection while it was being moved.
    pub(crate) fn abandon_recovery(&mut self, cx: &mut Context<'_>) {
        if let Some(progress) = &mut cx.progress {
            progress.status.connections = progress.status.connections.saturating_sub(1);
            progress.settle(cx.now, cx.events);
        }
        if self.retire(cx) {
            // The replacement is told all of it yet, and the reset at the end.
            cx.counters.closed += 1;
            return;
        }
        self.reset_replacement(cx);
        self.recovery = None;
        self.close(cx);
    }

    pub(super) fn reset_replacement(&self, cx: &mut Context<'_>) {
        if let Some(recovery) = &self.recovery
            && self.map.is_some()
        {
            if recovery.phase == Phase::Asking {
                self.say_asking(Flags::RST, cx);
                return;
            }
            let ack = self.replacement_ack();
            cx.send_south(&self.for_server(Flags::RST, recovery.fed_next, ack, &[]));
        }
    }

    /// Gives the connection up, and tells both ends.
    fn give_up(&mut self, event: Event, cx: &mut Context<'_>) {
        self.reset_client(cx);
        self.reset_replacement(cx);
        self.recovery = None;
        cx.events.push(event);
        if let Some(progress) = &mut cx.progress {
            progress.status.lost += 1;
            progress.settle(cx.now, cx.events);
        }
        // What the client still sends reaches the replacement, which refuses it in its own words.
        self.state = State::Closed;
        self.protected = false;
        self.forget_streams();
    }

    pub(crate) fn lose(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        if self.over() {
            self.stop_retelling(cx);
            return;
        }
        cx.counters.lost += 1;
        let ends = self.ends();
        self.give_up(Event::Lost { ends, reason }, cx);
    }

    pub(super) fn diverge(&mut self, found: &Divergence, cx: &mut Context<'_>) {
        if self.over() {
            self.stop_retelling(cx);
            return;
        }
        if self.has_resumed() {
            // Nothing that is new has been passed on. The replay shows what is true.
            self.refuse_resume("the rest differs from what had been sent", cx);
            return;
        }
        cx.counters.diverged += 1;
        let show = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
        let event = Event::Diverged {
            ends: self.ends(),
            offset: found.offset,
            sent: found
                .sent
                .as_deref()
                .map_or_else(|| "(only its digest is known)".to_owned(), show),
            regenerated: show(&found.regenerated),
        };
        self.give_up(event, cx);
    }
}
