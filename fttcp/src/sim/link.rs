// SPDX-License-Identifier: GPL-3.0-only
//! Links: what happens to a frame on its way in one direction.

use super::Rng;
use super::frames::too_big;
use crate::wire::ETHERTYPE_ARP;

/// How a link treats frames in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Least delay, in microseconds.
    pub delay_us: u64,
    /// Frames lost, in a thousand.
    pub loss: u64,
    /// Frames duplicated, in a thousand.
    pub duplicate: u64,
    /// Frames that are held up and so come out of order, in a thousand.
    pub reorder: u64,
    /// Frames of which up to 15 adjacent bits are changed, in a thousand: few enough for the checksum to tell.
    pub corrupt: u64,
    /// A time in which nothing passes.
    pub dark: Option<Dark>,
    /// A router with a narrower way behind it.
    pub narrow: Option<Narrow>,
}

/// A link goes dark for a while; times in microseconds from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dark {
    /// When.
    pub from_us: u64,
    /// For how long.
    pub for_us: u64,
}

/// From a moment on, IP packets longer than this are dropped, and their sender is told so by ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrow {
    /// When, in microseconds from the start.
    pub from_us: u64,
    /// Longest IP packet, in bytes.
    pub mtu: u16,
}

/// The two directions of a link, as the logger sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// To the logger.
    pub to: Link,
    /// From the logger.
    pub from: Link,
}

impl Link {
    /// A link that loses nothing.
    #[must_use]
    pub const fn clean(delay_us: u64) -> Self {
        Self {
            delay_us,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            corrupt: 0,
            dark: None,
            narrow: None,
        }
    }

    /// Sends a frame at a time from the start: the copies that arrive, each with its delay; and what comes back to
    /// the sender.
    pub(super) fn carry(
        &self,
        rng: &mut Rng,
        at_us: u64,
        frame: Vec<u8>,
        arrives: &mut Vec<(u64, Vec<u8>)>,
    ) -> Option<Vec<u8>> {
        if let Some(dark) = self.dark
            && at_us.wrapping_sub(dark.from_us) < dark.for_us
        {
            return None;
        }
        if let Some(narrow) = self.narrow
            && at_us >= narrow.from_us
            && let Some(answer) = too_big(&frame, narrow.mtu)
        {
            return Some(answer);
        }
        if rng.permille(self.duplicate) {
            self.pass(rng, frame.clone(), arrives);
        }
        self.pass(rng, frame, arrives);
        None
    }

    fn pass(&self, rng: &mut Rng, mut frame: Vec<u8>, arrives: &mut Vec<(u64, Vec<u8>)>) {
        if rng.permille(self.loss) {
            return;
        }
        // Once only: what a second corruption makes good again for the checksum, no one can tell.
        if rng.permille(self.corrupt) && !super::frames::is_wrong(&mut frame) {
            corrupt(rng, &mut frame);
        }
        let late = rng.permille(self.reorder);
        let extra = if late {
            rng.below(4 * self.delay_us)
        } else {
            0
        };
        arrives.push((self.delay_us + extra, frame));
    }
}

/// Flips some of up to 15 adjacent bits of an IP packet (a frame check sequence guards a single hop, not what a router
/// has in its memory; address resolution does not go through routers).
fn corrupt(rng: &mut Rng, frame: &mut [u8]) {
    const ETHERNET: usize = 14;
    if frame.get(12..14) == Some(&ETHERTYPE_ARP.to_be_bytes()) {
        return;
    }
    let Some(bits) = frame.len().checked_sub(ETHERNET).map(|bytes| bytes * 8) else {
        return;
    };
    let first = rng.below(bits as u64) as usize;
    let pattern = 1 | rng.bits() as u16 & 0x7fff;
    for bit in (0..15).filter(|bit| pattern & 1 << bit != 0) {
        let at = first + bit;
        if at < bits {
            frame[ETHERNET + at / 8] ^= 0x80 >> (at % 8);
        }
    }
}

impl Wire {
    /// Two directions that lose nothing.
    #[must_use]
    pub const fn clean(delay_us: u64) -> Self {
        Self::same(Link::clean(delay_us))
    }

    /// Two directions alike.
    #[must_use]
    pub const fn same(link: Link) -> Self {
        Self {
            to: link,
            from: link,
        }
    }
}
