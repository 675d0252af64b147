// SPDX-License-Identifier: GPL-3.0-only
//! Timestamps (RFC 7323): which is newer, and a replacement's clock as the client knows it.
//!
//! All arithmetic is modular, so "newer" means something only while less than half the circle passes. Two things
//! keep it so: after a long silence any timestamp counts as newer, and the oldest that a replacement may have sent
//! follows its clock.

use std::time::Duration;

use super::{Connection, Mapping};
use crate::frame::Time;

/// How long a silence may be before a clock of microseconds may have gone half around (`TCP_PAWS_WRAP` of Linux; for
/// one of milliseconds RFC 7323 section 5.5 has 24 days).
const HALF_AROUND: Duration = Duration::from_secs(i32::MAX as u64 / 1_000_000);

/// How far the oldest timestamp that is mapped as it is may lie behind the newest.
const MEMORY: u32 = 1 << 30;

/// Whether `a` is newer than `b`.
pub(crate) const fn newer(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

impl Mapping {
    /// The replacement's clock shows `value`; `silent`: after so long a silence that anything is newer.
    pub(crate) fn note_clock(&mut self, value: u32, silent: bool) {
        if silent || newer(value, self.ts_last) {
            self.ts_last = value;
            let oldest = value.wrapping_sub(MEMORY);
            if silent || newer(oldest, self.ts_first) {
                self.ts_first = oldest;
            }
        }
    }

    /// The replacement's timestamp as the client is to see it. Never before the first that it saw.
    pub(crate) const fn stamp_for_client(&self, value: u32) -> u32 {
        let value = if newer(self.ts_first, value) {
            self.ts_first
        } else {
            value
        };
        value.wrapping_add(self.ts_delta)
    }

    /// The client's echo as the replacement is to see it: one of a dead server's clock becomes the first of its own.
    pub(crate) const fn echo_for_server(&self, echo: u32) -> u32 {
        let echo = echo.wrapping_sub(self.ts_delta);
        if newer(self.ts_first, echo) {
            self.ts_first
        } else {
            echo
        }
    }
}

impl Connection {
    /// The client has been silent for so long that clocks may have gone half around.
    pub(crate) fn was_silent(&self, now: Time) -> bool {
        now.since(self.active) > HALF_AROUND
    }
}
