// SPDX-License-Identifier: GPL-3.0-only
//! Durable services: an answer that tells of a change waits until the server's disk has it.

use super::linked::{DATA, PASSIVE, Session, closes};
use super::moved_links::{DATA_ISN, LOGIN, MOVED};
use super::*;

const DONE: &[u8] = b"226 stored\r\n";
const FILE: &[u8] = b"contents";

fn durable() -> ServiceSpec {
    ServiceSpec {
        durable: true,
        ..ServiceSpec::new(80, "ftp")
    }
}

/// A session in which a file was stored, and its server has said so with its close of the data connection alone.
fn storing() -> Session {
    let mut session = Session::with(durable());
    session.client(b"TYPE I\r\n");
    session.server(b"200 binary\r\n");
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.client(b"STOR x\r\n");
    session.open_data();
    session.server(b"150 go on\r\n");
    session.data();
    let bench = &mut session.bench;
    let file = Say::new(bench.c(0), bench.s(0), PUSH).stamp(103, 7001);
    bench.say(NORTH, &file.data(FILE));
    let end = Say::new(bench.c(8), bench.s(0), FIN).stamp(103, 7001);
    bench.say(NORTH, &end);
    let close = Say::new(bench.s(0), bench.c(9), FIN).stamp(7002, 103);
    assert!(!closes(&bench.say(ACTIVE, &close)));
    session
}

impl Session {
    /// The server says the same again, in which it has heard of nothing.
    fn again(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.said[1] -= bytes.len() as u32;
        self.server(bytes)
    }

    fn wanted(&mut self) -> Vec<(String, u64)> {
        let all = std::iter::from_fn(|| self.bench.engine.poll_commit());
        all.map(|it| (it.interface, it.number)).collect()
    }

    fn commit(&mut self, interface: &str, number: u64, how: Committed) -> Vec<Seen> {
        let done = Commit {
            group: "web".to_owned(),
            interface: interface.to_owned(),
            number,
        };
        let mut sent = Sent::default();
        let (engine, now) = (&mut self.bench.engine, self.bench.now);
        engine.committed(now, &done, how, &mut sent);
        Bench::seen(sent)
    }

    fn events(&mut self) -> Vec<String> {
        let all = std::iter::from_fn(|| self.bench.engine.poll_event());
        all.map(|event| event.to_string()).collect()
    }
}

/// What the client is told on the control connection.
fn told(seen: &[Seen]) -> Vec<u8> {
    let north = seen
        .iter()
        .filter(|it| it.port == NORTH && it.ports[0] != DATA);
    north.flat_map(|it| it.data.clone()).collect()
}

fn one(interface: &str, number: u64) -> Vec<(String, u64)> {
    vec![(interface.to_owned(), number)]
}

#[test]
fn answer_passes_when_the_disk_has_what_it_tells_of() {
    let mut session = storing();
    assert_eq!(told(&session.server(DONE)), b"");
    assert_eq!(session.wanted(), one("vif1", 1));
    assert_eq!(told(&session.again(DONE)), b"");
    assert_eq!(session.wanted(), []);
    session.bench.now = session.bench.now.after(Duration::from_millis(3));
    let seen = session.commit("vif1", 1, Committed::Done);
    assert_eq!(told(&seen), DONE);
    assert!(closes(&seen), "{seen:?}");
    let counters = session.bench.counters();
    assert_eq!((counters.commits, counters.commits_waited_us), (1, 3000));
    assert_eq!(counters.commits_not_durable, 0);
    // It may be lost on its way.
    assert_eq!(told(&session.again(DONE)), DONE);
    assert_eq!(session.wanted(), []);
    assert_eq!(told(&session.commit("vif1", 1, Committed::Done)), b"");
}

