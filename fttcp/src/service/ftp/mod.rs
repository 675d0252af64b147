// SPDX-License-Identifier: GPL-3.0-only
//! `ftp`: control connections of FTP (RFC 959 and its extensions), and the data connections that they announce.
//!
//! Who lives here: `lines` and `reply` read the two directions, `command` knows the commands, `session` what a server
//! remembers of them, `resume` brings another server to the same, `data` is the plug-in of the data connections. This file pairs commands with replies, in order, and
//! says of them:
//!
//! * at which port of the server the client's next data connection is expected (227, 229): it is protected without being
//!   named in the group's services;
//! * when a transfer is over: the close of its data connection is then expected;
//! * whether the server has a reason to close the control connection (221, 421);
//! * that the streams are encrypted from here on (`AUTH`, 234): nothing can be said of them, nor be replayed.
//!
//! * what another server must be told to be where this one was: a handful of commands, and none of the transfers.
//!
//! A stream that it does not understand is replayed whole, as `opaque` does, with a line in the log.

mod command;
mod data;
mod lines;
mod reply;
mod resume;
mod session;

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use self::command::Means;
use self::lines::Lines;
use self::reply::{Replies, Reply};
use self::resume::Answered;
use self::session::Session;
use super::{Heard, Link, News, Restart, Service, Verb};

/// Most commands that wait for their replies. With more, nothing is understood any more.
const MAX_WAITING: usize = 64;

/// A command that was not answered for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    means: Option<Means>,
    line: Vec<u8>,
    /// Where it ends in the client's stream.
    end: u64,
}

/// See the module's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ftp {
    commands: Lines,
    lines: Lines,
    replies: Replies,
    /// The server has said that it is there.
    greeted: bool,
    waiting: VecDeque<Asked>,
    /// What the client is known to have heard has made of the session, up to these positions.
    session: Session,
    at: Restart,
    /// Replies that it may not have heard yet.
    answered: VecDeque<Answered>,
    /// Where the next data connection is expected.
    expected: Option<(Option<Ipv4Addr>, u16)>,
    /// The server's close is expected at this position.
    closing_at: Option<u64>,
    /// It does not understand the streams.
    foreign: bool,
    #[serde(skip)]
    news: VecDeque<News>,
    /// Said once.
    #[serde(skip)]
    complaint: Option<&'static str>,
}

impl Ftp {
    fn give_up(&mut self, reason: &'static str) {
        if !self.foreign {
            *self = Self {
                foreign: true,
                news: std::mem::take(&mut self.news),
                ..Self::default()
            };
            self.news.push_back(News::Expects(None));
            self.complaint = Some(reason);
        }
    }

    fn expect(&mut self, at: Option<(Option<Ipv4Addr>, u16)>) {
        if self.expected != at {
            self.expected = at;
            self.news.push_back(News::Expects(at));
        }
    }

    fn command(&mut self, line: Vec<u8>) {
        let means = command::meaning(&line);
        if self.waiting.len() == MAX_WAITING {
            self.give_up("too many of its commands wait for their replies");
            return;
        }
        self.waiting.push_back(Asked {
            means,
            line,
            end: self.commands.at(),
        });
    }

    /// Which of the commands that wait this reply is to: the first, but for a question about a transfer under way.
    fn asked(&self, reply: &Reply) -> usize {
        let means = |at: usize| self.waiting.get(at).and_then(|asked| asked.means);
        let transfers = means(0).is_some_and(Means::is_transfer);
        let answers_status = matches!(reply.code, 211..=213);
        usize::from(transfers && answers_status && means(1) == Some(Means::Status))
    }

