// SPDX-License-Identifier: GPL-3.0-only
//! ICMP errors about segments of a connection, before, during and after it is moved.

use super::*;
use crate::wire::{IcmpError, IcmpKind, TooBigRepr, locate_icmp};

/// "Fragmentation needed" or "packet too big" about a segment with these numbers, of the server or of the client.
fn too_big(bench: &Bench, about_server: bool, seq: u32, ack: u32, mtu: u16) -> Vec<u8> {
    let (client, server) = (bench.end(1, 40_000), bench.end(2, 80));
    let (src, dst) = if about_server {
        (client, server)
    } else {
        (server, client)
    };
    let mut out = Vec::new();
    TooBigRepr {
        src,
        dst,
        tags: &[],
        mtu,
        quoted_dst: src.socket,
        seq: SeqNumber(seq),
        ack: SeqNumber(ack),
        quoted_len: 1500,
    }
    .emit(&mut out);
    out
}

/// The same message as another type and code.
fn turned_into(mut frame: Vec<u8>, kind: [u8; 2]) -> Vec<u8> {
    let old: [u8; 2] = frame[34..36].try_into().unwrap();
    let check = u16::from_be_bytes([frame[36], frame[37]]);
    let check = crate::wire::update(check, &old, &kind, false);
    frame[34..36].copy_from_slice(&kind);
    frame[36..38].copy_from_slice(&check.to_be_bytes());
    frame
}

fn read(frame: &[u8]) -> IcmpError {
    locate_icmp(frame, &Offload::default()).expect("what leaves is a right ICMP error")
}

/// Segments that the logger makes itself leave, too.
fn is_segment(frame: &[u8]) -> bool {
    locate(frame).is_ok()
}

/// Sends an error in; what comes out, read, and where.
fn passed(bench: &mut Bench, port: PortId, frame: Vec<u8>) -> Vec<(PortId, IcmpError)> {
    let sent = bench.raw(port, frame, Offload::default());
    let errors = sent.iter().filter(|(_, frame)| !is_segment(frame));
    errors.map(|(port, frame)| (*port, read(frame))).collect()
}

impl Bench {
    /// An error comes in; the segments that come of it.
    fn icmp(&mut self, port: PortId, mut frame: Vec<u8>) -> Vec<Seen> {
        let mut sent = Sent::default();
        self.engine
            .handle_frame(self.now, port, &mut frame, Offload::default(), &mut sent);
        Self::seen(sent)
    }
}

/// A request, and an answer of 600 bytes of which the client has acknowledged 100.
fn serving(bench: &mut Bench) {
    bench.open(7);
    let (c, s) = (bench.c(0), bench.s(0));
    bench.say(
        NORTH,
        &Say::new(c, s, PUSH).stamp(102, 7000).data(&[1; 300]),
    );
    let answer = Say::new(s, c.wrapping_add(300), PUSH).stamp(7005, 102);
    bench.say(ACTIVE, &answer.data(&[2; 600]));
    let ack = Say::new(c.wrapping_add(300), s.wrapping_add(100), ACK).stamp(103, 7005);
    bench.say(NORTH, &ack);
}

/// The same, moved to a replacement whose numbers begin at `isn`.
fn moved(bench: &mut Bench, isn: u32) {
    serving(bench);
    bench.fail_over();
    let c = bench.c(300);
    adopt(bench, isn);
    let again = Say::new(isn.wrapping_add(1), c, PUSH).stamp(41, 103);
    bench.say(STANDBY, &again.data(&[2; 600]));
    assert_eq!(bench.state(), "established");
}

fn adopt(bench: &mut Bench, isn: u32) -> Vec<(PortId, Vec<u8>)> {
    let syn_ack = Say::new(isn, bench.c(0), SYN_ACK).offer(7).window(5000);
    let frame = bench.frame(false, &syn_ack.stamp(40, 103));
    bench.raw(STANDBY, frame, Offload::default())
}

