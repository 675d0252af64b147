// SPDX-License-Identifier: GPL-3.0-only
//! The drill as it goes: takes what clients see and what the stage tells, says what to do, and judges in the end.
//!
//! No clock, socket or thread in here: time comes with each call. Who lives here: `sample`, what comes in; `series`, what
//! clients saw over time; `incident`, what each fault did to them; `verdict`, expectations.

mod incident;
mod sample;
mod series;
pub mod verdict;

use std::collections::VecDeque;
use std::time::Duration;

pub use incident::{Incident, planned};
pub use sample::{Event, Kind, Outcome, Sample, Told};
pub use series::{BUCKET, Bucket, Series};

use crate::plan::{Act, Fault, Plan, When};
use incident::Incidents;

/// Failures that are told one by one on the timeline.
const TOLD_FAILURES: usize = 20;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let this happen.
    Do(Act),
    /// The active server is found to stand still: it must be replaced.
    Replace(String),
    /// Let the server that stands still wake up.
    Wake,
    /// Clients shall begin nothing more.
    StopLoad,
}

/// See the module's text.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    clients: usize,
    /// Of each client: whether its latencies count.
    timed: Vec<bool>,
    ended: usize,
    pending: Vec<Fault>,
    wake: Option<Duration>,
    actions: VecDeque<Action>,
    series: Series,
    bytes: u64,
    /// When a client last got on.
    progress: Duration,
    /// What was ordered and has not begun.
    ordered: usize,
    incidents: Incidents,
    events: Vec<Event>,
    /// The same in the order in which they came to be known.
    fresh: Vec<Event>,
    failures: usize,
    stopped: Option<Duration>,
    /// The work of the last client.
    end: Duration,
    broken: Option<String>,
}

