// SPDX-License-Identifier: GPL-3.0-only
//! A standby under the wrap, without a logger: the test gives it the record of a killed server. It remembers what that had said,
//! to clients that are there and to those that have gone, and goes on.

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddrV4;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::chain::{Answers, House, goes_on, lines};
use common::{Server, compiled, folder, line, own_address, python};

/// Bytes of the header, and its words that the logger writes.
const HEADER: usize = 128;
const ORDER: u64 = 5 * 8;
const TOLD: u64 = 6 * 8;

fn word(record: &Path, index: usize) -> u64 {
    let bytes = fs::read(record).expect("a record");
    let word = bytes.get(index * 8..).and_then(<[u8]>::first_chunk);
    // It may be empty yet.
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

/// What the logger does at a failover.
fn give(from: &Path, to: &Path, clients: &[SocketAddrV4], order: u64) {
    let new = OpenOptions::new().write(true).open(to).expect("a record");
    let put = |bytes: &[u8], at: u64| new.write_all_at(bytes, at).expect("written");
    if order == 2 {
        let old = fs::read(from).expect("a record");
        let length = usize::try_from(word(from, 1)).expect("a length");
        put(&old[HEADER..HEADER + length], HEADER as u64);
        put(&old[8..24], 8);
    }
    tell(to, clients, 1);
    put(&order.to_le_bytes(), ORDER);
}

fn tell(to: &Path, clients: &[SocketAddrV4], times: u64) {
    // As a whole, as the logger does.
    let new = to.with_added_extension("new");
    fs::write(&new, lines(clients)).expect("written");
    fs::rename(new, to.with_added_extension("clients")).expect("renamed");
    let file = OpenOptions::new().write(true).open(to).expect("a record");
    file.write_all_at(&times.to_le_bytes(), TOLD)
        .expect("written");
}

/// Servers whose records are files.
struct Files {
    folder: PathBuf,
    servers: usize,
    command: Box<dyn Fn() -> Command>,
}

impl Files {
    fn new(folder: PathBuf, command: Box<dyn Fn() -> Command>) -> Self {
        Self {
            folder,
            servers: 0,
            command,
        }
    }

    fn record(&self, server: usize) -> PathBuf {
        self.folder.join(format!("{server}.record"))
    }
}

impl House for Files {
    fn start(&mut self) -> Server {
        self.servers += 1;
        let record = self.record(self.servers);
        let how = if self.servers == 1 { "ring" } else { "standby" };
        let _ = fs::remove_file(&record);
        let wrap = format!("{how}:{}", record.display());
        if self.servers == 1 {
            return Server::start((self.command)(), Some(&wrap));
        }
        let begun = || record.exists() && word(&record, 7) == 1;
        Server::start_unready((self.command)(), Some(&wrap), begun)
    }

    fn give(&mut self, clients: &[SocketAddrV4]) {
        let [from, to] = [self.servers - 1, self.servers].map(|server| self.record(server));
        give(&from, &to, clients, 2);
    }

    fn tell(&mut self, clients: &[SocketAddrV4]) {
        let record = self.record(self.servers);
        tell(&record, clients, word(&record, 6) + 1);
    }

    fn word(&self, index: usize) -> u64 {
        word(&self.record(self.servers), index)
    }
}

#[test]
fn a_standby_in_c_remembers_what_the_dead_server_said() {
    let folder = folder("standby-c");
    let program = compiled("chain", &folder);
    let command = move || Command::new(&program);
    goes_on(&mut Files::new(folder, Box::new(command)));
}

#[test]
fn a_standby_in_python_remembers_what_the_dead_server_said() {
    let command = || python("chain.py");
    goes_on(&mut Files::new(folder("standby-python"), Box::new(command)));
}

/// The record ends between the wait that said that there was something to read, and the read: a program that finds nothing there
/// then takes the connection for ended.
#[test]
fn what_was_ready_when_the_record_ends_is_waited_for() {
    let folder = folder("standby-cut");
    let program = compiled("chain", &folder);
    let mut house = Files::new(folder, Box::new(move || Command::new(&program)));
    let from = own_address();
    let mut answers = Answers::default();
    let mut first = house.start();
    let mut client = first.connect(from);
    let said = answers.ask(&mut client, "hello");
    answers.ask(&mut client, "cut here");
    first.kill();
    // What is read stands in its record behind four bytes: the kind, the descriptor, twice how much.
    let record = house.record(1);
    let bytes = fs::read(&record).expect("a record");
    let mut places = bytes.windows(8).enumerate();
    let found = places.find(|(_, text)| text == b"cut here");
    let end = found.expect("it was read").0 - 4 - HEADER;
    let file = OpenOptions::new().write(true).open(&record);
    let cut = (end as u64).to_le_bytes();
    file.expect("a record")
        .write_all_at(&cut, 8)
        .expect("written");

    let second = house.start();
    house.give(&[from]);
    let mut client = second.connect_at_last(from);
    client.write_all(b"hello\n").expect("it reads");
    assert_eq!(line(&mut client), said);
    // The replay is over, and the read is on its way.
    while house.word(7) != 0 {}
    answers.0.remove(&1);
    answers.ask(&mut client, "cut here");
    answers.check();
}

#[test]
fn a_standby_without_a_record_begins_anew() {
    let folder = folder("standby-live");
    let program = compiled("chain", &folder);
    let mut house = Files::new(folder, Box::new(move || Command::new(&program)));
    house.servers = 1;
    let server = house.start();
    give(Path::new("/dev/null"), &house.record(2), &[], 1);
    let mut answers = Answers::default();
    answers.ask(&mut server.connect_at_last(own_address()), "first");
    answers.check();
    assert!(house.word(2) > 3);
}
