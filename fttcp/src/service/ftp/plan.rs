// SPDX-License-Identifier: GPL-3.0-only
//! What another server is told to be where this one was: what the session has come to ([`super::session`]), and what there
//! is to transfer.
//!
//! A data connection in passive mode is to a port that its server has chosen: the other one is asked for one of its own. In
//! active mode it is told again at which end of the client it is to open one. A transfer that has begun is asked for again
//! behind that, if it can be ([`super::again`]); if not, it is over ([`super::aborted`]).
//!
//! What has been asked for and has not begun is told as the client said it.

use std::ops::RangeInclusive;

use super::again::{self, Again};
use super::command::{Means, words};
use super::next::Next;
use super::session::Session;
use super::{Asked, Ftp};
use crate::service::{Goes, Moves, Stands};

/// Another product may want a password of an anonymous user, from whom this one wanted none. Any will do (RFC 1635).
const GUEST: &[u8] = b"PASS guest@";

/// What must be the answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Any but a refusal.
    Done,
    /// As [`Want::Done`], and more is asked for: the client was asked for it, too.
    Asked,
    /// Any.
    Any,
    /// As [`Want::Done`], or that there is no such command: who does not know HOST is the only host, and who does not know
    /// the format of a list makes no such lists.
    Known,
    /// The same as before.
    Fact(Vec<u8>),
    /// One of these sizes.
    Size(RangeInclusive<u64>),
    /// A port.
    Port,
    /// A transfer begins, of a file of which this was said, from so many bytes later on.
    Begins(Option<u64>, u64),
}

impl Want {
    /// Whether the server goes on though it refused with this code. vsftpd does not know what it is told before the login
    /// with 530.
    pub(super) const fn forgives(&self, code: u16) -> bool {
        match self {
            Self::Any => code != 421,
            Self::Known => matches!(code, 500..=502 | 530),
            _ => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) line: Vec<u8>,
    pub(super) want: Want,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// From where in both streams the other server goes on.
    pub(super) client: u64,
    pub(super) server: u64,
    pub(super) steps: Vec<Step>,
    pub(super) moves: Moves,
}

impl Plan {
    fn step(&mut self, line: &[u8], want: Want) {
        let line = line.to_vec();
        self.steps.push(Step { line, want });
    }

    /// The commands, as they are sent.
    pub(super) fn text(&self) -> Vec<u8> {
        const IAC: u8 = 255;
        let mut all = Vec::new();
        for step in &self.steps {
            for &byte in &step.line {
                all.push(byte);
                // Telnet's way to say it (RFC 854).
                all.extend((byte == IAC).then_some(IAC));
            }
            all.extend_from_slice(b"\r\n");
        }
        all
    }
}

/// The size that is told with the beginning of a transfer, if it is: `... (12 bytes)`.
pub(super) fn told_size(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let before = &text[..text.find(" bytes")?];
    let start = before.rfind(|it: char| !it.is_ascii_digit());
    before[start.map_or(0, |at| at + 1)..].parse().ok()
}

impl Ftp {
    /// `None`: a few commands do not bring another server there.
    pub(super) fn plan(&self, acknowledged: u64) -> Option<Plan> {
        let known = self.known();
        let session = &known.session;
        let server = known.at.server;
        let heard = server <= acknowledged || known.unheard.between(acknowledged, server).is_some();
        if !known.greeted || known.foreign || session.lost || server == 0 || !heard {
            return None;
        }
        let mut plan = Plan {
            client: known.at.client,
            server,
            ..Plan::default()
        };
        for line in session.early() {
            plan.step(line, Want::Known);
        }
        for line in session.login() {
            plan.step(line, Want::Done);
        }
        if let Some(last) = plan.steps.last_mut().filter(|_| session.asks) {
            last.want = Want::Asked;
        }
        if session.is_open_to_all() {
            plan.step(GUEST, Want::Any);
        }
        for line in session.lasting() {
            let (word, rest) = words(line);
            let of_lists = word == b"OPTS" && words(rest).0 == b"MLST";
            plan.step(line, if of_lists { Want::Known } else { Want::Done });
        }
        if self.cautious {
            // The last command that was answered may be what is refused.
            return Some(plan);
        }
        if let Some(line) = session.prepared() {
            plan.step(line, Want::Done);
        }
        let first = self.waiting.front();
        let begun = first.filter(|asked| asked.begun.is_some());
        match (begun, self.linked) {
            (Some(asked), Some(stands)) => self.plan_transfer(&mut plan, &known, asked, stands),
            (Some(_), None) => known.plan_last(&mut plan),
            (None, linked) => {
                let done = linked.is_some_and(|stands| self.is_done_perhaps(stands));
                plan.steps.extend(self.again_from(session));
                if !done && self.plan_port(&mut plan, linked) {
                    plan.moves.linked = linked.map(|_| Goes::Again);
                }
                known.plan_last(&mut plan);
            }
        }
        Some(plan)
    }

