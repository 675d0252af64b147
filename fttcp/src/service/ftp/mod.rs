// SPDX-License-Identifier: GPL-3.0-only
//! `ftp`: control connections of FTP (RFC 959 and its extensions), and the data connections that they announce.
//!
//! Who lives here: `lines` and `reply` read the two directions, `command` knows the commands, `session` what a server
//! remembers of them, `unheard` what the client may not have heard; `next` where the next data connection is opened; `plan`
//! says what another server is told to be where this one was, `again` how a transfer goes on, and `aborted` what becomes of
//! one that cannot; `resume` judges how it answers; `suspect` which command it may have died of; `data` is the plug-in of the data connections. This file pairs commands with replies, in order, and says of them:
//!
//! * at which port of the server the client's next data connection is expected (227, 229), or at which end of the client the
//!   server's (`PORT`, `EPRT`): it is protected without being named in the group's services;
//! * when a transfer is over: the close of its data connection is then expected. The client is told so only when it has
//!   everything: what it lacks then, could not be asked for without a second end;
//! * which replies say that a file was changed: a durable service's wait until the server's disk has it;
//! * whether the server has a reason to close the control connection (221, 421);
//! * that the streams are encrypted from here on (`AUTH`, 234): nothing can be said of them, nor be replayed.
//!
//! * what another server must be told to be where this one was: a handful of commands, and at most one transfer.
//!
//! A stream that it does not understand is replayed whole, as `opaque` does, with a line in the log; unless the session
//! was used to change something that must not be changed twice.

mod aborted;
mod again;
mod command;
mod data;
mod lines;
mod next;
mod pairing;
mod plan;
mod reply;
mod resume;
mod session;
mod suspect;
mod unheard;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::command::Means;
use self::lines::Lines;
use self::next::Next;
use self::reply::{Replies, Reply};
use self::resume::Answered;
use self::session::Session;
use self::unheard::Unheard;
use super::{Heard, Link, Moves, News, Restart, Service, Stands, UnderWay, Verb, stored};

/// Most commands that wait for their replies. With more, nothing is understood any more.
const MAX_WAITING: usize = 64;

/// A command that was not answered for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    means: Option<Means>,
    line: Vec<u8>,
    /// Where it ends in the client's stream.
    end: u64,
    /// It is being done, as the server said in these words.
    begun: Option<Vec<u8>>,
    /// The name that it chose for the file.
    file: Option<Vec<u8>>,
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
    unheard: Unheard,
    /// Where the next data connection is expected, and the command that led to this, once it is answered.
    expected: Option<Next>,
    led: Option<Vec<u8>>,
    /// The present server, which is another one, expects it at this port.
    present: Option<u16>,
    /// How the data connection stood when the last server died.
    linked: Option<Stands>,
    /// A replacement did not take all that it was told: it is told no more than is needed.
    cautious: bool,
    /// The server's close is expected at this position.
    closing_at: Option<u64>,
    /// It does not understand the streams.
    foreign: bool,
    /// The last that was said of a transfer, the logger has said in a dead server's place.
    #[serde(skip)]
    ended_here: bool,
    #[serde(skip)]
    news: VecDeque<News>,
    /// Said once.
    #[serde(skip)]
    complaint: Option<&'static str>,
}

impl Ftp {
    fn give_up(&mut self, reason: &'static str) {
        if !self.foreign {
            let changes = |asked: &Asked| asked.means.is_some_and(Means::is_change);
            let acted = self.known().session.acted || self.waiting.iter().any(changes);
            *self = Self {
                foreign: true,
                session: Session::of_which_is_known(acted),
                news: std::mem::take(&mut self.news),
                ..Self::default()
            };
            self.news.push_back(News::Expects(None));
            self.complaint = Some(reason);
        }
    }

    fn expect(&mut self, next: Option<Next>) {
        if self.expected != next || self.present.is_some() {
            self.announce(next);
        }
    }

    fn announce(&mut self, next: Option<Next>) {
        self.expected = next;
        self.present = None;
        self.news.push_back(Next::news(next));
    }

