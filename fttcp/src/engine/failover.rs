// SPDX-License-Identifier: GPL-3.0-only
//! Moving a group to its first standby.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::probe::Heard;
use super::{Engine, EngineError, Event, Group, Role};
use crate::conn::{Orphan, Progress, State};
use crate::control::{FailoverStatus, UpgradeEnd};
use crate::frame::{Output, PortId, Time};

/// So many half-open connections are moved or asked for again: the youngest, whose clients may be about to answer. A flood
/// of them must not keep the established connections waiting.
const HALF_OPEN: usize = 1024;

/// One of which fewer bytes have to be said again is as good as moved.
const OLD: u64 = 16 * 1024;

/// How many of the others are moved at the same time, unless they stand still. More would each get so little of the
/// replacement's time that its TCPs send small segments, each of which costs as much as a large one.
const AT_ONCE: usize = 32;

/// So many more are begun after each such time, though none has been moved.
const ANYWAY: usize = 8;
const PATIENCE: Duration = Duration::from_millis(20);

/// How long the connection at this place waits at most.
fn turn(place: usize) -> Option<Duration> {
    let later = place.checked_sub(AT_ONCE)?;
    u32::try_from(later / ANYWAY + 1)
        .ok()
        .map(|turn| PATIENCE * turn)
}

impl Engine {
    /// Closes the active server's port for ever and moves every protected connection to the first standby.
    ///
    /// `wall_ms` (ms since the UNIX epoch) and `reason` are only reported. Returns the port of the dead server,
    /// which the caller may close.
    ///
    /// # Errors
    /// There is no such group, or it has no standby.
    pub fn failover(
        &mut self,
        now: Time,
        wall_ms: u64,
        group: &str,
        reason: &str,
        out: &mut impl Output,
    ) -> Result<PortId, EngineError> {
        self.regrouped();
        self.journaled(now, out, |engine, out| {
            engine.fail_over(now, wall_ms, group, reason, out)
        })
    }

    fn fail_over(
        &mut self,
        now: Time,
        wall_ms: u64,
        group: &str,
        reason: &str,
        out: &mut dyn Output,
    ) -> Result<PortId, EngineError> {
        let index = self.find(group)?;
        self.cut(now, index, out)?;
        let Some(state) = &mut self.groups[index] else {
            return Err(EngineError::NoGroup(group.to_owned()));
        };
        // The other server of an upgrade keeps what it has.
        let number = match state.leaving() {
            Some((left, _)) => left,
            None => state.next_number(),
        };
        state.number = number;
        for service in &state.services {
            service.unsaid.forget();
        }
        let dead = std::mem::replace(&mut state.ports.active, state.ports.standbys.remove(0));
        state.spec.active = state.spec.standbys.remove(0);
        for (port, _, role) in &mut self.ports {
            if *port == dead {
                *role = Role::Dead;
            } else if *port == state.ports.active {
                *role = Role::Active;
            }
        }
        let mut slots = self.table.of_group(index);
        let all = slots.len();
        slots.retain(|&slot| {
            let stays = self
                .table
                .get(slot)
                .is_some_and(|it| it.server_number == number);
            self.table.schedule(slot);
            !stays
        });
        self.note_end(index, UpgradeEnd::ActiveDied, (all - slots.len()) as u64);
        self.rescue(now, wall_ms, index, reason, slots, out);
        Ok(dead)
    }

    /// Moves the connections of a dead server to the active one.
    pub(super) fn rescue(
        &mut self,
        now: Time,
        wall_ms: u64,
        index: usize,
        reason: &str,
        slots: Vec<usize>,
        out: &mut dyn Output,
    ) {
        let Some(state) = &mut self.groups[index] else {
            return;
        };
        let group = state.spec.name.clone();
        let number = state.progress.as_ref().map_or(0, |last| last.status.number) + 1;
        state.progress = Some(Progress {
            group: group.clone(),
            status: FailoverStatus {
                number,
                reason: reason.to_owned(),
                told_at_ms: wall_ms,
                ..FailoverStatus::default()
            },
            started: now,
            pending: 0,
        });
        state.forget_solicited();
        state.heard = Heard::at(now);
        (state.queue, state.settled) = (VecDeque::new(), 0);
        self.fragments.forget(index, false);
        self.announce(out);
        let (moving, telling) = self.sort_orphans(now, index, slots, out);
        self.desk.events.push(Event::FailoverStarted {
            group,
            number,
            reason: reason.to_owned(),
            connections: moving.len() as u64,
        });
        let given_up = self.poisoned_links(now, index, &moving, out);
        self.plan_links(index, &moving, &given_up);
        self.move_all(now, index, &moving, out);
        self.start_all(now, index, &telling, out);
        let waiting = [moving, telling].concat();
        self.await_openings(index, &waiting);
    }

