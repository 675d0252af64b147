// SPDX-License-Identifier: GPL-3.0-only
//! The fabricated handshake: its time, cookies, repetitions, order.

use super::moving::{HEAD, adopt, moved};
use super::*;

const MS: Duration = Duration::from_millis(1);

/// Opens the connection to a client that is so far away, sends a request, and lets the server die.
fn distant(bench: &mut Bench, trip: Duration) {
    let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    bench.say(NORTH, &syn.stamp(100, 0));
    bench.wait(MS);
    let answer = Say::new(bench.server_isn, bench.c(0), SYN_ACK).offer(7);
    bench.say(ACTIVE, &answer.stamp(7000, 100));
    bench.wait(trip);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(101, 7000);
    bench.say(NORTH, &request.data(b"GET"));
    bench.fail_over();
}

#[test]
fn trap_25_fabricated_handshake_takes_the_round_trip_of_the_client() {
    for (trip, pause) in [(40 * MS, 40 * MS), (3000 * MS, 100 * MS)] {
        let mut bench = Bench::new();
        distant(&mut bench, trip);
        assert_eq!(adopt(&mut bench, 5, 40, 7).len(), 0);
        // Neither the client nor a repeated SYN-ACK shortens it.
        let ack = Say::new(bench.c(3), bench.s(0), ACK).window(600);
        let sent = bench.say(NORTH, &ack.stamp(102, 7000));
        assert!(sent.iter().all(|seen| seen.port == NORTH), "{sent:?}");
        assert_eq!(adopt(&mut bench, 5, 40, 7).len(), 0);
        assert_eq!(bench.wait(pause - MS).len(), 0);
        let sent = bench.wait(MS);
        assert_eq!(sent[0].head.flags, ACK);
        assert_eq!(sent[0].head.ack.0, 6);
        assert_eq!(sent[1].data, b"GET");
    }
}

#[test]
fn trap_25_near_client_is_not_made_to_wait() {
    let mut bench = Bench::new();
    distant(&mut bench, Duration::from_micros(900));
    assert_eq!(adopt(&mut bench, 5, 40, 7)[1].data, b"GET");
}

#[test]
fn trap_25_repeated_syn_ack_says_nothing_of_the_round_trip() {
    let mut bench = Bench::new();
    let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    bench.say(NORTH, &syn.stamp(100, 0));
    let answer = Say::new(bench.server_isn, bench.c(0), SYN_ACK).offer(7);
    bench.say(ACTIVE, &answer.stamp(7000, 100));
    bench.wait(1000 * MS);
    bench.say(ACTIVE, &answer.stamp(7100, 100));
    bench.wait(MS * 2);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(101, 7000);
    bench.say(NORTH, &request.data(b"GET"));
    bench.fail_over();
    assert_eq!(adopt(&mut bench, 5, 40, 7)[1].data, b"GET");
}

#[test]
fn trap_20_server_in_cookie_mode_gets_the_last_segment_of_the_handshake_again() {
    let mut bench = Bench::new();
    bench.open(7);
    // The server speaks first: nothing is fed by which it could learn of the connection.
    let greeting = Say::new(bench.s(0), bench.c(0), PUSH).stamp(7001, 101);
    bench.say(ACTIVE, &greeting.data(HEAD));
    bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(5), ACK).stamp(102, 7001),
    );
    bench.fail_over();
    let sent = adopt(&mut bench, 5, 40, 7);
    assert_eq!(sent[0].head.ack.0, 6, "the cookie, acknowledged");
    assert_eq!(sent[0].stamps().echo, 40, "in which it keeps the options");
    // That was lost.
    for _ in 0..3 {
        let again = bench.wait(1000 * MS);
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].port, again[0].head.flags), (STANDBY, ACK));
        assert_eq!((again[0].head.ack.0, again[0].stamps().echo), (6, 40));
    }
    let say = Say::new(6, bench.c(0), PUSH).stamp(41, 102);
    bench.say(STANDBY, &say.data(HEAD));
    assert_eq!(bench.state(), "established");
}

#[test]
fn trap_19_repeated_syn_changes_nothing() {
    let mut bench = Bench::new();
    let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    for value in [100, 101, 102] {
        assert_eq!(bench.say(NORTH, &syn.stamp(value, 0)).len(), 1);
    }
    let answer = Say::new(bench.server_isn, bench.c(0), SYN_ACK).offer(7);
    for value in [7000, 7001] {
        assert_eq!(bench.say(ACTIVE, &answer.stamp(value, 100)).len(), 1);
    }
    let status = bench.status();
    assert_eq!(status.connections.len(), 1);
    assert_eq!(status.counters.protected, 1);
}

#[test]
fn trap_19_repeated_syn_of_a_moved_connection_is_answered_by_the_logger() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    let sent = bench.say(NORTH, &syn.stamp(100, 0));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].port, sent[0].head.flags), (NORTH, SYN_ACK));
    assert_eq!(sent[0].head.seq.0, bench.server_isn);
}

#[test]
fn trap_15_challenge_acknowledgement_of_the_client_does_not_reach_a_replacement_that_is_not_ready()
{
    let mut bench = Bench::new();
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &request.data(b"GET"));
    bench.fail_over();
    let challenge = Say::new(bench.c(3), bench.s(0), ACK).stamp(103, 7000);
    let sent = bench.say(NORTH, &challenge);
    assert!(sent.iter().all(|seen| seen.port == NORTH));
    adopt(&mut bench, 5, 40, 7);
    // The same to a replacement that has not got the data yet: nothing that it would take for acknowledged.
    for seen in bench.say(NORTH, &challenge.stamp(104, 7000)) {
        assert!(seen.port == NORTH || seen.head.ack.0 == 6, "{seen:?}");
        assert!(!seen.head.flags.has(Flags::RST));
    }
    assert_eq!(bench.state(), "recovering");
}

