// SPDX-License-Identifier: GPL-3.0-only
//! What clients saw, in buckets of 100 ms.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sample::Outcome;

/// The length of a bucket.
pub const BUCKET: Duration = Duration::from_millis(100);

/// All samples of a bucket.
#[derive(Clone, Debug, Default)]
struct Raw {
    bytes: u64,
    good: u64,
    /// Of good requests that ended in it and are timed, in microseconds.
    latencies: Vec<u32>,
    failed: u64,
    cut: u64,
    corrupt: u64,
}

/// A bucket as reports have it. Latencies are in milliseconds; those of timed requests that ended well in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// When it begins, in seconds.
    pub at: f64,
    /// Bytes that clients received or sent.
    pub bytes: u64,
    /// Requests that ended well.
    pub good: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Transfers that were cut.
    pub cut: u64,
    /// Transfers with a wrong byte.
    pub corrupt: u64,
    /// Half of the requests took no longer.
    pub p50: Option<f64>,
    /// 95 of 100 did not.
    pub p95: Option<f64>,
    /// 99 of 100 did not.
    pub p99: Option<f64>,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Series {
    buckets: Vec<Raw>,
}

impl Series {
    fn bucket(&mut self, at: Duration) -> &mut Raw {
        let index = (at.as_micros() / BUCKET.as_micros()) as usize;
        if self.buckets.len() <= index {
            self.buckets.resize(index + 1, Raw::default());
        }
        &mut self.buckets[index]
    }

    /// Bytes that were transferred just before `at`.
    pub fn bytes(&mut self, at: Duration, bytes: u64) {
        self.bucket(at).bytes += bytes;
    }

    /// A request that ended; whether its latency counts.
    pub fn request(&mut self, start: Duration, end: Duration, outcome: &Outcome, timed: bool) {
        let bucket = self.bucket(end);
        match outcome {
            Outcome::Good => {
                bucket.good += 1;
                if !timed {
                    return;
                }
                let micros = end.saturating_sub(start).as_micros();
                bucket
                    .latencies
                    .push(u32::try_from(micros).unwrap_or(u32::MAX));
            }
            Outcome::Failed(_) => bucket.failed += 1,
            Outcome::Cut(_) => bucket.cut += 1,
            Outcome::Corrupt(_) => bucket.corrupt += 1,
        }
    }

    /// The buckets.
    #[must_use]
    pub fn rows(&self) -> Vec<Bucket> {
        let row = |(index, raw): (usize, &Raw)| {
            let mut sorted = raw.latencies.clone();
            sorted.sort_unstable();
            Bucket {
                at: index as f64 * BUCKET.as_secs_f64(),
                bytes: raw.bytes,
                good: raw.good,
                failed: raw.failed,
                cut: raw.cut,
                corrupt: raw.corrupt,
                p50: rank(&sorted, 50.0),
                p95: rank(&sorted, 95.0),
                p99: rank(&sorted, 99.0),
            }
        };
        self.buckets.iter().enumerate().map(row).collect()
    }

    /// A percentile of all good requests, in milliseconds.
    #[must_use]
    pub fn latency(&self, percent: f64) -> Option<f64> {
        let mut all: Vec<u32> = self
            .buckets
            .iter()
            .flat_map(|raw| raw.latencies.iter().copied())
            .collect();
        all.sort_unstable();
        rank(&all, percent)
    }

    /// The median of the bytes per second of the buckets that lie between two moments as a whole.
    #[must_use]
    pub fn throughput(&self, from: Duration, to: Duration) -> Option<f64> {
        let first = from.as_micros().div_ceil(BUCKET.as_micros()) as usize;
        let last = (to.as_micros() / BUCKET.as_micros()) as usize;
        let mut bytes: Vec<u64> = (first..last)
            .map(|index| self.buckets.get(index).map_or(0, |raw| raw.bytes))
            .collect();
        bytes.sort_unstable();
        let middle = bytes.get(bytes.len().checked_sub(1)? / 2)?;
        Some(*middle as f64 / BUCKET.as_secs_f64())
    }
}

/// The value below which `percent` of sorted microseconds lie, by the nearest rank, in milliseconds.
fn rank(sorted: &[u32], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.max(1) - 1)
        .map(|micros| f64::from(*micros) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn requests_count_where_they_end() {
        let mut series = Series::default();
        for latency in 1..=100 {
            series.request(ms(200 - latency), ms(200), &Outcome::Good, true);
        }
        series.request(ms(0), ms(250), &Outcome::Failed("x".into()), true);
        let rows = series.rows();
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[0].good, rows[2].good, rows[2].failed), (0, 100, 1));
        assert_eq!((rows[2].p50, rows[2].p99), (Some(50.0), Some(99.0)));
        assert_eq!(rows[0].p50, None);
        assert_eq!(series.latency(95.0), Some(95.0));
    }

    #[test]
    fn throughput_is_the_median_of_whole_buckets_and_silence_counts() {
        let mut series = Series::default();
        for (bucket, bytes) in [(0, 1), (1, 10), (2, 30), (3, 20)] {
            series.bytes(ms(bucket * 100 + 50), bytes);
        }
        assert_eq!(series.throughput(ms(50), ms(400)), Some(200.0));
        assert_eq!(series.throughput(ms(400), ms(700)), Some(0.0));
        assert_eq!(series.throughput(ms(120), ms(180)), None);
    }
}
