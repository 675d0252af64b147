// SPDX-License-Identifier: GPL-3.0-only
//! What the end of domains means for the service groups.

use super::types::{Action, End};
use super::{Core, News};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::supervise::care::{Care, Order, Stage};
use crate::supervise::proto::{EventKind, GroupState, Member};

impl Core {
    /// Moves a group to its first standby because the operator says so.
    ///
    /// # Errors
    /// `Code::NotFound`: no such group. `Code::State`: no standby.
    pub fn failover(&mut self, name: &str, reason: &str, now_ms: u64) -> Result<()> {
        let op = "move the group";
        let group = self
            .groups
            .get(name)
            .ok_or_else(|| unknown_group(op, name))?;
        if group.standbys.is_empty() && group.other().is_none() {
            let cause = "it has no standby";
            return Err(Error::new(Code::State, op, name, cause)
                .hint("add one: rxl ft protect, with --standby"));
        }
        if self.undecided(name) {
            let cause = "the logger is being told of an upgrade";
            return Err(Error::new(Code::State, op, name, cause).hint("try again"));
        }
        let mut news = Vec::new();
        self.move_group(name, reason, true, &mut news, now_ms);
        self.tell_all(now_ms, news);
        self.tend_all(now_ms);
        Ok(())
    }

    /// What the ends mean for the groups.
    pub(super) fn fail_over(&mut self, fresh: &[(DomId, End)], news: &mut Vec<News>, now_ms: u64) {
        let end_of = |domid: DomId| {
            fresh
                .iter()
                .find(|(id, _)| *id == domid)
                .map(|(_, end)| *end)
        };
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            // First: a standby that ended with the active domain must not be chosen.
            let (lost, left): (Vec<Member>, Vec<Member>) = group
                .standbys
                .drain(..)
                .partition(|member| end_of(member.domid).is_some());
            group.standbys = left;
            if !lost.is_empty() {
                self.actions.push_back(Action::Save);
            }
            let active = group.active.clone();
            // One that becomes an image is meant to end; whoever makes the image tells how that went.
            let making = group.making.as_ref();
            let making = making.filter(|it| it.stage != Stage::Capturing);
            let making = making.and_then(|making| making.domid);
            if let Some(end) = end_of(group.logger) {
                let detail = format!("the logger's domain {} {}", group.logger, end.words());
                if let Some(care) = group.care.as_deref_mut() {
                    care.halted = Some(format!(
                        "{detail}; its members cannot be reached any more: end the group, destroy them, apply it again"
                    ));
                }
                news.push((
                    EventKind::LoggerLost,
                    Some(group.logger),
                    Some(name.clone()),
                    detail,
                ));
            }
            self.upgrade_lost(&name, &end_of, news, now_ms);
            let undecided = self.undecided(&name);
            if let Some((member, end)) = active
                .as_ref()
                .filter(|_| !undecided)
                .and_then(|member| end_of(member.domid).map(|end| (member, end)))
            {
                let reason = format!("domain {} ({}) {}", member.domid, member.name, end.words());
                self.move_group(&name, &reason, false, news, now_ms);
            }
            if let Some(end) = making.and_then(end_of) {
                let reason = format!("its domain {}", end.words());
                self.making_failed(&name, &reason, now_ms);
            }
            for member in active.into_iter().chain(lost.clone()) {
                if end_of(member.domid).is_some() {
                    self.bury(&name, &member, end_of(member.domid), news);
                }
            }
            let failed_over = matches!(
                self.actions.front(),
                Some(Action::Failover { group, .. }) if *group == name
            );
            let logger = self.groups.get(&name).map(|group| group.logger);
            for member in lost {
                // It may stand before the one that is chosen, and its interface be there still.
                let leave = logger.map(|logger| Action::Leave {
                    group: name.clone(),
                    logger,
                    interface: member.interface.clone(),
                });
                if failed_over {
                    leave.into_iter().for_each(|it| self.actions.push_front(it));
                } else {
                    self.actions.extend(leave);
                }
                news.push((
                    EventKind::StandbyLost,
                    Some(member.domid),
                    Some(name.clone()),
                    member.name,
                ));
            }
        }
    }

    /// Replaces the active member by a standby, if there is one; if not, as soon as there is.
    pub(super) fn replace_active(&mut self, name: &str, reason: &str, now_ms: u64) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        if group.standbys.is_empty() && group.other().is_none() {
            return;
        }
        let mut news = Vec::new();
        let lives = group.active.is_some();
        self.move_group(name, reason, lives, &mut news, now_ms);
        self.tell_all(now_ms, news);
    }

    /// Makes the first standby the active domain and orders the logger to move there. `lives`: the old one may run still,
    /// and is stopped first.
    pub(super) fn move_group(
        &mut self,
        name: &str,
        reason: &str,
        lives: bool,
        news: &mut Vec<News>,
        now_ms: u64,
    ) {
        self.use_other(name, news);
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let old = group.active.take();
        let senses = self.senses.entry(name.to_owned()).or_default();
        if group.standbys.is_empty() {
            let domain = old.map(|member| member.domid);
            senses.suspect = Some(reason.to_owned());
            let detail = format!("{reason}, and no standby is left");
            news.push((EventKind::NoStandby, domain, Some(name.to_owned()), detail));
        } else {
            let next = group.standbys.remove(0);
            let detail = format!("to {} ({}): {reason}", next.domid, next.name);
            let domain = Some(next.domid);
            senses.suspect = None;
            senses.forget(next.domid);
            let check = !senses.confirmed;
            let old = old.filter(|_| lives);
            let mut halted = false;
            let mut wake = None;
            if let Some(care) = group.care.as_deref_mut() {
                if let Some(one) = care.one_mut(next.domid).filter(|one| one.paused) {
                    one.paused = false;
                    wake = Some(next.domid);
                }
                if let Some(why) = care.count_failover(now_ms) {
                    halted = true;
                    let group = Some(name.to_owned());
                    news.push((EventKind::StandbysStopped, None, group, why));
                }
            }
            let order = Order {
                reason: reason.to_owned(),
                to: next.interface.clone(),
                old,
                wake,
                halted,
            };
            self.actions.push_front(order.action(group, check));
            group.orders.push(order);
            group.active = Some(next);
            group.failovers += 1;
            news.push((
                EventKind::FailoverSent,
                domain,
                Some(name.to_owned()),
                detail,
            ));
        }
        self.actions.push_back(Action::Save);
    }

    /// The logger has moved a group; the old server is stopped, if it lived.
    pub(super) fn moved(&mut self, name: &str, now_ms: u64) {
        let mut news = Vec::new();
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        if group.orders.is_empty() {
            return;
        }
        let order = group.orders.remove(0);
        self.actions.push_back(Action::Save);
        if let Some(active) = &group.active {
            self.actions.push_back(Action::Refresh(active.domid));
        }
        if let Some(old) = order.old {
            self.bury(name, &old, None, &mut news);
        }
        self.tell_all(now_ms, news);
    }

    /// The old server could not be stopped, so the logger was not asked: everything is as before.
    pub(super) fn unfenced(&mut self, name: &str, error: &Error, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        if group.orders.is_empty() {
            return;
        }
        let order = group.orders.remove(0);
        let newest = group.orders.is_empty();
        if let Some(care) = group.care.as_deref_mut() {
            care.failovers_ms.pop();
            if order.halted {
                care.halted = None;
            }
            // It sleeps on.
            if let Some(one) = order.wake.and_then(|domid| care.one_mut(domid)) {
                one.paused = true;
            }
        }
        let old = order.old;
        let domain = old.as_ref().map(|member| member.domid);
        if let Some(old) = old.filter(|_| newest)
            && let Some(next) = group.active.replace(old)
        {
            group.standbys.insert(0, next);
            group.failovers = group.failovers.saturating_sub(1);
        }
        self.actions.push_back(Action::Save);
        let detail = format!("{error}; the group stays where it is");
        let group = Some(name.to_owned());
        self.tell(now_ms, EventKind::FenceFailed, domain, group, detail);
    }

    /// What becomes of a member that has failed. `end`: how it ended; `None` if it was stopped.
    pub(super) fn bury(
        &mut self,
        name: &str,
        member: &Member,
        end: Option<End>,
        news: &mut Vec<News>,
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let kept = |detail: String| {
            let (domain, group) = (Some(member.domid), Some(name.to_owned()));
            (EventKind::MemberKept, domain, group, detail)
        };
        let Some(care) = group.care.as_deref_mut() else {
            match end {
                // It may be restarted, and is then a standby again.
                Some(_) => drop(self.returning.insert(member.domid, name.to_owned())),
                None => news.push(kept(format!(
                    "{} is paused, and no frame of it reaches anybody any more; `rxl destroy {}` frees it",
                    member.name, member.name
                ))),
            }
            return;
        };
        if end == Some(End::Gone) {
            care.last_gone = care.one(member.domid).map(|one| one.number);
            care.crew.retain(|one| one.domid != member.domid);
            return;
        }
        if !care.plan.keep_for_autopsy {
            self.actions.push_back(Action::Destroy(member.domid));
            return;
        }
        // The one that was kept before makes room.
        for one in &mut care.crew {
            if one.kept && one.domid != member.domid {
                self.actions.push_back(Action::Destroy(one.domid));
            }
            one.kept = one.domid == member.domid;
        }
        let manner = if end.is_some() {
            "as it ended"
        } else {
            "paused"
        };
        news.push(kept(format!(
            "{} is kept for autopsy, {manner}",
            member.name
        )));
    }

    /// Takes a standby out of its group and away.
    pub(super) fn dismiss_standby(&mut self, name: &str, domid: DomId, why: &str, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let mut standbys = group.standbys.iter();
        let Some(place) = standbys.position(|member| member.domid == domid) else {
            return;
        };
        let member = group.standbys.remove(place);
        let (group_name, logger) = (name.to_owned(), group.logger);
        self.actions.push_back(Action::Leave {
            group: group_name.clone(),
            logger,
            interface: member.interface,
        });
        self.actions.push_back(Action::Destroy(domid));
        self.actions.push_back(Action::Save);
        let detail = format!("{}: {why}", member.name);
        self.tell(
            now_ms,
            EventKind::StandbyLost,
            Some(domid),
            Some(group_name),
            detail,
        );
    }
}

