// SPDX-License-Identifier: GPL-3.0-only
//! What a server has sent, remembered by parts: the beginning of each answer, and samples of the rest.
//!
//! This is what remains of a stream that the fast path has forwarded: it copies out the first bytes after each
//! segment of the client's that brought data, and takes eight bytes every [`flow::SAMPLE_EVERY`]. A replacement's
//! stream must agree with all of them. Bytes that the client has not acknowledged are kept as they were, so that a
//! masked value which the client may have seen is repeated to it; older ranges are kept as a digest.

mod delta;
mod retelling;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::FAR;
use super::canon::{Canonicaliser, MASK, MAX_NAME, MAX_VALUE, Masks};
use crate::flow;

pub(crate) use delta::SketchDelta;
pub(crate) use retelling::Retelling;

/// Most ranges remembered: the first, and the newest of the others.
const MAX_RANGES: usize = 24;
/// Most bytes remembered as they were.
const MAX_EXACT: usize = 64 * 1024;
/// Longest beginning of a line in which a masked value has begun, and not ended.
const LINE: usize = 2 + MAX_NAME + 1 + MAX_VALUE;
/// Length of a sample.
const SAMPLE: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Content {
    Exact(#[serde(with = "crate::bytes")] Vec<u8>),
    Digest { len: u32, digest: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    at: u64,
    content: Content,
}

impl Range {
    fn end(&self) -> u64 {
        self.at
            + match &self.content {
                Content::Exact(bytes) => bytes.len() as u64,
                Content::Digest { len, .. } => u64::from(*len),
            }
    }

    fn exact(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Exact(bytes) => Some(bytes),
            Content::Digest { .. } => None,
        }
    }
}

/// The digest of a range by itself, masked values left out. Both streams are cut at the same places, so that it does
/// not matter that a value which begins before the range is not seen as one.
fn digest(masks: &Masks, bytes: &[u8]) -> u64 {
    let mut bytes = bytes.to_vec();
    let mut canon = Canonicaliser::default();
    let mut at = 0;
    while let Some(masked) = canon.next_masked(masks, &bytes, at) {
        at = masked.end;
        bytes[masked].fill(MASK);
    }
    xxh3_64(&bytes)
}

/// See the module's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sketch {
    ranges: VecDeque<Range>,
    /// By number: a sample stands at `number * SAMPLE_EVERY`.
    samples: VecDeque<(u64, [u8; SAMPLE])>,
    start: u64,
    end: u64,
    capture_to: u64,
    /// Ranges, or parts of them, from this position on have changed since [`Sketch::note_written`].
    #[serde(skip)]
    changed_from: u64,
    /// Samples from this number on are newer than that.
    #[serde(skip)]
    new_samples: u64,
}

impl Sketch {
    /// How far the stream is, and up to where it is captured.
    pub(crate) const fn ends(&self) -> (u64, u64) {
        (self.end, self.capture_to)
    }

    pub(crate) const fn set_ends(&mut self, (end, capture_to): (u64, u64)) {
        self.end = end;
        self.capture_to = capture_to;
    }

    /// Whether the parts fit together.
    pub(crate) fn is_sound(&self) -> bool {
        let mut before = 0;
        let in_order = self.ranges.iter().all(|range| {
            let follows = range.at >= before && range.at < FAR;
            before = if follows { range.end() } else { 0 };
            follows
        });
        in_order
            && self.start <= self.end
            && before <= self.end
            && self.end < FAR
            && self.capture_to < FAR
            && self.ranges.len() <= MAX_RANGES
            && self.samples.len() <= flow::SAMPLES
            && self
                .samples
                .iter()
                .all(|&(number, _)| number < FAR / u64::from(flow::SAMPLE_EVERY))
    }

    /// Position of the first byte that counts.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// What stands before `at` does not count any more.
    pub(crate) fn start_at(&mut self, at: u64) {
        self.start = at;
        // Of what the fast path has forwarded, the client's acknowledgement may tell first.
        self.end = self.end.max(at);
        self.ranges.retain_mut(|range| match &mut range.content {
            Content::Exact(bytes) => {
                let gone = at.saturating_sub(range.at).min(bytes.len() as u64);
                bytes.drain(..gone as usize);
                range.at += gone;
                !bytes.is_empty()
            }
            Content::Digest { .. } => range.at >= at,
        });
        self.samples
            .retain(|&(number, _)| number * u64::from(flow::SAMPLE_EVERY) >= at);
    }

