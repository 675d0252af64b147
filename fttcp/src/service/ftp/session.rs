// SPDX-License-Identifier: GPL-3.0-only
//! What an FTP server remembers of a session, as the commands that bring another server to the same: who the client is,
//! which folder, and the settings. A thousand commands leave a handful.

use serde::{Deserialize, Serialize};

use super::command::{Means, words};
use super::reply::{Reply, path};

/// Most commands in a row that lead to a folder, and most settings. With more, nothing is short.
const MOST: usize = 64;

/// Most answers about files that are kept.
const FACTS: usize = 4;

/// See the module's text. Lines are without their ends.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Session {
    /// Not all of it is known.
    pub(super) lost: bool,
    /// Settings from before the login: for some of them (HOST, LANG) it is too late then.
    early: Vec<Vec<u8>>,
    login: Vec<Vec<u8>>,
    /// The login is not complete: the server has asked for more.
    pub(super) asks: bool,
    folder: Vec<Vec<u8>>,
    settings: Vec<Vec<u8>>,
    /// What the next transfer will be.
    prepared: Option<Vec<u8>>,
    /// For the next command only.
    next: Option<Vec<u8>>,
    /// The last of all.
    quit: bool,
    /// It was used to change something that must not be changed twice.
    pub(super) acted: bool,
    /// Questions about files, and the answers, since anything may have changed them.
    facts: Vec<(Vec<u8>, Vec<u8>)>,
}

/// By what a setting is replaced: its word, and for some the next.
fn name(line: &[u8]) -> Vec<Vec<u8>> {
    let (word, rest) = words(line);
    match word.as_slice() {
        b"OPTS" | b"SITE" => vec![word, words(rest).0],
        _ => vec![word],
    }
}

/// A number by itself.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Adds a command to those that a replacement is told, unless they are too many: then it is told all.
fn add(list: &mut Vec<Vec<u8>>, line: &[u8], lost: &mut bool) {
    if list.len() < MOST {
        list.push(line.to_vec());
    } else {
        *lost = true;
    }
}

impl Session {
    /// One of which nothing is known but whether it has changed something that must not be done twice.
    pub(super) fn of_which_is_known(acted: bool) -> Self {
        Self {
            acted,
            ..Self::default()
        }
    }

    /// The commands from before the login; each is answered once.
    pub(super) fn early(&self) -> impl Iterator<Item = &[u8]> {
        self.early.iter().map(Vec::as_slice)
    }

    /// The command that tells what the next transfer will be.
    pub(super) fn prepared(&self) -> Option<&[u8]> {
        self.prepared.as_deref()
    }

    /// The commands of the login; each is answered once.
    pub(super) fn login(&self) -> impl Iterator<Item = &[u8]> {
        self.login.iter().map(Vec::as_slice)
    }

