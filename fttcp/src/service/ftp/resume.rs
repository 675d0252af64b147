// SPDX-License-Identifier: GPL-3.0-only
//! Bringing another server to where this one was: it is told a few commands ([`super::plan`]), its replies to them are
//! swallowed, and what the client says next reaches it as if it had heard all of the session.
//!
//! What the dead server has said counts, up to the end of its last whole reply, also if the client has not acknowledged it
//! yet: the logger repeats that ([`super::unheard`]).

use serde::{Deserialize, Serialize};

use super::lines::Lines;
use super::plan::{Plan, Step, Want, told_size};
use super::reply::{self, Replies, Reply};
use super::session::number;
use super::{Asked, Ftp, MAX_WAITING, command};
use crate::service::Heard;

/// A reply, the command that it answers for good, and where it ends in the server's stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    asked: Option<Asked>,
    reply: Reply,
    end: u64,
}

impl Answered {
    /// Where the command ends in the client's stream that it answers for good.
    pub(super) fn command_end(&self) -> Option<u64> {
        self.asked.as_ref().map(|asked| asked.end)
    }
}

/// What has come of the replies to a plan.
#[derive(Default)]
struct Read {
    port: Option<u16>,
    /// They are all there, and so long.
    head: Option<usize>,
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
        self.unheard.acknowledged(acknowledged);
        self.take_answers(acknowledged);
    }

    fn take_answers(&mut self, below: u64) {
        while let Some(answered) = self.answered.pop_front_if(|it| it.end <= below) {
            self.at.server = answered.end;
            if let Some(asked) = answered.asked {
                self.at.client = asked.end;
                self.session.note(asked.means, &asked.line, &answered.reply);
            }
        }
    }

    /// The session as it is for who has heard all whole replies.
    pub(super) fn known(&self) -> Self {
        let mut known = self.clone();
        known.take_answers(u64::MAX);
        known
    }

    /// Shows the replies to a plan so far; its port may be among them.
    pub(super) fn note_port(&mut self, from: u64, answer: &[u8]) {
        let read = self.plan(from).and_then(|plan| read(&plan, answer).ok());
        if let Some(port) = read.and_then(|read| read.port)
            && self.present != Some(port)
        {
            self.present = Some(port);
            self.news.push_back(crate::service::News::Moved(port));
        }
    }

    /// Whether these are the greeting and the replies to the commands, and how long they are.
    pub(super) fn judge_answers(&self, from: u64, answer: &[u8]) -> Heard {
        let Some(plan) = self.plan(from) else {
            return Heard::Refused("the session has changed");
        };
        match read(&plan, answer) {
            Ok(Read { head: None, .. }) => Heard::Partial,
            Ok(Read {
                head: Some(head), ..
            }) => Heard::Head(head),
            Err(reason) => Heard::Refused(reason),
        }
    }
}

/// Whether this reply asks for a part of the login (RFC 959 section 5.4: 331, 332) that does not follow: another product may
/// ask more than the one to which the client has said these commands.
fn asks_for_more(reply: &Reply, next: Option<&Step>) -> bool {
    let follows = next.and_then(|step| command::meaning(&step.line));
    matches!(reply.code, 331 | 332) && follows != Some(command::Means::Login)
}

/// Whether this reply is to `next`, while `step` was not answered. There is a server (pyftpdlib) that answers `PORT` when it has
/// opened the connection, and meanwhile what is said behind that.
fn overtakes(reply: &Reply, step: Option<&Step>, next: Option<&Step>) -> bool {
    let means = |step: Option<&Step>| step.and_then(|step| command::meaning(&step.line));
    let opens = means(step) == Some(command::Means::Active);
    opens
        && means(next).is_some_and(|next| match next {
            command::Means::Offset => reply.code == 350,
            next => next.is_transfer() && reply.is_preliminary(),
        })
}

fn read(plan: &Plan, answer: &[u8]) -> Result<Read, &'static str> {
    let mut steps = plan.steps.iter();
    // The greeting comes first.
    let mut step: Option<&Step> = None;
    // The reply to PORT has still to come.
    let mut late = false;
    let mut found = Read::default();
    let (mut lines, mut replies) = (Lines::default(), Replies::default());
    let (mut rest, mut start) = (answer, 0);
    while let Some((line, _)) = lines.next(&mut rest, reply::LONGEST, false) {
        let reply = match replies.take(&line) {
            Ok(None) => continue,
            Ok(Some(reply)) => reply,
            Err(reply::Foreign) => return Err("it does not speak FTP"),
        };
        let end = answer.len() - rest.len();
        if late && reply.code == 200 {
            late = false;
            start = end;
            if step.is_none() {
                found.head = Some(end);
                return Ok(found);
            }
            continue;
        }
        if overtakes(&reply, step, steps.as_slice().first()) {
            late = true;
            step = steps.next();
        }
        let want = step.map_or(&Want::Done, |step| &step.want);
        if reply.code >= 400 && !want.forgives(reply.code) {
            return Err("it does not take a command of the session");
        }
        let mut head = end;
        let done = match want {
            Want::Begins(size, skipped) => {
                let told = told_size(&reply.text);
                if let (Some(size), Some(told)) = (*size, told)
                    && told != size
                    && told.checked_add(*skipped) != Some(size)
                {
                    return Err("the file has changed");
                }
                if !reply.is_preliminary() {
                    // It is over already: the client has still to hear that.
                    head = start;
                }
                true
            }
            _ if reply.is_preliminary() => false,
            Want::Done if asks_for_more(&reply, steps.as_slice().first()) => {
                return Err("it asks for more than the session's login has");
            }
            Want::Done | Want::Asked | Want::Any | Want::Known => true,
            Want::Fact(text) if reply.text == *text => true,
            Want::Size(sizes) if number(&reply.text).is_some_and(|it| sizes.contains(&it)) => true,
            Want::Fact(_) | Want::Size(_) => return Err("the file has changed"),
            Want::Port => {
                found.port = match reply.code {
                    227 => reply::passive(&reply.text).map(|(_, port)| port),
                    229 => reply::extended_passive(&reply.text),
                    _ => None,
                };
                if found.port.is_none() {
                    return Err("it names no port");
                }
                true
            }
        };
        start = end;
        if done {
            step = steps.next();
            if step.is_none() && !late {
                found.head = Some(head);
                return Ok(found);
            }
        }
    }
    Ok(found)
}
