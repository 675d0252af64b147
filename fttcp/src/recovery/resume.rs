// SPDX-License-Identifier: GPL-3.0-only
//! Taking a response up in the middle: the replacement is asked only for what the client lacks.
//!
//! The service's plug-in makes another request of the one that was under way. It stands in the client's stream where the
//! true one ended, so that no number of the client's side is shifted: the SYN's sequence number lies that much lower,
//! be it below the stream's beginning. The answer has a head of its own, which the client must not see: the byte behind
//! it becomes the first that the client has not acknowledged (`verify = full`: the last border before that).
//! From there on everything goes as in a replay: what had been sent is compared, what is new passes.
//!
//! Whatever the replacement says otherwise, the plug-in or the comparison finds: then this attempt is reset and the
//! connection is replayed. So nothing is lost by having asked.

use std::time::Duration;

use super::custody::Custody;
use super::{Begin, MAX_EARLY, Phase, RTO};
use crate::conn::{Connection, Context, Verdict};
use crate::engine::Event;
use crate::frame::Time;
use crate::service::{Heard, Verb};
use crate::stable::Pieces;
use crate::wire::{Flags, Head, Segment, SegmentRepr, SeqNumber};

/// How long the replacement may think before it answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest request that is changed.
const MAX_REQUEST: u64 = 32 * 1024;
/// Longest answer without the end of its head.
const MAX_ANSWER: usize = 64 * 1024;
/// The answer's head must fit into the window, whatever room the client has.
pub(crate) const LEAST_ROOM: u64 = 4096;

/// What a replacement is asked, and how far that is.
#[derive(Debug)]
pub(super) struct Resume {
    ask: Vec<u8>,
    unasked: bool,
    /// Where the true request ends in the client's stream, and with it the one that is asked.
    end: u64,
    /// Where in the server's stream the answer goes on behind its head.
    from: u64,
    /// Of `ask`: acknowledged, sent, sent at most, and what there is room for.
    una: usize,
    next: usize,
    most: usize,
    right: usize,
    /// What the dead server had said last before `from`.
    said: Vec<u8>,
    /// The answer, until its head is whole.
    answer: Vec<u8>,
    /// When there must be an answer.
    until: Option<Time>,
}

impl Resume {
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.until
    }

    pub(super) fn cost(&self) -> usize {
        self.ask.capacity() + self.answer.capacity() + self.said.capacity()
    }

    /// What the logger repeats to the client by itself, which has acknowledged everything below `una`.
    pub(super) fn custody(&self, una: u64, now: Time) -> Custody {
        let lacks = self.from.saturating_sub(una).min(self.said.len() as u64);
        let known = self.said.len() - lacks as usize;
        Custody::of(self.from - lacks, &self.said[known..], now)
    }

    /// The replacement goes on by itself: nothing is asked, and nothing comes before.
    const fn is_unasked(&self) -> bool {
        self.unasked
    }

    /// Nothing has come of it yet.
    pub(super) const fn is_untouched(&self) -> bool {
        self.una == 0 && self.answer.is_empty()
    }

    /// Nothing was asked yet.
    pub(super) const fn is_untold(&self) -> bool {
        self.most == 0
    }

    /// Whether it is asked in the place of what stands here in the client's stream.
    pub(super) const fn stands_for(&self, at: u64) -> bool {
        at < self.end
    }

    /// Where in the server's stream the answer goes on behind its head.
    pub(super) const fn from(&self) -> u64 {
        self.from
    }
}

/// A response that was taken up.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenUp {
    pub(super) from: u64,
    /// Length and end of the request.
    asked: u64,
    end: u64,
}

impl TakenUp {
    /// Whether what was asked stood in the place of what stands here in the client's stream.
    pub(super) const fn stands_for(&self, at: u64) -> bool {
        at < self.end
    }

    /// How much the replacement was told, if the client's stream was fed up to `fed`.
    pub(super) const fn told(&self, fed: u64) -> u64 {
        self.asked + fed.saturating_sub(self.end)
    }
}

