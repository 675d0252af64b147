// SPDX-License-Identifier: GPL-3.0-only
//! When each connection of an upgrade is moved.
//!
//! At rest, as soon as its own segments show that it rests; a look at those that wait, now and then, finds the others. When
//! time is up, those that can be replayed are moved a few at a time, so that the rest is served meanwhile. What must not
//! be done twice waits on, until it rests or the upgrade is finished.

use std::time::Duration;

use super::super::group::Group;
use super::super::{Engine, Event};
use crate::conn::{Orphan, Planned, State, Verdict};
use crate::control::UpgradeEnd;
use crate::frame::{Output, Time};
use crate::service::{Link, Verb};

/// How often those that wait are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How many are moved at the same time in the middle of something: see `failover`.
const AT_ONCE: usize = 32;

impl Engine {
    /// Notes which connections are with the server that is left. Returns how many are protected.
    pub(super) fn find_waiting(&mut self, index: usize) -> u64 {
        let left = self.groups[index].as_ref().and_then(Group::leaving);
        let Some((left, _)) = left else {
            return 0;
        };
        let mut waiting = Vec::new();
        for slot in self.table.of_group(index) {
            let Some(connection) = self.table.get(slot) else {
                continue;
            };
            let lives = matches!(
                connection.state,
                State::Opening | State::Established | State::Recovering
            );
            if connection.server_number == left && connection.protected && lives {
                waiting.push((slot, connection.generation));
            }
            self.table.schedule(slot);
        }
        let count = waiting.len() as u64;
        if let Some(group) = &mut self.groups[index]
            && let Some(upgrade) = &mut group.upgrade
        {
            upgrade.status.waiting = count;
            upgrade.waiting = waiting;
        }
        count
    }

    /// Does what has become due of the upgrades under way.
    pub(in super::super) fn upgrades_due(&mut self, now: Time, out: &mut dyn Output) {
        for index in 0..self.groups.len() {
            let upgrade = self.groups[index]
                .as_ref()
                .and_then(|it| it.upgrade.as_ref());
            if upgrade
                .and_then(super::Upgrade::due)
                .is_some_and(|due| due <= now)
            {
                self.look_at_waiting(now, index, out);
            }
        }
    }

    /// When an upgrade has something to do.
    pub(in super::super) fn next_upgrade(&self) -> Option<Time> {
        let groups = self.groups.iter().flatten();
        groups.filter_map(|it| it.upgrade.as_ref()?.due()).min()
    }

