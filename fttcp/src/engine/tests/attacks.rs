// SPDX-License-Identifier: GPL-3.0-only
//! What strangers may send: floods, storms, injections. Each costs a bounded part of memory and a bounded answer.

use super::moving::{HEAD, NEW_HEAD, adopt, orphan};
use super::*;

const LIMIT: usize = 100;

fn small() -> Bench {
    let config = EngineConfig {
        max_half_open: LIMIT,
        ..EngineConfig::default()
    };
    let mut bench = Bench::configured(config, vec![service()]);
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &request.data(b"request"));
    bench
}

fn assert_unharmed(bench: &mut Bench) {
    bench.client_port = 40_000;
    let more = Say::new(bench.c(7), bench.s(0), PUSH).stamp(103, 7000);
    assert_eq!(bench.say(NORTH, &more.data(b" goes on")).len(), 1);
    let all = bench.status().connections;
    let known = all.iter().find(|it| it.client.ends_with(":40000"));
    let known = known.expect("it is known");
    assert_eq!(
        (known.state.as_str(), known.logged_bytes),
        ("established", 15)
    );
}

#[test]
fn attack_syn_flood_takes_a_bound_and_harms_no_established_connection() {
    let mut bench = small();
    for port in 1..2000 {
        bench.client_port = port;
        let syn = Say::new(77, 0, Flags::SYN).offer(7);
        assert_eq!(bench.say(NORTH, &syn)[0].port, ACTIVE);
        assert!(bench.engine.table.len() <= LIMIT + 1);
    }
    assert!(bench.counters().evicted >= 1999 - LIMIT as u64);
    // The last ones are still known: a flood does not keep others from opening.
    bench.client_port = 1999;
    let state = bench.status().connections;
    let known = |port: &str| state.iter().any(|it| it.client.ends_with(port));
    assert!(known(":1999") && !known(":1000"));
    assert_unharmed(&mut bench);
}

#[test]
fn attack_short_connections_take_a_bound_and_leave_room_for_others() {
    let bounds = [
        EngineConfig {
            max_closed: LIMIT,
            ..EngineConfig::default()
        },
        EngineConfig {
            max_connections: LIMIT,
            ..EngineConfig::default()
        },
    ];
    for config in bounds {
        let mut bench = Bench::configured(config, vec![service()]);
        bench.open(7);
        for port in 1..1000 {
            bench.client_port = port;
            bench.open(7);
            bench.say(NORTH, &Say::new(bench.c(0), bench.s(0), RST));
            assert!(bench.engine.table.len() <= LIMIT + 1);
        }
        assert_eq!(bench.counters().unprotected, 0);
        // The last ones are still known, and so is one that is not over.
        let state = bench.status().connections;
        let known = |port: &str| state.iter().any(|it| it.client.ends_with(port));
        assert!(known(":999") && !known(":500") && known(":40000"));
    }
}

#[test]
fn attack_ack_storm_from_nowhere_takes_a_bound_and_is_not_answered() {
    let mut bench = small();
    for port in 1..2000 {
        bench.client_port = port;
        let sent = bench.say(NORTH, &Say::new(5, 9, PUSH).data(b"x"));
        assert_eq!((sent.len(), sent[0].port), (1, ACTIVE));
    }
    assert!(bench.engine.table.len() <= LIMIT + 1);
    assert_unharmed(&mut bench);
}

#[test]
fn attack_ack_storm_on_a_connection_passes_one_for_one() {
    let mut bench = small();
    for n in 0..1000_u32 {
        let ack = Say::new(bench.c(7), bench.s(n.wrapping_mul(7919)), ACK).stamp(102, 7000);
        assert!(bench.say(NORTH, &ack).len() <= 1);
    }
    assert_eq!(bench.status().connections[0].acked_bytes, 0);
    assert_unharmed(&mut bench);
}

#[test]
fn attack_injected_data_beyond_the_window_is_not_logged() {
    let mut bench = small();
    let before = bench.engine.memory();
    for n in 0..1000_u32 {
        let at = 10_000_000 + n.wrapping_mul(1_000_003) % 2_000_000_000;
        let wild = Say::new(bench.c(at), bench.s(0), PUSH).stamp(102, 7000);
        assert!(bench.say(NORTH, &wild.data(&[0xee; 1000])).len() <= 1);
    }
    assert_eq!(bench.engine.memory(), before);
    assert_unharmed(&mut bench);
}

