// SPDX-License-Identifier: GPL-3.0-only
//! The fabricated handshake: the replacement believes that the client has just opened the connection, with the
//! sequence number and the options that it had used with the dead server.

use std::time::Duration;

use super::{Phase, RTO};
use crate::conn::{Connection, Context, Intake, Mapping};
use crate::service::{Restart, Verb};
use crate::stable::Unreadable;
use crate::wire::{Flags, Head, OptionsRepr, SegmentRepr, SeqNumber};

impl Connection {
    /// Sends the client's SYN to the replacement.
    pub(super) fn send_syn(&mut self, cx: &mut Context<'_>) {
        let told_mss = self.path_mss();
        if let Some(recovery) = &mut self.recovery {
            recovery.queued = false;
            recovery.retry = Some(cx.now.after(recovery.rto));
            recovery.told_mss = told_mss;
            recovery.ended_older = false;
        }
        cx.send_south(&self.syn(true));
    }

    /// Asks the replacement where an earlier attempt stands, in which its own numbers began at `isn`. A segment from
    /// before the window is answered with the acknowledgement that a reset must agree with (RFC 9293 section 3.10.7.4);
    /// a SYN is not, by every TCP.
    pub(super) fn probe_earlier(&mut self, isn: SeqNumber, cx: &mut Context<'_>) {
        if let Some(recovery) = &mut self.recovery {
            recovery.retry = Some(cx.now.after(recovery.rto));
        }
        let syn = self.syn(true);
        cx.send_south(&SegmentRepr {
            flags: Flags::ACK,
            ack: isn + 1,
            options: OptionsRepr {
                timestamps: syn.options.timestamps,
                ..OptionsRepr::default()
            },
            ..syn
        });
    }

    /// Nothing has come of the handshake so far.
    pub(super) fn ask_again_for_opening(&mut self, cx: &mut Context<'_>) {
        self.send_syn(cx);
        let earlier = self.recovery.as_ref().and_then(|recovery| recovery.probing);
        if let Some(isn) = earlier {
            self.probe_earlier(isn, cx);
        }
    }

    /// A segment of the replacement came during the handshake.
    pub(super) fn handshake_from_server(&mut self, head: &Head, cx: &mut Context<'_>) {
        if head.flags.has(Flags::RST) {
            // Nobody listens yet: the timer asks again. A server that is to take over while another lives is there.
            self.go_back("the other server refused it", cx);
            return;
        }
        let syn_ack = head.flags.has(Flags::SYN) && head.flags.has(Flags::ACK);
        // It answers the SYN of an attempt that began elsewhere in the client's stream (RFC 9293 section 3.10.7.3).
        let other = syn_ack && head.ack != self.feed_start();
        if (other || !head.flags.has(Flags::SYN)) && cx.service.remembers {
            self.lose("the replacement was told of it already", cx);
            return;
        }
        if other || !head.flags.has(Flags::SYN) {
            let Some(recovery) = &mut self.recovery else {
                return;
            };
            // One reset for each SYN: a second one, overtaken by the new handshake, would end the new connection.
            if recovery.ended_older {
                return;
            }
            let probing = recovery.probing.take().is_some();
            // The replacement knows an older connection of this name: end that (RFC 9293 section 3.5.1).
            cx.send_south(&SegmentRepr {
                seq: head.ack,
                flags: Flags::RST,
                ack: SeqNumber(0),
                ..self.syn(true)
            });
            if probing || other {
                self.send_syn(cx);
            }
            if let Some(recovery) = &mut self.recovery {
                recovery.ended_older = true;
            }
            return;
        }
        if !syn_ack {
            return;
        }
        // Whatever else it does not agree to can be made up for.
        if self.stamped() && head.options.timestamps.is_none() {
            self.map_to(head);
            self.lose("the replacement did not agree to its TCP options", cx);
            return;
        }
        self.map_to(head);
        if self.asking_room().is_some() {
            self.begin_asking(u64::from(head.window), cx);
            self.complete_handshake(cx);
            return;
        }
        let right = self.log.start() + u64::from(head.window);
        if self.begin_replay(right, cx) {
            self.complete_handshake(cx);
        }
    }