    /// Moves what can be moved now of the connections that wait.
    pub(super) fn look_at_waiting(&mut self, now: Time, index: usize, out: &mut dyn Output) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let Some((left, _)) = group.leaving() else {
            return;
        };
        let Some(upgrade) = &mut group.upgrade else {
            return;
        };
        upgrade.look_at = now.after(LOOK);
        if !upgrade.overdue && upgrade.overdue_at <= now {
            upgrade.overdue = true;
            let (group, waiting) = (group.spec.name.clone(), upgrade.status.waiting);
            if waiting > 0 {
                self.desk
                    .events
                    .push(Event::UpgradeOverdue { group, waiting });
            }
        }
        let overdue = upgrade.overdue;
        let waiting = std::mem::take(&mut upgrade.waiting);
        let mut replaying = std::mem::take(&mut upgrade.replaying);
        replaying.retain(|&(slot, generation)| {
            let known = self.table.peek(slot);
            known.is_some_and(|it| it.generation == generation && it.planned == Planned::Replay)
        });
        let mut still = Vec::with_capacity(waiting.len());
        for (slot, generation) in waiting {
            if self
                .table
                .dormant(slot)
                .is_some_and(|it| it.generation() == generation)
                && !overdue
            {
                // Nothing has happened to it since it was looked at.
                still.push((slot, generation));
                continue;
            }
            let Some(connection) = self.table.get(slot) else {
                continue;
            };
            let lives = matches!(
                connection.state,
                State::Opening | State::Established | State::Recovering
            );
            let same = connection.generation == generation;
            let on_its_way = same && connection.planned.moves() && lives;
            let waits = same && connection.server_number == left && connection.protected && lives;
            if let Some(group) = self.groups[index].as_mut().filter(|_| waits) {
                // What was asked may have become whole after its answer.
                let service = connection.service;
                let mut cx = group.context(service, left, now, out, &mut self.desk);
                connection.consider_truncation(&mut cx);
            }
            let room = overdue && replaying.len() < AT_ONCE;
            let rests = waits && connection.planned != Planned::Returned && connection.rests();
            let replays = waits && !rests && room && connection.may_be_replayed();
            self.table.schedule(slot);
            if rests {
                self.move_one(now, slot, Planned::Quiet, out);
                still.push((slot, generation));
            } else if replays && !self.is_tied(index, slot) {
                self.move_one(now, slot, Planned::Replay, out);
                replaying.push((slot, generation));
                still.push((slot, generation));
            } else if waits || on_its_way {
                still.push((slot, generation));
            }
        }
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let Some(upgrade) = &mut group.upgrade else {
            return;
        };
        upgrade.status.waiting = still.len() as u64;
        (upgrade.waiting, upgrade.replaying) = (still, replaying);
        if upgrade.status.waiting == 0 && upgrade.status.drained_us.is_none() {
            let took_us = now.since(upgrade.began).as_micros() as u64;
            upgrade.status.drained_us = Some(took_us);
            self.desk.events.push(Event::UpgradeDrained {
                group: group.spec.name.clone(),
                quiet: upgrade.status.moved_quiet,
                replayed: upgrade.status.moved_by_replay,
                lost: upgrade.status.lost,
                took_us,
            });
        }
    }

    /// Whether it waits for another connection that belongs to it: what is transferred there the old server, which lives,
    /// would go on with. One that was announced is moved with who announced it only.
    fn is_tied(&mut self, index: usize, slot: usize) -> bool {
        let Some(connection) = self.table.get(slot) else {
            return false;
        };
        let (ends, link) = (connection.ends(), connection.link());
        self.table.schedule(slot);
        match link {
            None => return false,
            Some(Link::To(_)) => return true,
            Some(Link::Expects(..) | Link::Opens(_)) => {}
        }
        let linked = self.linked_slot(index, ends);
        let known = linked.and_then(|slot| self.table.get(slot));
        let tied = known.is_some_and(|it| matches!(it.state, State::Opening | State::Established));
        if let Some(linked) = linked {
            self.table.schedule(linked);
        }
        tied
    }

    /// A connection's frame or timer has been seen to. If that shows that it is to be moved, or that a move has failed, it
    /// is; says so.
    pub(in super::super) fn follow(
        &mut self,
        now: Time,
        slot: usize,
        verdict: Verdict,
        out: &mut dyn Output,
    ) -> bool {
        let Some(connection) = self.table.peek(slot) else {
            return false;
        };
        let group = self.groups[connection.group].as_ref();
        let Some((left, _)) = group.and_then(Group::leaving) else {
            return false;
        };
        let stays = connection.planned == Planned::Returned;
        let planned = if connection.goes_back {
            Planned::Back
        } else if verdict == Verdict::Move
            || (connection.server_number == left && !stays && connection.rests())
        {
            Planned::Quiet
        } else {
            return false;
        };
        self.move_one(now, slot, planned, out);
        true
    }

    /// Moves a connection to the other of the two servers.
    fn move_one(&mut self, now: Time, slot: usize, planned: Planned, out: &mut dyn Output) {
        let Some(connection) = self.table.get(slot) else {
            return;
        };
        let Some(group) = &mut self.groups[connection.group] else {
            return;
        };
        let Some((left, _)) = group.leaving() else {
            return;
        };
        let (service, from) = (connection.service, connection.server_number);
        let to = if from == left { group.number } else { left };
        let mut cx = group.context(service, from, now, out, &mut self.desk);
        if planned != Planned::Back {
            connection.leave_server(&mut cx);
        }
        connection.server_number = to;
        let index = connection.group;
        self.plan_links(index, &[slot], &[]);
        let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
        else {
            return;
        };
        if to == group.number {
            group.solicit(&connection.path, out, &mut self.desk.scratch);
        }
        let mut cx = group.context(service, to, now, out, &mut self.desk);
        connection.start_planned(planned, &mut cx);
        self.table.schedule(slot);
    }

    /// The connections that are with the server that is left, each told to it as over.
    pub(super) fn leave_all(
        &mut self,
        now: Time,
        index: usize,
        left: u32,
        out: &mut dyn Output,
    ) -> Vec<usize> {
        let mut slots = self.table.of_group(index);
        slots.retain(|&slot| {
            let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
            else {
                return false;
            };
            let here = connection.server_number == left;
            let lives = matches!(connection.state, State::Established | State::Recovering);
            if here && lives && connection.protected {
                let service = connection.service;
                let mut cx = group.context(service, left, now, out, &mut self.desk);
                connection.leave_server(&mut cx);
            }
            self.table.schedule(slot);
            here
        });
        slots
    }

    /// Before [`Self::move_last`] of any: what becomes of what this one has announced. With a connection that has come the new
    /// server cannot go on: the old one lives, and may. One that has still to come goes to the new one.
    pub(super) fn plan_last(&mut self, index: usize, slot: usize) {
        let ends = self.table.peek(slot).map(|connection| connection.ends());
        let links = self.groups[index].as_ref().map(|group| &group.links);
        let newest = ends.zip(links).and_then(|(ends, links)| links.newest(ends));
        if let Some(come) = newest.map(|it| it.linked.is_some()) {
            let given_up = [slot];
            self.plan_links(index, &given_up, if come { &given_up } else { &[] });
        }
    }

    /// The upgrade is over, and this connection was still with the server that was left.
    pub(super) fn move_last(&mut self, now: Time, index: usize, slot: usize, out: &mut dyn Output) {
        let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
        else {
            return;
        };
        let (service, number) = (connection.service, group.number);
        connection.server_number = number;
        let rests = connection.rests();
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        match connection.orphan(&mut cx) {
            Orphan::AskAgain => connection.ask_again(&mut cx),
            Orphan::Move if connection.outbound.is_some() => connection.end_planned(&mut cx),
            Orphan::Move => {
                let planned = if rests {
                    Planned::Quiet
                } else {
                    Planned::Replay
                };
                let una = connection.server.una;
                let verb = connection.plugin.as_ref().map(|plugin| plugin.verb(una));
                if matches!(verb, Some(Verb::End(_))) && !rests {
                    connection.end_planned(&mut cx);
                } else {
                    group.solicit(&connection.path, out, &mut self.desk.scratch);
                    let mut cx = group.context(service, number, now, out, &mut self.desk);
                    connection.start_planned(planned, &mut cx);
                }
            }
            Orphan::Keep => {}
            Orphan::Retell | Orphan::Forget => {
                self.table.remove(slot);
                return;
            }
        }
        self.table.schedule(slot);
    }

    /// The server that is left has died: what was with it is moved as at a failover.
    pub(in super::super) fn left_died(
        &mut self,
        now: Time,
        wall_ms: u64,
        index: usize,
        reason: &str,
        out: &mut dyn Output,
    ) {
        let upgrade = self.groups[index]
            .as_ref()
            .and_then(|it| it.upgrade.as_ref());
        let Some(left) = upgrade.and_then(|upgrade| upgrade.leaving) else {
            return;
        };
        let mut slots = self.table.of_group(index);
        slots.retain(|&slot| {
            let here = self
                .table
                .get(slot)
                .is_some_and(|it| it.server_number == left);
            self.table.schedule(slot);
            here
        });
        let count = slots.len() as u64;
        if self.has_left(index) {
            self.close_left(index, UpgradeEnd::LeftDied, count, out);
        }
        self.note_end(index, UpgradeEnd::LeftDied, count);
        self.rescue(now, wall_ms, index, reason, slots, out);
    }
}