#[test]
fn what_tells_of_no_change_does_not_wait() {
    let mut session = Session::with(durable());
    session.client(b"DELE x\r\n");
    let seen = session.server(b"550 no such file\r\n");
    assert_eq!(told(&seen), b"550 no such file\r\n");
    session.client(b"NOOP\r\nDELE y\r\n");
    assert_eq!(
        told(&session.server(b"200 yes\r\n250 gone\r\n")),
        b"200 yes\r\n"
    );
    assert_eq!(session.wanted(), one("vif1", 1));
    assert_eq!(
        told(&session.commit("vif1", 1, Committed::Done)),
        b"250 gone\r\n"
    );
    let mut session = Session::new();
    session.client(b"DELE x\r\n");
    assert_eq!(told(&session.server(b"250 gone\r\n")), b"250 gone\r\n");
    assert_eq!(session.wanted(), []);
}

#[test]
fn request_covers_what_was_said_before_it_and_nothing_else() {
    let mut session = Session::with(durable());
    session.client(b"DELE a\r\nDELE b\r\nNOOP\r\n");
    assert_eq!(told(&session.server(b"250 a\r\n")), b"");
    assert_eq!(session.wanted(), one("vif1", 1));
    assert_eq!(told(&session.server(b"250 b\r\n200 yes\r\n")), b"");
    assert_eq!(session.wanted(), []);
    assert_eq!(
        told(&session.commit("vif1", 1, Committed::Done)),
        b"250 a\r\n"
    );
    assert_eq!(session.wanted(), one("vif1", 2));
    assert_eq!(told(&session.commit("vif1", 1, Committed::Done)), b"");
    let seen = session.commit("vif1", 2, Committed::Done);
    assert_eq!(told(&seen), b"250 b\r\n200 yes\r\n");
}

#[test]
fn connections_whose_answers_come_together_share_a_request() {
    let mut session = Session::with(durable());
    session.bench.client_port = 40_007;
    session.bench.open(7);
    let (mut client, mut server) = (0, 0);
    for (port, bytes) in [
        (ACTIVE, &b"220 here\r\n"[..]),
        (NORTH, b"USER x\r\n"),
        (ACTIVE, b"230 in\r\n"),
        (NORTH, b"DELE b\r\n"),
    ] {
        session.bench.client_port = 40_007;
        let (c, s) = (session.bench.c(client), session.bench.s(server));
        let (seq, ack) = if port == NORTH { (c, s) } else { (s, c) };
        *(if port == NORTH {
            &mut client
        } else {
            &mut server
        }) += bytes.len() as u32;
        session
            .bench
            .say(port, &Say::new(seq, ack, PUSH).stamp(7001, 102).data(bytes));
    }
    let other = |session: &mut Session, bytes: &'static [u8]| {
        session.bench.client_port = 40_007;
        let say = Say::new(session.bench.s(server), session.bench.c(client), PUSH);
        session.bench.say(ACTIVE, &say.stamp(7002, 103).data(bytes))
    };
    session.client(b"DELE a\r\n");
    session.server(b"250 a\r\n");
    assert_eq!(told(&other(&mut session, b"250 b\r\n")), b"");
    assert_eq!(session.wanted(), one("vif1", 1));
    let seen = session.commit("vif1", 1, Committed::Done);
    let mut ports: Vec<u16> = seen
        .iter()
        .filter(|it| !it.data.is_empty())
        .map(|it| it.ports[1])
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [40_000, 40_007]);
    assert_eq!(session.bench.counters().commits, 2);
}

