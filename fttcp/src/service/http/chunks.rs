// SPDX-License-Identifier: GPL-3.0-only
//! The chunked coding (RFC 9112 section 7.1), of which only the end is wanted.

use serde::{Deserialize, Serialize};

/// Longest line: a chunk's size with its extensions, or a trailer field.
const MAX_LINE: u32 = 8 * 1024;

/// What some bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All of them belong to the body, and more will come.
    More,
    /// The body ends with the last byte that was used.
    End,
    /// Not chunks.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// In the line with the size, of which so many digits are known.
    Size(u8),
    /// Behind the digits, in an extension.
    Extension,
    /// Behind that line's CR.
    SizeEnd,
    /// In the data.
    Data,
    /// Behind the data: the line's end.
    DataEnd,
    /// In the trailer, at the beginning of a line or in it.
    LineBegin,
    Line,
    /// Behind the last line's CR.
    Last,
}

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunks {
    place: Place,
    /// The chunk's size as far as it is read, then what is left of its data.
    left: u64,
    /// Length of the line so far.
    line: u32,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            place: Place::Size(0),
            left: 0,
            line: 0,
        }
    }
}

impl Chunks {
    pub(super) const fn is_sound(&self) -> bool {
        self.line <= MAX_LINE
    }

    /// Whether the next so many bytes are nothing but data.
    pub(super) fn are_data(&self, count: u64) -> bool {
        count == 0 || self.place == Place::Data && count <= self.left
    }

    /// Bytes were left out. False: not only data.
    pub(super) fn skip(&mut self, count: u64) -> bool {
        let within = self.are_data(count);
        if within && count > 0 {
            self.left -= count;
            self.settle_data();
        }
        within
    }

    fn settle_data(&mut self) {
        if self.left == 0 {
            self.place = Place::DataEnd;
        }
    }

    /// Takes bytes; says how many of them, and what they were.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Step) {
        let mut at = 0;
        while at < bytes.len() {
            if self.place == Place::Data {
                let now = self.left.min((bytes.len() - at) as u64);
                self.left -= now;
                at += now as usize;
                self.settle_data();
                continue;
            }
            let step = self.byte(bytes[at]);
            at += 1;
            if step != Step::More {
                return (at, step);
            }
        }
        (at, Step::More)
    }

    fn byte(&mut self, byte: u8) -> Step {
        self.line += 1;
        if self.line > MAX_LINE {
            return Step::Foreign;
        }
        match (self.place, byte) {
            (Place::Size(digits), _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if digits == 15 {
                    return Step::Foreign;
                }
                self.left = self.left << 4 | digit;
                self.place = Place::Size(digits + 1);
            }
            (Place::Size(1..) | Place::Extension, b'\r') => self.place = Place::SizeEnd,
            (Place::Size(1..) | Place::Extension | Place::SizeEnd, b'\n') => self.begin_data(),
            (Place::Size(1..), b';' | b' ' | b'\t') => self.place = Place::Extension,
            (Place::Extension, _) | (Place::DataEnd, b'\r') => {}
            (Place::DataEnd, b'\n') => *self = Self::default(),
            (Place::LineBegin, b'\r') => self.place = Place::Last,
            (Place::LineBegin | Place::Last, b'\n') => return Step::End,
            (Place::Line, b'\n') => {
                self.place = Place::LineBegin;
                self.line = 0;
            }
            (Place::LineBegin | Place::Line, _) => self.place = Place::Line,
            _ => return Step::Foreign,
        }
        Step::More
    }

    fn begin_data(&mut self) {
        self.line = 0;
        self.place = if self.left == 0 {
            Place::LineBegin
        } else {
            Place::Data
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"5;x=\"y\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nSum: 1\r\n\r\n";

    #[test]
    fn end_is_found_however_it_is_cut() {
        for cut in 0..BODY.len() {
            let mut chunks = Chunks::default();
            assert_eq!(chunks.take(&BODY[..cut]), (cut, Step::More));
            let rest = [&BODY[cut..], b"HTTP"].concat();
            assert_eq!(chunks.take(&rest), (BODY.len() - cut, Step::End));
        }
    }

    #[test]
    fn data_may_be_left_out_and_nothing_else() {
        let mut chunks = Chunks::default();
        chunks.take(&BODY[..10]);
        assert!(chunks.skip(4));
        assert_eq!(chunks.take(&BODY[14..]), (BODY.len() - 14, Step::End));
        let mut chunks = Chunks::default();
        chunks.take(&BODY[..10]);
        assert!(!chunks.skip(5));
    }

    #[test]
    fn what_are_no_chunks_is_foreign() {
        for bytes in [
            &b"\r\n"[..],
            b"x\r\n",
            b"5\r\nhelloX",
            b"-5\r\n",
            b"1000000000000000\r\n",
            &[b'1'; 17],
        ] {
            assert_eq!(Chunks::default().take(bytes).1, Step::Foreign, "{bytes:?}");
        }
        let long = [&b"1;"[..], &[b'x'; MAX_LINE as usize]].concat();
        assert_eq!(Chunks::default().take(&long).1, Step::Foreign);
    }
}
