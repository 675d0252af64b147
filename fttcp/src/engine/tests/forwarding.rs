// SPDX-License-Identifier: GPL-3.0-only
//! What passes, what is dark, what is not protected.

use super::traps_options::with_options;
use super::*;
use crate::frame::PartialChecksum;

fn arp(bench: &Bench, from: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    let ip = Ipv4Addr::new(10, 0, 0, from);
    let target = Ipv4Addr::new(10, 0, 0, 99);
    crate::wire::arp_request(&mut frame, bench.end(from, 0).mac, ip, target, &[]);
    frame
}

#[test]
fn foreign_and_malformed_frames_pass_untouched_both_ways() {
    let mut bench = Bench::new();
    let mut frames = vec![arp(&bench, 1), vec![], vec![1, 2, 3], vec![0xff; 60]];
    let mut udp = bench.frame(true, &Say::new(1, 2, ACK));
    udp[23] = 17;
    frames.push(udp);
    let mut corrupt = bench.frame(true, &Say::new(1, 2, PUSH).data(b"data"));
    *corrupt.last_mut().unwrap() ^= 1;
    frames.push(corrupt);
    for frame in frames {
        for (from, to) in [(NORTH, ACTIVE), (ACTIVE, NORTH)] {
            let got = bench.raw(from, frame.clone(), Offload::default());
            assert_eq!(got, [(to, frame.clone())]);
        }
    }
    assert_eq!(bench.status().connections, []);
}

#[test]
fn standby_and_dead_ports_are_dark() {
    let mut bench = Bench::new();
    let frame = arp(&bench, 2);
    assert_eq!(bench.raw(STANDBY, frame.clone(), Offload::default()), []);
    bench.fail_over();
    assert_eq!(bench.raw(ACTIVE, frame.clone(), Offload::default()), []);
    assert_eq!(
        bench.raw(STANDBY, frame.clone(), Offload::default()),
        [(NORTH, frame.clone())]
    );
    assert_eq!(
        bench.raw(NORTH, frame.clone(), Offload::default()),
        [(STANDBY, frame)]
    );
    assert_eq!(bench.counters().dropped, 2);
}

#[test]
fn commands_that_cannot_be_done_change_nothing() {
    let mut bench = Bench::new();
    let group = |name: &str| GroupSpec {
        name: name.to_owned(),
        ..GroupSpec::default()
    };
    let ports = |north, active| GroupPorts {
        north: PortId(north),
        active: PortId(active),
        standbys: vec![],
    };
    let exists = bench.engine.add_group(group("web"), ports(1, 2));
    assert_eq!(exists, Err(EngineError::GroupExists("web".to_owned())));
    let used = bench.engine.add_group(group("x"), ports(1, NORTH.0));
    assert!(matches!(
        used,
        Err(EngineError::PortUsed { port: NORTH, .. })
    ));
    let twice = bench.engine.add_group(group("x"), ports(1, 1));
    assert!(matches!(twice, Err(EngineError::PortUsed { .. })));
    let mut odd = group("x");
    odd.services = vec![ServiceSpec {
        kind: "odd".to_owned(),
        ..service()
    }];
    let unknown = bench.engine.add_group(odd, ports(1, 2));
    assert!(unknown.unwrap_err().to_string().contains("odd"));
    bench.fail_over();
    bench.fail_over();
    let mut sent = Sent::default();
    let none = bench.engine.failover(bench.now, 0, "web", "", &mut sent);
    assert_eq!(none, Err(EngineError::NoStandby("web".to_owned())));
    bench
        .engine
        .add_standby("web", "vif9".to_owned(), ACTIVE)
        .expect("a dead port's number may come again");
    let closed = bench
        .engine
        .remove_group(bench.now, "web", &mut sent)
        .unwrap();
    assert_eq!(closed, [NORTH, SECOND, ACTIVE]);
    assert_eq!(bench.engine.status(None, false), []);
}

#[test]
fn before_a_failover_segments_pass_untouched() {
    let mut bench = Bench::new();
    bench.open(7);
    let request = bench.frame(
        true,
        &Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(b"GET"),
    );
    assert_eq!(
        bench.raw(NORTH, request.clone(), Offload::default()),
        [(ACTIVE, request)]
    );
    let reply = bench.frame(
        false,
        &Say::new(bench.s(0), bench.c(3), PUSH)
            .stamp(7001, 102)
            .data(b"reply"),
    );
    assert_eq!(
        bench.raw(ACTIVE, reply.clone(), Offload::default()),
        [(NORTH, reply)]
    );
    let status = bench.status();
    assert_eq!(status.counters.logged_bytes, 3);
    assert_eq!(status.connections[0].sent_bytes, 5);
    assert_eq!(status.counters.protected, 1);
}

