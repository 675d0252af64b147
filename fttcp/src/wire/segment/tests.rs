// SPDX-License-Identifier: GPL-3.0-only
//! The views against `pnet_packet` as an oracle; editing against recomputation; arbitrary bytes.

use pnet_packet::Packet as _;
use proptest::prelude::*;

mod inverse;

use super::*;
use crate::frame::PartialChecksum;
use crate::wire::{Address, MacAddr, SegmentRepr, Timestamps};

fn address(v6: bool, host: u8, port: u16) -> Address {
    let ip: IpAddr = if v6 {
        std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)).into()
    } else {
        std::net::Ipv4Addr::new(10, 0, 0, host).into()
    };
    Address {
        mac: MacAddr([2, 0, 0, 0, 0, host]),
        socket: SocketAddr::new(ip, port),
    }
}

fn frame(v6: bool, tags: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    SegmentRepr {
        src: address(v6, 1, 40_000),
        dst: address(v6, 2, 80),
        tags,
        seq: SeqNumber(0xffff_fff0),
        ack: SeqNumber(77),
        flags: Flags::ACK.with(Flags::PSH),
        window: 501,
        urgent: 0,
        options: OptionsRepr {
            timestamps: Some(Timestamps { value: 9, echo: 8 }),
            ..OptionsRepr::default()
        },
        payload,
    }
    .emit(&mut out);
    out
}

/// The frame with these raw option bytes instead, checksum recomputed.
fn with_options(options: &[u8], payload: &[u8]) -> Vec<u8> {
    framed(false, &[], options, payload)
}

fn framed(v6: bool, tags: &[u8], options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut raw = options.to_vec();
    raw.resize(options.len().next_multiple_of(4), kind::NOP);
    let mut data = raw.clone();
    data.extend_from_slice(payload);
    SegmentRepr {
        src: address(v6, 1, 40_000),
        dst: address(v6, 2, 80),
        tags,
        seq: SeqNumber(1),
        ack: SeqNumber(2),
        flags: Flags::ACK,
        window: 3,
        urgent: 0,
        options: OptionsRepr::default(),
        payload: &data,
    }
    .emit(&mut out);
    // The options were built as data; now the header claims them.
    let l4 = locate(&out).unwrap().l4;
    out[l4 + field::OFFSET] = ((20 + raw.len()) as u8 / 4) << 4;
    refresh(&mut out);
    out
}