#[test]
fn attack_resets_beside_the_next_byte_end_nothing() {
    let mut bench = small();
    for n in 1..1000_u32 {
        let reset = Say::new(bench.c(7 + n * 61), bench.s(0), RST);
        assert!(bench.say(NORTH, &reset).len() <= 1);
    }
    assert_eq!(bench.state(), "established");
    assert_unharmed(&mut bench);
}

#[test]
fn attack_acknowledgement_and_clock_of_a_reset_in_the_window_are_not_believed() {
    let mut bench = small();
    bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(0), PUSH).data(b"answer"),
    );
    let reset = Say::new(bench.c(2000), bench.s(6), RST).stamp(102 + (1 << 30), 7000);
    bench.say(NORTH, &reset);
    assert_eq!(bench.status().connections[0].acked_bytes, 0);
    let seen = bench.fail_over();
    let syn = seen.iter().find(|it| it.head.flags == Flags::SYN);
    assert_eq!(syn.expect("it is moved").stamps().value, 102);
}

#[test]
fn attack_single_bytes_beyond_gaps_use_no_more_than_the_buffer() {
    let mut bench = small();
    for n in 0..5000_u32 {
        let piece = Say::new(bench.c(20 + 2 * n), bench.s(0), PUSH).stamp(102, 7000);
        bench.say(NORTH, &piece.data(b"z"));
        assert!(bench.engine.memory() <= u64::from(service().buffer_bytes));
    }
}

#[test]
fn trap_07_acknowledgements_are_not_multiplied() {
    let mut bench = small();
    // Passing: one for one.
    for ack in [3, 7, 7] {
        let say = Say::new(bench.s(0), bench.c(ack), ACK).stamp(7001, 102);
        assert_eq!(bench.say(ACTIVE, &say).len(), 1);
    }
    bench.fail_over();
    // While it is moved: data is answered once, and a bare acknowledgement not at all.
    let ack = Say::new(bench.c(7), bench.s(0), ACK).stamp(103, 7001);
    let north = |seen: Vec<Seen>| seen.iter().filter(|it| it.port == NORTH).count();
    for _ in 0..3 {
        let sent = bench.say(NORTH, &ack);
        assert_eq!(north(sent), 0);
    }
    let data = Say::new(bench.c(7), bench.s(0), PUSH).stamp(104, 7001);
    let sent = bench.say(NORTH, &data.data(b"more"));
    assert_eq!(north(sent), 1);
}

#[test]
fn trap_08_acknowledgement_never_goes_back() {
    let mut bench = small();
    let say = Say::new(bench.s(0), bench.c(7), ACK).stamp(7001, 102);
    bench.say(ACTIVE, &say);
    bench.fail_over();
    let offer = Say::new(50_000, bench.c(0), SYN_ACK)
        .offer(7)
        .stamp(9000, 101);
    bench.say(STANDBY, &offer);
    let mut least = bench.c(7);
    // The replacement has not yet acknowledged what the client knows to be acknowledged; and its segments overtake
    // each other.
    for ack in [0, 7, 3, 7, 0] {
        let say = Say::new(50_001, bench.c(ack), ACK).stamp(9001, 102);
        for seen in bench.say(STANDBY, &say) {
            if seen.port == NORTH {
                assert!(seen.head.ack.ahead_of(SeqNumber(least)) >= 0);
                least = seen.head.ack.0;
            }
        }
    }
    assert_eq!(bench.state(), "established");
    assert_eq!(least, bench.c(7));
}

#[test]
fn a_connection_that_sleeps_is_the_same_when_it_wakes() {
    let mut bench = small();
    let awake = format!("{:?}", bench.status().connections);
    let memory = bench.engine.memory();
    bench.wait(Duration::from_secs(6));
    assert_eq!(bench.engine.table.all_dormant().count(), 1);
    assert_eq!(format!("{:?}", bench.status().connections), awake);
    assert_eq!(bench.engine.memory(), memory);
    assert_unharmed(&mut bench);
    assert_eq!(bench.engine.table.all_dormant().count(), 0);
    bench.wait(Duration::from_secs(6));
    let seen = bench.fail_over();
    assert!(seen.iter().any(|it| it.head.flags == Flags::SYN));
    assert_eq!(bench.state(), "recovering");
}