#[test]
fn trap_10_super_segment_is_logged_whole_and_keeps_its_offload() {
    let mut bench = Bench::with(vec![ServiceSpec {
        buffer_bytes: 1 << 20,
        ..service()
    }]);
    bench.open(7);
    let data = vec![7; 20_000];
    let mut frame = bench.frame(
        true,
        &Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(&data),
    );
    frame[50..52].copy_from_slice(&[0xab, 0xcd]);
    let offload = Offload {
        partial_checksum: Some(PartialChecksum {
            start: 34,
            offset: 16,
        }),
        gso_size: Some(1448),
        ..Offload::default()
    };
    let mut sent = Sent::default();
    let mut copy = frame.clone();
    bench
        .engine
        .handle_frame(bench.now, NORTH, &mut copy, offload, &mut sent);
    assert_eq!(sent.0, [(ACTIVE, frame, offload)]);
    assert_eq!(bench.counters().logged_bytes, 20_000);
}

#[test]
fn trap_14_signed_flows_pass_untouched_and_are_counted_once() {
    for (kind, length) in [(19, 18), (29, 16)] {
        let mut bench = Bench::new();
        let mut signature = vec![kind, length];
        signature.resize(usize::from(length).next_multiple_of(4), 1);
        let mut segments = vec![(true, Say::new(bench.client_isn, 0, Flags::SYN))];
        segments.push((false, Say::new(bench.server_isn, bench.c(0), SYN_ACK)));
        segments.push((true, Say::new(bench.c(0), bench.s(0), PUSH).data(b"hello")));
        segments.push((false, Say::new(bench.s(0), bench.c(5), PUSH).data(b"there")));
        segments.push((true, Say::new(bench.c(5), bench.s(5), RST)));
        for (from_client, say) in segments {
            // Whatever is changed in it makes its signature wrong.
            let frame = with_options(&bench, from_client, &say, &signature);
            let mut copy = frame.clone();
            let (port, to) = if from_client {
                (NORTH, ACTIVE)
            } else {
                (ACTIVE, NORTH)
            };
            let (now, mut sent) = (bench.now, Sent::default());
            let engine = &mut bench.engine;
            engine.handle_frame(now, port, &mut copy, Offload::default(), &mut sent);
            assert_eq!(sent.0, [(to, frame, Offload::default())]);
        }
        assert_eq!(bench.counters().unprotected, 1);
        let event = bench.engine.poll_event().unwrap().to_string();
        assert!(event.contains("signed"), "{event}");
    }
}

#[test]
fn trap_14_unknown_flows_pass_and_are_counted_once() {
    let mut bench = Bench::new();
    for at in 0..3 {
        let passed = bench.say(NORTH, &Say::new(5000 + at, 1, PUSH).data(b"x"));
        assert_eq!(passed.len(), 1);
    }
    assert_eq!(bench.counters().unprotected, 1);
    assert_eq!(bench.state(), "unprotected");
}

#[test]
fn full_buffer_ends_the_protection_not_the_connection() {
    let mut bench = Bench::new();
    bench.open(7);
    let data = [1; 4000];
    for part in 0..3 {
        let say = Say::new(bench.c(part * 4000), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(&data);
        assert_eq!(bench.say(NORTH, &say).len(), 1);
    }
    let counters = bench.counters();
    assert_eq!(
        (
            counters.unprotected,
            counters.protected,
            counters.logged_bytes
        ),
        (1, 0, 0)
    );
    let event = bench.engine.poll_event().unwrap().to_string();
    assert!(event.contains("buffer_bytes"), "{event}");
}

#[test]
fn trap_22_retransmission_is_logged_once_and_passes() {
    let mut bench = Bench::new();
    bench.open(7);
    for _ in 0..3 {
        let say = Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(b"request");
        assert_eq!(bench.say(NORTH, &say).len(), 1);
        let say = Say::new(bench.s(0), bench.c(7), PUSH)
            .stamp(7001, 102)
            .data(b"reply");
        assert_eq!(bench.say(ACTIVE, &say)[0].data, b"reply");
    }
    let connection = &bench.status().connections[0];
    assert_eq!((connection.logged_bytes, connection.sent_bytes), (7, 5));
}

#[test]
fn trap_18_new_syn_replaces_a_closed_connection() {
    let mut bench = Bench::new();
    bench.open(7);
    bench.say(NORTH, &Say::new(bench.c(0), bench.s(0), RST));
    assert_eq!(bench.state(), "closed");
    bench.client_isn = 77_000;
    bench.open(7);
    assert_eq!(bench.state(), "established");
    bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(b"new"),
    );
    assert_eq!(bench.counters().logged_bytes, 3);
}

#[test]
fn trap_15_reset_beside_the_window_is_not_believed() {
    let mut bench = Bench::new();
    bench.open(7);
    let passed = bench.say(NORTH, &Say::new(bench.c(50), bench.s(0), RST));
    assert_eq!(passed.len(), 1);
    assert_eq!(bench.state(), "established");
}

#[test]
fn silent_connections_are_forgotten() {
    let mut bench = Bench::new();
    let say = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    bench.say(NORTH, &say);
    assert_eq!(bench.state(), "opening");
    bench.wait(Duration::from_secs(121));
    assert_eq!(bench.status().connections, []);
    assert_eq!(bench.engine.next_timeout(), None);
}
