// SPDX-License-Identifier: GPL-3.0-only
//! A group has two living servers: what each of them, and the client, sees of a connection that is moved.

use super::*;
use crate::control::{UpgradeEnd, UpgradeStatus};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nServer: old\r\nContent-Length: 2\r\n\r\nok";
/// Of another product.
const OTHER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: a-new-one\r\nContent-Length: 2\r\n\r\nok";
/// The new server's initial sequence number.
const ISN: u32 = 77;

/// One connection, with how far its streams are.
struct Web {
    bench: Bench,
    said: u32,
    heard: u32,
}

impl Web {
    fn new() -> Self {
        let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
        bench.open(7);
        Self {
            bench,
            said: 0,
            heard: 0,
        }
    }

    /// The client says something, having heard everything.
    fn ask(&mut self, request: &[u8]) -> Vec<Seen> {
        let (seq, ack) = (self.bench.c(self.said), self.bench.s(self.heard));
        self.said += request.len() as u32;
        let say = Say::new(seq, ack, PUSH).stamp(102, 7000);
        self.bench.say(NORTH, &say.data(request))
    }

    /// The old server answers.
    fn answer(&mut self, answer: &[u8]) -> Vec<Seen> {
        let (seq, ack) = (self.bench.s(self.heard), self.bench.c(self.said));
        self.heard += answer.len() as u32;
        let say = Say::new(seq, ack, PUSH).stamp(7001, 102);
        self.bench.say(ACTIVE, &say.data(answer))
    }

    fn acknowledge(&mut self) -> Vec<Seen> {
        let (seq, ack) = (self.bench.c(self.said), self.bench.s(self.heard));
        let say = Say::new(seq, ack, ACK).stamp(103, 7001);
        self.bench.say(NORTH, &say)
    }

    fn exchange(&mut self) {
        self.ask(GET);
        self.answer(OK);
    }

    fn command(
        &mut self,
        command: impl FnOnce(&mut Engine, Time, &mut Sent) -> Result<(), EngineError>,
    ) -> Vec<Seen> {
        let mut sent = Sent::default();
        command(&mut self.bench.engine, self.bench.now, &mut sent).expect("it can be done");
        Bench::seen(sent)
    }

    fn upgrade(&mut self) -> Vec<Seen> {
        self.command(|engine, now, out| engine.upgrade(now, "web", "vif2", 1000, out))
    }

    fn rollback(&mut self) -> Vec<Seen> {
        self.command(|engine, now, out| engine.rollback(now, "web", out))
    }

    fn finish(&mut self) -> Vec<Seen> {
        self.command(|engine, now, out| engine.finish(now, "web", out).map(drop))
    }

    /// The new server takes the handshake that `syn` begins.
    fn take(&mut self, port: PortId, sent: &[Seen]) -> Vec<Seen> {
        let syn = sent
            .iter()
            .find(|it| it.port == port && it.head.flags == Flags::SYN);
        let syn = syn.expect("a SYN");
        let ack = syn.head.seq.0.wrapping_add(1);
        let answer = Say::new(ISN, ack, SYN_ACK).offer(7).stamp(40, 103);
        self.bench.say(port, &answer)
    }

    fn progress(&self) -> UpgradeStatus {
        self.bench.status().upgrade.expect("there is one")
    }

    fn log(&mut self) -> String {
        let events = std::iter::from_fn(|| self.bench.engine.poll_event());
        events.map(|event| format!("{event}\n")).collect()
    }
}

fn to(port: PortId, sent: &[Seen]) -> Vec<&Seen> {
    sent.iter().filter(|seen| seen.port == port).collect()
}

fn data(port: PortId, sent: &[Seen]) -> Vec<u8> {
    let all = to(port, sent);
    all.iter().flat_map(|seen| seen.data.clone()).collect()
}

