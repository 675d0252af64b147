// SPDX-License-Identifier: GPL-3.0-only
//! What a server has sent, remembered well enough to tell whether a replacement says the same.
//!
//! A [`Verifier`] takes the server's stream in order and keeps a chained digest (XXH3) of its canonical form at every
//! block border that the client has not acknowledged, and the bytes since the last border. At a failover it becomes an
//! [`Expected`], against which the verifier of the regenerated stream is compared. Of the masked values it keeps the
//! true bytes until they are acknowledged, so that a client never gets one value's beginning and another's end.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::FAR;
use super::canon::{Canonicaliser, MASK, Masks};
use crate::stable::Pieces;

/// How much of the beginning of a stream is kept for an exact diagnosis.
const HEAD: usize = 1024;

/// A masked value's true bytes, from this position on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Value {
    pub(crate) fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    pub(crate) const fn is_sound(&self) -> bool {
        self.at < FAR
    }
}

/// The regenerated stream differs from the sent one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Divergence {
    /// Where it differs, or the border before which it does.
    pub(crate) offset: u64,
    /// What had been sent there, if it is still known.
    pub(crate) sent: Option<Vec<u8>>,
    /// What came instead.
    pub(crate) regenerated: Vec<u8>,
}

/// See the module's text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verifier {
    canon: Canonicaliser,
    block: usize,
    start: u64,
    end: u64,
    digest: u64,
    tail: Vec<u8>,
    borders: VecDeque<(u64, u64)>,
    head: Vec<u8>,
    values: VecDeque<Value>,
}

/// What a piece of the stream changes in a [`Verifier`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VerifierDelta {
    canon: Canonicaliser,
    end: u64,
    digest: u64,
    #[serde(with = "crate::bytes")]
    tail: Vec<u8>,
    borders: Vec<(u64, u64)>,
    #[serde(with = "crate::bytes")]
    head: Vec<u8>,
    values: VecDeque<Value>,
}

impl Verifier {
    /// `block`: distance of the borders. It must not exceed the smallest segment that the server sends when it has
    /// lost its congestion window, or a held segment could wait for ever for the border after it.
    pub(crate) fn new(block: usize) -> Self {
        Self::starting_at(block, 0)
    }

    /// The same, of a stream whose bytes below `start` do not count.
    pub(crate) fn starting_at(block: usize, start: u64) -> Self {
        Self {
            canon: Canonicaliser::default(),
            block,
            start,
            end: start,
            digest: 0,
            tail: Vec::new(),
            borders: VecDeque::new(),
            head: Vec::new(),
            values: VecDeque::new(),
        }
    }

    /// The last border that does not lie above `una`.
    pub(crate) fn last_border(&self, una: u64) -> Option<u64> {
        let passed = self.borders.partition_point(|&(at, _)| at <= una);
        Some(self.borders.get(passed.checked_sub(1)?)?.0)
    }

    /// The largest power of two between 256 and 1024 that is no longer than `mss`.
    pub(crate) fn block_for(mss: usize) -> usize {
        let mss = mss.clamp(256, 1024);
        1 << mss.ilog2()
    }