impl Connection {
    /// Whether a replacement need only be asked for what the client lacks.
    pub(super) fn plan_resume(&self) -> Option<Box<Resume>> {
        let opened = self.outbound.is_some() && !self.is_linked();
        if opened || !self.protected {
            return None;
        }
        let plugin = self.plugin.as_ref()?;
        let acknowledged = self.server.una.min(self.server.end);
        let Verb::Resume(request) = plugin.verb(acknowledged) else {
            return None;
        };
        let length = request.end.checked_sub(request.start)?;
        let logged = self.log.start() <= request.start && request.end <= self.log.stable();
        let plain = self
            .urgent
            .after(request.start)
            .is_none_or(|mark| mark > request.end);
        if !logged || !plain || length > MAX_REQUEST {
            return None;
        }
        let mut said = Vec::with_capacity(length as usize);
        while (said.len() as u64) < length {
            let at = request.start + said.len() as u64;
            let rest = length as usize - said.len();
            // What cannot be read, the replay will complain of.
            let piece = self.log.fetch(at, rest).ok().filter(|it| !it.is_empty())?;
            said.extend_from_slice(&piece);
        }
        let (goal, lacks) = plugin.said(acknowledged);
        let from = if lacks.is_empty() {
            self.sent.resumable(goal)?
        } else {
            goal
        };
        let ask = plugin.ask(from, &said)?;
        Some(Box::new(Resume {
            unasked: ask.is_empty() && plugin.judge(from, &[]) == Heard::Head(0),
            ask,
            end: request.end,
            from,
            said: lacks,
            una: 0,
            next: 0,
            most: 0,
            right: 0,
            answer: Vec::new(),
            until: None,
        }))
    }

    fn resume(&self) -> Option<&Resume> {
        self.recovery.as_ref()?.resume.as_deref()
    }

    fn resume_mut(&mut self) -> Option<&mut Resume> {
        self.recovery.as_mut()?.resume.as_deref_mut()
    }

    pub(super) fn is_asking(&self) -> bool {
        let phase = self.recovery.as_ref().map(|recovery| recovery.phase);
        phase == Some(Phase::Asking)
    }

    /// The sequence number of the first byte that the replacement is told.
    pub(crate) fn feed_start(&self) -> SeqNumber {
        let isn = self.client.isn;
        self.resume().map_or_else(
            || SeqNumber::at(isn, self.log.start()),
            |resume| SeqNumber::at(isn, resume.end) - resume.ask.len() as u32,
        )
    }

    /// What the replacement may say before the answer's head is whole. `None`: it is not asked.
    pub(crate) fn asking_room(&self) -> Option<u64> {
        let resume = self.resume()?;
        let from = resume.from;
        let room = self.client.right.max(self.server.next()) - from.min(self.server.una);
        let room = room.min(self.replay_room(from));
        let least = if resume.is_unasked() { 0 } else { LEAST_ROOM };
        Some(room.max(least))
    }

    /// The replacement has answered the SYN; `right`: how much it takes.
    pub(super) fn begin_asking(&mut self, right: u64, cx: &mut Context<'_>) {
        if let Some(progress) = &mut cx.progress
            && progress.status.first_handshake_us.is_none()
        {
            progress.status.first_handshake_us = Some(progress.since(cx.now));
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.rto = RTO;
            recovery.early = Pieces::default();
            if let Some(resume) = &mut recovery.resume {
                (resume.una, resume.next, resume.most) = (0, 0, 0);
                resume.right = right as usize;
                resume.answer.clear();
                resume.until = Some(cx.now.after(ANSWER_WITHIN));
            }
        }
    }