#[test]
fn attack_forged_data_beyond_a_gap_does_not_hold_a_failover_up() {
    let mut bench = Bench::new();
    orphan(&mut bench, 7, 0);
    let forged = Say::new(bench.c(1000), bench.s(0), PUSH)
        .stamp(104, 7005)
        .data(b"forged");
    bench.say(NORTH, &forged);
    adopt(&mut bench, 5, 40, 7);
    let ack = bench.c(3);
    let said = Say::new(6, ack, PUSH).stamp(41, 103).data(NEW_HEAD);
    bench.say(STANDBY, &said);
    assert_eq!(bench.state(), "recovering", "what fills the gap may come");
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.state(), "established");
    assert_eq!(bench.counters().recovered, 1);
}

#[test]
fn attack_forged_acknowledgement_does_not_become_one_that_a_replacement_believes() {
    let mut bench = Bench::new();
    orphan(&mut bench, 7, 0);
    adopt(&mut bench, 5, 40, 7);
    let again = Say::new(6, bench.c(3), PUSH).stamp(41, 103);
    bench.say(STANDBY, &again.data(NEW_HEAD));
    let (una, far) = (bench.s(HEAD.len() as u32), 1 << 30);
    let mut told = |ack| {
        let seen = bench.say(NORTH, &Say::new(bench.c(3), ack, ACK).stamp(104, 7005));
        seen[0].head.ack.0
    };
    let known = told(una);
    assert_eq!(known, 6 + HEAD.len() as u32);
    for forged in [una.wrapping_add(far), una.wrapping_sub(far)] {
        let shift = forged.wrapping_sub(una);
        assert_eq!(told(forged), known.wrapping_add(shift));
    }
}

#[test]
fn attack_answer_to_a_forged_syn_does_not_end_the_protection_of_the_true_one() {
    let mut bench = Bench::new();
    let forged = Say::new(bench.client_isn ^ 0x5000_0000, 0, Flags::SYN).offer(7);
    bench.say(NORTH, &forged);
    let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    bench.say(NORTH, &syn.stamp(100, 0));
    let to_forged = Say::new(4000, forged.seq.wrapping_add(1), SYN_ACK).offer(7);
    assert_eq!(bench.say(ACTIVE, &to_forged)[0].port, NORTH);
    bench.open(7);
    let counters = bench.counters();
    assert_eq!((counters.protected, counters.unprotected), (1, 0));
    assert_eq!(bench.state(), "established");
}

#[test]
fn attack_forged_syn_on_a_moved_connection_leaves_it_what_it_is() {
    let mut bench = small();
    let forged = Say::new(bench.client_isn ^ 0x5000_0000, 0, Flags::SYN).offer(7);
    let seen = bench.say(NORTH, &forged);
    // RFC 5961 section 4.
    assert_eq!((seen.len(), seen[0].port), (1, NORTH));
    assert_eq!(seen[0].head.flags, ACK);
    assert_unharmed(&mut bench);
}

#[test]
fn attack_data_just_beyond_the_window_reaches_neither_log_nor_server() {
    let mut bench = small();
    let right = 64_240;
    for (at, len) in [(right - 9, 11), (right + 1, 1), (right + 1000, 500)] {
        let data = vec![b'x'; len];
        let beyond = Say::new(bench.c(at), bench.s(0), PUSH).stamp(103, 7000);
        let seen = bench.say(NORTH, &beyond.data(&data));
        // The server is asked for its window instead.
        assert_eq!((seen.len(), seen[0].port), (1, ACTIVE));
        assert_eq!(
            (seen[0].head.seq.0, seen[0].data.len()),
            (bench.c(0) - 1, 0)
        );
    }
    let fin = Say::new(bench.c(right + 1), bench.s(0), FIN).stamp(103, 7000);
    assert_eq!(bench.say(NORTH, &fin)[0].head.flags, ACK);
    assert_unharmed(&mut bench);
}

