// SPDX-License-Identifier: GPL-3.0-only
//! IP fragments of TCP segments: finding them, putting the packet together, taking it apart again.
//!
//! IPv4: RFC 791 section 3.2. IPv6: RFC 8200 section 4.5; the fragment header stands behind the headers that every
//! router reads, and is left out of the packet that is put together.

use std::net::IpAddr;
use std::ops::Range;

use super::segment::PROTOCOL_TCP;
use super::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetFrame, Ipv4Packet, Ipv6Packet, WireError, be16, be32,
    checksum,
};

/// Longest payload of an IP packet.
const MAX_PAYLOAD: usize = 65_535;
const FRAGMENT_HEADER: u8 = 44;
const FRAGMENT_HEADER_LEN: usize = 8;
/// "Congestion experienced" in the ECN field (RFC 3168 section 5).
const CE: u8 = 3;

/// One fragment in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// The same in all fragments of a packet.
    pub id: u32,
    /// Where the payload belongs in the packet's.
    pub offset: usize,
    /// Others follow.
    pub more: bool,
    /// A router on the way was congested.
    pub congested: bool,
    /// The payload in the frame. What stands before it is the header, Ethernet's included.
    pub payload: Range<usize>,
}

/// Finds a fragment of a TCP segment.
///
/// # Errors
/// It is not a fragment, not of TCP, or it has a length or place that no fragment can have.
pub fn locate_fragment(frame: &[u8]) -> Result<Fragment, WireError> {
    let ethernet = EthernetFrame::new_checked(frame)?;
    let l3 = ethernet.header_len();
    let fragment = match ethernet.ethertype() {
        ETHERTYPE_IPV4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload())?;
            if ip.protocol() != PROTOCOL_TCP || !ip.is_fragment() {
                return Err(WireError::NotTcp);
            }
            if !ip.verify_checksum() {
                return Err(WireError::Malformed);
            }
            Fragment {
                src: ip.src().into(),
                dst: ip.dst().into(),
                id: u32::from(ip.id()),
                offset: ip.fragment_offset(),
                more: ip.more_fragments(),
                congested: frame[l3 + 1] & CE == CE,
                payload: l3 + ip.header_len()..l3 + ip.total_len(),
            }
        }
        ETHERTYPE_IPV6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload())?;
            let (next, at) = ip.upper()?;
            if next != FRAGMENT_HEADER {
                return Err(WireError::NotTcp);
            }
            let at = l3 + at;
            let end = l3 + ip.total_len();
            if at + FRAGMENT_HEADER_LEN > end {
                return Err(WireError::Truncated);
            }
            if frame[at] != PROTOCOL_TCP {
                return Err(WireError::NotTcp);
            }
            let place = be16(frame, at + 2);
            Fragment {
                src: ip.src().into(),
                dst: ip.dst().into(),
                id: be32(frame, at + 4),
                offset: usize::from(place & !7),
                more: place & 1 != 0,
                congested: (frame[l3 + 1] >> 4) & CE == CE,
                payload: at + FRAGMENT_HEADER_LEN..end,
            }
        }
        _ => return Err(WireError::NotTcp),
    };
    let len = fragment.payload.len();
    let odd = fragment.more && len % 8 != 0;
    if len == 0 || odd || fragment.offset + len > MAX_PAYLOAD {
        return Err(WireError::Malformed);
    }
    Ok(fragment)
}