    /// Whether this answers the SYN otherwise than what was taken for the answer, and nothing has come of that: it was
    /// to an earlier SYN, of an attempt that was reset.
    pub(super) fn is_other_answer(&self, head: &Head) -> bool {
        let untouched = |map: &Mapping| {
            let recovery = self.recovery.as_deref();
            let told_nothing = recovery.is_some_and(|it| match &it.resume {
                Some(resume) => resume.is_untouched(),
                None => it.fed_una == self.log.start(),
            });
            map.next == map.first && map.lead == 0 && told_nothing
        };
        self.outbound.is_none()
            && head.flags.has(Flags::ACK)
            && self.map.as_ref().is_some_and(|map| {
                untouched(map) && head.seq != SeqNumber::at(map.isn, map.first) - 1
            })
    }

    /// The handshake is done; `right`: the right edge of the replacement's receive window. False: the log cannot be
    /// read, and the connection is lost.
    pub(super) fn begin_replay(&mut self, right: u64, cx: &mut Context<'_>) -> bool {
        self.sent.expect_again(self.released());
        if self.rewind_plugin().is_err() {
            self.unreadable(cx);
            return false;
        }
        if let Some(progress) = &mut cx.progress
            && progress.status.first_handshake_us.is_none()
        {
            progress.status.first_handshake_us = Some(progress.since(cx.now));
        }
        let start = self.log.start();
        self.intake = Intake::default();
        self.intake.note(start, right.saturating_sub(start));
        if let Some(recovery) = &mut self.recovery {
            recovery.phase = Phase::Replay;
            recovery.retry = None;
            recovery.rto = RTO;
            recovery.fed_una = start;
            recovery.fed_next = start;
            recovery.fed_most = start;
            recovery.fed_right = right;
            recovery.causes_met = 0;
            recovery.held.clear();
            recovery.early = crate::stable::Pieces::default();
            recovery.custody = super::custody::Custody::default();
            recovery.fin_seen = false;
            (recovery.ended_early, recovery.close_due) = (None, None);
            recovery.discarded = 0;
            recovery.progressed(cx.now);
        }
        true
    }

    /// The plug-in sees both streams again, from where the replay begins.
    fn rewind_plugin(&mut self) -> Result<(), Unreadable> {
        let (client, server) = (self.log.start(), self.replay_from);
        if let Some(plugin) = &mut self.plugin {
            plugin.rewind(Restart { client, server });
            let mut at = client;
            while at < self.log.stable() {
                let logged = self.log.fetch(at, usize::MAX)?;
                plugin.client_bytes(at, &logged);
                at += logged.len() as u64;
            }
        }
        Ok(())
    }

    pub(super) fn map_to(&mut self, head: &Head) {
        let clock = head.options.timestamps.map_or(0, |stamps| stamps.value);
        let resume = self.recovery.as_ref().and_then(|it| it.resume.as_ref());
        let first = resume.map_or(self.replay_from, |resume| resume.from());
        self.map = Some(Mapping {
            isn: head.seq - first as u32,
            first,
            lead: 0,
            options: head.options,
            // The first timestamp that the client gets is newer than the last that it got (RFC 7323 section 5).
            ts_delta: self.server.tsval.wrapping_add(1).wrapping_sub(clock),
            ts_first: clock,
            ts_last: clock,
            next: first,
        });
    }

    /// The replacement reset the connection: its service may have started anew. Begins again after a while.
    pub(super) fn restart_handshake(&mut self, cx: &mut Context<'_>) {
        if self.go_back("the other server reset it", cx) {
            return;
        }
        let hold = Duration::from_millis(u64::from(cx.service.spec.fin_hold_ms));
        if let Some(recovery) = &mut self.recovery
            && recovery.phase != Phase::Handshake
            && cx.service.remembers
        {
            // Unless it is dying, it is a program that remembers, and is not told again.
            recovery.ended_early.get_or_insert(cx.now.after(hold));
            return;
        }
        // What the client has said since the replay began may have been done.
        let fed = self
            .recovery
            .as_ref()
            .filter(|it| it.phase != Phase::Handshake);
        let plugin = self.plugin.as_ref().filter(|_| fed.is_some());
        if let Some(Verb::End(reason)) = plugin.map(|it| it.verb(self.server.una)) {
            self.lose(reason, cx);
            return;
        }
        if self.explained() {
            // Only who announced it can ask for another.
            self.lose("the replacement reset it", cx);
            return;
        }
        self.map = None;
        if self.outbound.is_some() {
            self.unanswer();
            return;
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.phase = Phase::Handshake;
            recovery.ended_early = None;
            recovery.retry = Some(cx.now.after(recovery.rto));
        }
    }
}
