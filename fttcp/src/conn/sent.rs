// SPDX-License-Identifier: GPL-3.0-only
//! What the client was sent by servers, in the manner that the service asks for (`verify`), and the comparison of a
//! replacement's stream with it.
//!
//! * full: a chained digest of every byte ([`Verifier`]); nothing that may have been lost is repeated to the client
//!   before it is proven. Every byte passes through the engine.
//! * sampled: the beginning of each answer and samples of the rest ([`Sketch`]). The fast path can keep this up.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::FAR;
use super::canon::Masks;
use super::sketch::{Retelling, Sketch};
use super::verify::{Divergence, Expected, Value, Verifier};
use crate::stable::Pieces;

/// Most bytes that are passed on beyond a gap in the server's stream. More is dropped; the server repeats it.
const MAX_AHEAD: usize = 1 << 20;

/// See the module's text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Sent {
    Full(Box<Full>),
    Sampled(Box<Sampled>),
}

/// Every byte counts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Full {
    pub(super) verifier: Verifier,
    /// Bytes passed on beyond a gap in the server's stream, not hashed yet.
    pub(super) ahead: Pieces,
    /// What a dead server had sent, until its replacement has said it all again.
    expected: Option<Expected>,
}

/// Parts count.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sampled {
    pub(super) sketch: Sketch,
    /// True bytes of the masked values that the client may have seen in part.
    values: VecDeque<Value>,
    retelling: Option<Retelling>,
    /// The service's plug-in was shown what stands below.
    pub(super) shown: u64,
}

impl Sent {
    /// `block`: see [`Verifier::new`].
    pub(crate) fn full(block: usize) -> Self {
        Self::Full(Box::new(Full {
            verifier: Verifier::new(block),
            ahead: Pieces::default(),
            expected: None,
        }))
    }

    pub(crate) fn sampled() -> Self {
        Self::Sampled(Box::default())
    }

