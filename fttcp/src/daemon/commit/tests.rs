// SPDX-License-Identifier: GPL-3.0-only
//! Agents at sockets, and agents over a stand-in for Xen's copying.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send, socket_with,
};
use xen_sys::grants::Piece;

use super::super::grants::Copier;
use super::*;

const GROUP: &str = "ftp";
const VIF: &str = "vif1";

fn commits(place: &str) -> Commits {
    let mut commits = Commits::new(Rc::new(Epoll::new().unwrap()));
    let spec = GroupSpec {
        name: GROUP.to_owned(),
        commit: Some(place.to_owned()),
        ..GroupSpec::default()
    };
    assert_eq!(check(&spec), Ok(()));
    commits.watch(&spec);
    commits
}

fn wanted(number: u64) -> Commit {
    Commit {
        group: GROUP.to_owned(),
        interface: VIF.to_owned(),
        number,
    }
}

fn numbers(answers: &[Answer]) -> Vec<(u64, Committed)> {
    answers
        .iter()
        .map(|(commit, how)| (commit.number, *how))
        .collect()
}

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rxl-commit-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn place(&self) -> String {
        self.0.join("{}.commit").display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// An agent at a socket, which answers what a test says.
struct Agent(OwnedFd);

impl Agent {
    fn listen(folder: &Folder) -> Self {
        let path = folder.0.join(format!("{VIF}.commit"));
        let _ = fs::remove_file(&path);
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 4).unwrap();
        Self(socket)
    }

    fn accept(&self) -> OwnedFd {
        accept(&self.0).unwrap()
    }
}

