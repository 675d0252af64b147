// SPDX-License-Identifier: GPL-3.0-only
//! Connections that the server opens because a client has asked for it on another one: FTP in active mode.

use super::super::linked::Session;
use super::super::moved_links::LOGIN;
use super::*;

const MOVED: Ports = (DATA.0, 41_000);
/// The replacement's initial sequence number.
const NEW: u32 = 55_000;
const PORT: &[u8] = b"PORT 10,0,0,1,19,136\r\n";

fn session(outbound: Outbound) -> Session {
    let service = ServiceSpec {
        verify: crate::control::Verify::Sampled,
        ..ServiceSpec::new(80, "ftp")
    };
    let mut session = Session::on(bench_of(outbound, service));
    session.client(b"TYPE I\r\n");
    session.server(b"200 binary\r\n");
    session
}

/// A session that has named an end of its client.
fn asking(outbound: Outbound) -> Session {
    let mut session = session(outbound);
    session.client(PORT);
    session.server(b"200 fine\r\n");
    session
}

/// A session to which a connection was opened, for what is asked by `command`.
fn transferring(command: &[u8]) -> Session {
    begin(asking(Outbound::Pass), command)
}

fn begin(mut session: Session, command: &[u8]) -> Session {
    session.client(command);
    open(&mut session.bench, DATA, ISN, PEER_ISN);
    session.server(b"150 coming (12 bytes)\r\n");
    let (bench, [said, heard]) = (&mut session.bench, session.said);
    let ack = Say::new(bench.c(said), bench.s(heard), ACK).stamp(103, 7001);
    bench.say(NORTH, &ack);
    session
}

/// The server's data, after `at` bytes; what leaves.
fn file(session: &mut Session, port: PortId, ports: Ports, seq: u32, bytes: &[u8]) -> Vec<Out> {
    let said = Say::new(seq, PEER_ISN + 1, PUSH).stamp(7010, 100);
    say(&mut session.bench, port, ports, &said.data(bytes))
}

/// The client has so much of it.
fn has(session: &mut Session, count: u32) -> Vec<Out> {
    let had = Say::new(PEER_ISN + 1, ISN + 1 + count, ACK).stamp(103, 7010);
    say(&mut session.bench, NORTH, DATA, &had)
}

fn north(outs: &[Out]) -> Vec<u8> {
    let north = outs.iter().filter(|it| it.port == NORTH);
    north.flat_map(|it| it.data.clone()).collect()
}

fn ends(outs: &[Out]) -> bool {
    outs.iter()
        .any(|it| it.port == NORTH && it.head.flags.has(Flags::FIN))
}

#[test]
fn trap_35_announced_connection_is_protected_under_any_policy_but_one() {
    for outbound in [Outbound::Pass, Outbound::Keep, Outbound::ReIssue] {
        for ports in [DATA, MOVED] {
            let mut session = asking(outbound);
            open(&mut session.bench, ports, ISN, PEER_ISN);
            assert_eq!(session.bench.counters().protected, 2, "{outbound:?}");
        }
    }
    let mut session = asking(Outbound::Forbid);
    let syn = Say::new(ISN, 0, Flags::SYN).offer(7).stamp(7000, 0);
    let sent = say(&mut session.bench, ACTIVE, DATA, &syn);
    assert_eq!((sent[0].port, sent[0].head.flags), (ACTIVE, RST));
    assert_eq!(session.bench.counters().forbidden, 1);
}

#[test]
fn trap_35_only_the_end_that_its_own_client_names_is_followed() {
    let protected = |lines: &[&[u8]], ports| {
        let mut session = session(Outbound::Pass);
        for pair in lines.chunks(2) {
            session.client(pair[0]);
            session.server(pair[1]);
        }
        open(&mut session.bench, ports, ISN, PEER_ISN);
        session.bench.counters().protected
    };
    let fine: &[u8] = b"200 fine\r\n";
    assert_eq!(protected(&[PORT, fine], DATA), 2);
    assert_eq!(protected(&[b"EPRT |1|10.0.0.1|5000|\r\n", fine], DATA), 2);
    assert_eq!(protected(&[PORT, fine], (5001, 20)), 1, "another end");
    let other = b"PORT 10,0,0,9,19,136\r\n";
    assert_eq!(protected(&[other, fine], DATA), 1, "another host");
    assert_eq!(protected(&[PORT, b"500 no\r\n"], DATA), 1);
    let mut bench = bench_of(Outbound::Pass, ServiceSpec::new(80, "ftp"));
    bench.v6 = true;
    let mut session = Session::on(bench);
    session.client(b"EPRT |2|fd00::1|5000|\r\n");
    session.server(fine);
    open(&mut session.bench, DATA, ISN, PEER_ISN);
    assert_eq!(session.bench.counters().protected, 2);
    let done: [&[u8]; 4] = [PORT, fine, b"LIST\r\n", b"226 done\r\n"];
    assert_eq!(protected(&done, DATA), 1, "it was for one transfer");
}

