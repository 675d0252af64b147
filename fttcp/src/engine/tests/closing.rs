// SPDX-License-Identifier: GPL-3.0-only
//! FIN and RST: held, released, swallowed.

use super::moving::{HEAD, moved};
use super::*;

const HOLD: Duration = Duration::from_millis(250);

fn served() -> Bench {
    let mut bench = Bench::new();
    bench.open(7);
    bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(b"GET"),
    );
    bench
}

#[test]
fn trap_16_fin_with_data_is_stripped_and_released_after_the_hold() {
    let mut bench = served();
    let passed = bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(3), FIN)
            .stamp(7001, 102)
            .data(b"bye"),
    );
    assert_eq!(passed[0].head.flags, ACK);
    assert_eq!(passed[0].data, b"bye");
    assert!(bench.wait(HOLD / 2).is_empty());
    let released = bench.wait(HOLD);
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].port, NORTH);
    assert_eq!(released[0].head.flags, FIN);
    assert_eq!(released[0].head.seq.0, bench.s(3));
    assert_eq!(released[0].head.ack.0, bench.c(3));
}

#[test]
fn close_that_follows_the_clients_passes_unless_something_is_owed_or_may_be_asked() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (asked, answered) = (GET.len() as u32, OK.len() as u32);
    // Whether the answer is whole, and whether the client's close overtakes what it said before.
    for (whole, gap, passes) in [(true, 0, true), (false, 0, false), (true, 9, false)] {
        let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
        bench.open(7);
        let ask = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
        bench.say(NORTH, &ask.data(GET));
        let heard = answered - u32::from(!whole);
        let answer = Say::new(bench.s(0), bench.c(asked), PUSH).stamp(7001, 102);
        bench.say(ACTIVE, &answer.data(&OK[..heard as usize]));
        let close = Say::new(bench.c(asked + gap), bench.s(heard), FIN);
        bench.say(NORTH, &close.stamp(103, 7001));
        let close = Say::new(bench.s(heard), bench.c(asked), FIN);
        let passed = bench.say(ACTIVE, &close.stamp(7002, 103));
        let told = passed
            .iter()
            .any(|seen| seen.port == NORTH && seen.head.flags.has(Flags::FIN));
        assert_eq!(told, passes, "whole: {whole}, gap: {gap}: {passed:?}");
    }
}

#[test]
fn trap_16_reset_is_withheld_and_released_after_the_hold() {
    let mut bench = served();
    assert!(
        bench
            .say(ACTIVE, &Say::new(bench.s(0), bench.c(3), RST))
            .is_empty()
    );
    let released = bench.wait(HOLD);
    assert_eq!(released[0].head.flags, RST);
    assert_eq!(released[0].head.seq.0, bench.s(0));
    assert_eq!(bench.state(), "closed");
}

/// A server that closes with some of its input unread sends both. Alone, the reset would be beside what the client expects,
/// and not be believed.
#[test]
fn trap_16_reset_behind_a_withheld_close_is_released_behind_it() {
    let mut bench = served();
    for (at, flags) in [(0, FIN), (1, RST)] {
        let close = Say::new(bench.s(at), bench.c(3), flags).stamp(7001, 102);
        let passed = bench.say(ACTIVE, &close);
        assert!(
            passed.iter().all(|seen| seen.head.flags == ACK),
            "{passed:?}"
        );
    }
    let released = bench.wait(HOLD);
    let told: Vec<_> = released
        .iter()
        .map(|seen| (seen.port, seen.head.flags, seen.head.seq.0))
        .collect();
    let (close, reset) = (bench.s(0), bench.s(1));
    assert_eq!(told, [(NORTH, FIN, close), (NORTH, RST, reset)]);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn trap_16_close_of_a_dying_server_is_swallowed() {
    for flags in [FIN, RST] {
        let mut bench = served();
        assert!(
            bench
                .say(
                    ACTIVE,
                    &Say::new(bench.s(0), bench.c(0), flags).stamp(7001, 102)
                )
                .is_empty()
        );
        let sent = bench.fail_over();
        assert!(
            sent.iter()
                .all(|seen| !seen.head.flags.has(FIN.without(ACK)) || seen.port == STANDBY)
        );
        assert!(bench.wait(HOLD * 2).iter().all(|seen| seen.port == STANDBY));
        assert_eq!(bench.counters().swallowed_closes, 1);
        assert_eq!(bench.state(), "recovering");
    }
}

#[test]
fn close_that_the_protocol_announces_passes_at_once() {
    let mut bench = served();
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let passed = bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(3), FIN)
            .stamp(7001, 102)
            .data(reply),
    );
    assert_eq!(passed[0].head.flags, FIN);
}

