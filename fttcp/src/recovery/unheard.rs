// SPDX-License-Identifier: GPL-3.0-only
//! A request that must not be made twice was answered, and the server died before the client had said that it has the
//! answer. No replacement can say that again, but nothing may be missing: the answer had left.
//!
//! So the client is asked: a segment from before its window is acknowledged at once, with what has come (RFC 9293
//! section 3.10.7.4). If that is the whole answer, the log is cut behind the request, and the connection is moved without
//! it. A client that lacks a byte of the answer is reset, as it would be without a logger.

use super::{Begin, CLIENT, Phase};
use crate::conn::{Connection, Context, Orphan};
use crate::frame::Time;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unheard {
    /// Where the answer ends in the server's stream.
    end: u64,
    until: Time,
    /// Why the connection ends otherwise.
    reason: &'static str,
}

impl Unheard {
    pub(super) const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl Connection {
    /// Where the last answer ends to a request that must not be made twice, if nothing but the client's word is missing
    /// for it. `open`: also if another such request was not answered.
    pub(super) fn unheard(&self, open: bool) -> Option<u64> {
        let once = self.plugin.as_ref()?.once(self.server.end);
        let answered = once.answered.filter(|_| open || !once.open)?;
        (answered > self.server.una).then_some(answered)
    }

    /// Begins to wait for the client to say that it has everything below `end`.
    pub(super) fn await_client(&mut self, end: u64, reason: &'static str, cx: &mut Context<'_>) {
        self.enter_recovery(Begin::default(), cx);
        let trip = self.round_trip().unwrap_or_default();
        let until = cx.now.after(CLIENT.max(trip * 2));
        if let Some(recovery) = &mut self.recovery {
            recovery.phase = Phase::Unheard(Unheard { end, until, reason });
        }
        self.ask_client(cx);
    }

    /// Asks the client what it has, and again later.
    fn ask_client(&mut self, cx: &mut Context<'_>) {
        if let Some(recovery) = &mut self.recovery {
            recovery.retry = Some(cx.now.after(recovery.rto));
        }
        self.probe_client(cx);
    }

    /// Nothing has come of the last question.
    pub(super) fn ask_client_again(&mut self, wait: Unheard, cx: &mut Context<'_>) {
        if wait.until <= cx.now {
            self.lose(wait.reason, cx);
            return;
        }
        self.ask_client(cx);
        if let Some(recovery) = &mut self.recovery {
            recovery.retry = recovery.retry.map(|retry| retry.min(wait.until));
        }
    }

    /// The client has acknowledged something: if that is all that was waited for, the connection is moved. Says whether it
    /// still waits, or is done with.
    pub(super) fn hear_client(&mut self, cx: &mut Context<'_>) -> bool {
        let phase = self.recovery.as_ref().map(|recovery| recovery.phase);
        let Some(Phase::Unheard(wait)) = phase else {
            return false;
        };
        if self.server.una < wait.end {
            return true;
        }
        self.cut(cx);
        if self.replay_from < wait.end {
            // The replay would begin before the request.
            self.lose(wait.reason, cx);
            return true;
        }
        if matches!(self.orphan(cx), Orphan::Keep) {
            // It is over: the server had closed behind the answer.
            if let Some(progress) = &mut cx.progress {
                progress.status.connections = progress.status.connections.saturating_sub(1);
                progress.settle(false, cx.now, cx.events);
            }
            return true;
        }
        // What the client has said since the server died, was told nobody, whatever it is.
        self.begin_recovery(
            Begin {
                resume: self.plan_resume(),
                ..Begin::default()
            },
            cx,
        );
        true
    }
}
