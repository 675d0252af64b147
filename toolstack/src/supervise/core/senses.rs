// SPDX-License-Identifier: GPL-3.0-only
//! How a member that hangs is found: one of its agent's counters stands still (that it lives, that its service answers), or
//! the logger hears nothing of it.
//!
//! A counter is judged by what was seen, not by the clock alone: a Dom0 that was itself asleep must not take its members
//! for dead. So the same value has to be seen several times.

use std::collections::BTreeMap;

use fttcp::control::Silence;

use super::types::{Action, Sight, Target};
use super::{Core, earliest};
use crate::error::Error;
use crate::ids::DomId;
use crate::supervise::care::Stage;
use crate::supervise::plan::OnFailure;
use crate::supervise::proto::EventKind;

/// How often a member that boots is looked at, in ms.
const BOOT_LOOK_MS: u64 = 500;
/// A time-out is judged by so many looks.
const LOOKS: u64 = 4;
/// So often must the same value have been seen, and the server not have answered.
const LEAST_LOOKS: u32 = 3;

/// What is known of a group's members from looking at them. It does not outlive the process.
#[derive(Debug, Default)]
pub(super) struct Senses {
    looking: bool,
    looked_ms: Option<u64>,
    asking: bool,
    next_ask_ms: u64,
    beats: Counters,
    progress: Counters,
    /// Why the active member is to be replaced, as soon as there is a standby.
    pub(super) suspect: Option<String>,
    /// The members that were told to hang.
    hung: Vec<DomId>,
    /// The logger has the active server that the supervisor thinks it has: since the supervisor began, they have agreed
    /// once.
    pub(super) confirmed: bool,
    /// The logger is being asked how far an upgrade is, and when it may be asked again.
    pub(super) progressing: bool,
    pub(super) next_progress_ms: u64,
    /// The group was as its file says when last looked at.
    pub(super) complete: bool,
}

/// What a counter was when last seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    value: u64,
    since_ms: u64,
    looks: u32,
}

/// One counter of each member.
#[derive(Debug, Default)]
struct Counters(BTreeMap<DomId, Seen>);

impl Counters {
    /// For how long the counter has stood still, if it was looked at often enough.
    fn stands_still(&mut self, domid: DomId, value: u64, now_ms: u64) -> u64 {
        let fresh = Seen {
            value,
            since_ms: now_ms,
            looks: 0,
        };
        let seen = self.0.entry(domid).or_insert(fresh);
        if seen.value != value {
            *seen = fresh;
        }
        seen.looks += 1;
        if seen.looks < LEAST_LOOKS {
            return 0;
        }
        now_ms.saturating_sub(seen.since_ms)
    }
}

impl Senses {
    /// Nothing that was seen of a member before counts: it slept, or is another one.
    pub(super) fn forget(&mut self, domid: DomId) {
        self.beats.0.remove(&domid);
        self.progress.0.remove(&domid);
        self.hung.retain(|other| *other != domid);
    }
}

/// What a look tells of a member.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Hangs(String),
    Lives,
    /// It has stood still, not for long enough.
    Unknown,
}

impl Senses {
    /// Judges by those counters that have limits, in ms.
    fn judge(
        &mut self,
        sight: &Sight,
        (heartbeat, progress): (Option<u64>, Option<u64>),
        now_ms: u64,
    ) -> Judged {
        let domid = sight.domid;
        // Before its first beat nothing is expected of it, nor of its service before its first answer.
        let beat = heartbeat.zip(sight.beat);
        let answers = progress.zip(sight.progress.filter(|count| *count > 0));
        if answers.is_none() {
            self.progress.0.remove(&domid);
        }
        let counters = [
            (&mut self.beats, beat, "no heartbeat"),
            (&mut self.progress, answers, "no progress of its service"),
        ];
        let mut longest = None;
        for (seen, counter, what) in counters {
            let Some((limit, value)) = counter else {
                continue;
            };
            let still = seen.stands_still(domid, value, now_ms);
            if still >= limit {
                return Judged::Hangs(format!("{what} for {still} ms"));
            }
            longest = longest.max(Some(still));
        }
        if longest == Some(0) {
            Judged::Lives
        } else {
            Judged::Unknown
        }
    }
}

impl Core {
    pub(super) fn senses(&self, name: &str) -> Option<&Senses> {
        self.senses.get(name)
    }

    pub(super) fn senses_mut(&mut self, name: &str) -> &mut Senses {
        self.senses.entry(name.to_owned()).or_default()
    }