#[test]
fn connection_at_rest_is_moved_at_once_and_its_client_sees_nothing() {
    let mut web = Web::new();
    web.exchange();
    web.acknowledge();
    let sent = web.upgrade();
    assert!(to(NORTH, &sent).is_empty());
    let reset = to(ACTIVE, &sent)[0];
    assert!(reset.head.flags.has(Flags::RST));
    assert_eq!(
        reset.head.seq.0,
        web.bench.c(web.said),
        "the old server believes it"
    );
    let sent = web.take(STANDBY, &sent);
    let plain = |seen: &&Seen| seen.head.flags == ACK && seen.data.is_empty();
    assert!(sent.iter().all(|seen| plain(&seen)), "{sent:?}");
    let progress = web.progress();
    assert_eq!(
        (
            progress.moved_quiet,
            progress.from.as_str(),
            progress.to.as_str()
        ),
        (1, "vif1", "vif2")
    );
    // The next request, to the new server, whose answer has another head.
    let sent = web.ask(GET);
    assert_eq!(
        (data(STANDBY, &sent), to(ACTIVE, &sent).len()),
        (GET.to_vec(), 0)
    );
    let answer = Say::new(ISN + 1, web.bench.c(web.said), PUSH).stamp(41, 102);
    let sent = web.bench.say(STANDBY, &answer.data(OTHER));
    assert_eq!(
        (sent[0].port, sent[0].head.seq.0),
        (NORTH, web.bench.s(web.heard))
    );
    assert_eq!(sent[0].data, OTHER);
}

#[test]
fn request_that_comes_with_the_last_acknowledgement_is_made_of_the_new_server_only() {
    for request in [GET, POST] {
        let mut web = Web::new();
        web.ask(GET);
        web.upgrade();
        web.answer(OK);
        assert_eq!(web.progress().waiting, 1);
        let sent = web.ask(request);
        assert!(
            data(ACTIVE, &sent).is_empty(),
            "the old server does not hear of it"
        );
        let sent = web.take(STANDBY, &sent);
        assert_eq!(data(STANDBY, &sent), request);
        let answer = Say::new(ISN + 1, web.bench.c(web.said), PUSH).stamp(41, 102);
        let sent = web.bench.say(STANDBY, &answer.data(OTHER));
        assert_eq!(data(NORTH, &sent), OTHER);
        web.bench.wait(Duration::from_millis(20));
        let progress = web.progress();
        assert_eq!((progress.moved_quiet, progress.waiting), (1, 0));
        assert!(progress.drained_us.is_some());
    }
}

#[test]
fn old_server_is_served_until_it_has_answered_and_then_is_not_heard() {
    let mut web = Web::new();
    web.ask(GET);
    let sent = web.upgrade();
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(data(NORTH, &web.answer(OK)), OK);
    let sent = web.acknowledge();
    web.take(STANDBY, &sent);
    let late = Say::new(web.bench.s(web.heard), web.bench.c(web.said), FIN);
    let sent = web.bench.say(ACTIVE, &late.stamp(7002, 102));
    assert!(to(NORTH, &sent).is_empty(), "the client is not told");
    assert!(
        sent[0].head.flags.has(Flags::RST),
        "the old server is told again"
    );
    assert_eq!(sent[0].head.seq.0, web.bench.c(web.said));
}

#[test]
fn new_connections_go_to_the_new_server_and_known_ones_stay() {
    let mut web = Web::new();
    web.ask(GET);
    web.upgrade();
    web.bench.client_port = 40_001;
    let syn = Say::new(5, 0, Flags::SYN).offer(7).stamp(100, 0);
    assert_eq!(web.bench.say(NORTH, &syn)[0].port, STANDBY);
    let answer = Say::new(9, 6, SYN_ACK).offer(7).stamp(40, 100);
    assert_eq!(web.bench.say(STANDBY, &answer)[0].port, NORTH);
    assert!(
        web.bench
            .say(ACTIVE, &answer)
            .iter()
            .all(|it| it.port == ACTIVE)
    );
    web.bench.client_port = 40_000;
    let more = Say::new(web.bench.c(web.said), web.bench.s(0), PUSH).stamp(103, 7000);
    assert_eq!(web.bench.say(NORTH, &more.data(GET))[0].port, ACTIVE);
}

