// SPDX-License-Identifier: GPL-3.0-only
//! IPv6 (RFC 8200), with the extension headers that may stand before TCP.

use std::net::Ipv6Addr;

use super::{WireError, be16};

mod field {
    pub(super) const LENGTH: usize = 4;
    pub(super) const NEXT: usize = 6;
    pub(super) const SRC: usize = 8;
    pub(super) const DST: usize = 24;
    pub(super) const HEADER: usize = 40;
}

const HOP_BY_HOP: u8 = 0;
const DESTINATION: u8 = 60;
/// Most extension headers walked; a packet with more is none that TCP sends.
const MAX_EXTENSIONS: usize = 8;

/// A view of an IPv6 packet.
#[derive(Debug)]
pub struct Ipv6Packet<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Ipv6Packet<T> {
    /// Checks version and length. Padding after the packet is allowed; jumbograms are refused.
    ///
    /// # Errors
    /// The bytes are too few, or the version is not 6.
    pub fn new_checked(bytes: T) -> Result<Self, WireError> {
        let packet = Self::new_quoted(bytes)?;
        if packet.total_len() > packet.bytes.as_ref().len() {
            return Err(WireError::Truncated);
        }
        Ok(packet)
    }

    /// A packet whose end may be missing, as an ICMP error quotes it: only its fixed header is whole.
    ///
    /// # Errors
    /// The bytes are too few for the header, or the version is not 6.
    pub fn new_quoted(bytes: T) -> Result<Self, WireError> {
        let data = bytes.as_ref();
        if data.len() < field::HEADER {
            return Err(WireError::Truncated);
        }
        if data[0] >> 4 != 6 {
            return Err(WireError::Malformed);
        }
        Ok(Self { bytes })
    }

    /// Length of the packet with its header.
    pub fn total_len(&self) -> usize {
        field::HEADER + usize::from(be16(self.bytes.as_ref(), field::LENGTH))
    }

    fn address(&self, at: usize) -> Ipv6Addr {
        let mut octets = [0u8; 16];
        octets.copy_from_slice(&self.bytes.as_ref()[at..at + 16]);
        Ipv6Addr::from(octets)
    }

    /// Source address.
    pub fn src(&self) -> Ipv6Addr {
        self.address(field::SRC)
    }

    /// Destination address.
    pub fn dst(&self) -> Ipv6Addr {
        self.address(field::DST)
    }

    /// Protocol and offset of the upper layer, behind hop-by-hop and destination options.
    ///
    /// Stops at the first other header: for a fragment or a routing header it gives that header, so that such a
    /// packet is not taken for TCP.
    ///
    /// # Errors
    /// An extension header runs over the end.
    pub fn upper(&self) -> Result<(u8, usize), WireError> {
        let data = self.bytes.as_ref();
        let data = &data[..self.total_len().min(data.len())];
        let (mut next, mut at) = (data[field::NEXT], field::HEADER);
        for _ in 0..MAX_EXTENSIONS {
            if next != HOP_BY_HOP && next != DESTINATION {
                return Ok((next, at));
            }
            if at + 8 > data.len() {
                return Err(WireError::Truncated);
            }
            next = data[at];
            at += (usize::from(data[at + 1]) + 1) * 8;
            if at > data.len() {
                return Err(WireError::Truncated);
            }
        }
        Err(WireError::Malformed)
    }
}
