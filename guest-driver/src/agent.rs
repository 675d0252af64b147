// SPDX-License-Identifier: GPL-3.0-only
//! The agent as a state machine: orders, results, probes and the time in; nodes to write and jobs to do out. No clock,
//! file, thread or xenstore in it.
//!
//! The rule that matters most: **what was frozen is thawed**, whatever becomes of Dom0. The time-out runs from the order,
//! also while the freezing itself still waits for a disk; a failed thaw is tried again every second; what an agent that
//! was killed has left frozen is thawed by the next one.

use std::collections::VecDeque;
use std::time::Duration;

use toolstack::guest::{
    ANSWER, Answer, FROZEN, HEARTBEAT, INTERVAL, Malformed, Order, PROBE, PROGRESS, VERSION, Verb,
};

use crate::AGENT_VERSION;

/// After a thaw that failed.
const THAW_AGAIN: Duration = Duration::from_secs(1);
/// "Never", for a time since the start.
const NEVER: Duration = Duration::MAX;

/// How the agent behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From one heartbeat to the next.
    pub interval: Duration,
    /// The probe, in words, for whoever looks.
    pub probe: String,
}

/// What stands in xenstore from an agent that ran before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its last heartbeat.
    pub heartbeat: u64,
    /// Its last progress.
    pub progress: u64,
    /// The mounts that it had frozen.
    pub frozen: Vec<String>,
    /// Its last answer.
    pub answer: Option<Answer>,
    /// The order that stands there.
    pub order: Option<String>,
}

/// Work that takes its time, or that touches more than xenstore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Freeze these mounts in this order; if one cannot be, thaw those that are.
    Freeze(Vec<String>),
    /// Thaw all that this agent has frozen, and these mounts too.
    Thaw(Vec<String>),
    /// The order's work.
    Other(Verb),
}

