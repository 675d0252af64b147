// SPDX-License-Identifier: GPL-3.0-only
//! `struct virtio_net_hdr`: how the kernel tells a packet socket of a frame's offloads, and is told of them.
//!
//! Virtio 1.2 section 5.1.6; `linux/virtio_net.h`. On a packet socket the fields have the host's byte order.

use crate::frame::{Offload, PartialChecksum};

/// Length of the header without `num_buffers`, which is what `PACKET_VNET_HDR` uses.
pub(super) const LEN: usize = 10;

/// Length of the tag that [`insert_tag`] puts into a frame.
pub(super) const TAG: usize = 4;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const ETHERTYPE_AT: usize = 12;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// Offset of the checksum field in a TCP header, by which a partial checksum shows its protocol.
const TCP_CHECKSUM: u16 = 16;
/// The same in a UDP header.
const UDP_CHECKSUM: u16 = 6;
const UDP_HEADER: usize = 8;

/// Reads a header that came with a frame.
pub(super) fn parse(header: &[u8; LEN]) -> Offload {
    let [flags, gso_type, _, _, s0, s1, c0, c1, o0, o1] = *header;
    let gso = gso_type & !GSO_ECN != GSO_NONE;
    Offload {
        partial_checksum: (flags & NEEDS_CSUM != 0).then(|| PartialChecksum {
            start: u16::from_ne_bytes([c0, c1]),
            offset: u16::from_ne_bytes([o0, o1]),
        }),
        checksum_valid: flags & DATA_VALID != 0,
        gso_size: gso.then(|| u16::from_ne_bytes([s0, s1])),
        gso_ecn: gso && gso_type & GSO_ECN != 0,
    }
}

/// Writes the header with which `frame` is to be sent; `None` if `frame` is not what `offload` says.
pub(super) fn emit(offload: &Offload, frame: &[u8]) -> Option<[u8; LEN]> {
    let mut header = [0; LEN];
    let Some(partial) = offload.partial_checksum else {
        // The kernel makes segments only of frames whose checksum is left to it.
        return offload.gso_size.is_none().then_some(header);
    };
    header[0] = NEEDS_CSUM;
    header[6..8].copy_from_slice(&partial.start.to_ne_bytes());
    header[8..10].copy_from_slice(&partial.offset.to_ne_bytes());
    if let Some(size) = offload.gso_size {
        let start = usize::from(partial.start);
        let (kind, headers) = match partial.offset {
            TCP_CHECKSUM => {
                let data_offset = usize::from(frame.get(start + 12)? >> 4) * 4;
                let kind = match ethertype(frame)? {
                    ETHERTYPE_IPV4 => GSO_TCPV4,
                    ETHERTYPE_IPV6 => GSO_TCPV6,
                    _ => return None,
                };
                (kind, start + data_offset)
            }
            UDP_CHECKSUM => (GSO_UDP_L4, start + UDP_HEADER),
            _ => return None,
        };
        header[1] = kind | if offload.gso_ecn { GSO_ECN } else { 0 };
        header[2..4].copy_from_slice(&u16::try_from(headers).ok()?.to_ne_bytes());
        header[4..6].copy_from_slice(&size.to_ne_bytes());
    }
    Some(header)
}

/// Puts back a VLAN tag that the kernel has taken out of a frame. The frame stands in `room` from `TAG` on; the tagged
/// frame starts at 0.
pub(super) fn insert_tag(room: &mut [u8], protocol: u16, control: u16, offload: &mut Offload) {
    room.copy_within(TAG..TAG + ETHERTYPE_AT, 0);
    room[ETHERTYPE_AT..ETHERTYPE_AT + 2].copy_from_slice(&protocol.to_be_bytes());
    room[ETHERTYPE_AT + 2..ETHERTYPE_AT + TAG].copy_from_slice(&control.to_be_bytes());
    if let Some(partial) = &mut offload.partial_checksum {
        partial.start = partial.start.saturating_add(TAG as u16);
    }
}

/// The EtherType behind any VLAN tags.
fn ethertype(frame: &[u8]) -> Option<u16> {
    let mut at = ETHERTYPE_AT;
    loop {
        let kind = u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]);
        if !ETHERTYPE_VLAN.contains(&kind) {
            return Some(kind);
        }
        at += TAG;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet, optional tag, and a TCP header with 12 bytes of options behind an IP header of `ip` bytes.
    fn frame(tagged: bool, ethertype: u16, ip: usize) -> (Vec<u8>, u16) {
        let mut frame = vec![2; 12];
        if tagged {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend(ethertype.to_be_bytes());
        frame.resize(frame.len() + ip, 0);
        let start = frame.len();
        frame.resize(start + 32, 0);
        frame[start + 12] = 8 << 4;
        frame.resize(start + 32 + 5000, 0xab);
        (frame, start as u16)
    }

    fn super_segment(start: u16, offset: u16, ecn: bool) -> Offload {
        Offload {
            partial_checksum: Some(PartialChecksum { start, offset }),
            checksum_valid: false,
            gso_size: Some(1448),
            gso_ecn: ecn,
        }
    }

    #[test]
    fn emit_then_parse_gives_the_same_offload() {
        for (tagged, kind, ip) in [
            (false, ETHERTYPE_IPV4, 20),
            (true, ETHERTYPE_IPV4, 20),
            (false, ETHERTYPE_IPV6, 40),
            (true, ETHERTYPE_IPV6, 40),
        ] {
            for ecn in [false, true] {
                let (frame, start) = frame(tagged, kind, ip);
                let offload = super_segment(start, TCP_CHECKSUM, ecn);
                let header = emit(&offload, &frame).unwrap();
                assert_eq!(parse(&header), offload);
                let headers = u16::from_ne_bytes([header[2], header[3]]);
                assert_eq!(headers, start + 32, "header length");
            }
        }
    }

    #[test]
    fn emit_udp_super_segment_keeps_its_kind() {
        let (frame, start) = frame(false, ETHERTYPE_IPV4, 20);
        let header = emit(&super_segment(start, UDP_CHECKSUM, false), &frame).unwrap();
        assert_eq!(header[1], GSO_UDP_L4);
    }

    #[test]
    fn emit_frame_that_contradicts_its_offload_is_refused() {
        let (frame, start) = frame(false, 0x0806, 20);
        assert_eq!(
            emit(&super_segment(start, TCP_CHECKSUM, false), &frame),
            None
        );
        assert_eq!(
            emit(&super_segment(60_000, TCP_CHECKSUM, false), &frame),
            None
        );
        let unsummed = Offload {
            gso_size: Some(1448),
            ..Offload::default()
        };
        assert_eq!(emit(&unsummed, &frame), None);
    }

    #[test]
    fn emit_plain_frame_is_all_zero() {
        assert_eq!(emit(&Offload::default(), &[0; 60]), Some([0; LEN]));
    }

    #[test]
    fn insert_tag_moves_addresses_and_checksum_start() {
        let mut room = vec![0; TAG];
        room.extend(1..=12);
        room.extend([0x08, 0x00, 0x45]);
        let mut offload = super_segment(34, TCP_CHECKSUM, false);
        insert_tag(&mut room, 0x8100, 0x2007, &mut offload);
        assert_eq!(room[..12], (1..=12).collect::<Vec<u8>>());
        assert_eq!(room[12..], [0x81, 0x00, 0x20, 0x07, 0x08, 0x00, 0x45]);
        assert_eq!(offload.partial_checksum.unwrap().start, 38);
    }
}