    /// Orders what is to be looked at now. Says when to look again.
    pub(super) fn tend_senses(&mut self, name: &str, now_ms: u64) -> Option<u64> {
        let group = self.groups.get(name)?;
        let logger = group.logger;
        let plan = group.care.as_deref().map(|care| &care.plan);
        let counters = plan.map_or([None; 2], |plan| [plan.heartbeat_ms, plan.progress_ms]);
        let shortest = counters.into_iter().flatten().min();
        let mut period = shortest.map_or(u64::MAX, |ms| ms / LOOKS);
        let mut targets = Vec::new();
        if let Some(making) = &group.making
            && making.stage == Stage::Booting
            && let Some(domid) = making.domid
        {
            period = period.min(BOOT_LOOK_MS);
            let care = group.care.as_deref();
            targets.push(Target {
                domid,
                devid: care.map_or(0, |care| care.image(making.purpose).devid),
                find: making.interface.is_none().then_some(logger),
            });
        }
        if let (Some(_), Some(care)) = (shortest, group.care.as_deref()) {
            let members = group.active.iter().chain(&group.standbys);
            let awake = members.filter_map(|member| care.one(member.domid));
            targets.extend(awake.filter(|one| !one.paused).map(|one| Target {
                domid: one.domid,
                devid: one.devid,
                find: None,
            }));
        }
        let limits = plan.map_or([None; 2], |plan| [plan.silence_ms, plan.request_ms]);
        let silence = limits.into_iter().flatten().min();
        let ask = silence.filter(|_| {
            let known = group.care.as_deref().is_some_and(|care| care.in_logger);
            known && group.active.is_some()
        });
        let mut next = None;
        let mut actions = Vec::new();
        let senses = self.senses.entry(name.to_owned()).or_default();
        if !targets.is_empty() && !senses.looking {
            // Not settled at the last look: a member that boots since then is not to wait for those that are looked at seldom.
            let due = senses.looked_ms.map_or(0, |at| at.saturating_add(period));
            if now_ms >= due {
                senses.looking = true;
                senses.looked_ms = Some(now_ms);
                actions.push(Action::Look {
                    group: name.to_owned(),
                    targets,
                });
            } else {
                next = earliest(next, Some(due));
            }
        }
        if let Some(silence) = ask.filter(|_| !senses.asking) {
            if now_ms >= senses.next_ask_ms {
                senses.asking = true;
                senses.next_ask_ms = now_ms.saturating_add(silence / LOOKS);
                actions.push(Action::Ask {
                    group: name.to_owned(),
                    logger,
                });
            } else {
                next = earliest(next, Some(senses.next_ask_ms));
            }
        }
        self.actions.extend(actions);
        next
    }

    /// What a look has shown.
    pub(super) fn seen(&mut self, name: &str, sights: &[Sight], now_ms: u64) {
        self.senses_mut(name).looking = false;
        for sight in sights {
            self.seen_booting(name, sight, now_ms);
            let Some(limits) = self.groups.get(name).and_then(|group| {
                let member = group.active.iter().chain(&group.standbys);
                let mut ours = member.filter(|member| member.domid == sight.domid);
                ours.next()?;
                let plan = &group.care.as_deref()?.plan;
                Some((plan.heartbeat_ms, plan.progress_ms))
            }) else {
                continue;
            };
            match self.senses_mut(name).judge(sight, limits, now_ms) {
                Judged::Hangs(why) => self.hangs(name, sight.domid, &why, now_ms),
                Judged::Lives => self.lives(name, sight.domid),
                Judged::Unknown => {}
            }
        }
    }

    fn seen_booting(&mut self, name: &str, sight: &Sight, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let beats = group.care.as_deref().is_none_or(|care| {
            let beats = care.plan.heartbeat_ms.is_none() || sight.beat.is_some();
            let serves = care.plan.progress_ms.is_none() || sight.progress > Some(0);
            // Before, a failover to it would find nothing to hand the record to.
            let wrapped = !care.plan.wrap || sight.wrapped;
            beats && serves && wrapped
        });
        let Some(making) = &mut group.making else {
            return;
        };
        if making.domid != Some(sight.domid) {
            return;
        }
        if making.interface.is_none() {
            making.interface.clone_from(&sight.interface);
        }
        if sight.connected && beats && making.interface.is_some() {
            self.booted(name, now_ms);
        }
    }

