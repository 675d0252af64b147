// SPDX-License-Identifier: GPL-3.0-only
//! Moving a declared group to another version of its member, and back.
//!
//! The new member is made beside the old one, its health is looked at, the logger moves the connections, and the old
//! member is kept for a while. Until then everything can be undone; whatever fails, one of the two is left, and it is said
//! which.

use super::Core;
use super::types::{Action, Change, Moves};
use crate::error::{Code, Error, Result};
use crate::supervise::care::{Upgrade, UpgradeOrder, UpgradeStage};
use crate::supervise::proto::{EventKind, GroupState, Member};

pub(super) const OP: &str = "upgrade the group";
/// How long a move may take beyond its drain time, in ms.
const MOVE_MS: u64 = 60_000;
/// How often the logger is asked how far it is, in ms.
const PROGRESS_MS: u64 = 250;
/// How long to wait before the logger is told to finish again, in ms.
const AGAIN_MS: u64 = 5_000;

impl GroupState {
    pub(super) fn upgrade(&self) -> Option<&Upgrade> {
        self.care.as_deref()?.upgrade.as_ref()
    }

    pub(super) fn upgrade_mut(&mut self) -> Option<&mut Upgrade> {
        self.care.as_deref_mut()?.upgrade.as_mut()
    }

    /// The living server that an upgrade leads away from, or back from: it can take over at once.
    pub(super) fn other(&self) -> Option<&Member> {
        let upgrade = self.upgrade()?;
        match upgrade.stage {
            UpgradeStage::Moving { .. } | UpgradeStage::Holding { .. } => upgrade.old.as_ref(),
            // Whether the logger has turned already or not: the other of the two.
            UpgradeStage::Returning | UpgradeStage::MovingBack { .. } => {
                let both = upgrade.old.iter().chain(&upgrade.new);
                both.into_iter()
                    .find(|it| Some(*it) != self.active.as_ref())
            }
            _ => None,
        }
    }
}

impl Core {
    /// Begins an upgrade.
    ///
    /// # Errors
    /// `Code::NotFound`: no such group. `Code::State`: it is not declared, nobody serves, or something else is under way.
    /// `Code::Usage`: the new configuration does not fit.
    pub fn upgrade(&mut self, name: &str, order: UpgradeOrder, now_ms: u64) -> Result<()> {
        let Some(group) = self.groups.get_mut(name) else {
            return Err(super::unknown_group(OP, name));
        };
        group.fits(&order)?;
        let detail = format!(
            "to {} from {}; connections get {} s to come to rest, the old member is kept for {} s",
            order.to.config.name,
            order.to.source,
            order.drain_ms / 1000,
            order.rollback_ms / 1000
        );
        if let Some(care) = group.care.as_deref_mut() {
            care.upgrade = Some(Upgrade {
                order,
                stage: UpgradeStage::Making,
                old: None,
                new: None,
                waiting: None,
            });
        }
        self.tell_upgrade(name, EventKind::UpgradeBegun, detail, now_ms);
        self.tend_all(now_ms);
        Ok(())
    }

    /// Undoes an upgrade, as long as the old member is there.
    ///
    /// # Errors
    /// `Code::NotFound`: no such group. `Code::State`: there is nothing to undo, or it is being undone.
    pub fn rollback(&mut self, name: &str, now_ms: u64) -> Result<()> {
        let op = "roll the group back";
        let Some(group) = self.groups.get_mut(name) else {
            return Err(super::unknown_group(op, name));
        };
        let stage = group.upgrade().map(|upgrade| upgrade.stage);
        match stage {
            None => {
                let cause = "no upgrade is under way, and no old member is kept";
                return Err(Error::new(Code::State, op, name, cause)
                    .hint("upgrade it to the old configuration: rxl ft upgrade GROUP --to FILE"));
            }
            Some(UpgradeStage::Making) if group.making.is_some() => {
                self.making_failed(name, "asked for by the operator", now_ms);
            }
            Some(UpgradeStage::Making | UpgradeStage::Checking) => {
                self.give_up(name, "asked for by the operator", now_ms);
            }
            Some(UpgradeStage::Moving { .. } | UpgradeStage::Holding { .. }) => {
                self.change(name, UpgradeStage::Returning, Change::Back);
            }
            Some(stage) => {
                let hint = format!("see rxl ft show {name}, and try again");
                return Err(Error::new(Code::State, op, name, stage.words()).hint(hint));
            }
        }
        self.tend_all(now_ms);
        Ok(())
    }

