// SPDX-License-Identifier: GPL-3.0-only
//! One TCP segment in its frame: found once, then edited in place with its checksum kept right.

use std::net::{IpAddr, SocketAddr};

use super::options::kind;
use super::tcp::field;
use super::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetFrame, Flags, Ipv4Packet, Ipv6Packet, OptionsRepr,
    SeqNumber, TcpOption, TcpPacket, WireError, be16, be32, checksum,
};
use crate::frame::Offload;

pub(super) const PROTOCOL_TCP: u8 = 6;
/// AE, beside the data offset; once the nonce sum (NS).
const ACCURATE_ECN: u8 = 0x01;

/// Where the parts of a TCP segment lie in its frame, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Start of the IP header.
    pub l3: usize,
    /// Start of the TCP header.
    pub l4: usize,
    /// End of the segment; padding may follow.
    pub end: usize,
    /// Sender.
    pub src: SocketAddr,
    /// Receiver.
    pub dst: SocketAddr,
}

/// Finds the TCP segment in a frame.
///
/// # Errors
/// It is not TCP, it is a fragment, or a header before TCP's ports is malformed. All such frames are passed on.
pub fn locate(frame: &[u8]) -> Result<Layout, WireError> {
    let ethernet = EthernetFrame::new_checked(frame)?;
    let l3 = ethernet.header_len();
    let (l4, end, src, dst): (usize, usize, IpAddr, IpAddr) = match ethernet.ethertype() {
        ETHERTYPE_IPV4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload())?;
            if ip.protocol() != PROTOCOL_TCP || ip.is_fragment() {
                return Err(WireError::NotTcp);
            }
            if !ip.verify_checksum() {
                return Err(WireError::Malformed);
            }
            (
                l3 + ip.header_len(),
                l3 + ip.total_len(),
                ip.src().into(),
                ip.dst().into(),
            )
        }
        ETHERTYPE_IPV6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload())?;
            let (protocol, at) = ip.upper()?;
            if protocol != PROTOCOL_TCP {
                return Err(WireError::NotTcp);
            }
            (
                l3 + at,
                l3 + ip.total_len(),
                ip.src().into(),
                ip.dst().into(),
            )
        }
        _ => return Err(WireError::NotTcp),
    };
    if end < l4 + field::MIN {
        return Err(WireError::Truncated);
    }
    Ok(Layout {
        l3,
        l4,
        end,
        src: SocketAddr::new(src, be16(frame, l4 + field::SRC)),
        dst: SocketAddr::new(dst, be16(frame, l4 + field::DST)),
    })
}

/// The fields of a segment's header, copied out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Sequence number.
    pub seq: SeqNumber,
    /// Acknowledgement number.
    pub ack: SeqNumber,
    /// Flags.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Urgent pointer: how far behind the sequence number the urgent data ends; 0 without URG.
    pub urgent: u16,
    /// The options that the engine knows.
    pub options: OptionsRepr,
    /// It carries a signature (MD5 or AO).
    pub signed: bool,
}

/// A TCP segment in a frame, with a right checksum and well-formed options.
#[derive(Debug)]
pub struct Segment<'a> {
    frame: &'a mut [u8],
    layout: Layout,
    head: Head,
    payload: usize,
    partial: bool,
}

