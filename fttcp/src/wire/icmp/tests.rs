// SPDX-License-Identifier: GPL-3.0-only
//! Errors built and read back, against `pnet_packet` as an oracle for checksums; edits; arbitrary bytes.

use pnet_packet::Packet as _;
use proptest::prelude::*;

use super::*;
use crate::wire::{Flags, MacAddr, OptionsRepr, SegmentRepr, Timestamps};

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

/// "Packet too big" from host 1 to host 2, about what 2 sent to 1.
fn too_big(v6: bool, tags: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    TooBigRepr {
        src: address(v6, 1, 0),
        dst: address(v6, 2, 80),
        tags,
        mtu: 1400,
        quoted_dst: address(v6, 1, 40_000).socket,
        seq: SeqNumber(0xffff_fff0),
        ack: SeqNumber(77),
        quoted_len: 1500,
    }
    .emit(&mut out);
    out
}

/// An error of this type and code that quotes a whole segment with options and data.
fn error(v6: bool, kind: [u8; 2], data: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::new();
    SegmentRepr {
        src: address(v6, 2, 80),
        dst: address(v6, 1, 40_000),
        tags: &[],
        seq: SeqNumber(5),
        ack: SeqNumber(6),
        flags: Flags::ACK,
        window: 7,
        urgent: 0,
        options: OptionsRepr {
            timestamps: Some(Timestamps { value: 1, echo: 2 }),
            ..OptionsRepr::default()
        },
        payload: data,
    }
    .emit(&mut quoted);
    let mut frame = too_big(v6, &[]);
    let icmp = if v6 { 54 } else { 34 };
    frame.truncate(icmp + field::HEADER);
    frame[icmp..icmp + 4].copy_from_slice(&[kind[0], kind[1], 0, 0]);
    frame.extend(&quoted[14..]);
    let len = frame.len() - 14;
    if v6 {
        frame[18..20].copy_from_slice(&((len - 40) as u16).to_be_bytes());
    } else {
        frame[16..18].copy_from_slice(&(len as u16).to_be_bytes());
        frame[24..26].fill(0);
        let check = !checksum::sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&check.to_be_bytes());
    }
    let check = icmp_checksum(&frame, v6);
    frame[icmp + 2..icmp + 4].copy_from_slice(&check.to_be_bytes());
    frame
}

/// What pnet takes for the right checksum of the message.
fn icmp_checksum(frame: &[u8], v6: bool) -> u16 {
    if v6 {
        let ip = pnet_packet::ipv6::Ipv6Packet::new(&frame[14..]).unwrap();
        let icmp = pnet_packet::icmpv6::Icmpv6Packet::new(ip.payload()).unwrap();
        pnet_packet::icmpv6::checksum(&icmp, &ip.get_source(), &ip.get_destination())
    } else {
        let ip = pnet_packet::ipv4::Ipv4Packet::new(&frame[14..]).unwrap();
        let icmp = pnet_packet::icmp::IcmpPacket::new(ip.payload()).unwrap();
        pnet_packet::icmp::checksum(&icmp)
    }
}

fn found(frame: &[u8]) -> IcmpError {
    locate_icmp(frame, &Offload::default()).unwrap()
}

#[test]
fn built_error_is_right_and_read_back() {
    for v6 in [false, true] {
        let frame = too_big(v6, &[]);
        let icmp = if v6 { 54 } else { 34 };
        assert_eq!(be16(&frame, icmp + 2), icmp_checksum(&frame, v6));
        let tagged = too_big(v6, &[0x81, 0, 0, 5]);
        for frame in [&frame, &tagged] {
            let error = found(frame);
            assert_eq!(error.kind, IcmpKind::TooBig(1400));
            assert_eq!(error.src, address(v6, 2, 80).socket);
            assert_eq!(error.dst, address(v6, 1, 40_000).socket);
            assert_eq!(error.to, error.src.ip());
            assert_eq!(error.seq, SeqNumber(0xffff_fff0));
            assert_eq!(error.ack, Some(SeqNumber(77)));
            assert_eq!(error.quoted_len, 1500);
        }
    }
}

#[test]
fn kinds_are_told_apart() {
    let v4 = [
        ([3, 4], IcmpKind::TooBig(1400)),
        ([3, 3], IcmpKind::Hard),
        ([3, 2], IcmpKind::Hard),
        ([3, 1], IcmpKind::Soft),
        ([11, 0], IcmpKind::Soft),
    ];
    let v6 = [
        ([2, 0], IcmpKind::TooBig(1400)),
        ([1, 4], IcmpKind::Hard),
        ([1, 0], IcmpKind::Soft),
        ([3, 0], IcmpKind::Soft),
    ];
    for (six, kinds) in [(false, &v4[..]), (true, &v6[..])] {
        for &(bytes, kind) in kinds {
            assert_eq!(found(&error(six, bytes, b"data")).kind, kind, "{bytes:?}");
        }
    }
    for (six, echo) in [(false, [8, 0]), (false, [0, 0]), (true, [128, 0])] {
        let frame = error(six, echo, b"");
        let result = locate_icmp(&frame, &Offload::default());
        assert_eq!(result, Err(WireError::NotTcp));
    }
}

