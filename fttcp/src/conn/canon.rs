// SPDX-License-Identifier: GPL-3.0-only
//! The canonical form of a server's byte stream: the values of chosen header fields do not count.
//!
//! Two runs of the same server give the same bytes but for a few fields, such as HTTP's `Date`. The canonicaliser
//! finds the values of such fields (after CR LF, the name and a colon, up to the next CR or LF) while the stream
//! passes once, in pieces of any size.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What stands for each byte of a masked value.
pub(crate) const MASK: u8 = b'*';

/// Longest field name, and longest value, that is masked.
pub(super) const MAX_NAME: usize = 32;
pub(super) const MAX_VALUE: usize = 128;

/// The field names whose values do not count, in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks {
    names: Vec<Vec<u8>>,
}

impl Masks {
    pub(crate) fn new(names: &[String]) -> Self {
        Self {
            names: names
                .iter()
                .map(|name| name.trim().trim_end_matches(':').to_ascii_lowercase())
                .filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
                .map(String::into_bytes)
                .collect(),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
enum State {
    #[default]
    Text,
    /// After CR.
    Return,
    /// After CR LF and so much of a name.
    Name(usize, [u8; MAX_NAME]),
    /// In a value that counts not, so many bytes of it passed.
    Value(usize),
}

/// Where the stream stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Canonicaliser {
    state: State,
}

impl Canonicaliser {
    /// Whether it stands where a stream can bring it.
    pub(crate) const fn is_sound(&self) -> bool {
        match self.state {
            State::Text | State::Return => true,
            State::Name(len, _) => len <= MAX_NAME,
            State::Value(passed) => passed < MAX_VALUE,
        }
    }

    /// The next masked range of `data` at or after `from`, or `None` when the rest of it counts in full.
    ///
    /// The next call must go on where this range ended (`None`: with the bytes that follow `data`).
    pub(crate) fn next_masked(
        &mut self,
        masks: &Masks,
        data: &[u8],
        from: usize,
    ) -> Option<Range<usize>> {
        if masks.names.is_empty() {
            return None;
        }
        let mut at = from;
        while at < data.len() {
            let byte = data[at];
            match &mut self.state {
                State::Text => {
                    at += memchr::memchr(b'\r', &data[at..])?;
                    self.state = State::Return;
                }
                State::Return => {
                    self.state = match byte {
                        b'\n' => State::Name(0, [0; MAX_NAME]),
                        b'\r' => State::Return,
                        _ => State::Text,
                    };
                }
                State::Name(len, name) => {
                    let known = |name: &[u8]| masks.names.iter().any(|mask| mask == name);
                    if byte == b':' && known(&name[..*len]) {
                        self.state = State::Value(0);
                    } else if byte == b'\r' {
                        self.state = State::Return;
                    } else if *len < MAX_NAME && byte != b':' {
                        name[*len] = byte.to_ascii_lowercase();
                        *len += 1;
                    } else {
                        self.state = State::Text;
                    }
                }
                State::Value(passed) => {
                    let room = (MAX_VALUE - *passed).min(data.len() - at);
                    let rest = &data[at..at + room];
                    let len = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    *passed += len;
                    let range = at..at + len;
                    if len < rest.len() || *passed >= MAX_VALUE {
                        self.state = State::Text;
                    }
                    if !range.is_empty() {
                        return Some(range);
                    }
                    continue;
                }
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(pieces: &[&[u8]]) -> Vec<u8> {
        let masks = Masks::new(&["Date".to_owned(), "X-Request-Id".to_owned()]);
        let mut canon = Canonicaliser::default();
        let mut out = Vec::new();
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let mut at = 0;
            while let Some(range) = canon.next_masked(&masks, piece, at) {
                at = range.end;
                bytes[range].fill(MASK);
            }
            out.extend(bytes);
        }
        out
    }

    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov\r\ndATE:x\r\nDates: y\r\nx-request-id: 9\r\n\r\n\r\rbody";
    const WANT: &[u8] =
        b"HTTP/1.1 200 OK\r\nDate:************\r\ndATE:*\r\nDates: y\r\nx-request-id:**\r\n\r\n\r\rbody";

    #[test]
    fn values_of_named_fields_are_masked() {
        assert_eq!(canonical(&[HEAD]), WANT);
    }

    #[test]
    fn value_without_end_is_masked_to_a_bound() {
        let mut stream = b"\r\nDate:".to_vec();
        stream.extend([b'a'; 500]);
        let got = canonical(&[&stream]);
        assert_eq!(got.iter().filter(|&&byte| byte == MASK).count(), MAX_VALUE);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_form(cuts in proptest::collection::vec(0..HEAD.len(), 0..10)) {
            let mut cuts = cuts;
            cuts.extend([0, HEAD.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &HEAD[pair[0]..pair[1]]).collect();
            prop_assert_eq!(canonical(&pieces), WANT);
        }
    }
}
