// SPDX-License-Identifier: GPL-3.0-only
//! A request of which servers die is not given to one after the other; others are.

use super::*;

const GET: &[u8] = b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\n";
const PUT: &[u8] = b"PUT /f HTTP/1.1\r\nContent-Length: 400\r\n\r\n";
const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
/// The replacements' initial sequence number.
const ISN: u32 = 70_000;

fn spec(poison_deaths: u8) -> ServiceSpec {
    ServiceSpec {
        poison_deaths,
        ..ServiceSpec::new(80, "http")
    }
}

fn house(poison_deaths: u8) -> Bench {
    let mut bench = Bench::with(vec![spec(poison_deaths)]);
    bench.open(7);
    bench
}

fn ask(bench: &mut Bench, at: usize, seen: u32, data: &[u8]) {
    let say = Say::new(bench.c(at as u32), bench.s(seen), PUSH);
    bench.say(NORTH, &say.stamp(102, 7000).data(data));
}

/// The replacement on this port takes the handshake and is told the client's stream from `at` on, so many bytes.
fn replay(bench: &mut Bench, port: PortId, (at, len): (usize, usize)) {
    let ack = bench.c(at as u32);
    let syn_ack = Say::new(ISN, ack, SYN_ACK).offer(7).stamp(40, 103);
    let told = bench.say(port, &syn_ack.window(60_000));
    let bytes: usize = told
        .iter()
        .filter(|it| it.port == port)
        .map(|it| it.data.len())
        .sum();
    assert_eq!(bytes, len);
}

/// The replacement says so much of its stream, which the client acknowledges.
fn say_from(bench: &mut Bench, port: PortId, (at, asked): (u32, usize), data: &[u8]) {
    let ack = bench.c(asked as u32);
    let say = Say::new(ISN.wrapping_add(1), ack, PUSH).stamp(41, 103);
    bench.say(port, &say.data(data));
    let end = bench.s(at + data.len() as u32);
    let heard = Say::new(ack, end, ACK).stamp(104, 7002);
    bench.say(NORTH, &heard);
}

fn log(bench: &mut Bench) -> String {
    let events = std::iter::from_fn(|| bench.engine.poll_event());
    events.map(|event| format!("{event}\n")).collect()
}

/// The group again with a standby, after its first was used.
fn third_standby(bench: &mut Bench) {
    let port = PortId(14);
    let added = bench.engine.add_standby("web", "vif4".to_owned(), port);
    added.expect("the port is free");
}

fn has_reply(sent: &[Seen]) -> bool {
    let is_reply = |it: &Seen| it.port == NORTH && it.data.starts_with(b"HTTP/1.1 502 ");
    sent.iter().any(is_reply)
}

#[test]
fn request_under_way_at_two_deaths_is_not_given_to_a_third_server() {
    let mut bench = house(2);
    ask(&mut bench, 0, 0, GET);
    assert!(!has_reply(&bench.fail_over()));
    replay(&mut bench, STANDBY, (0, GET.len()));
    let sent = bench.fail_over();
    assert!(has_reply(&sent));
    assert!(
        sent.iter()
            .all(|it| it.port != SECOND || !it.head.flags.has(Flags::SYN))
    );
    let counters = bench.counters();
    assert_eq!(
        (counters.poisoned, counters.lost, counters.error_replies),
        (1, 1, 1)
    );
    let log = log(&mut bench);
    let line =
        "2 servers have died with this request under way, no other gets it: \"GET /bad HTTP/1.1\"";
    assert!(log.contains(line), "{log}");
}

#[test]
fn client_with_a_part_of_the_response_is_reset() {
    let mut bench = house(2);
    ask(&mut bench, 0, 0, GET);
    let begun = Say::new(bench.s(0), bench.c(GET.len() as u32), PUSH);
    bench.say(ACTIVE, &begun.stamp(7001, 102).data(&SHORT[..9]));
    // The first of its deaths came after it had said something.
    bench.fail_over();
    replay(&mut bench, STANDBY, (0, GET.len()));
    bench.fail_over();
    assert_eq!(bench.counters().lost, 0);
    replay(&mut bench, SECOND, (0, GET.len()));
    third_standby(&mut bench);
    let sent = bench.fail_over();
    assert!(!has_reply(&sent));
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::RST)));
    assert_eq!(bench.counters().poisoned, 1);
}

#[test]
fn rule_may_be_off_or_more_patient() {
    for (deaths, poisoned) in [(0, false), (1, true), (3, false)] {
        let mut bench = house(deaths);
        ask(&mut bench, 0, 0, GET);
        let sent = bench.fail_over();
        assert_eq!(has_reply(&sent), poisoned);
        if !poisoned {
            replay(&mut bench, STANDBY, (0, GET.len()));
            assert!(!has_reply(&bench.fail_over()));
        }
    }
}

#[test]
fn deaths_count_in_another_process_of_the_logger() {
    let mut bench = house(2);
    ask(&mut bench, 0, 0, GET);
    bench.fail_over();
    bench.restart(STANDBY, vec![SECOND], EngineConfig::default());
    replay(&mut bench, STANDBY, (0, GET.len()));
    assert!(has_reply(&bench.fail_over()));
}

