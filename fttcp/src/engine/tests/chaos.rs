// SPDX-License-Identifier: GPL-3.0-only
//! Segments that make no sense, in any order: no panic, and what leaves has a right checksum.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Segment {
        port: u8,
        seq: i32,
        ack: i32,
        flags: u8,
        window: u16,
        len: usize,
        stamp: Option<(u32, u32)>,
    },
    Wait(u16),
    FailOver,
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![6 => -3..40i32, 2 => -70_000..70_000i32, 1 => any::<i32>()]
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![
        4 => Just(0x10u8), 4 => Just(0x18), 1 => Just(0x11), 1 => Just(0x04), 1 => Just(0x14),
        1 => Just(0x02), 2 => Just(0x12), 1 => any::<u8>()
    ];
    let stamp = proptest::option::weighted(0.8, any::<(u32, u32)>());
    let segment = (
        0..4u8,
        near(),
        near(),
        flags,
        any::<u16>(),
        0..60usize,
        stamp,
    );
    prop_oneof![
        20 => segment.prop_map(|(port, seq, ack, flags, window, len, stamp)| Op::Segment {
            port, seq, ack, flags, window, len, stamp,
        }),
        3 => any::<u16>().prop_map(Op::Wait),
        1 => Just(Op::FailOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn senseless_segments_never_panic(
        ops in proptest::collection::vec(op(), 1..60),
        opened in any::<bool>(),
        isns in any::<(u32, u32)>(),
    ) {
        let mut bench = Bench::new();
        (bench.client_isn, bench.server_isn) = isns;
        if opened {
            bench.open(7);
        }
        for op in ops {
            match op {
                Op::Segment { port, seq, ack, flags, window, len, stamp } => {
                    let port = [NORTH, ACTIVE, STANDBY, SECOND][usize::from(port)];
                    let (from, to) = if port == NORTH { isns } else { (isns.1, isns.0) };
                    let seq = from.wrapping_add(1).wrapping_add_signed(seq);
                    let ack = to.wrapping_add(1).wrapping_add_signed(ack);
                    let data = vec![b'x'; len];
                    let mut say = Say::new(seq, ack, Flags(flags)).window(window).data(&data);
                    if let Some((value, echo)) = stamp {
                        say = say.stamp(value, echo);
                    }
                    bench.say(port, &say);
                }
                Op::Wait(ms) => {
                    bench.wait(Duration::from_millis(u64::from(ms)));
                }
                Op::FailOver => {
                    let mut sent = Sent::default();
                    let result = bench.engine.failover(bench.now, 0, "web", "", &mut sent);
                    prop_assert!(matches!(result, Ok(_) | Err(EngineError::NoStandby(_))));
                    Bench::seen(sent);
                }
            }
            let next = bench.engine.next_timeout();
            bench.wait(Duration::ZERO);
            prop_assert!(bench.engine.next_timeout().is_none_or(|at| at > bench.now), "{next:?}");
            let counters = bench.counters();
            prop_assert!(counters.logged_bytes <= 10_000);
        }
    }
}
