// SPDX-License-Identifier: GPL-3.0-only
//! Which connections have changed since the journal was last told.

use super::{Slot, Table};
use crate::journal::Mark;

/// What the journal has to be told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    touched: Vec<usize>,
    pub(super) gone: Vec<usize>,
    /// A change of these must be written before the next frame is sent.
    urgent: bool,
}

impl Table {
    /// From now on, changes are noted for the journal; it has nothing of any connection.
    pub(in super::super) fn start_journal(&mut self) {
        self.journal = Some(Changes::default());
        for slot in &mut self.slots {
            match slot {
                Slot::Empty => {}
                Slot::Awake(connection) => connection.mark = Mark::default(),
                Slot::Dormant(dormant) => dormant.journal = 0,
            }
        }
    }

    pub(in super::super) fn stop_journal(&mut self) {
        self.journal = None;
    }

    /// What this turn changes must be in the journal before its frame leaves.
    pub(in super::super) fn urgent(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.urgent = true;
        }
    }

    pub(in super::super) fn take_urgent(&mut self) -> bool {
        let journal = self.journal.as_mut();
        journal.is_some_and(|journal| std::mem::take(&mut journal.urgent))
    }

    /// A slot whose connection may have changed.
    pub(in super::super) fn next_touched(&mut self) -> Option<usize> {
        self.journal.as_mut()?.touched.pop()
    }

    pub(in super::super) fn has_touched(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| !journal.touched.is_empty())
    }

    /// A slot whose connection was forgotten.
    pub(in super::super) fn next_gone(&mut self) -> Option<usize> {
        self.journal.as_mut()?.gone.pop()
    }

    /// The connection may have changed in what the journal keeps.
    pub(in super::super) fn touch(&mut self, slot: usize) {
        if let Some(journal) = &mut self.journal
            && let Some(Slot::Awake(connection)) = self.slots.get_mut(slot)
            && !connection.mark.touched
        {
            connection.mark.touched = true;
            journal.touched.push(slot);
        }
    }
}