    fn reply(&mut self, reply: &Reply) {
        if reply.code == 421 {
            // The server's last word, asked or not.
            self.closing_at = Some(self.lines.at());
            self.transfer_over();
            return;
        }
        if !self.greeted {
            self.greeted = !reply.is_preliminary();
            self.note_answer(None, reply);
            return;
        }
        let at = self.asked(reply);
        // Who is told the commands from the first that waits on, would be asked this once more.
        self.session.lost |= at > 0;
        let Some(asked) = self.waiting.get(at) else {
            self.give_up("its server said something that was not asked for");
            return;
        };
        let means = asked.means;
        if reply.is_preliminary() {
            self.note_answer(None, reply);
            return;
        }
        let asked = self.waiting.remove(at);
        self.note_answer(asked, reply);
        if self.foreign {
            return;
        }
        match means {
            Some(Means::Passive) => self.expect(match reply.code {
                227 => reply::passive(&reply.text).map(|(address, port)| (Some(address), port)),
                229 => reply::extended_passive(&reply.text).map(|port| (None, port)),
                _ => None,
            }),
            Some(Means::Active | Means::Reinitialize) => self.expect(None),
            Some(Means::Encrypt) if reply.code == 234 || reply.code == 334 => {
                self.give_up("its streams are encrypted");
                self.news.push_back(News::Encrypted);
            }
            Some(Means::Quit) if reply.is_done() => self.closing_at = Some(self.lines.at()),
            Some(means) if means.is_transfer() => self.transfer_over(),
            // The transfer may not have been told of by a reply of its own.
            Some(Means::Abort) => self.transfer_over(),
            Some(_) | None => {}
        }
    }

    fn transfer_over(&mut self) {
        self.expected = None;
        self.news.push_back(News::Over);
    }
}

impl Service for Ftp {
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        if self.foreign {
            return;
        }
        let Some(mut new) = self.commands.new_of(at, bytes) else {
            self.give_up("some of its client's bytes were not seen");
            return;
        };
        while let Some((line, cut)) = self.commands.next(&mut new, command::LONGEST, true) {
            if cut {
                self.give_up("a command of its client is too long");
            }
            if self.foreign {
                return;
            }
            self.command(line);
        }
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        if self.foreign {
            return;
        }
        let Some(mut new) = self.lines.new_of(at, bytes) else {
            self.give_up("some of its server's bytes were not seen");
            return;
        };
        while let Some((line, _)) = self.lines.next(&mut new, reply::LONGEST, false) {
            match self.replies.take(&line) {
                Ok(None) => {}
                Ok(Some(reply)) => self.reply(&reply),
                Err(reply::Foreign) => self.give_up("its server does not speak FTP"),
            }
            if self.foreign {
                return;
            }
        }
    }

    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        self.note_heard(acknowledged);
        // Whoever cannot be brought there by a few commands is told all of them.
        None
    }

    fn verb(&self, acknowledged: u64) -> Verb {
        self.resumable(acknowledged)
            .map_or(Verb::Replay, |at| Verb::Resume(at.client..at.client))
    }

    fn ask(&self, from: u64, _: &[u8]) -> Option<Vec<u8>> {
        self.commands_for(from)
    }

    fn judge(&self, from: u64, answer: &[u8]) -> Heard {
        self.judge_answers(from, answer)
    }

    fn rewind(&mut self, to: Restart) {
        *self = Self {
            at: to,
            commands: Lines::from(to.client),
            lines: Lines::from(to.server),
            ..Self::default()
        };
    }

    fn capture(&self) -> u32 {
        reply::LONGEST as u32
    }

    fn close_expected(&self, at: u64) -> bool {
        !self.foreign && self.closing_at == Some(at)
    }

    fn owes(&self) -> bool {
        self.foreign || !self.greeted || !self.waiting.is_empty()
    }

    fn sees_all(&self) -> bool {
        !self.foreign
    }

    fn complaint(&mut self) -> Option<&'static str> {
        self.complaint.take()
    }

    fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn link(&self) -> Option<Link> {
        let &(address, port) = self.expected.as_ref()?;
        Some(Link::Expects(address, port))
    }

    fn linked(&self) -> Option<Box<dyn Service>> {
        Some(Box::<data::Data>::default())
    }

    fn kind(&self) -> &str {
        "ftp"
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        match postcard::from_bytes::<Self>(saved) {
            Ok(state)
                if state.commands.is_sound(command::LONGEST)
                    && state.lines.is_sound(reply::LONGEST)
                    && state.waiting.len() <= MAX_WAITING
                    && state.answered.len() <= MAX_WAITING
                    && state.session.is_sound() =>
            {
                *self = state;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
