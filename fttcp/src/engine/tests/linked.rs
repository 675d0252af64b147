// SPDX-License-Identifier: GPL-3.0-only
//! FTP: data connections that the control connection announces, and whose close it explains.

use super::*;

pub(super) const DATA: u16 = 5000;
pub(super) const PASSIVE: &[u8] = b"227 Passive (10,0,0,2,19,136)\r\n";

/// A session that has asked for a file, and its data connection. Both ends of the bench are that one's.
pub(super) struct Session {
    pub(super) bench: Bench,
    /// How far each end of the control connection has come.
    pub(super) said: [u32; 2],
    /// The client's ports of the control connection and of the data connection.
    pub(super) ports: [u16; 2],
    /// Where its server is.
    pub(super) at: PortId,
}

impl Session {
    pub(super) fn new() -> Self {
        Self::with(ServiceSpec::new(80, "ftp"))
    }

    pub(super) fn with(service: ServiceSpec) -> Self {
        Self::on(Bench::with(vec![service]))
    }

    pub(super) fn on(bench: Bench) -> Self {
        let mut session = Self {
            bench,
            said: [0; 2],
            ports: [40_000, 40_001],
            at: ACTIVE,
        };
        session.log_in();
        session
    }

    /// The control connection is opened and a user logs in.
    pub(super) fn log_in(&mut self) {
        self.control();
        self.bench.open_at(self.at, 7);
        self.server(b"220 here\r\n");
        self.client(b"USER x\r\n");
        self.server(b"230 in\r\n");
    }

    /// A session whose client was told of a port by `reply`, and has begun to come there.
    pub(super) fn passive(reply: &[u8]) -> Self {
        let mut session = Self::new();
        session.client(b"PASV\r\n");
        session.server(reply);
        session.client(b"RETR x\r\n");
        session.open_data();
        session
    }

    pub(super) fn control(&mut self) {
        self.bench.server_port = 80;
        self.bench.client_port = self.ports[0];
    }

    pub(super) fn data(&mut self) {
        self.bench.server_port = DATA;
        self.bench.client_port = self.ports[1];
    }

    pub(super) fn open_data(&mut self) {
        self.data();
        self.bench.open_at(self.at, 7);
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.control();
        let [client, server] = self.said;
        let say = Say::new(self.bench.s(server), self.bench.c(client), PUSH).stamp(7001, 102);
        self.said[1] += bytes.len() as u32;
        self.bench.say(self.at, &say.data(bytes))
    }

    pub(super) fn client(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.control();
        let [client, server] = self.said;
        let say = Say::new(self.bench.c(client), self.bench.s(server), PUSH).stamp(102, 7001);
        self.said[0] += bytes.len() as u32;
        self.bench.say(NORTH, &say.data(bytes))
    }

    /// The server's end of the data connection says this, after `at` bytes, and perhaps closes.
    pub(super) fn file(&mut self, at: u32, flags: Flags, bytes: &[u8]) -> Vec<Seen> {
        self.data();
        let say = Say::new(self.bench.s(at), self.bench.c(0), flags).stamp(7001, 102);
        self.bench.say(self.at, &say.data(bytes))
    }

    /// The client has so much of the file.
    pub(super) fn has(&mut self, count: u32) -> Vec<Seen> {
        self.data();
        let had = Say::new(self.bench.c(0), self.bench.s(count), ACK).stamp(103, 7001);
        self.bench.say(NORTH, &had)
    }

    fn protected(&self) -> u64 {
        self.bench.counters().protected
    }
}

pub(super) fn closes(seen: &[Seen]) -> bool {
    seen.iter()
        .any(|seen| seen.port == NORTH && seen.head.flags.has(Flags::FIN))
}

#[test]
fn announced_connection_is_protected_and_any_other_passes() {
    assert_eq!(Session::passive(PASSIVE).protected(), 2);
    assert_eq!(
        Session::passive(b"229 Extended (|||5000|)\r\n").protected(),
        2
    );
    for other in [
        &b"227 Passive (10,0,0,9,19,136)\r\n"[..],
        b"227 Passive (10,0,0,2,19,137)\r\n",
        b"229 Extended (|||5001|)\r\n",
        b"425 no\r\n",
    ] {
        assert_eq!(Session::passive(other).protected(), 1);
    }
}

