// SPDX-License-Identifier: GPL-3.0-only
//! Which command a reply is to. Most servers answer one command after the other; but not all that is asked while a transfer
//! is under way waits for the transfer's end.

use super::command::Means;
use super::reply::Reply;
use super::{Asked, Ftp};

impl Ftp {
    /// Which of the commands that wait this reply is to: the first. But while a transfer is under way there are servers that
    /// answer what is asked then, or refuse it (proftpd while it takes a file, pure-ftpd, pyftpdlib): all that is no reply to
    /// a transfer that has begun.
    pub(super) fn asked(&self, reply: &Reply) -> usize {
        let means = |at: usize| self.waiting.get(at).and_then(|asked| asked.means);
        let first = self.waiting.front();
        let transfer = first.filter(|it| it.means.is_some_and(Means::is_transfer));
        let (Some(transfer), Some(next)) = (transfer, self.waiting.get(1)) else {
            return 0;
        };
        let status = matches!(reply.code, 211..=213) && next.means == Some(Means::Status);
        let other = transfer.begun.is_some() && means(1) != Some(Means::Abort);
        usize::from(status || (other && !reply.may_end_transfer()))
    }

    /// A command was answered while the transfer before it is under way. If it is one that changes nothing, no replacement need
    /// be told it: the transfer stands for both.
    pub(super) fn answered_between(&mut self, asked: Asked, reply: &Reply) {
        let harmless =
            matches!(asked.means, Some(Means::Other | Means::Status)) || reply.code >= 500;
        if let Some(transfer) = self.waiting.front_mut().filter(|_| harmless) {
            transfer.end = asked.end;
            self.note_answer(None, reply);
        } else {
            // Who is told the commands from the first that waits on, would be asked this once more.
            self.session.lost = true;
            self.note_answer(Some(asked), reply);
        }
    }

    /// Whether a transfer waits that was aborted, and this is the only reply to both. Else there are two, in their order:
    /// pure-ftpd says one if it has come to the end of the transfer by itself.
    pub(super) fn answers_both(&self, reply: &Reply) -> bool {
        let means = |at: usize| self.waiting.get(at).and_then(|asked| asked.means);
        let aborted = means(0).is_some_and(Means::is_transfer) && means(1) == Some(Means::Abort);
        aborted && reply.is_done() && reply.text.windows(4).any(|word| word == b"ABOR")
    }
}