impl Engine {
    /// A drill whose clients begin now.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let timed: Vec<bool> = plan
            .loads
            .iter()
            .flat_map(|load| vec![plan.times(load); load.connections])
            .collect();
        Self {
            clients: timed.len(),
            timed,
            pending: plan.faults.clone(),
            ended: 0,
            wake: None,
            actions: VecDeque::new(),
            series: Series::default(),
            bytes: 0,
            progress: Duration::ZERO,
            ordered: 0,
            incidents: Incidents::default(),
            events: Vec::new(),
            fresh: Vec::new(),
            failures: 0,
            stopped: None,
            end: Duration::ZERO,
            broken: None,
            plan,
        }
    }

    /// Clients have transferred `total` bytes by now.
    pub fn bytes(&mut self, now: Duration, total: u64) {
        if total > self.bytes {
            self.series.bytes(now, total - self.bytes);
            self.bytes = total;
            self.progress = now;
        }
    }

    /// A client saw something.
    pub fn sample(&mut self, sample: Sample) {
        match sample {
            Sample::Request {
                client,
                start,
                end,
                outcome,
            } => {
                let timed = self.timed.get(client).copied().unwrap_or(false);
                self.series.request(start, end, &outcome, timed);
                self.progress = self.progress.max(end);
                self.end = self.end.max(end);
                self.tell_failure(client, end, &outcome);
            }
            Sample::Pause { client, start, end } => self.incidents.pause(client, start, end),
            Sample::Ended => self.ended += 1,
        }
    }

    fn tell_failure(&mut self, client: usize, end: Duration, outcome: &Outcome) {
        let (name, text) = match outcome {
            Outcome::Good => return,
            Outcome::Failed(text) => ("failed", text),
            Outcome::Cut(text) => ("cut", text),
            Outcome::Corrupt(text) => ("corrupt", text),
        };
        self.failures += 1;
        let text = format!("client {client}: {text}");
        if self.failures <= TOLD_FAILURES {
            self.mark(end, Kind::Note, name, text);
        }
    }

    /// The stage told something.
    pub fn told(&mut self, told: Told) {
        match told {
            Told::Begun { at, what, detail } => {
                self.ordered = self.ordered.saturating_sub(1);
                self.incidents.begin(at, what);
                self.mark(at, Kind::Fault, what, detail);
            }
            Told::Note { at, what, detail } => self.mark(at, Kind::Note, what, detail),
            Told::Over {
                at,
                detail,
                recovered,
                lost,
            } => {
                self.progress = self.progress.max(at);
                let done = self.incidents.over(at, recovered, lost);
                let name = if done { "done" } else { "recovered" };
                self.mark(at, Kind::Recovery, name, detail);
            }
            Told::Broken(why) => self.broken = Some(why),
        }
    }

    fn mark(&mut self, at: Duration, kind: Kind, name: &str, detail: String) {
        let at = at.as_secs_f64();
        let place = self.events.partition_point(|event| event.at <= at);
        let event = Event {
            at,
            kind,
            name: name.to_owned(),
            detail,
        };
        self.fresh.push(event.clone());
        self.events.insert(place, event);
    }

    /// Time goes on.
    pub fn tick(&mut self, now: Duration) {
        if self.broken.is_some() {
            self.stop(now);
            return;
        }
        let bytes = self.bytes;
        let due = |fault: &Fault| match fault.when {
            When::At(at) => now >= at,
            When::Bytes(at) => bytes >= at,
        };
        let working = self.stopped.is_none();
        if let Some(index) = self.pending.iter().position(due).filter(|_| working) {
            let fault = self.pending.remove(index);
            if let Act::Hang(_, Some(after)) = fault.act {
                self.wake = Some(now + after);
            }
            self.ordered += 1;
            self.actions.push_back(Action::Do(fault.act));
        }
        if self.wake.is_some_and(|at| now >= at) {
            self.wake = None;
            self.actions.push_back(Action::Wake);
        }
        self.watch(now);
        if working && now >= self.plan.duration && !self.goes_on(now) {
            self.stop(now);
        }
    }

    /// Whether clients go on beyond their time: real domains take theirs, and what comes after them would else be seen
    /// by nobody.
    fn goes_on(&self, now: Duration) -> bool {
        let stage = self.plan.stage;
        stage.supervised()
            && (self.ordered > 0 || self.incidents.is_open())
            && now < self.plan.duration + stage.patience()
    }

    /// Looks whether clients get on.
    fn watch(&mut self, now: Duration) {
        if self.plan.stage.supervised() {
            return;
        }
        let silence = now.saturating_sub(self.progress);
        // Before the first byte nobody knows how long one takes.
        let judged = self.bytes > 0 && self.ended < self.clients;
        // A server that is being replaced already is not replaced again.
        let busy = self.incidents.replacing();
        if let Some(most) = self.plan.detect.hang.filter(|_| judged && !busy)
            && silence >= most
        {
            self.incidents.replace();
            let text = format!("no client has got on for {} ms", silence.as_millis());
            self.actions.push_back(Action::Replace(text));
        }
    }

    fn stop(&mut self, now: Duration) {
        if self.stopped.is_none() {
            self.stopped = Some(now);
            self.actions.push_back(Action::StopLoad);
        }
    }

    /// Ends it early.
    pub fn interrupt(&mut self, now: Duration) {
        self.broken.get_or_insert("it was interrupted".to_owned());
        self.stop(now);
    }

    /// What is to be done next.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether it is over: clients have ended, and so have the effects of all faults, or there was no end to them.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        let Some(stopped) = self.stopped else {
            return false;
        };
        let ended = self.ended >= self.clients;
        let quiet = self.ordered == 0 && !self.incidents.is_open() && self.wake.is_none();
        self.broken.is_some() || (ended && quiet) || now > stopped + self.plan.stage.patience()
    }

    /// Events that have come since this was asked the last time, with the same `count`.
    pub fn news<'a>(&'a self, count: &'a mut usize) -> impl Iterator<Item = &'a Event> {
        let news = self.fresh[*count..].iter();
        *count = self.fresh.len();
        news
    }

    /// Why it could not be done, if so.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// What came out.
    #[must_use]
    pub fn finish(self) -> verdict::Findings {
        let unfinished = self.clients - self.ended.min(self.clients);
        verdict::Findings::new(verdict::Seen {
            plan: &self.plan,
            series: &self.series,
            incidents: self.incidents.close(self.clients),
            events: self.events,
            missed: self.pending.len() + self.ordered,
            unfinished,
            stopped: self.stopped.unwrap_or(self.end),
        })
    }
}

#[cfg(test)]
mod tests;