#[test]
fn trap_31_connections_are_opened_again_in_the_order_in_which_they_began() {
    let mut bench = Bench::new();
    let open = |bench: &mut Bench, port| {
        bench.client_port = port;
        bench.open(7);
        bench.wait(MS);
    };
    for port in [5001, 5002, 5003] {
        open(&mut bench, port);
    }
    // The first ends; its place is taken by the newest.
    bench.client_port = 5001;
    bench.say(NORTH, &Say::new(bench.c(0), bench.s(0), RST));
    bench.wait(Duration::from_secs(61));
    open(&mut bench, 4999);
    let mut sent = Sent::default();
    let failed = bench.engine.failover(bench.now, 0, "web", "", &mut sent);
    failed.unwrap();
    let sources = |(_, frame, _): &(PortId, Vec<u8>, Offload)| Some(locate(frame).ok()?.src.port());
    let ports: Vec<u16> = sent.0.iter().filter_map(sources).collect();
    assert_eq!(ports, [5002, 5003, 4999]);
}

/// The first answer was to a SYN of an attempt that was reset; the replacement repeats the true one.
#[test]
fn trap_19_late_answer_of_an_earlier_attempt_gives_way_to_the_true_one() {
    let mut bench = Bench::new();
    distant(&mut bench, Duration::from_micros(900));
    assert_eq!(adopt(&mut bench, 5, 40, 7)[1].data, b"GET");
    let sent = adopt(&mut bench, 900, 41, 7);
    assert_eq!((sent[0].port, sent[0].head.ack.0), (STANDBY, 901));
    assert_eq!(sent[1].data, b"GET");
    // Once it is confirmed, no other answer counts.
    let say = Say::new(901, bench.c(3), ACK).stamp(42, 101);
    bench.say(STANDBY, &say);
    let sent = adopt(&mut bench, 5, 43, 7);
    assert!(sent.iter().all(|seen| seen.head.ack.0 == 901), "{sent:?}");
}

/// A server that died during the handshake answers a repeated SYN anew. Which answer arrived, only the client knows.
#[test]
fn trap_19_client_says_which_of_two_syn_acks_it_has_got() {
    for (takes_first, dies_before) in [(true, false), (true, true), (false, false)] {
        let mut bench = Bench::new();
        let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
        bench.say(NORTH, &syn.stamp(100, 0));
        for isn in [900_000, 33] {
            let answer = Say::new(isn, bench.c(0), SYN_ACK).offer(7);
            bench.say(ACTIVE, &answer.stamp(7000, 100));
        }
        bench.server_isn = if takes_first { 900_000 } else { 33 };
        let sent = if dies_before {
            bench.fail_over()
        } else {
            Vec::new()
        };
        let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(103, 7000);
        bench.say(NORTH, &request.data(b"GET"));
        if !dies_before {
            // Now it is too late for another.
            let answer = Say::new(77, bench.c(0), SYN_ACK).offer(7);
            bench.say(ACTIVE, &answer.stamp(7000, 100));
            bench.fail_over();
        }
        adopt(&mut bench, 5, 40, 7);
        assert_eq!(bench.state(), "recovering", "{sent:?}");
        bench.say(STANDBY, &Say::new(6, bench.c(3), ACK).stamp(41, 103));
        let out = bench.say(
            STANDBY,
            &Say::new(6, bench.c(3), PUSH).stamp(41, 103).data(HEAD),
        );
        assert_eq!((out[0].port, out[0].head.seq.0), (NORTH, bench.s(0)));
        assert_eq!(out[0].data, HEAD);
    }
}

/// A second reset could be overtaken by the new handshake, and end the new connection.
#[test]
fn trap_15_older_connection_of_a_replacement_is_reset_once_for_each_syn() {
    let mut bench = Bench::new();
    distant(&mut bench, Duration::from_micros(900));
    let resets = |sent: &[Seen]| {
        let is_reset = |seen: &&Seen| seen.head.flags.has(Flags::RST);
        sent.iter().filter(is_reset).count()
    };
    let older = Say::new(88, bench.c(3), ACK).stamp(40, 100);
    assert_eq!(resets(&bench.say(STANDBY, &older)), 1);
    assert_eq!(resets(&bench.say(STANDBY, &older)), 0);
    assert!(bench.wait(200 * MS)[0].head.flags.has(Flags::SYN));
    assert_eq!(resets(&bench.say(STANDBY, &older)), 1);
}

/// The earlier attempt had got the request; the present one has not.
#[test]
fn trap_19_late_acknowledgement_of_an_earlier_attempt_does_not_count_in_the_present_one() {
    let mut bench = Bench::new();
    distant(&mut bench, Duration::from_micros(900));
    assert_eq!(adopt(&mut bench, 5, 40, 7)[1].data, b"GET");
    let late = Say::new(3_000_000_000, bench.c(3), ACK).stamp(40, 101);
    assert!(bench.say(STANDBY, &late).is_empty());
    assert_eq!(bench.wait(200 * MS)[0].data, b"GET");
    bench.say(STANDBY, &Say::new(6, bench.c(3), ACK).stamp(41, 101));
    assert_eq!(bench.state(), "established");
    // Nor after the hand-over.
    let request = Say::new(bench.c(3), bench.s(0), PUSH).stamp(104, 7000);
    bench.say(NORTH, &request.data(b" /x"));
    let late = Say::new(3_000_000_000, bench.c(6), ACK).stamp(40, 101);
    assert!(bench.say(STANDBY, &late).is_empty());
}
