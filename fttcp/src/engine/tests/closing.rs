// SPDX-License-Identifier: GPL-3.0-only
//! FIN and RST: held, released, swallowed.

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
