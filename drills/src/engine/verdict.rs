// SPDX-License-Identifier: GPL-3.0-only
//! Figures of a drill, and what is said of its expectations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::incident::Incident;
use super::sample::Event;
use super::series::{Bucket, Series};
use crate::plan::Plan;

/// What is left out of the throughput before the first fault: connections are being made.
const WARM_UP: Duration = Duration::from_millis(300);
/// What is left out of that after the last: queues that have filled meanwhile run empty.
const CALM: Duration = Duration::from_millis(300);

/// A number that a drill gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// The number; `None`: there was nothing to measure it by.
    pub value: Option<f64>,
    /// Its unit; empty for counts.
    pub unit: String,
    /// Which of two drills is the better one.
    pub better: Better,
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// The higher.
    More,
    /// The lower.
    Less,
    /// None may be above: failures.
    Never,
    /// Neither.
    Same,
}

/// One expectation, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What was expected, a phrase.
    pub what: String,
    /// How much: `"at most 250 ms"`.
    pub wanted: String,
    /// What was seen.
    pub seen: String,
    /// Whether it was met.
    pub met: bool,
}

/// What came out of a drill.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// What clients saw over time.
    pub buckets: Vec<Bucket>,
    /// What happened, in order of time.
    pub events: Vec<Event>,
    /// What each fault did.
    pub incidents: Vec<Incident>,
    /// Its numbers.
    pub figures: Vec<Figure>,
    /// Its expectations.
    pub judged: Vec<Judged>,
}

impl Findings {
    /// Whether all expectations are met.
    #[must_use]
    pub fn met(&self) -> bool {
        !self.judged.is_empty() && self.judged.iter().all(|it| it.met)
    }
}

/// All that a verdict is made of.
pub(super) struct Seen<'a> {
    pub(super) plan: &'a Plan,
    pub(super) series: &'a Series,
    pub(super) incidents: Vec<Incident>,
    pub(super) events: Vec<Event>,
    /// Faults that did not happen.
    pub(super) missed: usize,
    /// Clients that did not end.
    pub(super) unfinished: usize,
    /// When clients were told to begin nothing more.
    pub(super) stopped: Duration,
}

/// Sums and extremes.
struct Totals {
    good: u64,
    failed: u64,
    cut: u64,
    corrupt: u64,
    bytes: u64,
    recovered: u64,
    lost: u64,
    gaps: Vec<f64>,
    recovery: Option<f64>,
    before: Option<f64>,
    after: Option<f64>,
}

impl Findings {
    pub(super) fn new(seen: Seen<'_>) -> Self {
        let buckets = seen.series.rows();
        let totals = Totals::new(&seen, &buckets);
        Self {
            figures: figures(&seen, &totals),
            judged: judge(&seen, &totals),
            buckets,
            events: seen.events,
            incidents: seen.incidents,
        }
    }
}

impl Totals {
    fn new(seen: &Seen<'_>, buckets: &[Bucket]) -> Self {
        let sum = |of: fn(&Bucket) -> u64| buckets.iter().map(of).sum();
        let mut gaps: Vec<f64> = seen
            .incidents
            .iter()
            .flat_map(|it| it.gaps.clone())
            .collect();
        gaps.sort_by(f64::total_cmp);
        let lengths = seen
            .incidents
            .iter()
            .filter_map(|it| Some((it.over? - it.at) * 1e3));
        let first = seen.incidents.iter().map(|it| it.at).reduce(f64::min);
        let last = seen
            .incidents
            .iter()
            .map(|it| it.over.unwrap_or(f64::MAX))
            .reduce(f64::max);
        let before = first.and_then(|first| {
            seen.series
                .throughput(WARM_UP, Duration::from_secs_f64(first))
        });
        let after = last.filter(|last| *last < f64::MAX).and_then(|last| {
            seen.series
                .throughput(Duration::from_secs_f64(last) + CALM, seen.stopped)
        });
        Self {
            good: sum(|it| it.good),
            failed: sum(|it| it.failed) + seen.unfinished as u64,
            cut: sum(|it| it.cut),
            corrupt: sum(|it| it.corrupt),
            bytes: sum(|it| it.bytes),
            recovered: seen.incidents.iter().map(|it| it.recovered).sum(),
            lost: seen.incidents.iter().map(|it| it.lost).sum(),
            gaps,
            recovery: lengths.reduce(f64::max),
            before,
            after,
        }
    }

    fn gap(&self, percent: f64) -> Option<f64> {
        let rank = (percent / 100.0 * self.gaps.len() as f64).ceil() as usize;
        self.gaps.get(rank.max(1) - 1).copied()
    }

