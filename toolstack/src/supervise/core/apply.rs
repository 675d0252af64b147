// SPDX-License-Identifier: GPL-3.0-only
//! Taking a group file: a new group, or what has changed in one that is there.

use uuid::Uuid;

use super::Core;
use super::types::Action;
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::supervise::care::Care;
use crate::supervise::plan::GroupPlan;
use crate::supervise::proto::{EventKind, GroupState};

const OP: &str = "apply the group file";

impl Core {
    /// Takes care of a group from now on. `seed` is used for the handles of a new group's members.
    ///
    /// # Errors
    /// `Code::Exists`: the group is there and was not declared by a file. `Code::State`: it is there, and something is
    /// different that cannot be changed while it serves.
    pub fn apply(&mut self, plan: GroupPlan, logger: DomId, seed: Uuid, now_ms: u64) -> Result<()> {
        let name = plan.name.clone();
        let detail = match self.groups.get_mut(&name) {
            Some(group) => change(group, plan, logger)?,
            None => {
                let detail = format!("new; members come from {}", plan.member.source);
                self.groups
                    .insert(name.clone(), new_group(plan, logger, seed));
                detail
            }
        };
        if self.care_mut(&name).is_some_and(Care::review_image) {
            self.actions.push_back(Action::DropImage(name.clone()));
        }
        self.senses_mut(&name).complete = false;
        self.actions.push_back(Action::Save);
        self.tell(
            now_ms,
            EventKind::GroupApplied,
            None,
            Some(name.clone()),
            detail,
        );
        self.dismiss_surplus(&name, now_ms);
        self.tend_all(now_ms);
        Ok(())
    }

    /// Takes away the last standbys if there are more than wanted.
    fn dismiss_surplus(&mut self, name: &str, now_ms: u64) {
        while let Some(group) = self.groups.get(name)
            && let Some(care) = group.care.as_deref()
            && group.standbys.len() > care.plan.standbys as usize
            && let Some(last) = group.standbys.last()
        {
            let domid = last.domid;
            self.dismiss_standby(name, domid, "fewer standbys are wanted", now_ms);
        }
    }

    /// Says once that a group has become as its file says.
    pub(super) fn tell_complete(&mut self, name: &str, now_ms: u64) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let complete = group.complete();
        let before = std::mem::replace(&mut self.senses_mut(name).complete, complete);
        if !complete || before {
            return;
        }
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let detail = super::groups::describe(group);
        let domain = group.active.as_ref().map(|member| member.domid);
        let group = Some(name.to_owned());
        self.tell(now_ms, EventKind::GroupComplete, domain, group, detail);
    }

    /// Domains of groups that are gone.
    pub(super) fn forget_crew(&mut self, gone: impl Fn(DomId) -> bool) {
        for group in self.groups.values_mut() {
            let making = group.making.as_ref().and_then(|making| making.domid);
            if let Some(care) = group.care.as_deref_mut() {
                care.crew
                    .retain(|one| !gone(one.domid) || making == Some(one.domid));
            }
        }
    }
}

fn new_group(plan: GroupPlan, logger: DomId, seed: Uuid) -> GroupState {
    GroupState {
        name: plan.name.clone(),
        logger,
        north: plan.north.clone(),
        active: None,
        standbys: Vec::new(),
        services: plan.services.clone(),
        failovers: 0,
        making: None,
        orders: Vec::new(),
        care: Some(Box::new(Care::new(plan, seed))),
    }
}

/// Whether the logger would be told the same of both.
fn same_protection(one: &GroupPlan, other: &GroupPlan) -> bool {
    (&one.north, &one.services, one.outbound, one.wrap)
        == (&other.north, &other.services, other.outbound, other.wrap)
}

/// Changes a group's plan; says what that means.
fn change(group: &mut GroupState, plan: GroupPlan, logger: DomId) -> Result<String> {
    let failed =
        |code, cause: &str, hint: &str| Err(Error::new(code, OP, &group.name, cause).hint(hint));
    let Some(care) = group.care.as_deref() else {
        let hint = "end it first: rxl ft unprotect; its domains keep running";
        return failed(Code::Exists, "`rxl ft protect` has set it up", hint);
    };
    let hint = "end the group (rxl ft unprotect), destroy its members, and apply the file again";
    let old = &care.plan;
    if group.logger != logger {
        return failed(Code::State, "it has another logger", hint);
    }
    if !same_protection(old, &plan) {
        let cause =
            "its services, wrap, north or outbound are others than those that the logger protects";
        return failed(Code::State, cause, hint);
    }
    let Some(care) = group.care.as_deref_mut() else {
        return Ok(String::new());
    };
    let others = (&care.plan.member, &care.plan.standby) != (&plan.member, &plan.standby);
    care.version += u32::from(others);
    care.plan = plan;
    care.halted = None;
    care.failures = 0;
    care.retry_ms = 0;
    care.failovers_ms.clear();
    Ok(if others {
        "changed; members that are made from now on come from the new configuration, the others stay".to_owned()
    } else {
        "changed".to_owned()
    })
}