    /// Whether the parts fit together.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Full(full) => {
                full.verifier.is_sound()
                    && full.ahead.is_sound(0)
                    && full.expected.as_ref().is_none_or(Expected::is_sound)
            }
            Self::Sampled(sampled) => {
                sampled.sketch.is_sound()
                    && sampled.values.iter().all(Value::is_sound)
                    && sampled.shown < FAR
                    && sampled.retelling.as_ref().is_none_or(Retelling::is_sound)
            }
        }
    }

    /// Memory used for bytes whose turn has not come.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Full(full) => full.ahead.cost(),
            Self::Sampled(_) => 0,
        }
    }

    /// The same manner, nothing sent.
    pub(crate) fn cleared(&self) -> Self {
        match self {
            Self::Full(full) => Self::full(full.verifier.block()),
            Self::Sampled(_) => Self::sampled(),
        }
    }

    pub(crate) fn sketch(&mut self) -> Option<&mut Sketch> {
        match self {
            Self::Full(_) => None,
            Self::Sampled(sampled) => Some(&mut sampled.sketch),
        }
    }

    /// During a replay: everything below has been said again. Else: everything below is taken.
    pub(crate) fn end(&self) -> u64 {
        match self {
            Self::Full(full) => full.verifier.end(),
            Self::Sampled(sampled) => sampled
                .retelling
                .as_ref()
                .map_or_else(|| sampled.sketch.end(), Retelling::at),
        }
    }

    /// True bytes of masked values that the client has not acknowledged.
    pub(crate) fn values(&self) -> std::collections::vec_deque::Iter<'_, Value> {
        match self {
            Self::Full(full) => full.verifier.values(),
            Self::Sampled(sampled) => sampled.values.iter(),
        }
    }

    /// Takes bytes that are sent to the client for the first time; shows `taken` those of them whose turn has come.
    /// False: they lie too far beyond a gap, or need more memory than `room`, and must not be sent.
    pub(crate) fn absorb(
        &mut self,
        at: u64,
        data: &[u8],
        masks: &Masks,
        room: usize,
        mut taken: impl FnMut(u64, &[u8]),
    ) -> bool {
        match self {
            Self::Full(full) => full.absorb(at, data, masks, room, taken),
            Self::Sampled(sampled) => {
                sampled.sketch.feed(at, data);
                let known = sampled.shown.saturating_sub(at) as usize;
                if let Some(new) = data.get(known..).filter(|new| !new.is_empty()) {
                    taken(at + known as u64, new);
                    sampled.shown = at + data.len() as u64;
                }
                true
            }
        }
    }

    /// Takes bytes that the fast path has copied out of what it sent; shows those that are new.
    pub(crate) fn captured(&mut self, at: u64, data: &[u8], mut taken: impl FnMut(u64, &[u8])) {
        if let Self::Sampled(sampled) = self {
            sampled.sketch.captured(at, data);
            let known = sampled.shown.saturating_sub(at) as usize;
            if let Some(new) = data.get(known..).filter(|new| !new.is_empty()) {
                taken(at + known as u64, new);
                sampled.shown = at + data.len() as u64;
            }
        }
    }

    /// Whether bytes up to `end`, from `at` on, bring something.
    pub(crate) fn wants(&self, at: i64, end: i64) -> bool {
        match self {
            Self::Full(full) => end > full.verifier.end().cast_signed(),
            Self::Sampled(sampled) => {
                end > sampled.sketch.end().cast_signed()
                    || at < sampled.sketch.capture_to().cast_signed()
            }
        }
    }

    /// The client has said something new: an answer may begin here, of which the sketch keeps `length` bytes.
    pub(crate) fn capture(&mut self, length: u32) {
        if let Self::Sampled(sampled) = self {
            sampled.sketch.capture(length);
        }
    }

    /// The client has acknowledged everything below `una`.
    pub(crate) fn prune(&mut self, una: u64, masks: &Masks) {
        match self {
            Self::Full(full) => {
                full.verifier.prune(una);
                if let Some(expected) = &mut full.expected {
                    expected.prune(una);
                }
            }
            Self::Sampled(sampled) => {
                sampled.sketch.prune(una, masks);
                sampled.values.retain(|value| value.end() > una);
            }
        }
    }

    /// Nothing has come for a while, and the client has acknowledged everything below `una`.
    pub(crate) fn settle_down(&mut self, una: u64, masks: &Masks) {
        if let Self::Sampled(sampled) = self {
            sampled.sketch.settle_down(una, masks);
        }
    }

    /// The server is dead: what it sent is expected of the replacement, from the start. A replacement that was still
    /// saying it again has sent the client everything below `released`.
    pub(crate) fn expect_again(&mut self, released: u64) {
        match self {
            Self::Full(full) => {
                let fresh = Verifier::starting_at(full.verifier.block(), full.verifier.start());
                let said = std::mem::replace(&mut full.verifier, fresh);
                let ahead = std::mem::take(&mut full.ahead);
                match &mut full.expected {
                    Some(expected) => expected.keep(&said, released),
                    None => full.expected = Some(Expected::new(said, ahead)),
                }
            }
            Self::Sampled(sampled) => {
                sampled.retelling =
                    Some(Retelling::new(sampled.sketch.start(), sampled.sketch.end()));
            }
        }
    }

    /// The server is dead: likewise, but what it sent below `from` need not be said again. `from`: see
    /// [`Sent::resumable`].
    pub(crate) fn expect_from(&mut self, released: u64, from: u64) {
        self.expect_again(released);
        match self {
            Self::Full(full) => {
                let block = full.verifier.block();
                let expected = full.expected.as_ref();
                if let Some(fresh) = expected.and_then(|it| it.verifier_from(block, from)) {
                    full.verifier = fresh;
                }
            }
            Self::Sampled(sampled) => {
                // The client's acknowledgement may tell first how far the stream is.
                let capture_to = sampled.sketch.capture_to();
                sampled.sketch.advance(from, capture_to);
                sampled.retelling = Some(Retelling::new(from, sampled.sketch.end()));
            }
        }
    }

    /// The highest position, not above `una`, from which a replacement's stream can be compared if it says nothing of
    /// what goes before. `None`: there is none.
    pub(crate) fn resumable(&self, una: u64) -> Option<u64> {
        match self {
            Self::Full(full) => match &full.expected {
                Some(expected) => expected.last_border(una),
                None => full.verifier.last_border(una),
            },
            Self::Sampled(sampled) => (sampled.sketch.start() <= una).then_some(una),
        }
    }

    /// Where a replay begins.
    pub(crate) const fn start(&self) -> u64 {
        match self {
            Self::Full(full) => full.verifier.start(),
            Self::Sampled(sampled) => sampled.sketch.start(),
        }
    }

    /// From now on a replay begins at `at`: what was sent before need not be said again. False: it is remembered as
    /// a chain that has gone on already, or that a replacement is saying again.
    pub(crate) fn start_at(&mut self, at: u64) -> bool {
        match self {
            Self::Full(full) => {
                let free = full.ahead.is_empty() && full.expected.is_none();
                if !free || full.verifier.end() != at {
                    return false;
                }
                full.verifier = Verifier::starting_at(full.verifier.block(), at);
            }
            Self::Sampled(sampled) => {
                if sampled.retelling.is_some() {
                    return false;
                }
                sampled.sketch.start_at(at);
            }
        }
        true
    }

    /// Whether a replacement still has to say something again.
    pub(crate) fn expects(&self) -> bool {
        match self {
            Self::Full(full) => full.expected.is_some(),
            Self::Sampled(sampled) => sampled.retelling.is_some(),
        }
    }

    /// Whether a replacement's stream may begin with these bytes, as far as is known. Nothing is taken.
    pub(crate) fn begins_with(&self, masks: &Masks, data: &[u8]) -> bool {
        match self {
            Self::Full(full) => full.expected.as_ref().is_none_or(|expected| {
                let mut fresh = Verifier::new(full.verifier.block());
                expected.compare(&mut fresh, masks, data).is_ok()
            }),
            Self::Sampled(_) => true,
        }
    }

    /// Where the stream ended that a replacement has to say again; 0 if none.
    pub(crate) fn expected_end(&self) -> u64 {
        match self {
            Self::Full(full) => full.expected.as_ref().map_or(0, Expected::end),
            Self::Sampled(sampled) => sampled.retelling.as_ref().map_or(0, Retelling::end),
        }
    }

    /// Up to where the replacement's stream is known to be the one that was sent.
    pub(crate) fn verified(&self) -> u64 {
        match self {
            Self::Full(full) => full
                .expected
                .as_ref()
                .map_or(u64::MAX, |expected| expected.verified(&full.verifier)),
            Self::Sampled(sampled) => sampled.retelling.as_ref().map_or(u64::MAX, Retelling::at),
        }
    }

    /// Takes the next bytes of the replacement's stream, and compares as long as something is expected.
    pub(crate) fn retell(&mut self, masks: &Masks, data: &[u8]) -> Result<(), Divergence> {
        match self {
            Self::Full(full) => match &full.expected {
                Some(expected) => expected.compare(&mut full.verifier, masks, data),
                None => {
                    full.verifier.feed(masks, data);
                    Ok(())
                }
            },
            Self::Sampled(sampled) => {
                let at = match &mut sampled.retelling {
                    Some(retelling) => {
                        let at = retelling.at();
                        retelling.compare(&sampled.sketch, masks, data, &mut sampled.values)?;
                        at
                    }
                    None => sampled.sketch.end(),
                };
                // What had been sent stays as it was; what lies beyond is new.
                let known = sampled.sketch.end().saturating_sub(at) as usize;
                if let Some(new) = data.get(known..).filter(|new| !new.is_empty()) {
                    sampled.sketch.feed(at + known as u64, new);
                }
                Ok(())
            }
        }
    }

    /// Everything has been said again.
    pub(crate) fn settle(&mut self) {
        match self {
            Self::Full(full) => full.expected = None,
            Self::Sampled(sampled) => sampled.retelling = None,
        }
    }
}

impl Full {
    /// Hashes what is new in the data.
    fn absorb(
        &mut self,
        at: u64,
        data: &[u8],
        masks: &Masks,
        room: usize,
        mut taken: impl FnMut(u64, &[u8]),
    ) -> bool {
        let known = self.verifier.end();
        if at > known {
            let more = Pieces::cost_of(data.len());
            if self.ahead.cost() + more > MAX_AHEAD || more > room {
                return false;
            }
            self.ahead.insert(at, data);
            return true;
        }
        let Some(new) = data.get((known - at) as usize..) else {
            return true;
        };
        self.verifier.feed(masks, new);
        taken(known, new);
        loop {
            let known = self.verifier.end();
            let Some(new) = self.ahead.next(known) else {
                break;
            };
            self.verifier.feed(masks, &new);
            taken(known, &new);
        }
        true
    }
}
