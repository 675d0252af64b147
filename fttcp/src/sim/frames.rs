// SPDX-License-Identifier: GPL-3.0-only
//! Frames as the scripted ends and the routers write and read them. Not the engine's builder: what leaves here may
//! have SACK blocks and an urgent pointer, and a mistake in one of the two shows.

use std::net::IpAddr;

use crate::frame::Offload;
use crate::wire::{
    Address, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Flags, Head, MacAddr, Segment,
    SeqNumber, TcpOption, TcpPacket, combine, locate, sum,
};

const ETHERNET: usize = 14;
const TTL: u8 = 57;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

/// A segment to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out<'a> {
    pub(super) src: Address,
    pub(super) dst: Address,
    pub(super) seq: SeqNumber,
    pub(super) ack: SeqNumber,
    pub(super) flags: Flags,
    pub(super) window: u16,
    /// Urgent pointer; sets URG.
    pub(super) urgent: Option<u16>,
    /// Padded to whole words.
    pub(super) options: &'a [u8],
    pub(super) data: &'a [u8],
}

impl Out<'_> {
    pub(super) fn frame(&self) -> Vec<u8> {
        const URG: u8 = 0x20;
        let len = 20 + self.options.len() + self.data.len();
        let mut out = Vec::with_capacity(ETHERNET + 40 + len);
        let (src, dst) = (self.src.socket.ip(), self.dst.socket.ip());
        ip(&mut out, (self.src.mac, src), (self.dst.mac, dst), TCP, len);
        let start = out.len();
        out.extend(self.src.socket.port().to_be_bytes());
        out.extend(self.dst.socket.port().to_be_bytes());
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.ack.0.to_be_bytes());
        let urgent = self.urgent.map_or(0, |_| URG);
        out.push(((20 + self.options.len()) << 2) as u8);
        out.push(self.flags.0 | urgent);
        out.extend(self.window.to_be_bytes());
        out.extend([0, 0]);
        out.extend(self.urgent.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(self.options);
        out.extend_from_slice(self.data);
        let check = !combine(&[pseudo(src, dst, len, TCP), sum(&out[start..])]);
        out[start + 16..start + 18].copy_from_slice(&check.to_be_bytes());
        out
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn pseudo(src: IpAddr, dst: IpAddr, len: usize, protocol: u8) -> u16 {
    let (src, dst) = (sum(&octets(src)), sum(&octets(dst)));
    combine(&[src, dst, len as u16, u16::from(protocol)])
}

/// Ethernet and IP headers.
fn ip(out: &mut Vec<u8>, src: (MacAddr, IpAddr), dst: (MacAddr, IpAddr), protocol: u8, len: usize) {
    out.extend(dst.0.0);
    out.extend(src.0.0);
    if src.1.is_ipv4() {
        out.extend(ETHERTYPE_IPV4.to_be_bytes());
        let start = out.len();
        out.extend([0x45, 0]);
        out.extend(((20 + len) as u16).to_be_bytes());
        out.extend([0, 0, 0x40, 0, TTL, protocol, 0, 0]);
        out.extend(octets(src.1));
        out.extend(octets(dst.1));
        let check = !sum(&out[start..]);
        out[start + 10..start + 12].copy_from_slice(&check.to_be_bytes());
    } else {
        out.extend(ETHERTYPE_IPV6.to_be_bytes());
        out.extend([0x60, 0, 0, 0]);
        out.extend((len as u16).to_be_bytes());
        out.extend([protocol, TTL]);
        out.extend(octets(src.1));
        out.extend(octets(dst.1));
    }
}

/// What a router answers to a packet that is too long for its next link (RFC 1191 section 4, RFC 4443 section 3.2).
/// `None`: the packet is short enough, or not IP.
pub(super) fn too_big(frame: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let layout = locate(frame).ok()?;
    let packet = &frame[ETHERNET..layout.end];
    if packet.len() <= usize::from(mtu) {
        return None;
    }
    let sender = MacAddr(frame[6..12].try_into().ok()?);
    let (src, dst) = (layout.src.ip(), layout.dst.ip());
    let v4 = src.is_ipv4();
    // As little as an old router gives back, in IPv4: the header and 8 bytes.
    let quoted = &packet[..if v4 { 28 } else { 88.min(packet.len()) }];
    let (protocol, kind) = if v4 { (ICMP, [3, 4]) } else { (ICMPV6, [2, 0]) };
    let mut message = vec![kind[0], kind[1], 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend_from_slice(quoted);
    let cover = if v4 {
        0
    } else {
        pseudo(dst, src, message.len(), ICMPV6)
    };
    let check = !combine(&[cover, sum(&message)]);
    message[2..4].copy_from_slice(&check.to_be_bytes());
    let mut out = Vec::new();
    // In the other end's name: who sends it counts for nothing.
    ip(
        &mut out,
        (ROUTER, dst),
        (sender, src),
        protocol,
        message.len(),
    );
    out.extend(message);
    Some(out)
}

/// What a scripted end finds in a frame.
#[derive(Debug)]
pub(super) enum Arrived {
    Segment(Arrival),
    /// One of its own segments was too big: its port, the other end's port, its sequence number, the way's MTU.
    TooBig {
        local: u16,
        remote: u16,
        seq: SeqNumber,
        mtu: u16,
    },
    /// The answer to a question for its address.
    Reply(Vec<u8>),
    Other,
}

/// A segment that came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) head: Head,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) data: Vec<u8>,
    pub(super) sack: Vec<(SeqNumber, SeqNumber)>,
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

/// Reads a frame as the host with this hardware and IP address does.
pub(super) fn read(frame: &mut [u8], own: (MacAddr, IpAddr)) -> Arrived {
    if frame.len() < ETHERNET + 20 {
        return Arrived::Other;
    }
    if be16(frame, 12) == ETHERTYPE_ARP {
        return arp(frame, own).map_or(Arrived::Other, Arrived::Reply);
    }
    if frame[..6] != own.0.0 {
        return Arrived::Other;
    }
    let (src, dst) = (MacAddr(frame[6..12].try_into().unwrap_or_default()), own.0);
    let Ok(layout) = locate(frame) else {
        return icmp(frame).unwrap_or(Arrived::Other);
    };
    let Ok(segment) = Segment::parse(frame, layout, &crate::frame::Offload::default()) else {
        return Arrived::Other;
    };
    let (head, data) = (*segment.head(), segment.payload().to_vec());
    let mut sack = Vec::new();
    if let Ok(tcp) = TcpPacket::new_checked(&segment.frame()[layout.l4..layout.end]) {
        for (_, option) in tcp.options().flatten() {
            if let TcpOption::Sack(blocks) = option {
                let edge = |bytes: &[u8], at| SeqNumber(be32(bytes, at));
                let blocks = blocks.0.chunks_exact(8);
                sack.extend(blocks.map(|block| (edge(block, 0), edge(block, 4))));
            }
        }
    }
    let address = |mac, socket| Address { mac, socket };
    Arrived::Segment(Arrival {
        head,
        from: address(src, layout.src),
        to: address(dst, layout.dst),
        data,
        sack,
    })
}

fn arp(frame: &[u8], (mac, ip): (MacAddr, IpAddr)) -> Option<Vec<u8>> {
    let IpAddr::V4(ip) = ip else { return None };
    let asked = be16(frame, 20) == 1 && frame.get(38..42) == Some(&ip.octets());
    asked.then(|| {
        let mut out = Vec::with_capacity(42);
        out.extend_from_slice(&frame[6..12]);
        out.extend(mac.0);
        out.extend_from_slice(&frame[12..20]);
        out.extend([0, 2]);
        out.extend(mac.0);
        out.extend(ip.octets());
        out.extend_from_slice(&frame[22..32]);
        out
    })
}

fn icmp(frame: &[u8]) -> Option<Arrived> {
    let v4 = be16(frame, 12) == ETHERTYPE_IPV4;
    let header = if v4 { 20 } else { 40 };
    let message = frame.get(ETHERNET + header..)?;
    let protocol = frame[ETHERNET + if v4 { 9 } else { 6 }];
    // IPv6 guards the message with the addresses.
    let cover = if v4 {
        0
    } else {
        let (len, addresses) = (
            message.len() as u16,
            sum(&frame[ETHERNET + 8..ETHERNET + 40]),
        );
        combine(&[addresses, len, u16::from(ICMPV6)])
    };
    if combine(&[cover, sum(message)]) != 0xffff
        || (v4 && sum(&frame[ETHERNET..ETHERNET + header]) != 0xffff)
    {
        return None;
    }
    let kind = message.get(..2)?;
    let ours = (protocol, kind) == (ICMP, &[3, 4]) || (protocol, kind) == (ICMPV6, &[2, 0]);
    let quoted = message.get(8..)?;
    let inner = if v4 {
        usize::from(quoted.first()? & 15) * 4
    } else {
        40
    };
    let tcp = quoted.get(inner..inner + 8)?;
    ours.then(|| Arrived::TooBig {
        local: be16(tcp, 0),
        remote: be16(tcp, 2),
        seq: SeqNumber(be32(tcp, 4)),
        mtu: be16(message, 6),
    })
}

/// Whether it opens a connection.
pub(super) fn is_syn(frame: &mut [u8]) -> bool {
    let Ok(layout) = locate(frame) else {
        return false;
    };
    let segment = Segment::parse(frame, layout, &Offload::default());
    segment.is_ok_and(|segment| {
        let flags = segment.head().flags;
        flags.has(Flags::SYN) && !flags.has(Flags::ACK)
    })
}

/// Whether a frame's TCP segment or IP header has a wrong checksum: its receiver will not take it, and the logger
/// passes it on.
pub(super) fn is_wrong(frame: &mut [u8]) -> bool {
    if frame.len() < ETHERNET + 20 || be16(frame, 12) == ETHERTYPE_ARP {
        return false;
    }
    locate(frame).map_or(true, |layout| {
        Segment::parse(frame, layout, &crate::frame::Offload::default()).is_err()
    })
}

/// One line of a frame.
pub(super) fn describe(frame: &[u8]) -> String {
    let Ok(layout) = locate(frame) else {
        let kind = frame.get(12..14).unwrap_or_default();
        return format!("{} bytes of type {kind:02x?}", frame.len());
    };
    let mut copy = frame.to_vec();
    let Ok(segment) = Segment::parse(&mut copy, layout, &crate::frame::Offload::default()) else {
        return "a bad segment".to_owned();
    };
    let head = segment.head();
    let names = [
        (Flags::SYN, 'S'),
        (Flags::FIN, 'F'),
        (Flags::RST, 'R'),
        (Flags::PSH, 'P'),
    ];
    let set = names.iter().filter(|name| head.flags.has(name.0));
    let flags: String = set.map(|name| name.1).collect();
    let stamps = head
        .options
        .timestamps
        .map(|stamps| (stamps.value, stamps.echo));
    format!(
        "{} > {} {flags} seq {} len {} ack {} win {} {stamps:?}",
        layout.src.port(),
        layout.dst.port(),
        head.seq,
        segment.payload().len(),
        head.ack,
        head.window,
    )
}
