// SPDX-License-Identifier: GPL-3.0-only
//! Many connections that are never opened: what they cost, and that they keep nobody waiting.

use super::*;

/// A SYN from source number `source`.
fn syn(bench: &Bench, source: u32) -> Vec<u8> {
    let mut client = bench.end(1, 40_000);
    client.socket = SocketAddr::new(Ipv4Addr::from(0xac10_0000 + source).into(), 40_000);
    let mut out = Vec::new();
    SegmentRepr {
        src: client,
        dst: bench.end(2, 80),
        tags: &[],
        seq: SeqNumber(source),
        ack: SeqNumber(0),
        flags: Flags::SYN,
        urgent: 0,
        window: 500,
        options: Say::new(0, 0, Flags::SYN).offer(7).stamp(1, 0).options,
        payload: &[],
    }
    .emit(&mut out);
    out
}

/// The server's answer to it, which nobody takes.
fn answer(bench: &Bench, source: u32) -> Vec<u8> {
    let mut client = bench.end(1, 40_000);
    client.socket = SocketAddr::new(Ipv4Addr::from(0xac10_0000 + source).into(), 40_000);
    let mut out = Vec::new();
    SegmentRepr {
        src: bench.end(2, 80),
        dst: client,
        tags: &[],
        seq: SeqNumber(7),
        ack: SeqNumber(source) + 1,
        flags: SYN_ACK,
        urgent: 0,
        window: 500,
        options: Say::new(0, 0, SYN_ACK).offer(7).stamp(1, 1).options,
        payload: &[],
    }
    .emit(&mut out);
    out
}

/// Connections of so many sources, of which every other is answered by the server, and none by the client.
fn flood(bench: &mut Bench, sources: u32) {
    for source in 0..sources {
        bench.now = bench.now.after(Duration::from_micros(1));
        let frame = syn(bench, source);
        bench.raw(NORTH, frame, Offload::default());
        if source % 2 == 0 {
            let frame = answer(bench, source);
            bench.raw(ACTIVE, frame, Offload::default());
        }
    }
}

#[test]
fn half_open_connections_keep_no_established_one_waiting() {
    let mut bench = Bench::new();
    bench.open(7);
    flood(&mut bench, 50_000);

    let mut sent = Sent::default();
    bench
        .engine
        .failover(bench.now, 0, "web", "a test", &mut sent)
        .expect("there is a standby");

    // A question for the address and a SYN for each, those that are moved and those that are asked for again.
    let unique = sent.0.iter().filter(|(port, ..)| *port == STANDBY);
    assert_eq!(unique.count(), 2 * (1024 + 1));
    assert_eq!(bench.status().connections.len(), 1024 + 1);
}

#[test]
fn half_open_connections_make_room_and_others_do_not() {
    let mut bench = Bench::new();
    bench.engine.config.max_connections = 100;
    bench.open(7);
    flood(&mut bench, 1000);
    let connections = bench.status().connections;
    assert_eq!(connections.len(), 100);
    let established = format!("{}", bench.end(1, 40_000).socket);
    assert!(connections.iter().any(|it| it.client == established));
    assert_eq!(bench.counters().unprotected, 0);
}

#[test]
fn half_open_connections_are_forgotten_soon_also_if_the_server_has_answered() {
    let mut bench = Bench::new();
    flood(&mut bench, 10);
    bench.open(7);
    bench.wait(Duration::from_secs(121));
    let left = bench.status().connections;
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn forged_segments_leave_no_trace_in_what_is_kept() {
    let mut bench = Bench::new();
    bench.open(7);
    let answered = Say::new(bench.s(0), bench.c(0), PUSH).stamp(7001, 101);
    bench.say(ACTIVE, &answered.data(b"hello"));
    let (far, clock) = (1 << 30, 101 + (1 << 30));
    // From outside the window; of what was never sent; of what was sent long ago.
    for say in [
        Say::new(bench.c(far), bench.s(5), ACK),
        Say::new(bench.c(far), bench.s(5), PUSH).data(b"poison"),
        Say::new(bench.c(0), bench.s(far), PUSH).data(b"poison"),
        Say::new(bench.c(0), bench.s(0).wrapping_sub(far), ACK),
    ] {
        bench.say(NORTH, &say.stamp(clock, 7001));
    }
    let status = &bench.status().connections[0];
    assert_eq!((status.acked_bytes, status.logged_bytes), (0, 0));

    // What the client really says is taken, and a replacement hears the client's own clock.
    let said = Say::new(bench.c(0), bench.s(5), PUSH).stamp(105, 7001);
    bench.say(NORTH, &said.data(b"GET"));
    let sent = bench.fail_over();
    let syn = sent.iter().find(|seen| seen.port == STANDBY);
    assert_eq!(syn.map(|seen| seen.stamps().value), Some(105));
}
