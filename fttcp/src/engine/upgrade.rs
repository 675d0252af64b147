// SPDX-License-Identifier: GPL-3.0-only
//! Moving a group from one living server to another: begin, rollback, finish.
//!
//! While an upgrade is under way the group has two servers with the same addresses: the active one, which gets
//! everything that is new, and the one that is left, which is the first of the standbys and keeps its connections until
//! each of them is moved (`moves`). Connections name their server by a number, so that nothing is to be done for them when
//! the two change places. Frames that are of no known connection: `strangers`.

mod moves;
mod strangers;

use serde::{Deserialize, Serialize};

use super::probe::Heard;
use super::{Engine, EngineError, Event, Role};
use crate::control::{UpgradeEnd, UpgradeStatus};
use crate::frame::{Output, PortId, Time};

use strangers::Newcomers;

/// An upgrade, under way or last done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Upgrade {
    pub(crate) status: UpgradeStatus,
    /// The number of the server that is left; `None`: it is over.
    pub(crate) leaving: Option<u32>,
    pub(super) drain_us: u64,
    pub(super) began: Time,
    pub(super) overdue_at: Time,
    pub(super) overdue: bool,
    /// When the connections that have not left are looked at.
    pub(super) look_at: Time,
    /// These, by slot and generation; also some that have left.
    #[serde(skip)]
    pub(super) waiting: Vec<(usize, u32)>,
    /// Those of them that are being moved in the middle of something.
    #[serde(skip)]
    pub(super) replaying: Vec<(usize, u32)>,
    #[serde(skip)]
    pub(super) newcomers: Newcomers,
}