/// Whom a job's result is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The order of this ID.
    Order(String),
    /// Nobody: the time was up.
    TimeOut,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write a node.
    Write(&'static str, String),
    /// Remove a node.
    Remove(&'static str),
    /// Start the job; its result comes by [`Agent::handle_done`].
    Start(Asker, Job),
    /// Start the probe; its result comes by [`Agent::handle_probe`].
    Probe,
    /// Tell it to people.
    Say(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The time may be up while the freezing still waits for a disk: `late`.
    Freezing {
        until: Duration,
        late: bool,
    },
    Frozen {
        until: Duration,
    },
}

/// The agent's state. Times are since its start.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    heartbeat: u64,
    progress: u64,
    /// What of [`Self::progress`] is written.
    told: u64,
    beat_at: Duration,
    probing: bool,
    phase: Phase,
    /// The order in hand, thaw aside: its ID and verb.
    busy: Option<(String, &'static str)>,
    /// IDs that are answered or in hand: the last one, and the thaw.
    seen: [String; 2],
    actions: VecDeque<Action>,
}

impl Agent {
    /// An agent that starts now. An order that stands there already was meant for another one: it is refused, since what
    /// it says (a time, say) may no longer be so.
    #[must_use]
    pub fn new(settings: Settings, kept: Kept) -> Self {
        let mut agent = Self {
            heartbeat: kept.heartbeat,
            progress: kept.progress,
            told: kept.progress,
            beat_at: Duration::ZERO,
            probing: false,
            phase: Phase::Open,
            busy: None,
            seen: [
                kept.answer.map(|answer| answer.id).unwrap_or_default(),
                String::new(),
            ],
            actions: VecDeque::new(),
            settings,
        };
        agent.introduce();
        let stale = kept.order.as_deref().and_then(|text| {
            let id = text.split_ascii_whitespace().next()?;
            (id != agent.seen[0]).then(|| id.to_owned())
        });
        if let Some(id) = stale {
            agent.seen[0].clone_from(&id);
            agent.answer(
                id,
                Err("the agent was started after this order was given; give it again".into()),
            );
        }
        if !kept.frozen.is_empty() {
            agent.say("an agent before has left file systems frozen; thawing them");
            agent.phase = Phase::Frozen { until: NEVER };
            agent.push(Action::Start(Asker::TimeOut, Job::Thaw(kept.frozen)));
        }
        agent
    }

    /// Says that it is there, and how it behaves.
    fn introduce(&mut self) {
        let interval = self.settings.interval.as_millis().to_string();
        let probe = self.settings.probe.clone();
        self.push(Action::Write(INTERVAL, interval));
        self.push(Action::Write(PROBE, probe));
        self.push(Action::Write(PROGRESS, self.progress.to_string()));
        self.push(Action::Write(VERSION, AGENT_VERSION.to_owned()));
    }

    /// The guest goes on in another domain, made of an image of the one that it was in: nothing of what it wrote is there.
    pub fn handle_moved(&mut self, now: Duration) {
        self.introduce();
        self.beat_at = now;
    }

    /// What stands at the order's node now. `mounts` are those that can be frozen, in the order of freezing.
    pub fn handle_order(&mut self, now: Duration, text: &str, mounts: &[String]) {
        let order = match text.parse::<Order>() {
            Ok(order) => order,
            Err(Malformed { id, .. }) if id.is_empty() || self.seen.contains(&id) => return,
            Err(Malformed { id, why }) => {
                self.seen[0].clone_from(&id);
                return self.answer(id, Err(why));
            }
        };
        let Order { id, verb } = order;
        if self.seen.contains(&id) {
            return;
        }
        if verb == Verb::Thaw {
            // Never refused, whatever else is in hand.
            self.seen[1].clone_from(&id);
            if let Phase::Freezing { late, .. } = &mut self.phase {
                *late = true;
            }
            return self.push(Action::Start(Asker::Order(id), Job::Thaw(Vec::new())));
        }
        self.seen[0].clone_from(&id);
        if let Some((_, name)) = &self.busy {
            let why = format!("the agent is still busy with another order: {name}");
            return self.answer(id, Err(why));
        }
        let name = verb.name();
        let job = match verb {
            Verb::Quiesce {
                hold,
                mounts: named,
            } => match self.freeze(now, hold, &named, mounts) {
                Ok(job) => job,
                Err(why) => return self.answer(id, Err(why)),
            },
            other => Job::Other(other),
        };
        self.busy = Some((id.clone(), name));
        self.push(Action::Start(Asker::Order(id), job));
    }

    /// The job that freezes `named`, or all of `mounts`.
    fn freeze(
        &mut self,
        now: Duration,
        hold: Duration,
        named: &[String],
        mounts: &[String],
    ) -> Result<Job, String> {
        if self.phase != Phase::Open {
            return Err("file systems are frozen already; thaw them first".into());
        }
        if let Some(unknown) = named.iter().find(|mount| !mounts.contains(mount)) {
            let known = mounts.join(" ");
            return Err(format!(
                "{unknown} is not a mount that can be frozen; these are: {known}"
            ));
        }
        let chosen: Vec<String> = if named.is_empty() {
            mounts.to_vec()
        } else {
            let of = mounts.iter().filter(|mount| named.contains(mount));
            of.cloned().collect()
        };
        if chosen.is_empty() {
            return Err("no file system here can be frozen".into());
        }
        self.phase = Phase::Freezing {
            until: now.saturating_add(hold),
            late: false,
        };
        // Written before anything is frozen: an agent that comes after this one knows what to thaw.
        self.push(Action::Write(FROZEN, chosen.join(" ")));
        Ok(Job::Freeze(chosen))
    }

    /// A job has ended.
    pub fn handle_done(
        &mut self,
        now: Duration,
        asker: Asker,
        job: &Job,
        result: Result<String, String>,
    ) {
        let result = match job {
            Job::Freeze(_) => self.froze(result),
            Job::Thaw(_) => {
                self.thawed(now, &result);
                result
            }
            Job::Other(_) => result,
        };
        if let Asker::Order(id) = asker {
            if self.busy.as_ref().is_some_and(|(busy, _)| *busy == id) {
                self.busy = None;
            }
            self.answer(id, result);
        }
    }

    fn froze(&mut self, result: Result<String, String>) -> Result<String, String> {
        match (result, &self.phase) {
            (Ok(text), &Phase::Freezing { until, late: false }) => {
                self.phase = Phase::Frozen { until };
                Ok(text)
            }
            // What the thaw did not find, because it was frozen after it, must be thawed too.
            (Ok(_), _) => {
                self.phase = Phase::Frozen { until: NEVER };
                self.push(Action::Start(Asker::TimeOut, Job::Thaw(Vec::new())));
                Err("it was to be thawed before all of it was frozen; it is thawed".into())
            }
            (Err(why), _) => {
                self.open();
                Err(why)
            }
        }
    }

    fn thawed(&mut self, now: Duration, result: &Result<String, String>) {
        if let Err(why) = result {
            self.say(&format!("{why}; trying again"));
        }
        match (result, &self.phase) {
            // More may get frozen yet: the end of the freezing decides.
            (_, Phase::Open | Phase::Freezing { .. }) => {}
            (Ok(_), Phase::Frozen { .. }) => self.open(),
            (Err(_), Phase::Frozen { .. }) => {
                let until = now.saturating_add(THAW_AGAIN);
                self.phase = Phase::Frozen { until };
            }
        }
    }

    fn open(&mut self) {
        self.phase = Phase::Open;
        self.push(Action::Remove(FROZEN));
    }

    /// The probe has ended: whether the service answers.
    pub const fn handle_probe(&mut self, answers: bool) {
        self.probing = false;
        if answers {
            self.progress = self.progress.wrapping_add(1);
        }
    }

    /// The time given by [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now >= self.beat_at {
            self.heartbeat = self.heartbeat.wrapping_add(1);
            if self.told != self.progress {
                self.told = self.progress;
                self.push(Action::Write(PROGRESS, self.progress.to_string()));
            }
            self.push(Action::Write(HEARTBEAT, self.heartbeat.to_string()));
            if !self.probing {
                self.probing = true;
                self.push(Action::Probe);
            }
            // Beats that could not be made in time are not made up for.
            self.beat_at = now.saturating_add(self.settings.interval);
        }
        match &mut self.phase {
            Phase::Frozen { until } if now >= *until => *until = NEVER,
            Phase::Freezing { until, late } if now >= *until && !*late => *late = true,
            _ => return,
        }
        self.say("the time is up and nobody has thawed: thawing");
        self.push(Action::Start(Asker::TimeOut, Job::Thaw(Vec::new())));
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        match self.phase {
            Phase::Freezing { until, late: false } | Phase::Frozen { until } => {
                self.beat_at.min(until)
            }
            _ => self.beat_at,
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// File systems are frozen or about to be: whatever writes to them waits.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.phase != Phase::Open
    }

    fn answer(&mut self, id: String, result: Result<String, String>) {
        let answer = Answer { id, result };
        self.push(Action::Write(ANSWER, answer.to_string()));
        // The seed of a reseed never gets here: answers hold only what was done.
        self.say(&format!("order {answer}"));
    }

    fn say(&mut self, line: &str) {
        self.push(Action::Say(line.to_owned()));
    }

    fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}

#[cfg(test)]
mod tests;