#[test]
fn trap_18_mapping_of_a_closed_connection_is_kept_for_two_msl() {
    let mut bench = served();
    bench.say(
        NORTH,
        &Say::new(bench.c(3), bench.s(0), FIN).stamp(103, 7000),
    );
    bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(4), FIN).stamp(7001, 103),
    );
    bench.wait(HOLD);
    bench.say(
        NORTH,
        &Say::new(bench.c(4), bench.s(1), ACK).stamp(104, 7001),
    );
    assert_eq!(bench.state(), "closed");
    assert_eq!(bench.counters().closed, 1);
    bench.wait(Duration::from_secs(59));
    assert_eq!(bench.status().connections.len(), 1);
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.status().connections, []);
}

#[test]
fn trap_18_numbers_of_a_moved_connection_are_mapped_for_two_msl() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let end = HEAD.len() as u32;
    let close = Say::new(bench.c(3), bench.s(end), FIN).stamp(110, 7005);
    assert_eq!(bench.say(NORTH, &close).len(), 1);
    let fin = Say::new(6 + end, bench.c(4), FIN).stamp(50, 110);
    bench.say(STANDBY, &fin);
    bench.wait(HOLD);
    let last = Say::new(bench.c(4), bench.s(end + 1), ACK).stamp(111, 7015);
    bench.say(NORTH, &last);
    assert_eq!(bench.state(), "closed");
    bench.wait(Duration::from_secs(50));
    // The last acknowledgement was lost on its way, and the server repeats its FIN; so does the client, later.
    let again = bench.say(STANDBY, &fin.stamp(5050, 110));
    let seen: Vec<_> = again.iter().map(|it| (it.port, it.head.seq.0)).collect();
    assert_eq!(seen, [(NORTH, bench.s(end))]);
    let again = bench.say(NORTH, &last.stamp(5111, 12_015));
    let seen: Vec<_> = again.iter().map(|it| (it.port, it.head.ack.0)).collect();
    assert_eq!(seen, [(STANDBY, 7 + end)]);
    bench.wait(Duration::from_secs(61));
    assert_eq!(bench.status().connections, []);
}

#[test]
fn trap_17_last_fin_of_a_client_is_answered_when_the_server_is_gone() {
    let mut bench = served();
    bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(3), FIN).stamp(7001, 102),
    );
    bench.wait(HOLD);
    bench.say(
        NORTH,
        &Say::new(bench.c(3), bench.s(1), FIN).stamp(103, 7001),
    );
    let sent = bench.fail_over();
    assert!(sent.is_empty(), "nothing is left to move: {sent:?}");
    let answer = bench.say(
        NORTH,
        &Say::new(bench.c(3), bench.s(1), FIN).stamp(104, 7001),
    );
    assert_eq!(answer.len(), 1);
    assert_eq!((answer[0].port, answer[0].head.flags), (NORTH, ACK));
    assert_eq!(answer[0].head.ack.0, bench.c(4));
    assert!(bench.say(STANDBY, &Say::new(1, bench.c(0), RST)).is_empty());
}

#[test]
fn fin_of_a_dead_server_is_repeated_when_nothing_is_left_to_replay() {
    let mut bench = Bench::new();
    bench.open(7);
    bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(0), FIN).stamp(7001, 101),
    );
    assert_eq!(bench.wait(HOLD)[0].head.flags, FIN);
    let sent = bench.fail_over();
    assert!(
        sent.iter().all(|seen| seen.port == NORTH),
        "a replacement that is asked nothing would not close"
    );
    for next_dies in [false, true, false] {
        if next_dies {
            bench.fail_over();
        }
        let again = bench.wait(Duration::from_millis(500));
        assert_eq!(again[0].head.flags, FIN);
        assert_eq!(again[0].head.seq.0, bench.s(0));
    }
    let ack = Say::new(bench.c(0), bench.s(1), ACK).stamp(110, 7001);
    bench.say(NORTH, &ack);
    assert!(bench.wait(Duration::from_secs(2)).is_empty());
    let closes = bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(1), FIN).stamp(111, 7001),
    );
    assert_eq!(closes[0].head.ack.0, bench.c(1));
}