#[test]
fn trap_35_connection_may_come_before_the_answer() {
    let mut session = session(Outbound::Pass);
    session.client(PORT);
    open(&mut session.bench, MOVED, ISN, PEER_ISN);
    session.server(b"200 here\r\n");
    assert_eq!(session.bench.counters().protected, 2);
}

#[test]
fn trap_35_close_of_an_announced_connection_waits_for_the_reply() {
    let mut session = transferring(b"RETR x\r\n");
    file(&mut session, ACTIVE, DATA, ISN + 1, b"contents");
    let fin = Say::new(ISN + 9, PEER_ISN + 1, FIN).stamp(7011, 100);
    assert!(!ends(&say(&mut session.bench, ACTIVE, DATA, &fin)));
    // Its server hears that its close has come, and of the client's, which has nothing more to say.
    let sent = has(&mut session, 8);
    let left = sent.iter().find(|it| it.head.flags.has(Flags::FIN));
    assert_eq!(left.map(|it| (it.port, it.ports)), Some((ACTIVE, DATA)));
    let sent = session.server(b"226 done\r\n");
    let ended = sent.iter().find(|it| it.head.flags.has(Flags::FIN));
    assert_eq!(ended.map(|it| it.ports), Some([20, 5000]), "{sent:?}");
}

/// The server dies; the replacement is told `want`, and opens the connection from `ports`.
fn reopened(session: &mut Session, want: &str, ports: Ports) -> Out {
    let asked = session.fail_over();
    let asked = String::from_utf8_lossy(&asked).into_owned();
    assert_eq!(
        asked,
        format!("USER x\r\nTYPE I\r\nPORT 10,0,0,1,19,136\r\n{want}")
    );
    session.replies(0, &[LOGIN, b"200 fine\r\n"].concat());
    let mut sent = reopen(&mut session.bench, ports, NEW);
    assert_eq!(sent.len(), 1, "the SYN does not pass");
    sent.remove(0)
}

#[test]
fn trap_35_download_goes_on_when_the_replacement_opens_its_connection() {
    for ports in [DATA, MOVED] {
        let mut session = transferring(b"RETR x\r\n");
        file(&mut session, ACTIVE, DATA, ISN + 1, b"contents");
        has(&mut session, 5);
        let answer = reopened(&mut session, "REST 5\r\nRETR x\r\n", ports);
        assert_eq!(
            (answer.port, answer.ports, answer.head.flags),
            (STANDBY, ports, SYN_ACK)
        );
        assert_eq!((answer.head.seq.0, answer.head.ack.0), (PEER_ISN, NEW + 1));
        let again = reopen(&mut session.bench, ports, NEW);
        assert_eq!(
            (again[0].head.flags, again[0].head.ack.0),
            (SYN_ACK, NEW + 1)
        );
        complete(&mut session.bench, ports, NEW, &answer);

        let begun = b"350 from there\r\n150 coming (7 bytes)\r\n";
        let told = LOGIN.len() + b"200 fine\r\n".len();
        session.replies(told, begun);
        let sent = file(&mut session, STANDBY, ports, NEW + 1, b"nts and more");
        assert_eq!(north(&sent), b"nts and more");
        let first = sent.iter().find(|it| it.port == NORTH);
        let first = first.map(|it| (it.ports, it.head.seq.0));
        assert_eq!(first, Some((DATA, ISN + 6)));
        // The end is told when all of it is there.
        let sent = session.replies(told + begun.len(), b"226 done\r\n");
        assert!(sent.iter().all(|it| it.data.is_empty()), "{sent:?}");
        let sent = has(&mut session, 17);
        assert!(
            sent.iter()
                .any(|it| it.port == STANDBY && it.ports == ports && it.head.ack.0 == NEW + 13)
        );
        let fin = Say::new(NEW + 13, PEER_ISN + 1, FIN).stamp(7011, 100);
        let sent = say(&mut session.bench, STANDBY, ports, &fin);
        assert!(ends(&sent), "{sent:?}");
        assert_eq!(north(&sent), b"226 done\r\n");
        let counters = session.bench.counters();
        assert_eq!((counters.lost, counters.resumed), (0, 2));
    }
}

