// SPDX-License-Identifier: GPL-3.0-only
//! A recovery that does not come to its end: the client leaves, the replacement fails, or it says something else.

use std::time::Duration;

use crate::conn::{Connection, Context, Divergence, State};
use crate::engine::Event;
use crate::wire::Flags;

use super::Phase;

/// How often it is looked whether a close can be said in a replacement's name.
const AGAIN: Duration = Duration::from_millis(100);

impl Connection {
    /// The client reset the connection while it was being moved.
    pub(crate) fn abandon_recovery(&mut self, cx: &mut Context<'_>) {
        let waited = self.recovery.as_ref().is_some_and(|it| it.waits);
        if !self.planned_done(cx)
            && let Some(progress) = &mut cx.progress
        {
            progress.status.connections = progress.status.connections.saturating_sub(1);
            progress.settle(waited, cx.now, cx.events);
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

    /// The dead server had closed, and the client was told: it was killed, its kernel closed in its name, and nobody knew of that in
    /// time. All else was said again, but a replacement that does not close by now is one that would not. What it says from
    /// here on is nobody's; the logger answers the client's close.
    pub(super) fn close_for_replacement(&mut self, cx: &mut Context<'_>) {
        let lacks = self.server.fin.is_some_and(|fin| self.server.una < fin);
        let logged = self.log.stable();
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        // The client lacks some of what was said again, or has said more than the replacement was told.
        if lacks || recovery.fed_next < logged {
            recovery.close_due = Some(cx.now.after(AGAIN));
            return;
        }
        let waited = recovery.waits;
        if !self.planned_done(cx)
            && let Some(progress) = &mut cx.progress
        {
            progress.status.connections = progress.status.connections.saturating_sub(1);
            progress.settle(waited, cx.now, cx.events);
        }
        self.reset_replacement(cx);
        cx.counters.closed += 1;
        self.answer_for_server(true, cx);
    }

    pub(crate) fn reset_replacement(&self, cx: &mut Context<'_>) {
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

    /// The client is told that its connection is broken.
    fn break_off(&mut self, cx: &mut Context<'_>) {
        self.reset_client(cx);
        self.recovery = None;
        // What the client still sends reaches the replacement, which refuses it in its own words.
        self.state = State::Closed;
        self.protected = false;
        self.forget_streams();
    }

    fn note_lost(&mut self, event: Event, waited: bool, cx: &mut Context<'_>) {
        cx.events.push(event);
        if !self.planned_lost(cx)
            && let Some(progress) = &mut cx.progress
        {
            progress.status.lost += 1;
            progress.settle(waited, cx.now, cx.events);
        }
    }

    /// Gives the connection up: its client gets an error reply, or is reset.
    pub(crate) fn lose(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        if self.over() {
            self.stop_retelling(cx);
            return;
        }
        if self.go_back(reason, cx) {
            return;
        }
        cx.counters.lost += 1;
        let waited = self.recovery.as_ref().is_some_and(|it| it.waits);
        self.reset_replacement(cx);
        let ends = self.ends();
        let event = if self.say_farewell(cx) {
            cx.counters.error_replies += 1;
            Event::Answered { ends, reason }
        } else {
            self.break_off(cx);
            Event::Lost { ends, reason }
        };
        self.note_lost(event, waited, cx);
    }

    pub(super) fn diverge(&mut self, found: &Divergence, cx: &mut Context<'_>) {
        if self.over() {
            self.stop_retelling(cx);
            return;
        }
        if self.go_back(
            "what the other server says differs from what had been sent",
            cx,
        ) {
            return;
        }
        if self.has_resumed() {
            // Nothing that is new has been passed on. The replay shows what is true.
            self.refuse_resume("the rest differs from what had been sent", cx);
            return;
        }
        cx.counters.diverged += 1;
        let waited = self.recovery.as_ref().is_some_and(|it| it.waits);
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
        self.reset_replacement(cx);
        self.break_off(cx);
        self.note_lost(event, waited, cx);
    }
}