    /// The commands for all else that lasts; each is answered once.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.settings.iter().chain(&self.folder);
        lines.map(Vec::as_slice)
    }

    /// Whether it is of an anonymous user of whom no password was wanted.
    pub(super) fn is_open_to_all(&self) -> bool {
        let [line] = self.login.as_slice() else {
            return false;
        };
        let name = words(line).1;
        let anonymous = [&b"anonymous"[..], b"ftp"];
        !self.asks && anonymous.iter().any(|it| name.eq_ignore_ascii_case(it))
    }

    /// What comes last: a command that is for the next one only, or the last of all.
    pub(super) fn last(&self) -> impl Iterator<Item = &[u8]> {
        let quit = self.quit.then_some(&b"QUIT"[..]);
        self.next.iter().map(Vec::as_slice).chain(quit)
    }

    /// Where the next transfer begins in its file. `None`: that is no number.
    pub(super) fn offset(&self) -> Option<u64> {
        let Some(line) = &self.next else {
            return Some(0);
        };
        let (word, rest) = words(line);
        number(rest).filter(|_| word == b"REST")
    }

    /// The size of this file, if the client has asked for it.
    pub(super) fn size_of(&self, path: &[u8]) -> Option<u64> {
        let mut facts = self.facts_of(path);
        let size = facts.find(|(line, _)| words(line).0 == b"SIZE");
        number(size?.1)
    }

    /// Whether files are transferred byte by byte, as they are.
    pub(super) fn is_plain(&self) -> bool {
        let setting = |name: &[u8]| {
            let found = self.settings.iter().rev().find(|it| words(it).0 == name);
            found.map(|line| words(line).1.to_ascii_uppercase())
        };
        let image = setting(b"TYPE").is_some_and(|it| it == b"I" || it == b"L 8");
        image
            && setting(b"MODE").is_none_or(|it| it == b"S")
            && setting(b"STRU").is_none_or(|it| it == b"F")
    }

    /// What was asked about this file, and the answers.
    pub(super) fn facts_of<'a>(
        &'a self,
        path: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let of_it = move |(line, _): &&(Vec<u8>, Vec<u8>)| words(line).1 == path;
        let facts = self.facts.iter().filter(of_it);
        facts.map(|(line, text)| (line.as_slice(), text.as_slice()))
    }

    fn note_fact(&mut self, line: &[u8], reply: &Reply) {
        self.facts.retain(|(old, _)| old != line);
        if reply.code == 213 {
            if self.facts.len() == FACTS {
                self.facts.remove(0);
            }
            self.facts.push((line.to_vec(), reply.text.clone()));
        }
    }

    /// A command was answered for good.
    pub(super) fn note(&mut self, means: Option<Means>, line: &[u8], reply: &Reply) {
        let positive = reply.code < 400;
        // Servers keep an offset until a transfer, whatever is asked before that; a name to be renamed, not all.
        let offset = self.next.as_ref().is_some_and(|it| words(it).0 == b"REST");
        let uses = means.is_none_or(|it| it.is_transfer() || it == Means::User);
        self.next.take_if(|_| !offset || uses);
        if !matches!(
            means,
            Some(
                Means::Fact
                    | Means::Other
                    | Means::Retrieve
                    | Means::Passive
                    | Means::Active
                    | Means::Prepare
                    | Means::Offset
            )
        ) {
            self.facts.clear();
        }
        if matches!(means, Some(Means::User | Means::Login)) {
            self.asks = matches!(reply.code, 331 | 332);
        }
        match means {
            Some(means) if means.is_transfer() => {
                self.prepared = None;
                self.acted |= positive && means != Means::Retrieve;
            }
            Some(Means::Prepare) => self.prepared = positive.then(|| line.to_vec()),
            Some(Means::User) => {
                self.login.clear();
                if positive {
                    self.login.push(line.to_vec());
                }
            }
            Some(Means::Login) if positive && self.login.len() < MOST => {
                self.login.push(line.to_vec());
            }
            Some(Means::Login) => self.login.clear(),
            Some(Means::Reinitialize) if reply.is_done() => {
                *self = Self {
                    acted: self.acted,
                    ..Self::default()
                };
            }
            Some(Means::Folder) if reply.is_done() => {
                if words(line).1.starts_with(b"/") {
                    self.folder.clear();
                }
                add(&mut self.folder, line, &mut self.lost);
            }
            Some(Means::AskFolder) if reply.code == 257 => {
                // Who is where the login led needs no command, and may be refused one.
                if let Some(path) = path(&reply.text).filter(|_| !self.folder.is_empty()) {
                    self.folder = vec![[b"CWD ".as_slice(), &path].concat()];
                }
            }
            Some(Means::Setting) if reply.is_done() => {
                let new = name(line);
                for list in [&mut self.early, &mut self.settings] {
                    list.retain(|old| name(old) != new);
                }
                let list = if self.login.is_empty() {
                    &mut self.early
                } else {
                    &mut self.settings
                };
                add(list, line, &mut self.lost);
            }
            Some(Means::Offset | Means::RenameFrom) => {
                self.next = positive.then(|| line.to_vec());
            }
            Some(Means::Quit) => self.quit = reply.is_done(),
            Some(Means::Act) => self.acted |= positive,
            Some(Means::Fact) => self.note_fact(line, reply),
            // What it does to the session is not known.
            None => {
                self.lost |= positive;
                self.acted |= positive;
            }
            Some(_) => {}
        }
    }

    /// Whether it is one that [`Session::note`] makes.
    pub(super) fn is_sound(&self) -> bool {
        let lists = [&self.early, &self.login, &self.folder, &self.settings];
        lists.iter().all(|list| list.len() <= MOST + 1) && self.facts.len() <= FACTS
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::meaning;
    use super::*;

    fn after(exchanges: &[(&str, u16, &str)]) -> Session {
        let mut session = Session::default();
        for (line, code, text) in exchanges {
            let text = text.as_bytes().to_vec();
            let reply = Reply {
                code: *code,
                text,
                file: None,
            };
            session.note(meaning(line.as_bytes()), line.as_bytes(), &reply);
        }
        session
    }

    fn lines(session: &Session) -> Vec<String> {
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let all = session.early().chain(session.login());
        let all = all.chain(session.lasting());
        all.chain(session.last()).map(text).collect()
    }

    #[test]
    fn a_long_session_is_a_short_list() {
        let session = after(&[
            ("USER bob", 331, ""),
            ("PASS wrong", 530, ""),
            ("USER bob", 331, ""),
            ("PASS right", 230, ""),
            ("SYST", 215, ""),
            ("CWD pub", 250, ""),
            ("CWD none", 550, ""),
            ("TYPE A", 200, ""),
            ("opts utf8 on", 200, ""),
            ("PASV", 227, ""),
            ("LIST", 226, ""),
            ("CDUP", 250, ""),
            ("CWD other", 250, ""),
            ("TYPE I", 200, ""),
            ("SIZE x", 213, "9"),
        ]);
        assert!(!session.lost);
        assert_eq!(
            lines(&session),
            [
                "USER bob",
                "PASS right",
                "opts utf8 on",
                "TYPE I",
                "CWD pub",
                "CDUP",
                "CWD other"
            ]
        );
    }

    #[test]
    fn a_folder_that_is_known_by_its_name_needs_one_command() {
        let there = [("CWD a", 250, ""), ("CWD b", 250, "")];
        let asked = [there.as_slice(), &[("PWD", 257, "\"/a/b\" is it")]].concat();
        assert_eq!(lines(&after(&asked)), ["CWD /a/b"]);
        let gone = [there.as_slice(), &[("CWD /c", 250, "")]].concat();
        assert_eq!(lines(&after(&gone)), ["CWD /c"]);
        assert!(lines(&after(&[("PWD", 257, "\"/home/bob\"")])).is_empty());
    }

    #[test]
    fn what_is_for_the_next_command_only_is_told_last() {
        let asked = [
            ("REST 7", 350, ""),
            ("TYPE I", 200, ""),
            ("REST 9", 350, ""),
        ];
        assert_eq!(lines(&after(&asked)), ["TYPE I", "REST 9"]);
        assert!(lines(&after(&[("REST 7", 350, ""), ("RETR x", 550, "")])).is_empty());
        assert_eq!(lines(&after(&[("RNFR a", 350, "")])), ["RNFR a"]);
        assert!(lines(&after(&[("RNFR a", 350, ""), ("RNTO b", 250, "")])).is_empty());
        assert_eq!(lines(&after(&[("QUIT", 221, "")])), ["QUIT"]);
    }

    #[test]
    fn what_is_not_known_may_have_changed_anything() {
        assert!(!after(&[("XYZZ", 502, "")]).lost);
        assert!(after(&[("XYZZ", 200, "")]).lost);
    }

    #[test]
    fn a_folder_too_deep_is_not_short() {
        let down = |count| after(&vec![("CWD d", 250, ""); count]);
        assert!(!down(MOST).lost);
        assert!(down(MOST + 1).lost);
        assert!(down(3 * MOST).is_sound());
    }
}
