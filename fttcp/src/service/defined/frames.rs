// SPDX-License-Identifier: GPL-3.0-only
//! Where the messages of one direction begin and end, when they end with a delimiter, tell their length at a fixed
//! place, or have all the same size. Bytes behind a length may be left out.

use serde::{Deserialize, Serialize};

use crate::service::dialogue::Lost;

/// Longest beginning of a message that is looked at, in bytes: its first word, and its length.
pub(crate) const HEAD: usize = 64;

/// How messages end, as a definition says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Frame {
    /// These bytes are a message's last.
    Delimiter(String),
    /// A number in each message tells its length.
    Length(Length),
    /// All messages have so many bytes.
    Size(u64),
}

/// Where the number stands, and what it counts: a message has `offset + width + number + adjust` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Length {
    #[serde(default)]
    pub(super) offset: usize,
    pub(super) width: usize,
    #[serde(default)]
    pub(super) endian: Endian,
    #[serde(default)]
    pub(super) adjust: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Endian {
    #[default]
    Big,
    Little,
}

impl Length {
    /// A message's length by its head; `None`: it is none.
    fn of(&self, head: &[u8]) -> Option<u64> {
        let field = head.get(self.offset..self.offset + self.width)?;
        let digit = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = match self.endian {
            Endian::Big => field.iter().fold(0, digit),
            Endian::Little => field.iter().rev().fold(0, digit),
        };
        let before = (self.offset + self.width) as u64;
        let length = number.checked_add(before)?.checked_add_signed(self.adjust);
        length.filter(|&length| length >= before)
    }
}

/// A message that has come whole.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// Its first [`HEAD`] bytes, or all; without the delimiter.
    pub(super) head: &'a [u8],
    /// Where it begins, and where the next one does.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Stands in a stream, in the message that begins at `start`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frames {
    start: u64,
    /// Bytes of the message that have come.
    seen: u64,
    head: Vec<u8>,
    /// How many bytes of the delimiter the newest ones are.
    matched: u32,
}

impl Frames {
    /// A message begins at `start`.
    pub(super) const fn from(start: u64) -> Self {
        Self {
            start,
            seen: 0,
            head: Vec::new(),
            matched: 0,
        }
    }

    /// Whether it stands where a stream can bring it.
    pub(super) fn is_sound(&self, frame: &Frame) -> bool {
        let matched = match frame {
            Frame::Delimiter(bytes) => (self.matched as usize) < bytes.len(),
            Frame::Length(_) | Frame::Size(_) => self.matched == 0,
        };
        let fits = self.start.checked_add(self.seen).is_some();
        matched && fits && self.head.len() as u64 == self.seen.min(HEAD as u64)
    }

