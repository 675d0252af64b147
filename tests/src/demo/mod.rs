// SPDX-License-Identifier: GPL-3.0-only
//! The main job, shown: a download goes on while its server dies.
//!
//! Who lives here: what a run of the demo recorded ([`DemoRun`]) and the claims checked on it; `report` writes JSON and
//! HTML, `lab` runs it on real Xen, `netns::demo` in namespaces. Who may call in: the `demo` binary and the tests.

pub mod client;
pub mod lab;
pub mod report;
pub mod svg;

use serde::{Deserialize, Serialize};

/// What one download through the logger recorded. Times are seconds since the client started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DemoRun {
    /// `"with FT-TCP"` or `"control"`.
    pub title: String,
    /// Whether the connections were protected.
    pub protected: bool,
    /// What happened when, in order of time.
    pub events: Vec<Event>,
    /// (seconds, bytes that the client had received by then), ascending.
    pub bytes_over_time: Vec<(f64, u64)>,
    /// Size of the file.
    pub file_bytes: u64,
    /// curl's exit code; 128 + signal if it was killed.
    pub curl_exit: i32,
    /// The received file has the right sha256.
    pub sha256_ok: bool,
    /// When the server was made to die.
    pub crash_at: f64,
    /// Bytes that the client had received then.
    pub crash_bytes: u64,
    /// The longest time without a byte for the client around the crash, in seconds; `None` if no byte came after it.
    pub client_gap: Option<f64>,
    /// What the logger said of the failover, as it said it.
    pub failover: Option<fttcp::control::FailoverStatus>,
}

/// One mark on the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the client started.
    pub at: f64,
    /// `"crash"`, `"detection"`, `"hand-over"`, `"first new client byte"`, `"done"`, or another word.
    pub name: String,
    /// A line for the reader.
    pub detail: String,
}

impl DemoRun {
    /// Adds a mark; keeps the order of time.
    pub fn mark(&mut self, at: f64, name: &str, detail: impl Into<String>) {
        let place = self.events.partition_point(|e| e.at <= at);
        self.events.insert(
            place,
            Event {
                at,
                name: name.to_owned(),
                detail: detail.into(),
            },
        );
    }

    /// The longest pause between two bytes for the client that ends after the crash.
    #[must_use]
    pub fn longest_gap_after(&self, at: f64) -> Option<f64> {
        let mut gap: Option<f64> = None;
        for pair in self.bytes_over_time.windows(2) {
            let [(before, had), (after, has)] = pair else {
                continue;
            };
            if has > had && *after > at {
                let pause = after - before;
                gap = Some(gap.map_or(pause, |g: f64| g.max(pause)));
            }
        }
        gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(samples: &[(f64, u64)]) -> DemoRun {
        DemoRun {
            bytes_over_time: samples.to_vec(),
            ..DemoRun::default()
        }
    }

    #[test]
    fn gap_after_crash_is_the_longest_pause_that_ends_later() {
        let run = run(&[(0.0, 0), (2.0, 10), (2.1, 20), (2.6, 30), (2.7, 40)]);
        let gap = run
            .longest_gap_after(2.05)
            .expect("bytes came after the crash");
        assert!((gap - 0.5).abs() < 1e-9, "{gap}");
    }

    #[test]
    fn gap_after_crash_without_later_bytes_is_none() {
        assert_eq!(run(&[(0.0, 0), (1.0, 10)]).longest_gap_after(1.5), None);
    }

    #[test]
    fn mark_keeps_order_of_time() {
        let mut run = DemoRun::default();
        run.mark(2.0, "b", "");
        run.mark(1.0, "a", "");
        assert_eq!(
            run.events
                .iter()
                .map(|e| e.name.as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
    }
}