#[test]
fn trap_09_icmp_error_is_renumbered_for_the_present_server() {
    for isn in [5, u32::MAX - 300] {
        for v6 in [false, true] {
            let mut bench = Bench::new();
            bench.v6 = v6;
            moved(&mut bench, isn);
            let frame = too_big(&bench, true, bench.s(100), bench.c(300), 1400);
            let sent = passed(&mut bench, NORTH, frame);
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].0, STANDBY);
            assert_eq!(sent[0].1.seq.0, isn.wrapping_add(101));
            assert_eq!(sent[0].1.ack, Some(SeqNumber(bench.c(300))));
            assert_eq!(sent[0].1.kind, IcmpKind::TooBig(1400));
        }
    }
}

#[test]
fn trap_09_icmp_error_about_the_client_quotes_the_numbers_that_it_knows() {
    let mut bench = Bench::new();
    moved(&mut bench, 5);
    let say = Say::new(bench.c(300), bench.s(600), PUSH).stamp(104, 7006);
    bench.say(NORTH, &say.data(&[3; 50]));
    let frame = too_big(&bench, false, bench.c(300), 6 + 600, 1300);
    let sent = passed(&mut bench, STANDBY, frame);
    assert_eq!((sent.len(), sent[0].0), (1, NORTH));
    assert_eq!(sent[0].1.seq.0, bench.c(300));
    assert_eq!(sent[0].1.ack, Some(SeqNumber(bench.s(600))));
}

#[test]
fn before_a_failover_icmp_errors_pass_untouched() {
    let mut bench = Bench::new();
    serving(&mut bench);
    let frame = too_big(&bench, true, bench.s(100), bench.c(300), 1400);
    let sent = bench.raw(NORTH, frame.clone(), Offload::default());
    assert_eq!(sent, [(ACTIVE, frame)]);
}

#[test]
fn trap_09_icmp_error_that_quotes_nothing_in_flight_is_dropped_and_counted() {
    for after in [false, true] {
        let mut bench = Bench::new();
        if after {
            moved(&mut bench, 5);
        } else {
            serving(&mut bench);
        }
        let south = if after { STANDBY } else { ACTIVE };
        let (c, s) = (bench.c(300), bench.s(0));
        let in_flight = [100, 599, 600];
        for at in [99, 601, 0, 1 << 31, 100_000] {
            let frame = too_big(&bench, true, s.wrapping_add(at), c, 1400);
            assert_eq!(passed(&mut bench, NORTH, frame), [], "{at}");
        }
        for at in in_flight {
            let frame = too_big(&bench, true, s.wrapping_add(at), c, 1400);
            assert_eq!(passed(&mut bench, NORTH, frame).len(), 1, "{at}");
        }
        for at in [299, 301, 70_000] {
            let frame = too_big(&bench, false, bench.c(at), s, 1400);
            assert_eq!(passed(&mut bench, south, frame), [], "{at}");
        }
        let frame = too_big(&bench, false, c, s, 1400);
        assert_eq!(passed(&mut bench, south, frame).len(), 1);
        assert_eq!(bench.counters().icmp_dropped, 5 + 3);
    }
}

/// The acknowledgement was lost behind the logger, and what is repeated for lack of it never reaches the other end, which
/// would acknowledge it again.
#[test]
fn trap_09_who_repeats_in_vain_what_a_router_drops_is_told_that_it_is_acknowledged() {
    for map in [false, true] {
        let mut bench = Bench::new();
        let (port, isn, echo) = if map {
            moved(&mut bench, 5);
            (STANDBY, 5, 41)
        } else {
            serving(&mut bench);
            (ACTIVE, bench.server_isn, 7005)
        };
        let frame = too_big(&bench, true, bench.s(40), bench.c(300), 1400);
        let sent = bench.icmp(NORTH, frame);
        assert_eq!(
            (sent.len(), sent[0].port, sent[0].head.flags),
            (1, port, ACK)
        );
        assert_eq!(sent[0].head.ack.0, isn.wrapping_add(101));
        assert_eq!(sent[0].stamps().echo, echo);
        let frame = too_big(&bench, false, bench.c(200), isn.wrapping_add(101), 1400);
        let sent = bench.icmp(port, frame);
        assert_eq!(
            (sent.len(), sent[0].port, sent[0].head.flags),
            (1, NORTH, ACK)
        );
        assert_eq!(sent[0].head.ack.0, bench.c(300));
        assert_eq!(bench.counters().icmp_dropped, 2);
    }
}

