// SPDX-License-Identifier: GPL-3.0-only
//! A file of which servers die while it is transferred is not given to one after the other; its session goes on.

use super::linked::{PASSIVE, Session, closes};
use super::moved_links::{DATA_ISN, LOGIN, MOVED};
use super::*;

const PORT_REPLY: &[u8] = b"227 Passive (10,0,0,2,23,112)\r\n";
const BEGUN: &[u8] = b"150 go on\r\n";
const ABORTED: &str = "426 Transfer aborted.\r\n";

/// A session whose server has begun to do this with a file.
fn transferring(poison_deaths: u8, command: &[u8]) -> Session {
    let mut session = Session::with(ServiceSpec {
        poison_deaths,
        ..ServiceSpec::new(80, "ftp")
    });
    session.client(b"TYPE I\r\n");
    session.server(b"200 binary\r\n");
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.client(command);
    session.open_data();
    session.server(BEGUN);
    session
}

impl Session {
    /// The client says this of the file, after `at` bytes.
    fn stores(&mut self, at: u32, bytes: &[u8]) {
        self.data();
        let say = Say::new(self.bench.c(at), self.bench.s(0), PUSH).stamp(104, 7001);
        self.bench.say(NORTH, &say.data(bytes));
    }

    /// The first server, or else its replacement, has so many bytes of the file.
    fn took(&mut self, first: bool, count: u32) {
        self.data();
        let ack = self.bench.c(count);
        if first {
            let say = Say::new(self.bench.s(0), ack, ACK).stamp(7001, 104);
            self.bench.say(ACTIVE, &say);
        } else {
            self.bench.server_port = MOVED;
            let say = Say::new(DATA_ISN + 1, ack, ACK).stamp(51, 104);
            self.bench.say(STANDBY, &say);
        }
    }

    /// The replacement's TCP has so many bytes of the file, of which its program has read only `read`.
    fn buffers(&mut self, count: u32, read: u32) {
        self.data();
        self.bench.server_port = MOVED;
        let window = 500 - (count - read).div_ceil(128) as u16;
        let say = Say::new(DATA_ISN + 1, self.bench.c(count), ACK).stamp(52, 104);
        self.bench.say(STANDBY, &say.window(window));
    }

    /// The server dies, and the replacement begins with the transfer again.
    fn begins_again(&mut self, command: &str) {
        let asked = self.fail_over();
        assert!(asked.ends_with(command.as_bytes()), "{asked:?}");
        let replies = [LOGIN, PORT_REPLY].concat();
        self.replies(0, &replies);
        self.at_moved(DATA_ISN, SYN_ACK, b"");
        self.replies(replies.len(), BEGUN);
    }

    /// The second server dies, too. Says whether the transfer is given up; its session goes on in either case.
    #[track_caller]
    fn is_given_up(&mut self, word: &str) -> bool {
        let seen = self.bench.fail_over();
        assert!(!closes(&seen), "{seen:?}");
        let resets = |it: &Seen| it.port == NORTH && it.head.flags.has(Flags::RST);
        let reset: Vec<u16> = seen
            .iter()
            .filter(|it| resets(it))
            .map(|it| it.ports[1])
            .collect();
        let asked = self.asked_of(SECOND);
        let asked = String::from_utf8_lossy(&asked);
        assert!(asked.starts_with("USER x\r\n"), "{asked}");
        let counters = self.bench.counters();
        let given_up = counters.poisoned == 1;
        assert_eq!(asked.contains(word), !given_up, "{asked}");
        assert_eq!(
            (reset.len(), counters.lost),
            if given_up { (1, 1) } else { (0, 0) }
        );
        // The data connection's client, and not the other's.
        assert!(reset.iter().all(|&port| port == self.ports[1]));
        given_up
    }

    /// What the client is told on the control connection while the third server takes the session.
    fn hears(&mut self, login: &[u8]) -> String {
        self.control();
        let client = self.bench.c(self.said[0]);
        let say = Say::new(77_001, client, PUSH).stamp(41, 103);
        let mut seen = self.bench.say(SECOND, &say.data(login));
        seen.extend(self.bench.wait(Duration::from_millis(500)));
        let heard = seen.iter().filter(|it| it.port == NORTH);
        let heard: Vec<u8> = heard.flat_map(|it| it.data.clone()).collect();
        String::from_utf8_lossy(&heard).into_owned()
    }
}

