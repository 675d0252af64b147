// SPDX-License-Identifier: GPL-3.0-only
//! A server that hangs: how it is noticed, and what becomes of what it says when it wakes up.

use super::moving::{HEAD, adopt};
use super::*;
use crate::control::Silence;

/// A request, and the first part of its answer: the client owes an acknowledgement, the server nothing.
fn downloading(bench: &mut Bench) {
    bench.open(7);
    let get = Say::new(bench.c(0), bench.s(0), PUSH);
    bench.say(NORTH, &get.stamp(102, 7000).data(b"GET"));
    let head = Say::new(bench.s(0), bench.c(3), PUSH);
    bench.say(ACTIVE, &head.stamp(7005, 102).data(HEAD));
}

/// Asks; gives the answer and what was sent to the server.
fn probe(bench: &mut Bench) -> (Silence, Vec<Vec<u8>>) {
    let mut sent = Sent::default();
    let silence = bench
        .engine
        .probe(bench.now, "web", &mut sent)
        .expect("there is such a group");
    assert!(sent.0.iter().all(|(port, ..)| *port == ACTIVE));
    (silence, sent.0.into_iter().map(|(_, it, _)| it).collect())
}

/// What a living kernel answers to an ARP request.
fn arp_reply(request: &[u8]) -> Vec<u8> {
    let server = [2, 0, 0, 0, 0, 9];
    let mut reply = request.to_vec();
    reply[..6].copy_from_slice(&request[6..12]);
    reply[6..12].copy_from_slice(&server);
    reply[21] = 2;
    reply[22..28].copy_from_slice(&server);
    reply[28..32].copy_from_slice(&request[38..42]);
    reply[32..42].copy_from_slice(&request[22..32]);
    reply
}

#[test]
fn silent_server_is_asked_in_the_name_of_a_client_until_it_answers() {
    let mut bench = Bench::new();
    downloading(&mut bench);
    for asked in 1..=3 {
        bench.wait(Duration::from_secs(1));
        let (silence, questions) = probe(&mut bench);
        assert_eq!(
            (silence.heard_ms, silence.asked),
            (1000 * u64::from(asked), asked)
        );
        assert_eq!(questions.len(), 1);
        assert_eq!(questions[0][12..14], [8, 6], "an ARP request");
    }
    let (_, questions) = probe(&mut bench);
    let passed_on = bench.raw(ACTIVE, arp_reply(&questions[0]), Offload::default());
    assert!(passed_on.is_empty(), "the client has not asked");
    let (silence, _) = probe(&mut bench);
    assert_eq!((silence.heard_ms, silence.asked), (0, 1));
}

#[test]
fn answer_to_a_clients_own_question_reaches_it_after_those_to_ours() {
    let mut bench = Bench::new();
    downloading(&mut bench);
    let (_, questions) = probe(&mut bench);
    let reply = arp_reply(&questions[0]);
    assert!(
        bench
            .raw(ACTIVE, reply.clone(), Offload::default())
            .is_empty()
    );
    assert_eq!(bench.raw(ACTIVE, reply, Offload::default()).len(), 1);
}

#[test]
fn without_a_connection_nobody_is_asked_and_nothing_is_known() {
    let mut bench = Bench::new();
    let (first, _) = probe(&mut bench);
    bench.wait(Duration::from_secs(9));
    let (silence, questions) = probe(&mut bench);
    assert_eq!(
        (first.heard_ms, silence.heard_ms, silence.asked),
        (0, 9000, 0)
    );
    assert!(questions.is_empty());
}