    /// Position after the last byte taken.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Position of the first byte that counts.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    pub(crate) const fn block(&self) -> usize {
        self.block
    }

    /// True bytes of the masked values that the client has not acknowledged.
    pub(crate) fn values(&self) -> std::collections::vec_deque::Iter<'_, Value> {
        self.values.iter()
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, masks: &Masks, data: &[u8]) {
        self.feed_with(masks, data, |_, _, _| {}, |_, _| {});
    }

    /// Takes the next bytes; shows each piece's canonical form (with position, and whether it is masked) and each
    /// border passed (with its digest).
    fn feed_with(
        &mut self,
        masks: &Masks,
        data: &[u8],
        mut piece: impl FnMut(u64, &[u8], bool),
        mut border: impl FnMut(u64, u64),
    ) {
        let mut at = 0;
        loop {
            let masked = self.canon.next_masked(masks, data, at);
            let plain = at..masked.as_ref().map_or(data.len(), |range| range.start);
            piece(self.end, &data[plain.clone()], false);
            self.absorb(&data[plain], &mut border);
            let Some(range) = masked else {
                return;
            };
            at = range.end;
            self.keep(&data[range.clone()]);
            let stars = vec![MASK; range.len()];
            piece(self.end, &stars, true);
            self.absorb(&stars, &mut border);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        match self.values.back_mut() {
            Some(value) if value.end() == self.end => value.bytes.extend_from_slice(bytes),
            _ => self.values.push_back(Value {
                at: self.end,
                bytes: bytes.to_vec(),
            }),
        }
    }

    fn absorb(&mut self, mut data: &[u8], border: &mut impl FnMut(u64, u64)) {
        if self.head.len() < HEAD {
            let room = (HEAD - self.head.len()).min(data.len());
            self.head.extend_from_slice(&data[..room]);
        }
        while self.tail.len() + data.len() >= self.block {
            let (now, rest) = data.split_at(self.block - self.tail.len());
            self.digest = if self.tail.is_empty() {
                xxh3_64_with_seed(now, self.digest)
            } else {
                self.tail.extend_from_slice(now);
                let digest = xxh3_64_with_seed(&self.tail, self.digest);
                self.tail.clear();
                digest
            };
            self.end += now.len() as u64;
            self.borders.push_back((self.end, self.digest));
            border(self.end, self.digest);
            data = rest;
        }
        self.tail.extend_from_slice(data);
        self.end += data.len() as u64;
    }

    /// Whether the parts fit together.
    pub(crate) fn is_sound(&self) -> bool {
        self.block.is_power_of_two()
            && (256..=1024).contains(&self.block)
            && self.start <= self.end
            && self.end < FAR
            && self.tail.len() < self.block
            && self.tail.len() as u64 <= self.end
            && self.head.len() <= HEAD
            && self.canon.is_sound()
            && self.values.iter().all(Value::is_sound)
            && self.borders.iter().all(|&(at, _)| at <= self.end)
    }

    /// What has changed since the stream ended at `end`.
    pub(crate) fn since(&self, end: u64) -> VerifierDelta {
        let passed = self.borders.partition_point(|&(at, _)| at <= end);
        let known = (end.saturating_sub(self.start) as usize).min(self.head.len());
        VerifierDelta {
            canon: self.canon.clone(),
            end: self.end,
            digest: self.digest,
            tail: self.tail.clone(),
            borders: self.borders.range(passed..).copied().collect(),
            head: self.head[known..].to_vec(),
            values: self.values.clone(),
        }
    }

    /// Takes over what has changed.
    pub(crate) fn apply(&mut self, delta: VerifierDelta) {
        self.canon = delta.canon;
        self.end = delta.end;
        self.digest = delta.digest;
        self.tail = delta.tail;
        self.borders.extend(delta.borders);
        self.head.extend(delta.head);
        self.values = delta.values;
    }

    /// Forgets what is not needed once the client has acknowledged everything below `una`.
    pub(crate) fn prune(&mut self, una: u64) {
        while self.borders.get(1).is_some_and(|&(at, _)| at <= una) {
            self.borders.pop_front();
        }
        while self.values.front().is_some_and(|value| value.end() <= una) {
            self.values.pop_front();
        }
    }
}

/// What a dead server had sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Expected {
    start: u64,
    head: Vec<u8>,
    borders: Vec<(u64, u64)>,
    tail_at: u64,
    tail: Vec<u8>,
    ahead: Pieces,
    values: Vec<Value>,
    end: u64,
}

impl Expected {
    /// From the dead server's verifier, and what was passed on beyond a gap in its stream.
    pub(crate) fn new(verifier: Verifier, ahead: Pieces) -> Self {
        let end = ahead
            .end()
            .map_or(verifier.end, |end| end.max(verifier.end));
        Self {
            start: verifier.start,
            head: verifier.head,
            borders: verifier.borders.into(),
            tail_at: verifier.end - verifier.tail.len() as u64,
            tail: verifier.tail,
            ahead,
            values: verifier.values.into(),
            end,
        }
    }

    /// Keeps the masked values that a replacement has generated where none had been sent, and that the client may have
    /// seen: those below `released`. It died before it had said everything again.
    pub(crate) fn keep(&mut self, fresh: &Verifier, released: u64) {
        for value in &fresh.values {
            let len = released
                .saturating_sub(value.at)
                .min(value.bytes.len() as u64);
            let bytes = value.bytes[..len as usize].to_vec();
            let new = Value {
                at: value.at,
                bytes,
            };
            self.values
                .retain(|old| old.at < new.at || old.end() > new.end());
            if len > 0 {
                self.values.push(new);
            }
        }
    }

    /// Position after the last byte sent.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Whether the parts fit together.
    pub(crate) fn is_sound(&self) -> bool {
        self.end < FAR
            && self.start <= self.tail_at
            && self.tail_at <= self.end
            && self.ahead.is_sound(0)
            && self.values.iter().all(Value::is_sound)
            && self.borders.is_sorted()
    }

