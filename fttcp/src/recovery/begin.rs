// SPDX-License-Identifier: GPL-3.0-only
//! How a recovery begins: after its server's death, in a planned move, and anew when an attempt has failed.

use std::time::Duration;

use super::{BUSY, GIVE_UP, INTAKE, PLANNED, Phase, RTO, Recovery, resume};
use crate::conn::{Connection, Context, Intake, Planned, State};
use crate::service::Verb;
use crate::stable::Pieces;
use crate::wire::SeqNumber;

/// How a recovery begins.
#[derive(Debug, Default)]
pub(super) struct Begin {
    /// The replacement's initial sequence number in an earlier attempt.
    pub(super) earlier: Option<SeqNumber>,
    /// How long it waits for its turn.
    pub(super) turn: Option<Duration>,
    pub(super) resume: Option<Box<resume::Resume>>,
    /// Another attempt of the same failover, in which its client was waited for.
    pub(super) waits: bool,
}

/// The part of the intake of one of the connections that are moved now.
fn share(planned: Planned, cx: &Context<'_>) -> u64 {
    if planned != Planned::No {
        return INTAKE / BUSY;
    }
    let moving = cx
        .progress
        .as_ref()
        .map_or(1, |progress| progress.under_way());
    INTAKE / moving.clamp(1, BUSY)
}

impl Connection {
    /// The close that is held is of a server that is dead, or is left: the client is not told.
    pub(crate) fn swallow_close(&mut self, cx: &mut Context<'_>) {
        if self.hold.take().is_some() {
            cx.counters.swallowed_closes += 1;
        }
    }

    /// The server is dead: begins on the replacement, from the start. Also when the last recovery was not done yet.
    /// `turn`: how long the replacement is not asked yet, because others are before it.
    pub(crate) fn start_recovery(&mut self, turn: Option<Duration>, cx: &mut Context<'_>) {
        self.swallow_close(cx);
        self.failovers += 1;
        (self.planned, self.goes_back) = (Planned::No, false);
        if self.is_poisoned(cx) {
            return;
        }
        let una = self.server.una;
        let verb = self.plugin.as_ref().map(|plugin| plugin.verb(una));
        if let Some(Verb::End(reason)) = verb
            && !self.over()
        {
            match self.unheard(false) {
                Some(end) => self.await_client(end, reason, cx),
                None => self.lose(reason, cx),
            }
            return;
        }
        let begin = Begin {
            turn,
            resume: self.plan_resume(),
            ..Begin::default()
        };
        self.begin_recovery(begin, cx);
    }

    /// Its server lives and is left, or the move from there failed: begins on the one to which `cx` leads. What is logged is
    /// told even if it must not be done twice: the server that was left has not got it, or had not begun with it.
    pub(crate) fn start_planned(&mut self, planned: Planned, cx: &mut Context<'_>) {
        self.swallow_close(cx);
        (self.planned, self.goes_back) = (planned, false);
        let begin = Begin {
            resume: self.plan_resume(),
            ..Begin::default()
        };
        self.begin_recovery(begin, cx);
    }

    /// How many bytes its streams have in which a replacement has to catch up.
    pub(crate) fn age(&self) -> u64 {
        if self.plan_resume().is_some() {
            return self.server.end.saturating_sub(self.server.una);
        }
        let logged = self.log.stable().saturating_sub(self.log.start());
        logged + self.server.end.saturating_sub(self.replay_from)
    }

    /// It need not wait for its turn any longer. Says whether it did.
    pub(crate) fn start_now(&mut self, cx: &mut Context<'_>) -> bool {
        let queued = self.recovery.as_ref().is_some_and(|it| it.queued);
        if queued {
            self.send_syn(cx);
        }
        queued
    }

    /// The connection comes from an image, and was being moved: begins again, on the same replacement. What that has
    /// of an earlier attempt, is asked where it stands, and reset.
    pub(crate) fn resume_recovery(&mut self, cx: &mut Context<'_>) {
        self.hold = None;
        let earlier = self.map.map(|map| map.isn);
        // What the client has said meanwhile is in the log; that an answer to it may begin here is written nowhere.
        if let Some(plugin) = &self.plugin {
            self.sent.capture(plugin.capture());
        }
        let verb = self.plugin.as_ref().map(|it| it.verb(self.server.una));
        if let Some(Verb::End(reason)) = verb
            && !self.over()
        {
            if earlier.is_some() {
                // What the replacement was told in that attempt is written nowhere: it may have done this.
                self.leave_server(cx);
                self.lose(reason, cx);
                return;
            }
            if let Some(end) = self.unheard(true)
                && self.planned == Planned::No
            {
                // The server had died before the client said that it has an answer: it was waited for.
                self.await_client(end, reason, cx);
                return;
            }
        }
        let begin = Begin {
            earlier,
            resume: self.plan_resume(),
            ..Begin::default()
        };
        self.begin_recovery(begin, cx);
    }

    pub(super) fn begin_recovery(&mut self, begin: Begin, cx: &mut Context<'_>) {
        let (earlier, turn) = (begin.earlier, begin.turn);
        let released = self.released();
        match &begin.resume {
            Some(resume) => self.sent.expect_from(released, resume.from()),
            None => self.sent.expect_again(released),
        }
        self.enter_recovery(begin, cx);
        if self.outbound.is_some() {
            self.await_opening(cx);
            return;
        }
        if self.stable() > self.client.acked {
            self.ack_client(cx);
        }
        if self.explained() {
            // The port at which the replacement takes it is asked for on another connection.
            self.south_port = None;
            return;
        }
        match (earlier, turn, &mut self.recovery) {
            (Some(isn), ..) => self.probe_earlier(isn, cx),
            (None, Some(turn), Some(recovery)) => {
                recovery.queued = true;
                recovery.retry = Some(cx.now.after(turn));
            }
            (None, ..) => self.send_syn(cx),
        }
    }

    /// From now on it is on its way to the replacement, of which nothing has been asked yet.
    pub(super) fn enter_recovery(&mut self, begin: Begin, cx: &Context<'_>) {
        let Begin {
            earlier,
            turn,
            resume,
            waits,
        } = begin;
        let custody = resume
            .as_ref()
            .map(|it| it.custody(self.server.una, cx.now));
        let patience = if self.planned.moves() && cx.pair {
            PLANNED
        } else {
            GIVE_UP
        };
        self.recovery = Some(Box::new(Recovery {
            phase: Phase::Handshake,
            give_up: cx.now.after(patience + turn.unwrap_or_default()),
            queued: false,
            retry: None,
            rto: RTO,
            held: Vec::new(),
            held_at: 0,
            share: share(self.planned, cx),
            early: Pieces::default(),
            custody: custody.unwrap_or_default(),
            fin_seen: false,
            fed_una: self.log.start(),
            fed_next: self.log.start(),
            fed_right: self.log.start(),
            causes_met: 0,
            discarded: 0,
            ended_early: None,
            close_due: None,
            gap_until: None,
            told_mss: u16::MAX,
            refused: false,
            provisional: false,
            probing: earlier,
            ended_older: false,
            inherited: earlier.is_some(),
            resume,
            taken_up: None,
            fed_from: self.log.start(),
            fed_most: self.log.start(),
            client_due: None,
            waits,
        }));
        (self.withheld, self.uncommitted) = (None, None);
        self.intake = Intake::default();
        self.left = false;
        self.map = None;
        self.state = State::Recovering;
        self.active = cx.now;
    }
}
