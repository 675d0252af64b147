// SPDX-License-Identifier: GPL-3.0-only
//! When a connection is looked at, when it is put to sleep, and what it holds.

use std::cmp::Reverse;

use super::super::dormant::Dormant;
use super::{Slot, Table};
use crate::conn::{Connection, State};
use crate::frame::Time;

impl Table {
    /// Settles what the connection holds: others may take what is left.
    pub(in super::super) fn settle(&mut self, slot: usize) {
        self.touch(slot);
        if let Some(Slot::Awake(connection)) = self.slots.get_mut(slot) {
            let holds = connection.memory();
            self.budget.settle(&mut connection.account, holds);
        }
    }

    /// See [`super::super::Engine::longest_log`].
    #[cfg(any(test, feature = "sim"))]
    pub(in super::super) fn longest_log(&self) -> usize {
        let awake = self.slots.iter().filter_map(|slot| match slot {
            Slot::Awake(connection) => Some(connection.log_memory()),
            Slot::Empty | Slot::Dormant(_) => None,
        });
        awake.max().unwrap_or(0)
    }

    /// Settles what the connection holds, and sees to it that it is woken when something is due. It may be woken early,
    /// never late.
    pub(in super::super) fn schedule(&mut self, slot: usize) {
        self.settle(slot);
        if let Some(Slot::Awake(connection)) = self.slots.get_mut(slot) {
            let due = connection.deadline();
            let due = due.min(connection.active.after(self.doze));
            if connection.wake.is_none_or(|wake| due < wake) {
                connection.wake = Some(due);
                self.wakes.push(Reverse((due, slot as u32)));
            }
        }
    }

    /// A connection for which something is due. Those that have been quiet are put to sleep.
    /// `settle`: does what can be done before a connection is put to sleep.
    pub(in super::super) fn pop_due(
        &mut self,
        now: Time,
        settle: impl Fn(&mut Connection),
    ) -> Option<usize> {
        let doze = self.doze;
        while let Some(&Reverse((due, slot))) = self.wakes.peek() {
            if due > now {
                return None;
            }
            self.wakes.pop();
            let slot = slot as usize;
            let wake = match self.slots.get(slot) {
                Some(Slot::Awake(connection)) => connection.wake,
                Some(Slot::Dormant(dormant)) => Some(dormant.wake),
                Some(Slot::Empty) | None => continue,
            };
            if wake != Some(due) {
                continue;
            }
            let Some(connection) = self.get(slot) else {
                continue;
            };
            connection.wake = None;
            if connection.deadline() <= now {
                return Some(slot);
            }
            if connection.active.after(doze) <= now {
                settle(connection);
            }
            if !self.put_to_sleep(slot, now) {
                self.schedule_later(slot, now);
            }
        }
        None
    }

    /// As [`Table::schedule`], of a connection that cannot sleep now: it is asked again after a while.
    fn schedule_later(&mut self, slot: usize, now: Time) {
        if let Some(Slot::Awake(connection)) = self.slots.get_mut(slot) {
            let quiet = connection.active.after(self.doze);
            let again = if matches!(connection.state, State::Closed | State::Orphaned) {
                // It never sleeps.
                connection.deadline()
            } else if quiet > now {
                quiet
            } else {
                now.after(self.doze)
            };
            let due = connection.deadline().min(again);
            connection.wake = Some(due);
            self.wakes.push(Reverse((due, slot as u32)));
        }
    }

    /// Keeps a connection as its image if it has been quiet for long enough. False: it stays awake.
    fn put_to_sleep(&mut self, slot: usize, now: Time) -> bool {
        let Some(Slot::Awake(connection)) = self.slots.get(slot) else {
            return false;
        };
        if connection.active.after(self.doze) > now {
            return false;
        }
        let (north, south) = Self::keys(connection);
        let wake = connection.deadline();
        if north != south {
            return false;
        }
        let dormant = Dormant::new(connection, north, wake, &mut self.cells);
        let Some(mut dormant) = dormant else {
            return false;
        };
        // As when it is awake: it may be woken when nothing is left.
        let holds = connection.memory();
        self.budget.settle(&mut dormant.account, holds);
        self.slots[slot] = Slot::Dormant(dormant);
        self.dozed += 1;
        self.wakes.push(Reverse((wake, slot as u32)));
        true
    }

    pub(in super::super) fn next_wake(&self) -> Option<Time> {
        self.wakes.peek().map(|&Reverse((due, _))| due)
    }
}
