// SPDX-License-Identifier: GPL-3.0-only
//! From a connection to the records that tell its changes since the last ones.

use serde::{Deserialize, Serialize};

use super::sketch::SketchDelta;
use super::verify::VerifierDelta;
use super::{Connection, Sent, StoredRef};
use crate::journal::{Kind, Mark, State, Unwritable, Writer};

/// What of a [`Sent`] is in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SentMark {
    /// A replacement was saying everything again, which is not written: it begins again after a restart.
    expects: bool,
    /// Where the stream begins and ended.
    start: u64,
    end: u64,
    /// Up to where it is captured, and up to where the plug-in was shown it (sampled).
    captured: (u64, u64),
    /// The sketch has changed since it was written (sampled), or how many bytes lay beyond a gap (full).
    changes: u32,
}

/// A change of a [`Sent`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SentDelta {
    Full(VerifierDelta),
    /// The ends of the sketch, and up to where the plug-in was shown the stream.
    Sampled((u64, u64), u64),
    /// What the sketch has gained, and up to where the plug-in was shown the stream.
    Sketch(SketchDelta, u64),
}

impl Connection {
    /// Writes what has changed; all of it, if the journal of this generation does not have the connection yet.
    pub(crate) fn journal(&mut self, slot: u32, generation: u32, writer: &mut Writer) {
        (self.mark.touched, self.mark.urgent) = (false, false);
        let written = if self.mark.generation == generation {
            self.journal_changes(slot, writer)
        } else {
            self.journal_whole(slot, generation, writer)
        };
        if written.is_err() {
            // Who goes on from the journal cannot have the connection.
            self.mark.generation = 0;
            // A number has a form.
            let _ = writer.put(Kind::Gone, &slot, &[]);
        }
    }

    fn journal_whole(
        &mut self,
        slot: u32,
        generation: u32,
        writer: &mut Writer,
    ) -> Result<(), Unwritable> {
        // The spill file may be unreadable.
        writer.put(Kind::Connection, &(slot, StoredRef::from(&*self)), &[])?;
        self.log.take_added();
        self.sent.note_written();
        self.mark = Mark {
            generation,
            sent: self.sent.mark(),
            ..self.mark
        };
        self.note_written();
        // To know what State would say costs as much as to say it once more.
        self.mark.digest = 0;
        Ok(())
    }

    fn journal_changes(&mut self, slot: u32, writer: &mut Writer) -> Result<(), Unwritable> {
        self.journal_bytes(slot, writer)?;
        self.journal_sent(slot, writer)?;
        let state = State::new(slot, self);
        let again = state.causes.added.is_empty() && state.causes.kept;
        let known = if again { self.mark.digest } else { 0 };
        self.mark.digest = writer.put_new(Kind::State, &state, known)?;
        self.note_written();
        Ok(())
    }

    fn note_written(&mut self) {
        self.mark.logged = self.log.stable();
        let last = self.causes.back().map_or(0, |&(at, _)| at);
        self.mark.causes = (self.causes.len(), last);
    }

    fn journal_bytes(&mut self, slot: u32, writer: &mut Writer) -> Result<(), Unwritable> {
        let mut from = self.mark.logged.max(self.log.start());
        while from < self.log.stable() {
            let new = self.log.fetch(from, usize::MAX).map_err(|_| Unwritable)?;
            writer.put(Kind::Client, &(slot, from), &new)?;
            from += new.len() as u64;
        }
        for (at, len) in self.log.take_added() {
            for (at, bytes) in self.log.logged(at, len) {
                writer.put(Kind::Client, &(slot, at), bytes)?;
            }
        }
        Ok(())
    }

    fn journal_sent(&mut self, slot: u32, writer: &mut Writer) -> Result<(), Unwritable> {
        let (before, now) = (self.mark.sent, self.sent.mark());
        self.mark.sent = now;
        if now == before || (now.expects && before.expects) {
            return Ok(());
        }
        match self.sent.delta(&before, &now) {
            Some(delta) => writer.put(Kind::SentDelta, &(slot, delta), &[])?,
            None => writer.put(Kind::Sent, &(slot, &self.sent), &[])?,
        };
        self.sent.note_written();
        self.mark.sent = self.sent.mark();
        Ok(())
    }
}

impl Sent {
    fn mark(&self) -> SentMark {
        let (captured, changes) = match self {
            Self::Full(full) => ((0, 0), full.ahead.len() as u32),
            Self::Sampled(sampled) => {
                let (_, capture_to) = sampled.sketch.ends();
                let changes = u32::from(sampled.sketch.is_changed());
                ((capture_to, sampled.shown), changes)
            }
        };
        SentMark {
            expects: self.expects(),
            start: self.start(),
            end: self.end(),
            captured,
            changes,
        }
    }

    /// What has changed between the two; `None`: too much, or in too rare a way.
    fn delta(&self, before: &SentMark, now: &SentMark) -> Option<SentDelta> {
        if now.expects || before.expects || now.start != before.start || now.end < before.end {
            return None;
        }
        match self {
            Self::Full(full) => {
                let in_order = now.changes == 0 && before.changes == 0;
                in_order.then(|| SentDelta::Full(full.verifier.since(before.end)))
            }
            Self::Sampled(sampled) if now.changes == 0 => {
                Some(SentDelta::Sampled(sampled.sketch.ends(), sampled.shown))
            }
            Self::Sampled(sampled) => {
                Some(SentDelta::Sketch(sampled.sketch.delta(), sampled.shown))
            }
        }
    }

    /// Takes over what has changed. False: it is a change of something else.
    pub(crate) fn apply(&mut self, delta: SentDelta) -> bool {
        match (self, delta) {
            (Self::Full(full), SentDelta::Full(delta)) => full.verifier.apply(delta),
            (Self::Sampled(sampled), SentDelta::Sampled(ends, shown)) => {
                sampled.sketch.set_ends(ends);
                sampled.shown = shown;
            }
            (Self::Sampled(sampled), SentDelta::Sketch(delta, shown)) => {
                sampled.shown = shown;
                return sampled.sketch.apply(delta);
            }
            _ => return false,
        }
        true
    }

    /// All of it is in the journal.
    fn note_written(&mut self) {
        if let Self::Sampled(sampled) = self {
            sampled.sketch.note_written();
        }
    }
}