    /// Position after the highest byte sent.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    pub(crate) const fn capture_to(&self) -> u64 {
        self.capture_to
    }

    /// The client has said something: the next `length` bytes of the server are remembered.
    pub(crate) const fn capture(&mut self, length: u32) {
        self.capture_to = self.end + length as u64;
    }

    /// Takes bytes that are sent to the client, in any order; gives those that are remembered as they are.
    pub(crate) fn feed<'a>(&mut self, at: u64, data: &'a [u8]) -> &'a [u8] {
        let end = at + data.len() as u64;
        let wanted = end.min(self.capture_to).saturating_sub(at) as usize;
        self.captured(at, &data[..wanted]);
        self.sample(at, data);
        self.end = self.end.max(end);
        &data[..wanted]
    }

    fn sample(&mut self, at: u64, data: &[u8]) {
        let every = u64::from(flow::SAMPLE_EVERY);
        let next = self.samples.back().map_or(0, |&(number, _)| number + 1);
        let mut number = at.div_ceil(every).max(next);
        while let Some(bytes) = number
            .checked_mul(every)
            .and_then(|place| data.get((place - at) as usize..)?.first_chunk())
        {
            self.push_sample(number, *bytes);
            number += 1;
        }
    }

    fn push_sample(&mut self, number: u64, bytes: [u8; SAMPLE]) {
        if self.samples.len() == flow::SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((number, bytes));
    }

    /// Remembers these bytes as they are. What is known already stays as it was first.
    pub(crate) fn captured(&mut self, at: u64, mut data: &[u8]) {
        let mut at = at;
        let end = at + data.len() as u64;
        let exact: usize = self
            .ranges
            .iter()
            .filter_map(Range::exact)
            .map(<[u8]>::len)
            .sum();
        if exact + data.len() > MAX_EXACT {
            return;
        }
        while at < end {
            let index = self.ranges.partition_point(|range| range.end() <= at);
            let limit = match self.ranges.get(index) {
                Some(range) if range.at <= at => {
                    let known = (range.end().min(end) - at) as usize;
                    data = &data[known..];
                    at += known as u64;
                    continue;
                }
                Some(range) => range.at.min(end),
                None => end,
            };
            self.changed_from = self.changed_from.min(at);
            let (now, rest) = data.split_at((limit - at) as usize);
            let before = index
                .checked_sub(1)
                .and_then(|before| self.ranges.get_mut(before));
            match before {
                Some(Range {
                    at: start,
                    content: Content::Exact(bytes),
                }) if *start + bytes.len() as u64 == at => {
                    bytes.extend_from_slice(now);
                    self.join(index);
                }
                _ => {
                    let content = Content::Exact(now.to_vec());
                    self.ranges.insert(index, Range { at, content });
                    self.join(index + 1);
                }
            }
            data = rest;
            at = limit;
        }
        self.end = self.end.max(end);
        self.limit_ranges();
    }

    fn limit_ranges(&mut self) {
        while self.ranges.len() > MAX_RANGES {
            self.ranges.remove(1);
        }
    }

    /// Two ranges that touch become one: a masked value may begin in one and end in the other.
    fn join(&mut self, index: usize) {
        let Some(before) = index.checked_sub(1).and_then(|at| self.ranges.get(at)) else {
            return;
        };
        let end = before.end();
        let joins = before.exact().is_some()
            && self
                .ranges
                .get(index)
                .is_some_and(|it| it.at == end && it.exact().is_some());
        if joins
            && let Some(Range {
                content: Content::Exact(more),
                ..
            }) = self.ranges.remove(index)
            && let Some(Range {
                content: Content::Exact(bytes),
                ..
            }) = self.ranges.get_mut(index - 1)
        {
            bytes.extend(more);
        }
    }

    /// Keeps only digests of what the client has acknowledged, also where more may follow: that begins a new range. Where
    /// a line has begun that may hold a masked value, it stays as it is: its rest would not be known as one.
    pub(crate) fn settle_down(&mut self, una: u64, masks: &Masks) {
        if let Some(range) = self.ranges.back_mut()
            && range.end() == una
            && una < self.capture_to
            && let Content::Exact(bytes) = &mut range.content
            && let Some(line) = memchr::memrchr(b'\r', bytes)
            && bytes.len() - line <= LINE
        {
            if line > 0 {
                let at = range.at + line as u64;
                let content = Content::Exact(bytes.split_off(line));
                self.ranges.push_back(Range { at, content });
                self.limit_ranges();
            }
            self.prune(una, masks);
            return;
        }
        let capture_to = std::mem::replace(&mut self.capture_to, self.end);
        self.prune(una, masks);
        self.capture_to = capture_to;
    }

    /// The client has acknowledged everything below `una`.
    pub(crate) fn prune(&mut self, una: u64, masks: &Masks) {
        let capture_to = self.capture_to;
        for range in &mut self.ranges {
            // What comes next may still be missing, also when later bytes have come.
            let grows = range.end() == una && una < capture_to;
            let done = range.end() <= una && !grows;
            if let Some(bytes) = range.exact().filter(|_| done) {
                self.changed_from = self.changed_from.min(range.at);
                range.content = Content::Digest {
                    len: bytes.len() as u32,
                    digest: digest(masks, bytes),
                };
            }
        }
    }

    /// Takes over what the fast path has sampled; `next` is the number of its next sample.
    pub(crate) fn take_samples(
        &mut self,
        next: u64,
        valid: u32,
        samples: &[[u32; 2]; flow::SAMPLES],
    ) {
        let oldest = next.saturating_sub(flow::SAMPLES as u64);
        let known = self.samples.back().map_or(0, |&(number, _)| number + 1);
        for number in oldest.max(known)..next {
            let place = number as usize % flow::SAMPLES;
            if valid & (1 << place) != 0 {
                let [a, b] = samples[place].map(u32::to_ne_bytes);
                self.push_sample(number, [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]);
            }
        }
    }

    /// The stream has gone on to `end`, and is to be remembered up to `capture_to`.
    pub(crate) fn advance(&mut self, end: u64, capture_to: u64) {
        self.end = self.end.max(end);
        self.capture_to = self.capture_to.max(capture_to);
    }

    /// The number of the next sample.
    pub(crate) fn next_sample(&self) -> u64 {
        let after = self.samples.back().map_or(0, |&(number, _)| number + 1);
        after.max(self.end.div_ceil(u64::from(flow::SAMPLE_EVERY)))
    }
}

#[cfg(test)]
mod tests;