    /// Does what an upgrade's time asks for. Says when to look again.
    pub(super) fn tend_upgrade(&mut self, name: &str, now_ms: u64) -> Option<u64> {
        let group = self.groups.get(name)?;
        let (stage, logger) = (group.upgrade()?.stage, group.logger);
        match stage {
            UpgradeStage::Moving { until_ms } | UpgradeStage::MovingBack { until_ms } => {
                if now_ms >= until_ms {
                    self.all_moved(name, now_ms);
                    return Some(now_ms);
                }
                let senses = self.senses_mut(name);
                if senses.progressing {
                    return Some(until_ms);
                }
                if now_ms < senses.next_progress_ms {
                    return Some(until_ms.min(senses.next_progress_ms));
                }
                senses.progressing = true;
                senses.next_progress_ms = now_ms + PROGRESS_MS;
                let group = name.to_owned();
                self.actions.push_back(Action::Progress { group, logger });
                Some(until_ms)
            }
            UpgradeStage::Holding { until_ms } if now_ms < until_ms => Some(until_ms),
            UpgradeStage::Holding { .. } => {
                self.finish(name, false);
                None
            }
            _ => None,
        }
    }

    /// After a restart of the supervisor: what was asked is asked again; who answers knows whether it was done.
    pub(super) fn resume_upgrade(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let Some(upgrade) = group.upgrade() else {
            return;
        };
        let change = match upgrade.stage {
            UpgradeStage::Checking => return self.check(name),
            UpgradeStage::Telling => match begin(upgrade) {
                Some(change) => change,
                None => return,
            },
            UpgradeStage::Returning => Change::Back,
            UpgradeStage::Finishing { back } => return self.finish(name, back),
            _ => return,
        };
        let stage = upgrade.stage;
        self.change(name, stage, change);
    }

    /// The new member is ready, and the logger knows it as a standby.
    pub(super) fn upgrade_ready(&mut self, name: &str, member: Member, now_ms: u64) {
        let Some(upgrade) = self.groups.get_mut(name).and_then(GroupState::upgrade_mut) else {
            return;
        };
        upgrade.new = Some(member);
        upgrade.stage = UpgradeStage::Checking;
        let healthy = upgrade.order.health.is_none();
        self.actions.push_back(Action::Save);
        if healthy {
            self.checked(name, Ok(()), now_ms);
        } else {
            self.check(name);
        }
    }

    fn check(&mut self, name: &str) {
        let Some(upgrade) = self.groups.get(name).and_then(GroupState::upgrade) else {
            return;
        };
        if let (Some(member), Some(command)) = (&upgrade.new, &upgrade.order.health) {
            self.actions.push_back(Action::Check {
                group: name.to_owned(),
                member: member.clone(),
                command: command.clone(),
            });
        }
    }

    /// The new member is healthy, or not.
    pub(super) fn checked(&mut self, name: &str, result: Result<()>, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(upgrade) = group.upgrade() else {
            return;
        };
        if upgrade.stage != UpgradeStage::Checking {
            return;
        }
        if let Err(error) = result {
            let why = format!("the new member is not healthy: {}", error.cause);
            self.give_up(name, &why, now_ms);
            return;
        }
        let change = begin(upgrade);
        if group.active.is_some() {
            if let Some(change) = change {
                self.change(name, UpgradeStage::Telling, change);
            }
            return;
        }
        // The old one has died meanwhile, and there was no other: the new one takes over.
        if let Some(new) = group.upgrade_mut().and_then(|upgrade| upgrade.new.take()) {
            group.standbys.insert(0, new);
        }
        self.upgraded(name, "the old member had died", now_ms);
        self.replace_active(name, "the old member had died", now_ms);
    }