    /// What the logger has said.
    pub(super) fn heard(&mut self, name: &str, result: &Result<Silence, Error>, now_ms: u64) {
        self.senses_mut(name).asking = false;
        // A logger that does not answer says nothing about the server.
        let Ok(silence) = result else { return };
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let (Some(active), Some(care)) = (&group.active, group.care.as_deref()) else {
            return;
        };
        let (domid, limit) = (active.domid, care.plan.silence_ms);
        let owed = care.plan.request_ms;
        if limit.is_some_and(|limit| silence.heard_ms >= limit) && silence.asked >= LEAST_LOOKS {
            let why = format!(
                "nothing heard of it for {} ms, though asked {} times",
                silence.heard_ms, silence.asked
            );
            self.hangs(name, domid, &why, now_ms);
        } else if owed.is_some_and(|limit| silence.owed_ms >= limit) {
            let why = format!(
                "no client was answered anything for {} ms, though some wait",
                silence.owed_ms
            );
            self.hangs(name, domid, &why, now_ms);
        } else if silence.asked <= 1 && silence.heard_ms < limit.unwrap_or(u64::MAX) {
            self.lives(name, domid);
        }
    }

    /// A member runs and does not answer.
    fn hangs(&mut self, name: &str, domid: DomId, why: &str, now_ms: u64) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let active = group.active.as_ref().filter(|it| it.domid == domid);
        let serves = active.is_some();
        let members = group.active.iter().chain(&group.standbys);
        let mut member = members.filter(|it| it.domid == domid).map(|it| &it.name);
        let Some(member) = member.next().cloned() else {
            return;
        };
        // One thing after the other.
        if !group.orders.is_empty() || self.undecided(name) {
            return;
        }
        let care = group.care.as_deref();
        let notify = care.is_some_and(|care| care.plan.on_failure == OnFailure::Notify);
        let reason = format!("domain {domid} ({member}) hangs: {why}");
        let senses = self.senses_mut(name);
        if !senses.hung.contains(&domid) {
            senses.hung.push(domid);
            let group = Some(name.to_owned());
            self.tell(
                now_ms,
                EventKind::MemberHung,
                Some(domid),
                group,
                reason.clone(),
            );
        }
        if notify {
            return;
        }
        if serves {
            self.senses_mut(name).suspect = Some(reason.clone());
            self.replace_active(name, &reason, now_ms);
        } else {
            self.dismiss_standby(name, domid, &reason, now_ms);
        }
    }

    /// It answers, also if it was thought to hang.
    fn lives(&mut self, name: &str, domid: DomId) {
        let serves = self
            .groups
            .get(name)
            .and_then(|group| group.active.as_ref())
            .is_some_and(|active| active.domid == domid);
        let senses = self.senses_mut(name);
        senses.hung.retain(|other| *other != domid);
        if serves {
            senses.suspect = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: DomId = DomId(7);

    /// What each look tells: one in each second, with a limit of 3 s for the heartbeat and 5 s for progress.
    fn judged(looks: &[(u64, Option<u64>)]) -> Vec<Judged> {
        let mut senses = Senses::default();
        let mut seen = |(second, (beat, progress)): (usize, &(u64, Option<u64>))| {
            let sight = Sight {
                domid: WEB,
                beat: Some(*beat),
                progress: *progress,
                connected: true,
                wrapped: false,
                interface: None,
            };
            senses.judge(&sight, (Some(3000), Some(5000)), second as u64 * 1000)
        };
        looks.iter().enumerate().map(&mut seen).collect()
    }

    #[test]
    fn service_that_stands_still_in_a_guest_that_lives_is_found() {
        let looks: Vec<_> = (0..8).map(|second| (second, Some(4))).collect();
        let why = "no progress of its service for 5000 ms".to_owned();
        let all = judged(&looks);
        assert_eq!(all[1], Judged::Lives);
        assert!(!all[..5].iter().any(|it| matches!(it, Judged::Hangs(_))));
        assert_eq!(all[5], Judged::Hangs(why));
    }

    #[test]
    fn nothing_is_expected_before_the_first_answer_nor_while_something_is_frozen() {
        let never: Vec<_> = (0..20).map(|second| (second, Some(0))).collect();
        assert!(judged(&never).iter().all(|it| *it == Judged::Lives));
        // Frozen for a while in the middle: the time begins anew.
        let frozen = |second| {
            if (3..9).contains(&second) {
                None
            } else {
                Some(4)
            }
        };
        let looks: Vec<_> = (0..14).map(|second| (second, frozen(second))).collect();
        let all = judged(&looks);
        assert!(
            !all.iter().any(|it| matches!(it, Judged::Hangs(_))),
            "{all:?}"
        );
    }

    #[test]
    fn guest_that_stands_still_is_found_by_its_heartbeat_whatever_its_service_has_done() {
        let all = judged(&[(1, Some(1)); 5]);
        assert_eq!(all[3], Judged::Hangs("no heartbeat for 3000 ms".to_owned()));
    }
}
