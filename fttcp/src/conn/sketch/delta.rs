// SPDX-License-Identifier: GPL-3.0-only
//! What has changed of a sketch since it was written, for the journal: an answer adds its own bytes to it, not all that
//! is remembered.

use serde::{Deserialize, Serialize};

use super::{Content, Range, SAMPLE, Sketch};
use crate::conn::FAR;

/// See the module's text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SketchDelta {
    /// What stands from here on is replaced.
    from: u64,
    /// The first of these is the rest of one that begins before it.
    grows: bool,
    ranges: Vec<Range>,
    samples: Vec<(u64, [u8; SAMPLE])>,
    ends: (u64, u64),
}

impl Sketch {
    /// Whether more than the two ends has changed since [`Sketch::note_written`].
    pub(crate) fn is_changed(&self) -> bool {
        self.changed_from != u64::MAX || self.samples_end() > self.new_samples
    }

    /// After the newest sample.
    fn samples_end(&self) -> u64 {
        self.samples.back().map_or(0, |&(number, _)| number + 1)
    }

    /// All of it is in the journal.
    pub(crate) fn note_written(&mut self) {
        self.changed_from = u64::MAX;
        self.new_samples = self.samples_end();
    }

    /// What has changed since [`Sketch::note_written`]; not for one that begins elsewhere now.
    pub(crate) fn delta(&self) -> SketchDelta {
        let first = self.changed_from;
        let index = self.ranges.partition_point(|range| range.end() <= first);
        let changed = self.ranges.range(index..);
        let ranges: Vec<Range> = changed.map(|range| range.after(first)).collect();
        let begins = |range: &Range| range.at < first && range.exact().is_some();
        let samples = self
            .samples
            .iter()
            .filter(|(number, _)| *number >= self.new_samples);
        SketchDelta {
            from: ranges.first().map_or(first, |range| range.at.min(first)),
            grows: self.ranges.get(index).is_some_and(begins),
            ranges,
            samples: samples.copied().collect(),
            ends: self.ends(),
        }
    }

    /// Takes over what has changed. False: it does not fit.
    pub(crate) fn apply(&mut self, delta: SketchDelta) -> bool {
        let SketchDelta {
            from,
            grows,
            ranges,
            samples,
            ends,
        } = delta;
        if ranges.iter().any(|range| range.at >= FAR) {
            return false;
        }
        self.ranges.retain_mut(|range| range.cut(from));
        let mut ranges = ranges.into_iter();
        if grows {
            let (Some(last), Some(rest)) = (self.ranges.back_mut(), ranges.next()) else {
                return false;
            };
            let fits = last.end() == rest.at;
            let (Content::Exact(bytes), Content::Exact(more)) = (&mut last.content, rest.content)
            else {
                return false;
            };
            if !fits {
                return false;
            }
            bytes.extend_from_slice(&more);
        }
        self.ranges.extend(ranges);
        self.limit_ranges();
        for (number, bytes) in samples {
            if number >= self.samples_end() {
                self.push_sample(number, bytes);
            }
        }
        self.set_ends(ends);
        true
    }
}

impl Range {
    /// What of it lies at or after `from`; a digest is one with what it is of.
    fn after(&self, from: u64) -> Self {
        match &self.content {
            Content::Exact(bytes) if self.at < from => Self {
                at: from,
                content: Content::Exact(bytes[(from - self.at) as usize..].to_vec()),
            },
            _ => self.clone(),
        }
    }

    /// Forgets what lies at or after `from`. False: nothing is left.
    fn cut(&mut self, from: u64) -> bool {
        let whole = self.end() <= from;
        let at = self.at;
        match &mut self.content {
            Content::Exact(bytes) if at < from => {
                bytes.truncate((from - at) as usize);
                true
            }
            _ => whole,
        }
    }
}
