// SPDX-License-Identifier: GPL-3.0-only
//! How often and how long everything is measured.

use std::time::Duration;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Plan {
    /// Rounds; in each, every peer is measured once.
    pub(in crate::bench) rounds: usize,
    /// How long one run transfers, connects or exchanges.
    pub(in crate::bench) run: Duration,
    /// How long one run of wrk lasts, in seconds.
    pub(in crate::bench) web: u32,
    /// Bytes of one upload over an unshaped path.
    pub(in crate::bench) upload: u64,
    /// Bytes of one upload over a line of 1 Gbit/s.
    pub(in crate::bench) shaped_upload: u64,
    /// Idle connections.
    pub(in crate::bench) idle: usize,
    /// Failovers with one download.
    pub(in crate::bench) failovers: usize,
    /// Downloads at the same time, and failovers with them.
    pub(in crate::bench) crowd: usize,
    pub(in crate::bench) crowd_failovers: usize,
    /// Bytes of a file that goes through a proxy or comes by FTP.
    pub(in crate::bench) file: usize,
}

impl Plan {
    /// For numbers: about ten minutes.
    pub(in crate::bench) const FULL: Self = Self {
        rounds: 7,
        run: Duration::from_millis(1000),
        web: 2,
        upload: 1 << 30,
        shaped_upload: 125_000_000,
        idle: 10_000,
        failovers: 40,
        crowd: 500,
        crowd_failovers: 4,
        file: 100_000_000,
    };
    /// Shows that everything works: about a minute.
    pub(in crate::bench) const QUICK: Self = Self {
        rounds: 2,
        run: Duration::from_millis(200),
        web: 1,
        upload: 64 << 20,
        shaped_upload: 25_000_000,
        idle: 1000,
        failovers: 3,
        crowd: 50,
        crowd_failovers: 1,
        file: 10_000_000,
    };
}