#[test]
fn what_must_not_be_done_twice_waits_and_the_rest_is_replayed_when_time_is_up() {
    for (request, port) in [(GET, STANDBY), (POST, ACTIVE)] {
        let mut web = Web::new();
        web.ask(request);
        web.upgrade();
        web.bench.wait(Duration::from_millis(999));
        assert_eq!(web.progress().waiting, 1);
        let sent = web.bench.wait(Duration::from_millis(30));
        if port == ACTIVE {
            assert!(sent.is_empty(), "{sent:?}");
            assert_eq!(data(NORTH, &web.answer(OK)), OK);
            let sent = web.acknowledge();
            web.take(STANDBY, &sent);
            assert_eq!(web.progress().moved_quiet, 1);
        } else {
            assert_eq!(data(STANDBY, &web.take(STANDBY, &sent)), GET);
            let answer = Say::new(ISN + 1, web.bench.c(web.said), PUSH).stamp(41, 102);
            assert_eq!(
                data(NORTH, &web.bench.say(STANDBY, &answer.data(OTHER))),
                OTHER
            );
            assert_eq!(web.progress().moved_by_replay, 1);
        }
        assert_eq!(web.progress().lost, 0);
    }
}

#[test]
fn finish_ends_what_must_not_be_done_twice_and_tells_both_ends() {
    let mut web = Web::new();
    web.ask(POST);
    web.upgrade();
    let sent = web.finish();
    assert!(to(ACTIVE, &sent)[0].head.flags.has(Flags::RST));
    assert!(!to(NORTH, &sent).is_empty());
    let progress = web.progress();
    assert_eq!(
        (progress.lost, progress.ended),
        (1, Some(UpgradeEnd::Finished))
    );
    assert_eq!(web.bench.status().spec.standbys, ["vif3"]);
    let late = Say::new(web.bench.s(0), web.bench.c(0), ACK).stamp(7001, 102);
    assert!(
        web.bench.say(ACTIVE, &late).is_empty(),
        "its port is closed"
    );
    assert!(web.log().contains("upgrade over (it was finished), vif2"));
}

#[test]
fn rollback_brings_connections_back_by_the_same_way() {
    let mut web = Web::new();
    web.exchange();
    web.acknowledge();
    let sent = web.upgrade();
    web.take(STANDBY, &sent);
    let sent = web.rollback();
    assert!(to(STANDBY, &sent)[0].head.flags.has(Flags::RST));
    web.take(ACTIVE, &sent);
    assert_eq!(data(ACTIVE, &web.ask(GET)), GET);
    let progress = web.progress();
    assert_eq!((progress.moved_quiet, progress.rolled_back), (1, true));
    let status = web.bench.status();
    assert_eq!(
        (status.spec.active.as_str(), status.spec.standbys),
        ("vif1", vec!["vif2".to_owned(), "vif3".to_owned()])
    );
    web.finish();
    assert_eq!(web.bench.status().spec.standbys, ["vif3"]);
}

#[test]
fn new_server_that_refuses_or_is_silent_leaves_the_connection_with_the_old_one() {
    for silent in [false, true] {
        let mut web = Web::new();
        web.exchange();
        web.acknowledge();
        let sent = web.upgrade();
        let syn = to(STANDBY, &sent)[0].head.seq.0;
        let mut sent = Vec::new();
        if silent {
            for _ in 0..30 {
                sent.extend(web.bench.wait(Duration::from_millis(100)));
            }
        } else {
            sent = web
                .bench
                .say(STANDBY, &Say::new(0, syn.wrapping_add(1), RST));
        }
        web.take(ACTIVE, &sent);
        assert_eq!(data(ACTIVE, &web.ask(GET)), GET);
        let progress = web.progress();
        assert_eq!(
            (progress.returned, progress.lost, progress.moved_quiet),
            (1, 0, 0)
        );
        assert!(web.log().contains("not moved, it goes on where it was"));
        // It is not tried again, until the upgrade is finished.
        assert_eq!(
            data(NORTH, &{
                let answer = Say::new(ISN + 1, web.bench.c(web.said), PUSH).stamp(41, 102);
                web.bench.say(ACTIVE, &answer.data(OK))
            }),
            OK
        );
        web.heard += OK.len() as u32;
        assert!(to(STANDBY, &web.acknowledge()).is_empty());
        let sent = web.finish();
        web.take(STANDBY, &sent);
        assert_eq!(data(STANDBY, &web.ask(GET)), GET);
    }
}

