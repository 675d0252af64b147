// SPDX-License-Identifier: GPL-3.0-only
//! Which connections have changed since the journal was last told.

use super::{Slot, Table};
use crate::journal::Mark;

/// What the journal has to be told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// These can wait for a moment. Some may have been written since.
    touched: Vec<usize>,
    /// These must be written before the next frame is sent.
    urgent: Vec<usize>,
    pub(super) gone: Vec<usize>,
    /// What is touched now cannot wait.
    hurry: bool,
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

    /// Whether what is touched from now on must be in the journal before the next frame leaves.
    pub(in super::super) fn hurry(&mut self, hurry: bool) {
        if let Some(journal) = &mut self.journal {
            journal.hurry = hurry;
        }
    }

    pub(in super::super) fn has_urgent(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| !journal.urgent.is_empty())
    }

    /// A slot whose connection has changed in what must be written now.
    pub(in super::super) fn next_urgent(&mut self) -> Option<usize> {
        self.journal.as_mut()?.urgent.pop()
    }

    /// A slot whose connection may have changed in what could wait.
    pub(in super::super) fn next_touched(&mut self) -> Option<usize> {
        while let Some(slot) = self.journal.as_mut()?.touched.pop() {
            if self.peek(slot).is_some_and(|it| it.mark.touched) {
                return Some(slot);
            }
        }
        None
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
        {
            let mark = &mut connection.mark;
            if journal.hurry && !mark.urgent {
                mark.urgent = true;
                journal.urgent.push(slot);
            } else if !journal.hurry && !mark.touched {
                journal.touched.push(slot);
            }
            mark.touched = true;
        }
    }
}
