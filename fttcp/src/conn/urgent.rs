// SPDX-License-Identifier: GPL-3.0-only
//! Where a client's urgent data ended (RFC 6093): a replay must set the marks where they were.
//!
//! The urgent pointer is relative, so it passes through unchanged. But FTP's ABOR and Telnet's interrupt rest on the
//! mark in the byte stream: the logger keeps it as a position.

use serde::{Deserialize, Serialize};

/// Most marks kept for one connection; the oldest are forgotten. They come one for each interrupt that a user types.
const LIMIT: usize = 64;

/// Positions after the last urgent byte, in ascending order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Urgent(Vec<u64>);

impl Urgent {
    /// A segment whose first byte is at `at` says that urgent data ends `pointer` bytes further.
    pub(crate) fn note(&mut self, at: u64, pointer: u16) {
        let mark = at + u64::from(pointer);
        if let Err(place) = self.0.binary_search(&mark) {
            self.0.insert(place, mark);
            if self.0.len() > LIMIT {
                self.0.remove(0);
            }
        }
    }

    /// The first mark behind `at`.
    pub(crate) fn after(&self, at: u64) -> Option<u64> {
        let place = self.0.partition_point(|&mark| mark <= at);
        self.0.get(place).copied()
    }

    /// Whether an image of it can be used.
    pub(crate) fn is_sound(&self) -> bool {
        self.0.is_sorted() && self.0.last().is_none_or(|&mark| mark < super::FAR)
    }

    /// Forgets all marks.
    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_27_marks_are_kept_in_order_and_bounded() {
        let mut urgent = Urgent::default();
        for at in [30, 10, 20, 10] {
            urgent.note(at, 1);
        }
        assert_eq!(urgent.0, [11, 21, 31]);
        assert_eq!(urgent.after(0), Some(11));
        assert_eq!(urgent.after(11), Some(21));
        assert_eq!(urgent.after(31), None);
        for at in 100..200 {
            urgent.note(at, 0);
        }
        assert_eq!((urgent.0.len(), urgent.after(0)), (LIMIT, Some(136)));
    }
}