    pub(super) fn change(&mut self, name: &str, stage: UpgradeStage, change: Change) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let logger = group.logger;
        if let Some(upgrade) = group.upgrade_mut() {
            upgrade.stage = stage;
        }
        self.actions.push_back(Action::Change {
            group: name.to_owned(),
            logger,
            change,
        });
        self.actions.push_back(Action::Save);
    }

    /// The logger has been told.
    pub(super) fn changed(&mut self, name: &str, change: &Change, result: Result<()>, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let active = group.active.clone();
        let Some(upgrade) = group.upgrade_mut() else {
            return;
        };
        let limit = now_ms + u64::from(upgrade.order.drain_ms) + MOVE_MS;
        upgrade.waiting = None;
        match (change, upgrade.stage, result) {
            (Change::Begin { .. }, UpgradeStage::Telling, Ok(())) => {
                let new = upgrade.new.clone();
                upgrade.old = active;
                upgrade.stage = UpgradeStage::Moving { until_ms: limit };
                group.active = new;
            }
            (Change::Begin { .. }, UpgradeStage::Telling, Err(error)) => {
                self.give_up(name, &error.to_string(), now_ms);
            }
            (Change::Back, UpgradeStage::Returning, Ok(())) => {
                upgrade.stage = UpgradeStage::MovingBack { until_ms: limit };
                group.active = upgrade.old.clone();
            }
            (Change::Back, UpgradeStage::Returning, Err(error)) => {
                let until_ms = now_ms + upgrade.order.rollback_ms;
                upgrade.stage = UpgradeStage::Holding { until_ms };
                let detail = format!("it cannot be rolled back: {error}");
                self.tell_upgrade(name, EventKind::UpgradeProgress, detail, now_ms);
            }
            (Change::Finish { .. }, UpgradeStage::Finishing { back }, Ok(())) => {
                let left = if back {
                    upgrade.new.take()
                } else {
                    upgrade.old.take()
                };
                if let Some(left) = left {
                    self.actions.push_back(Action::Destroy(left.domid));
                }
                if back {
                    self.undone(name, "rolled back; the old version serves", now_ms);
                } else {
                    self.upgraded(name, "the old member is gone", now_ms);
                }
            }
            (Change::Finish { .. }, UpgradeStage::Finishing { back }, Err(error)) => {
                let until_ms = now_ms + AGAIN_MS;
                upgrade.stage = if back {
                    UpgradeStage::MovingBack { until_ms }
                } else {
                    UpgradeStage::Holding { until_ms }
                };
                let detail = format!(
                    "the logger does not let go of the other member, it will be asked again: {error}"
                );
                self.tell_upgrade(name, EventKind::UpgradeProgress, detail, now_ms);
            }
            _ => {}
        }
        if !matches!(change, Change::Finish { .. } | Change::Died { .. }) {
            self.catch_up(name, now_ms);
        }
        self.actions.push_back(Action::Save);
    }

    /// How far the logger is.
    pub(super) fn progressed(&mut self, name: &str, result: &Result<Option<Moves>>, now_ms: u64) {
        self.senses_mut(name).progressing = false;
        // It is asked again.
        let Ok(Some(moves)) = result else { return };
        let Some(upgrade) = self.groups.get_mut(name).and_then(GroupState::upgrade_mut) else {
            return;
        };
        let back = matches!(upgrade.stage, UpgradeStage::MovingBack { .. });
        if back != moves.back {
            return;
        }
        let known = upgrade.waiting.replace(moves.waiting);
        if known != Some(moves.waiting) {
            let detail = match moves.waiting {
                0 => "no connection is left to be moved".to_owned(),
                1 => "1 connection is still to be moved".to_owned(),
                n => format!("{n} connections are still to be moved"),
            };
            self.tell_upgrade(name, EventKind::UpgradeProgress, detail, now_ms);
        }
        if moves.waiting == 0 {
            self.all_moved(name, now_ms);
        }
    }

    fn all_moved(&mut self, name: &str, now_ms: u64) {
        let Some(upgrade) = self.groups.get_mut(name).and_then(GroupState::upgrade_mut) else {
            return;
        };
        match upgrade.stage {
            UpgradeStage::Moving { .. } => {
                let until_ms = now_ms + upgrade.order.rollback_ms;
                upgrade.stage = UpgradeStage::Holding { until_ms };
                let new = upgrade.new.as_ref().map_or("", |new| new.name.as_str());
                let detail = format!(
                    "{new} serves; for {} s `rxl ft rollback {name}` moves back",
                    upgrade.order.rollback_ms / 1000
                );
                self.actions.push_back(Action::Save);
                self.tell_upgrade(name, EventKind::UpgradeMoved, detail, now_ms);
            }
            UpgradeStage::MovingBack { .. } => self.finish(name, true),
            _ => {}
        }
    }

    /// The member that was left is to go: the old one, or after a way `back` the new one.
    fn finish(&mut self, name: &str, back: bool) {
        let Some(upgrade) = self.groups.get(name).and_then(GroupState::upgrade) else {
            return;
        };
        let left = if back { &upgrade.new } else { &upgrade.old };
        let left = left.clone();
        self.change(
            name,
            UpgradeStage::Finishing { back },
            Change::Finish { left },
        );
    }

    /// The new member is taken away before anything was moved.
    pub(super) fn give_up(&mut self, name: &str, why: &str, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let logger = group.logger;
        if let Some(new) = group.upgrade_mut().and_then(|upgrade| upgrade.new.take()) {
            self.actions.push_back(Action::Leave {
                group: name.to_owned(),
                logger,
                interface: new.interface,
            });
            self.actions.push_back(Action::Destroy(new.domid));
        }
        self.undone(name, why, now_ms);
    }

    /// The upgrade is over, the plan is as it was.
    pub(super) fn undone(&mut self, name: &str, why: &str, now_ms: u64) {
        let ended = self
            .groups
            .get_mut(name)
            .and_then(|group| group.care.as_deref_mut()?.upgrade.take());
        if ended.is_some() {
            self.actions.push_back(Action::Save);
            self.tell_upgrade(name, EventKind::UpgradeUndone, why.to_owned(), now_ms);
        }
    }

    /// The upgrade is over; from now on members are made from the new configuration.
    pub(super) fn upgraded(&mut self, name: &str, how: &str, now_ms: u64) {
        let Some(care) = self.care_mut(name) else {
            return;
        };
        let Some(upgrade) = care.upgrade.take() else {
            return;
        };
        let source = upgrade.order.to.source.clone();
        care.plan.member = upgrade.order.to;
        care.plan.standby = None;
        care.version += 1;
        care.renew = true;
        self.actions.push_back(Action::Save);
        let detail = format!(
            "{how}; members come from {source}, standbys are replaced one after the other (put it into the group file, too)"
        );
        self.tell_upgrade(name, EventKind::UpgradeDone, detail, now_ms);
    }

    fn tell_upgrade(&mut self, name: &str, kind: EventKind, detail: String, now_ms: u64) {
        self.tell(now_ms, kind, None, Some(name.to_owned()), detail);
    }
}

fn begin(upgrade: &Upgrade) -> Option<Change> {
    let interface = upgrade.new.as_ref()?.interface.clone();
    Some(Change::Begin {
        interface,
        drain_ms: upgrade.order.drain_ms,
    })
}
