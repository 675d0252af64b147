// SPDX-License-Identifier: GPL-3.0-only
//! A transfer that no other server can go on with: its data connection is over, or how much of it was done is not known. The
//! dead server would have said so, and the logger does in its place. Another server is not told of the transfer: without a
//! data connection, most refuse it, but there are some that wait for one, and would do it with the next (pyftpdlib).

use super::Ftp;
use super::again::Again;
use super::command::Means;
use crate::service::{News, Service};

impl Ftp {
    /// Whether a transfer waits first whose data connection was announced.
    fn transfers(&self) -> bool {
        let first = self.waiting.front().and_then(|asked| asked.means);
        first.is_some_and(Means::is_transfer) && self.expected.is_some()
    }

    /// Whether another server can go on with it.
    fn goes_on(&self) -> bool {
        let first = self.waiting.front().filter(|_| !self.cautious);
        let Some((asked, stands)) = first.zip(self.linked) else {
            return false;
        };
        if asked.begun.is_some() {
            Again::of(asked, &self.known().session, stands).is_some()
        } else {
            !self.is_done_perhaps(stands)
        }
    }

    /// The server is dead, and it is known how the data connection stands.
    pub(super) fn abort_what_is_lost(&mut self, acknowledged: u64) {
        if !self.transfers() || self.goes_on() {
            return;
        }
        let begun = self.waiting.front().is_some_and(|it| it.begun.is_some());
        let said: &[u8] = if begun {
            b"426 Transfer aborted.\r\n"
        } else {
            b"425 No data connection.\r\n"
        };
        // Half a reply has been said: which, only another server can tell.
        let whole = self.lines.is_between() && !self.replies.is_open();
        if whole && self.plan(acknowledged).is_some() {
            self.server_bytes(self.lines.at(), said);
            self.ended_here = true;
            self.answer_abort(acknowledged);
        }
    }

    /// A client that has ended its transfer with ABOR is answered that, too: there is no transfer any more, and without one
    /// pure-ftpd says nothing at all to an ABOR behind Telnet's signs, which is how lftp says it.
    pub(super) fn answer_abort(&mut self, acknowledged: u64) -> bool {
        let first = self.waiting.front().and_then(|asked| asked.means);
        let due = first == Some(Means::Abort) && self.plan(acknowledged).is_some();
        if due {
            self.server_bytes(self.lines.at(), b"226 ABOR successful.\r\n");
        }
        due
    }

    pub(super) fn transfer_over(&mut self) {
        self.expected = None;
        self.present = None;
        self.linked = None;
        self.news.push_back(News::Over);
    }
}