    /// Sees to the connections that are not moved, and gives those that are, and those that may be told again.
    fn sort_orphans(
        &mut self,
        now: Time,
        index: usize,
        slots: Vec<usize>,
        out: &mut dyn Output,
    ) -> (Vec<usize>, Vec<usize>) {
        let (mut moving, mut telling) = (Vec::new(), Vec::new());
        let given_up = self.old_half_open(&slots);
        let replayed = self.replayed(&slots);
        for slot in slots {
            let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
            else {
                continue;
            };
            let (service, number) = (connection.service, group.number);
            connection.server_number = number;
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            let opening = connection.state == State::Opening;
            let mut orphan = connection.orphan(&mut cx);
            if given_up.contains(&slot) {
                orphan = Orphan::Forget;
            }
            // A replacement that opens a connection resolves the peer's address itself.
            let opened_by_client = connection.outbound.is_none();
            if matches!(orphan, Orphan::AskAgain | Orphan::Move) && opened_by_client {
                group.solicit(&connection.path, out, &mut self.desk.scratch);
            }
            match orphan {
                Orphan::AskAgain => {
                    let mut cx = group.context(service, number, now, out, &mut self.desk);
                    connection.ask_again(&mut cx);
                }
                Orphan::Move => moving.push(slot),
                Orphan::Retell if replayed.may_open_again(connection) => telling.push(slot),
                Orphan::Retell => self.leave_history(slot),
                Orphan::Keep => {}
                Orphan::Forget => {
                    // One that was given up is closed, and has been counted.
                    let lives = connection.state != State::Closed;
                    if lives
                        && opened_by_client
                        && connection.map.is_some()
                        && !connection.protected
                    {
                        group.counters.lost += 1;
                    }
                    if opening && !opened_by_client {
                        group.links.forget_opened(connection.ends());
                    }
                    self.table.remove(slot);
                }
            }
            self.table.schedule(slot);
        }
        // The service may accept them in this order, if all take the same time: it is the order in which they began.
        moving.sort_by_key(|&slot| self.table.get(slot).map(|connection| connection.opened));
        (moving, telling)
    }

    /// The half-open connections that are neither moved nor asked for again.
    fn old_half_open(&mut self, slots: &[usize]) -> HashSet<usize> {
        let mut half_open: Vec<(Time, usize)> = slots
            .iter()
            .filter_map(|&slot| {
                let connection = self.table.get(slot)?;
                connection
                    .is_half_open()
                    .then_some((connection.active, slot))
            })
            .collect();
        half_open.sort_unstable();
        let old = half_open.len().saturating_sub(HALF_OPEN);
        half_open[..old].iter().map(|&(_, slot)| slot).collect()
    }

    fn move_all(&mut self, now: Time, index: usize, moving: &[usize], out: &mut dyn Output) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        if let Some(progress) = &mut group.progress {
            progress.status.connections = moving.len() as u64;
            progress.pending = moving.len() as u64;
            group.aside = true;
            progress.check_done(now, &mut self.desk.events);
        }
        self.start_all(now, index, moving, out);
    }

    fn start_all(&mut self, now: Time, index: usize, slots: &[usize], out: &mut dyn Output) {
        let Some(number) = self.groups[index].as_ref().map(|group| group.number) else {
            return;
        };
        let mut place = 0;
        for &slot in slots {
            let Some(group) = &mut self.groups[index] else {
                return;
            };
            let (service, age) = self
                .table
                .get(slot)
                .map_or((0, 0), |it| (it.service, it.age()));
            let turn = if age < OLD { None } else { turn(place) };
            place += usize::from(age >= OLD);
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            self.table
                .rename(slot, |connection| connection.start_recovery(turn, &mut cx));
            self.table.schedule(slot);
            if turn.is_some() {
                group.queue.push_back(slot);
            }
            if self.groups[index]
                .as_ref()
                .is_some_and(|it| it.announces(service))
            {
                self.follow_news(now, slot, out);
            }
        }
    }

    /// If all connections have been moved, or enough time has passed, those that stepped aside go on.
    fn wake_aside(&mut self, now: Time, index: usize, out: &mut dyn Output) {
        let over = |group: &Group| {
            let progress = group.progress.as_ref();
            group.aside && progress.is_none_or(|progress| progress.is_over(now))
        };
        let Some(group) = self.groups[index].as_mut().filter(|group| over(group)) else {
            return;
        };
        group.aside = false;
        for slot in self.table.of_group(index) {
            let (Some(group), Some(connection)) = (&mut self.groups[index], self.table.get(slot))
            else {
                continue;
            };
            let (service, number) = (connection.service, connection.server_number);
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            if connection.wake(&mut cx) {
                self.table.schedule(slot);
                self.try_offload(now, slot, out);
            }
        }
    }

    /// For each connection that has been moved, another of those that wait is begun.
    pub(super) fn start_queued(&mut self, now: Time, index: usize, out: &mut dyn Output) {
        self.wake_aside(now, index, out);
        let waits = |group: &&mut Group| !group.queue.is_empty();
        let Some(group) = self.groups[index].as_mut().filter(waits) else {
            return;
        };
        let settled = group.progress.as_ref().map_or(0, |progress| {
            progress.status.recovered + progress.status.lost + progress.status.waiting
        });
        while group.settled < settled
            && let Some(slot) = group.queue.pop_front()
        {
            let Some(connection) = self.table.get(slot).filter(|it| it.group == index) else {
                continue;
            };
            let (service, number) = (connection.service, connection.server_number);
            let mut cx = group.context(service, number, now, out, &mut self.desk);
            if connection.start_now(&mut cx) {
                group.settled += 1;
                self.table.schedule(slot);
            }
        }
    }
}
