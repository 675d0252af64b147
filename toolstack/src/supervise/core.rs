// SPDX-License-Identifier: GPL-3.0-only
//! What the supervisor decides, without doing it: inputs and the time in, actions out. No socket, clock or thread.
//!
//! A failover is decided before everything else that the same news of Xen leads to, and is the first action to come
//! out: clients wait for it, a corpse does not mind waiting.

mod apply;
mod groups;
mod prebuilt;
mod senses;
mod standby;
mod types;
mod upgrade;
mod upgrade_limits;

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use super::events::EventLog;
use super::proto::{Event, EventKind, GroupState, WatchedDomain};
use crate::config::{Action as OnEnd, DomainConfig};
use crate::hypervisor::{DomainInfo, ShutdownReason};
use crate::ids::DomId;
use crate::supervise::care::Care;
use groups::describe;
use senses::Senses;
use types::End;

pub(super) use groups::unknown_group;
pub use types::{Action, Change, Input, Moves, Saved, Sight, Target};

/// A domain that crashes sooner than this after its start, in ms, is not started again: it would do nothing else.
const CRASH_LOOP_MS: u64 = 10_000;

#[derive(Debug)]
struct Watched {
    config: Box<DomainConfig>,
    since_ms: u64,
}

/// The supervisor's mind.
#[derive(Debug)]
pub struct Core {
    watched: BTreeMap<DomId, Watched>,
    groups: BTreeMap<String, GroupState>,
    /// Handles of the domains of interest that were seen alive, so that a number's next owner is not mistaken for them.
    alive: BTreeMap<DomId, Uuid>,
    /// Domains whose end has been acted upon.
    ended: BTreeMap<DomId, End>,
    /// What is known of each group's members from looking at them.
    senses: BTreeMap<String, Senses>,
    /// Members that have ended and may be restarted, and their groups.
    returning: BTreeMap<DomId, String>,
    /// When [`Core::tick`] is to be called.
    deadline: Option<u64>,
    log: EventLog,
    actions: VecDeque<Action>,
}

impl Core {
    /// A supervisor that goes on where the last one stopped.
    #[must_use]
    pub fn new(saved: Saved, now_ms: u64) -> Self {
        let watched = saved.domains.into_iter().map(|domain| {
            // Started long ago, as far as a crash loop is concerned.
            (
                domain.domid,
                Watched {
                    config: domain.config,
                    since_ms: 0,
                },
            )
        });
        let groups = saved
            .groups
            .into_iter()
            .map(|group| (group.name.clone(), group));
        let mut core = Self {
            watched: watched.collect(),
            groups: groups.collect(),
            alive: BTreeMap::new(),
            ended: BTreeMap::new(),
            senses: BTreeMap::new(),
            returning: BTreeMap::new(),
            deadline: None,
            log: EventLog::default(),
            actions: VecDeque::new(),
        };
        let detail = format!(
            "{} domains, {} groups",
            core.watched.len(),
            core.groups.len()
        );
        core.tell(now_ms, EventKind::Started, None, None, detail);
        core.resume_making(now_ms);
        core.tend_all(now_ms);
        core
    }

    /// When something is to be done although nothing is heard, in ms since the UNIX epoch.
    #[must_use]
    pub const fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Does what has become due by `now_ms`.
    pub fn tick(&mut self, now_ms: u64) {
        self.tend_all(now_ms);
    }

