// SPDX-License-Identifier: GPL-3.0-only
//! The record stream: a tag, numbers as LEB128 (signed ones zigzag), bytes with their length before them.
//!
//! The file begins with [`HEADER`] bytes of little-endian words of 8 bytes, of which [`word`] tells the meaning. Who reads along
//! sees only complete records below the word [`word::BYTES`]. The logger's side of this is `fttcp::daemon::wrap`, which has the
//! same words.
//!
//! An *area* is the same in memory that an agent gives, and that the logger in another domain reads and writes. Which clients
//! come again, which has a file of its own beside a record's file, stands in it behind the records, at the next
//! multiple of 8 bytes: a word with its length, then the text. Nothing is recorded while the logger may write there.

/// First word of the file: `rxlwrap2`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"rxlwrap2");
/// Where the records begin.
pub const HEADER: usize = 128;

/// The words of the header.
pub mod word {
    /// [`super::MAGIC`]; written last, when the others are valid.
    pub const MAGIC: usize = 0;
    /// Bytes of records that are complete.
    pub const BYTES: usize = 1;
    /// How many records these are.
    pub const RECORDS: usize = 2;
    /// System calls that recording has cost.
    pub const CALLS: usize = 3;
    /// 1: the recording has ended before the program.
    pub const ENDED: usize = 4;
    /// The logger's: what a program that waits is to do; see [`super::order`].
    pub const ORDER: usize = 5;
    /// The logger's: how often it has told which connections come again.
    pub const TOLD: usize = 6;
    /// See [`super::state`].
    pub const STATE: usize = 7;
    /// Another number for each program that began this file.
    pub const GENERATION: usize = 8;
    /// In an area, the agent's: how many bytes of it exist. It only grows; 0: not told yet.
    pub const SIZE: usize = 9;
    /// In an area, the logger's: how many bytes it wants to exist.
    pub const WANT: usize = 10;
    /// In an area, the logger's: what [`TOLD`] will be when the text of clients is whole. A logger that has written this looks at
    /// [`STATE`] once more: where a program records, it writes no text, and [`TOLD`] at once.
    pub const TELLING: usize = 11;
}

/// What the logger orders ([`word::ORDER`]).
pub mod order {
    /// Nothing yet.
    pub const NONE: u64 = 0;
    /// Live, and record from the beginning.
    pub const LIVE: u64 = 1;
    /// Replay the records that are here, then live on and record behind them.
    pub const REPLAY: u64 = 2;
}

/// What the program does ([`word::STATE`]).
pub mod state {
    /// It records; [`super::word::ORDER`] is not looked at.
    pub const RECORDS: u64 = 0;
    /// It waits for an order.
    pub const WAITS: u64 = 1;
    /// It replays.
    pub const REPLAYS: u64 = 2;
}