#[test]
fn announcement_holds_for_a_minute_and_for_its_client() {
    let told = || {
        let mut session = Session::new();
        session.client(b"PASV\r\n");
        session.server(PASSIVE);
        session
    };
    let mut session = told();
    session.bench.wait(Duration::from_secs(61));
    session.open_data();
    assert_eq!(session.protected(), 1);
    let mut session = told();
    session.client(b"PASV\r\n");
    session.server(b"227 Passive (10,0,0,2,19,137)\r\n");
    session.open_data();
    assert_eq!(session.protected(), 1, "the next one counts");
    let mut session = told();
    session.data();
    session.bench.v6 = true;
    session.bench.open(7);
    assert_eq!(session.protected(), 1, "another client");
}

#[test]
fn close_is_held_until_the_transfer_is_told_to_be_over() {
    let mut session = Session::passive(PASSIVE);
    session.server(b"150 coming\r\n");
    assert!(!closes(&session.file(0, PUSH, b"content")));
    let seen = session.file(7, FIN, b"");
    assert!(!closes(&seen), "{seen:?}");
    session.has(7);
    let seen = session.server(b"226 done\r\n");
    assert!(closes(&seen), "{seen:?}");
    let fin = seen.iter().find(|seen| seen.head.flags.has(Flags::FIN));
    assert_eq!(fin.map(|fin| fin.head.seq.0), Some(session.bench.s(7)));
    // With the reply that told of it behind: a client that reads both sees the file first.
    assert_eq!(
        seen.last().map(|seen| &seen.data[..]),
        Some(&b"226 done\r\n"[..])
    );
}

#[test]
fn close_that_nobody_explains_is_told_after_a_while() {
    let mut session = Session::passive(PASSIVE);
    session.server(b"150 coming\r\n");
    session.file(0, PUSH, b"content");
    session.file(7, FIN, b"");
    session.has(7);
    // A busy server's 226 may take longer than the news of a death usually does.
    let seen = session.bench.wait(Duration::from_millis(1900));
    assert!(!closes(&seen), "{seen:?}");
    let seen = session.bench.wait(Duration::from_millis(200));
    assert!(closes(&seen), "{seen:?}");
}

#[test]
fn close_that_is_held_is_acknowledged_when_its_client_has_everything_before_it() {
    let mut session = Session::passive(PASSIVE);
    session.file(0, PUSH, b"content");
    let acks_fin = |bench: &Bench, seen: &[Seen]| {
        let fin = bench.s(8);
        seen.iter()
            .any(|seen| seen.port == ACTIVE && seen.head.ack.0 == fin)
    };
    let seen = session.file(7, FIN, b"");
    assert!(!acks_fin(&session.bench, &seen), "{seen:?}");
    let seen = session.has(7);
    assert!(acks_fin(&session.bench, &seen), "{seen:?}");
    // If that is lost, the server repeats its FIN.
    let seen = session.file(7, FIN, b"");
    assert!(acks_fin(&session.bench, &seen), "{seen:?}");
    session.server(b"226 done\r\n");
    // The server has its acknowledgement: the logger repeats it.
    assert!(closes(&session.bench.wait(Duration::from_secs(1))));
    session.has(8);
    assert!(!closes(&session.bench.wait(Duration::from_secs(1))));
}

fn leaves(seen: &[Seen]) -> bool {
    seen.iter()
        .any(|seen| seen.port == ACTIVE && seen.head.flags.has(Flags::FIN))
}

#[test]
fn server_that_waits_for_its_clients_close_hears_of_one() {
    let mut session = Session::passive(PASSIVE);
    session.file(0, PUSH, b"content");
    assert!(!leaves(&session.file(7, FIN, b"")));
    assert!(leaves(&session.has(7)));
    // It acknowledges what the client has not said.
    let knows = Say::new(session.bench.s(8), session.bench.c(1), ACK).stamp(7002, 103);
    let seen = session.bench.say(ACTIVE, &knows);
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(session.protected(), 2);
    let seen = session.server(b"226 done\r\n");
    let fin = seen.iter().find(|seen| seen.head.flags.has(Flags::FIN));
    assert_eq!(fin.map(|it| it.head.ack.0), Some(session.bench.c(0)));
    // Now the client does, and the server knows it already.
    session.data();
    let close = Say::new(session.bench.c(0), session.bench.s(8), FIN).stamp(104, 7002);
    assert!(leaves(&session.bench.say(NORTH, &close)));
    let seen = session.bench.say(ACTIVE, &knows);
    assert_eq!(
        seen.first().map(|it| (it.port, it.head.ack.0)),
        Some((NORTH, session.bench.c(1)))
    );
}

