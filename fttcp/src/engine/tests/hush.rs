// SPDX-License-Identifier: GPL-3.0-only
//! A client that sends faster than the engine works is quiet until the fast path has its connection.

use super::*;

const PIECE: u32 = 1400;

/// What is sent, and how many connections the fast path was given.
#[derive(Default)]
struct Fast(Sent, usize);

impl Output for Fast {
    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload) {
        self.0.transmit(port, frame, offload);
    }

    fn offload(&mut self, _: &crate::flow::FlowKey, _: &crate::flow::FlowState) -> bool {
        self.1 += 1;
        true
    }
}

/// A client that has sent as much as it takes until the fast path may have its connection.
fn uploading(size: u32) -> (Bench, u32) {
    let config = EngineConfig {
        shortcut: true,
        ..EngineConfig::default()
    };
    let mut bench = Bench::configured(config, vec![service()]);
    bench.open(7);
    let pieces = 6;
    let data = vec![7; size as usize];
    for piece in 0..pieces {
        let say = Say::new(bench.c(piece * size), bench.s(0), ACK).stamp(102, 7000);
        assert_eq!(bench.say(NORTH, &say.data(&data)).len(), 1);
    }
    (bench, pieces * size)
}

fn settle(bench: &mut Bench, waiting: bool) -> (Vec<Seen>, usize) {
    let mut fast = Fast::default();
    bench.engine.settle(bench.now, waiting, &mut fast);
    (Bench::seen(fast.0), fast.1)
}

fn acknowledge(bench: &mut Bench, to: u32, value: u32) -> Vec<Seen> {
    let ack = Say::new(bench.s(0), bench.c(to), ACK).stamp(value, 102);
    bench.say(ACTIVE, &ack)
}

#[test]
fn upload_of_which_frames_wait_is_not_acknowledged_until_it_is_given() {
    let (mut bench, sent) = uploading(PIECE);
    let (told, given) = settle(&mut bench, true);
    assert!(told.is_empty() && given == 0);
    assert!(acknowledge(&mut bench, PIECE, 7001).is_empty());
    // What tells of a loss passes.
    assert_eq!(acknowledge(&mut bench, PIECE, 7002).len(), 1);
    assert!(acknowledge(&mut bench, sent, 7003).is_empty());

    let (told, given) = settle(&mut bench, false);
    assert_eq!((told.len(), given), (1, 1));
    let told = &told[0];
    assert_eq!((told.port, told.head.flags), (NORTH, ACK));
    assert_eq!(
        (told.head.ack.0, told.stamps().value),
        (bench.c(sent), 7003)
    );
}

#[test]
fn acknowledgements_wait_for_a_moment_only() {
    let (mut bench, sent) = uploading(PIECE);
    settle(&mut bench, true);
    assert!(acknowledge(&mut bench, sent, 7001).is_empty());
    assert!(bench.wait(Duration::from_millis(19)).is_empty());
    let told = bench.wait(Duration::from_millis(1));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].port, told[0].head.ack.0), (NORTH, bench.c(sent)));
    // From then on they pass, and the connection is given though frames wait.
    let more = vec![7; PIECE as usize];
    let say = Say::new(bench.c(sent), bench.s(0), ACK).stamp(103, 7001);
    bench.say(NORTH, &say.data(&more));
    assert_eq!(acknowledge(&mut bench, sent + PIECE, 7002).len(), 1);
    let (told, given) = settle(&mut bench, true);
    assert!(told.is_empty() && given == 1);
}

#[test]
fn connection_with_short_requests_is_given_though_frames_wait() {
    let (mut bench, _) = uploading(100);
    let (told, given) = settle(&mut bench, true);
    assert!(told.is_empty() && given == 1);
}