/// One thing that the program could not compute. Results are those of the call, or the negative errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A clock was read: ns more than the last time that this clock was read (the first time: than 0).
    Clock {
        /// Which (`clockid_t`; 16: `gettimeofday`, 17: `time`).
        clock: u64,
        /// The difference.
        delta: i64,
    },
    /// Bytes were read from a stream whose content is known elsewhere.
    Read {
        /// From which descriptor.
        fd: i64,
        /// How many.
        result: i64,
    },
    /// Bytes were read from a connection, and are kept: it may be over when a replacement needs them.
    Heard {
        /// From which descriptor.
        fd: i64,
        /// How many.
        result: i64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Bytes were read from a device, a timer or the like, whose content nobody else knows.
    Data {
        /// From which descriptor.
        fd: i64,
        /// How many.
        result: i64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Bytes were written to a stream.
    Write {
        /// To which descriptor.
        fd: i64,
        /// How many.
        result: i64,
    },
    /// A connection was accepted.
    Accept {
        /// The listening descriptor.
        listener: i64,
        /// The new descriptor.
        result: i64,
        /// The peer's address (`struct sockaddr`): which connection it was.
        peer: &'a [u8],
    },
    /// Random bytes were given.
    Random {
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The process's number.
    Pid {
        /// The number.
        pid: i64,
    },
    /// What was ready, after `epoll_wait`, `poll` or `select`.
    Ready {
        /// The call's result.
        result: i64,
        /// Pairs of numbers: which, and its events; [`pairs`] reads them.
        list: &'a [u8],
    },
    /// The recording ends here, before the program: it did what cannot be recorded.
    Stop {
        /// What it was.
        why: &'a [u8],
    },
}

impl Record<'_> {
    /// What it is about, for messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Clock { .. } => "a look at a clock",
            Self::Read { .. } | Self::Heard { .. } => "a read",
            Self::Data { .. } => "a read of a device",
            Self::Write { .. } => "a write",
            Self::Accept { .. } => "an accept",
            Self::Random { .. } => "random bytes",
            Self::Pid { .. } => "a look at its pid",
            Self::Ready { .. } => "a wait for events",
            Self::Stop { .. } => "the end of the record",
        }
    }

    /// Most bytes that the record takes.
    #[must_use]
    #[inline(always)]
    pub const fn room(&self) -> usize {
        let blob = match self {
            Self::Data { bytes, .. } | Self::Heard { bytes, .. } | Self::Random { bytes } => {
                bytes.len()
            }
            Self::Accept { peer, .. } => peer.len(),
            Self::Ready { list, .. } => list.len(),
            Self::Stop { why } => why.len(),
            Self::Clock { .. } | Self::Read { .. } | Self::Write { .. } | Self::Pid { .. } => 0,
        };
        HEAD + blob
    }

    /// Writes the record to the beginning of `out`, which has [`Self::room`] for it, and returns its length.
    // Always inline, as `room` and `Recorder::add`: who adds a record knows which it is, and the rest of this goes away.
    #[inline(always)]
    pub fn encode(&self, out: &mut [u8]) -> usize {
        const NONE: &[u8] = &[];
        let head = Head::at_start(out);
        let (at, bytes) = match *self {
            Self::Clock { clock, delta } => (head.byte(1).put(clock).signed(delta).at, NONE),
            Self::Read { fd, result } => (head.byte(2).signed(fd).signed(result).at, NONE),
            Self::Data { fd, result, bytes } => {
                (head.byte(3).signed(fd).signed(result).before(bytes), bytes)
            }
            Self::Write { fd, result } => (head.byte(4).signed(fd).signed(result).at, NONE),
            Self::Accept {
                listener,
                result,
                peer,
            } => (
                head.byte(5).signed(listener).signed(result).before(peer),
                peer,
            ),
            Self::Random { bytes } => (head.byte(6).before(bytes), bytes),
            Self::Pid { pid } => (head.byte(7).signed(pid).at, NONE),
            Self::Ready { result, list } => (head.byte(8).signed(result).before(list), list),
            Self::Stop { why } => (head.byte(9).before(why), why),
            Self::Heard { fd, result, bytes } => {
                (head.byte(10).signed(fd).signed(result).before(bytes), bytes)
            }
        };
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at + bytes.len()
    }
}

/// Longest number in bytes.
const NUMBER_MAX: usize = 10;
/// Longest beginning of a record in bytes, its tag and three numbers: a power of two, so that a place in it needs no check.
const HEAD: usize = 32;
const _: () = assert!(3 * NUMBER_MAX < HEAD);

/// Numbers in a row.
struct Head<'a> {
    out: &'a mut [u8; HEAD],
    /// How long they are.
    at: usize,
}

impl<'a> Head<'a> {
    #[inline]
    fn at_start(out: &'a mut [u8]) -> Self {
        let out = out.first_chunk_mut().expect("there is room");
        Self { out, at: 0 }
    }

    #[inline]
    const fn byte(mut self, byte: u8) -> Self {
        self.out[self.at % HEAD] = byte;
        self.at += 1;
        self
    }

