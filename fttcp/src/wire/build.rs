// SPDX-License-Identifier: GPL-3.0-only
//! Frames that the engine makes itself: TCP segments and the address resolution before them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::segment::{PROTOCOL_TCP, pseudo_sum};
use super::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Flags, MacAddr, OptionsRepr, SeqNumber, checksum,
};

/// One end of a fabricated segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Hardware address on the logger's segment: the end's own, or its next hop's.
    pub mac: MacAddr,
    /// Address and port.
    pub socket: SocketAddr,
}

/// A TCP segment to be built. All checksums are computed in full, so that it needs no offload.
#[derive(Clone, Copy, Debug)]
pub struct SegmentRepr<'a> {
    /// Who seems to send it.
    pub src: Address,
    /// To whom.
    pub dst: Address,
    /// VLAN tags, as bytes, outermost first.
    pub tags: &'a [u8],
    /// Sequence number.
    pub seq: SeqNumber,
    /// Acknowledgement number.
    pub ack: SeqNumber,
    /// Flags.
    pub flags: Flags,
    /// Window field, already scaled.
    pub window: u16,
    /// Urgent pointer; 0 unless the flags have URG.
    pub urgent: u16,
    /// Options.
    pub options: OptionsRepr,
    /// Data.
    pub payload: &'a [u8],
}

const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

impl SegmentRepr<'_> {
    /// Writes the frame over what `out` held.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.clear();
        let tcp_len = super::tcp::field::MIN + self.options.len() + self.payload.len();
        let (src, dst) = (self.src.socket.ip(), self.dst.socket.ip());
        out.extend(self.dst.mac.0);
        out.extend(self.src.mac.0);
        out.extend(self.tags);
        ip_header(out, src, dst, tcp_len, PROTOCOL_TCP);
        let l4 = out.len();
        out.extend(self.src.socket.port().to_be_bytes());
        out.extend(self.dst.socket.port().to_be_bytes());
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.ack.0.to_be_bytes());
        let words = (super::tcp::field::MIN + self.options.len()) / 4;
        out.extend([(words as u8) << 4, self.flags.0]);
        out.extend(self.window.to_be_bytes());
        out.extend([0; 2]);
        out.extend(self.urgent.to_be_bytes());
        self.options.emit(out);
        out.extend(self.payload);
        let check = !checksum::combine(&[pseudo_sum(src, dst, tcp_len), checksum::sum(&out[l4..])]);
        let at = l4 + super::tcp::field::CHECKSUM;
        out[at..at + 2].copy_from_slice(&check.to_be_bytes());
    }
}

const fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Ethertype and IP header for so many bytes of this protocol.
pub(super) fn ip_header(out: &mut Vec<u8>, src: IpAddr, dst: IpAddr, payload: usize, next: u8) {
    let ethertype = if src.is_ipv4() && dst.is_ipv4() {
        ETHERTYPE_IPV4
    } else {
        ETHERTYPE_IPV6
    };
    out.extend(ethertype.to_be_bytes());
    bare_ip_header(out, src, dst, payload, next);
}

/// IP header for so many bytes of this protocol.
pub(super) fn bare_ip_header(
    out: &mut Vec<u8>,
    src: IpAddr,
    dst: IpAddr,
    payload: usize,
    next: u8,
) {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ipv4_header(out, src, dst, payload, next),
        _ => ipv6_header(out, v6(src), v6(dst), payload, next, TTL),
    }
}

/// Sum of the pseudo-header of a protocol over IPv6 (RFC 8200 section 8.1).
pub(super) fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, len: usize, next: u8) -> u16 {
    checksum::combine(&[
        checksum::sum(&src.octets()),
        checksum::sum(&dst.octets()),
        (len >> 16) as u16,
        len as u16,
        u16::from(next),
    ])
}

fn ipv4_header(out: &mut Vec<u8>, src: Ipv4Addr, dst: Ipv4Addr, payload: usize, next: u8) {
    let start = out.len();
    out.extend([0x45, 0]);
    out.extend(((20 + payload) as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(DONT_FRAGMENT.to_be_bytes());
    out.extend([TTL, next, 0, 0]);
    out.extend(src.octets());
    out.extend(dst.octets());
    let check = !checksum::sum(&out[start..]);
    out[start + 10..start + 12].copy_from_slice(&check.to_be_bytes());
}

fn ipv6_header(
    out: &mut Vec<u8>,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    payload: usize,
    next: u8,
    hops: u8,
) {
    out.extend([0x60, 0, 0, 0]);
    out.extend((payload as u16).to_be_bytes());
    out.extend([next, hops]);
    out.extend(src.octets());
    out.extend(dst.octets());
}

/// An ARP request (RFC 826) from a client, by which a standby learns the client's (or its next hop's) hardware
/// address without asking.
pub fn arp_request(out: &mut Vec<u8>, mac: MacAddr, ip: Ipv4Addr, target: Ipv4Addr, tags: &[u8]) {
    out.clear();
    out.extend([0xff; 6]);
    out.extend(mac.0);
    out.extend(tags);
    out.extend(ETHERTYPE_ARP.to_be_bytes());
    out.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    out.extend(mac.0);
    out.extend(ip.octets());
    out.extend([0; 6]);
    out.extend(target.octets());
}

/// A neighbour solicitation (RFC 4861 section 4.3) from a client, for the same purpose as [`arp_request`].
pub fn neighbour_solicitation(
    out: &mut Vec<u8>,
    mac: MacAddr,
    ip: Ipv6Addr,
    target: Ipv6Addr,
    tags: &[u8],
) {
    const ICMPV6: u8 = 58;
    const MAX_HOPS: u8 = 255;
    let low = target.octets();
    out.clear();
    out.extend([0x33, 0x33, 0xff, low[13], low[14], low[15]]);
    out.extend(mac.0);
    out.extend(tags);
    out.extend(ETHERTYPE_IPV6.to_be_bytes());
    let mut group = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&low[13..]);
    let group = Ipv6Addr::from(group);
    ipv6_header(out, ip, group, 32, ICMPV6, MAX_HOPS);
    let l4 = out.len();
    out.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(low);
    out.extend([1, 1]);
    out.extend(mac.0);
    let pseudo = pseudo_v6(ip, group, 32, ICMPV6);
    let check = !checksum::combine(&[pseudo, checksum::sum(&out[l4..])]);
    out[l4 + 2..l4 + 4].copy_from_slice(&check.to_be_bytes());
}
