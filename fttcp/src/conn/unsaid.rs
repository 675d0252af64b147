// SPDX-License-Identifier: GPL-3.0-only
//! Closes that a server means and did not announce.
//!
//! Some servers close behind each answer without a word of it (tinyproxy). Held for `fin_hold_ms`, such a close makes a
//! client that uses its connection again wait for as long. That a service has this habit is learnt from its closes that
//! turned out to be meant; from then on a FIN or RST that directly follows an answer passes at once. A server that
//! dies sends such ones, too; but of a server with this habit a client would have got them in any case.

use std::cell::Cell;
use std::time::Duration;

use crate::frame::Time;

/// So many closes make a habit.
const HABIT: u8 = 3;

/// What is known of a service's closes.
#[derive(Debug, Default)]
pub(crate) struct Unsaid {
    seen: Cell<u8>,
    /// From then on it is a habit: the last of those that made it was not the close of a dying server.
    from: Cell<Option<Time>>,
}

impl Unsaid {
    /// A FIN or RST came directly behind an answer. In `hold` it is known whether the server died.
    pub(crate) fn note(&self, now: Time, hold: Duration) {
        if self.from.get().is_none() {
            self.seen.set(self.seen.get() + 1);
            if self.seen.get() == HABIT {
                self.from.set(Some(now.after(hold)));
            }
        }
    }

    /// The server has died: what was seen last may have been that, and the next server may have other habits.
    pub(crate) fn forget(&self) {
        self.seen.set(0);
        self.from.set(None);
    }

    pub(crate) fn is_usual(&self, now: Time) -> bool {
        self.from.get().is_some_and(|from| now >= from)
    }
}
