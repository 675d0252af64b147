// SPDX-License-Identifier: GPL-3.0-only
//! The kernel's program against its model in Rust, segment by segment: `BPF_PROG_TEST_RUN` passes frames that never
//! were on a wire. These tests need root.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::*;
use crate::flow::model::{self, Action};
use crate::flow::{FlowKey, FlowState, RecordKind, SAMPLES, Side, flag};
use crate::frame::Offload;
use crate::sim::rng::Rng;
use crate::wire::{Segment, combine, locate, sum};
use aya::programs::{TestRun, TestRunOptions};

/// Interfaces that there need not be.
const NORTH: u32 = 0x7000;
const SOUTH: u32 = 0x7001;
const GROUP: u32 = 3;
/// Where `ingress_ifindex` stands in `struct __sk_buff`.
const INGRESS: usize = 36;

/// What a record was, and its bytes.
type Kept = (u32, u32, RecordKind, u64, u64, Vec<u8>);

struct Bench {
    path: FastPath,
}

impl Bench {
    fn new(name: &str) -> Self {
        let socket = PathBuf::from(format!("{name} {}", std::process::id()));
        let mut settings = FastSettings::new(&socket);
        settings.ring = FastSettings::MIN_RING;
        let mut path = FastPath::start(&settings).expect("needs root, and a kernel with BPF");
        path.join(NORTH, SOUTH, GROUP, Side::North);
        path.join(SOUTH, NORTH, GROUP, Side::South);
        path.services(GROUP, &[80], false);
        Self { path }
    }

    /// What the program does with a frame, and the frame after it.
    fn pass(&mut self, side: Side, frame: &[u8]) -> (Verdict, Vec<u8>) {
        self.path.attend();
        let mut context = [0; INGRESS + 4];
        let port = if side == Side::North { NORTH } else { SOUTH };
        context[INGRESS..].copy_from_slice(&port.to_ne_bytes());
        let mut out = vec![0; frame.len() + 64];
        let program = classifier(&mut self.path.program, "fastpath").unwrap();
        let done = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ..TestRunOptions::new()
            })
            .unwrap();
        out.truncate(done.data_size_out as usize);
        let verdict = match done.return_value {
            0 => Verdict::Punt,
            2 => Verdict::Drop,
            7 => Verdict::Forward,
            other => panic!("unknown verdict {other}"),
        };
        (verdict, out)
    }

    fn records(&mut self) -> Vec<Kept> {
        let mut records = Vec::new();
        self.path.records(&mut |record| records.push(kept(record)));
        self.path.release();
        records
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Forward,
    Punt,
    Drop,
}

