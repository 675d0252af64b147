// SPDX-License-Identifier: GPL-3.0-only
//! What lies below TCP: fragments, extension headers, VLAN tags, addresses.

use super::moving::{adopt, moved};
use super::*;
use crate::wire::{join, locate_fragment, split};

/// The frame as a router sends it on over a link that takes so much payload.
fn fragments(frame: &[u8], id: u8, most: usize) -> Vec<Vec<u8>> {
    let v6 = frame[12..14] == [0x86, 0xdd];
    let mut header = frame[..if v6 { 54 } else { 34 }].to_vec();
    if v6 {
        header[20] = 44;
        header.extend([6, 0, 0, 0, 0, 0, 0, id]);
    } else {
        header[18..20].copy_from_slice(&[0, id]);
    }
    split(frame, &header, most)
}

/// What these fragments are of.
fn whole(fragments: &[Vec<u8>]) -> Vec<u8> {
    let found: Vec<_> = fragments
        .iter()
        .map(|it| locate_fragment(it).unwrap())
        .collect();
    let mut payload = Vec::new();
    for (frame, fragment) in fragments.iter().zip(&found) {
        assert_eq!(fragment.offset, payload.len());
        payload.extend_from_slice(&frame[fragment.payload.clone()]);
    }
    join(&fragments[0][..found[0].payload.start], &payload, false).unwrap()
}

fn feed(bench: &mut Bench, port: PortId, frames: &[Vec<u8>]) -> Vec<(PortId, Vec<u8>)> {
    let all = frames
        .iter()
        .map(|it| bench.raw(port, it.clone(), Offload::default()));
    all.flatten().collect()
}

fn request(bench: &Bench, len: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
    let say = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.frame(true, &say.data(&data))
}

#[test]
fn trap_29_fragments_are_logged_as_one_segment_and_forwarded_as_they_came() {
    for v6 in [false, true] {
        for backwards in [false, true] {
            let mut bench = Bench::new();
            bench.v6 = v6;
            bench.open(7);
            let mut frames = fragments(&request(&bench, 1400), 7, 560);
            assert_eq!(frames.len(), 3);
            let want: Vec<_> = frames.iter().map(|it| (ACTIVE, it.clone())).collect();
            if backwards {
                frames.reverse();
            }
            // The network doubles one.
            frames.insert(0, frames[0].clone());
            assert_eq!(feed(&mut bench, NORTH, &frames), want);
            assert_eq!(bench.counters().logged_bytes, 1400);
            assert_eq!(bench.engine.fragments.deadline(), None);
        }
    }
}

#[test]
fn trap_29_fragments_of_a_moved_connection_are_rewritten() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let end = super::moving::HEAD.len() as u32;
    let say = Say::new(6 + end, bench.c(3), PUSH).stamp(41, 103);
    let frame = bench.frame(false, &say.data(&[9; 1000]));
    let sent = feed(&mut bench, STANDBY, &fragments(&frame, 1, 512));
    assert!(sent.iter().all(|(port, _)| *port == NORTH));
    let out: Vec<_> = sent.into_iter().map(|(_, frame)| frame).collect();
    let mut frame = whole(&out);
    let layout = locate(&frame).unwrap();
    let segment = Segment::parse(&mut frame, layout, &Offload::default()).unwrap();
    assert_eq!(segment.head().seq.0, bench.s(end));
    assert_eq!(segment.payload(), [9; 1000]);
}

#[test]
fn trap_29_overlapping_fragments_spoil_the_whole_datagram() {
    for v6 in [false, true] {
        let mut bench = Bench::new();
        bench.v6 = v6;
        bench.open(7);
        let frames = fragments(&request(&bench, 1400), 7, 560);
        // The same place, other bytes: what an intruder hopes to slip in.
        let mut forged = frames[1].clone();
        *forged.last_mut().unwrap() ^= 1;
        let shorter = fragments(&request(&bench, 1400), 7, 400);
        for intruder in [&forged, &shorter[1]] {
            let before = bench.counters().fragments_dropped;
            let mut all = frames.clone();
            all.insert(2, intruder.clone());
            assert_eq!(feed(&mut bench, NORTH, &all), []);
            assert_eq!(bench.counters().fragments_dropped, before + 2);
            bench.wait(Duration::from_secs(30));
        }
        assert_eq!(bench.counters().logged_bytes, 0);
        assert_eq!(feed(&mut bench, NORTH, &frames).len(), 3, "a new datagram");
    }
}