/// A server's program was killed, its kernel closed, and the logger was told too late. The replacement keeps the connection.
#[test]
fn close_that_was_told_too_late_holds_no_failover_up() {
    const ANSWER: &[u8] = b"answer";
    let said = ANSWER.len() as u32;
    for client_closes in [false, true] {
        let mut bench = served();
        let answer = Say::new(bench.s(0), bench.c(3), PUSH).stamp(7001, 102);
        bench.say(ACTIVE, &answer.data(ANSWER));
        let close = Say::new(bench.s(said), bench.c(3), FIN).stamp(7002, 102);
        bench.say(ACTIVE, &close);
        assert_eq!(bench.wait(HOLD)[0].head.flags, FIN);
        let heard = Say::new(bench.c(3), bench.s(said + 1), ACK).stamp(103, 7002);
        bench.say(NORTH, &heard);

        bench.fail_over();
        let closes = Say::new(bench.c(3), bench.s(said + 1), FIN).stamp(104, 7002);
        if client_closes {
            bench.say(NORTH, &closes);
        }
        let syn_ack = Say::new(70_000, bench.c(0), SYN_ACK)
            .offer(7)
            .stamp(40, 103);
        bench.say(STANDBY, &syn_ack.window(60_000));
        let again = Say::new(70_001, bench.c(3), PUSH).stamp(41, 103);
        bench.say(STANDBY, &again.data(ANSWER));
        assert_eq!(bench.state(), "recovering");
        let sent = bench.wait(HOLD);
        let is_reset = |it: &&Seen| it.head.flags.has(Flags::RST);
        let reset: Vec<PortId> = sent.iter().filter(is_reset).map(|it| it.port).collect();
        assert_eq!(reset, [STANDBY], "{sent:?}");
        assert_eq!(bench.state(), "orphaned");
        let failover = bench.status().failover.expect("there was one");
        assert!(failover.done_us.is_some(), "{failover:?}");
        let answered = bench.say(NORTH, &closes.stamp(105, 7002));
        let seen: Vec<_> = answered.iter().map(|it| (it.port, it.head.ack.0)).collect();
        assert_eq!(seen, [(NORTH, bench.c(4))]);
        let counters = bench.counters();
        assert_eq!((counters.closed, counters.lost), (1, 0));
    }
}

/// A client asked, and a server answered and closed, as was to be expected. The lengths of what both said.
fn answered_and_closed() -> (Bench, u32, u32) {
    const GET: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (asked, said) = (GET.len() as u32, ANSWER.len() as u32);
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    bench.open(7);
    let get = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &get.data(GET));
    let answer = Say::new(bench.s(0), bench.c(asked), FIN).stamp(7001, 102);
    let passed = bench.say(ACTIVE, &answer.data(ANSWER));
    assert!(passed.iter().any(|seen| seen.head.flags.has(Flags::FIN)));
    (bench, asked, said)
}

/// The server has closed, the client knows it and has not closed yet; the log was cut. A replacement would be asked
/// nothing, and never close.
#[test]
fn trap_17_client_that_closes_after_a_dead_server_is_answered_by_the_logger() {
    let (mut bench, asked, said) = answered_and_closed();
    let knows = Say::new(bench.c(asked), bench.s(said + 1), ACK).stamp(103, 7001);
    bench.say(NORTH, &knows);
    assert_eq!(bench.counters().truncations, 1);

    assert!(
        bench
            .fail_over()
            .iter()
            .all(|it| it.head.flags != Flags::SYN)
    );
    let closes = Say::new(bench.c(asked), bench.s(said + 1), FIN).stamp(104, 7001);
    let sent = bench.say(NORTH, &closes);
    assert_eq!((sent.len(), sent[0].port), (1, NORTH));
    assert_eq!(sent[0].head.ack.0, bench.c(asked + 1));
    assert!(bench.wait(Duration::from_secs(40)).is_empty());
    let counters = bench.counters();
    assert_eq!((counters.closed, counters.lost), (1, 0));
}

/// On another connection, a server answers and closes without having said that it would. The FIN that passes at once.
fn closes_unsaid(bench: &mut Bench, port: u16) -> bool {
    closes_after(bench, port, None)
}