#[test]
fn server_hears_of_no_close_of_a_client_that_may_have_more_to_say() {
    let mut session = Session::passive(PASSIVE);
    let stores = Say::new(session.bench.c(0), session.bench.s(0), PUSH).stamp(103, 7001);
    session.bench.say(NORTH, &stores.data(b"content"));
    assert!(!leaves(&session.file(0, FIN, b"")));
    let had = Say::new(session.bench.c(7), session.bench.s(0), ACK).stamp(104, 7001);
    assert!(!leaves(&session.bench.say(NORTH, &had)));
}

#[test]
fn close_after_the_transfer_was_told_to_be_over_is_not_held() {
    for end in [
        &b"226 done\r\n"[..],
        b"426 cut\r\n",
        b"250 done\r\n",
        b"451 oh\r\n",
    ] {
        let mut session = Session::passive(PASSIVE);
        session.server(b"150 coming\r\n");
        session.file(0, PUSH, b"content");
        session.has(7);
        session.server(end);
        assert!(closes(&session.file(7, FIN, b"")));
    }
}

#[test]
fn close_of_a_connection_for_which_nothing_was_asked_is_told_at_the_next() {
    // The second is at the same port, as it is with a server that has few.
    for (ask, reply) in [
        (&b"EPSV\r\n"[..], &b"229 Extended (|||5001|)\r\n"[..]),
        (b"PASV\r\n", PASSIVE),
    ] {
        let mut session = Session::new();
        session.client(b"PASV\r\n");
        session.server(PASSIVE);
        session.open_data();
        assert!(!closes(&session.file(0, FIN, b"")));
        session.client(ask);
        let seen = session.server(reply);
        assert!(closes(&seen), "{seen:?}");
    }
}

#[test]
fn reset_of_a_connection_that_was_never_accepted_is_not_held() {
    let resets = |seen: &[Seen]| {
        seen.iter()
            .any(|seen| seen.port == NORTH && seen.head.flags.has(Flags::RST))
    };
    let mut session = Session::passive(PASSIVE);
    session.server(b"550 none\r\n");
    assert!(resets(&session.file(0, RST, b"")));
    let mut session = Session::passive(PASSIVE);
    assert!(!resets(&session.file(0, RST, b"")));
    assert!(resets(&session.server(b"550 none\r\n")));
    let mut session = Session::passive(PASSIVE);
    session.server(b"150 coming\r\n");
    session.file(0, PUSH, b"half");
    assert!(!resets(&session.file(4, RST, b"")));
    session.bench.fail_over();
    assert_eq!(session.bench.counters().swallowed_closes, 1);
}

#[test]
fn client_that_leaves_without_a_word_is_not_kept_waiting() {
    let mut session = Session::new();
    session.control();
    let [client, server] = session.said;
    let leave = Say::new(session.bench.c(client), session.bench.s(server), FIN);
    session.bench.say(NORTH, &leave.stamp(103, 7001));
    let close = Say::new(session.bench.s(server), session.bench.c(client + 1), FIN);
    assert!(closes(&session.bench.say(ACTIVE, &close.stamp(7002, 103))));
    // One that has asked for something may hear of it yet.
    let mut session = Session::new();
    session.client(b"NOOP\r\n");
    let [client, server] = session.said;
    let leave = Say::new(session.bench.c(client), session.bench.s(server), FIN);
    session.bench.say(NORTH, &leave.stamp(103, 7001));
    let close = Say::new(session.bench.s(server), session.bench.c(client + 1), FIN);
    assert!(!closes(&session.bench.say(ACTIVE, &close.stamp(7002, 103))));
}

#[test]
fn close_behind_a_gap_is_not_told_before_the_gap_is_filled() {
    let mut session = Session::passive(PASSIVE);
    session.file(9, FIN, b"");
    let seen = session.server(b"226 done\r\n");
    assert!(!closes(&seen), "{seen:?}");
    session.file(0, PUSH, b"content, ");
    assert!(closes(&session.file(9, FIN, b"")));
}

#[test]
fn close_of_a_dying_server_is_never_told() {
    let mut session = Session::passive(PASSIVE);
    session.server(b"150 coming\r\n");
    session.file(0, PUSH, b"half");
    session.file(4, FIN, b"");
    let seen = session.bench.fail_over();
    assert!(!closes(&seen), "{seen:?}");
    assert!(!closes(&session.bench.wait(Duration::from_secs(1))));
}

#[test]
fn announcement_survives_a_restart_of_the_logger() {
    let mut session = Session::new();
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.client(b"RETR x\r\n");
    session.restart();
    session.open_data();
    assert_eq!(session.protected(), 2);
    session.file(0, PUSH, b"content");
    session.restart();
    session.file(7, FIN, b"");
    assert!(closes(&session.server(b"226 done\r\n")));
}

