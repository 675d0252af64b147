// SPDX-License-Identifier: GPL-3.0-only
//! The TCP header (RFC 9293 section 3.1).

use serde::{Deserialize, Serialize};

use super::{Options, SeqNumber, WireError, be16, be32};

pub(super) mod field {
    pub(crate) const SRC: usize = 0;
    pub(crate) const DST: usize = 2;
    pub(crate) const SEQ: usize = 4;
    pub(crate) const ACK: usize = 8;
    pub(crate) const OFFSET: usize = 12;
    pub(crate) const FLAGS: usize = 13;
    pub(crate) const WINDOW: usize = 14;
    pub(crate) const CHECKSUM: usize = 16;
    pub(crate) const URGENT: usize = 18;
    pub(crate) const MIN: usize = 20;
}

/// The flag bits of byte 13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data.
    pub const FIN: Self = Self(0x01);
    /// Begin.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid (RFC 6093).
    pub const URG: Self = Self(0x20);
    /// Congestion was experienced; on a SYN, ECN is understood (RFC 3168 section 6.1).
    pub const ECE: Self = Self(0x40);
    /// The congestion window was reduced; on a SYN, ECN is asked for.
    pub const CWR: Self = Self(0x80);

    /// Whether any bit of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// With the bits of `other` set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With the bits of `other` cleared.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A view of a TCP segment.
#[derive(Debug)]
pub struct TcpPacket<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> TcpPacket<T> {
    /// Checks that the header with its options is whole. `bytes` must end where the segment ends.
    ///
    /// # Errors
    /// The bytes are too few, or the data offset is impossible.
    pub fn new_checked(bytes: T) -> Result<Self, WireError> {
        let data = bytes.as_ref();
        if data.len() < field::MIN {
            return Err(WireError::Truncated);
        }
        let packet = Self { bytes };
        if packet.header_len() < field::MIN {
            return Err(WireError::Malformed);
        }
        if packet.header_len() > packet.bytes.as_ref().len() {
            return Err(WireError::Truncated);
        }
        Ok(packet)
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        be16(self.bytes.as_ref(), field::SRC)
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        be16(self.bytes.as_ref(), field::DST)
    }

    /// Sequence number.
    pub fn seq(&self) -> SeqNumber {
        SeqNumber(be32(self.bytes.as_ref(), field::SEQ))
    }

    /// Acknowledgement number; meaningful with [`Flags::ACK`].
    pub fn ack(&self) -> SeqNumber {
        SeqNumber(be32(self.bytes.as_ref(), field::ACK))
    }

    /// Flags.
    pub fn flags(&self) -> Flags {
        Flags(self.bytes.as_ref()[field::FLAGS])
    }

    /// Window, unscaled.
    pub fn window(&self) -> u16 {
        be16(self.bytes.as_ref(), field::WINDOW)
    }

    /// Urgent pointer; meaningful with [`Flags::URG`].
    pub fn urgent(&self) -> u16 {
        be16(self.bytes.as_ref(), field::URGENT)
    }

    /// Checksum field.
    pub fn checksum(&self) -> u16 {
        be16(self.bytes.as_ref(), field::CHECKSUM)
    }

    /// Length of the header with options.
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes.as_ref()[field::OFFSET] >> 4) * 4
    }

    /// The options.
    pub fn options(&self) -> Options<'_> {
        Options::new(&self.bytes.as_ref()[field::MIN..self.header_len()])
    }

    /// The data.
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[self.header_len()..]
    }
}