    fn command(&mut self, line: Vec<u8>) {
        let means = command::meaning(&line);
        if self.waiting.len() == MAX_WAITING {
            self.give_up("too many of its commands wait for their replies");
            return;
        }
        if means == Some(Means::Active) && self.waiting.is_empty() {
            // There are servers that come before they answer (pyftpdlib).
            self.led = None;
            self.expect(Next::of_command(&line));
        }
        self.waiting.push_back(Asked {
            means,
            line,
            end: self.commands.at(),
            begun: None,
            file: None,
        });
    }

    fn reply(&mut self, reply: &Reply) {
        if reply.code == 421 {
            // The server's last word, asked or not; but pyftpdlib says it also of a data connection that nobody has opened.
            self.closing_at = Some(self.lines.at());
            let transfers = |asked: &mut Asked| asked.means.is_some_and(Means::is_transfer);
            self.waiting.pop_front_if(transfers);
            self.transfer_over();
            return;
        }
        self.closing_at = None;
        if !self.greeted {
            self.greeted = !reply.is_preliminary();
            self.note_answer(None, reply);
            return;
        }
        if self.answers_both(reply) {
            let transfer = self.waiting.pop_front();
            self.note_answer(transfer, reply);
        }
        let at = self.asked(reply);
        let Some(asked) = self.waiting.get(at) else {
            self.give_up("its server said something that was not asked for");
            return;
        };
        let means = asked.means;
        if reply.is_preliminary() {
            if let Some(asked) = self.waiting.get_mut(at) {
                asked.begun = Some(reply.text.clone());
                asked.file = reply.file.clone().or(asked.file.take());
            }
            self.note_answer(None, reply);
            return;
        }
        let asked = self.waiting.remove(at);
        let line = asked.as_ref().map(|asked| asked.line.clone());
        match asked {
            Some(between) if at > 0 => self.answered_between(between, reply),
            asked => self.note_answer(asked, reply),
        }
        if self.foreign {
            return;
        }
        match means {
            Some(Means::Passive) => {
                self.led = line;
                // Also if it listens where it did: what came there before is over.
                self.announce(Next::of_reply(reply.code, &reply.text));
            }
            Some(Means::Active) => {
                let taken = line.as_deref().filter(|_| reply.is_done());
                self.expect(taken.and_then(Next::of_command));
                self.led = line;
            }
            Some(Means::Reinitialize) => self.expect(None),
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

    /// Where in these bytes the first reply begins that says that something was changed.
    fn done_at(&self, at: u64, bytes: &[u8]) -> Option<u64> {
        let changes = |asked: &Asked| asked.means.is_some_and(Means::is_change);
        if self.foreign || !self.greeted || !self.waiting.iter().any(changes) {
            return None;
        }
        let mut next = self.clone();
        let mut new = self.lines.new_of(at, bytes)?;
        loop {
            let start = next.lines.at();
            let begins = next.lines.is_between() && !next.replies.is_open();
            let first = next.waiting.front();
            if begins && new.first() == Some(&b'2') && first.is_some_and(changes) {
                return Some(start);
            }
            let (line, _) = next.lines.next(&mut new, reply::LONGEST, false)?;
            if let Some(reply) = next.replies.take(&line).ok()? {
                next.reply(&reply);
            }
            if next.foreign {
                return None;
            }
        }
    }

    /// Where in these bytes the reply begins that says that a download is complete, if they are nothing else.
    fn held_end(&self, at: u64, bytes: &[u8]) -> Option<u64> {
        let asked = self.waiting.front().filter(|_| self.waiting.len() == 1)?;
        let fetches = asked.means == Some(Means::Retrieve) && asked.begun.is_some();
        let mut new = self.lines.new_of(at, bytes).filter(|_| fetches)?;
        let (mut lines, mut replies) = (self.lines.clone(), self.replies.clone());
        if !lines.is_between() || replies.is_open() {
            return None;
        }
        loop {
            let start = lines.at();
            if !replies.is_open() && new.first() == Some(&b'2') {
                return Some(start);
            }
            let (line, _) = lines.next(&mut new, reply::LONGEST, false)?;
            replies.take(&line).ok()?;
        }
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
        self.unheard.push(new);
        self.ended_here &= new.is_empty();
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
        match self.plan(acknowledged) {
            Some(plan) => Verb::Resume(plan.client..plan.client),
            None if self.known().session.acted => {
                Verb::End("what was done in its session must not be done twice")
            }
            None => Verb::Replay,
        }
    }

    fn rests(&self, acknowledged: u64) -> bool {
        let idle = self.waiting.is_empty() && self.closing_at.is_none();
        idle && self.plan(acknowledged).is_some()
    }

    fn ask(&self, from: u64, _: &[u8]) -> Option<Vec<u8>> {
        Some(self.plan(from)?.text())
    }

    fn said(&self, acknowledged: u64) -> (u64, Vec<u8>) {
        let server = self.known().at.server;
        let lacks = self.unheard.between(acknowledged, server);
        (server, lacks.unwrap_or_default().to_vec())
    }

    fn hears(&mut self, from: u64, answer: &[u8]) {
        self.note_port(from, answer);
    }

    fn judge(&self, from: u64, answer: &[u8]) -> Heard {
        self.judge_answers(from, answer)
    }

    fn refused(&mut self) -> Verb {
        // Nothing below is needed to tell whether there is a plan.
        const ALL: u64 = u64::MAX;
        self.session.lost |= self.cautious;
        self.cautious = true;
        self.linked = None;
        // Before its close is explained: half a file must not look like a whole one.
        self.news.push_back(News::Lost);
        self.abort_what_is_lost(ALL);
        self.expect(None);
        self.verb(ALL)
    }

    fn under_way(&self, end: u64) -> Option<UnderWay> {
        self.command_under_way(end)
    }

    fn rewind(&mut self, to: Restart) {
        *self = Self {
            at: to,
            commands: Lines::from(to.client),
            lines: Lines::from(to.server),
            unheard: Unheard::from(to.server),
            ..Self::default()
        };
    }

    fn capture(&self) -> u32 {
        reply::LONGEST as u32
    }

    fn close_expected(&self, at: u64) -> bool {
        !self.foreign && self.closing_at == Some(at)
    }

    fn owes(&self, _: u64) -> bool {
        self.foreign || !self.greeted || !self.waiting.is_empty()
    }

    fn awaits(&self, _: u64) -> bool {
        // A transfer that has begun takes as long as it takes.
        let command = self.waiting.front().is_some_and(|it| it.begun.is_none());
        !self.foreign && self.greeted && command
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
        self.expected.map(Next::link)
    }

    fn linked_stands(&mut self, acknowledged: u64, stands: Option<Stands>) -> Moves {
        self.cautious = false;
        self.present = None;
        self.linked = stands;
        self.abort_what_is_lost(acknowledged);
        self.plan(acknowledged)
            .map_or_else(Moves::default, |plan| plan.moves)
    }

    fn linked_is_gone(&mut self, acknowledged: u64) -> bool {
        let awaited = self.linked.take().is_some() && !self.cautious;
        if awaited {
            self.abort_what_is_lost(acknowledged);
        }
        awaited
    }

    fn asks_anew(&mut self, acknowledged: u64) -> bool {
        self.ended_here && self.answer_abort(acknowledged)
    }

    fn linked_port(&self) -> Option<u16> {
        self.present
    }

    fn withholds(&self, at: u64, bytes: &[u8]) -> Option<u64> {
        self.held_end(at, bytes)
    }

    fn commits(&self, at: u64, bytes: &[u8]) -> Option<u64> {
        self.done_at(at, bytes)
    }

    fn knows_changes(&self) -> bool {
        true
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
        stored::restore(self, saved, |state| {
            state.commands.is_sound(command::LONGEST)
                && state.lines.is_sound(reply::LONGEST)
                && state.waiting.len() <= MAX_WAITING
                && state.answered.len() <= MAX_WAITING
                && state.unheard.is_sound()
                && state.session.is_sound()
        })
    }
}

#[cfg(test)]
mod tests;
