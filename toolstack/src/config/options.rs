// SPDX-License-Identifier: GPL-3.0-only
//! The parts of a device's specification string, `key=value,flag,...`, with their places.

use super::lexer::Text;
use super::source::Span;

/// One part between commas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    text: &'a Text,
    start: usize,
    /// The part, without blanks around it.
    pub(super) whole: &'a str,
}

impl<'a> Part<'a> {
    /// `key` and `value` of `key=value`.
    pub(super) fn pair(&self) -> Option<(&'a str, Part<'a>)> {
        let (key, value) = self.whole.split_once('=')?;
        let start = self.start + key.len() + 1;
        let value = Part {
            text: self.text,
            start,
            whole: value,
        };
        Some((key.trim_end(), value))
    }

    /// Where it stands.
    pub(super) fn span(&self) -> Span {
        self.text.part(self.start, self.whole.len())
    }

    /// The part without its first `len` bytes.
    pub(super) fn after(&self, len: usize) -> Self {
        Self {
            start: self.start + len,
            whole: &self.whole[len..],
            ..*self
        }
    }
}

/// Hands out the parts of a specification one by one, so that `target=` can take the rest.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    text: &'a Text,
    at: Option<usize>,
}

impl<'a> Parts<'a> {
    /// The parts of `text`.
    pub(super) const fn new(text: &'a Text) -> Self {
        Self { text, at: Some(0) }
    }

    /// All that is left, blanks in front taken away.
    pub(super) fn rest(&self) -> Option<Part<'a>> {
        let at = self.at?;
        let rest = &self.text.value[at..];
        let whole = rest.trim_start();
        Some(Part {
            text: self.text,
            start: at + rest.len() - whole.len(),
            whole,
        })
    }

    /// Ends the iteration: the rest was taken.
    pub(super) const fn stop(&mut self) {
        self.at = None;
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    /// The next part; it is empty between two commas, but there is none after a comma at the end.
    fn next(&mut self) -> Option<Part<'a>> {
        let rest = self.rest()?;
        let raw = &self.text.value[self.at?..];
        if rest.whole.is_empty() {
            self.at = None;
            return None;
        }
        self.at = raw.find(',').map(|comma| self.at.unwrap_or(0) + comma + 1);
        let whole = rest.whole.split(',').next().unwrap_or_default().trim_end();
        Some(Part { whole, ..rest })
    }
}
