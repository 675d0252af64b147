// SPDX-License-Identifier: GPL-3.0-only
//! ICMP errors about TCP segments (RFC 792, RFC 4443): finding what they quote, editing it, and building one.
//!
//! An error quotes the beginning of the packet that it is about: for IPv4 at least the header and eight bytes, which
//! for TCP are the ports and the sequence number (RFC 792); routers of today quote more (RFC 1812 section 4.3.2.3).

use std::net::{IpAddr, SocketAddr};

use super::build::{self, Address};
use super::segment::PROTOCOL_TCP;
use super::tcp::field as tcp;
use super::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetFrame, Ipv4Packet, Ipv6Packet, SeqNumber, WireError,
    be16, be32, checksum,
};
use crate::frame::Offload;

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;

mod field {
    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: usize = 2;
    /// Next-hop MTU: 16 bits at 6 in ICMP (RFC 1191 section 4), 32 bits at 4 in ICMPv6 (RFC 4443 section 3.2).
    pub(super) const MTU_V4: usize = 6;
    pub(super) const MTU_V6: usize = 4;
    pub(super) const HEADER: usize = 8;
}

/// What of the quoted TCP header is always there: ports and sequence number.
const LEAST_QUOTE: usize = 8;

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// The packet was too big for a link of this MTU; 0: an old router that does not say of which.
    TooBig(u32),
    /// One upon which RFC 1122 section 4.2.3.9 lets a TCP abort: protocol or port unreachable, prohibited.
    Hard,
    /// Any other: unreachable for now, time exceeded, redirect and the like.
    Soft,
}

/// An ICMP error that quotes a TCP segment, and where its parts lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What it says.
    pub kind: IcmpKind,
    /// To whom it is sent.
    pub to: IpAddr,
    /// Sender of the quoted segment.
    pub src: SocketAddr,
    /// Receiver of the quoted segment.
    pub dst: SocketAddr,
    /// Sequence number of the quoted segment.
    pub seq: SeqNumber,
    /// Acknowledgement number of the quoted segment, if that much is quoted.
    pub ack: Option<SeqNumber>,
    /// Length of the quoted packet, as its header says.
    pub quoted_len: usize,
    icmp: usize,
    tcp: usize,
    /// Where the quoted TCP header ends in the frame, or the quote if that ends earlier.
    end: usize,
    partial: bool,
}

fn kind_v4(message: &[u8]) -> Option<IcmpKind> {
    Some(match (message[field::TYPE], message[field::CODE]) {
        (3, 4) => IcmpKind::TooBig(u32::from(be16(message, field::MTU_V4))),
        (3, 2 | 3 | 9 | 10 | 13) => IcmpKind::Hard,
        (3 | 4 | 5 | 11 | 12, _) => IcmpKind::Soft,
        _ => return None,
    })
}

fn kind_v6(message: &[u8]) -> Option<IcmpKind> {
    Some(match (message[field::TYPE], message[field::CODE]) {
        (2, _) => IcmpKind::TooBig(be32(message, field::MTU_V6)),
        (1, 1 | 4 | 5 | 6) | (4, 1) => IcmpKind::Hard,
        (1 | 3 | 4, _) => IcmpKind::Soft,
        _ => return None,
    })
}