#[test]
fn new_server_dies_and_what_it_had_goes_back_while_the_rest_has_not_moved() {
    let mut web = Web::new();
    web.exchange();
    web.acknowledge();
    let sent = web.upgrade();
    web.take(STANDBY, &sent);
    web.ask(GET);
    let sent = web.bench.fail_over();
    assert_eq!(web.bench.status().spec.active, "vif1");
    assert_eq!(data(ACTIVE, &web.take(ACTIVE, &sent)), GET);
    assert_eq!(web.progress().ended, Some(UpgradeEnd::ActiveDied));

    let mut web = Web::new();
    web.ask(GET);
    web.upgrade();
    let sent = web.bench.fail_over();
    assert!(sent.is_empty(), "its server lives: {sent:?}");
    assert_eq!(data(NORTH, &web.answer(OK)), OK);
}

#[test]
fn old_server_dies_and_what_it_still_had_is_moved_as_ever() {
    let mut web = Web::new();
    web.ask(GET);
    web.upgrade();
    let sent = web.command(|engine, now, out| {
        engine
            .server_died(now, 0, ("web", "vif1"), "a test", out)
            .map(drop)
    });
    assert_eq!(data(STANDBY, &web.take(STANDBY, &sent)), GET);
    let status = web.bench.status();
    assert_eq!(status.failover.map(|it| it.connections), Some(1));
    assert_eq!(status.upgrade.unwrap().ended, Some(UpgradeEnd::LeftDied));
    assert_eq!(status.spec.standbys, ["vif3"]);
}

#[test]
fn another_logger_goes_on_with_an_upgrade() {
    let mut web = Web::new();
    web.ask(GET);
    web.upgrade();
    let image = Image::parse(&web.bench.engine.export(web.bench.now)).expect("it is sound");
    web.bench.engine = Engine::new(EngineConfig::default());
    let ports = GroupPorts {
        north: NORTH,
        active: STANDBY,
        standbys: vec![ACTIVE, SECOND],
    };
    let open = |_: &mut GroupSpec| Some(ports.clone());
    let (engine, now) = (&mut web.bench.engine, web.bench.now);
    engine
        .import(now, image, open, &mut Sent::default())
        .expect("the ports are free");
    assert_eq!(web.progress().waiting, 1);
    assert_eq!(data(NORTH, &web.answer(OK)), OK);
    let sent = web.acknowledge();
    web.take(STANDBY, &sent);
    assert_eq!(data(STANDBY, &web.ask(GET)), GET);
    assert_eq!(web.progress().moved_quiet, 1);
}

#[test]
fn another_logger_that_does_not_find_the_old_server_moves_what_it_had() {
    let mut web = Web::new();
    web.ask(GET);
    web.upgrade();
    let image = Image::parse(&web.bench.engine.export(web.bench.now)).expect("it is sound");
    web.bench.engine = Engine::new(EngineConfig::default());
    let open = |spec: &mut GroupSpec| {
        spec.standbys.remove(0);
        Some(GroupPorts {
            north: NORTH,
            active: STANDBY,
            standbys: vec![SECOND],
        })
    };
    let (engine, now) = (&mut web.bench.engine, web.bench.now);
    let mut sent = Sent::default();
    engine
        .import(now, image, open, &mut sent)
        .expect("the ports are free");
    let sent = Bench::seen(sent);
    assert_eq!(data(STANDBY, &web.take(STANDBY, &sent)), GET);
    assert_eq!(web.bench.status().spec.standbys, ["vif3"]);
}

