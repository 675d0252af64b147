// SPDX-License-Identifier: GPL-3.0-only
//! Servers each of whose answers knows all before it (servers/chain.*), of which a replacement is to go on after a crash,
//! however it gets its record.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::sockopt;

use super::{Server, line, own_address};

/// Servers one after the other, each of which gets the record of the one before it.
pub(crate) trait House {
    /// Starts the next server, which waits for its record unless it is the first.
    fn start(&mut self) -> Server;
    /// What the logger does at a failover: gives the last server the record of the one before it.
    fn give(&mut self, clients: &[SocketAddrV4]);
    /// Tells the last server which of its clients are there still.
    fn tell(&mut self, clients: &[SocketAddrV4]);
    /// A word of the last server's record.
    fn word(&self, index: usize) -> u64;
}

/// A line for each client.
pub(crate) fn lines(clients: &[SocketAddrV4]) -> String {
    clients.iter().map(|client| format!("{client}\n")).collect()
}

/// All answers, by their numbers.
#[derive(Default)]
pub(crate) struct Answers(pub(crate) BTreeMap<u64, String>);

impl Answers {
    /// Asks and takes the answer.
    pub(crate) fn ask(&mut self, stream: &mut TcpStream, what: &str) -> String {
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
    pub(crate) fn check(&self) {
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

fn pid(answer: &str) -> &str {
    answer
        .split("pid=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
}

/// Kills the first server and has the second one remember what that had said, to clients that are there and to those that have
/// gone, and go on.
pub(crate) fn goes_on(house: &mut dyn House) {
    let (lasting, over, late) = (own_address(), own_address(), own_address());
    let mut answers = Answers::default();
    let mut first = house.start();
    let mut stays = first.connect_at_last(lasting);
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
    house.give(&[lasting, late]);
    // The client as the logger plays it: all that it ever said at once.
    let mut stays = second.connect_at_last(lasting);
    stays
        .write_all(b"hello\nand\nand\nbefore the end\n")
        .expect("it reads");
    house.tell(&[lasting]);
    let mut again = vec![0; said.len()];
    stays.read_exact(&mut again).expect("it answers as much");
    assert_eq!(String::from_utf8_lossy(&again), said);
    let next = answers.ask(&mut stays, "after it");
    assert_ne!(pid(&next), old_pid);
    answers.ask(&mut second.connect(own_address()), "new");
    answers.check();
    assert_eq!([house.word(7), house.word(4)], [0, 0], "it does not record");
}