/// Finds the TCP segment that the ICMP error in a frame quotes.
///
/// # Errors
/// It is no ICMP error about TCP, it is a fragment or quotes one that has no TCP header, its checksum is wrong, or
/// it ends before the quoted sequence number. All such frames are passed on.
pub fn locate_icmp(frame: &[u8], offload: &Offload) -> Result<IcmpError, WireError> {
    let ethernet = EthernetFrame::new_checked(frame)?;
    let l3 = ethernet.header_len();
    let partial = offload.partial_checksum.is_some();
    let (icmp, end, to, kind, pseudo) = match ethernet.ethertype() {
        ETHERTYPE_IPV4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload())?;
            if ip.protocol() != PROTOCOL_ICMP || ip.is_fragment() {
                return Err(WireError::NotTcp);
            }
            if ip.payload().len() < field::HEADER {
                return Err(WireError::Truncated);
            }
            let kind = kind_v4(ip.payload()).ok_or(WireError::NotTcp)?;
            let at = l3 + ip.header_len();
            (at, l3 + ip.total_len(), IpAddr::from(ip.dst()), kind, 0)
        }
        ETHERTYPE_IPV6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload())?;
            let (protocol, at) = ip.upper()?;
            if protocol != PROTOCOL_ICMPV6 {
                return Err(WireError::NotTcp);
            }
            let message = &ethernet.payload()[at..ip.total_len()];
            if message.len() < field::HEADER {
                return Err(WireError::Truncated);
            }
            let kind = kind_v6(message).ok_or(WireError::NotTcp)?;
            let pseudo = build::pseudo_v6(ip.src(), ip.dst(), message.len(), PROTOCOL_ICMPV6);
            (l3 + at, l3 + ip.total_len(), ip.dst().into(), kind, pseudo)
        }
        _ => return Err(WireError::NotTcp),
    };
    let sum = checksum::combine(&[pseudo, checksum::sum(&frame[icmp..end])]);
    if !partial && !offload.checksum_valid && sum != 0xffff {
        return Err(WireError::Malformed);
    }
    let quote = quoted(&frame[icmp + field::HEADER..end], to.is_ipv4())?;
    let at = icmp + field::HEADER + quote.tcp;
    let end = icmp + field::HEADER + quote.end;
    Ok(IcmpError {
        kind,
        to,
        src: SocketAddr::new(quote.src, be16(frame, at + tcp::SRC)),
        dst: SocketAddr::new(quote.dst, be16(frame, at + tcp::DST)),
        seq: SeqNumber(be32(frame, at + tcp::SEQ)),
        ack: (end >= at + tcp::ACK + 4).then(|| SeqNumber(be32(frame, at + tcp::ACK))),
        quoted_len: quote.len,
        icmp,
        tcp: at,
        end,
        partial,
    })
}

struct Quote {
    tcp: usize,
    end: usize,
    len: usize,
    src: IpAddr,
    dst: IpAddr,
}

/// Reads a quoted packet, of which the end is usually missing.
fn quoted(bytes: &[u8], v4: bool) -> Result<Quote, WireError> {
    let quote = if v4 {
        let ip = Ipv4Packet::new_quoted(bytes)?;
        if ip.protocol() != PROTOCOL_TCP || ip.fragment_offset() != 0 {
            return Err(WireError::NotTcp);
        }
        Quote {
            tcp: ip.header_len(),
            end: bytes.len().min(ip.total_len()),
            len: ip.total_len(),
            src: ip.src().into(),
            dst: ip.dst().into(),
        }
    } else {
        let ip = Ipv6Packet::new_quoted(bytes)?;
        let (protocol, tcp) = ip.upper()?;
        if protocol != PROTOCOL_TCP {
            return Err(WireError::NotTcp);
        }
        Quote {
            tcp,
            end: bytes.len().min(ip.total_len()),
            len: ip.total_len(),
            src: ip.src().into(),
            dst: ip.dst().into(),
        }
    };
    if quote.end < quote.tcp + LEAST_QUOTE {
        return Err(WireError::Truncated);
    }
    Ok(quote)
}

impl IcmpError {
    /// Replaces bytes of the quoted TCP header and fixes the checksums: the segment's own, if it is quoted, and the
    /// message's.
    fn replace(&self, frame: &mut [u8], at: usize, new: &[u8]) {
        let quoted = self.tcp + tcp::CHECKSUM;
        if self.end >= quoted + 2 {
            let odd = (at - self.tcp) % 2 == 1;
            let old = &frame[at..at + new.len()];
            let check = checksum::update(be16(frame, quoted), old, new, odd);
            self.write(frame, quoted, &check.to_be_bytes());
        }
        self.write(frame, at, new);
    }

