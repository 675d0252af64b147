// SPDX-License-Identifier: GPL-3.0-only
//! How long a connection is known, what is due when, and what becomes of it when its server dies.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Close, Connection, Context, Hold, State};
use crate::frame::Time;

/// How long the mapping of a closed connection is kept: 2 MSL as Linux has it (RFC 9293 section 3.6.1).
const TIME_WAIT: Duration = Duration::from_secs(60);
/// How long a connection may stay half-open.
const HALF_OPEN: Duration = Duration::from_secs(120);
/// How long a connection that is only passed on may be silent before it counts as a new one.
const UNKNOWN: Duration = Duration::from_secs(3600);
/// How long a connection may be silent. After this it is forgotten, as by Linux's connection tracking.
const IDLE: Duration = Duration::from_secs(5 * 86_400);

/// A client that has less room than a segment is not waited for: it does not read.
const ROOM: u64 = 1460;

impl Connection {
    /// Whether it is the server's turn: the client has asked, has all that was said, and reads.
    pub(crate) fn awaits_answer(&self) -> bool {
        let end = self.server.end;
        let heard = self.server.una >= end && self.client.right >= end + ROOM;
        let open = self.state == State::Established && self.server.fin.is_none();
        // It has answered: its disk is waited for.
        let open = open && self.uncommitted.is_none();
        let plugin = self
            .plugin
            .as_ref()
            .filter(|_| self.protected && open && heard);
        plugin.is_some_and(|plugin| plugin.awaits(end))
    }

    /// Both FINs are acknowledged: only the mapping is needed now.
    pub(crate) fn check_closed(&mut self, cx: &mut Context<'_>) {
        let client = self.client.fin.is_some_and(|fin| self.client.acked > fin);
        let server = self.server.fin.is_some_and(|fin| self.server.una > fin);
        if self.state == State::Established && client && server {
            self.close(cx);
        }
    }

