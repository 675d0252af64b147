// SPDX-License-Identifier: GPL-3.0-only
//! A replacement says its stream again: compared with what is remembered of the one that was sent.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Content, SAMPLE, Sketch, digest};
use crate::conn::FAR;
use crate::conn::canon::{Canonicaliser, Masks};
use crate::conn::verify::{Divergence, Value, differs, overlap};
use crate::flow;

/// A replacement's way through its stream again, as far as the old one went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Retelling {
    canon: Canonicaliser,
    /// Everything below has been said again.
    at: u64,
    /// Where the old stream ended.
    end: u64,
    /// The last bytes said, for what lies across two pieces: canonical, and whether masked.
    recent: Vec<(u8, bool)>,
    /// The part of a digested range that has been said.
    partial: Vec<u8>,
}

impl Retelling {
    pub(crate) fn new(start: u64, end: u64) -> Self {
        Self {
            canon: Canonicaliser::default(),
            at: start,
            end,
            recent: Vec::new(),
            partial: Vec::new(),
        }
    }

    /// Whether the parts fit together.
    pub(crate) fn is_sound(&self) -> bool {
        self.at < FAR
            && self.end < FAR
            && self.canon.is_sound()
            && self.recent.len() as u64 <= self.at
    }

    /// Everything below has been said again, and agrees as far as is known.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Where the old stream ended.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Takes the next bytes, compares, and adds to `values` the masked values that the client may have seen.
    pub(crate) fn compare(
        &mut self,
        sketch: &Sketch,
        masks: &Masks,
        data: &[u8],
        values: &mut VecDeque<Value>,
    ) -> Result<(), Divergence> {
        let start = self.at;
        let mut masked = vec![false; data.len()];
        let mut from = 0;
        while let Some(range) = self.canon.next_masked(masks, data, from) {
            from = range.end;
            masked[range].fill(true);
        }
        keep_fresh(sketch, start, data, &masked, values);
        let first = sketch.ranges.partition_point(|range| range.end() <= start);
        for range in sketch.ranges.iter().skip(first) {
            if range.at >= start + data.len() as u64 {
                break;
            }
            match &range.content {
                Content::Exact(bytes) => {
                    compare_exact(range.at, bytes, start, data, &masked, values)?;
                }
                Content::Digest { len, digest: sent } => {
                    let from = range.at.max(start);
                    let to = range.end().min(start + data.len() as u64);
                    if from == range.at {
                        self.partial.clear();
                    }
                    self.partial
                        .extend_from_slice(&data[(from - start) as usize..(to - start) as usize]);
                    if self.partial.len() == *len as usize && digest(masks, &self.partial) != *sent
                    {
                        return Err(Divergence {
                            offset: range.end(),
                            sent: None,
                            regenerated: self.partial[..self.partial.len().min(48)].to_vec(),
                        });
                    }
                }
            }
        }
        self.compare_samples(sketch, data, &masked)?;
        self.at += data.len() as u64;
        Ok(())
    }

    fn compare_samples(
        &mut self,
        sketch: &Sketch,
        data: &[u8],
        masked: &[bool],
    ) -> Result<(), Divergence> {
        let carried = self.recent.len();
        let window_at = self.at - carried as u64;
        let byte = |at: usize| {
            at.checked_sub(carried).map_or_else(
                || self.recent.get(at).copied(),
                |at| Some((*data.get(at)?, masked[at])),
            )
        };
        for (number, sent) in &sketch.samples {
            let place = number * u64::from(flow::SAMPLE_EVERY);
            let Some(from) = place.checked_sub(window_at) else {
                continue;
            };
            let from = from as usize;
            // Looked at once: when its last byte is new.
            if from + SAMPLE <= carried || from + SAMPLE > carried + data.len() {
                continue;
            }
            let new: Vec<(u8, bool)> = (from..from + SAMPLE).filter_map(byte).collect();
            let plain = new.iter().all(|&(_, masked)| !masked);
            if plain && !new.iter().map(|&(byte, _)| byte).eq(sent.iter().copied()) {
                return Err(Divergence {
                    offset: place,
                    sent: Some(sent.to_vec()),
                    regenerated: new.iter().map(|&(byte, _)| byte).collect(),
                });
            }
        }
        let keep = SAMPLE - 1;
        let fresh = data.iter().copied().zip(masked.iter().copied());
        if data.len() >= keep {
            self.recent = fresh.skip(data.len() - keep).collect();
        } else {
            self.recent.extend(fresh);
            let surplus = self.recent.len().saturating_sub(keep);
            self.recent.drain(..surplus);
        }
        Ok(())
    }
}

/// Keeps the masked values that are generated now: where nothing is known of what had been sent, this is what the
/// client gets, and another replacement must not say otherwise. In front: what is known from before counts more.
fn keep_fresh(
    sketch: &Sketch,
    at: u64,
    data: &[u8],
    masked: &[bool],
    values: &mut VecDeque<Value>,
) {
    let mut from = 0;
    for run in masked.chunk_by(|a, b| a == b) {
        let to = from + run.len();
        let fresh = Value {
            at: at + from as u64,
            bytes: data[from..to].to_vec(),
        };
        let within = |start, end| start <= fresh.at && fresh.end() <= end;
        let mut sent = sketch.ranges.iter();
        let known = sent.any(|range| within(range.at, range.end()))
            || values.iter().any(|old| within(old.at, old.end()));
        if run[0] && !known {
            values.push_front(fresh);
        }
        from = to;
    }
}

/// Compares the bytes that count; of a masked value, keeps what had been sent.
fn compare_exact(
    range_at: u64,
    sent: &[u8],
    at: u64,
    data: &[u8],
    masked: &[bool],
    values: &mut VecDeque<Value>,
) -> Result<(), Divergence> {
    let mut from = 0;
    while from < data.len() {
        let kind = masked[from];
        let len = masked[from..]
            .iter()
            .take_while(|&&other| other == kind)
            .count();
        let (piece, piece_at) = (&data[from..from + len], at + from as u64);
        if !kind {
            if let Some(found) = differs(range_at, sent, piece_at, piece) {
                return Err(found);
            }
        } else if let Some(old) = overlap(range_at, sent, piece_at, len) {
            values.push_back(old);
        }
        from += len;
    }
    Ok(())
}
