// SPDX-License-Identifier: GPL-3.0-only
//! Ethernet II, with up to two VLAN tags (IEEE 802.1Q, 802.1ad).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{WireError, be16};

/// Ethertype of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

mod field {
    pub(super) const DST: std::ops::Range<usize> = 0..6;
    pub(super) const SRC: std::ops::Range<usize> = 6..12;
    pub(super) const TYPE: usize = 12;
    pub(super) const TAG: usize = 4;
}

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A view of an Ethernet frame.
#[derive(Debug)]
pub struct EthernetFrame<T> {
    bytes: T,
    header: usize,
}

impl<T: AsRef<[u8]>> EthernetFrame<T> {
    /// Checks that the header with its VLAN tags is whole.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn new_checked(bytes: T) -> Result<Self, WireError> {
        let data = bytes.as_ref();
        let mut header = field::TYPE + 2;
        for _ in 0..2 {
            if data.len() >= header && VLAN_TAGS.contains(&be16(data, header - 2)) {
                header += field::TAG;
            }
        }
        if data.len() < header {
            return Err(WireError::Truncated);
        }
        Ok(Self { bytes, header })
    }

    /// Destination address.
    pub fn dst(&self) -> MacAddr {
        let mut mac = [0; 6];
        mac.copy_from_slice(&self.bytes.as_ref()[field::DST]);
        MacAddr(mac)
    }

    /// Source address.
    pub fn src(&self) -> MacAddr {
        let mut mac = [0; 6];
        mac.copy_from_slice(&self.bytes.as_ref()[field::SRC]);
        MacAddr(mac)
    }

    /// The VLAN tags, outermost first, 4 bytes each; empty if there are none.
    pub fn tags(&self) -> &[u8] {
        &self.bytes.as_ref()[field::TYPE..self.header - 2]
    }

    /// What the payload is, after any tags.
    pub fn ethertype(&self) -> u16 {
        be16(self.bytes.as_ref(), self.header - 2)
    }

    /// Length of the header with its tags.
    pub const fn header_len(&self) -> usize {
        self.header
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[self.header..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_vlan_tags_are_skipped_and_kept() {
        let mut frame = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        frame.extend([0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 0x08, 0x00, 0xaa]);
        let view = EthernetFrame::new_checked(&frame).unwrap();
        assert_eq!(view.ethertype(), ETHERTYPE_IPV4);
        assert_eq!(view.tags(), [0x88, 0xa8, 0, 5, 0x81, 0, 0, 7]);
        assert_eq!(view.payload(), [0xaa]);
        assert_eq!(view.dst().to_string(), "01:02:03:04:05:06");
        assert_eq!(view.src(), MacAddr([7, 8, 9, 10, 11, 12]));
    }

    #[test]
    fn short_frames_are_refused_at_every_length() {
        let frame = [0u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 7, 0x08, 0];
        for len in 0..frame.len() {
            assert_eq!(
                EthernetFrame::new_checked(&frame[..len]).err(),
                Some(WireError::Truncated)
            );
        }
        assert!(EthernetFrame::new_checked(&frame[..]).is_ok());
    }
}