/// The packet of which `header` is the header of the first fragment (Ethernet's included) and `payload` everything
/// that the fragments carried. `congested`: any of them had met congestion (RFC 3168 section 5.3).
///
/// # Errors
/// The packet would be longer than one can be.
pub fn join(header: &[u8], payload: &[u8], congested: bool) -> Result<Vec<u8>, WireError> {
    let ethernet = EthernetFrame::new_checked(header)?;
    let (l3, ethertype) = (ethernet.header_len(), ethernet.ethertype());
    let mut frame = header.to_vec();
    if ethertype == ETHERTYPE_IPV4 {
        frame.extend_from_slice(payload);
        if congested {
            frame[l3 + 1] |= CE;
        }
        let len = u16::try_from(frame.len() - l3).map_err(|_| WireError::Malformed)?;
        frame[l3 + 2..l3 + 4].copy_from_slice(&len.to_be_bytes());
        frame[l3 + 6..l3 + 8].fill(0);
        refresh_ipv4(&mut frame, l3, header.len());
    } else {
        let at = header.len() - FRAGMENT_HEADER_LEN;
        let named = names_next(&frame, l3, at);
        frame[named] = header[at];
        frame.truncate(at);
        frame.extend_from_slice(payload);
        if congested {
            frame[l3 + 1] |= CE << 4;
        }
        let len = u16::try_from(frame.len() - l3 - 40).map_err(|_| WireError::Malformed)?;
        frame[l3 + 4..l3 + 6].copy_from_slice(&len.to_be_bytes());
    }
    Ok(frame)
}

/// Takes a packet that was joined apart again: `header` is that of its first fragment, as it came; each fragment has
/// at most `most` bytes of payload, rounded down to a multiple of eight.
#[must_use]
pub fn split(frame: &[u8], header: &[u8], most: usize) -> Vec<Vec<u8>> {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
        return Vec::new();
    };
    let (l3, v4) = (
        ethernet.header_len(),
        ethernet.ethertype() == ETHERTYPE_IPV4,
    );
    let own = header.len() - if v4 { 0 } else { FRAGMENT_HEADER_LEN };
    let payload = &frame[own..];
    let most = (most & !7).max(8);
    let mut fragments = Vec::new();
    for (index, piece) in payload.chunks(most).enumerate() {
        let offset = index * most;
        let more = offset + piece.len() < payload.len();
        let mut out = header.to_vec();
        out.extend_from_slice(piece);
        let len = out.len() - l3;
        // The ECN field may have changed.
        out[l3 + 1] = frame[l3 + 1];
        if v4 {
            let place = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
            out[l3 + 2..l3 + 4].copy_from_slice(&(len as u16).to_be_bytes());
            out[l3 + 6..l3 + 8].copy_from_slice(&place.to_be_bytes());
            refresh_ipv4(&mut out, l3, header.len());
        } else {
            let place = offset as u16 | u16::from(more);
            out[l3 + 4..l3 + 6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            out[own + 2..own + 4].copy_from_slice(&place.to_be_bytes());
        }
        fragments.push(out);
    }
    fragments
}

fn refresh_ipv4(frame: &mut [u8], l3: usize, end: usize) {
    frame[l3 + 10..l3 + 12].fill(0);
    let check = !checksum::sum(&frame[l3..end]);
    frame[l3 + 10..l3 + 12].copy_from_slice(&check.to_be_bytes());
}