#[test]
fn server_that_dies_while_its_answer_waits_is_replaced_in_the_middle_of_the_upload() {
    let mut session = storing();
    session.server(DONE);
    assert_eq!(session.wanted(), one("vif1", 1));
    session.bench.wait(Duration::from_secs(4));
    session.again(DONE);
    session.said[1] -= DONE.len() as u32;
    let asked = session.fail_over();
    assert_eq!(
        String::from_utf8_lossy(&asked),
        "USER x\r\nTYPE I\r\nPASV\r\nSTOR x\r\n"
    );
    assert_eq!(told(&session.commit("vif1", 1, Committed::Done)), b"");
    // The replacement is told the whole file.
    let mut at = LOGIN.len();
    session.replies(0, LOGIN);
    let passive = b"227 Passive (10,0,0,2,23,112)\r\n";
    session.replies(at, passive);
    at += passive.len();
    (session.bench.server_port, session.bench.client_port) = (MOVED, 40_001);
    let answer = Say::new(DATA_ISN, session.bench.c(0), SYN_ACK).offer(7);
    let mut seen = session.bench.say(STANDBY, &answer.stamp(50, 103));
    seen.extend(session.bench.wait(Duration::from_millis(50)));
    let said: Vec<u8> = seen
        .iter()
        .filter(|it| it.port == STANDBY)
        .flat_map(|it| it.data.clone())
        .collect();
    assert_eq!(String::from_utf8_lossy(&said), "contents");
    let begun = b"150 go on\r\n";
    assert_eq!(told(&session.replies(at, begun)), b"");
    at += begun.len();
    (session.bench.server_port, session.bench.client_port) = (MOVED, 40_001);
    let close = Say::new(DATA_ISN + 1, session.bench.c(9), FIN).stamp(51, 104);
    assert!(!closes(&session.bench.say(STANDBY, &close)));
    // Nor is its answer believed before its disk has the file; what the dead one's had, says nothing of it.
    assert_eq!(told(&session.replies(at, DONE)), b"");
    assert_eq!(session.wanted(), one("vif2", 2));
    assert_eq!(told(&session.commit("vif1", 2, Committed::Done)), b"");
    assert_eq!(told(&session.commit("vif2", 1, Committed::Done)), b"");
    let seen = session.commit("vif2", 2, Committed::Done);
    assert_eq!(told(&seen), DONE);
    assert!(closes(&seen), "{seen:?}");
    let counters = session.bench.counters();
    assert_eq!(
        (counters.commits, counters.lost, counters.diverged),
        (1, 0, 0)
    );
}

#[test]
fn replacement_that_says_all_at_once_is_not_believed_sooner() {
    let mut session = storing();
    session.server(DONE);
    session.said[1] -= DONE.len() as u32;
    session.fail_over();
    let passive = b"227 Passive (10,0,0,2,23,112)\r\n";
    let replies = [LOGIN, passive].concat();
    session.replies(0, &replies);
    // Its 150 was lost, and comes once more with what followed.
    let seen = session.replies(replies.len(), &[b"150 go on\r\n", DONE].concat());
    assert_eq!(told(&seen), b"");
    assert_eq!(session.wanted().last(), one("vif2", 2).last());
    assert_eq!(told(&session.commit("vif2", 2, Committed::Done)), DONE);
}

#[test]
fn close_of_an_upload_waits_with_its_answer() {
    let mut session = storing();
    session.bench.now = session.bench.now.after(Duration::from_millis(1900));
    session.server(DONE);
    for _ in 0..9 {
        let seen = session.bench.wait(Duration::from_secs(1));
        assert!(!closes(&seen), "{seen:?}");
    }
    assert!(closes(&session.commit("vif1", 1, Committed::Done)));
}

#[test]
fn close_that_comes_behind_the_answer_waits_too() {
    let mut session = Session::with(durable());
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.client(b"STOR x\r\n");
    session.open_data();
    session.server(b"150 go on\r\n");
    session.server(DONE);
    session.file(0, FIN, b"");
    for _ in 0..9 {
        let seen = session.bench.wait(Duration::from_secs(1));
        assert!(!closes(&seen), "{seen:?}");
    }
}