impl Order {
    /// What is to be done. `check`: look first whether it has been done already.
    pub(super) fn action(&self, group: &GroupState, check: bool) -> Action {
        Action::Failover {
            group: group.name.clone(),
            logger: group.logger,
            reason: self.reason.clone(),
            to: self.to.clone(),
            check,
            fence: self.old.as_ref().map(|member| member.domid),
            wake: self.wake,
        }
    }
}

impl Care {
    /// Counts a failover; says so if it was one too many.
    fn count_failover(&mut self, now_ms: u64) -> Option<String> {
        let within = self.plan.within_ms;
        self.failovers_ms.push(now_ms);
        self.failovers_ms
            .retain(|at| now_ms.saturating_sub(*at) < within);
        let count = self.failovers_ms.len();
        if count < self.plan.most_failovers as usize || self.halted.is_some() {
            return None;
        }
        let why = format!(
            "{count} failovers within {} s: the cause is not in the members; mend it, then `rxl ft apply` again",
            within / 1000
        );
        self.halted = Some(why.clone());
        Some(why)
    }
}

/// There is no group of this name.
pub(in crate::supervise) fn unknown_group(op: &str, name: &str) -> Error {
    let cause = "there is no such service group";
    Error::new(Code::NotFound, op, name, cause).hint("`rxl ft status` lists the groups")
}

/// Who does what in a group, in words.
pub(super) fn describe(group: &GroupState) -> String {
    let active = group
        .active
        .as_ref()
        .map_or("nobody", |member| member.name.as_str());
    let standbys: Vec<&str> = group
        .standbys
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    let standbys = if standbys.is_empty() {
        "none".to_owned()
    } else {
        standbys.join(", ")
    };
    format!(
        "active {active}, standby {standbys}, logger {}",
        group.logger
    )
}