impl From<Action> for Verdict {
    fn from(action: Action) -> Self {
        match action {
            Action::Forward => Self::Forward,
            Action::Punt => Self::Punt,
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        bpffs::remove(&self.path.dir);
    }
}

fn kept(record: &crate::flow::Record<'_>) -> Kept {
    (
        record.slot,
        record.generation,
        record.kind,
        record.at,
        record.seen,
        record.data.to_vec(),
    )
}

/// A number near `base`.
fn near(rng: &mut Rng, base: u32, below: u64, above: u64) -> u32 {
    base.wrapping_sub(below as u32)
        .wrapping_add(rng.below(below + above + 1) as u32)
}

fn any_state(rng: &mut Rng) -> FlowState {
    let [client, server, stamp] = [(); 3].map(|()| rng.bits() as u32);
    let mut flags = rng.bits() as u32 & (flag::LOG | flag::MAPPED | flag::CAPTURING);
    if rng.permille(700) {
        flags |= flag::STAMPED;
    }
    if rng.permille(30) {
        flags |= flag::PUNTED;
    }
    let mut samples = [[0; 2]; SAMPLES];
    samples.fill_with(|| [rng.bits() as u32, rng.bits() as u32]);
    FlowState {
        slot: rng.bits() as u32,
        generation: rng.bits() as u32,
        flags,
        scales: [(); 3].map(|()| rng.below(15) as u8),
        client_next: client,
        client_tsval: near(rng, stamp, 100, 100),
        client_right: near(rng, server, 100, 100_000),
        server_una: near(rng, server, 5000, 0),
        server_next: server,
        server_tsval: rng.bits() as u32,
        server_right: near(rng, client, 100, 100_000),
        client_acked: near(rng, client, 3000, 0),
        capture_to: near(rng, server, 3000, 3000),
        capture: rng.below(2) as u32 * 1000,
        seq_delta: rng.bits() as u32,
        ts_delta: rng.bits() as u32,
        ts_first: near(rng, stamp, 200, 200),
        ts_last: near(rng, stamp, 1 << 31, 200),
        present_next: near(rng, server, 2000, 0),
        sample_next: near(rng, server, 60_000, 3000),
        sample_index: rng.bits() as u32,
        sample_valid: rng.bits() as u32 & 0xffff,
        packets: rng.bits() as u32,
        client_pos: 1 << 40 | rng.bits() >> 32,
        server_pos: 1 << 41 | rng.bits() >> 32,
        samples,
    }
}

fn any_options(rng: &mut Rng, state: &FlowState) -> Vec<u8> {
    let mut options = Vec::new();
    let stamped = (state.flags & flag::STAMPED != 0) ^ rng.permille(30);
    if stamped {
        options.extend([1, 1, 8, 10]);
        options.extend(near(rng, state.client_tsval, 300, 300).to_be_bytes());
        let echo = state.ts_first.wrapping_add(state.ts_delta);
        options.extend(near(rng, echo, 300, 300).to_be_bytes());
    }
    if rng.permille(300) {
        let blocks = 1 + rng.below(if stamped { 3 } else { 4 });
        options.extend([1, 1, 5, 2 + 8 * blocks as u8]);
        for _ in 0..2 * blocks {
            options.extend((rng.bits() as u32).to_be_bytes());
        }
    }
    if rng.permille(30) && options.len() <= 36 {
        options.extend([1, 1, 1, 1]);
    }
    options
}

/// Any segment of a connection in this state; whether its checksum is left to the device that sends it on.
fn any_segment(rng: &mut Rng, side: Side, key: &FlowKey, state: &FlowState) -> (Vec<u8>, bool) {
    let mapped = state.flags & flag::MAPPED != 0;
    let base = match side {
        Side::North => state.client_next,
        Side::South if mapped => state.server_next.wrapping_sub(state.seq_delta),
        Side::South => state.server_next,
    };
    let (mut seq, ack) = match side {
        Side::North => (
            near(rng, base, 3000, 3000),
            near(rng, state.server_next, 3000, 300),
        ),
        Side::South => (
            near(rng, base, 3000, 3000),
            near(rng, state.client_next, 3000, 100),
        ),
    };
    if rng.permille(30) {
        seq = rng.bits() as u32;
    }
    let len = if rng.permille(300) {
        0
    } else {
        rng.below(3000)
    };
    let payload: Vec<u8> = (0..len).map(|_| rng.bits() as u8).collect();
    let flags = match rng.below(20) {
        0 => rng.bits() as u8,
        1..5 => 0x18,
        _ => 0x10,
    };
    let [from, to] = match side {
        Side::North => [key.client, key.server],
        Side::South => [key.server, key.client],
    };
    let mut tcp = Vec::new();
    tcp.extend(from.port().to_be_bytes());
    tcp.extend(to.port().to_be_bytes());
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    let options = any_options(rng, state);
    tcp.extend([(5 + options.len() as u8 / 4) << 4, flags]);
    tcp.extend((rng.bits() as u16).to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(options);
    tcp.extend(payload);
    let mut frame = in_frame(from, to, &tcp);
    let partial = rng.permille(850);
    if partial {
        leave_checksum(&mut frame);
    }
    frame.resize(frame.len() + rng.below(8) as usize, 0xee);
    (frame, partial)
}

/// Puts the headers of IP and Ethernet before a TCP segment, and a right checksum into it.
fn in_frame(from: SocketAddr, to: SocketAddr, tcp: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    let length = tcp.len() as u16;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = vec![0x45, 0];
            ip.extend((length + 20).to_be_bytes());
            ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
            ip.extend(from.octets());
            ip.extend(to.octets());
            let check = !sum(&ip);
            ip[10..12].copy_from_slice(&check.to_be_bytes());
            frame.extend([8, 0]);
            frame.extend(ip);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([6, 64]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        _ => panic!("addresses of one family"),
    }
    let at = frame.len() + 16;
    frame.extend(tcp);
    let check = !combine(&[pseudo(&frame), sum(tcp)]);
    frame[at..at + 2].copy_from_slice(&check.to_be_bytes());
    frame
}

/// The sum of the pseudo-header.
fn pseudo(frame: &[u8]) -> u16 {
    let layout = locate(frame).unwrap();
    let addresses = if layout.src.is_ipv4() {
        layout.l3 + 12..layout.l3 + 20
    } else {
        layout.l3 + 8..layout.l3 + 40
    };
    combine(&[sum(&frame[addresses]), 6, (layout.end - layout.l4) as u16])
}

/// Puts the sum of the pseudo-header in the place of the checksum.
fn leave_checksum(frame: &mut [u8]) {
    let (at, sum) = (locate(frame).unwrap().l4 + 16, pseudo(frame));
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The model's answer. A checksum that is left to the device is here an ordinary one that the model may not verify: the
/// kernel does not know either that frames of a test are to be finished.
fn expected(
    side: Side,
    state: &mut FlowState,
    frame: &[u8],
    trusted: bool,
    room: bool,
) -> (Action, Vec<u8>, Vec<Kept>) {
    let mut frame = frame.to_vec();
    let mut records = Vec::new();
    let layout = locate(&frame).unwrap();
    let offload = Offload {
        checksum_valid: trusted,
        ..Offload::default()
    };
    let action = match Segment::parse(&mut frame, layout, &offload) {
        Ok(mut segment) => model::pass(side, state, &mut segment, trusted, &mut |record| {
            if room {
                records.push(kept(record));
            }
            room
        }),
        Err(error) => panic!("a test's segment is malformed: {error}"),
    };
    (action, frame, records)
}

/// Zero has two forms in one's complement (RFC 1624 section 3).
fn with_one_zero(mut frame: Vec<u8>) -> Vec<u8> {
    let layout = locate(&frame).unwrap();
    let field = &mut frame[layout.l4 + 16..layout.l4 + 18];
    if field == [0xff, 0xff] {
        field.fill(0);
    }
    frame
}

fn keys() -> [FlowKey; 2] {
    [
        ("10.0.0.1:40000", "10.0.0.2:80"),
        ("[fd00::1]:40000", "[fd00::2]:80"),
    ]
    .map(|(client, server)| {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        FlowKey {
            group: GROUP,
            client: parse(client),
            server: parse(server),
        }
    })
}

#[test]
fn program_does_what_the_model_does() {
    let mut bench = Bench::new("model");
    let mut rng = Rng::new(20_261_121);
    let mut seen = [0; 3];
    for case in 0..6000 {
        let key = &keys()[case % 2];
        let side = if rng.permille(500) {
            Side::North
        } else {
            Side::South
        };
        let mut state = any_state(&mut rng);
        let (frame, partial) = any_segment(&mut rng, side, key, &state);
        assert!(bench.path.offload(key, &state));

        let before = state.clone();
        let (action, out, records) = expected(side, &mut state, &frame, partial, true);
        let (did, after) = bench.pass(side, &frame);

        let context = format!("case {case} {side:?} {before:?}\n{frame:02x?}");
        assert_eq!(did, action.into(), "{context}");
        assert_eq!(with_one_zero(after), with_one_zero(out), "{context}");
        assert_eq!(bench.records(), records, "{context}");
        assert_eq!(bench.path.peek(key), Some(state), "{context}");
        seen[action as usize] += 1;
    }
    // The cases are worth their name only if they go both ways often.
    assert!(seen[0] > 2000 && seen[1] > 1000, "{seen:?}");
}

mod full;
mod release;

#[test]
fn reclaimed_connection_is_gone_and_its_segments_are_handed_over() {
    let mut bench = Bench::new("reclaim");
    let mut rng = Rng::new(9);
    let key = &keys()[0];
    let state = FlowState {
        flags: flag::LOG,
        ..any_state(&mut rng)
    };
    assert!(bench.path.offload(key, &state));
    assert_eq!(bench.path.connections(), [*key]);
    assert_eq!(bench.path.reclaim(key), Some(state.clone()));
    assert_eq!(bench.path.reclaim(key), None);
    let (frame, _) = any_segment(&mut rng, Side::North, key, &state);
    assert_eq!(bench.pass(Side::North, &frame).0, Verdict::Punt);
}

#[test]
fn without_a_logger_new_connections_wait_or_pass_as_chosen() {
    let mut rng = Rng::new(5);
    let key = &keys()[1];
    let state = any_state(&mut rng);
    let (frame, _) = any_segment(&mut rng, Side::North, key, &state);
    for (fail_open, expected) in [(false, Verdict::Drop), (true, Verdict::Forward)] {
        let mut bench = Bench::new("alone");
        bench.path.settings.fail_open = fail_open;
        assert_eq!(bench.pass(Side::North, &frame).0, Verdict::Punt);
        bench.path.leave();
        bench.path.attended = Some(Instant::now());
        assert_eq!(bench.pass(Side::North, &frame).0, expected);
    }
}

#[test]
fn other_traffic_is_forwarded_and_a_closed_port_is_silent() {
    let mut bench = Bench::new("other");
    let mut rng = Rng::new(6);
    let mut key = keys()[0];
    key.server.set_port(81);
    let state = any_state(&mut rng);
    let (frame, _) = any_segment(&mut rng, Side::North, &key, &state);
    assert_eq!(bench.pass(Side::North, &frame).0, Verdict::Forward);
    let mut arp = frame.clone();
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(bench.pass(Side::North, &arp).0, Verdict::Punt);
    let mut unknown = frame.clone();
    unknown[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert_eq!(bench.pass(Side::North, &unknown).0, Verdict::Forward);
    bench.path.services(GROUP, &[80], true);
    assert_eq!(bench.pass(Side::North, &frame).0, Verdict::Punt);
    bench.path.close_port(NORTH);
    assert_eq!(bench.pass(Side::North, &frame).0, Verdict::Drop);
}