#[test]
fn answer_that_waits_for_too_long_passes_and_is_told_of() {
    let mut session = storing();
    session.server(DONE);
    assert_eq!(told(&session.bench.wait(Duration::from_millis(9_900))), b"");
    session.events();
    let seen = session.bench.wait(Duration::from_millis(200));
    assert_eq!(told(&seen), DONE);
    assert!(closes(&seen), "{seen:?}");
    let counters = session.bench.counters();
    assert_eq!((counters.commits, counters.commits_not_durable), (0, 1));
    let events = session.events();
    assert!(
        events[0].contains("passed before it was durable: the time"),
        "{events:?}"
    );
    assert_eq!(told(&session.commit("vif1", 1, Committed::Done)), b"");
}

#[test]
fn answer_of_which_nobody_can_be_asked_passes_at_once_and_is_told_of_once() {
    let mut session = Session::with(durable());
    for (number, how, lines) in [
        (1, Committed::Nobody, 1),
        (2, Committed::Nobody, 0),
        (3, Committed::Failed, 1),
    ] {
        session.client(b"DELE a\r\n");
        session.server(b"250 a\r\n");
        assert_eq!(session.wanted(), one("vif1", number));
        assert_eq!(told(&session.commit("vif1", number, how)), b"250 a\r\n");
        assert_eq!(session.events().len(), lines, "{how:?}");
    }
    assert_eq!(session.bench.counters().commits_not_durable, 3);
}

#[test]
fn logger_that_is_restarted_asks_again() {
    let mut session = Session::with(durable());
    session.client(b"DELE a\r\n");
    session.server(b"250 a\r\n");
    assert_eq!(session.wanted(), one("vif1", 1));
    session
        .bench
        .restart(ACTIVE, vec![STANDBY, SECOND], EngineConfig::default());
    assert_eq!(session.wanted(), []);
    assert_eq!(told(&session.again(b"250 a\r\n")), b"");
    assert_eq!(session.wanted(), one("vif1", 1));
    assert_eq!(
        told(&session.commit("vif1", 1, Committed::Done)),
        b"250 a\r\n"
    );
}

#[test]
fn what_lies_beyond_a_gap_does_not_pass() {
    let mut session = Session::with(durable());
    session.client(b"NOOP\r\nDELE a\r\n");
    session.said[1] += 9;
    assert_eq!(told(&session.server(b"250 a\r\n")), b"");
    assert_eq!(session.wanted(), []);
    session.said[1] -= 16;
    assert_eq!(told(&session.server(b"200 yes\r\n")), b"200 yes\r\n");
    assert_eq!(told(&session.server(b"250 a\r\n")), b"");
    assert_eq!(session.wanted(), one("vif1", 1));
}

#[test]
fn client_whose_answer_waits_for_a_disk_does_not_wait_for_its_server() {
    let mut session = Session::with(durable());
    session.client(b"DELE a\r\n");
    let owed = |session: &mut Session| {
        let mut sent = Sent::default();
        let (engine, now) = (&mut session.bench.engine, session.bench.now);
        let silence = engine.probe(now, "web", &mut sent).expect("it is there");
        session.bench.now = session.bench.now.after(Duration::from_secs(1));
        silence.owed_ms
    };
    assert_eq!((owed(&mut session), owed(&mut session)), (0, 1000));
    session.server(b"250 a\r\n");
    assert_eq!((owed(&mut session), owed(&mut session)), (0, 0));
}

#[test]
fn kind_that_knows_of_no_changes_cannot_be_durable() {
    let mut engine = Engine::new(EngineConfig::default());
    let spec = GroupSpec {
        name: "web".to_owned(),
        services: vec![ServiceSpec {
            durable: true,
            ..ServiceSpec::new(80, "http")
        }],
        ..GroupSpec::default()
    };
    let ports = GroupPorts {
        north: NORTH,
        active: ACTIVE,
        standbys: Vec::new(),
    };
    let refused = engine.add_group(spec, ports).expect_err("it cannot");
    let text = refused.to_string();
    assert!(text.contains("port 80") && text.contains("http"), "{text}");
}