    /// Takes bytes from position `at` on, and shows `each` message that they complete.
    pub(super) fn take(
        &mut self,
        frame: &Frame,
        longest: u64,
        (at, bytes): (u64, &[u8]),
        mut each: impl FnMut(&Message<'_>) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        let mut used = 0;
        loop {
            let next = self.start + self.seen;
            let from = at + used as u64;
            if from > next {
                self.skip(frame, longest, from - next)?;
            } else {
                used += (next - from).min((bytes.len() - used) as u64) as usize;
            }
            let rest = &bytes[used..];
            let (taken, ended) = self.advance(frame, longest, rest)?;
            used += taken;
            if self.seen > longest {
                return Err(Lost("a message is longer than `longest` allows"));
            }
            if !ended {
                return Ok(());
            }
            let end = self.start + self.seen;
            let delimiter = match frame {
                Frame::Delimiter(bytes) => bytes.len(),
                Frame::Length(_) | Frame::Size(_) => 0,
            };
            let body = (self.seen - delimiter as u64).min(self.head.len() as u64);
            each(&Message {
                head: &self.head[..body as usize],
                start: self.start,
                end,
            })?;
            *self = Self::from(end);
        }
    }

    /// The message's length, as far as what has come tells it.
    fn length(&self, frame: &Frame, longest: u64) -> Result<Option<u64>, Lost> {
        let length = match frame {
            Frame::Delimiter(_) => return Ok(None),
            Frame::Size(size) => *size,
            Frame::Length(field) if self.head.len() < field.offset + field.width => {
                return Ok(None);
            }
            Frame::Length(field) => field
                .of(&self.head)
                .ok_or(Lost("a message's length makes no sense"))?,
        };
        if length > longest {
            return Err(Lost("a message is longer than `longest` allows"));
        }
        Ok(Some(length))
    }

    /// So many bytes were left out.
    fn skip(&mut self, frame: &Frame, longest: u64, gap: u64) -> Result<(), Lost> {
        const LOST: Lost = Lost("bytes were left out that say where a message ends");
        let length = self.length(frame, longest)?.ok_or(LOST)?;
        if self.head.len() < HEAD.min(length as usize) || gap > length - self.seen {
            return Err(LOST);
        }
        self.seen += gap;
        Ok(())
    }

    /// Takes what of `rest` belongs to the message. Says how much, and whether the message is whole.
    fn advance(&mut self, frame: &Frame, longest: u64, rest: &[u8]) -> Result<(usize, bool), Lost> {
        if let Frame::Delimiter(delimiter) = frame {
            let (taken, ended) = self.find(delimiter.as_bytes(), rest);
            self.note(&rest[..taken]);
            return Ok((taken, ended));
        }
        let mut taken = 0;
        loop {
            let length = self.length(frame, longest)?;
            let wanted = match (length, frame) {
                (Some(length), _) => length - self.seen,
                (None, Frame::Length(field)) => (field.offset + field.width) as u64 - self.seen,
                (None, _) => return Ok((taken, false)),
            };
            let part = wanted.min((rest.len() - taken) as u64) as usize;
            self.note(&rest[taken..taken + part]);
            taken += part;
            if part as u64 == wanted && length.is_some() {
                return Ok((taken, true));
            }
            if taken == rest.len() && part as u64 != wanted {
                return Ok((taken, false));
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.seen += bytes.len() as u64;
    }

    /// Looks for the end of the delimiter. Says how many bytes precede it, its own included, and whether it was found.
    fn find(&mut self, delimiter: &[u8], rest: &[u8]) -> (usize, bool) {
        let mut matched = self.matched as usize;
        let mut at = 0;
        while at < rest.len() {
            if matched == 0 {
                let Some(first) = memchr::memchr(delimiter[0], &rest[at..]) else {
                    break;
                };
                at += first;
            }
            matched = extend(delimiter, matched, rest[at]);
            at += 1;
            if matched == delimiter.len() {
                return (at, true);
            }
        }
        self.matched = matched as u32;
        (rest.len(), false)
    }
}

/// How many bytes of the delimiter the newest ones are after one more, if they were `matched` before.
fn extend(delimiter: &[u8], matched: usize, byte: u8) -> usize {
    let grown = |len: &usize| {
        let before = &delimiter[..*len];
        delimiter[*len] == byte && delimiter[..matched].ends_with(before)
    };
    (0..=matched).rev().find(grown).map_or(0, |len| len + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of the messages in a stream, however it is cut.
    fn ends(frame: &Frame, stream: &[u8]) -> Result<Vec<u64>, Lost> {
        let run = |cuts: &[usize]| {
            let (mut frames, mut ends, mut at) = (Frames::default(), Vec::new(), 0);
            for &cut in cuts.iter().chain(&[stream.len()]) {
                let piece = (at as u64, &stream[at..cut]);
                at = cut;
                frames.take(frame, 1000, piece, |message| {
                    assert!(stream[message.start as usize..].starts_with(message.head));
                    ends.push(message.end);
                    Ok(())
                })?;
                assert!(frames.is_sound(frame));
            }
            Ok(ends)
        };
        let whole = run(&[]);
        let single: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(run(&single), whole, "byte by byte");
        for cut in 0..stream.len() {
            assert_eq!(run(&[cut]), whole, "cut at {cut}");
        }
        whole
    }

    fn length(offset: usize, width: usize, endian: Endian, adjust: i64) -> Frame {
        Frame::Length(Length {
            offset,
            width,
            endian,
            adjust,
        })
    }

    #[test]
    fn delimiter_is_found_however_the_stream_is_cut() {
        let lines = Frame::Delimiter("\r\n".to_owned());
        assert_eq!(ends(&lines, b"a\r\nb\r\r\ncd\r\nx"), Ok(vec![3, 7, 11]));
        let overlapping = Frame::Delimiter("aab".to_owned());
        assert_eq!(ends(&overlapping, b"xaaaabaabb"), Ok(vec![6, 9]));
    }

    #[test]
    fn length_is_read_where_it_stands() {
        let big = length(1, 2, Endian::Big, 0);
        assert_eq!(ends(&big, b"x\0\x02abx\0\0x\0\x01"), Ok(vec![5, 8]));
        // It counts itself, as in PostgreSQL's messages.
        let whole = length(1, 4, Endian::Big, -4);
        assert_eq!(ends(&whole, b"Q\0\0\0\x06hiX\0\0\0\x04"), Ok(vec![7, 12]));
        let little = length(0, 3, Endian::Little, 1);
        assert_eq!(ends(&little, b"\x01\0\0#Z"), Ok(vec![5]));
        assert_eq!(ends(&Frame::Size(3), b"abcdefgh"), Ok(vec![3, 6]));
    }

    #[test]
    fn senseless_and_endless_messages_are_lost() {
        let whole = length(0, 2, Endian::Big, -2);
        assert!(ends(&whole, b"\0\x01").is_err());
        assert!(ends(&length(0, 8, Endian::Big, 9), &[0xff; 9]).is_err());
        assert!(ends(&length(0, 2, Endian::Big, 0), b"\xff\xff").is_err());
        let lines = Frame::Delimiter("\n".to_owned());
        assert!(ends(&lines, &[b'x'; 1001]).is_err());
    }

    #[test]
    fn bodies_of_known_length_may_be_left_out() {
        let frame = length(0, 2, Endian::Big, 0);
        let mut frames = Frames::default();
        let mut ends = Vec::new();
        let mut take = |at: u64, bytes: &[u8]| {
            frames.take(&frame, 1000, (at, bytes), |message| {
                ends.push(message.end);
                Ok(())
            })
        };
        let mut head = vec![0, 100];
        head.extend([7; HEAD]);
        assert_eq!(take(0, &head), Ok(()));
        assert_eq!(take(102, &head), Ok(()));
        assert_eq!(take(204, &head), Ok(()));
        assert!(take(307, &head).is_err());
        assert_eq!(ends, [102, 204]);
    }
}
