// SPDX-License-Identifier: GPL-3.0-only
//! TCP sequence numbers: 32 bits, modular (RFC 9293 section 3.4).

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A sequence number. There is no order on them, only the signed distance between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// How far `self` is ahead of `other`; negative if behind. Meaningful within 2^31.
    #[must_use]
    pub const fn ahead_of(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The position in the byte stream whose byte 0 follows `isn`, taken as the one nearest to `near`.
    ///
    /// Negative for what lies before byte 0: the SYN itself is -1.
    #[must_use]
    pub const fn position(self, isn: Self, near: u64) -> i64 {
        let expected = isn.0.wrapping_add(1).wrapping_add(near as u32);
        near.cast_signed() + self.0.wrapping_sub(expected).cast_signed() as i64
    }

    /// The sequence number of byte `position` of the stream whose byte 0 follows `isn`.
    #[must_use]
    pub const fn at(isn: Self, position: u64) -> Self {
        Self(isn.0.wrapping_add(1).wrapping_add(position as u32))
    }
}

impl Add<u32> for SeqNumber {
    type Output = Self;
    fn add(self, by: u32) -> Self {
        Self(self.0.wrapping_add(by))
    }
}

impl Sub<u32> for SeqNumber {
    type Output = Self;
    fn sub(self, by: u32) -> Self {
        Self(self.0.wrapping_sub(by))
    }
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_21_distance_across_the_wrap_is_small() {
        assert_eq!(SeqNumber(5).ahead_of(SeqNumber(u32::MAX - 4)), 10);
        assert_eq!(SeqNumber(u32::MAX - 4).ahead_of(SeqNumber(5)), -10);
    }

    #[test]
    fn position_round_trips_over_many_wraps() {
        let isn = SeqNumber(u32::MAX - 1000);
        for position in [0, 1, 999, 1000, 1001, 1 << 31, 1 << 32, (1 << 40) + 17] {
            let seq = SeqNumber::at(isn, position);
            assert_eq!(seq.position(isn, position), position.cast_signed());
            assert_eq!(seq.position(isn, position + 70_000), position.cast_signed());
            assert_eq!(
                seq.position(isn, position.saturating_sub(70_000)),
                position.cast_signed()
            );
        }
        assert_eq!(isn.position(isn, 0), -1);
    }
}