    /// The last border that does not lie above `una`.
    pub(crate) fn last_border(&self, una: u64) -> Option<u64> {
        let passed = self.borders.partition_point(|&(at, _)| at <= una);
        Some(self.borders.get(passed.checked_sub(1)?)?.0)
    }

    /// One that stands at this border as if it had taken everything before. (That a masked value has begun there is not
    /// known: a stream that has one in such a place seems to differ.)
    pub(crate) fn verifier_from(&self, block: usize, border: u64) -> Option<Verifier> {
        let found = self.borders.binary_search_by_key(&border, |&(at, _)| at);
        let (end, digest) = *self.borders.get(found.ok()?)?;
        let borders = VecDeque::from([(end, digest)]);
        Some(Verifier {
            end,
            digest,
            borders,
            head: self.head.clone(),
            ..Verifier::starting_at(block, self.start)
        })
    }

    /// Up to where the stream that `fresh` has taken is known to be the one that was sent.
    pub(crate) fn verified(&self, fresh: &Verifier) -> u64 {
        if fresh.end >= self.tail_at {
            return fresh.end;
        }
        let passed = self.borders.partition_point(|&(at, _)| at <= fresh.end);
        let border = passed
            .checked_sub(1)
            .map_or(self.start, |last| self.borders[last].0);
        border.max(fresh.end.min(self.start + self.head.len() as u64))
    }

    /// Gives `fresh` the next bytes of the regenerated stream and compares.
    pub(crate) fn compare(
        &self,
        fresh: &mut Verifier,
        masks: &Masks,
        data: &[u8],
    ) -> Result<(), Divergence> {
        let mut found: Option<Divergence> = None;
        let mut sent_values: Vec<Value> = Vec::new();
        let block = fresh.block as u64;
        let mut wrong_border = None;
        fresh.feed_with(
            masks,
            data,
            |at, bytes, masked| {
                for (start, known) in [(self.start, &self.head), (self.tail_at, &self.tail)] {
                    if found.is_none() {
                        found = differs(start, known, at, bytes);
                    }
                }
                for (start, known) in self.ahead.within(at, bytes.len()) {
                    if masked {
                        sent_values.extend(overlap(start, known, at, bytes.len()));
                    } else if found.is_none() {
                        found = differs(start, known, at, bytes);
                    }
                }
            },
            |at, digest| {
                let known = self.borders.binary_search_by_key(&at, |&(at, _)| at);
                if known.is_ok_and(|index| self.borders[index].1 != digest) {
                    wrong_border.get_or_insert(at);
                }
            },
        );
        for value in fresh.values.iter_mut() {
            for old in self.values.iter().chain(&sent_values) {
                overwrite(value, old);
            }
        }
        if let Some(found) = found {
            return Err(found);
        }
        wrong_border.map_or(Ok(()), |border| {
            let start = fresh.end - data.len() as u64;
            let from = (border - block).max(start) - start;
            let to = (border - start) as usize;
            Err(Divergence {
                offset: border,
                sent: None,
                regenerated: data[from as usize..to.min(from as usize + 48)].to_vec(),
            })
        })
    }

    /// Forgets the parts of this that a client's acknowledgement makes useless.
    pub(crate) fn prune(&mut self, una: u64) {
        self.values.retain(|value| value.end() > una);
    }
}

/// The part of `known` (which begins at `start`) that lies within `len` bytes from `at`.
pub(super) fn overlap(start: u64, known: &[u8], at: u64, len: usize) -> Option<Value> {
    let from = start.max(at);
    let to = (start + known.len() as u64).min(at + len as u64);
    (from < to).then(|| Value {
        at: from,
        bytes: known[(from - start) as usize..(to - start) as usize].to_vec(),
    })
}

pub(super) fn differs(start: u64, known: &[u8], at: u64, bytes: &[u8]) -> Option<Divergence> {
    let sent = overlap(start, known, at, bytes.len())?;
    let skip = (sent.at - at) as usize;
    let got = &bytes[skip..skip + sent.bytes.len()];
    let first = sent.bytes.iter().zip(got).position(|(a, b)| a != b)?;
    let window = first.saturating_sub(16)..(first + 32).min(got.len());
    Some(Divergence {
        offset: sent.at + first as u64,
        sent: Some(sent.bytes[window.clone()].to_vec()),
        regenerated: got[window].to_vec(),
    })
}

fn overwrite(value: &mut Value, old: &Value) {
    let from = value.at.max(old.at);
    let to = value.end().min(old.end());
    if from < to {
        let bytes = &old.bytes[(from - old.at) as usize..(to - old.at) as usize];
        value.bytes[(from - value.at) as usize..(to - value.at) as usize].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