#[test]
fn connection_that_came_is_known_after_a_restart_though_it_is_before_its_announcer_in_the_table() {
    let mut session = Session::new();
    // Two come and go. The place that was left last is taken first.
    for port in [40_002, 40_003] {
        session.bench.client_port = port;
        session.bench.open(7);
    }
    for port in [40_002, 40_003] {
        session.bench.client_port = port;
        let reset = Say::new(session.bench.c(0), session.bench.s(0), RST).stamp(103, 7001);
        session.bench.say(NORTH, &reset);
        session.bench.wait(Duration::from_secs(300));
    }
    (session.ports, session.said) = ([40_010, 40_011], [0; 2]);
    session.log_in();
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.client(b"RETR x\r\n");
    session.open_data();
    session.server(b"150 coming\r\n");
    session.file(0, PUSH, b"content");
    session.has(7);

    session.restart();

    assert!(!closes(&session.file(7, FIN, b"")));
    assert!(closes(&session.server(b"226 done\r\n")));
}

impl Session {
    /// The engine in another process.
    pub(super) fn restart(&mut self) {
        self.restart_at(ACTIVE, &[STANDBY, SECOND]);
    }

    /// The same, with these servers.
    pub(super) fn restart_at(&mut self, active: PortId, standbys: &[PortId]) {
        let now = self.bench.now;
        let image = Image::parse(&self.bench.engine.export(now)).expect("its own image");
        let mut engine = Engine::new(EngineConfig::default());
        let ports = |_: &mut GroupSpec| {
            Some(GroupPorts {
                north: NORTH,
                active,
                standbys: standbys.to_vec(),
            })
        };
        let imported = engine.import(now, image, ports, &mut Sent::default());
        assert!(imported.is_ok(), "{imported:?}");
        self.bench.engine = engine;
    }
}

#[test]
fn encrypted_session_passes_unprotected() {
    let mut session = Session::new();
    session.client(b"AUTH TLS\r\n");
    session.server(b"234 go\r\n");
    let counters = session.bench.counters();
    assert_eq!((counters.protected, counters.unprotected), (0, 1));
    let events: Vec<String> = std::iter::from_fn(|| session.bench.engine.poll_event())
        .map(|event| event.to_string())
        .collect();
    assert!(
        events.iter().any(|it| it.contains("encrypted")),
        "{events:?}"
    );
}

#[test]
fn session_is_moved_by_the_commands_that_count() {
    const ISN: u32 = 77_000;
    let mut session = Session::new();
    session.client(b"CWD in\r\n");
    session.server(b"250 there\r\n");
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.control();
    let (bench, [client, server]) = (&mut session.bench, session.said);
    bench.say(
        NORTH,
        &Say::new(bench.c(client), bench.s(server), ACK).stamp(103, 7001),
    );
    let sent = bench.fail_over();
    let syn = sent.iter().find(|seen| seen.head.flags == Flags::SYN);
    let first = syn.expect("it is opened").head.seq.0.wrapping_add(1);
    let want = b"USER x\r\nCWD in\r\nPASV\r\n";
    assert_eq!(first.wrapping_add(want.len() as u32), bench.c(client));
    let offer = Say::new(ISN, first, SYN_ACK).offer(7).stamp(40, 103);
    let asked: Vec<u8> = bench
        .say(STANDBY, &offer)
        .into_iter()
        .flat_map(|it| it.data)
        .collect();
    assert_eq!(asked, want);

    let replies =
        b"220-another\r\n220 here\r\n230 in\r\n250 there\r\n227 Passive (10,0,0,2,20,0)\r\n";
    let said = Say::new(ISN + 1, bench.c(client), PUSH).stamp(41, 103);
    let seen = bench.say(STANDBY, &said.data(replies));
    assert!(
        seen.iter().all(|it| it.port != NORTH || it.data.is_empty()),
        "{seen:?}"
    );
    let counters = bench.counters();
    assert_eq!((counters.resumed, counters.lost), (1, 0));
    let asks = Say::new(bench.c(client), bench.s(server), PUSH).stamp(104, 7001);
    let seen = bench.say(NORTH, &asks.data(b"PWD\r\n"));
    assert_eq!(
        (seen[0].port, seen[0].head.seq.0),
        (STANDBY, bench.c(client))
    );
    let next = ISN + 1 + replies.len() as u32;
    let reply = Say::new(next, bench.c(client + 5), PUSH).stamp(42, 104);
    let seen = bench.say(STANDBY, &reply.data(b"257 \"/in\"\r\n"));
    assert_eq!((seen[0].port, seen[0].head.seq.0), (NORTH, bench.s(server)));
}
