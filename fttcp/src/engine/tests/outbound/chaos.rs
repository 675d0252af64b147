// SPDX-License-Identifier: GPL-3.0-only
//! Senseless segments of connections that the server opens, and another logger that goes on with what is known.

use proptest::prelude::*;

use super::*;
use crate::engine::Image;

#[derive(Clone, Debug)]
enum Op {
    Segment {
        port: u8,
        ports: (u8, u8),
        seq: i32,
        ack: i32,
        flags: u8,
        len: usize,
        stamped: bool,
    },
    Wait(u16),
    FailOver,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![
        4 => Just(0x10u8), 4 => Just(0x18), 2 => Just(0x11), 1 => Just(0x04), 1 => Just(0x14),
        6 => Just(0x02), 4 => Just(0x12), 1 => any::<u8>()
    ];
    let near = || prop_oneof![8 => -2..6i32, 1 => any::<i32>()];
    let ports = (0..2u8, 0..3u8);
    let segment = (
        0..4u8,
        ports,
        near(),
        near(),
        flags,
        0..4usize,
        any::<bool>(),
    );
    prop_oneof![
        30 => segment.prop_map(|(port, ports, seq, ack, flags, len, stamped)| Op::Segment {
            port, ports, seq, ack, flags, len, stamped,
        }),
        3 => any::<u16>().prop_map(Op::Wait),
        2 => Just(Op::FailOver),
        1 => Just(Op::Restart),
    ]
}

/// Another engine goes on with what this one knows.
fn restart(bench: &mut Bench) {
    let image = Image::parse(&bench.engine.export(bench.now)).unwrap();
    let mut engine = Engine::new(EngineConfig::default());
    let mut sent = Sent::default();
    let ports = |spec: &mut GroupSpec| {
        let standbys = [STANDBY, SECOND];
        let left = spec.standbys.len();
        Some(GroupPorts {
            north: NORTH,
            active: [SECOND, STANDBY, ACTIVE][left],
            standbys: standbys[2 - left..].to_vec(),
        })
    };
    let taken = engine.import(bench.now, image, ports, &mut sent).unwrap();
    assert_eq!(taken.groups, 1);
    outs(sent);
    bench.engine = engine;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn trap_35_senseless_segments_never_panic(
        ops in proptest::collection::vec(op(), 1..80),
        opened in any::<bool>(),
        keep in any::<bool>(),
    ) {
        let mut bench = bench(if keep { Outbound::Keep } else { Outbound::ReIssue });
        if opened {
            open(&mut bench, DATA, ISN, PEER_ISN);
            open(&mut bench, ORIGIN, ISN, PEER_ISN);
            talk(&mut bench, ORIGIN, ISN, PEER_ISN, b"ab", b"c");
        }
        for op in ops {
            match op {
                Op::Segment { port, ports, seq, ack, flags, len, stamped } => {
                    let port = [NORTH, ACTIVE, STANDBY, SECOND][usize::from(port)];
                    let ports = (
                        [DATA.0, ORIGIN.0][usize::from(ports.0)],
                        [DATA.1, ORIGIN.1, 50_000][usize::from(ports.1)],
                    );
                    let (from, to) = if port == NORTH { (PEER_ISN, ISN) } else { (ISN, PEER_ISN) };
                    let data = vec![b'a'; len];
                    let seq = from.wrapping_add_signed(seq);
                    let ack = to.wrapping_add_signed(ack);
                    let mut segment = Say::new(seq, ack, Flags(flags)).data(&data);
                    if flags & 2 != 0 {
                        segment = segment.offer(7);
                    }
                    if stamped {
                        segment = segment.stamp(7, 8);
                    }
                    say(&mut bench, port, ports, &segment);
                }
                Op::Wait(ms) => {
                    wait(&mut bench, Duration::from_millis(u64::from(ms)));
                }
                Op::FailOver => {
                    let mut sent = Sent::default();
                    let result = bench.engine.failover(bench.now, 0, "web", "", &mut sent);
                    prop_assert!(matches!(result, Ok(_) | Err(EngineError::NoStandby(_))));
                    outs(sent);
                }
                Op::Restart => restart(&mut bench),
            }
            wait(&mut bench, Duration::ZERO);
            let next = bench.engine.next_timeout();
            prop_assert!(next.is_none_or(|at| at > bench.now), "{next:?}");
        }
    }
}

#[test]
fn trap_35_another_logger_goes_on_with_living_connections_and_those_that_are_over() {
    let mut bench = bench(Outbound::Keep);
    bench.open(7);
    // The same ends twice: the first is over when the second begins.
    open(&mut bench, DATA, ISN, PEER_ISN);
    talk(&mut bench, DATA, ISN, PEER_ISN, b"one", b"1");
    close(&mut bench, DATA, ISN + 4, PEER_ISN + 2);
    wait(&mut bench, Duration::from_secs(61));
    open(&mut bench, DATA, 2 * ISN, 2 * PEER_ISN);
    talk(&mut bench, DATA, 2 * ISN, 2 * PEER_ISN, b"two", b"2");
    restart(&mut bench);
    assert_eq!(bench.status().connections.len(), 3);
    fail_over(&mut bench);
    restart(&mut bench);
    for (isn, peer_isn) in [(42, PEER_ISN), (77, 2 * PEER_ISN)] {
        let answer = reopen(&mut bench, DATA, isn).remove(0);
        assert_eq!((answer.head.flags, answer.head.seq.0), (SYN_ACK, peer_isn));
        complete(&mut bench, DATA, isn, &answer);
        let said = if isn == 42 { b"one" } else { b"two" };
        let said = Say::new(isn + 1, peer_isn + 1, PUSH)
            .stamp(52, 103)
            .data(said);
        say(&mut bench, STANDBY, DATA, &said);
        let fin = Say::new(isn + 4, peer_isn + 2, FIN).stamp(53, 103);
        say(&mut bench, STANDBY, DATA, &fin);
        let last = Say::new(isn + 5, peer_isn + 3, ACK).stamp(54, 103);
        say(&mut bench, STANDBY, DATA, &last);
    }
    assert_eq!(bench.counters().recovered, 1);
}