#[test]
fn response_that_goes_on_and_request_that_goes_on_are_innocent() {
    // New bytes of the response between the deaths.
    let mut bench = house(2);
    ask(&mut bench, 0, 0, GET);
    bench.fail_over();
    replay(&mut bench, STANDBY, (0, GET.len()));
    say_from(&mut bench, STANDBY, (0, GET.len()), &SHORT[..9]);
    let sent = bench.fail_over();
    assert!(
        !sent.iter().any(|it| it.head.flags.has(Flags::RST)),
        "{sent:?}"
    );
    assert_eq!(bench.counters().lost, 0);
    // New bytes of the request.
    let mut bench = house(2);
    ask(&mut bench, 0, 0, PUT);
    bench.fail_over();
    replay(&mut bench, STANDBY, (0, PUT.len()));
    ask(&mut bench, PUT.len(), 0, &[b'x'; 300]);
    let took = Say::new(ISN.wrapping_add(1), bench.c(PUT.len() as u32 + 300), ACK);
    bench.say(STANDBY, &took.stamp(41, 103));
    assert!(!has_reply(&bench.fail_over()));
    replay(&mut bench, SECOND, (0, PUT.len() + 300));
    third_standby(&mut bench);
    assert!(has_reply(&bench.fail_over()));
}

#[test]
fn upload_of_which_servers_die_is_given_up_though_its_client_goes_on() {
    for interim in [&b""[..], b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut bench = house(2);
        ask(&mut bench, 0, 0, PUT);
        if !interim.is_empty() {
            let say = Say::new(bench.s(0), bench.c(PUT.len() as u32), PUSH);
            bench.say(ACTIVE, &say.stamp(7001, 102).data(interim));
        }
        let seen = interim.len() as u32;
        ask(&mut bench, PUT.len(), seen, &[b'x'; 100]);
        bench.fail_over();
        // More comes while the second is asked, and when it has what killed the first.
        ask(&mut bench, PUT.len() + 100, seen, &[b'x'; 100]);
        let ack = bench.c(0);
        let syn_ack = Say::new(ISN, ack, SYN_ACK).offer(7).stamp(40, 103);
        bench.say(STANDBY, &syn_ack.window(60_000));
        let took = bench.c(PUT.len() as u32 + 100);
        let say = Say::new(ISN.wrapping_add(1), took, PUSH).stamp(41, 103);
        bench.say(STANDBY, &say.data(interim));
        ask(&mut bench, PUT.len() + 200, seen, &[b'x'; 100]);
        let sent = bench.fail_over();
        assert!(has_reply(&sent), "{interim:?} {sent:?}");
        assert_eq!(bench.counters().poisoned, 1);
    }
}

#[test]
fn server_that_was_not_told_and_client_without_room_prove_nothing() {
    // The second dies before it has answered the SYN.
    let mut bench = house(2);
    ask(&mut bench, 0, 0, GET);
    bench.fail_over();
    assert!(!has_reply(&bench.fail_over()));
    replay(&mut bench, SECOND, (0, GET.len()));
    third_standby(&mut bench);
    assert!(has_reply(&bench.fail_over()));

    let mut bench = Bench::with(vec![spec(2)]);
    let (client, server) = (bench.client_isn, bench.server_isn);
    bench.say(NORTH, &Say::new(client, 0, Flags::SYN).window(50));
    bench.say(
        ACTIVE,
        &Say::new(server, client + 1, SYN_ACK).window(60_000),
    );
    let ask = Say::new(bench.c(0), bench.s(0), PUSH).window(50);
    bench.say(NORTH, &ask.data(GET));
    for port in [STANDBY, SECOND] {
        bench.fail_over();
        let syn_ack = Say::new(ISN, bench.c(0), SYN_ACK).window(60_000);
        bench.say(port, &syn_ack);
    }
    assert_eq!(bench.counters().poisoned, 0);
}

#[test]
fn idle_connection_and_another_request_begin_anew() {
    let mut bench = house(2);
    ask(&mut bench, 0, 0, GET);
    bench.fail_over();
    replay(&mut bench, STANDBY, (0, GET.len()));
    say_from(&mut bench, STANDBY, (0, GET.len()), SHORT);
    // Idle at the second death.
    assert_eq!(bench.state(), "established");
    bench.fail_over();
    let seen = SHORT.len() as u32;
    ask(&mut bench, GET.len(), seen, GET);
    replay(&mut bench, SECOND, (GET.len(), GET.len()));
    third_standby(&mut bench);
    assert!(!has_reply(&bench.fail_over()));
    assert_eq!(bench.counters().poisoned, 0);
}

#[test]
fn request_of_another_protocol_is_given_up_with_a_reset() {
    const ASKED: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "redis")]);
    bench.open(7);
    ask(&mut bench, 0, 0, ASKED);
    bench.fail_over();
    replay(&mut bench, STANDBY, (0, ASKED.len()));
    let sent = bench.fail_over();
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::RST)));
    assert!(
        sent.iter()
            .all(|it| it.port != SECOND || !it.head.flags.has(Flags::SYN))
    );
    let counters = bench.counters();
    assert_eq!((counters.poisoned, counters.lost), (1, 1));
}