#[test]
fn trap_09_icmp_mtu_that_the_packet_fits_is_not_believed() {
    let mut bench = Bench::new();
    serving(&mut bench);
    let frame = too_big(&bench, true, bench.s(100), bench.c(300), 1500);
    assert_eq!(passed(&mut bench, NORTH, frame), []);
    let syn = &bench.fail_over()[0];
    assert_eq!(syn.head.options.mss, Some(1460));
}

#[test]
fn trap_09_hard_icmp_error_of_the_server_side_does_not_end_the_connection() {
    for kind in [[3, 3], [3, 2], [3, 13]] {
        let mut bench = Bench::new();
        serving(&mut bench);
        let frame = turned_into(too_big(&bench, false, bench.c(300), bench.s(100), 0), kind);
        assert_eq!(passed(&mut bench, ACTIVE, frame), []);
        assert_eq!(bench.state(), "established");
        // From the other side it is the client's network that speaks: its server decides.
        let frame = turned_into(too_big(&bench, true, bench.s(100), bench.c(300), 0), kind);
        assert_eq!(passed(&mut bench, NORTH, frame).len(), 1);
        assert_eq!(bench.state(), "established");
        bench.fail_over();
        let frame = turned_into(too_big(&bench, true, bench.s(100), bench.c(300), 0), kind);
        assert_eq!(passed(&mut bench, NORTH, frame), []);
        assert_eq!(bench.state(), "recovering");
    }
}

#[test]
fn trap_09_path_mtu_learnt_before_the_crash_lowers_the_fabricated_offer() {
    for (v6, mtu, mss) in [
        (false, 1400, 1360),
        (true, 1400, 1340),
        (false, 100, 512),
        (false, 0, 1452),
    ] {
        let mut bench = Bench::new();
        bench.v6 = v6;
        serving(&mut bench);
        let frame = too_big(&bench, true, bench.s(100), bench.c(300), mtu);
        assert_eq!(passed(&mut bench, NORTH, frame).len(), 1);
        let sent = bench.fail_over();
        let syn = sent.iter().find(|seen| seen.head.flags == Flags::SYN);
        assert_eq!(syn.unwrap().head.options.mss, Some(mss), "{mtu}");
    }
}

#[test]
fn trap_09_path_mtu_learnt_while_the_server_is_away_is_told_at_hand_over() {
    for v6 in [false, true] {
        let mut bench = Bench::new();
        bench.v6 = v6;
        serving(&mut bench);
        bench.fail_over();
        adopt(&mut bench, 5);
        for mtu in [1400, 1300, 1350] {
            let frame = too_big(&bench, true, bench.s(100), bench.c(300), mtu);
            assert_eq!(passed(&mut bench, NORTH, frame), [], "kept");
        }
        assert_eq!(bench.counters().icmp_dropped, 3);
        let again = Say::new(6, bench.c(300), PUSH).stamp(41, 103);
        let frame = bench.frame(false, &again.data(&[2; 600]));
        let sent = bench.raw(STANDBY, frame, Offload::default());
        assert_eq!(bench.state(), "established");
        let told: Vec<IcmpError> = sent
            .iter()
            .filter(|(port, _)| *port == STANDBY)
            .filter_map(|(_, frame)| locate_icmp(frame, &Offload::default()).ok())
            .collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].kind, IcmpKind::TooBig(1300));
        assert_eq!(told[0].src, bench.end(2, 80).socket);
        assert_eq!(told[0].dst, bench.end(1, 40_000).socket);
        // What it was last told is acknowledged: the first byte that it has in flight.
        assert_eq!(told[0].seq.0, 6 + 100);
    }
}

