// SPDX-License-Identifier: GPL-3.0-only
//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use super::{WireError, be16, be32, checksum};

mod field {
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const LENGTH: usize = 2;
    pub(super) const ID: usize = 4;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const SRC: usize = 12;
    pub(super) const DST: usize = 16;
    pub(super) const MIN: usize = 20;
}

/// A view of an IPv4 packet.
#[derive(Debug)]
pub struct Ipv4Packet<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Ipv4Packet<T> {
    /// Checks version, header length and total length. Padding after the packet is allowed.
    ///
    /// # Errors
    /// The bytes are too few, or a length field is impossible.
    pub fn new_checked(bytes: T) -> Result<Self, WireError> {
        let packet = Self::new_quoted(bytes)?;
        if packet.total_len() > packet.bytes.as_ref().len() {
            return Err(WireError::Truncated);
        }
        Ok(packet)
    }

    /// A packet whose end may be missing, as an ICMP error quotes it: only its header is whole.
    ///
    /// # Errors
    /// The bytes are too few for the header, or a length field is impossible.
    pub fn new_quoted(bytes: T) -> Result<Self, WireError> {
        let data = bytes.as_ref();
        if data.len() < field::MIN {
            return Err(WireError::Truncated);
        }
        let packet = Self { bytes };
        let data = packet.bytes.as_ref();
        if data[field::VERSION_IHL] >> 4 != 4
            || packet.header_len() < field::MIN
            || packet.total_len() < packet.header_len()
        {
            return Err(WireError::Malformed);
        }
        if packet.header_len() > data.len() {
            return Err(WireError::Truncated);
        }
        Ok(packet)
    }

    /// Length of the header with options.
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes.as_ref()[field::VERSION_IHL] & 0x0f) * 4
    }

    /// Length of the packet.
    pub fn total_len(&self) -> usize {
        usize::from(be16(self.bytes.as_ref(), field::LENGTH))
    }

    /// Whether this is one fragment of a packet.
    pub fn is_fragment(&self) -> bool {
        be16(self.bytes.as_ref(), field::FRAGMENT) & 0x3fff != 0
    }

    /// Where this fragment's payload belongs in the packet's, in bytes.
    pub fn fragment_offset(&self) -> usize {
        usize::from(be16(self.bytes.as_ref(), field::FRAGMENT) & 0x1fff) * 8
    }

    /// Whether fragments follow this one.
    pub fn more_fragments(&self) -> bool {
        be16(self.bytes.as_ref(), field::FRAGMENT) & 0x2000 != 0
    }

    /// Identification of the packet, the same in all its fragments.
    pub fn id(&self) -> u16 {
        be16(self.bytes.as_ref(), field::ID)
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> u8 {
        self.bytes.as_ref()[field::PROTOCOL]
    }

    /// Source address.
    pub fn src(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(be32(self.bytes.as_ref(), field::SRC))
    }

    /// Destination address.
    pub fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(be32(self.bytes.as_ref(), field::DST))
    }

    /// Whether the header's checksum is right.
    pub fn verify_checksum(&self) -> bool {
        checksum::sum(&self.bytes.as_ref()[..self.header_len()]) == 0xffff
    }

    /// What follows the header; of a quoted packet, what there is of it.
    pub fn payload(&self) -> &[u8] {
        let data = self.bytes.as_ref();
        &data[self.header_len()..self.total_len().min(data.len())]
    }
}
