// SPDX-License-Identifier: GPL-3.0-only
//! Answers of a durable service that wait until what their server has written is on its disk: a client that was told that its
//! file is stored must not lose it with the server.
//!
//! What waits is kept here, and nobody else has heard it: neither the plug-in nor the record of what was sent. If the server dies
//! now, it has never said it, and its replacement is brought to say it by all that is kept for that: the log of this
//! connection, and of one that it has announced, whose close waits as well. What waits is forgotten then: what the dead
//! server's disk has, or has not, says nothing of the replacement's answer.
//!
//! The bytes pass as soon as the disk has them; the server need not repeat them. Nothing behind them passes before, and a gap is not
//! passed over: what lies beyond one may be such an answer, which only who has seen all before it can tell.

use std::time::Duration;

use super::{Connection, Context, State};
use crate::engine::{Committed, Event};
use crate::frame::Time;
use crate::wire::Flags;

/// Most bytes that wait; more are left to the server, which repeats them.
const MOST: usize = 16 * 1024;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Uncommitted {
    at: u64,
    bytes: Vec<u8>,
    /// The request for which the first so many bytes wait. It says nothing of what came after it was sent.
    number: u64,
    covered: usize,
    since: Time,
    until: Time,
}

impl Uncommitted {
    /// When it passes in any case.
    pub(crate) const fn until(&self) -> Time {
        self.until
    }

    /// Memory that it uses.
    pub(crate) const fn cost(&self) -> usize {
        self.bytes.capacity()
    }

    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// What follows.
    fn append(&mut self, at: u64, data: &[u8]) {
        let new = self
            .end()
            .checked_sub(at)
            .and_then(|it| data.get(it as usize..));
        let new = new.unwrap_or_default();
        if self.bytes.len() + new.len() <= MOST {
            self.bytes.extend_from_slice(new);
        }
    }
}

impl Connection {
    /// Whether some of what its server says may have to wait.
    fn is_durable(&self, cx: &Context<'_>) -> bool {
        let knows = self.plugin.as_ref().is_some_and(|it| it.knows_changes());
        cx.service.spec.durable && self.protected && knows
    }

    /// Of bytes of the server at `at`, of whose stream everything below `known` is known, how many may pass: what waits lies behind
    /// them, and is kept. `None`: all may.
    fn passing(
        &mut self,
        (at, known): (u64, u64),
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Option<usize> {
        let end = at + data.len() as u64;
        if let Some(held) = &mut self.uncommitted {
            if end <= held.at {
                return None;
            }
            held.append(at, data);
            return Some(held.at.saturating_sub(at) as usize);
        }
        if at > known {
            return Some(0);
        }
        let from = self.plugin.as_ref()?.commits(at, data)?;
        let passing = usize::try_from(from.checked_sub(at)?).ok()?;
        let waits = data.get(passing..)?;
        let limit = Duration::from_millis(u64::from(cx.service.spec.commit_ms));
        let waits = &waits[..waits.len().min(MOST)];
        self.uncommitted = Some(Box::new(Uncommitted {
            at: from,
            bytes: waits.to_vec(),
            number: cx.commits.ask(cx.number),
            covered: waits.len(),
            since: cx.now,
            until: cx.now.after(limit),
        }));
        Some(passing)
    }

    /// Keeps back what must not be said before it is true of the server's disk. Says whether the segment's data is not to be
    /// passed as it is.
    pub(super) fn hold_uncommitted(&mut self, at: i64, data: &[u8], cx: &mut Context<'_>) -> bool {
        if !self.is_durable(cx) {
            return false;
        }
        // What goes before is the head of an answer, which is not for the client.
        let first = self.map.map_or(0, |map| map.first).cast_signed();
        let before = (first - at).max(0).unsigned_abs() as usize;
        let data = data.get(before..).unwrap_or_default();
        let at = at.max(first).unsigned_abs();
        let Some(passing) = self.passing((at, self.server.end), data, cx) else {
            return false;
        };
        if passing > 0 {
            self.say_to_client(at, data[..passing].to_vec(), cx);
        } else {
            let at = self.server.next();
            self.send_client(Flags::default(), at, &[], cx);
        }
        true
    }

    /// The same for what a replacement says while it is compared, whose turn has come: gives what may be taken now.
    pub(crate) fn take_committed<'a>(
        &mut self,
        at: u64,
        data: &'a [u8],
        cx: &mut Context<'_>,
    ) -> &'a [u8] {
        let known = self.sent.end();
        let end = at + data.len() as u64;
        if !self.is_durable(cx) || end <= known || at > known || end <= self.server.end {
            return data;
        }
        let new = &data[(known - at) as usize..];
        match self.passing((known, known), new, cx) {
            Some(passing) => &data[..(known - at) as usize + passing],
            None => data,
        }
    }

    /// Where bytes begin of which it is to be asked whether they may pass, if that is within these of a replacement.
    pub(crate) fn splits_at(&self, at: u64, end: u64, cx: &Context<'_>) -> Option<u64> {
        let fresh = self.server.end;
        (self.is_durable(cx) && at < fresh && fresh < end).then_some(fresh)
    }

    /// The close of a server that has said more before it than may pass yet.
    pub(super) fn closes_uncommitted(&self, end: i64) -> bool {
        let waits = self.uncommitted.is_some();
        waits && end > self.server.end.cast_signed()
    }

    /// The request with this number, and those before it, are dealt with.
    pub(crate) fn committed(&mut self, number: u64, how: Committed, cx: &mut Context<'_>) {
        let due = |held: &mut Box<Uncommitted>| held.number <= number;
        if let Some(held) = self.uncommitted.take_if(due) {
            self.pass_uncommitted(*held, how, cx);
        }
    }

    /// What has waited for too long passes.
    pub(super) fn commit_overdue(&mut self, cx: &mut Context<'_>) {
        let due = |held: &mut Box<Uncommitted>| held.until <= cx.now;
        if let Some(held) = self.uncommitted.take_if(due) {
            self.pass_uncommitted(*held, Committed::Late, cx);
        }
    }

    fn pass_uncommitted(&mut self, mut held: Uncommitted, how: Committed, cx: &mut Context<'_>) {
        let rest = held.bytes.split_off(held.covered);
        let lives = match self.state {
            State::Established => true,
            State::Recovering => !self.sent.expects(),
            State::Opening | State::Closed | State::Orphaned => false,
        };
        if !lives || held.at != self.server.end {
            // If the server lives, it repeats this, and is asked again.
            return;
        }
        if how == Committed::Done {
            cx.counters.commits += 1;
            let waited = cx.now.since(held.since).as_micros();
            cx.counters.commits_waited_us += u64::try_from(waited).unwrap_or(u64::MAX);
        } else {
            cx.counters.commits_not_durable += 1;
        }
        let reason = match how {
            Committed::Late => Some("the time for it was up"),
            Committed::Failed => Some("its server could not write to its disk"),
            // The group says so once.
            Committed::Done | Committed::Nobody => None,
        };
        if let Some(reason) = reason {
            let ends = self.ends();
            cx.events.push(Event::NotDurable { ends, reason });
        }
        self.say_to_client(held.at, held.bytes, cx);
        let at = self.server.end;
        let waits = !rest.is_empty()
            && (self.withhold(at.cast_signed(), &rest, cx)
                || self.hold_uncommitted(at.cast_signed(), &rest, cx));
        if !waits && !rest.is_empty() {
            self.say_to_client(at, rest, cx);
        }
    }
}
