// SPDX-License-Identifier: GPL-3.0-only
//! Programs under the north side wrap remember what they were told: what one was told is not told it again on another connection,
//! as it is to others.

use super::*;

/// The replacement's initial sequence number.
const ISN: u32 = 77_000;

/// A connection with one answered request, under the wrap or not.
fn asked(wrapped: bool) -> Bench {
    let mut bench = Bench::new();
    if wrapped {
        let mut spec = bench.status().spec;
        spec.wrap = Some("/run/{}.record".to_owned());
        let ports = GroupPorts {
            north: NORTH,
            active: ACTIVE,
            standbys: vec![STANDBY, SECOND],
        };
        let engine = &mut bench.engine;
        let mut sent = Sent::default();
        engine.remove_group(bench.now, "web", &mut sent).unwrap();
        engine.add_group(spec, ports).unwrap();
    }
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), ACK).stamp(102, 7000);
    bench.say(NORTH, &request.data(b"hello"));
    let answer = Say::new(bench.s(0), bench.c(5), ACK).stamp(7001, 102);
    bench.say(ACTIVE, &answer.data(b"hi"));
    bench
}

/// Its server dies, and the replacement is told the request.
fn told(bench: &mut Bench) {
    let syn = bench.fail_over();
    assert_eq!(syn[0].port, STANDBY);
    let answer = Say::new(ISN, bench.c(0), SYN_ACK).offer(7);
    let sent = bench.say(STANDBY, &answer.stamp(40, 103));
    let rest = bench.wait(Duration::from_millis(50));
    let mut data = sent.iter().chain(&rest).map(|seen| &seen.data[..]);
    assert!(data.any(|data| data == b"hello"));
}

#[test]
fn what_a_replacement_was_told_is_not_told_again_by_another_logger() {
    for (wrapped, lost) in [(false, 0), (true, 1)] {
        let mut bench = asked(wrapped);
        told(&mut bench);
        bench.restart(STANDBY, vec![SECOND], EngineConfig::default());
        assert_eq!(bench.counters().lost, lost);
        assert_eq!(bench.engine.clients("web").len() as u64, 1 - lost);
        let sent = bench.wait(Duration::from_secs(1));
        assert_eq!(sent.is_empty(), wrapped, "{}", sent.len());
    }
}

#[test]
fn what_a_replacement_was_told_and_has_reset_is_not_told_again() {
    for wrapped in [false, true] {
        let mut bench = asked(wrapped);
        told(&mut bench);
        let reset = Say::new(ISN.wrapping_add(1), bench.c(5), Flags::RST);
        bench.say(STANDBY, &reset);
        let sent = bench.wait(Duration::from_secs(1));
        let again = |seen: &Seen| seen.port == STANDBY && seen.head.flags.has(Flags::SYN);
        assert_eq!(sent.iter().any(again), !wrapped);
        assert_eq!(bench.counters().diverged, u64::from(wrapped));
    }
}

#[test]
fn replacement_that_resets_because_it_dies_is_replaced() {
    let mut bench = asked(true);
    told(&mut bench);
    let reset = Say::new(ISN.wrapping_add(1), bench.c(5), Flags::RST);
    bench.say(STANDBY, &reset);
    let syn = bench.fail_over();
    assert_eq!((syn[0].port, syn[0].head.flags), (SECOND, Flags::SYN));
    bench.wait(Duration::from_secs(1));
    let counters = bench.counters();
    assert_eq!((counters.diverged, counters.lost), (0, 0));
}

#[test]
fn before_a_replacement_was_told_anything_it_may_be_asked_again() {
    let mut bench = asked(true);
    bench.fail_over();
    // Nobody listens yet.
    let reset = Say::new(0, bench.c(0), Flags::RST);
    bench.say(STANDBY, &reset);
    bench.restart(STANDBY, vec![SECOND], EngineConfig::default());
    let again = bench.wait(Duration::from_secs(1));
    assert!(again.iter().any(|seen| seen.head.flags.has(Flags::SYN)));
    assert_eq!(bench.counters().lost, 0);
}