#[test]
fn upload_of_which_servers_die_is_not_given_to_a_third() {
    for taken in [0, 700] {
        let mut session = transferring(2, b"STOR x\r\n");
        session.stores(0, &[b'x'; 1000]);
        session.took(true, taken);
        session.begins_again("STOR x\r\n");
        session.took(false, 1000);
        // What its client goes on saying proves nothing, nor that it comes to a server.
        session.stores(1000, &[b'y'; 1000]);
        session.buffers(1900, 1000);
        assert!(session.is_given_up("STOR"));
        let heard = session.hears(LOGIN);
        assert!(heard.contains(ABORTED), "{heard}");
        let events = std::iter::from_fn(|| session.bench.engine.poll_event());
        let log: String = events.map(|event| format!("{event}\n")).collect();
        let line = "2 servers have died with this request under way, no other gets it: \"STOR x\"";
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn session_lives_on_without_the_transfer() {
    let mut session = transferring(2, b"STOR x\r\n");
    session.stores(0, b"deadly");
    session.begins_again("STOR x\r\n");
    assert!(session.is_given_up("STOR"));
    session.hears(LOGIN);
    session.said[1] += ABORTED.len() as u32;
    let seen = session.client(b"NOOP\r\n");
    let told = seen.iter().filter(|it| it.port == SECOND);
    let told: Vec<u8> = told.flat_map(|it| it.data.clone()).collect();
    assert_eq!(told, b"NOOP\r\n", "{seen:?}");
}

#[test]
fn download_of_which_servers_die_is_not_given_to_a_third() {
    for said in [&b""[..], b"contents"] {
        let mut session = transferring(2, b"RETR x\r\n");
        session.file(0, PUSH, said);
        session.has(said.len() as u32);
        session.begins_again("RETR x\r\n");
        // The dying server's TCP closes in its name: half a file is not a whole one.
        session.at_moved(DATA_ISN + 1, PUSH, said);
        session.at_moved(DATA_ISN + 1 + said.len() as u32, FIN, b"");
        assert!(session.is_given_up("RETR"));
    }
}

#[test]
fn transfer_that_goes_on_is_given_to_a_third_server() {
    let mut session = transferring(2, b"STOR x\r\n");
    session.stores(0, &[b'x'; 1000]);
    session.took(true, 500);
    session.begins_again("STOR x\r\n");
    session.took(false, 1000);
    session.stores(1000, &[b'y'; 1000]);
    session.took(false, 1001);
    assert!(!session.is_given_up("STOR"));

    let mut session = transferring(2, b"RETR x\r\n");
    session.file(0, PUSH, b"contents");
    session.has(8);
    session.begins_again("RETR x\r\n");
    session.at_moved(DATA_ISN + 1, PUSH, b"contents and");
    assert!(!session.is_given_up("RETR"));
}

#[test]
fn transfer_that_the_second_server_was_not_told_is_innocent() {
    let mut session = transferring(2, b"STOR x\r\n");
    session.stores(0, &[b'x'; 1000]);
    session.bench.fail_over();
    assert!(!session.is_given_up("STOR"));
}

#[test]
fn rule_for_transfers_may_be_off_or_more_patient_or_less() {
    for (deaths, given_up) in [(0, false), (3, false)] {
        let mut session = transferring(deaths, b"STOR x\r\n");
        session.stores(0, b"deadly");
        session.begins_again("STOR x\r\n");
        assert_eq!(session.is_given_up("STOR"), given_up);
    }
    // One that dies in the middle of a transfer proves nothing; of one that has come nowhere, it does.
    for (taken, told) in [(0, false), (3, true)] {
        let mut session = transferring(1, b"STOR x\r\n");
        session.stores(0, b"deadly");
        session.took(true, taken);
        let asked = session.fail_over();
        assert_eq!(asked.ends_with(b"STOR x\r\n"), told);
    }
}

#[test]
fn deaths_of_a_transfer_count_in_another_process_of_the_logger() {
    let mut session = transferring(2, b"STOR x\r\n");
    session.stores(0, b"deadly");
    session.begins_again("STOR x\r\n");
    session.restart_at(STANDBY, &[SECOND]);
    session.asked();
    assert!(session.is_given_up("STOR"));
}

#[test]
fn transfer_without_a_data_connection_is_given_up_too() {
    let mut session = Session::new();
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.client(b"RETR x\r\n");
    session.server(BEGUN);
    let asked = session.fail_over();
    assert!(asked.ends_with(b"RETR x\r\n"), "{asked:?}");
    session.replies(0, b"220 other\r\n230 in\r\n");
    session.bench.fail_over();
    let asked = session.asked_of(SECOND);
    assert_eq!(String::from_utf8_lossy(&asked), "USER x\r\n");
    assert_eq!(session.bench.counters().poisoned, 1);
}
