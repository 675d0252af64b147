// SPDX-License-Identifier: GPL-3.0-only
//! A connection that is over is told again only if a replacement may ask for it: else it would be taken for a living one, of
//! which the same was asked.

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
/// Another connection to the same origin.
const OTHER: Ports = (8080, 33_001);
const OTHER_ISN: u32 = 5000;
const OTHER_PEER: u32 = 900_000;

fn ended(bench: &mut Bench) {
    open(bench, ORIGIN, ISN, PEER_ISN);
    talk(bench, ORIGIN, ISN, PEER_ISN, b"hello", b"abc");
    close(bench, ORIGIN, ISN + 6, PEER_ISN + 4);
    bench.now = bench.now.after(Duration::from_secs(1));
}

fn living(bench: &mut Bench) {
    open(bench, OTHER, OTHER_ISN, OTHER_PEER);
    talk(bench, OTHER, OTHER_ISN, OTHER_PEER, b"hello", b"xyz");
}

/// The first that a replacement opens: whose answer it gets.
fn reopened(bench: &mut Bench) -> u32 {
    fail_over(bench);
    let answer = reopen(bench, (ORIGIN.0, 50_000), 42).remove(0);
    assert_eq!(answer.head.flags, SYN_ACK);
    answer.head.seq.0
}

#[test]
fn trap_35_connection_that_was_over_before_any_living_client_came_is_not_told_again() {
    let mut bench = bench(Outbound::Keep);
    ended(&mut bench);
    bench.open(7);
    living(&mut bench);
    assert_eq!(reopened(&mut bench), OTHER_PEER);
}

#[test]
fn trap_35_connection_of_a_request_that_is_not_told_again_is_not_either() {
    for answered in [true, false] {
        let mut bench = bench_of(Outbound::Keep, ServiceSpec::new(80, "http"));
        bench.open(7);
        let asked = Say::new(bench.c(0), bench.s(0), PUSH);
        bench.say(NORTH, &asked.stamp(102, 7000).data(GET));
        ended(&mut bench);
        if answered {
            let end = bench.c(GET.len() as u32);
            let said = Say::new(bench.s(0), end, PUSH).stamp(7006, 102);
            bench.say(ACTIVE, &said.data(SHORT));
            let had = Say::new(end, bench.s(SHORT.len() as u32), ACK);
            bench.say(NORTH, &had.stamp(104, 7006));
        }
        assert_eq!(bench.counters().truncations, u64::from(answered));
        living(&mut bench);
        let expected = if answered { OTHER_PEER } else { PEER_ISN };
        assert_eq!(reopened(&mut bench), expected);
    }
}