    /// The connection is over; its mapping is kept for a while.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        if self.protected && self.state != State::Closed {
            cx.counters.closed += 1;
        }
        self.state = State::Closed;
        self.active = cx.now;
        self.hold = None;
        if !self.retire(cx) {
            self.forget_streams();
        }
    }

    /// Its plug-in does not know what an earlier process had saved of it: where a replay may begin is not known.
    pub(crate) fn give_up_plugin(&mut self, cx: &mut Context<'_>) {
        const REASON: &str = "its plug-in does not understand what the logger before had saved";
        if self.state == State::Recovering {
            self.lose(REASON, cx);
        } else {
            self.unprotect(REASON, cx);
        }
    }

    /// Stops logging and hashing; the connection goes on, but cannot be moved any more.
    pub(crate) fn unprotect(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        if !self.protected {
            return;
        }
        self.withdraw(cx);
        cx.events.push(crate::engine::Event::Unprotected {
            ends: self.ends(),
            reason,
        });
    }

    /// The same, without a word.
    pub(super) fn withdraw(&mut self, cx: &mut Context<'_>) {
        self.protected = false;
        self.window_limit = u64::MAX;
        self.drop_streams();
        cx.counters.unprotected += 1;
    }

    pub(crate) fn forget_streams(&mut self) {
        let stable = self.stable();
        self.client.acked = self.client.acked.max(stable);
        self.drop_streams();
    }

    fn drop_streams(&mut self) {
        self.log.clear();
        self.causes = VecDeque::new();
        self.urgent.clear();
        self.sent = self.sent.cleared();
        self.replay_from = 0;
        self.plugin = None;
    }

    /// The client has sent its SYN and nothing else: it may be a flood's.
    pub(crate) fn is_half_open(&self) -> bool {
        let begins = matches!(
            self.state,
            State::Opening | State::Established | State::Recovering
        );
        begins && self.protected && self.outbound.is_none() && !self.client.heard
    }

    /// When the connection is forgotten if nothing more comes.
    fn expiry(&self) -> Time {
        self.active.after(match self.state {
            State::Opening => HALF_OPEN,
            State::Established | State::Recovering if self.is_half_open() => HALF_OPEN,
            State::Established if !self.protected && self.map.is_none() => UNKNOWN,
            State::Established | State::Recovering => IDLE,
            State::Closed | State::Orphaned => TIME_WAIT,
        })
    }

    /// When something is due: at the latest, when the connection expires.
    pub(crate) fn deadline(&self) -> Time {
        let mut due = self.expiry();
        if let Some(hold) = &self.hold {
            due = due.min(hold.until);
        }
        if let Some(kick) = &self.kick {
            due = due.min(kick.at);
        }
        if let Some(farewell) = &self.farewell {
            due = due.min(farewell.due());
        }
        if let Some(hushed) = self.hush.due() {
            due = due.min(hushed);
        }
        if let Some(uncommitted) = &self.uncommitted {
            due = due.min(uncommitted.until());
        }
        if let Some(recovery) = &self.recovery {
            due = due.min(recovery.deadline());
        }
        due
    }

    /// Does what is due. Says whether the connection is to be forgotten.
    pub(crate) fn on_timeout(&mut self, cx: &mut Context<'_>) -> bool {
        if self.hold.as_ref().is_some_and(|hold| hold.until <= cx.now) {
            self.release_hold(cx);
        }
        if self.recovery.is_some() {
            self.recovery_timeout(cx);
        }
        self.commit_overdue(cx);
        self.kick_again(cx);
        if self.hush.due().is_some_and(|due| due <= cx.now) {
            self.say_withheld(cx);
        }
        if self.farewell.as_ref().is_some_and(|it| it.due() <= cx.now) {
            self.repeat_farewell(cx);
        }
        self.expiry() <= cx.now
    }

    /// Its server is dead. Says whether it is to be moved; a connection that is over is answered by the logger.
    pub(crate) fn orphan(&mut self, cx: &mut Context<'_>) -> Orphan {
        if self.outbound.is_some() && !self.is_linked() {
            return self.orphan_outbound(cx);
        }
        if self.is_linked() && self.state == State::Opening {
            self.take_syn_back(cx);
            return Orphan::Forget;
        }
        // What the fast path forwarded last may have been the acknowledgement for which the log can be cut.
        self.consider_truncation(cx);
        // Nothing is left to replay, and the server has closed: a replacement that is asked nothing would not. The logger
        // repeats the FIN if the client lacks it, and answers the client's.
        let nothing_left =
            self.log.start() == self.log.stable() && self.replay_from == self.server.end;
        let has_closed = nothing_left && self.server.fin.is_some_and(|fin| self.server.una >= fin);
        // What was to be transferred has been, and the client has all of it.
        let done = self.explained()
            && self.fin_expected(self.server.end, None, cx)
            && self.server.una >= self.server.end;
        let over = has_closed
            || done
            || self.server.fin.is_some_and(|fin| self.server.una > fin)
                && self.client.fin.is_some_and(|fin| self.stable() > fin);
        let movable = match self.state {
            State::Opening => self.protected,
            State::Established | State::Recovering => self.protected && !over,
            State::Closed | State::Orphaned => false,
        };
        // What the logger repeats in a dead server's name, it goes on to repeat when the next one dies.
        if self.hold.is_some() && !movable && self.state != State::Orphaned {
            self.hold = None;
            cx.counters.swallowed_closes += 1;
        }
        match self.state {
            State::Opening if movable => Orphan::AskAgain,
            State::Established | State::Recovering if movable => Orphan::Move,
            State::Orphaned => Orphan::Keep,
            State::Established | State::Recovering | State::Closed if over => {
                if self.state == State::Established {
                    cx.counters.closed += 1;
                }
                self.answer_for_server(has_closed || done, cx);
                Orphan::Keep
            }
            State::Opening | State::Established | State::Recovering | State::Closed => {
                Orphan::Forget
            }
        }
    }

    /// It is over: the logger answers in the dead server's place, and says that it has closed if the client may lack that.
    pub(crate) fn answer_for_server(&mut self, has_closed: bool, cx: &Context<'_>) {
        self.map = None;
        self.recovery = None;
        self.state = State::Orphaned;
        self.forget_streams();
        if has_closed {
            let fin = Close::Fin(self.server.end);
            self.hold = Some(Hold::until(fin, cx.now));
        }
    }

    /// The client's SYN had not been answered: the replacement is asked, with what the client offered.
    pub(crate) fn ask_again(&mut self, cx: &mut Context<'_>) {
        if self.hold.take().is_some() {
            cx.counters.swallowed_closes += 1;
        }
        // Where, is not known yet.
        if !self.explained() {
            cx.send_south(&self.syn(false));
        }
    }
}

/// What becomes of a connection whose server is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphan {
    /// Only a SYN had passed.
    AskAgain,
    Move,
    /// It is over, but the replacement may open it again to get to where its predecessor was.
    Retell,
    /// It is over; the logger answers in the dead server's place.
    Keep,
    /// It cannot be moved.
    Forget,
}