#[test]
fn attack_clock_of_a_forged_reset_or_of_data_before_its_turn_is_not_learnt() {
    let mut bench = small();
    let far = 102 + (1 << 30);
    let reset = Say::new(bench.c(2000), bench.s(0), RST).stamp(far, 7000);
    bench.say(NORTH, &reset);
    let early = Say::new(bench.c(3000), bench.s(0), PUSH).stamp(far, 7000);
    bench.say(NORTH, &early.data(b"forged"));
    let seen = bench.fail_over();
    let syn = seen.iter().find(|it| it.head.flags == Flags::SYN);
    assert_eq!(syn.expect("it is moved").stamps().value, 102);
}

#[test]
fn attack_clock_of_an_old_acknowledgement_does_not_reach_the_server() {
    let mut bench = small();
    let answer = Say::new(bench.s(0), bench.c(7), PUSH).stamp(7001, 102);
    bench.say(ACTIVE, &answer.data(b"answer"));
    bench.say(
        NORTH,
        &Say::new(bench.c(7), bench.s(6), ACK).stamp(103, 7001),
    );
    let shown = |bench: &mut Bench, ack: u32, clock| {
        let old = Say::new(bench.c(7), bench.s(ack), ACK).stamp(clock, 7001);
        let seen = bench.say(NORTH, &old);
        (seen.len(), seen[0].port, seen[0].stamps().value)
    };
    let far = 1_u32 << 30;
    for ack in [5, 6_u32.wrapping_sub(far)] {
        assert_eq!(shown(&mut bench, ack, 103 + far), (1, ACTIVE, 103));
        // Overtaken, with the clock of its time.
        assert_eq!(shown(&mut bench, ack, 102), (1, ACTIVE, 102));
    }
    assert_eq!(shown(&mut bench, 6, 105), (1, ACTIVE, 105));
    assert_unharmed(&mut bench);
}

#[test]
fn attack_resets_that_answer_another_incarnation_end_nothing() {
    // A forged SYN and what follows it meet a server that has closed; its resets are under way when the client opens a
    // connection of the same name.
    let mut bench = Bench::new();
    bench.say(NORTH, &Say::new(1000, 0, Flags::SYN).offer(7));
    for reset in [
        Say::new(bench.s(0) - 20_000, 0, Flags::RST),
        Say::new(0, bench.c(0) - 9, RST),
    ] {
        assert!(bench.say(ACTIVE, &reset).is_empty());
    }
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &request.data(b"request"));
    for before in [1, 20_000, 1 << 30] {
        let reset = Say::new(bench.s(0).wrapping_sub(before), 0, Flags::RST);
        assert!(bench.say(ACTIVE, &reset).is_empty());
    }
    assert!(bench.wait(Duration::from_secs(1)).is_empty());
    assert_unharmed(&mut bench);
}

#[test]
fn attack_reset_beside_the_clients_next_byte_is_asked_about_and_then_believed() {
    let mut bench = small();
    let ahead = Say::new(bench.s(1000), 0, Flags::RST);
    let asked = bench.say(ACTIVE, &ahead);
    let ask = asked.first().expect("the server is asked");
    assert_eq!((asked.len(), ask.port, ask.head.flags), (1, ACTIVE, ACK));
    assert_eq!((ask.head.seq.0, ask.head.ack.0), (bench.c(7), bench.s(0)));
    assert!(bench.wait(Duration::from_secs(1)).is_empty());
    assert_unharmed(&mut bench);

    // It answers so if it does not know the connection.
    let exact = Say::new(ask.head.ack.0, 0, Flags::RST);
    assert!(bench.say(ACTIVE, &exact).is_empty());
    let told = bench.wait(Duration::from_secs(1));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].port, told[0].head.flags), (NORTH, Flags::RST));
}

#[test]
fn reset_that_answers_the_syn_is_passed_on() {
    let mut bench = Bench::new();
    bench.say(NORTH, &Say::new(1000, 0, Flags::SYN).offer(7));
    assert!(bench.say(ACTIVE, &Say::new(0, bench.c(0), RST)).is_empty());
    let told = bench.wait(Duration::from_secs(1));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].port, told[0].head.flags), (NORTH, RST));
}