    fn ratio(&self) -> Option<f64> {
        let before = self.before.filter(|it| *it > 0.0)?;
        self.after.map(|after| after / before)
    }
}

fn figures(seen: &Seen<'_>, totals: &Totals) -> Vec<Figure> {
    let figure = |name: &str, unit: &str, better, value: Option<f64>| Figure {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        better,
    };
    let count = |name: &str, better, value: u64| figure(name, "", better, Some(value as f64));
    let ms = |name: &str, value| figure(name, "ms", Better::Less, value);
    let mib = |name: &str, value: Option<f64>| {
        figure(
            name,
            "MiB/s",
            Better::More,
            value.map(|it| it / 1_048_576.0),
        )
    };
    vec![
        count("requests that ended well", Better::Same, totals.good),
        count("failed requests", Better::Never, totals.failed),
        count("cut transfers", Better::Never, totals.cut),
        count("corrupt transfers", Better::Never, totals.corrupt),
        figure(
            "transferred",
            "MiB",
            Better::Same,
            Some(totals.bytes as f64 / 1_048_576.0),
        ),
        count("connections moved", Better::Same, totals.recovered),
        count("connections given up", Better::Never, totals.lost),
        ms("gap, p50", totals.gap(50.0)),
        ms("gap, p99", totals.gap(99.0)),
        ms("gap, longest", totals.gap(100.0)),
        ms("longest recovery", totals.recovery),
        ms("latency, p50", seen.series.latency(50.0)),
        ms("latency, p95", seen.series.latency(95.0)),
        ms("latency, p99", seen.series.latency(99.0)),
        mib("throughput before the first fault", totals.before),
        mib("throughput after the last fault", totals.after),
        figure(
            "throughput after : before",
            "",
            Better::More,
            totals.ratio(),
        ),
    ]
}

fn judge(seen: &Seen<'_>, totals: &Totals) -> Vec<Judged> {
    let expect = &seen.plan.expect;
    let faults = seen.plan.faults.len();
    let happened = faults - seen.missed.min(faults);
    let over = seen.incidents.iter().filter(|it| it.over.is_some()).count();
    let mut judged = vec![
        at_least("every fault happens", faults as u64, happened as u64),
        at_least("and its effects end", faults as u64, over as u64),
        at_most("failed requests", expect.failed, totals.failed),
        at_most("transfers cut with an honest word", expect.cut, totals.cut),
        at_most(
            "transfers with a wrong byte",
            expect.corrupt,
            totals.corrupt,
        ),
        // Of nothing, everything can be said.
        at_least(
            "requests that end well",
            expect.requests.unwrap_or(1),
            totals.good,
        ),
    ];
    if let Some(least) = expect.recovered {
        judged.push(at_least("connections moved", least, totals.recovered));
    }
    let times = [
        (
            "gap for 99 of 100 clients",
            expect.gap_p99,
            totals.gap(99.0),
        ),
        (
            "longest gap for a client",
            expect.gap_max,
            totals.gap(100.0),
        ),
        (
            "latency of 99 of 100 requests",
            expect.latency_p99,
            seen.series.latency(99.0),
        ),
    ];
    for (what, most, value) in times {
        judged.extend(most.map(|most| no_longer(what, most, value)));
    }
    if let Some(least) = expect.throughput {
        let ratio = totals.ratio();
        judged.push(Judged {
            what: "throughput after the last fault : before the first".to_owned(),
            wanted: format!("at least {least}"),
            seen: ratio.map_or_else(|| "not measured".to_owned(), |it| format!("{it:.2}")),
            met: ratio.is_some_and(|ratio| ratio >= least),
        });
    }
    judged
}

fn at_most(what: &str, most: u64, seen: u64) -> Judged {
    Judged {
        what: what.to_owned(),
        wanted: if most == 0 {
            "none".to_owned()
        } else {
            format!("at most {most}")
        },
        seen: seen.to_string(),
        met: seen <= most,
    }
}

fn at_least(what: &str, least: u64, seen: u64) -> Judged {
    Judged {
        what: what.to_owned(),
        wanted: format!("at least {least}"),
        seen: seen.to_string(),
        met: seen >= least,
    }
}

fn no_longer(what: &str, most: Duration, seen: Option<f64>) -> Judged {
    let most = most.as_secs_f64() * 1e3;
    Judged {
        what: what.to_owned(),
        wanted: format!("at most {most} ms"),
        seen: seen.map_or_else(|| "not measured".to_owned(), |it| format!("{it:.1} ms")),
        met: seen.is_some_and(|seen| seen <= most),
    }
}
