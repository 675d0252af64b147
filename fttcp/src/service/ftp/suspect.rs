// SPDX-License-Identifier: GPL-3.0-only
//! The command that a server was at when it died, and may have died of.
//!
//! What comes of a transfer that has begun comes on the data connection: that it may be there at any number of deaths while
//! nothing is said here proves nothing by itself.

use super::command::{Means, words};
use super::{Answered, Asked, Ftp};
use crate::service::UnderWay;

impl Asked {
    /// Whether it may hold a password.
    fn is_secret(&self) -> bool {
        matches!(self.means, Some(Means::Login) | None) || words(&self.line).0 == b"SITE"
    }
}

impl Ftp {
    /// See [`crate::service::Service::under_way`].
    pub(super) fn command_under_way(&self, end: u64) -> Option<UnderWay> {
        // While everything is said again to a replacement, it is not known how far that one is.
        let knows_all = self.greeted && !self.foreign && self.lines.at() >= end;
        let first = self.waiting.front()?;
        let before = self.answered.iter().rev().find_map(Answered::command_end);
        let start = before.unwrap_or(self.at.client);
        (knows_all && start < first.end).then(|| UnderWay {
            request: start..first.end,
            untouched: self.lines.is_between() && !self.replies.is_open(),
            secret: first.is_secret(),
            linked: first.begun.is_some() && first.means.is_some_and(Means::is_transfer),
        })
    }
}