#[test]
fn eight_quoted_bytes_suffice_and_fewer_do_not() {
    for (len, ack) in [(7, None), (8, None), (11, None), (12, Some(SeqNumber(6)))] {
        let mut frame = error(false, [3, 4], b"");
        frame.truncate(34 + field::HEADER + 20 + len);
        let total = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        let check = icmp_checksum(&frame, false);
        frame[36..38].copy_from_slice(&check.to_be_bytes());
        let result = locate_icmp(&frame, &Offload::default());
        assert_eq!(result.is_ok(), len >= 8, "{len}");
        if let Ok(mut error) = result {
            assert_eq!(error.ack, ack);
            error.set_seq(&mut frame, SeqNumber(99));
            error.set_ack(&mut frame, SeqNumber(98));
            assert_eq!(be16(&frame, 36), icmp_checksum(&frame, false));
            assert_eq!(found(&frame).seq, SeqNumber(99));
            assert_eq!(found(&frame).ack, ack.map(|_| SeqNumber(98)));
        }
    }
}

#[test]
fn quoted_later_fragment_is_not_taken_for_a_segment() {
    let mut frame = error(false, [3, 4], b"data");
    frame[34 + field::HEADER + 7] = 185;
    let check = icmp_checksum(&frame, false);
    frame[36..38].copy_from_slice(&check.to_be_bytes());
    let result = locate_icmp(&frame, &Offload::default());
    assert_eq!(result, Err(WireError::NotTcp));
}

#[test]
fn corrupt_error_is_refused() {
    for v6 in [false, true] {
        let mut frame = error(v6, [if v6 { 2 } else { 3 }, 4], b"data");
        let icmp = if v6 { 54 } else { 34 };
        for at in icmp..frame.len() {
            frame[at] ^= 0x40;
            let result = locate_icmp(&frame, &Offload::default());
            assert!(result.is_err(), "bit flip at {at} went unseen");
            frame[at] ^= 0x40;
        }
    }
}

proptest! {
    #[test]
    fn edits_keep_all_checksums_right_and_have_an_inverse(
        v6 in any::<bool>(),
        data in proptest::collection::vec(any::<u8>(), 0..50),
        seq in any::<u32>(),
        ack in any::<u32>(),
    ) {
        let before = error(v6, [if v6 { 2 } else { 3 }, 4], &data);
        let mut frame = before.clone();
        let mut error = found(&frame);
        let old = (error.seq, error.ack.unwrap());
        error.set_seq(&mut frame, SeqNumber(seq));
        error.set_ack(&mut frame, SeqNumber(ack));
        let edited = found(&frame);
        prop_assert_eq!((edited.seq, edited.ack), (SeqNumber(seq), Some(SeqNumber(ack))));
        // The quoted segment is whole: its own checksum must be right too.
        let (icmp, ip_len) = if v6 { (54, 40) } else { (34, 20) };
        let segment = &frame[icmp + field::HEADER + ip_len..];
        let pseudo = super::super::segment::pseudo_sum(error.src.ip(), error.dst.ip(), segment.len());
        prop_assert_eq!(checksum::combine(&[pseudo, checksum::sum(segment)]), 0xffff);
        error.set_seq(&mut frame, old.0);
        error.set_ack(&mut frame, old.1);
        // 0x0000 and 0xffff are both zero in one's complement; everything else is as it was.
        let same = frame.iter().zip(&before).filter(|(a, b)| a != b).count();
        prop_assert!(same <= 4);
        prop_assert_eq!(found(&frame), found(&before));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..160),
        v6 in any::<bool>(),
        whole in any::<bool>(),
    ) {
        let mut frame = error(v6, [if v6 { 2 } else { 3 }, 4], b"data");
        if whole {
            frame = bytes;
        } else {
            // A right outer header, and anything after it.
            let icmp = if v6 { 54 } else { 34 };
            bytes.truncate(frame.len() - icmp - 4);
            frame[icmp + 4..icmp + 4 + bytes.len()].copy_from_slice(&bytes);
        }
        let trusted = Offload { checksum_valid: true, ..Offload::default() };
        if let Ok(mut error) = locate_icmp(&frame, &trusted) {
            error.set_seq(&mut frame, SeqNumber(1));
            error.set_ack(&mut frame, SeqNumber(2));
        }
    }
}