    #[inline]
    const fn put(mut self, mut number: u64) -> Self {
        while number >= 0x80 {
            self = self.byte(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.byte(number.to_le_bytes()[0])
    }

    #[inline]
    const fn signed(self, number: i64) -> Self {
        self.put(zigzag(number))
    }

    /// These bytes follow: where.
    #[inline]
    const fn before(self, bytes: &[u8]) -> usize {
        self.put(bytes.len() as u64).at
    }
}

/// Most pairs that [`encode_ready`] takes: their list's length is then one byte.
pub const READY_MAX: usize = (0x80 - 1) / (2 * NUMBER_MAX);
/// Room for [`encode_ready`].
pub const READY_ROOM: usize = (1 + READY_MAX) * HEAD;

/// Writes a [`Record::Ready`] of up to [`READY_MAX`] pairs to the beginning of `out`, which has [`READY_ROOM`], and returns its
/// length. The list is made in its place: a busy server waits for events as often as it reads.
#[inline]
pub fn encode_ready(result: i64, pairs: impl Iterator<Item = (u64, u64)>, out: &mut [u8]) -> usize {
    let list = Head::at_start(out).byte(8).signed(result).at + 1;
    let mut at = list;
    for (which, events) in pairs.take(READY_MAX) {
        at += Head::at_start(&mut out[at..]).put(which).put(events).at;
    }
    out[list - 1] = (at - list).to_le_bytes()[0];
    at
}

/// Appends a pair of a list of what was ready; [`pairs`] reads it.
pub fn put_pair(list: &mut Vec<u8>, which: u64, events: u64) {
    let from = list.len();
    list.extend_from_slice(&[0; HEAD]);
    let length = Head::at_start(&mut list[from..]).put(which).put(events).at;
    list.truncate(from + length);
}

/// Signed to unsigned, small stays small.
#[must_use]
pub const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// The first record of `bytes` and its length; `None` if there is no whole, valid one.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let mut rest = bytes;
    let (&tag, after) = rest.split_first()?;
    rest = after;
    let record = match tag {
        1 => Record::Clock {
            clock: take(&mut rest)?,
            delta: signed(&mut rest)?,
        },
        2 => Record::Read {
            fd: signed(&mut rest)?,
            result: signed(&mut rest)?,
        },
        3 => Record::Data {
            fd: signed(&mut rest)?,
            result: signed(&mut rest)?,
            bytes: slice(&mut rest)?,
        },
        4 => Record::Write {
            fd: signed(&mut rest)?,
            result: signed(&mut rest)?,
        },
        5 => Record::Accept {
            listener: signed(&mut rest)?,
            result: signed(&mut rest)?,
            peer: slice(&mut rest)?,
        },
        6 => Record::Random {
            bytes: slice(&mut rest)?,
        },
        7 => Record::Pid {
            pid: signed(&mut rest)?,
        },
        8 => Record::Ready {
            result: signed(&mut rest)?,
            list: slice(&mut rest)?,
        },
        9 => Record::Stop {
            why: slice(&mut rest)?,
        },
        10 => Record::Heard {
            fd: signed(&mut rest)?,
            result: signed(&mut rest)?,
            bytes: slice(&mut rest)?,
        },
        _ => return None,
    };
    Some((record, bytes.len() - rest.len()))
}

fn signed(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(unzigzag)
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn slice<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

/// The pairs of a list of what was ready.
pub fn pairs(mut list: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    std::iter::from_fn(move || Some((take(&mut list)?, take(&mut list)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut out = vec![0; record.room()];
        let length = record.encode(&mut out);
        out.truncate(length);
        out
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_are_written(
            kind in 0..10, a: i64, b: i64, bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = &bytes[..];
            let record = match kind {
                0 => Record::Clock { clock: a.unsigned_abs(), delta: b },
                1 => Record::Read { fd: a, result: b },
                2 => Record::Data { fd: a, result: b, bytes },
                3 => Record::Write { fd: a, result: b },
                4 => Record::Accept { listener: a, result: b, peer: bytes },
                5 => Record::Random { bytes },
                6 => Record::Pid { pid: a },
                7 => Record::Ready { result: a, list: bytes },
                8 => Record::Heard { fd: a, result: b, bytes },
                _ => Record::Stop { why: bytes },
            };
            let mut stream = encoded(&record);
            let length = stream.len();
            for cut in 0..length {
                prop_assert_eq!(decode(&stream[..cut]), None);
            }
            stream.extend_from_slice(b"rest");
            prop_assert_eq!(decode(&stream), Some((record, length)));
        }

        #[test]
        fn what_was_ready_is_the_same_record_in_either_way(
            result: i64, all in proptest::collection::vec(any::<(u64, u64)>(), 0..=READY_MAX),
        ) {
            let mut list = Vec::new();
            all.iter().for_each(|(which, events)| put_pair(&mut list, *which, *events));
            let mut out = [0; READY_ROOM];
            let length = encode_ready(result, all.into_iter(), &mut out);
            prop_assert_eq!(&out[..length], encoded(&Record::Ready { result, list: &list }));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some((_, length)) = decode(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }

    #[test]
    fn a_common_record_has_a_few_bytes() {
        let read = Record::Read { fd: 7, result: 40 };
        let clock = Record::Clock {
            clock: 1,
            delta: 150_000,
        };
        assert_eq!((encoded(&read).len(), encoded(&clock).len()), (3, 5));
    }
}