impl Upgrade {
    /// Moves its times to another clock.
    pub(super) fn change_clock(&mut self, from: Time, to: Time) {
        for time in [&mut self.began, &mut self.overdue_at, &mut self.look_at] {
            *time = time.moved(from, to);
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Time> {
        self.leaving.map(|_| self.look_at)
    }

    /// The interface of the server that is left.
    fn left_interface(&self) -> &str {
        if self.status.rolled_back {
            &self.status.to
        } else {
            &self.status.from
        }
    }
}

impl Engine {
    /// Begins to move a group's connections to the standby at `interface`, which lives, as the active server does.
    ///
    /// # Errors
    /// There is no such group or standby, or an upgrade is under way.
    pub fn upgrade(
        &mut self,
        now: Time,
        group: &str,
        interface: &str,
        drain_ms: u32,
        out: &mut impl Output,
    ) -> Result<(), EngineError> {
        self.regrouped();
        self.journaled(now, out, |engine, out| {
            engine.begin_upgrade(now, group, interface, drain_ms, out)
        })
    }

    fn begin_upgrade(
        &mut self,
        now: Time,
        name: &str,
        interface: &str,
        drain_ms: u32,
        out: &mut dyn Output,
    ) -> Result<(), EngineError> {
        let index = self.find(name)?;
        let Some(group) = &mut self.groups[index] else {
            return Err(EngineError::NoGroup(name.to_owned()));
        };
        if group.leaving().is_some() {
            let status = group.upgrade.as_ref().map(|upgrade| &upgrade.status);
            return Err(EngineError::UpgradeUnderWay {
                group: name.to_owned(),
                from: status.map(|it| it.from.clone()).unwrap_or_default(),
                to: status.map(|it| it.to.clone()).unwrap_or_default(),
            });
        }
        let place = group.spec.standbys.iter().position(|it| it == interface);
        let Some(place) = place else {
            return Err(EngineError::NoSuchStandby {
                group: name.to_owned(),
                interface: interface.to_owned(),
                standbys: group.spec.standbys.join(", "),
            });
        };
        let status = UpgradeStatus {
            from: group.spec.active.clone(),
            to: interface.to_owned(),
            ..UpgradeStatus::default()
        };
        group.ports.standbys[..=place].rotate_right(1);
        group.spec.standbys[..=place].rotate_right(1);
        let leaving = group.number;
        group.number = group.next_number();
        group.upgrade = Some(Upgrade {
            status,
            leaving: Some(leaving),
            drain_us: u64::from(drain_ms) * 1000,
            began: now,
            overdue_at: now,
            overdue: false,
            look_at: now,
            waiting: Vec::new(),
            replaying: Vec::new(),
            newcomers: Newcomers::default(),
        });
        self.turn(now, index, out);
        Ok(())
    }

    /// Moves the connections back to the server that they came from.
    ///
    /// # Errors
    /// There is no such group, or nothing to roll back.
    pub fn rollback(
        &mut self,
        now: Time,
        group: &str,
        out: &mut impl Output,
    ) -> Result<(), EngineError> {
        self.regrouped();
        self.journaled(now, out, |engine, out| {
            engine.begin_rollback(now, group, out)
        })
    }

    fn begin_rollback(
        &mut self,
        now: Time,
        name: &str,
        out: &mut dyn Output,
    ) -> Result<(), EngineError> {
        let index = self.find(name)?;
        let nothing = |why| {
            Err(EngineError::NothingToRollBack {
                group: name.to_owned(),
                why,
            })
        };
        let Some(group) = &mut self.groups[index] else {
            return Err(EngineError::NoGroup(name.to_owned()));
        };
        let Some(upgrade) = group.upgrade.as_mut().filter(|it| it.leaving.is_some()) else {
            return nothing(
                "no upgrade is under way; one that was finished can be undone by another upgrade",
            );
        };
        if upgrade.status.rolled_back {
            return nothing("it has been rolled back already; finish it, then begin another");
        }
        let active = group.number;
        if let Some(old) = upgrade.leaving.replace(active) {
            group.number = old;
        }
        upgrade.status = UpgradeStatus {
            from: std::mem::take(&mut upgrade.status.from),
            to: std::mem::take(&mut upgrade.status.to),
            rolled_back: true,
            lost: upgrade.status.lost,
            ..UpgradeStatus::default()
        };
        self.turn(now, index, out);
        Ok(())
    }

    /// The first standby, which lives, becomes the active server, and the active one the first standby. Begins to move
    /// connections from the latter.
    fn turn(&mut self, now: Time, index: usize, out: &mut dyn Output) {
        // What the fast path forwards, it forwards to one server only.
        for slot in self.table.of_group(index) {
            self.take_back(now, slot, out);
        }
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let (ports, spec) = (&mut group.ports, &mut group.spec);
        if let (Some(port), Some(interface)) =
            (ports.standbys.first_mut(), spec.standbys.first_mut())
        {
            std::mem::swap(&mut ports.active, port);
            std::mem::swap(&mut spec.active, interface);
        }
        let (active, leaving) = (ports.active, ports.standbys.first().copied());
        for (port, _, role) in &mut self.ports {
            if *port == active {
                *role = Role::Active;
            } else if Some(*port) == leaving {
                *role = Role::Leaving;
            }
        }
        group.forget_solicited();
        group.heard = Heard::at(now);
        if let Some(upgrade) = &mut group.upgrade {
            (upgrade.began, upgrade.overdue) = (now, false);
            upgrade.overdue_at = now.after(std::time::Duration::from_micros(upgrade.drain_us));
            (upgrade.waiting, upgrade.replaying) = (Vec::new(), Vec::new());
        }
        self.fragments.forget(index, false);
        self.announce(out);
        let waiting = self.find_waiting(index);
        if let Some(group) = &self.groups[index]
            && let Some(upgrade) = &group.upgrade
        {
            self.desk.events.push(Event::UpgradeStarted {
                group: group.spec.name.clone(),
                from: upgrade.left_interface().to_owned(),
                to: group.spec.active.clone(),
                connections: waiting,
                rollback: upgrade.status.rolled_back,
            });
        }
        self.look_at_waiting(now, index, out);
    }

    /// Ends an upgrade: what is still with the server that is left is moved, or ended if it cannot be. Returns that
    /// server's port, which the caller may close.
    ///
    /// # Errors
    /// There is no such group, or no upgrade is under way.
    pub fn finish(
        &mut self,
        now: Time,
        group: &str,
        out: &mut impl Output,
    ) -> Result<PortId, EngineError> {
        self.regrouped();
        self.journaled(now, out, |engine, out| engine.end_upgrade(now, group, out))
    }

    fn end_upgrade(
        &mut self,
        now: Time,
        name: &str,
        out: &mut dyn Output,
    ) -> Result<PortId, EngineError> {
        let index = self.find(name)?;
        let nothing = || EngineError::NothingToFinish(name.to_owned());
        let group = self.groups[index].as_ref().ok_or_else(nothing)?;
        let (left, port) = group.leaving().ok_or_else(nothing)?;
        let slots = self.leave_all(now, index, left, out);
        let count = slots.len() as u64;
        self.close_left(index, UpgradeEnd::Finished, count, out);
        for &slot in &slots {
            self.plan_last(index, slot);
        }
        for slot in slots {
            self.move_last(now, index, slot, out);
        }
        Ok(port)
    }

    /// The server that is left is none of the group's any more.
    pub(super) fn close_left(
        &mut self,
        index: usize,
        end: UpgradeEnd,
        left: u64,
        out: &mut dyn Output,
    ) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        if group.leaving().is_none() {
            return;
        }
        let port = group.ports.standbys.remove(0);
        group.spec.standbys.remove(0);
        for entry in &mut self.ports {
            if entry.0 == port {
                entry.2 = Role::Dead;
            }
        }
        self.note_end(index, end, left);
        self.announce(out);
    }

    /// The server at `interface` is dead, be it the active one, the one that is left, or a standby. Returns its port.
    ///
    /// # Errors
    /// There is no such group or interface; or it is the active one's, and the group has no standby.
    pub fn server_died(
        &mut self,
        now: Time,
        wall_ms: u64,
        (group, interface): (&str, &str),
        reason: &str,
        out: &mut impl Output,
    ) -> Result<PortId, EngineError> {
        let index = self.find(group)?;
        let known = |index: usize| self.groups[index].as_ref();
        let spec = known(index).map(|it| &it.spec);
        if spec.is_some_and(|spec| spec.active == interface) {
            return self.failover(now, wall_ms, group, reason, out);
        }
        let place = spec.and_then(|spec| spec.standbys.iter().position(|it| it == interface));
        let port = place.and_then(|at| known(index)?.ports.standbys.get(at).copied());
        let Some(port) = port else {
            let spec = spec.cloned().unwrap_or_default();
            let all = [vec![spec.active], spec.standbys].concat();
            return Err(EngineError::NoSuchServer {
                group: group.to_owned(),
                interface: interface.to_owned(),
                known: all.join(", "),
            });
        };
        self.lose_standby(now, wall_ms, port, reason, out);
        Ok(port)
    }

    /// The interface of a standby is gone, or its server is dead: it must not be failed over to. If connections are being
    /// moved from there, they are moved as at a failover. Returns the group's name; `None` if the port is no standby's.
    pub fn lose_standby(
        &mut self,
        now: Time,
        wall_ms: u64,
        port: PortId,
        reason: &str,
        out: &mut impl Output,
    ) -> Option<String> {
        let &(_, index, role) = self.ports.iter().find(|entry| entry.0 == port)?;
        if role != Role::Leaving {
            return self.remove_standby(port).map(str::to_owned);
        }
        self.regrouped();
        self.journaled(now, out, |engine, out| {
            engine.left_died(now, wall_ms, index, reason, out);
        });
        Some(self.groups[index].as_ref()?.spec.name.clone())
    }

    /// The upgrade is over.
    pub(super) fn note_end(&mut self, index: usize, end: UpgradeEnd, left: u64) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let Some(upgrade) = group.upgrade.as_mut().filter(|it| it.leaving.is_some()) else {
            return;
        };
        upgrade.leaving = None;
        upgrade.status.waiting = 0;
        upgrade.status.ended = Some(end);
        (upgrade.waiting, upgrade.replaying) = (Vec::new(), Vec::new());
        upgrade.newcomers = Newcomers::default();
        self.desk.events.push(Event::UpgradeEnded {
            group: group.spec.name.clone(),
            with: group.spec.active.clone(),
            end,
            left,
        });
    }

    /// Whether the server that is left is the first standby: a logger that was started anew may not have found it.
    pub(super) fn has_left(&self, index: usize) -> bool {
        let group = self.groups[index].as_ref();
        group.is_some_and(|group| {
            let left = group.upgrade.as_ref().map(Upgrade::left_interface);
            left.is_some() && group.spec.standbys.first().map(String::as_str) == left
        })
    }

    /// After a group was taken in from an image.
    pub(super) fn resume_upgrade(&mut self, now: Time, index: usize, out: &mut dyn Output) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let Some(upgrade) = group.upgrade.as_mut().filter(|it| it.leaving.is_some()) else {
            return;
        };
        upgrade.newcomers = Newcomers::unknown();
        if self.has_left(index) {
            let port = self.groups[index].as_ref().map(|it| it.ports.standbys[0]);
            for entry in &mut self.ports {
                if Some(entry.0) == port {
                    entry.2 = Role::Leaving;
                }
            }
            self.find_waiting(index);
        } else {
            let reason = "its interface was gone when the logger began again";
            self.left_died(now, 0, index, reason, out);
        }
    }
}