fn refresh(frame: &mut [u8]) {
    let layout = locate(frame).unwrap();
    let at = layout.l4 + field::CHECKSUM;
    frame[at..at + 2].fill(0);
    let pseudo = pseudo_sum(layout.src.ip(), layout.dst.ip(), layout.end - layout.l4);
    let check = !checksum::combine(&[pseudo, checksum::sum(&frame[layout.l4..layout.end])]);
    frame[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

fn parse(frame: &mut [u8]) -> Segment<'_> {
    let layout = locate(frame).unwrap();
    Segment::parse(frame, layout, &Offload::default()).unwrap()
}

#[test]
fn built_ipv4_segment_agrees_with_pnet() {
    let bytes = frame(false, &[], b"hello");
    let ethernet = pnet_packet::ethernet::EthernetPacket::new(&bytes).unwrap();
    let ip = pnet_packet::ipv4::Ipv4Packet::new(ethernet.payload()).unwrap();
    assert_eq!(ip.get_checksum(), pnet_packet::ipv4::checksum(&ip));
    let tcp = pnet_packet::tcp::TcpPacket::new(ip.payload()).unwrap();
    let want = pnet_packet::tcp::ipv4_checksum(&tcp, &ip.get_source(), &ip.get_destination());
    assert_eq!(tcp.get_checksum(), want);
    assert_eq!(tcp.get_sequence(), 0xffff_fff0);
    assert_eq!(tcp.get_window(), 501);
    assert_eq!(tcp.payload(), b"hello");
}

#[test]
fn built_ipv6_segment_agrees_with_pnet() {
    let bytes = frame(true, &[0x81, 0, 0, 5], b"odd");
    let ip = pnet_packet::ipv6::Ipv6Packet::new(&bytes[18..]).unwrap();
    let tcp = pnet_packet::tcp::TcpPacket::new(ip.payload()).unwrap();
    let want = pnet_packet::tcp::ipv6_checksum(&tcp, &ip.get_source(), &ip.get_destination());
    assert_eq!(tcp.get_checksum(), want);
}

#[test]
fn trap_10_partial_checksum_stays_untouched_by_rewriting() {
    let mut bytes = frame(false, &[], b"abc");
    bytes[34 + field::CHECKSUM..34 + field::CHECKSUM + 2].copy_from_slice(&[0x12, 0x34]);
    let layout = locate(&bytes).unwrap();
    let offload = Offload {
        partial_checksum: Some(PartialChecksum {
            start: 34,
            offset: 16,
        }),
        ..Offload::default()
    };
    let mut segment = Segment::parse(&mut bytes, layout, &offload).unwrap();
    segment.set_seq(SeqNumber(1));
    segment.map_timestamps(|value| value + 1, |echo| echo + 1);
    assert_eq!(
        &bytes[34 + field::CHECKSUM..34 + field::CHECKSUM + 2],
        [0x12, 0x34]
    );
}

#[test]
fn trap_34_corrupt_segment_is_refused() {
    let mut bytes = frame(false, &[], b"payload");
    let layout = locate(&bytes).unwrap();
    for at in layout.l4..bytes.len() {
        bytes[at] ^= 0x10;
        let refused = Segment::parse(&mut bytes, layout, &Offload::default()).is_err();
        assert!(refused, "bit flip at {at} went unseen");
        bytes[at] ^= 0x10;
    }
}

#[test]
fn trap_04_sack_blocks_are_shifted_at_an_odd_offset() {
    let mut sack = vec![kind::NOP, kind::SACK, 18];
    for edge in [5u32, 10, 0xffff_fff0, 3] {
        sack.extend(edge.to_be_bytes());
    }
    let mut bytes = with_options(&sack, b"xy");
    parse(&mut bytes).shift_sack(7);
    let edges: Vec<u32> = (0..4).map(|n| be32(&bytes, 34 + 20 + 3 + 4 * n)).collect();
    assert_eq!(edges, [0xffff_fffe, 3, 0xffff_ffe9, 0xffff_fffc]);
    parse(&mut bytes);
}

#[test]
fn trap_13_and_14_stateful_options_become_nops() {
    let mut options = vec![
        kind::MSS,
        4,
        5,
        180,
        kind::FAST_OPEN,
        2,
        kind::MPTCP,
        4,
        1,
        2,
    ];
    options.extend([kind::EXPERIMENT_2, 4, 0xf9, 0x89, kind::WINDOW_SCALE, 3, 7]);
    options.extend([kind::EXPERIMENT_1, 4, 0xf9, 0x89, kind::ENO, 3, 1]);
    let mut bytes = with_options(&options, b"");
    assert!(parse(&mut bytes).strip_stateful());
    let segment = parse(&mut bytes);
    assert_eq!(segment.head().options.mss, Some(1460));
    assert_eq!(segment.head().options.window_scale, Some(7));
    let layout = locate(segment.frame()).unwrap();
    let mut left = segment.frame()[layout.l4 + 20..].to_vec();
    left.retain(|&byte| byte != kind::NOP);
    assert_eq!(left, [kind::MSS, 4, 5, 180, kind::WINDOW_SCALE, 3, 7]);
    assert!(!parse(&mut bytes).strip_stateful());
}

#[test]
fn trap_14_signed_segments_are_seen() {
    let mut options = vec![kind::MD5, 18];
    options.extend([0xaa; 16]);
    assert!(parse(&mut with_options(&options, b"")).head().signed);
}

#[test]
fn trap_29_fragments_are_not_taken_for_tcp() {
    let mut bytes = frame(false, &[], b"abc");
    bytes[14 + 6..14 + 8].copy_from_slice(&[0x20, 0]);
    assert_eq!(locate(&bytes), Err(WireError::NotTcp));
}

#[test]
fn cut_frames_are_refused_at_every_length() {
    for v6 in [false, true] {
        let bytes = frame(v6, &[], b"some data");
        for len in 0..bytes.len() {
            assert!(locate(&bytes[..len]).is_err());
        }
        assert!(locate(&bytes).is_ok());
    }
}

proptest! {
    #[test]
    fn edits_keep_the_checksum_right(
        v6 in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        seq in any::<u32>(),
        ack in any::<u32>(),
        window in any::<u16>(),
        flags in any::<u8>(),
        shift in any::<u32>(),
        at in 0usize..100,
        patch in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut bytes = frame(v6, &[], &payload);
        let mut segment = parse(&mut bytes);
        segment.set_seq(SeqNumber(seq));
        segment.set_ack(SeqNumber(ack));
        segment.set_window(window);
        segment.set_flags(Flags(flags));
        segment.set_payload(at, &patch);
        segment.map_timestamps(|value| value.wrapping_add(shift), |echo| echo.wrapping_sub(shift));
        let segment = parse(&mut bytes);
        prop_assert_eq!(segment.head().seq, SeqNumber(seq));
        prop_assert_eq!(segment.head().window, window);
        prop_assert_eq!(segment.head().options.timestamps.unwrap().value, 9u32.wrapping_add(shift));
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), tcp in any::<bool>()) {
        if tcp && bytes.len() > 34 {
            // Make most of them reach the TCP parser.
            bytes[12..14].copy_from_slice(&[8, 0]);
            bytes[14] = 0x45;
            let total = (bytes.len() - 14) as u16;
            bytes[16..18].copy_from_slice(&total.to_be_bytes());
            bytes[20..22].fill(0);
            bytes[23] = 6;
            bytes[24..26].fill(0);
            let check = !checksum::sum(&bytes[14..34]);
            bytes[24..26].copy_from_slice(&check.to_be_bytes());
        }
        if let Ok(layout) = locate(&bytes) {
            let offload = Offload { checksum_valid: true, ..Offload::default() };
            if let Ok(mut segment) = Segment::parse(&mut bytes, layout, &offload) {
                segment.strip_stateful();
                segment.shift_sack(9);
                segment.map_timestamps(|value| value, |echo| echo);
                segment.set_payload(3, b"xyz");
            }
        }
    }
}
