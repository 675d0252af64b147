// SPDX-License-Identifier: GPL-3.0-only
//! How a transfer that has begun is asked for again, so that every byte is where the dead server would have put it, and once:
//!
//! * a file that is fetched as it is (`TYPE I`): from the byte on that the client lacks (`REST`), if what had been said of
//!   its size and time is still so;
//! * a list, or a file that is converted: from the beginning, to be compared with what the client has;
//! * a file that is stored: from where the client began, written over, as all that the client said is kept. If that is in the
//!   middle (`REST`), all before it must be there: some servers begin earlier else, some leave a hole. And pure-ftpd gives
//!   such a file another name while it writes;
//! * what got a name of the server's choice (`STOU`) and was told to the client: stored under that name, written over;
//! * what is appended (`APPE`) to a file of which the client had asked the size: written over from there on, if the file is
//!   now no shorter and no longer than what the client said makes it;
//! * what is appended to any other file: only if nothing of it had come. How much of it the dead server wrote is not known:
//!   the file's end may look like its beginning by chance.

use std::ops::RangeInclusive;

use super::Asked;
use super::command::{Means, words};
use super::plan::{Step, Want};
use super::session::Session;
use crate::service::{Goes, Stands};

/// See the module's text.
pub(super) struct Again {
    /// What is asked of the file before.
    pub(super) facts: Vec<Step>,
    /// Where it begins in the file. `None`: where the client said.
    pub(super) offset: Option<u64>,
    pub(super) line: Vec<u8>,
    pub(super) goes: Goes,
}

impl Again {
    /// As the client said it.
    fn same(asked: &Asked) -> Self {
        Self {
            facts: Vec::new(),
            offset: None,
            line: asked.line.clone(),
            goes: Goes::Again,
        }
    }

    /// `None`: it cannot be asked for again.
    pub(super) fn of(asked: &Asked, session: &Session, stands: Stands) -> Option<Self> {
        let (word, path) = words(&asked.line);
        match (asked.means?, word.as_slice()) {
            (Means::Retrieve, word) => {
                let facts = session.facts_of(path).map(|(line, text)| Step {
                    line: line.to_vec(),
                    want: Want::Fact(text.to_vec()),
                });
                let (mut offset, mut goes) = (None, Goes::Again);
                if word == b"RETR" && session.is_plain() {
                    offset = Some(session.offset()?.saturating_add(stands.from));
                    goes = Goes::From(stands.from);
                }
                Some(Self {
                    facts: facts.collect(),
                    offset,
                    goes,
                    ..Self::same(asked)
                })
            }
            (Means::Store, _) => {
                let from = session.offset()?;
                if from > 0 && !session.is_plain() {
                    return None;
                }
                Some(Self {
                    facts: reaches(path, from).into_iter().collect(),
                    ..Self::same(asked)
                })
            }
            (Means::Append, b"STOU") => Some(Self {
                line: store(named(path, asked.file.as_deref()?)?),
                ..Self::same(asked)
            }),
            (Means::Append, _) if stands.heard == 0 => Some(Self::same(asked)),
            (Means::Append, _) => {
                let size = session.size_of(path).filter(|_| session.is_plain());
                let from = size.filter(|_| session.offset() == Some(0))?;
                Some(Self {
                    facts: vec![is_within(path, from..=from.saturating_add(stands.heard))],
                    offset: Some(from),
                    line: store(path),
                    goes: Goes::Again,
                })
            }
            _ => None,
        }
    }
}

/// The question whether all of a file is there that is to be kept.
pub(super) fn reaches(path: &[u8], end: u64) -> Option<Step> {
    (end > 0).then(|| is_within(path, end..=u64::MAX))
}

fn store(path: &[u8]) -> Vec<u8> {
    [b"STOR ".as_slice(), path].concat()
}

fn is_within(path: &[u8], sizes: RangeInclusive<u64>) -> Step {
    Step {
        line: [b"SIZE ".as_slice(), path].concat(),
        want: Want::Size(sizes),
    }
}

/// The path of a file that a server has named when it was asked to store it like `like`. `None`: it may lie in another
/// folder. There are servers that name the file within its folder only (pyftpdlib), and some with the folder (vsftpd).
fn named<'a>(like: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    let end = like.iter().rposition(|&byte| byte == b'/');
    let folder = &like[..end.map_or(0, |at| at + 1)];
    name.starts_with(folder).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_in_another_folder_is_no_path() {
        for (like, name, path) in [
            ("", "a.1", Some("a.1")),
            ("a", "b", Some("b")),
            ("in/a", "in/a.1", Some("in/a.1")),
            ("in/a", "a.1", None),
            ("/a", "a", None),
            ("in/b/a", "in/a", None),
        ] {
            let found = named(like.as_bytes(), name.as_bytes());
            assert_eq!(found, path.map(str::as_bytes), "{like} {name}");
        }
    }
}
