// SPDX-License-Identifier: GPL-3.0-only
//! Moving a group to its first standby.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::{Engine, EngineError, Event, Group, Role};
use crate::conn::{Orphan, Progress, State};
use crate::control::FailoverStatus;
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
        let dead = std::mem::replace(&mut state.ports.active, state.ports.standbys.remove(0));
        state.spec.active = state.spec.standbys.remove(0);
        for (port, _, role) in &mut self.ports {
            if *port == dead {
                *role = Role::Dead;
            } else if *port == state.ports.active {
                *role = Role::Active;
            }
        }
        let number = state.progress.as_ref().map_or(0, |last| last.status.number) + 1;
        state.progress = Some(Progress {
            group: group.to_owned(),
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
        (state.queue, state.settled) = (VecDeque::new(), 0);
        self.fragments.forget(index, false);
        self.announce(out);
        let (moving, telling) = self.sort_orphans(now, index, out);
        self.events.push(Event::FailoverStarted {
            group: group.to_owned(),
            number,
            reason: reason.to_owned(),
            connections: moving.len() as u64,
        });
        self.move_all(now, index, &moving, out);
        self.start_all(now, index, &telling, out);
        let waiting = [moving, telling].concat();
        self.await_openings(index, &waiting);
        Ok(dead)
    }

    /// Sees to the connections that are not moved, and gives those that are, and those that may be told again.
    fn sort_orphans(
        &mut self,
        now: Time,
        index: usize,
        out: &mut dyn Output,
    ) -> (Vec<usize>, Vec<usize>) {
        let (mut moving, mut telling) = (Vec::new(), Vec::new());
        let slots = self.table.of_group(index);
        let given_up = self.old_half_open(&slots);
        for slot in slots {
            let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
            else {
                continue;
            };
            let service = connection.service;
            let mut cx = group.context(service, now, out, &mut self.events, &mut self.scratch);
            let mut orphan = connection.orphan(&mut cx);
            if given_up.contains(&slot) {
                orphan = Orphan::Forget;
            }
            // A replacement that opens a connection resolves the peer's address itself.
            let opened_by_client = connection.outbound.is_none();
            if matches!(orphan, Orphan::AskAgain | Orphan::Move) && opened_by_client {
                group.solicit(&connection.path, out, &mut self.scratch);
            }
            match orphan {
                Orphan::AskAgain => {
                    let mut cx =
                        group.context(service, now, out, &mut self.events, &mut self.scratch);
                    connection.ask_again(&mut cx);
                }
                Orphan::Move => moving.push(slot),
                Orphan::Retell => telling.push(slot),
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
            progress.check_done(now, &mut self.events);
        }
        self.start_all(now, index, moving, out);
    }

    fn start_all(&mut self, now: Time, index: usize, slots: &[usize], out: &mut dyn Output) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let mut place = 0;
        for &slot in slots {
            let (service, age) = self
                .table
                .get(slot)
                .map_or((0, 0), |it| (it.service, it.age()));
            let turn = if age < OLD { None } else { turn(place) };
            place += usize::from(age >= OLD);
            let mut cx = group.context(service, now, out, &mut self.events, &mut self.scratch);
            self.table
                .rename(slot, |connection| connection.start_recovery(turn, &mut cx));
            self.table.schedule(slot);
            if turn.is_some() {
                group.queue.push_back(slot);
            }
        }
    }

    /// For each connection that has been moved, another of those that wait is begun.
    pub(super) fn start_queued(&mut self, now: Time, index: usize, out: &mut dyn Output) {
        let waits = |group: &&mut Group| !group.queue.is_empty();
        let Some(group) = self.groups[index].as_mut().filter(waits) else {
            return;
        };
        let settled = group.progress.as_ref().map_or(0, |progress| {
            progress.status.recovered + progress.status.lost
        });
        while group.settled < settled
            && let Some(slot) = group.queue.pop_front()
        {
            let Some(connection) = self.table.get(slot).filter(|it| it.group == index) else {
                continue;
            };
            let service = connection.service;
            let mut cx = group.context(service, now, out, &mut self.events, &mut self.scratch);
            if connection.start_now(&mut cx) {
                group.settled += 1;
                self.table.schedule(slot);
            }
        }
    }
}