impl<'a> Segment<'a> {
    /// Reads the header and verifies the checksum, unless the kernel has done so or is to complete it.
    ///
    /// # Errors
    /// A wrong checksum, or malformed options.
    pub fn parse(
        frame: &'a mut [u8],
        layout: Layout,
        offload: &Offload,
    ) -> Result<Self, WireError> {
        let tcp = TcpPacket::new_checked(&frame[layout.l4..layout.end])?;
        let partial = offload.partial_checksum.is_some();
        if !partial && !offload.checksum_valid {
            let pseudo = pseudo_sum(layout.src.ip(), layout.dst.ip(), layout.end - layout.l4);
            let data = checksum::sum(&frame[layout.l4..layout.end]);
            if checksum::combine(&[pseudo, data]) != 0xffff {
                return Err(WireError::Malformed);
            }
        }
        let mut head = Head {
            seq: tcp.seq(),
            ack: tcp.ack(),
            flags: tcp.flags(),
            window: tcp.window(),
            urgent: if tcp.flags().has(Flags::URG) {
                tcp.urgent()
            } else {
                0
            },
            options: OptionsRepr::default(),
            signed: false,
        };
        let payload = layout.l4 + tcp.header_len();
        for option in tcp.options() {
            match option?.1 {
                TcpOption::MaxSegmentSize(mss) => head.options.mss = Some(mss),
                TcpOption::WindowScale(scale) => head.options.window_scale = Some(scale),
                TcpOption::SackPermitted => head.options.sack_permitted = true,
                TcpOption::Timestamps(stamps) => head.options.timestamps = Some(stamps),
                TcpOption::Signed => head.signed = true,
                TcpOption::Sack(_) | TcpOption::Stateful | TcpOption::Unknown(_) => {}
            }
        }
        Ok(Self {
            frame,
            layout,
            head,
            payload,
            partial,
        })
    }

