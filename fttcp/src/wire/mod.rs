// SPDX-License-Identifier: GPL-3.0-only
//! Frames as bytes: checked views, in-place editing with incremental checksums, and building.
//!
//! One file per protocol. A view's `new_checked` verifies all lengths once; its accessors are then total.
//! [`Segment`] is what the engine works with: one TCP segment in its frame, found once, edited in place.

mod build;
mod checksum;
mod ethernet;
mod fragment;
mod icmp;
mod ipv4;
mod ipv6;
mod options;
mod segment;
mod seq;
mod tcp;

pub use build::{Address, SegmentRepr, arp_request, neighbour_solicitation};
pub use checksum::{combine, sum, update};
pub use ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetFrame, MacAddr};
pub use fragment::{Fragment, join, locate_fragment, split};
pub use icmp::{IcmpError, IcmpKind, TooBigRepr, locate_icmp};
pub use ipv4::Ipv4Packet;
pub use ipv6::Ipv6Packet;
pub use options::{Options, OptionsRepr, SackBlocks, TcpOption, Timestamps};
pub use segment::{Head, Layout, Segment, locate};
pub use seq::SeqNumber;
pub use tcp::{Flags, TcpPacket};

/// A frame is not what its headers claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the header or the length that it gives.
    #[error("the frame is cut short")]
    Truncated,
    /// A header field has a value that no valid frame has.
    #[error("a header field is malformed")]
    Malformed,
    /// Valid, but not a TCP segment (or a fragment of one).
    #[error("not a whole TCP segment")]
    NotTcp,
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
