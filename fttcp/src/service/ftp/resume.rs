// SPDX-License-Identifier: GPL-3.0-only
//! Bringing another server to where this one was: it is told what the session has come to ([`super::session`]), its
//! replies to that are swallowed, and what the client says next reaches it as if it had heard all of the session.
//!
//! Only what the client has acknowledged counts as said. A command that was not answered by then is told as the client said
//! it. A transfer under way is among these: without a data connection the server refuses it (425), and says so.

use serde::{Deserialize, Serialize};

use super::lines::Lines;
use super::reply::{self, Replies, Reply};
use super::{Asked, Ftp, MAX_WAITING, Restart};
use crate::service::Heard;

/// A reply, the command that it answers for good, and where it ends in the server's stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    asked: Option<Asked>,
    reply: Reply,
    end: u64,
}

impl Ftp {
    /// A reply is complete; `asked`: if it is the last to a command, that.
    pub(super) fn note_answer(&mut self, asked: Option<Asked>, reply: &Reply) {
        if self.answered.len() == MAX_WAITING {
            self.give_up("its client does not acknowledge replies");
            return;
        }
        self.answered.push_back(Answered {
            asked,
            reply: reply.clone(),
            end: self.lines.at(),
        });
    }

    /// The client has acknowledged everything below this position of the server's stream.
    pub(super) fn note_heard(&mut self, acknowledged: u64) {
        while let Some(answered) = self.answered.pop_front_if(|it| it.end <= acknowledged) {
            self.at.server = answered.end;
            if let Some(asked) = answered.asked {
                self.at.client = asked.end;
                self.session.note(asked.means, &asked.line, &answered.reply);
            }
        }
    }

    /// The session as the client knows it that has acknowledged so much, if that is the end of a reply, and if a few
    /// commands bring another server there.
    fn known(&self, acknowledged: u64) -> Option<Self> {
        let mut known = self.clone();
        known.note_heard(acknowledged);
        let whole = known.greeted && !known.foreign && !known.session.lost;
        let at = known.at.server;
        (whole && at > 0 && at == acknowledged).then_some(known)
    }

    /// From where in both streams a server goes on that was told the commands.
    pub(super) fn resumable(&self, acknowledged: u64) -> Option<Restart> {
        Some(self.known(acknowledged)?.at)
    }

    /// The commands, as they are sent.
    pub(super) fn commands_for(&self, from: u64) -> Option<Vec<u8>> {
        const IAC: u8 = 255;
        let known = self.known(from)?;
        let mut all = Vec::new();
        for line in known.session.lines() {
            for &byte in line {
                all.push(byte);
                // Telnet's way to say it (RFC 854).
                all.extend((byte == IAC).then_some(IAC));
            }
            all.extend_from_slice(b"\r\n");
        }
        Some(all)
    }

    /// Whether these are the greeting and the replies to the commands, and how long they are.
    pub(super) fn judge_answers(&self, from: u64, answer: &[u8]) -> Heard {
        let Some(known) = self.known(from) else {
            return Heard::Refused("the session has changed");
        };
        let mut missing = 1 + known.session.lines().count();
        let (mut lines, mut replies) = (Lines::default(), Replies::default());
        let mut rest = answer;
        while let Some((line, _)) = lines.next(&mut rest, reply::LONGEST, false) {
            match replies.take(&line) {
                Ok(None) => {}
                Ok(Some(reply)) if reply.is_preliminary() => {}
                Ok(Some(reply)) if reply.code >= 400 => {
                    return Heard::Refused("it does not take a command of the session");
                }
                Ok(Some(_)) => missing -= 1,
                Err(reply::Foreign) => return Heard::Refused("it does not speak FTP"),
            }
            if missing == 0 {
                return Heard::Head(answer.len() - rest.len());
            }
        }
        Heard::Partial
    }
}