#[test]
fn trap_35_upload_is_told_again_when_the_replacement_opens_its_connection() {
    let mut session = transferring(b"STOR x\r\n");
    let said = Say::new(PEER_ISN + 1, ISN + 1, PUSH).stamp(101, 7002);
    say(&mut session.bench, NORTH, DATA, &said.data(b"my "));
    let ack = Say::new(ISN + 1, PEER_ISN + 4, ACK).stamp(7003, 101);
    say(&mut session.bench, ACTIVE, DATA, &ack);
    let answer = reopened(&mut session, "STOR x\r\n", MOVED);
    let said = Say::new(PEER_ISN + 4, ISN + 1, FIN).stamp(102, 7002);
    let sent = say(&mut session.bench, NORTH, DATA, &said.data(b"file"));
    assert_eq!(
        (sent[0].port, sent[0].head.ack.0),
        (NORTH, PEER_ISN + 9),
        "it is kept meanwhile"
    );
    let sent = complete(&mut session.bench, MOVED, NEW, &answer);
    let fed: Vec<u8> = sent.iter().flat_map(|it| it.data.clone()).collect();
    assert_eq!(fed, b"my file");
    assert!(
        sent.iter()
            .all(|it| it.port == STANDBY && it.ports == MOVED)
    );
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::FIN)));
}

/// The server opens connections from ports that its kernel chooses, and one of them may have been announced to the client
/// for another transfer.
#[test]
fn trap_35_connection_from_a_port_that_was_announced_is_led_to_the_replacement() {
    let mut session = session(Outbound::Pass);
    session.client(b"EPSV\r\n");
    session.server(b"229 here (|||20|)\r\n");
    session.client(b"LIST\r\n");
    session.server(b"425 nobody came\r\n");
    session.client(PORT);
    session.server(b"200 fine\r\n");
    let mut session = begin(session, b"STOR x\r\n");
    let said = Say::new(PEER_ISN + 1, ISN + 1, PUSH).stamp(101, 7002);
    say(&mut session.bench, NORTH, DATA, &said.data(b"my "));
    let ack = Say::new(ISN + 1, PEER_ISN + 4, ACK).stamp(7003, 101);
    say(&mut session.bench, ACTIVE, DATA, &ack);
    let answer = reopened(&mut session, "STOR x\r\n", MOVED);
    complete(&mut session.bench, MOVED, NEW, &answer);
    let ack = Say::new(NEW + 1, PEER_ISN + 4, ACK).stamp(60, 102);
    say(&mut session.bench, STANDBY, MOVED, &ack);
    let said = Say::new(PEER_ISN + 4, ISN + 1, PUSH).stamp(103, 7002);
    let sent = say(&mut session.bench, NORTH, DATA, &said.data(b"file"));
    let led: Vec<_> = sent.iter().map(|it| (it.port, it.ports)).collect();
    assert_eq!(led, [(STANDBY, MOVED)], "{sent:?}");
    assert_eq!(sent[0].data, b"file");
}

#[test]
fn trap_35_connection_that_was_being_opened_is_opened_anew() {
    let mut session = asking(Outbound::Pass);
    session.client(b"RETR x\r\n");
    let syn = Say::new(ISN, 0, Flags::SYN).offer(7).stamp(7000, 0);
    say(&mut session.bench, ACTIVE, DATA, &syn);
    session.server(b"150 coming\r\n");
    let asked = session.fail_over();
    assert!(
        asked.ends_with(b"PORT 10,0,0,1,19,136\r\nRETR x\r\n"),
        "{asked:?}"
    );
    session.replies(0, &[LOGIN, b"200 fine\r\n"].concat());
    let sent = reopen(&mut session.bench, MOVED, NEW);
    assert_eq!(
        (sent[0].port, sent[0].ports, sent[0].head.flags),
        (NORTH, MOVED, Flags::SYN)
    );
}

