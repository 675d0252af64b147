// SPDX-License-Identifier: GPL-3.0-only
//! What an upgrade may begin with, and the ends of domains that end it.

use super::types::{Change, End};
use super::upgrade::OP;
use super::{Core, News};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::supervise::care::{Care, UpgradeOrder, UpgradeStage};
use crate::supervise::plan::NUMBER;
use crate::supervise::proto::{EventKind, GroupState};

impl Core {
    /// See [`UpgradeStage::undecided`].
    pub(super) fn undecided(&self, name: &str) -> bool {
        let upgrade = self.groups.get(name).and_then(GroupState::upgrade);
        upgrade.is_some_and(|upgrade| upgrade.stage.undecided())
    }

    /// Now that it is known who is active: what has ended meanwhile is acted upon.
    pub(super) fn catch_up(&mut self, name: &str, now_ms: u64) {
        let ended = self.ended.clone();
        let end_of = |domid: DomId| ended.get(&domid).copied();
        let mut news = Vec::new();
        self.upgrade_lost(name, &end_of, &mut news, now_ms);
        let active = self.groups.get(name).and_then(|group| group.active.clone());
        if let Some(active) = active
            && let Some(end) = end_of(active.domid)
        {
            let reason = format!("domain {} ({}) {}", active.domid, active.name, end.words());
            self.move_group(name, &reason, false, &mut news, now_ms);
            self.bury(name, &active, Some(end), &mut news);
        }
        self.tell_all(now_ms, news);
    }

    /// A group's active server fails while two serve: the other one takes over, and that is the end of the upgrade.
    pub(super) fn use_other(&mut self, name: &str, news: &mut Vec<News>) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(other) = group.other().cloned() else {
            return;
        };
        let detail = format!("{} takes over", other.name);
        group.standbys.insert(0, other);
        if let Some(care) = group.care.as_deref_mut() {
            care.upgrade = None;
        }
        let group = Some(name.to_owned());
        news.push((EventKind::UpgradeUndone, None, group, detail));
    }

    /// What the end of domains means for an upgrade, but for that of the active one.
    pub(super) fn upgrade_lost(
        &mut self,
        name: &str,
        end_of: &dyn Fn(DomId) -> Option<End>,
        news: &mut Vec<News>,
        now_ms: u64,
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(upgrade) = group.upgrade() else {
            return;
        };
        let (stage, active) = (upgrade.stage, group.active.clone());
        let both = upgrade.old.iter().chain(&upgrade.new);
        let mut others = both.filter(|it| Some(*it) != active.as_ref());
        let Some((lost, end)) = others
            .find_map(|it| end_of(it.domid).map(|end| (it, end)))
            .map(|(it, end)| (it.clone(), end))
        else {
            return;
        };
        let reason = format!("domain {} ({}) {}", lost.domid, lost.name, end.words());
        let of_new = upgrade.new.as_ref() == Some(&lost);
        if stage.undecided() {
            return;
        }
        self.bury(name, &lost, Some(end), news);
        match stage {
            UpgradeStage::Making | UpgradeStage::Checking => self.give_up(name, &reason, now_ms),
            // What the logger makes of it is seen when it answers.
            UpgradeStage::Telling | UpgradeStage::Returning | UpgradeStage::Finishing { .. } => {}
            UpgradeStage::Moving { .. }
            | UpgradeStage::Holding { .. }
            | UpgradeStage::MovingBack { .. } => {
                let interface = lost.interface;
                let died = Change::Died {
                    interface,
                    reason: reason.clone(),
                };
                self.change(name, stage, died);
                if of_new {
                    self.undone(name, &format!("{reason}; the old version serves"), now_ms);
                } else {
                    self.upgraded(name, &reason, now_ms);
                }
            }
        }
    }
}

impl GroupState {
    /// Whether an upgrade may begin, and to this.
    pub(super) fn fits(&self, order: &UpgradeOrder) -> Result<()> {
        let group = self;
        let refuse = |code, cause: &str, hint: &str| {
            Err(Error::new(code, OP, &group.name, cause).hint(hint))
        };
        let Some(care) = group.care.as_deref() else {
            let hint = "declare it by a group file: docs/service-groups.md";
            return refuse(Code::State, "no file declares it", hint);
        };
        let see = format!("see rxl ft show {}", group.name);
        if let Some(upgrade) = &care.upgrade {
            let cause = format!("an upgrade is under way: {}", upgrade.stage.words());
            return refuse(
                Code::State,
                &cause,
                &format!("{see}; `rxl ft rollback {}` undoes it", group.name),
            );
        }
        if group.active.is_none() {
            return refuse(Code::State, "nobody serves", &see);
        }
        if let Some(making) = &group.making {
            let cause = format!("{} {}", making.name, making.stage.words());
            return refuse(
                Code::State,
                &cause,
                &format!("wait until the group is complete: {see}"),
            );
        }
        let mac = |care: &Care| {
            let member = &care.plan.member;
            member.config.vifs.get(member.devid).map(|vif| vif.mac)
        };
        let new = &order.to.config;
        if new.vifs.get(order.to.devid).map(|vif| vif.mac) != mac(care) {
            let hint = "clients know the service by its address: give both the same mac=";
            return refuse(
                Code::Usage,
                "the new configuration has another MAC address",
                hint,
            );
        }
        let shared = new
            .disks
            .iter()
            .find(|disk| disk.writable && !disk.target.display().to_string().contains(NUMBER));
        if let Some(disk) = shared {
            let cause = format!(
                "old and new members would both write to {}",
                disk.target.display()
            );
            let hint = format!("make it access=ro, or give each member its own by {NUMBER}");
            return refuse(Code::Usage, &cause, &hint);
        }
        Ok(())
    }
}
