// SPDX-License-Identifier: GPL-3.0-only
//! What the end of domains means for the service groups.

use super::types::{Action, End};
use super::{Core, News};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
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
        if group.standbys.is_empty() {
            let cause = "it has no standby";
            return Err(Error::new(Code::State, op, name, cause)
                .hint("add one: rxl ft protect, with --standby"));
        }
        let mut news = Vec::new();
        self.move_group(name, reason, &mut news);
        self.tell_all(now_ms, news);
        Ok(())
    }

    /// What the ends mean for the groups.
    pub(super) fn fail_over(&mut self, fresh: &[(DomId, End)], news: &mut Vec<News>) {
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
            let logger_end = end_of(group.logger);
            if let Some(end) = logger_end {
                let detail = format!("the logger's domain {} {}", group.logger, end.words());
                news.push((
                    EventKind::LoggerLost,
                    Some(group.logger),
                    Some(name.clone()),
                    detail,
                ));
            }
            if let Some((member, end)) =
                active.and_then(|member| end_of(member.domid).map(|end| (member, end)))
            {
                let reason = format!("domain {} ({}) {}", member.domid, member.name, end.words());
                self.move_group(&name, &reason, news);
            }
            for member in lost {
                news.push((
                    EventKind::StandbyLost,
                    Some(member.domid),
                    Some(name.clone()),
                    member.name,
                ));
            }
        }
    }

    /// Makes the first standby the active domain and orders the logger to move there.
    fn move_group(&mut self, name: &str, reason: &str, news: &mut Vec<News>) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let old = group.active.take();
        if group.standbys.is_empty() {
            let domain = old.map(|member| member.domid);
            let detail = format!("{reason}, and no standby is left");
            news.push((EventKind::NoStandby, domain, Some(name.to_owned()), detail));
        } else {
            let next = group.standbys.remove(0);
            let detail = format!("to {} ({}): {reason}", next.domid, next.name);
            let domain = Some(next.domid);
            group.active = Some(next);
            group.failovers += 1;
            let logger = group.logger;
            let (group, reason) = (name.to_owned(), reason.to_owned());
            self.actions.push_front(Action::Failover {
                group,
                logger,
                reason,
            });
            news.push((
                EventKind::FailoverSent,
                domain,
                Some(name.to_owned()),
                detail,
            ));
        }
        self.actions.push_back(Action::Save);
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