    /// The header as it came.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Where the parts are.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The data.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.payload..self.layout.end]
    }

    /// The Ethernet header.
    ///
    /// # Panics
    /// Never: the frame was checked when it was located.
    #[must_use]
    pub fn ethernet(&self) -> EthernetFrame<&[u8]> {
        EthernetFrame::new_checked(&*self.frame).expect("checked by locate")
    }

    /// The whole frame.
    #[must_use]
    pub const fn frame(&self) -> &[u8] {
        self.frame
    }

    /// Replaces bytes of the segment at `at` (from the start of the frame) and fixes the checksum.
    fn replace(&mut self, at: usize, new: &[u8]) {
        let range = at..at + new.len();
        if !self.partial {
            let field = self.layout.l4 + field::CHECKSUM;
            let odd = (at - self.layout.l4) % 2 == 1;
            let check = checksum::update(
                be16(self.frame, field),
                &self.frame[range.clone()],
                new,
                odd,
            );
            self.frame[field..field + 2].copy_from_slice(&check.to_be_bytes());
        }
        self.frame[range].copy_from_slice(new);
    }

    /// Sets the sender's port.
    pub fn set_src_port(&mut self, port: u16) {
        if port != self.layout.src.port() {
            self.layout.src.set_port(port);
            self.replace(self.layout.l4 + field::SRC, &port.to_be_bytes());
        }
    }

    /// Sets the receiver's port.
    pub fn set_dst_port(&mut self, port: u16) {
        if port != self.layout.dst.port() {
            self.layout.dst.set_port(port);
            self.replace(self.layout.l4 + field::DST, &port.to_be_bytes());
        }
    }

    /// Sets the sequence number.
    pub fn set_seq(&mut self, seq: SeqNumber) {
        if seq != self.head.seq {
            self.head.seq = seq;
            self.replace(self.layout.l4 + field::SEQ, &seq.0.to_be_bytes());
        }
    }

    /// Sets the acknowledgement number.
    pub fn set_ack(&mut self, ack: SeqNumber) {
        if ack != self.head.ack {
            self.head.ack = ack;
            self.replace(self.layout.l4 + field::ACK, &ack.0.to_be_bytes());
        }
    }

    /// Sets the window field.
    pub fn set_window(&mut self, window: u16) {
        if window != self.head.window {
            self.head.window = window;
            self.replace(self.layout.l4 + field::WINDOW, &window.to_be_bytes());
        }
    }

    /// Sets the flags.
    pub fn set_flags(&mut self, flags: Flags) {
        if flags != self.head.flags {
            self.head.flags = flags;
            self.replace(self.layout.l4 + field::FLAGS, &[flags.0]);
        }
    }

    /// Replaces data bytes, `at` bytes into the data. What would run over the end is left out.
    pub fn set_payload(&mut self, at: usize, bytes: &[u8]) {
        let len = self.payload().len();
        if at < len {
            self.replace(self.payload + at, &bytes[..bytes.len().min(len - at)]);
        }
    }

    fn for_each_option(&mut self, mut edit: impl FnMut(&mut Self, usize, TcpOption<'_>, usize)) {
        // At most 40 bytes of options: a copy lets the segment be edited while they are walked.
        let start = self.layout.l4 + field::MIN;
        let mut copy = [0u8; 40];
        let bytes = &self.frame[start..self.payload];
        let len = bytes.len().min(copy.len());
        copy[..len].copy_from_slice(&bytes[..len]);
        for (range, option) in super::Options::new(&copy[..len]).flatten() {
            edit(self, start + range.start, option, range.len());
        }
    }

    /// Maps the timestamps, if there are any.
    pub fn map_timestamps(&mut self, value: impl Fn(u32) -> u32, echo: impl Fn(u32) -> u32) {
        self.for_each_option(|segment, at, option, _| {
            if let TcpOption::Timestamps(mut stamps) = option {
                stamps.value = value(stamps.value);
                stamps.echo = echo(stamps.echo);
                let mut bytes = [0u8; 8];
                bytes[..4].copy_from_slice(&stamps.value.to_be_bytes());
                bytes[4..].copy_from_slice(&stamps.echo.to_be_bytes());
                segment.replace(at + 2, &bytes);
                segment.head.options.timestamps = Some(stamps);
            }
        });
    }

    /// Subtracts `delta` from both edges of every SACK block.
    pub fn shift_sack(&mut self, delta: u32) {
        self.for_each_option(|segment, at, option, _| {
            if let TcpOption::Sack(blocks) = option {
                let mut bytes = [0u8; 32];
                let len = blocks.0.len().min(bytes.len());
                for edge in (0..len).step_by(4) {
                    let shifted = be32(blocks.0, edge).wrapping_sub(delta);
                    bytes[edge..edge + 4].copy_from_slice(&shifted.to_be_bytes());
                }
                segment.replace(at + 2, &bytes[..len]);
            }
        });
    }

    /// Overwrites with NOPs the options that must not be negotiated through a rewriter (TFO, MPTCP, ENO, the
    /// experimental kinds). Says whether there were any.
    pub fn strip_stateful(&mut self) -> bool {
        self.strip(|option| *option == TcpOption::Stateful)
    }

    /// Overwrites with NOPs the options of which it is not known whether they mean anything to another server.
    /// Says whether there were any.
    pub fn strip_unknown(&mut self) -> bool {
        self.strip(|option| matches!(option, TcpOption::Stateful | TcpOption::Unknown(_)))
    }

    fn strip(&mut self, unwanted: impl Fn(&TcpOption<'_>) -> bool) -> bool {
        let mut found = false;
        self.for_each_option(|segment, at, option, len| {
            if unwanted(&option) {
                segment.replace(at, &[kind::NOP; 40][..len.min(40)]);
                found = true;
            }
        });
        found
    }

    /// Lowers the MSS option to `max`, if there is one and it is higher.
    pub fn clamp_mss(&mut self, max: u16) {
        self.for_each_option(|segment, at, option, _| {
            if let TcpOption::MaxSegmentSize(mss) = option
                && mss > max
            {
                segment.replace(at + 2, &max.to_be_bytes());
                segment.head.options.mss = Some(max);
            }
        });
    }

    /// Clears the AE flag (RFC 9768 section 3.1), so that a SYN asks for the ECN of RFC 3168 at most.
    pub fn strip_accurate_ecn(&mut self) {
        let at = self.layout.l4 + field::OFFSET;
        let byte = self.frame[at];
        if byte & ACCURATE_ECN != 0 {
            self.replace(at, &[byte & !ACCURATE_ECN]);
        }
    }
}

/// Sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub(super) fn pseudo_sum(src: IpAddr, dst: IpAddr, len: usize) -> u16 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => checksum::sum(&ip.octets()),
        IpAddr::V6(ip) => checksum::sum(&ip.octets()),
    };
    checksum::combine(&[
        address(src),
        address(dst),
        (len >> 16) as u16,
        len as u16,
        u16::from(PROTOCOL_TCP),
    ])
}

#[cfg(test)]
mod tests;
