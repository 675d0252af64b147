// SPDX-License-Identifier: GPL-3.0-only
//! Requests that must not be made twice, in what is not understood.
//!
//! A server may understand what this plug-in does not, and what the client says behind that. So every line is looked at that
//! could be the first of a request; that one in a body looks like it costs its connection nothing but the replacement.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Issued twice, such requests do the same as once (RFC 9110 section 9.2.2).
pub(super) const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// How long a word is that may be a method: none that is registered is shorter. Of shorter ones, what is encrypted has many.
const METHOD: RangeInclusive<usize> = 3..=32;

/// See the module's text. Takes a stream in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Search {
    /// The first word of the line, as far as it is known and may be a method.
    word: Option<Vec<u8>>,
    found: bool,
}

impl Default for Search {
    /// A line begins.
    fn default() -> Self {
        Self {
            word: Some(Vec::new()),
            found: false,
        }
    }
}

impl Search {
    /// Takes more of the stream.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.found |= self.byte(byte);
        }
    }

    /// Whether there may be such a request in it.
    pub(super) const fn has_found(&self) -> bool {
        self.found
    }

    fn byte(&mut self, byte: u8) -> bool {
        match (byte, &mut self.word) {
            (b'\n', word) => *word = Some(Vec::new()),
            (_, None) => {}
            (b' ' | b'\t', Some(word)) if word.is_empty() => {}
            (b' ' | b'\t', Some(word)) => {
                let idempotent = IDEMPOTENT.iter().any(|it| it.as_bytes() == word);
                let is_method = METHOD.contains(&word.len());
                self.word = None;
                return is_method && !idempotent;
            }
            (b'A'..=b'Z' | b'-', Some(word)) if word.len() < *METHOD.end() => word.push(byte),
            (_, word) => *word = None,
        }
        false
    }

    /// Whether what it remembers is within its bounds.
    pub(super) fn is_sound(&self) -> bool {
        let word = self.word.as_ref();
        word.is_none_or(|word| word.len() <= *METHOD.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, step: usize) -> bool {
        let mut search = Search::default();
        for piece in text.as_bytes().chunks(step) {
            search.take(piece);
        }
        search.has_found()
    }

    #[test]
    fn first_words_of_lines_are_methods_however_they_are_cut() {
        for step in [1, 2, 3, 100] {
            for text in [
                "POST / HTTP/1.1",
                "\r\n\r\nPOST /",
                "GET / HTTP/1.1\r\nHost: x\r\n\r\nPATCH\t/",
                " PRI *",
                "M-SEARCH *",
            ] {
                assert!(found(text, step), "{text:?} by {step}");
            }
            for text in [
                "GET / HTTP/1.1\r\nX: POST /\r\nPOST: 1\r\n\r\nPUT /",
                "post / HTTP/1.1",
                "POST",
                "\nAB \n- ",
                "\x16\x03\x01 POST ",
            ] {
                assert!(!found(text, step), "{text:?} by {step}");
            }
            assert!(!found(&format!("{} /", "A".repeat(100)), step));
        }
    }
}
