// SPDX-License-Identifier: GPL-3.0-only
//! What an FTP server remembers of a session, as the commands that bring another server to the same: who the client is,
//! which folder, and the settings. A thousand commands leave a handful.

use serde::{Deserialize, Serialize};

use super::command::{Means, words};
use super::reply::{Reply, path};

/// Most commands in a row that lead to a folder, and most settings. With more, nothing is short.
const MOST: usize = 64;

/// See the module's text. Lines are without their ends.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Session {
    /// Not all of it is known.
    pub(super) lost: bool,
    login: Vec<Vec<u8>>,
    folder: Vec<Vec<u8>>,
    settings: Vec<Vec<u8>>,
    /// For the next command only.
    next: Option<Vec<u8>>,
    /// The last of all.
    quit: bool,
}

/// By what a setting is replaced: its word, and for some the next.
fn name(line: &[u8]) -> Vec<Vec<u8>> {
    let (word, rest) = words(line);
    match word.as_slice() {
        b"OPTS" | b"SITE" => vec![word, words(rest).0],
        _ => vec![word],
    }
}

impl Session {
    /// The commands; each is answered once.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.login.iter().chain(&self.settings).chain(&self.folder);
        let quit = self.quit.then_some(&b"QUIT"[..]);
        lines.chain(&self.next).map(Vec::as_slice).chain(quit)
    }

    /// A command was answered for good.
    pub(super) fn note(&mut self, means: Option<Means>, line: &[u8], reply: &Reply) {
        let positive = reply.code < 400;
        self.next = None;
        match means {
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
            Some(Means::Reinitialize) if reply.is_done() => *self = Self::default(),
            Some(Means::Folder) if reply.is_done() => {
                if words(line).1.starts_with(b"/") {
                    self.folder.clear();
                }
                self.lost |= self.folder.len() == MOST;
                self.folder.push(line.to_vec());
            }
            Some(Means::AskFolder) if reply.code == 257 => {
                // Who is where the login led needs no command, and may be refused one.
                if let Some(path) = path(&reply.text).filter(|_| !self.folder.is_empty()) {
                    self.folder = vec![[b"CWD ".as_slice(), &path].concat()];
                }
            }
            Some(Means::Setting) if reply.is_done() => {
                let new = name(line);
                self.settings.retain(|old| name(old) != new);
                self.lost |= self.settings.len() == MOST;
                self.settings.push(line.to_vec());
            }
            Some(Means::Offset | Means::RenameFrom) => {
                self.next = positive.then(|| line.to_vec());
            }
            Some(Means::Quit) => self.quit = reply.is_done(),
            // What it does to the session is not known.
            None => self.lost |= positive,
            Some(_) => {}
        }
    }

    /// Whether it is one that [`Session::note`] makes.
    pub(super) fn is_sound(&self) -> bool {
        let lists = [&self.login, &self.folder, &self.settings];
        lists.iter().all(|list| list.len() <= MOST + 1)
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
            let reply = Reply { code: *code, text };
            session.note(meaning(line.as_bytes()), line.as_bytes(), &reply);
        }
        session
    }

    fn lines(session: &Session) -> Vec<String> {
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        session.lines().map(text).collect()
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
        let down: Vec<_> = std::iter::repeat_n(("CWD d", 250, ""), MOST + 1).collect();
        assert!(after(&down).lost);
    }
}