#[test]
fn trap_35_second_crash_and_restart_while_the_connection_is_awaited() {
    for restarts in [false, true] {
        let mut session = transferring(b"RETR x\r\n");
        file(&mut session, ACTIVE, DATA, ISN + 1, b"contents");
        has(&mut session, 5);
        reopened(&mut session, "REST 5\r\nRETR x\r\n", MOVED);
        has(&mut session, 6);
        if restarts {
            session.restart_at(STANDBY, &[SECOND]);
        }
        session.control();
        fail_over(&mut session.bench);
        let known = session.bench.status().connections;
        assert!(known.iter().all(|it| it.state == "recovering"), "{known:?}");
        let syn = Say::new(NEW, 0, Flags::SYN).offer(6).stamp(50, 0);
        let sent = say(&mut session.bench, SECOND, DATA, &syn);
        let answer = sent.first().map(|it| (it.port, it.head.flags));
        assert_eq!(answer, Some((SECOND, SYN_ACK)), "{restarts}");
    }
}

/// What the data path is told.
#[derive(Default)]
struct Told(Option<bool>);

impl Output for Told {
    fn transmit(&mut self, _: PortId, _: &[u8], _: &Offload) {}

    fn services(&mut self, _: u32, _: &[u16], outbound: bool) {
        self.0 = Some(outbound);
    }
}

/// Whether all of the group's segments are to be seen.
fn sees_all(session: &Session) -> bool {
    let mut told = Told::default();
    session.bench.engine.announce_services(0, &mut told);
    told.0 == Some(true)
}

#[test]
fn segments_of_other_ports_are_seen_as_long_as_a_connection_may_be_opened() {
    let mut session = session(Outbound::Pass);
    assert!(!sees_all(&session));
    for replies in [&b"550 none\r\n"[..], b"150 x\r\n226 done\r\n"] {
        session.client(PORT);
        session.server(b"200 fine\r\n");
        assert!(sees_all(&session));
        session.client(b"RETR x\r\n");
        session.server(replies);
        assert!(!sees_all(&session), "it did not come");
    }
    session.client(PORT);
    session.server(b"200 fine\r\n");
    session.client(b"RETR x\r\n");
    open(&mut session.bench, DATA, ISN, PEER_ISN);
    session.server(b"150 x\r\n226 done\r\n");
    assert!(sees_all(&session));
    let reset = Say::new(PEER_ISN + 1, 0, Flags::RST);
    say(&mut session.bench, NORTH, DATA, &reset);
    assert!(sees_all(&session), "its last segments may still come");
    // Nor does it matter what has been announced since.
    session.client(b"PORT 10,0,0,1,200,200\r\n");
    session.server(b"200 fine\r\n");
    session.client(b"RETR x\r\n");
    session.server(b"550 none\r\n");
    assert!(sees_all(&session));
    wait(&mut session.bench, Duration::from_secs(61));
    assert!(!sees_all(&session));
}

#[test]
fn transfer_that_its_client_ends_while_a_replacement_is_asked_is_aborted_at_once() {
    let mut session = transferring(b"RETR x\r\n");
    file(&mut session, ACTIVE, DATA, ISN + 1, b"contents");
    has(&mut session, 5);
    session.client(b"ABOR\r\n");
    let asked = session.fail_over();
    assert!(asked.ends_with(b"RETR x\r\n"), "{asked:?}");
    let reset = Say::new(PEER_ISN + 1, 0, Flags::RST);
    say(&mut session.bench, NORTH, DATA, &reset);
    session.control();
    let sent = wait(&mut session.bench, Duration::from_millis(1));
    let aborted = north(&sent);
    let said = b"426 Transfer aborted.\r\n226 ABOR successful.\r\n";
    assert!(aborted.ends_with(said), "{sent:?}");
    assert_eq!(session.bench.counters().lost, 0);
}
