// SPDX-License-Identifier: GPL-3.0-only
//! Whether to look for frames again for a moment before the process sleeps.
//!
//! A short connection's frames come one after the other, each an answer to the last. Between them a process that sleeps has to be
//! woken, mostly on a processor that has gone idle, and in a virtual machine that takes tens of microseconds, several times
//! for each connection. Who looks again has the frame at once. The processor is given to whoever else wants it between two
//! looks; if that took long, others need it more: then nobody looks for a while, since a process that sleeps goes before them
//! when it is woken, and one that has given its turn away does not.

use std::time::{Duration, Instant};

/// A look that comes so late shows that others wanted the processor.
const LATE: Duration = Duration::from_millis(1);
/// How long nobody looks after that.
const REST: Duration = Duration::from_millis(10);

/// See the module's text.
#[derive(Debug)]
pub(super) struct BusyPoll {
    limit: Duration,
    /// When frames came last.
    frames: Option<Instant>,
    /// Until when nobody looks.
    rest: Option<Instant>,
}

/// What is to be done after a look that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Look,
    Sleep,
}

impl BusyPoll {
    /// One that looks for `limit` after the last frame; 0: never.
    pub(super) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            frames: None,
            rest: None,
        }
    }

    /// Frames have come.
    pub(super) const fn frames(&mut self, now: Instant) {
        self.frames = Some(now);
    }

    /// Until when to look; `None`: sleep at once.
    pub(super) fn begin(&self, now: Instant) -> Option<Instant> {
        let end = self.frames? + self.limit;
        if end <= now || self.rest.is_some_and(|rest| now < rest) {
            return None;
        }
        Some(end)
    }

    /// A look found nothing, the last one was at `last`, and until `end` it is worth it.
    pub(super) fn nothing(&mut self, last: Instant, now: Instant, end: Instant) -> Next {
        if now.saturating_duration_since(last) >= LATE {
            self.rest = Some(now + REST);
            return Next::Sleep;
        }
        if now < end { Next::Look } else { Next::Sleep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(200);

    fn micros(start: Instant, micros: u64) -> Instant {
        start + Duration::from_micros(micros)
    }

    #[test]
    fn looks_for_a_while_after_frames_and_never_without() {
        let (start, mut poll) = (Instant::now(), BusyPoll::new(LIMIT));
        assert_eq!(poll.begin(start), None);
        poll.frames(start);
        assert_eq!(poll.begin(micros(start, 5)), Some(start + LIMIT));
        let look = |poll: &mut BusyPoll, last, now| {
            poll.nothing(micros(start, last), micros(start, now), start + LIMIT)
        };
        assert_eq!(look(&mut poll, 5, 7), Next::Look);
        assert_eq!(look(&mut poll, 199, 200), Next::Sleep);
        assert_eq!(poll.begin(micros(start, 200)), None);

        let mut never = BusyPoll::new(Duration::ZERO);
        never.frames(start);
        assert_eq!(never.begin(start), None);
    }

    #[test]
    fn rests_when_others_want_the_processor() {
        let (start, mut poll) = (Instant::now(), BusyPoll::new(LIMIT));
        poll.frames(start);
        let end = poll.begin(start).unwrap();
        assert_eq!(poll.nothing(start, start + LATE, end), Next::Sleep);
        let rested = start + LATE + REST;
        poll.frames(rested - Duration::from_micros(1));
        assert_eq!(poll.begin(rested - Duration::from_micros(1)), None);
        assert!(poll.begin(rested).is_some());
    }
}