#[test]
fn trap_29_incomplete_datagram_is_dropped_after_its_time() {
    // Nothing else is to be due.
    let config = EngineConfig {
        doze_after: Duration::from_secs(60),
        ..EngineConfig::default()
    };
    let mut bench = Bench::configured(config, vec![service()]);
    bench.open(7);
    let frames = fragments(&request(&bench, 1400), 7, 560);
    assert_eq!(feed(&mut bench, NORTH, &frames[..2]), []);
    let due = bench.now.after(Duration::from_secs(30));
    assert_eq!(bench.engine.next_timeout(), Some(due));
    bench.wait(Duration::from_secs(29));
    assert_eq!(bench.counters().fragments_dropped, 0);
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.counters().fragments_dropped, 1);
    assert_eq!(
        feed(&mut bench, NORTH, &frames[2..]),
        [],
        "of no packet any more"
    );
}

#[test]
fn trap_29_fragments_are_kept_within_a_bound() {
    let mut bench = Bench::new();
    bench.open(7);
    let mut kept = 0;
    for id in 0..=255 {
        for host in 1..30 {
            let mut frame = fragments(&request(&bench, 1400), id, 560).remove(0);
            // Of as many clients as there are hosts.
            frame[29] = host;
            frame[24..26].fill(0);
            let check = !crate::wire::sum(&frame[14..34]);
            frame[24..26].copy_from_slice(&check.to_be_bytes());
            assert_eq!(bench.raw(NORTH, frame, Offload::default()), []);
            kept += 1;
        }
    }
    let dropped = bench.counters().fragments_dropped;
    assert!(dropped > 0 && (kept - dropped) * 560 < 1 << 20, "{dropped}");
    let frames = fragments(&request(&bench, 1400), 99, 560);
    assert_eq!(
        feed(&mut bench, NORTH, &frames).len(),
        3,
        "there is room for the newest"
    );
}

#[test]
fn trap_29_fragments_of_other_traffic_pass_untouched() {
    let mut bench = Bench::with(vec![ServiceSpec {
        address: Some(Ipv4Addr::new(10, 0, 0, 2).into()),
        ..service()
    }]);
    let mut udp = fragments(&request(&bench, 1400), 7, 560);
    for frame in &mut udp {
        frame[23] = 17;
    }
    let mut elsewhere = fragments(&request(&bench, 1400), 8, 560);
    for frame in &mut elsewhere {
        frame[33] = 77;
        frame[24..26].fill(0);
        let check = !crate::wire::sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&check.to_be_bytes());
    }
    for frame in udp.into_iter().chain(elsewhere) {
        let sent = bench.raw(NORTH, frame.clone(), Offload::default());
        assert_eq!(sent, [(ACTIVE, frame)]);
    }
    // Another port is known only once the segment is whole.
    let mut frame = request(&bench, 1400);
    frame[36..38].copy_from_slice(&[0, 81]);
    let frames = fragments(&frame, 9, 560);
    let want: Vec<_> = frames.iter().map(|it| (ACTIVE, it.clone())).collect();
    assert_eq!(feed(&mut bench, NORTH, &frames), want);
}

#[test]
fn trap_29_fabricated_segments_must_not_be_fragmented() {
    let mut bench = Bench::new();
    bench.open(7);
    let mut sent = Sent::default();
    let failed = bench.engine.failover(bench.now, 0, "web", "", &mut sent);
    failed.unwrap();
    let tcp: Vec<_> = sent
        .0
        .iter()
        .filter(|(_, it, _)| locate(it).is_ok())
        .collect();
    assert!(!tcp.is_empty());
    for (_, frame, _) in tcp {
        assert_eq!(
            frame[20..22],
            [0x40, 0],
            "DF is set; then any ID will do (RFC 6864)"
        );
    }
}

