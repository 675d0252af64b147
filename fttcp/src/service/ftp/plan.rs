// SPDX-License-Identifier: GPL-3.0-only
//! What another server is told to be where this one was: what the session has come to ([`super::session`]), and what there
//! is to transfer.
//!
//! A data connection in passive mode is to a port that its server has chosen: the other one is asked for one of its own. In
//! active mode it is told again at which end of the client it is to open one. A transfer that has begun is asked for again
//! behind that:
//!
//! * a file that is fetched as it is (`TYPE I`): from the byte on that the client lacks (`REST`), if what had been said of
//!   its size and time is still so;
//! * a list, or a file that is converted: from the beginning, to be compared with what the client has;
//! * a file that is stored: from the beginning, written over, as all that the client said is kept;
//! * what is appended, or gets a name of the server's choice (`APPE`, `STOU`): never, as it may be there already; unless
//!   nothing of what is to be appended had come. The server is told that without a data connection, so that it refuses it
//!   in its own words.
//!
//! What has been asked for and has not begun is told as the client said it.

use super::command::{Means, words};
use super::next::Next;
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
                if self.plan_port(&mut plan, linked) {
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

    /// What the next data connection needs. False: there is to be none.
    fn plan_port(&self, plan: &mut Plan, linked: Option<Stands>) -> bool {
        let heard = linked.is_some_and(|it| it.heard > 0);
        // It may have been done, though nothing was said of it.
        let done = |asked: &Asked| match asked.means {
            Some(Means::Append) => heard || words(&asked.line).0 == b"STOU",
            _ => false,
        };
        if self.waiting.front().is_some_and(done) {
            return false;
        }
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
        let (word, path) = words(&asked.line);
        let session = &known.session;
        let goes = match asked.means {
            Some(Means::Retrieve) if word == b"RETR" && session.is_plain() => {
                session.offset().map(|_| Goes::From(stands.from))
            }
            Some(Means::Retrieve | Means::Store) => Some(Goes::Again),
            Some(Means::Append) if word == b"APPE" && stands.heard == 0 => Some(Goes::Again),
            _ => None,
        };
        let Some(goes) = goes else {
            known.plan_last(plan);
            return;
        };
        let facts: Vec<(&[u8], &[u8])> = session.facts_of(path).collect();
        if asked.means == Some(Means::Retrieve) {
            for (line, text) in facts {
                plan.step(line, Want::Fact(text.to_vec()));
            }
        }
        if !self.plan_port(plan, Some(stands)) {
            known.plan_last(plan);
            return;
        }
        let skipped = match goes {
            Goes::From(from) => {
                let offset = session.offset().unwrap_or(0).saturating_add(from);
                if offset > 0 {
                    plan.step(format!("REST {offset}").as_bytes(), Want::Done);
                }
                from
            }
            Goes::Again => {
                known.plan_last(plan);
                0
            }
        };
        let size = asked.begun.as_deref().and_then(told_size);
        let size = size.filter(|_| asked.means == Some(Means::Retrieve));
        plan.step(&asked.line, Want::Begins(size, skipped));
        plan.client = asked.end;
        plan.moves.linked = Some(goes);
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