#[test]
fn upgrades_that_cannot_be_say_why_and_change_nothing() {
    let mut web = Web::new();
    let (engine, now) = (&mut web.bench.engine, web.bench.now);
    let out = &mut Sent::default();
    let said = |done: Result<(), EngineError>| done.expect_err("it cannot be").to_string();
    let no_group = said(engine.upgrade(now, "nix", "vif2", 0, out));
    assert!(no_group.contains("nix"));
    let no_standby = said(engine.upgrade(now, "web", "vif9", 0, out));
    assert!(
        no_standby.contains("vif9") && no_standby.contains("vif2, vif3"),
        "{no_standby}"
    );
    assert!(said(engine.rollback(now, "web", out)).contains("no upgrade is under way"));
    assert!(said(engine.finish(now, "web", out).map(drop)).contains("no upgrade is under way"));
    engine
        .upgrade(now, "web", "vif3", 0, out)
        .expect("there is such a standby");
    let again = said(engine.upgrade(now, "web", "vif2", 0, out));
    assert!(again.contains("from vif1 to vif3 is under way"), "{again}");
    engine.rollback(now, "web", out).expect("it is under way");
    assert!(said(engine.rollback(now, "web", out)).contains("rolled back already"));
    let unknown = engine.server_died(now, 0, ("web", "vif9"), "", out);
    assert!(said(unknown.map(drop)).contains("vif1, vif3, vif2"));
}

#[test]
fn unprotected_connections_stay_with_the_server_that_had_them() {
    let mut web = Web::new();
    web.upgrade();
    web.bench.server_port = 22;
    let older = Say::new(500, 600, PUSH).data(b"older");
    assert_eq!(web.bench.say(NORTH, &older)[0].port, ACTIVE);
    let answer = Say::new(600, 505, ACK);
    assert_eq!(web.bench.say(ACTIVE, &answer)[0].port, NORTH);
    web.bench.client_port = 40_001;
    assert_eq!(
        web.bench.say(NORTH, &Say::new(1, 0, Flags::SYN))[0].port,
        STANDBY
    );
    let newer = Say::new(2, 3, PUSH).data(b"newer");
    assert_eq!(web.bench.say(NORTH, &newer)[0].port, STANDBY);
    assert!(
        web.bench.say(ACTIVE, &answer).is_empty(),
        "it is not its own"
    );
    web.rollback();
    assert_eq!(web.bench.say(NORTH, &newer)[0].port, STANDBY);
    web.bench.client_port = 40_000;
    assert_eq!(web.bench.say(NORTH, &older)[0].port, ACTIVE);
}

/// A frame of address resolution: who asks whom, or answers.
fn arp(op: u8, asker: u8, asked: u8) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, asker, 8, 6, 0, 1, 8, 0, 6, 4, 0, op]);
    frame.extend([2, 0, 0, 0, 0, asker, 10, 0, 0, asker]);
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, asked]);
    frame
}

#[test]
fn only_the_active_server_answers_for_the_address_and_both_find_their_clients() {
    let mut web = Web::new();
    web.upgrade();
    let mut ports = |port, frame: Vec<u8>| {
        let sent = web.bench.raw(port, frame, Offload::default());
        sent.into_iter().map(|(port, _)| port).collect::<Vec<_>>()
    };
    assert_eq!(ports(NORTH, arp(1, 1, 2)), [STANDBY]);
    assert_eq!(ports(STANDBY, arp(2, 2, 1)), [NORTH]);
    assert_eq!(ports(ACTIVE, arp(2, 2, 1)), []);
    assert_eq!(ports(ACTIVE, arp(1, 2, 2)), [], "it claims the address");
    assert_eq!(ports(ACTIVE, arp(1, 2, 1)), [NORTH]);
    assert_eq!(ports(NORTH, arp(2, 1, 2)), [ACTIVE, STANDBY]);
}