    /// Sends what is not sent of the request, as far as there is room.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>) {
        let (mss, start) = (self.replacement_mss(), self.feed_start());
        let Some(resume) = self.resume() else {
            return;
        };
        if resume.ask.is_empty() {
            // Only the end of the handshake: a greeting is to come.
            self.say_asking(Flags::default(), cx);
            return;
        }
        let (from, to) = (resume.next, resume.right.min(resume.ask.len()));
        let ack = SeqNumber::at(self.present_isn(), resume.from + resume.answer.len() as u64);
        let mut next = from;
        while next < to {
            let end = to.min(next + mss);
            let flags = if end == resume.ask.len() {
                Flags::PSH
            } else {
                Flags::default()
            };
            let segment = self.for_server(flags, 0, 0, &resume.ask[next..end]);
            cx.send_south(&SegmentRepr {
                seq: start + next as u32,
                ack,
                window: self.asking_window(),
                ..segment
            });
            next = end;
        }
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        let Some(resume) = &mut recovery.resume else {
            return;
        };
        resume.next = next.max(from);
        resume.most = resume.most.max(resume.next);
        let acknowledged = resume.una == resume.ask.len();
        recovery.retry = (!acknowledged).then_some(cx.now.after(recovery.rto));
    }

    /// Nothing has come for a while: says again what is not acknowledged, at least one byte.
    pub(super) fn repeat_asking(&mut self, cx: &mut Context<'_>) {
        if let Some(resume) = self.resume_mut() {
            resume.next = resume.una;
            resume.right = resume.right.max(resume.una + 1);
        }
        self.ask(cx);
    }

    fn asking_window(&self) -> u16 {
        let room = self.asking_room().unwrap_or(0);
        let units = room.div_ceil(1 << self.scale_for_present());
        u16::try_from(units).unwrap_or(u16::MAX)
    }

    /// A segment without data, in the middle of the asking.
    pub(super) fn say_asking(&self, flags: Flags, cx: &mut Context<'_>) {
        let Some(resume) = self.resume() else {
            return;
        };
        let heard = resume.from + resume.answer.len() as u64;
        cx.send_south(&SegmentRepr {
            seq: self.feed_start() + resume.next as u32,
            ack: SeqNumber::at(self.present_isn(), heard),
            window: self.asking_window(),
            ..self.for_server(flags, 0, 0, &[])
        });
    }

    /// A segment of the replacement that was asked.
    pub(super) fn hear_answer(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>) -> Verdict {
        let head = *segment.head();
        if self.hear_ack(&head, cx) {
            self.note_clock(&head);
            self.hear(segment, cx);
        }
        Verdict::Drop
    }

    /// Takes its acknowledgement and window. False: it acknowledges what it was not told.
    fn hear_ack(&mut self, head: &Head, cx: &mut Context<'_>) -> bool {
        let (start, scale) = (self.feed_start(), self.present_scale());
        let Some(resume) = self.resume_mut() else {
            return false;
        };
        let Ok(ack) = usize::try_from(head.ack.ahead_of(start)) else {
            return true;
        };
        if ack > resume.most {
            return false;
        }
        let right = ack + (usize::from(head.window) << scale);
        let more = right > resume.right && resume.next < resume.ask.len();
        resume.right = resume.right.max(right);
        if ack > resume.una || more {
            resume.una = resume.una.max(ack);
            resume.next = resume.next.max(ack);
            self.ask(cx);
        }
        true
    }

    fn hear(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>) {
        let (head, data) = (segment.head(), segment.payload());
        let isn = self.present_isn();
        let room = self.account.room as usize;
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        let Some(resume) = &mut recovery.resume else {
            return;
        };
        let known = resume.from + resume.answer.len() as u64;
        let at = head.seq.position(isn, known);
        let end = at + data.len() as i64;
        if at > known.cast_signed() {
            let more = Pieces::cost_of(data.len());
            if recovery.early.cost() + more <= MAX_EARLY && more <= room {
                recovery.early.insert(at.unsigned_abs(), data);
            }
            self.say_asking(Flags::default(), cx);
            return;
        }
        if end > known.cast_signed() {
            let new = (known.cast_signed() - at) as usize;
            resume.answer.extend_from_slice(&data[new..]);
            while let Some(more) = recovery
                .early
                .next(resume.from + resume.answer.len() as u64)
            {
                resume.answer.extend(more);
            }
            let (from, answer) = (resume.from, resume.answer.as_slice());
            if let Some(plugin) = &mut self.plugin {
                plugin.hears(from, answer);
            }
            let unknown = Heard::Refused("its plug-in is gone");
            let plugin = self.plugin.as_ref();
            match plugin.map_or(unknown, |plugin| plugin.judge(from, answer)) {
                Heard::Partial if answer.len() <= MAX_ANSWER => {}
                Heard::Partial => return self.refuse_resume("the answer's head is too long", cx),
                Heard::Refused(reason) => return self.refuse_resume(reason, cx),
                Heard::Head(length) => return self.take_up(length, segment, cx),
            }
        }
        if head.flags.has(Flags::FIN) {
            return self.refuse_resume("the connection was closed without an answer", cx);
        }
        if !data.is_empty() {
            self.say_asking(Flags::default(), cx);
        }
    }

    /// The answer is the right one; its head is `length` bytes long.
    fn take_up(&mut self, length: usize, segment: &Segment<'_>, cx: &mut Context<'_>) {
        if self.go_on_behind(length, cx) {
            self.catch_up(segment, cx);
            self.feed(cx);
            self.check_caught_up(cx);
        }
    }

    /// The replacement need not be asked: it goes on by itself.
    pub(super) fn go_on_unasked(&mut self, cx: &mut Context<'_>) -> bool {
        let unasked = self.resume().is_some_and(Resume::is_unasked);
        if unasked && self.go_on_behind(0, cx) {
            self.ack_replacement(cx);
            self.settle_expected(cx);
            self.feed(cx);
            self.check_caught_up(cx);
        }
        unasked
    }

    /// What comes behind so many bytes of the answer is the server's stream. False: there is no answer.
    fn go_on_behind(&mut self, length: usize, cx: &Context<'_>) -> bool {
        let (Some(map), Some(recovery)) = (&mut self.map, &mut self.recovery) else {
            return false;
        };
        let Some(resume) = recovery.resume.take() else {
            return false;
        };
        let lead = length as u64;
        map.isn = map.isn + length as u32;
        map.lead = length as u32;
        recovery.early = std::mem::take(&mut recovery.early).earlier(lead);
        recovery.early.insert(resume.from, &resume.answer[length..]);
        recovery.taken_up = Some(TakenUp {
            from: resume.from,
            asked: resume.ask.len() as u64,
            end: resume.end,
        });
        let beyond = resume.right.saturating_sub(resume.ask.len());
        recovery.phase = Phase::Replay;
        recovery.retry = None;
        recovery.rto = RTO;
        recovery.fed_una = resume.end;
        recovery.fed_next = resume.end;
        recovery.fed_most = resume.end;
        recovery.fed_right = resume.end + beyond as u64;
        recovery.progressed(cx.now);
        true
    }

    /// The replacement's answer is not the one that is needed: this attempt is reset, and everything is replayed.
    pub(super) fn refuse_resume(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        if self.go_back(reason, cx) {
            return;
        }
        // What the client said behind the request may have been done since the answer was taken.
        let una = self.server.una;
        let told = self
            .recovery
            .as_ref()
            .is_some_and(|it| it.taken_up.is_some());
        let verb = self.plugin.as_ref().filter(|_| told).map(|it| it.verb(una));
        if let Some(Verb::End(reason)) = verb {
            self.lose(reason, cx);
            return;
        }
        if self.explained() {
            // Only who announced it can ask again.
            self.lose(reason, cx);
            return;
        }
        self.reset_replacement(cx);
        cx.counters.resumes_refused += 1;
        cx.events.push(Event::NotResumed {
            ends: self.ends(),
            reason,
        });
        let waits = self.recovery.as_ref().is_some_and(|it| it.waits);
        let verb = self.plugin.as_mut().map(|plugin| plugin.refused());
        let begin = match verb {
            Some(Verb::End(reason)) => return self.lose(reason, cx),
            Some(Verb::Resume(_)) => Begin {
                resume: self.plan_resume(),
                waits,
                ..Begin::default()
            },
            Some(Verb::Replay) | None => Begin {
                waits,
                ..Begin::default()
            },
        };
        self.begin_recovery(begin, cx);
        if let Some(recovery) = &mut self.recovery {
            // What is still on its way from this attempt needs no other reset, and is not believed.
            recovery.ended_older = true;
            recovery.inherited = true;
        }
    }

    /// Whether the replacement was asked only for the rest, and may have answered otherwise after all.
    pub(super) fn has_resumed(&self) -> bool {
        let recovery = self.recovery.as_ref();
        recovery.is_some_and(|it| it.phase == Phase::Asking || it.taken_up.is_some())
    }
}