#[test]
fn trap_09_regenerated_bytes_fit_the_path_mtu() {
    let mut bench = Bench::new();
    serving(&mut bench);
    bench.fail_over();
    adopt(&mut bench, 5);
    let frame = too_big(&bench, true, bench.s(100), bench.c(300), 600);
    passed(&mut bench, NORTH, frame);
    let again = Say::new(6, bench.c(300), PUSH).stamp(41, 103);
    let sent = bench.say(STANDBY, &again.data(&[2; 600]));
    let sizes: Vec<usize> = sent
        .iter()
        .filter(|seen| seen.port == NORTH && !seen.data.is_empty())
        .map(|seen| seen.data.len())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 500);
    assert!(sizes.iter().all(|&size| size <= 600 - 52), "{sizes:?}");
}

#[test]
fn trap_09_replay_fits_an_mtu_named_on_the_way_to_the_replacement() {
    let mut bench = Bench::new();
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &request.data(&[1; 1200]));
    bench.fail_over();
    adopt(&mut bench, 5);
    let frame = too_big(&bench, false, bench.c(0), 6, 576);
    assert_eq!(passed(&mut bench, STANDBY, frame), []);
    let again = bench.wait(Duration::from_millis(200));
    let fed: Vec<usize> = again.iter().map(|seen| seen.data.len()).collect();
    assert_eq!(fed, [524, 524, 152]);
}

#[test]
fn trap_09_icmp_error_about_a_connection_that_the_server_opened_quotes_its_present_port() {
    use super::outbound::{self as opened, ISN, ORIGIN, PEER_ISN};

    let mut bench = opened::bench(crate::control::Outbound::Keep);
    opened::open(&mut bench, ORIGIN, ISN, PEER_ISN);
    opened::talk(&mut bench, ORIGIN, ISN, PEER_ISN, b"hello", b"abc");
    opened::fail_over(&mut bench);
    let moved = (ORIGIN.0, 50_000);
    let answer = opened::reopen(&mut bench, moved, 42).remove(0);
    opened::complete(&mut bench, moved, 42, &answer);
    let said = Say::new(43, PEER_ISN + 4, PUSH).stamp(52, 103);
    opened::say(&mut bench, STANDBY, moved, &said.data(b"hello"));
    assert_eq!(bench.state(), "established");
    let (peer, server) = (bench.end(1, ORIGIN.0), bench.end(2, ORIGIN.1));
    let mut error = TooBigRepr {
        src: peer,
        dst: server,
        tags: &[],
        mtu: 1400,
        quoted_dst: peer.socket,
        seq: SeqNumber(ISN + 6),
        ack: SeqNumber(PEER_ISN + 4),
        quoted_len: 1500,
    };
    let mut frame = Vec::new();
    error.emit(&mut frame);
    let sent = passed(&mut bench, NORTH, frame);
    assert_eq!((sent.len(), sent[0].0), (1, STANDBY));
    assert_eq!(sent[0].1.src, bench.end(2, moved.1).socket);
    assert_eq!(sent[0].1.seq.0, 42 + 6);
    // And the other way.
    (error.src, error.dst) = (bench.end(2, moved.1), peer);
    error.quoted_dst = error.src.socket;
    (error.seq, error.ack) = (SeqNumber(PEER_ISN + 4), SeqNumber(42 + 6));
    let mut frame = Vec::new();
    error.emit(&mut frame);
    let sent = passed(&mut bench, STANDBY, frame);
    assert_eq!((sent.len(), sent[0].0), (1, NORTH));
    assert_eq!(sent[0].1.dst, server.socket);
    assert_eq!(sent[0].1.ack, Some(SeqNumber(ISN + 6)));
}