#[test]
fn server_that_wakes_up_after_its_failover_reaches_nobody() {
    let mut bench = Bench::new();
    downloading(&mut bench);
    let (_, questions) = probe(&mut bench);
    bench.fail_over();
    let old_words = |bench: &mut Bench| {
        let (seq, ack) = (bench.s(HEAD.len() as u32), bench.c(3));
        let mut frames: Vec<Vec<u8>> = [PUSH, FIN, RST, SYN_ACK]
            .into_iter()
            .map(|flags| {
                bench.frame(
                    false,
                    &Say::new(seq, ack, flags).stamp(7100, 102).data(b"x"),
                )
            })
            .collect();
        frames.push(arp_reply(&questions[0]));
        for frame in frames {
            let dropped = bench.counters().dropped;
            let sent = bench.raw(ACTIVE, frame, Offload::default());
            assert!(sent.is_empty(), "{sent:?}");
            assert_eq!(bench.counters().dropped, dropped + 1);
        }
    };
    // Before the replacement has answered, while it replays, and when it serves.
    old_words(&mut bench);
    adopt(&mut bench, 5, 40, 7);
    old_words(&mut bench);
    let rest = Say::new(6, bench.c(3), PUSH).stamp(41, 103);
    let answer = [HEAD, b"body"].concat();
    let sent = bench.say(STANDBY, &rest.data(&answer));
    let north = sent.iter().filter(|it| it.port == NORTH);
    let new: Vec<u8> = north.flat_map(|it| it.data.clone()).collect();
    assert!(new.ends_with(b"body"), "{new:?}");
    old_words(&mut bench);
    assert_eq!(bench.state(), "established");
}

#[test]
fn standby_that_was_taken_out_is_not_chosen() {
    let mut bench = Bench::new();
    let interface = bench.status().spec.standbys[0].clone();
    let port = bench.engine.standby("web", &interface).unwrap();
    assert_eq!(port, Some(STANDBY));
    assert_eq!(bench.engine.standby("web", "vif99.0").unwrap(), None);
    assert_eq!(bench.engine.remove_standby(STANDBY), Some("web"));
    assert_eq!(bench.engine.standby("web", &interface).unwrap(), None);
}

/// A group whose protocol tells what is asked, and a client that has asked.
fn asking() -> Bench {
    let kind = "http".to_owned();
    let web = ServiceSpec { kind, ..service() };
    let mut bench = Bench::configured(EngineConfig::default(), vec![web]);
    bench.open(7);
    let get = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &get.data(GET));
    bench
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nans";

/// The server says `data` at `at`, and the client acknowledges it with this window.
fn says(bench: &mut Bench, at: usize, data: &[u8], window: u16) {
    let end = (at + data.len()) as u32;
    let asked = bench.c(GET.len() as u32);
    let answer = Say::new(bench.s(at as u32), asked, PUSH).stamp(7005, 102);
    bench.say(ACTIVE, &answer.data(data));
    let ack = Say::new(asked, bench.s(end), ACK).stamp(103, 7005);
    bench.say(NORTH, &ack.window(window));
}

fn owed(bench: &mut Bench) -> u64 {
    bench.wait(Duration::from_secs(1));
    probe(bench).0.owed_ms
}

#[test]
fn client_that_waits_for_an_answer_is_noticed_until_something_is_answered() {
    let mut bench = asking();
    assert_eq!([0; 3].map(|_| owed(&mut bench)), [0, 1000, 2000]);
    // A part of the answer, and then nothing again.
    says(&mut bench, 0, ANSWER, 500);
    assert_eq!([0; 2].map(|_| owed(&mut bench)), [0, 1000]);
    says(&mut bench, ANSWER.len(), b"wer", 500);
    assert_eq!([0; 3].map(|_| owed(&mut bench)), [0; 3], "nothing is owed");
}

#[test]
fn client_that_does_not_read_is_not_owed_anything() {
    let mut bench = asking();
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n".to_vec();
    answer.resize(64_000, b'x');
    says(&mut bench, 0, &answer, 0);
    assert_eq!([0; 3].map(|_| owed(&mut bench)), [0; 3]);
}

#[test]
fn client_that_waits_long_is_not_owed_more_while_others_are_answered() {
    let mut bench = asking();
    assert_eq!([0; 2].map(|_| owed(&mut bench)), [0, 1000]);
    // Another client asks and is answered, again and again.
    for port in 2..5 {
        bench.client_port = port;
        bench.open(7);
        let get = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
        bench.say(NORTH, &get.data(GET));
        says(&mut bench, 0, &[ANSWER, b"wer"].concat(), 500);
        assert_eq!(owed(&mut bench), 0);
    }
    assert_eq!([0; 2].map(|_| owed(&mut bench)), [1000, 2000]);
}