/// An IPv6 frame with a destination option before TCP's header, and a flow label.
fn extended(frame: &[u8]) -> Vec<u8> {
    let mut out = frame[..54].to_vec();
    out[14..18].copy_from_slice(&[0x60, 0x0a, 0xbc, 0xde]);
    let len = (frame.len() - 54 + 8) as u16;
    out[18..20].copy_from_slice(&len.to_be_bytes());
    out[20] = 60;
    out.extend([6, 0, 1, 4, 0, 0, 0, 0]);
    out.extend_from_slice(&frame[54..]);
    out
}

#[test]
fn trap_28_extension_headers_and_flow_label_pass_and_the_segment_is_seen() {
    let mut bench = Bench::new();
    bench.v6 = true;
    bench.open(7);
    let frame = extended(&request(&bench, 10));
    let sent = bench.raw(NORTH, frame.clone(), Offload::default());
    assert_eq!(sent, [(ACTIVE, frame)]);
    assert_eq!(bench.counters().logged_bytes, 10);
    // The same after a failover, rewritten behind the extension header.
    let mut bench = Bench::new();
    bench.v6 = true;
    moved(&mut bench, 5, 40, 7);
    let end = super::moving::HEAD.len() as u32;
    let say = Say::new(6 + end, bench.c(3), PUSH).stamp(41, 103);
    let frame = extended(&bench.frame(false, &say.data(b"more")));
    let sent = bench.raw(STANDBY, frame.clone(), Offload::default());
    let mut out = sent[0].1.clone();
    assert_eq!(out[14..62], frame[14..62]);
    let layout = locate(&out).unwrap();
    let segment = Segment::parse(&mut out, layout, &Offload::default()).unwrap();
    assert_eq!(segment.head().seq.0, bench.s(end));
}

#[test]
fn trap_28_vlan_tags_are_kept_in_fabricated_segments() {
    let mut bench = Bench::new();
    let tagged = |frame: Vec<u8>| {
        let mut out = frame[..12].to_vec();
        out.extend([0x81, 0, 0x20, 5]);
        out.extend_from_slice(&frame[12..]);
        out
    };
    let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    let frame = tagged(bench.frame(true, &syn.stamp(100, 0)));
    bench.raw(NORTH, frame, Offload::default());
    let answer = Say::new(bench.server_isn, bench.c(0), SYN_ACK).offer(7);
    let frame = tagged(bench.frame(false, &answer.stamp(7000, 100)));
    bench.raw(ACTIVE, frame, Offload::default());
    let mut sent = Sent::default();
    let failed = bench.engine.failover(bench.now, 0, "web", "", &mut sent);
    failed.unwrap();
    assert!(!sent.0.is_empty());
    assert!(
        sent.0
            .iter()
            .all(|(_, frame, _)| frame[12..16] == [0x81, 0, 0x20, 5])
    );
    let frame = tagged(bench.frame(
        false,
        &Say::new(5, bench.c(0), SYN_ACK).offer(7).stamp(40, 1),
    ));
    let sent = bench.raw(STANDBY, frame, Offload::default());
    assert!(
        !sent.is_empty()
            && sent
                .iter()
                .all(|(_, frame)| frame[12..16] == [0x81, 0, 0x20, 5])
    );
}

#[test]
fn trap_28_ipv6_connection_is_moved_with_a_neighbour_solicitation() {
    let mut bench = Bench::new();
    bench.v6 = true;
    bench.open(7);
    bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(b"GET"),
    );
    let mut sent = Sent::default();
    bench
        .engine
        .failover(bench.now, 0, "web", "", &mut sent)
        .unwrap();
    let (port, solicitation, _) = &sent.0[0];
    assert_eq!((*port, solicitation[54]), (STANDBY, 135));
    adopt(&mut bench, 5, 40, 7);
    let sent = bench.say(
        STANDBY,
        &Say::new(6, bench.c(3), PUSH).stamp(41, 103).data(b"answer"),
    );
    assert_eq!(bench.state(), "established");
    assert_eq!(
        sent.iter().rfind(|it| it.port == NORTH).unwrap().data,
        b"answer"
    );
}
