// SPDX-License-Identifier: GPL-3.0-only
//! Where text came from, and what is to be said about it: positions, diagnostics, and their collection.

use std::fmt;

use serde::Serialize;

/// Most errors told for one file; the rest is counted.
pub const MOST_ERRORS: usize = 20;

/// Most characters of a source line that are shown under a message.
const MOST_SHOWN: usize = 160;

/// A named piece of configuration text: a file, or the arguments that follow it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// As shown in front of each message.
    pub(super) name: &'a str,
    /// The bytes; comments may hold anything, strings must be UTF-8.
    pub(super) bytes: &'a [u8],
}

/// A stretch of bytes in one of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// Index of the source.
    pub(super) source: usize,
    /// First byte.
    pub(super) start: usize,
    /// Number of bytes.
    pub(super) len: usize,
}

impl Span {
    /// A single byte.
    pub(super) const fn at(source: usize, start: usize) -> Self {
        Self {
            source,
            start,
            len: 1,
        }
    }
}

/// Whether a message stops the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration is used; something in it has no effect.
    Warning,
}

/// One message about one place of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// File, or `command line`.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, what was expected, and the nearest valid word.
    pub message: String,
    /// The line of the source, for the caret.
    pub source: String,
    /// Characters to underline, at least one.
    pub width: usize,
    #[serde(skip)]
    order: (usize, usize),
}

impl fmt::Display for Diagnostic {
    /// `FILE:LINE:COL: message`, the source line, and a line with carets. Tabs are kept, so that the carets stand
    /// below the text that they are about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        let Self {
            file,
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "{file}:{line}:{column}: {kind}{message}")?;
        if self.source.trim().is_empty() || *column > MOST_SHOWN {
            return Ok(());
        }
        let shown: String = self.source.chars().take(MOST_SHOWN).collect();
        let indent: String = shown
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let left = (shown.chars().count() + 1).saturating_sub(*column).max(1);
        let carets = "^".repeat(self.width.clamp(1, left));
        write!(f, "\n    {shown}\n    {indent}{carets}")
    }
}

/// Collects messages while the sources are read.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    sources: &'a [Source<'a>],
    list: Vec<Diagnostic>,
    errors: usize,
}

impl<'a> Findings<'a> {
    /// Nothing said yet.
    pub(super) const fn new(sources: &'a [Source<'a>]) -> Self {
        Self {
            sources,
            list: Vec::new(),
            errors: 0,
        }
    }

    /// Says that the configuration cannot be used.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors += 1;
        if self.errors <= MOST_ERRORS {
            self.push(Severity::Error, span, message.into());
        }
    }

    /// Says that something has no effect.
    pub(super) fn warning(&mut self, span: Span, message: impl Into<String>) {
        self.push(Severity::Warning, span, message.into());
    }

    /// The number of the line that `span` starts in, from 1.
    pub(super) fn line_of(&self, span: Span) -> usize {
        self.sources
            .get(span.source)
            .map_or(1, |source| locate(source.bytes, span.start).0)
    }

    /// What was said, in the order of the text, and how many errors there were in all.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, usize) {
        self.list.sort_by_key(|d| d.order);
        (self.list, self.errors)
    }

    fn push(&mut self, severity: Severity, span: Span, message: String) {
        let Some(source) = self.sources.get(span.source) else {
            return;
        };
        let (line, text, start) = locate(source.bytes, span.start);
        let from = (span.start - start).min(text.len());
        let to = (from + span.len).min(text.len());
        self.list.push(Diagnostic {
            severity,
            file: source.name.to_owned(),
            line,
            column: characters(&text[..from]) + 1,
            message,
            source: String::from_utf8_lossy(text).trim_end().to_owned(),
            width: characters(&text[from..to]).max(1),
            order: (span.source, span.start),
        });
    }
}

fn characters(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).chars().count()
}

/// The number of the line that holds byte `at`, the line without its end, and where it starts. A position
/// past the end counts as the end.
fn locate(bytes: &[u8], at: usize) -> (usize, &[u8], usize) {
    let at = at.min(bytes.len());
    let before = &bytes[..at];
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |i| i + 1);
    let end = bytes[start..]
        .iter()
        .position(|&b| b == b'\n')
        .map_or(bytes.len(), |i| start + i);
    (line, &bytes[start..end], start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8], start: usize, len: usize) -> String {
        let sources = [Source { name: "f", bytes }];
        let mut findings = Findings::new(&sources);
        findings.error(
            Span {
                source: 0,
                start,
                len,
            },
            "no",
        );
        findings.finish().0[0].to_string()
    }

    #[test]
    fn diagnostic_second_line_has_caret_below() {
        assert_eq!(
            one(b"a = 1\nbc = 2\n", 11, 1),
            "f:2:6: no\n    bc = 2\n         ^"
        );
    }

    #[test]
    fn diagnostic_tabs_and_wide_characters_keep_column() {
        assert_eq!(
            one("\té= x".as_bytes(), 5, 1),
            "f:1:5: no\n    \té= x\n    \t   ^"
        );
    }

    #[test]
    fn diagnostic_past_end_points_at_end() {
        assert_eq!(one(b"a =", 99, 1), "f:1:4: no\n    a =\n       ^");
        assert_eq!(one(b"", 0, 1), "f:1:1: no");
    }

    #[test]
    fn findings_beyond_limit_are_counted() {
        let sources = [Source {
            name: "f",
            bytes: b"x",
        }];
        let mut findings = Findings::new(&sources);
        for _ in 0..=MOST_ERRORS {
            findings.error(Span::at(0, 0), "no");
        }
        let (list, errors) = findings.finish();
        assert_eq!((list.len(), errors), (MOST_ERRORS, MOST_ERRORS + 1));
    }
}