    fn write(&self, frame: &mut [u8], at: usize, new: &[u8]) {
        let old = at..at + new.len();
        if !self.partial {
            let field = self.icmp + field::CHECKSUM;
            let odd = (at - self.icmp) % 2 == 1;
            let check = checksum::update(be16(frame, field), &frame[old.clone()], new, odd);
            frame[field..field + 2].copy_from_slice(&check.to_be_bytes());
        }
        frame[old].copy_from_slice(new);
    }

    /// Sets the quoted sequence number in the frame in which this error was found.
    pub fn set_seq(&mut self, frame: &mut [u8], seq: SeqNumber) {
        if seq != self.seq {
            self.seq = seq;
            self.replace(frame, self.tcp + tcp::SEQ, &seq.0.to_be_bytes());
        }
    }

    /// Sets the quoted source port.
    pub fn set_src_port(&mut self, frame: &mut [u8], port: u16) {
        if port != self.src.port() {
            self.src.set_port(port);
            self.replace(frame, self.tcp + tcp::SRC, &port.to_be_bytes());
        }
    }

    /// Sets the quoted destination port.
    pub fn set_dst_port(&mut self, frame: &mut [u8], port: u16) {
        if port != self.dst.port() {
            self.dst.set_port(port);
            self.replace(frame, self.tcp + tcp::DST, &port.to_be_bytes());
        }
    }

    /// Sets the quoted acknowledgement number, if it is quoted.
    pub fn set_ack(&mut self, frame: &mut [u8], ack: SeqNumber) {
        if self.ack.is_some_and(|old| old != ack) {
            self.ack = Some(ack);
            self.replace(frame, self.tcp + tcp::ACK, &ack.0.to_be_bytes());
        }
    }
}

/// "Fragmentation needed" or "packet too big" (RFC 1191 section 4, RFC 4443 section 3.2), to be built.
#[derive(Clone, Copy, Debug)]
pub struct TooBigRepr<'a> {
    /// Who seems to send it.
    pub src: Address,
    /// To whom: the sender of the segment that it quotes.
    pub dst: Address,
    /// VLAN tags, as bytes, outermost first.
    pub tags: &'a [u8],
    /// MTU of the link.
    pub mtu: u16,
    /// To whom the quoted segment was sent.
    pub quoted_dst: SocketAddr,
    /// Its sequence number.
    pub seq: SeqNumber,
    /// Its acknowledgement number.
    pub ack: SeqNumber,
    /// Length of the quoted packet.
    pub quoted_len: u16,
}

impl TooBigRepr<'_> {
    /// Writes the frame over what `out` held.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let v4 = self.dst.socket.is_ipv4();
        let ip_len = if v4 { 20 } else { 40 };
        let len = field::HEADER + ip_len + tcp::MIN;
        let protocol = if v4 { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
        let (src, dst) = (self.src.socket.ip(), self.dst.socket.ip());
        out.clear();
        out.extend(self.dst.mac.0);
        out.extend(self.src.mac.0);
        out.extend(self.tags);
        build::ip_header(out, src, dst, len, protocol);
        let icmp = out.len();
        out.extend(if v4 { [3, 4] } else { [2, 0] });
        out.extend([0; 2]);
        out.extend(u32::from(self.mtu).to_be_bytes());
        let quoted = usize::from(self.quoted_len).saturating_sub(ip_len);
        build::bare_ip_header(out, dst, self.quoted_dst.ip(), quoted, PROTOCOL_TCP);
        out.extend(self.dst.socket.port().to_be_bytes());
        out.extend(self.quoted_dst.port().to_be_bytes());
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.ack.0.to_be_bytes());
        // No options, ACK, no window; a checksum over data that is not quoted cannot be checked.
        out.extend([5 << 4, 0x10, 0, 0, 0, 0, 0, 0]);
        let pseudo = match (src, dst) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => build::pseudo_v6(src, dst, len, protocol),
            _ => 0,
        };
        let check = !checksum::combine(&[pseudo, checksum::sum(&out[icmp..])]);
        let at = icmp + field::CHECKSUM;
        out[at..at + 2].copy_from_slice(&check.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
