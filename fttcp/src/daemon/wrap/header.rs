// SPDX-License-Identifier: GPL-3.0-only
//! The words at the beginning of a record (`guest-driver/wrap/src/record.rs` tells what each means).

/// As in the wrap's `record`.
const MAGIC: u64 = u64::from_le_bytes(*b"rxlwrap2");
/// Where the records begin.
pub(super) const HEADER: u64 = 128;
/// Numbers of the words that the logger writes, and orders.
pub(super) mod word {
    pub(in super::super) const BYTES: u64 = 1;
    pub(in super::super) const RECORDS: u64 = 2;
    pub(in super::super) const ORDER: u64 = 5;
    pub(in super::super) const TOLD: u64 = 6;
    pub(in super::super) const WANT: u64 = 10;
    pub(in super::super) const TELLING: u64 = 11;
}
pub(super) const LIVE: u64 = 1;
pub(super) const REPLAY: u64 = 2;
pub(super) const RECORDS: u64 = 0;
pub(super) const WAITS: u64 = 1;
pub(super) const REPLAYS: u64 = 2;

/// The words of a record's header that the logger reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// A program has begun its record here.
    pub(super) begun: bool,
    pub(super) bytes: u64,
    pub(super) records: u64,
    pub(super) calls: u64,
    pub(super) ended: bool,
    pub(super) order: u64,
    pub(super) told: u64,
    pub(super) state: u64,
    pub(super) generation: u64,
    /// Bytes that there is room for, the header's included; of a file: 0, it grows as it is written.
    pub(super) size: u64,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER as usize]) -> Self {
        let word = |index: usize| {
            let word = bytes
                .chunks_exact(8)
                .nth(index)
                .and_then(|it| it.first_chunk());
            word.map_or(0, |word| u64::from_le_bytes(*word))
        };
        Self {
            begun: word(0) == MAGIC,
            bytes: word(1),
            records: word(2),
            calls: word(3),
            ended: word(4) != 0,
            order: word(5),
            told: word(6),
            state: word(7),
            generation: word(8),
            size: word(9),
        }
    }

    /// Whether its program waits for an order. In memory that was granted, one that has not begun yet finds it when it does.
    pub(super) const fn waits(&self) -> bool {
        self.order == 0 && (self.state == WAITS || !self.begun)
    }
}