/// The same; if the fast path had the connection, the client had all of the answer, and this many ticks of the server's clock
/// went by.
fn closes_after(bench: &mut Bench, port: u16, ticks: Option<u32>) -> bool {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (asked, said) = (GET.len() as u32, ANSWER.len() as u32);
    bench.client_port = port;
    bench.open(7);
    let get = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &get.data(GET));
    let answer = Say::new(bench.s(0), bench.c(asked), PUSH).stamp(7001, 102);
    bench.say(ACTIVE, &answer.data(ANSWER));
    if ticks.is_some() {
        let knows = Say::new(bench.c(asked), bench.s(said), ACK).stamp(103, 7001);
        bench.say(NORTH, &knows);
        bench.wait(Duration::from_millis(20));
        for slot in bench.engine.table.of_group(0) {
            let connection = bench.engine.table.get(slot).expect("it is of the group");
            connection.packets = 1;
        }
    } else {
        // The client takes the connection for one that it may use again.
        let again = Say::new(bench.c(asked), bench.s(said), PUSH).stamp(103, 7001);
        bench.say(NORTH, &again.data(GET));
    }
    let stamp = 7001 + ticks.unwrap_or_default();
    let closes = Say::new(bench.s(said), bench.c(asked), FIN).stamp(stamp, 102);
    !bench.say(ACTIVE, &closes).is_empty()
}

#[test]
fn close_of_a_connection_that_the_kernel_had_is_dated_by_the_servers_clock() {
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    // Connections that were idle, as a dying server closes them, make no habit.
    for port in 1..=4 {
        assert!(!closes_after(&mut bench, port, Some(6)), "{port}");
    }
    bench.wait(HOLD);
    assert!(!closes_after(&mut bench, 5, Some(1)));
    for port in 6..=7 {
        assert!(!closes_after(&mut bench, port, Some(2)), "{port}");
    }
    bench.wait(HOLD);
    assert!(closes_after(&mut bench, 8, Some(2)));
    assert!(!closes_after(&mut bench, 9, Some(6)));
    // Nor do those of which it is not known.
    assert!(!closes_after(&mut bench, 10, Some(1 << 31)));
}

#[test]
fn close_behind_each_answer_is_learnt_until_a_server_dies() {
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    // Before the last of the first three is known to be meant, another is held, too.
    for port in 1..=4 {
        assert!(!closes_unsaid(&mut bench, port), "{port}");
    }
    bench.wait(HOLD);
    assert!(closes_unsaid(&mut bench, 5));
    for port in 6..=8 {
        assert!(closes_unsaid(&mut bench, port), "{port}");
    }
    bench.fail_over();
    let services = &bench.engine.groups[0]
        .as_ref()
        .expect("it is there")
        .services;
    assert!(!services[0].unsaid.is_usual(bench.now));
}

#[test]
fn closes_of_a_dying_server_make_no_habit() {
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    for port in 1..=20 {
        assert!(!closes_unsaid(&mut bench, port), "{port}");
    }
    let mut unsaid = bench.wait(HOLD / 2);
    unsaid.extend(bench.fail_over());
    unsaid.retain(|it| it.port == NORTH && it.head.flags.has(Flags::FIN));
    assert!(unsaid.is_empty());
}

/// What the fast path has forwarded is taken over, with the acknowledgement for which the log can be cut, when the server is
/// dead. A replacement would be asked nothing, and would not close; the client's close would wait for that.
#[test]
fn connection_of_which_the_fast_path_forwarded_the_last_acknowledgement_is_not_moved() {
    let (mut bench, asked, said) = answered_and_closed();
    bench
        .engine
        .table
        .get(0)
        .expect("there is one connection")
        .server
        .una = u64::from(said);
    let sent = bench.fail_over();
    assert!(sent.iter().all(|seen| seen.port == NORTH), "{sent:?}");
    assert_eq!(bench.state(), "orphaned");
    let close = Say::new(bench.c(asked), bench.s(said + 1), FIN).stamp(103, 7001);
    let heard = bench.say(NORTH, &close);
    let acks: Vec<_> = heard
        .iter()
        .map(|seen| (seen.port, seen.head.ack.0))
        .collect();
    assert_eq!(acks, [(NORTH, bench.c(asked + 1))]);
}