    fn plan_last(&self, plan: &mut Plan) {
        for line in self.session.last() {
            plan.step(line, Want::Done);
        }
    }

    /// Whether the transfer that was asked for may have been made, though nothing was said of it, and must not be made twice.
    pub(super) fn is_done_perhaps(&self, stands: Stands) -> bool {
        self.waiting.front().is_some_and(|asked| {
            let unnamed = words(&asked.line).0 == b"STOU";
            asked.means == Some(Means::Append) && (stands.heard > 0 || unnamed)
        })
    }

    /// What is asked before an upload that was asked for and has not begun.
    fn again_from(&self, session: &Session) -> Option<Step> {
        let asked = self.waiting.front();
        let asked = asked.filter(|it| it.means == Some(Means::Store))?;
        again::reaches(words(&asked.line).1, session.offset()?)
    }

    /// What the next data connection needs. False: there is to be none.
    fn plan_port(&self, plan: &mut Plan, linked: Option<Stands>) -> bool {
        match (self.expected, &self.led) {
            // It has come, and is over.
            (Some(_), _) if linked.is_none() => return false,
            (Some(Next::Comes(..)), Some(line)) => {
                plan.step(line, Want::Port);
                plan.moves.asks = true;
            }
            (Some(Next::Opens(_)), Some(line)) => plan.step(line, Want::Done),
            // It is told as the client said it.
            (Some(Next::Opens(_)), None) => {}
            _ => return false,
        }
        true
    }

    fn plan_transfer(&self, plan: &mut Plan, known: &Self, asked: &Asked, stands: Stands) {
        let Some(again) = Again::of(asked, &known.session, stands) else {
            known.plan_last(plan);
            return;
        };
        plan.steps.extend(again.facts);
        if !self.plan_port(plan, Some(stands)) {
            known.plan_last(plan);
            return;
        }
        match again.offset {
            Some(0) => {}
            Some(offset) => plan.step(format!("REST {offset}").as_bytes(), Want::Done),
            None => known.plan_last(plan),
        }
        let skipped = match again.goes {
            Goes::From(from) => from,
            Goes::Again => 0,
        };
        let size = asked.begun.as_deref().and_then(told_size);
        let size = size.filter(|_| asked.means == Some(Means::Retrieve));
        plan.step(&again.line, Want::Begins(size, skipped));
        plan.client = asked.end;
        plan.moves.linked = Some(again.goes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_servers_write_them() {
        for (text, size) in [
            (
                "Opening BINARY mode data connection for a 7 (12 bytes).",
                Some(12),
            ),
            (
                "Opening BINARY mode data connection for a (1 bytes)",
                Some(1),
            ),
            ("12 bytes", Some(12)),
            ("2929.7 kbytes to download", None),
            ("File status okay. About to open data connection.", None),
            (" bytes", None),
            ("-1 bytes", Some(1)),
        ] {
            assert_eq!(told_size(text.as_bytes()), size, "{text}");
        }
    }
}
