// SPDX-License-Identifier: GPL-3.0-only
//! What each fault did to the clients: how long each of them got no byte.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Pauses that end later than this after the recovery are not the fault's: the machine's, or the next fault's.
const SETTLED: Duration = Duration::from_millis(1000);

/// A fault, and what came of it. Times are seconds since the clients began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// `crash`, `hang` ...
    pub what: String,
    /// When it happened.
    pub at: f64,
    /// When its effects were over; `None`: never.
    pub over: Option<f64>,
    /// Connections that were moved to another server.
    pub recovered: u64,
    /// Connections that were given up.
    pub lost: u64,
    /// The longest time that each client got no byte, in milliseconds, ascending. Pauses that are too short to be
    /// told count as 0.
    pub gaps: Vec<f64>,
    /// The longest of them: from when to when.
    pub longest: Option<(f64, f64)>,
}

/// Whether something of this name is planned, and no fault.
#[must_use]
pub fn planned(what: &str) -> bool {
    matches!(what, "upgrade" | "rollback" | "finish")
}

#[derive(Clone, Debug)]
struct Open {
    what: &'static str,
    at: Duration,
    over: Option<Duration>,
    recovered: u64,
    lost: u64,
    /// Of each client: the longest pause.
    pauses: BTreeMap<usize, (Duration, Duration)>,
    replaced: bool,
}

impl Open {
    /// Whether a pause is an effect of this fault, which another one follows at `next`.
    fn caused(&self, start: Duration, end: Duration, next: Option<Duration>) -> bool {
        let settled = self.over.map(|over| over + SETTLED);
        end > self.at
            && next.is_none_or(|next| start < next)
            && settled.is_none_or(|settled| start < settled)
    }
}

/// All faults so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Incidents {
    all: Vec<Open>,
    pauses: Vec<(usize, Duration, Duration)>,
}

impl Incidents {
    pub(super) fn begin(&mut self, at: Duration, what: &'static str) {
        self.all.push(Open {
            what,
            at,
            over: None,
            recovered: 0,
            lost: 0,
            pauses: BTreeMap::new(),
            // Whoever dies is replaced; who only stands still must be found first.
            replaced: what != "hang",
        });
    }

    /// All that is open is over: the logger moves every connection, whoever served it before. Whether it was planned.
    pub(super) fn over(&mut self, at: Duration, recovered: u64, lost: u64) -> bool {
        let mut open: Vec<&mut Open> = self.all.iter_mut().filter(|it| it.over.is_none()).collect();
        if let Some(last) = open.last_mut() {
            (last.recovered, last.lost) = (recovered, lost);
        }
        let done = open.iter().all(|it| planned(it.what));
        for incident in open {
            incident.over = Some(at);
        }
        done
    }

    /// The server that stands still is being replaced.
    pub(super) fn replace(&mut self) {
        for open in &mut self.all {
            open.replaced = true;
        }
    }

    /// Whether a server is being replaced now.
    pub(super) fn replacing(&self) -> bool {
        self.all.iter().any(|it| it.over.is_none() && it.replaced)
    }

    /// Whether effects of a fault last.
    pub(super) fn is_open(&self) -> bool {
        self.all.iter().any(|it| it.over.is_none())
    }

    pub(super) fn pause(&mut self, client: usize, start: Duration, end: Duration) {
        self.pauses.push((client, start, end));
    }

    /// The faults with their pauses; there were so many clients.
    pub(super) fn close(mut self, clients: usize) -> Vec<Incident> {
        let nexts: Vec<Option<Duration>> = (1..=self.all.len())
            .map(|next| self.all.get(next).map(|it| it.at))
            .collect();
        for (open, next) in self.all.iter_mut().zip(nexts) {
            for &(client, start, end) in &self.pauses {
                if !open.caused(start, end, next) {
                    continue;
                }
                let longest = open.pauses.entry(client).or_insert((start, end));
                if end - start > longest.1 - longest.0 {
                    *longest = (start, end);
                }
            }
        }
        let incident = |open: Open| {
            let mut gaps: Vec<f64> = open
                .pauses
                .values()
                .map(|(a, b)| (*b - *a).as_secs_f64() * 1e3)
                .collect();
            gaps.resize(clients.max(gaps.len()), 0.0);
            gaps.sort_by(f64::total_cmp);
            let longest = open.pauses.values().max_by_key(|(a, b)| *b - *a);
            Incident {
                what: open.what.to_owned(),
                at: open.at.as_secs_f64(),
                over: open.over.map(|over| over.as_secs_f64()),
                recovered: open.recovered,
                lost: open.lost,
                gaps,
                longest: longest.map(|(a, b)| (a.as_secs_f64(), b.as_secs_f64())),
            }
        };
        self.all.into_iter().map(incident).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_belong_to_the_fault_that_they_are_at() {
        let mut incidents = Incidents::default();
        incidents.pause(0, ms(100), ms(190));
        incidents.begin(ms(1000), "crash");
        incidents.pause(0, ms(990), ms(1040));
        incidents.pause(0, ms(1040), ms(1050));
        incidents.over(ms(1030), 2, 0);
        incidents.pause(1, ms(2900), ms(3000));
        incidents.begin(ms(4000), "crash");
        incidents.pause(1, ms(3999), ms(4020));
        let all = incidents.close(2);
        assert_eq!(all[0].gaps, [0.0, 50.0]);
        assert_eq!(all[0].longest, Some((0.99, 1.04)));
        assert_eq!((all[0].over, all[0].recovered), (Some(1.03), 2));
        assert_eq!((all[1].gaps[1].round(), all[1].over), (21.0, None));
    }

    #[test]
    fn a_second_fault_before_the_first_is_over_ends_with_it() {
        let mut incidents = Incidents::default();
        incidents.begin(ms(10), "upgrade");
        incidents.begin(ms(20), "crash");
        assert!(incidents.is_open());
        incidents.over(ms(30), 5, 1);
        assert!(!incidents.is_open());
        let all = incidents.close(0);
        assert_eq!((all[0].recovered, all[1].recovered, all[1].lost), (0, 5, 1));
    }
}