    fn tend_all(&mut self, now_ms: u64) {
        self.deadline = None;
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let making = self.tend_making(&name, now_ms);
            let senses = self.tend_senses(&name, now_ms);
            let upgrade = self.tend_upgrade(&name, now_ms);
            for next in [making, senses, upgrade] {
                self.deadline = earliest(self.deadline, next);
            }
            self.tell_complete(&name, now_ms);
        }
    }

    /// Takes an input that arrived at `now_ms` (ms since the UNIX epoch).
    pub fn handle(&mut self, input: Input, now_ms: u64) {
        self.take(input, now_ms);
        self.tend_all(now_ms);
    }

    fn take(&mut self, input: Input, now_ms: u64) {
        match input {
            Input::Domains(infos) => self.domains_changed(&infos, now_ms),
            Input::Watch { domid, config } => self.watch(domid, config, now_ms),
            Input::Unwatch(domid) => {
                if self.watched.remove(&domid).is_some() {
                    self.actions.push_back(Action::Save);
                }
            }
            Input::Protected(group) => {
                let detail = describe(&group);
                let name = group.name.clone();
                self.senses_mut(&name).confirmed = true;
                let active = group.active.as_ref().map(|member| member.domid);
                self.groups.insert(name.clone(), group);
                self.actions.push_back(Action::Save);
                self.tell(
                    now_ms,
                    EventKind::GroupProtected,
                    active,
                    Some(name),
                    detail,
                );
            }
            Input::Unprotected(name) => {
                if let Some(group) = self.groups.remove(&name) {
                    self.senses.remove(&name);
                    let making = group.making.and_then(|making| making.domid);
                    if let Some(domid) = making.filter(|_| group.care.is_some()) {
                        self.actions.push_back(Action::Destroy(domid));
                    }
                    if group.care.is_some() {
                        self.actions.push_back(Action::DropImage(name.clone()));
                    }
                    self.actions.push_back(Action::Save);
                    let detail = String::new();
                    self.tell(
                        now_ms,
                        EventKind::GroupUnprotected,
                        None,
                        Some(name),
                        detail,
                    );
                }
            }
            Input::Made {
                group,
                name,
                result,
            } => self.made(&group, &name, result, now_ms),
            Input::Captured {
                group,
                domid,
                result,
            } => self.captured(&group, domid, result, now_ms),
            Input::Joined {
                group,
                domid,
                result,
            } => self.joined(&group, domid, result, now_ms),
            Input::Seen { group, sights } => self.seen(&group, &sights, now_ms),
            Input::Heard { group, result } => self.heard(&group, &result, now_ms),
            Input::Checked { group, result } => self.checked(&group, result, now_ms),
            Input::Changed {
                group,
                change,
                result,
            } => self.changed(&group, &change, result, now_ms),
            Input::Progressed { group, result } => self.progressed(&group, &result, now_ms),
            Input::Unfenced { group, error } => self.unfenced(&group, &error, now_ms),
            Input::Relayed { group, result } => {
                let active = self
                    .groups
                    .get(&group)
                    .and_then(|group| group.active.as_ref());
                let domain = active.map(|member| member.domid);
                let (kind, detail) = match result {
                    Ok(()) => (EventKind::FailoverAcknowledged, String::new()),
                    Err(error) => (EventKind::FailoverFailed, error.to_string()),
                };
                if kind == EventKind::FailoverAcknowledged {
                    self.senses_mut(&group).confirmed = true;
                }
                self.tell(now_ms, kind, domain, Some(group.clone()), detail);
                self.moved(&group, now_ms);
            }
            Input::Destroyed { domid, result } => {
                if result.is_ok() {
                    self.forget_crew(|one| one == domid);
                }
                let (kind, detail) = match result {
                    Ok(()) => (EventKind::DomainDestroyed, String::new()),
                    Err(error) => (EventKind::ActionFailed, error.to_string()),
                };
                self.tell(now_ms, kind, Some(domid), None, detail);
            }
            Input::Restarted { old, result } => match result {
                Ok((new, config)) => {
                    let detail = format!("{}, formerly domain {old}", config.name);
                    let name = config.name.clone();
                    self.watch(new, config, now_ms);
                    self.tell(now_ms, EventKind::DomainRestarted, Some(new), None, detail);
                    if let Some(group) = self.returning.remove(&old) {
                        self.returned(&group, new, &name, now_ms);
                    }
                }
                Err(error) => {
                    let detail = error.to_string();
                    self.tell(now_ms, EventKind::ActionFailed, Some(old), None, detail);
                }
            },
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What is to outlive the process.
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved {
            groups: self.groups(),
            domains: self.domains(),
        }
    }

    /// The groups, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupState> {
        self.groups.values().cloned().collect()
    }

    /// The domains that are watched, by number.
    #[must_use]
    pub fn domains(&self) -> Vec<WatchedDomain> {
        let all = self.watched.iter();
        all.map(|(domid, watched)| WatchedDomain {
            domid: *domid,
            config: watched.config.clone(),
        })
        .collect()
    }

    /// The events after number `since`, oldest first, and the number of the last one.
    #[must_use]
    pub fn events(&self, since: u64) -> (Vec<Event>, u64) {
        (self.log.since(since), self.log.last())
    }

    /// The care of a group that a file declares.
    fn care_mut(&mut self, name: &str) -> Option<&mut Care> {
        self.groups.get_mut(name)?.care.as_deref_mut()
    }

    fn watch(&mut self, domid: DomId, config: Box<DomainConfig>, now_ms: u64) {
        self.ended.remove(&domid);
        self.alive.insert(domid, config.uuid);
        self.watched.insert(
            domid,
            Watched {
                config,
                since_ms: now_ms,
            },
        );
        self.actions.push_back(Action::Save);
    }

    /// Every domain that a decision depends on.
    fn of_interest(&self) -> Vec<DomId> {
        let members = self.groups.values().flat_map(|group| {
            let members = group
                .active
                .iter()
                .chain(&group.standbys)
                .map(|member| member.domid);
            let making = group.making.iter().filter_map(|making| making.domid);
            let upgrade = group.upgrade().into_iter();
            let both = upgrade.flat_map(|upgrade| upgrade.old.iter().chain(&upgrade.new));
            let both = both.map(|member| member.domid);
            members.chain(making).chain(both).chain([group.logger])
        });
        let mut all: Vec<DomId> = self.watched.keys().copied().chain(members).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn domains_changed(&mut self, infos: &[DomainInfo], now_ms: u64) {
        let mut fresh = Vec::new();
        for domid in self.of_interest() {
            let info = infos.iter().find(|info| info.id == domid);
            let known = info.map(|info| *self.alive.entry(domid).or_insert(info.uuid));
            let end = match info {
                Some(info) if known != Some(info.uuid) || info.state.dying => Some(End::Gone),
                Some(info) => info.state.shutdown.map(End::Shutdown),
                None => Some(End::Gone),
            };
            let Some(end) = end else {
                continue;
            };
            let before = self.ended.insert(domid, end);
            if before.is_none() {
                fresh.push((domid, end));
            }
        }
        // Told in the order in which one thing leads to another: the ends first, then the failovers.
        let mut news: Vec<News> = fresh
            .iter()
            .map(|(domid, end)| (end.kind(), Some(*domid), None, self.name_of(*domid)))
            .collect();
        self.fail_over(&fresh, &mut news, now_ms);
        self.tell_all(now_ms, news);
        self.forget_crew(|one| infos.iter().all(|info| info.id != one));
        for (domid, end) in fresh {
            self.clear_up(domid, end, now_ms);
        }
        let interest = self.of_interest();
        self.ended.retain(|domid, _| interest.contains(domid));
        self.alive.retain(|domid, _| interest.contains(domid));
    }

    /// What the domain's configuration says about its end.
    fn clear_up(&mut self, domid: DomId, end: End, now_ms: u64) {
        let End::Shutdown(reason) = end else {
            if self.watched.remove(&domid).is_some() {
                self.actions.push_back(Action::Save);
            }
            return;
        };
        let Some(watched) = self.watched.get(&domid) else {
            return;
        };
        let crashed = matches!(reason, ShutdownReason::Crash | ShutdownReason::Watchdog);
        let on_end = match reason {
            ShutdownReason::Poweroff => watched.config.on_poweroff,
            ShutdownReason::Reboot => watched.config.on_reboot,
            _ if crashed => watched.config.on_crash,
            // Suspended for somebody, or ended in a way that the configuration does not speak of.
            _ => OnEnd::Preserve,
        };
        let looping = crashed && now_ms.saturating_sub(watched.since_ms) < CRASH_LOOP_MS;
        let config = watched.config.clone();
        let action = match on_end {
            OnEnd::Preserve => return,
            OnEnd::Restart | OnEnd::RenameRestart if looping => {
                let detail = format!(
                    "{}: crashed within 10 s of its start, not restarted",
                    config.name
                );
                self.tell(now_ms, EventKind::ActionFailed, Some(domid), None, detail);
                Action::Destroy(domid)
            }
            OnEnd::Destroy => Action::Destroy(domid),
            OnEnd::Restart => Action::Restart {
                old: domid,
                config,
                keep: false,
            },
            OnEnd::RenameRestart => Action::Restart {
                old: domid,
                config,
                keep: true,
            },
        };
        self.watched.remove(&domid);
        self.actions.push_back(action);
        self.actions.push_back(Action::Save);
    }

    fn name_of(&self, domid: DomId) -> String {
        if let Some(watched) = self.watched.get(&domid) {
            return watched.config.name.clone();
        }
        let mut members = self
            .groups
            .values()
            .flat_map(|group| group.active.iter().chain(&group.standbys));
        let member = members.find(|member| member.domid == domid);
        member.map(|member| member.name.clone()).unwrap_or_default()
    }

    fn tell_all(&mut self, now_ms: u64, news: Vec<News>) {
        for (kind, domain, group, detail) in news {
            self.tell(now_ms, kind, domain, group, detail);
        }
    }

    fn tell(
        &mut self,
        now_ms: u64,
        kind: EventKind,
        domain: Option<DomId>,
        group: Option<String>,
        detail: String,
    ) {
        let event = self.log.add(now_ms, kind, domain, group, detail);
        self.actions.push_back(Action::Tell(event));
    }
}

/// The earlier of two times, of which there may be none.
fn earliest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// An event to be: kind, domain, group, detail.
type News = (EventKind, Option<DomId>, Option<String>, String);

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