fn asked(logger: &OwnedFd) -> String {
    let mut bytes = [0; 64];
    let (length, _) = recv(logger, &mut bytes, RecvFlags::empty()).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

fn answer(logger: &OwnedFd, text: &str) {
    send(logger, text.as_bytes(), SendFlags::empty()).unwrap();
}

#[test]
fn agent_at_a_socket_is_asked_and_its_answers_are_heard() {
    let folder = Folder::new("socket");
    let agent = Agent::listen(&folder);
    let mut commits = commits(&folder.place());
    assert!(commits.ask(&wanted(1)));
    let logger = agent.accept();
    assert!(commits.ask(&wanted(2)));
    assert_eq!(
        (asked(&logger), asked(&logger)),
        ("1".to_owned(), "2".to_owned())
    );
    assert_eq!(numbers(&commits.hear(1)), []);
    answer(&logger, "2 ok");
    assert!(commits.ask(&wanted(3)));
    answer(&logger, "3 error no space left");
    // What was not asked is not done.
    answer(&logger, "9 ok");
    assert_eq!(
        numbers(&commits.hear(1)),
        [
            (2, Committed::Done),
            (3, Committed::Failed),
            (3, Committed::Done)
        ]
    );
    // The epoll tells of them.
    answer(&logger, "3 ok");
    let mut tokens = Vec::new();
    commits.epoll.wait(&mut tokens, None).unwrap();
    assert_eq!(tokens, [Token::Commit(1)]);
}

#[test]
fn where_no_agent_has_been_there_is_nobody_and_one_that_has_gone_is_waited_for() {
    let folder = Folder::new("gone");
    let mut commits = commits(&folder.place());
    assert!(!commits.ask(&wanted(1)));
    let agent = Agent::listen(&folder);
    assert!(commits.ask(&wanted(2)));
    // It is started anew: it is asked again what it has not answered.
    drop(agent.accept());
    assert_eq!(numbers(&commits.hear(1)), []);
    let logger = agent.accept();
    assert_eq!(asked(&logger), "2");
    // Not for ever.
    drop(logger);
    assert_eq!(numbers(&commits.hear(1)), []);
    assert!(matches!(&commits.ways[0].place, Place::Socket(it) if !it.is_open()));
    assert!(commits.ask(&wanted(3)));
    let logger = agent.accept();
    assert_eq!(asked(&logger), "3");
    drop((logger, agent));
    assert_eq!(numbers(&commits.hear(1)), []);
    assert!(commits.ask(&wanted(4)), "its server may be dying");
    commits.forget(VIF);
    assert!(!commits.ask(&wanted(5)), "another server is there");
    commits.forget_group(GROUP);
    assert!(!commits.ask(&wanted(6)));
}

#[test]
fn place_that_is_none_is_refused() {
    let spec = |place: &str| GroupSpec {
        commit: Some(place.to_owned()),
        ..GroupSpec::default()
    };
    for place in ["", "xen2", "run/{}", "/run/commit", "/run/{}/{}"] {
        assert!(check(&spec(place)).is_err(), "{place}");
    }
    assert_eq!(check(&spec(GRANTED)), Ok(()));
    assert_eq!(check(&GroupSpec::default()), Ok(()));
}

/// A domain's page.
#[derive(Debug, Default)]
struct Domain {
    words: RefCell<[u64; 5]>,
    gone: Cell<bool>,
}

impl Copier for Domain {
    fn copy(&self, _domain: u16, pieces: &mut [Piece<'_>]) -> io::Result<()> {
        if self.gone.get() {
            return Err(io::Error::other("bad domain"));
        }
        let mut bytes: Vec<u8> = self
            .words
            .borrow()
            .iter()
            .flat_map(|it| it.to_le_bytes())
            .collect();
        for piece in pieces {
            match piece {
                Piece::Read { offset, into, .. } => {
                    into.copy_from_slice(&bytes[usize::from(*offset)..][..into.len()]);
                }
                Piece::Write { offset, from, .. } => {
                    bytes[usize::from(*offset)..][..from.len()].copy_from_slice(from);
                }
            }
        }
        for (word, bytes) in self.words.borrow_mut().iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Ok(())
    }
}

impl Domain {
    fn new() -> Rc<Self> {
        let domain = Self::default();
        domain.words.borrow_mut()[0] = u64::from_le_bytes(*b"rxlcomt1");
        Rc::new(domain)
    }

    fn put(&self, word: usize, value: u64) {
        self.words.borrow_mut()[word] = value;
    }

    fn wanted(&self) -> u64 {
        let words = self.words.borrow();
        assert_eq!(words[4], !words[1]);
        words[1]
    }
}

fn grant(gref: u32) -> Grant {
    Grant {
        domain: 7,
        gref,
        port: 1,
    }
}

/// A group whose server's domain grants this page.
fn granted(domain: &Rc<Domain>) -> Commits {
    let mut commits = commits(GRANTED);
    assert!(!commits.ask(&wanted(1)), "there is no page yet");
    let copier = Rc::clone(domain) as Rc<dyn Copier>;
    commits.ways[0].place = Place::Granted(Some(Page::new(grant(8), copier, None)));
    commits
}

fn heard(commits: &mut Commits) -> Vec<(u64, Committed)> {
    numbers(&commits.hear(1))
}

#[test]
fn agent_in_another_domain_is_asked_by_its_page() {
    let domain = Domain::new();
    let mut commits = granted(&domain);
    assert!(commits.ask(&wanted(2)));
    assert_eq!(domain.wanted(), 2);
    assert_eq!(heard(&mut commits), []);
    assert!(commits.ask(&wanted(3)));
    assert_eq!(domain.wanted(), 3);
    domain.put(2, 2);
    assert_eq!(heard(&mut commits), [(2, Committed::Done)]);
    assert_eq!(heard(&mut commits), []);
    domain.put(3, 3);
    assert_eq!(heard(&mut commits), [(3, Committed::Failed)]);
    assert!(commits.ask(&wanted(6)));
    domain.put(2, 5);
    domain.put(3, 6);
    assert_eq!(
        heard(&mut commits),
        [(5, Committed::Done), (6, Committed::Failed)]
    );
}

#[test]
fn numbers_go_on_where_a_logger_before_has_stopped() {
    let domain = Domain::new();
    for (word, number) in [(1, 40), (2, 39), (3, 12)] {
        domain.put(word, number);
    }
    let mut commits = granted(&domain);
    assert!(commits.ask(&wanted(1)));
    assert_eq!(domain.wanted(), 41);
    // That was asked by the other one.
    domain.put(2, 40);
    assert_eq!(heard(&mut commits), []);
    domain.put(2, 41);
    assert_eq!(heard(&mut commits), [(1, Committed::Done)]);
}

#[test]
fn domain_that_has_gone_has_done_nothing_and_is_not_nobody() {
    let domain = Domain::new();
    let mut commits = granted(&domain);
    assert!(commits.ask(&wanted(1)));
    domain.gone.set(true);
    assert_eq!(heard(&mut commits), []);
    assert!(commits.ask(&wanted(2)));
    // Its agent has ended in order.
    let (_, answers) = commits.set_page(VIF, None);
    assert_eq!(numbers(&answers), [(2, Committed::Nobody)]);
    assert!(!commits.ask(&wanted(3)));
}

#[test]
fn page_of_something_else_is_not_written_to() {
    let domain = Domain::new();
    domain.put(0, 1);
    let mut commits = granted(&domain);
    assert!(!commits.ask(&wanted(1)));
    assert_eq!(domain.words.borrow()[1], 0);
}
