// SPDX-License-Identifier: GPL-3.0-only
//! What a connection keeps is bounded, alone and together with all others; what a full buffer does.

use super::*;
use crate::control::OnFull;

fn request(bench: &Bench, at: u32, data: &[u8]) -> Vec<u8> {
    let say = Say::new(bench.c(at), bench.s(0), PUSH).stamp(102, 7000);
    bench.frame(true, &say.data(data))
}

fn says(bench: &mut Bench, at: u32, data: &[u8]) -> Vec<Seen> {
    let frame = request(bench, at, data);
    let mut sent = Sent::default();
    let mut copy = frame;
    bench
        .engine
        .handle_frame(bench.now, NORTH, &mut copy, Offload::default(), &mut sent);
    Bench::seen(sent)
}

#[test]
fn memory_of_all_connections_is_bounded_and_given_back() {
    const LIMIT: u64 = 30_000;
    let config = EngineConfig {
        memory_bytes: LIMIT,
        ..EngineConfig::default()
    };
    let mut bench = Bench::configured(config, vec![service()]);
    for port in 0..20 {
        bench.client_port = 40_000 + port;
        bench.open(7);
        assert_eq!(says(&mut bench, 0, &[1; 1000])[0].port, ACTIVE);
        // Beyond a gap.
        assert_eq!(says(&mut bench, 3000, &[1; 1000])[0].port, ACTIVE);
        assert!(bench.engine.memory() <= LIMIT);
    }
    let counters = bench.counters();
    assert_eq!(counters.memory_bytes, bench.engine.memory());
    assert!(counters.memory_bytes > LIMIT - 3000);
    assert!(counters.full_memory > 0 && counters.full_buffers == 0);
    assert_eq!(counters.full_unprotected, counters.full_memory);
    assert_eq!(counters.protected + counters.unprotected, 20);
    for port in 0..20 {
        bench.client_port = 40_000 + port;
        bench.say(NORTH, &Say::new(bench.c(0), bench.s(0), RST));
    }
    assert_eq!(bench.engine.memory(), 0);
    bench.client_isn = 77_000;
    bench.open(7);
    assert_eq!(says(&mut bench, 0, &[1; 1000]).len(), 1);
    assert!(bench.engine.memory() >= 1000);
    let mut sent = Sent::default();
    bench
        .engine
        .remove_group(bench.now, "web", &mut sent)
        .unwrap();
    assert_eq!(bench.engine.memory(), 0);
}

#[test]
fn memory_of_causes_is_bounded_too() {
    let mut bench = Bench::new();
    bench.open(7);
    // One byte asks, one byte answers, for ever.
    for at in 0..2000 {
        let ask = Say::new(bench.c(at), bench.s(at), PUSH).stamp(102, 7000);
        bench.say(NORTH, &ask.data(b"?"));
        let answer = Say::new(bench.s(at), bench.c(at + 1), PUSH).stamp(7000, 102);
        bench.say(ACTIVE, &answer.data(b"!"));
        assert!(bench.engine.memory() <= 21_000);
    }
    assert_eq!(bench.counters().full_unprotected, 1);
}

#[test]
fn on_full_reset_ends_both_sides() {
    let mut bench = Bench::with(vec![ServiceSpec {
        on_full: OnFull::Reset,
        ..service()
    }]);
    bench.open(7);
    assert_eq!(says(&mut bench, 0, &[1; 9000])[0].port, ACTIVE);
    let answer = Say::new(bench.s(0), bench.c(9000), ACK).stamp(7001, 102);
    bench.say(ACTIVE, &answer);
    let seen = says(&mut bench, 9000, &[1; 1001]);
    assert!(seen.iter().all(|it| it.head.flags.has(Flags::RST)));
    let north = seen.iter().find(|it| it.port == NORTH).unwrap();
    assert_eq!(north.head.seq.0, bench.s(0));
    let south = seen.iter().find(|it| it.port == ACTIVE).unwrap();
    assert_eq!(south.head.seq.0, bench.c(9000));
    let counters = bench.counters();
    assert_eq!((counters.full_reset, counters.lost), (1, 1));
    assert_eq!(
        (bench.state().as_str(), bench.engine.memory()),
        ("closed", 0)
    );
}

#[test]
fn hold_is_refused_for_a_plug_in_that_never_truncates() {
    let mut engine = Engine::new(EngineConfig::default());
    let mut spec = Bench::new().status().spec;
    spec.standbys.clear();
    spec.services[0].on_full = OnFull::Hold;
    let ports = GroupPorts {
        north: NORTH,
        active: ACTIVE,
        standbys: vec![],
    };
    let error = engine.add_group(spec, ports).unwrap_err().to_string();
    assert!(
        error.contains("opaque") && error.contains("hold"),
        "{error}"
    );
}

#[test]
fn trap_22_what_comes_in_its_turn_counts_not_what_was_forged_beyond_a_gap() {
    let mut bench = Bench::new();
    bench.open(7);
    says(&mut bench, 0, b"abcd");
    says(&mut bench, 6, b"XX");
    says(&mut bench, 11, b"YY");
    let seen = says(&mut bench, 4, b"efghij");
    assert_eq!(seen[0].data, b"efghij");
    let seen = says(&mut bench, 10, b"kl");
    assert_eq!(seen[0].data, b"kl");
    assert_eq!(bench.counters().conflicts, 2);
    bench.fail_over();
    let offer = Say::new(5, bench.c(0), SYN_ACK).offer(7).stamp(40, 102);
    let fed = bench.say(STANDBY, &offer.window(60_000));
    let fed: Vec<u8> = fed.into_iter().flat_map(|seen| seen.data).collect();
    assert_eq!(fed, b"abcdefghijklY");
}

#[test]
fn trap_22_conflicting_repetition_says_what_was_logged_first() {
    let mut bench = Bench::new();
    bench.open(7);
    says(&mut bench, 0, b"abcd");
    says(&mut bench, 6, b"gh");
    let seen = says(&mut bench, 5, b"FGHI");
    assert_eq!(seen[0].data, b"FghI", "before its turn, too");
    assert_eq!(bench.counters().conflicts, 1);
    let seen = says(&mut bench, 0, b"ABCDefg");
    assert_eq!(seen[0].data, b"abcdefg");
    assert_eq!(bench.counters().conflicts, 3, "the beginning, and the F");
    let honest = says(&mut bench, 0, b"abcdefghIjkl");
    assert_eq!(honest[0].data, b"abcdefghIjkl");
    assert_eq!(bench.counters().conflicts, 3);
    // A keep-alive's byte is no news to anyone (RFC 1122 section 4.2.3.6).
    says(&mut bench, 11, b"\0");
    assert_eq!(bench.counters().conflicts, 3);
}
