// SPDX-License-Identifier: GPL-3.0-only
//! A standby under the wrap, without a logger: the test gives it the record of a killed server. It remembers what that had said,
//! to clients that are there and to those that have gone, and goes on.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::net::sockopt;

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
    let lines: String = clients.iter().map(|client| format!("{client}\n")).collect();
    // As a whole, as the logger does.
    let new = to.with_added_extension("new");
    fs::write(&new, lines).expect("written");
    fs::rename(new, to.with_added_extension("clients")).expect("renamed");
    let file = OpenOptions::new().write(true).open(to).expect("a record");
    file.write_all_at(&times.to_le_bytes(), TOLD)
        .expect("written");
}

/// All answers, by their numbers.
#[derive(Default)]
struct Answers(BTreeMap<u64, String>);

impl Answers {
    /// Asks and takes the answer.
    fn ask(&mut self, stream: &mut TcpStream, what: &str) -> String {
        stream
            .write_all(format!("{what}\n").as_bytes())
            .expect("it reads");
        self.take(stream)
    }

    fn take(&mut self, stream: &mut TcpStream) -> String {
        let line = line(stream);
        let number = line.split(' ').next().and_then(|it| it.parse().ok());
        self.0.insert(number.expect("a number"), line.clone());
        line
    }

    /// Whether each answer knows all that was said before it.
    fn check(&self) {
        let mut chain = 0xcbf2_9ce4_8422_2325_u64;
        for (expected, (number, line)) in (0..).zip(&self.0) {
            assert_eq!(*number, expected, "an answer is missing");
            assert!(line.contains(&format!(" chain={chain:016x} ")), "{line}");
            for byte in line.bytes() {
                chain = (chain ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
}

struct House {
    folder: PathBuf,
    servers: usize,
    command: Box<dyn Fn() -> Command>,
}

impl House {
    fn record(&self, server: usize) -> PathBuf {
        self.folder.join(format!("{server}.record"))
    }

    /// Starts the next server, which waits for its record unless it is the first.
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
}

fn pid(answer: &str) -> &str {
    answer
        .split("pid=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
}

fn goes_on(name: &str, command: Box<dyn Fn() -> Command>) {
    let mut house = House {
        folder: folder(name),
        servers: 0,
        command,
    };
    let (lasting, over, late) = (own_address(), own_address(), own_address());
    let mut answers = Answers::default();
    let mut first = house.start();
    let mut stays = first.connect(lasting);
    let mut said = answers.ask(&mut stays, "hello");
    for _ in 0..2 {
        // A client that comes twice from one address and goes.
        let mut goes = first.connect(over);
        answers.ask(&mut goes, "in passing");
        // At once: the address is to be free again.
        sockopt::set_socket_linger(&goes, Some(Duration::ZERO)).expect("an option");
        drop(goes);
        said += &answers.ask(&mut stays, "and");
    }
    // One that leaves while the replacement replays.
    let mut lost = first.connect(late);
    answers.ask(&mut lost, "not for long");
    said += &answers.ask(&mut stays, "before the end");
    first.kill();
    let old_pid = pid(&said).to_owned();

    let second = house.start();
    give(&house.record(1), &house.record(2), &[lasting, late], 2);
    // The client as the logger plays it: all that it ever said at once.
    let mut stays = second.connect_at_last(lasting);
    stays
        .write_all(b"hello\nand\nand\nbefore the end\n")
        .expect("it reads");
    tell(&house.record(2), &[lasting], 2);
    let mut again = vec![0; said.len()];
    stays.read_exact(&mut again).expect("it answers as much");
    assert_eq!(String::from_utf8_lossy(&again), said);
    let next = answers.ask(&mut stays, "after it");
    assert_ne!(pid(&next), old_pid);
    answers.ask(&mut second.connect(own_address()), "new");
    answers.check();
    let states = [word(&house.record(2), 7), word(&house.record(2), 4)];
    assert_eq!(states, [0, 0], "it does not record");
}

#[test]
fn a_standby_in_c_remembers_what_the_dead_server_said() {
    let program = compiled("chain", &folder("standby-c"));
    goes_on("standby-c", Box::new(move || Command::new(&program)));
}

#[test]
fn a_standby_in_python_remembers_what_the_dead_server_said() {
    goes_on("standby-python", Box::new(|| python("chain.py")));
}

/// The record ends between the wait that said that there was something to read, and the read: a program that finds nothing there
/// then takes the connection for ended.
#[test]
fn what_was_ready_when_the_record_ends_is_waited_for() {
    let folder = folder("standby-cut");
    let program = compiled("chain", &folder);
    let mut house = House {
        folder,
        servers: 0,
        command: Box::new(move || Command::new(&program)),
    };
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
    give(&record, &house.record(2), &[from], 2);
    let mut client = second.connect_at_last(from);
    client.write_all(b"hello\n").expect("it reads");
    assert_eq!(line(&mut client), said);
    // The replay is over, and the read is on its way.
    while word(&house.record(2), 7) != 0 {}
    answers.0.remove(&1);
    answers.ask(&mut client, "cut here");
    answers.check();
}

#[test]
fn a_standby_without_a_record_begins_anew() {
    let folder = folder("standby-live");
    let program = compiled("chain", &folder);
    let mut house = House {
        folder,
        servers: 1,
        command: Box::new(move || Command::new(&program)),
    };
    let server = house.start();
    give(Path::new("/dev/null"), &house.record(2), &[], 1);
    let mut answers = Answers::default();
    answers.ask(&mut server.connect_at_last(own_address()), "first");
    answers.check();
    assert!(word(&house.record(2), 2) > 3);
}