/// Where the number of the header that begins at `target` stands: in the header before it.
fn names_next(frame: &[u8], l3: usize, target: usize) -> usize {
    let (mut field, mut at) = (l3 + 6, l3 + 40);
    while at < target {
        field = at;
        at += (usize::from(frame[at + 1]) + 1) * 8;
    }
    field
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Offload;
    use crate::wire::{
        Address, Flags, MacAddr, OptionsRepr, Segment, SegmentRepr, SeqNumber, locate,
    };

    fn packet(v6: bool, data: &[u8]) -> Vec<u8> {
        let end = |host: u8| {
            let v4 = std::net::Ipv4Addr::new(10, 0, 0, host);
            let ip = if v6 {
                v4.to_ipv6_mapped().into()
            } else {
                IpAddr::from(v4)
            };
            Address {
                mac: MacAddr([2, 0, 0, 0, 0, host]),
                socket: (ip, 80).into(),
            }
        };
        let mut out = Vec::new();
        SegmentRepr {
            src: end(1),
            dst: end(2),
            tags: &[0x81, 0, 0, 9],
            seq: SeqNumber(1),
            ack: SeqNumber(2),
            flags: Flags::ACK,
            window: 3,
            urgent: 0,
            options: OptionsRepr::default(),
            payload: data,
        }
        .emit(&mut out);
        out
    }

    /// Cut into fragments, as a router would.
    fn cut(frame: &[u8], most: usize) -> Vec<Vec<u8>> {
        let v6 = frame[18] >> 4 == 6;
        let mut header = frame[..if v6 { 58 } else { 38 }].to_vec();
        if v6 {
            header[24] = FRAGMENT_HEADER;
            header.extend([PROTOCOL_TCP, 0, 0, 0, 0, 0, 0, 77]);
        } else {
            header[22..24].copy_from_slice(&[0, 77]);
        }
        split(frame, &header, most)
    }

    fn joined(fragments: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        for frame in fragments {
            let found = locate_fragment(frame).unwrap();
            assert_eq!((found.offset, found.id), (payload.len(), 77));
            payload.extend_from_slice(&frame[found.payload]);
        }
        let first = locate_fragment(&fragments[0]).unwrap();
        join(&fragments[0][..first.payload.start], &payload, false).unwrap()
    }

    #[test]
    fn congestion_met_by_one_fragment_is_kept() {
        for v6 in [false, true] {
            let fragments = cut(&packet(v6, &[5; 100]), 64);
            let first = locate_fragment(&fragments[0]).unwrap();
            assert!(!first.congested);
            let header = &fragments[0][..first.payload.start];
            let frame = join(header, &[7; 40], true).unwrap();
            let mark = if v6 { frame[19] >> 4 } else { frame[19] };
            assert_eq!(mark & CE, CE);
            let again = split(&frame, header, 16);
            assert!(locate_fragment(&again[1]).unwrap().congested);
        }
    }

    #[test]
    fn impossible_fragments_are_refused() {
        for v6 in [false, true] {
            let fragments = cut(&packet(v6, &[5; 100]), 64);
            let mut long = fragments[1].clone();
            let place = if v6 { 58 + 2 } else { 24 };
            long[place..place + 2].copy_from_slice(if v6 { &[0xff, 0xf8] } else { &[0x1f, 0xff] });
            if !v6 {
                refresh_ipv4(&mut long, 18, 38);
            }
            assert_eq!(locate_fragment(&long), Err(WireError::Malformed));
            let whole = packet(v6, &[5; 100]);
            assert_eq!(locate_fragment(&whole), Err(WireError::NotTcp));
            for len in 0..fragments[0].len() {
                assert!(locate_fragment(&fragments[0][..len]).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_apart_is_put_together_again(
            v6 in any::<bool>(),
            data in proptest::collection::vec(any::<u8>(), 30..3000),
            most in 8usize..1500,
        ) {
            let whole = packet(v6, &data);
            let fragments = cut(&whole, most);
            prop_assert!(fragments.iter().all(|frame| frame.len() <= 66 + most));
            if fragments.len() > 1 {
                let mut frame = joined(&fragments);
                let layout = locate(&frame).unwrap();
                let parsed = Segment::parse(&mut frame, layout, &Offload::default()).unwrap();
                prop_assert_eq!(parsed.payload(), &data[..]);
                prop_assert_eq!(&frame[38..], &whole[38..]);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), v6 in any::<bool>()) {
            let mut frame = cut(&packet(v6, &[3; 200]), 64).swap_remove(1);
            let len = bytes.len().min(frame.len() - 14);
            frame[14..14 + len].copy_from_slice(&bytes[..len]);
            for frame in [&frame, &bytes] {
                if let Ok(found) = locate_fragment(frame) {
                    let header = &frame[..found.payload.start];
                    if let Ok(whole) = join(header, &frame[found.payload.clone()], found.congested) {
                        let _ = split(&whole, header, 16);
                    }
                }
            }
        }
    }
}
