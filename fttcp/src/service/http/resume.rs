// SPDX-License-Identifier: GPL-3.0-only
//! A response that can be taken up in the middle: what is to be known of it, the request for its rest, and what an
//! answer to that must say (RFC 9110 sections 13.1.5, 14.2, 15.3.7).
//!
//! Nothing is guessed: the rest is asked for only with a strong validator, and taken only if the answer names the same
//! validator, the same end and the same whole.

use httparse::Status;
use serde::{Deserialize, Serialize};

use super::date;
use crate::conn::FAR;
use crate::service::Heard;

/// Of a body of which the client has no more, the beginning is rather said again: a server says so much in its first three
/// windows (RFC 6928), and a request that is refused costs another handshake.
pub(super) const LEAST: u64 = 64 * 1024;
/// Most header fields of a head.
const FIELDS: usize = 128;
/// Longest head of an answer.
const MAX_ANSWER: usize = 16 * 1024;
/// Longest validator.
const MAX_VALIDATOR: usize = 256;
/// So much older than its response a file must be for its date to tell it from another version (RFC 9110 section
/// 8.8.2.2 asks for a second, and for enough that clocks do not matter).
const SETTLED: u64 = 60;

/// A request whose response may perhaps be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// It asks for one range of the whole.
    ranged: bool,
}

/// What tells one version of a file from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Validator {
    /// A strong entity tag, with its quotes.
    Tag(String),
    /// The date of the last change.
    Modified(String),
}

impl Validator {
    fn text(&self) -> &str {
        match self {
            Self::Tag(text) | Self::Modified(text) => text,
        }
    }
}

/// A response that can be taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rest {
    /// Where its body begins and ends in the server's stream.
    from: u64,
    to: u64,
    /// Which byte of the whole the body begins with, and how long the whole is.
    first: u64,
    total: u64,
    validator: Validator,
    ranged: bool,
    coded: bool,
    closes: bool,
}

/// The header fields that matter here; each at most once.
#[derive(Debug, Default)]
struct Fields<'a> {
    length: Option<u64>,
    range: Option<&'a str>,
    tag: Option<&'a str>,
    modified: Option<&'a str>,
    date: Option<&'a str>,
    transfer_coding: bool,
    coded: bool,
    no_ranges: bool,
}

impl<'a> Fields<'a> {
    /// `None`: one of them is there twice, or makes no sense.
    fn read(fields: &[httparse::Header<'a>]) -> Option<Self> {
        let mut found = Self::default();
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            let value = std::str::from_utf8(field.value);
            let once = |place: &mut Option<&'a str>| {
                let value = value.ok()?.trim();
                place.replace(value).is_none().then_some(())
            };
            if is("content-length") {
                let length = number(value.ok()?.trim())?;
                found.length.replace(length).is_none().then_some(())?;
            } else if is("content-range") {
                once(&mut found.range)?;
            } else if is("etag") {
                once(&mut found.tag)?;
            } else if is("last-modified") {
                once(&mut found.modified)?;
            } else if is("date") {
                once(&mut found.date)?;
            } else if is("transfer-encoding") {
                found.transfer_coding = true;
            } else if is("content-encoding") {
                found.coded = true;
            } else if is("accept-ranges") {
                found.no_ranges = value.ok()?.trim().eq_ignore_ascii_case("none");
            }
        }
        Some(found)
    }

    /// A validator that is strong.
    fn validator(&self) -> Option<Validator> {
        if let Some(tag) = self.tag {
            let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
            let plain = inner
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"');
            let fits = plain && tag.len() <= MAX_VALIDATOR;
            return fits.then(|| Validator::Tag(tag.to_owned()));
        }
        let (modified, date) = (self.modified?, self.date?);
        let settled = date::seconds(modified)?.checked_add(SETTLED)? <= date::seconds(date)?;
        (settled && !self.coded).then(|| Validator::Modified(modified.to_owned()))
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// `bytes A-B/C` (RFC 9110 section 14.4).
fn content_range(value: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then_some((first, last, total))
}

/// Whether the response to a request with this head, whose body is empty, may perhaps be taken up.
pub(super) fn wanted(head: &[u8]) -> Option<Wanted> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).ok()?;
    if request.method != Some("GET") {
        return None;
    }
    let named = |name: &'static str| {
        let fields = request.headers.iter();
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name))
    };
    if named("expect").next().is_some() {
        return None;
    }
    let mut ranges = named("range").map(|field| field.value);
    let (range, another) = (ranges.next(), ranges.next());
    let single = |value: &[u8]| value.starts_with(b"bytes=") && !value.contains(&b',');
    let understood = another.is_none() && range.is_none_or(single);
    understood.then_some(Wanted {
        ranged: range.is_some(),
    })
}

impl Rest {
    /// From a response's head, which ends at `from` in the server's stream.
    pub(super) fn of(wanted: Wanted, head: &[u8], from: u64, closes: bool) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(head).ok()?;
        let fields = Fields::read(response.headers)?;
        let length = fields.length.filter(|&length| length > LEAST)?;
        let (first, total) = match (response.code?, wanted.ranged, fields.range) {
            (200, false, None) => (0, length),
            (206, true, Some(range)) => {
                let (first, last, total) = content_range(range)?;
                (last - first + 1 == length).then_some((first, total))?
            }
            _ => return None,
        };
        if fields.transfer_coding || fields.no_ranges {
            return None;
        }
        Some(Self {
            from,
            to: from.checked_add(length)?,
            first,
            total,
            validator: fields.validator()?,
            ranged: wanted.ranged,
            coded: fields.coded,
            closes,
        })
    }

    /// Whether the parts fit together.
    pub(super) const fn is_sound(&self) -> bool {
        self.from <= self.to && self.to < FAR && self.first < FAR
    }

    /// Whether taking it up saves something, if the client has acknowledged everything below.
    pub(super) const fn is_worth_it(&self, acknowledged: u64) -> bool {
        acknowledged < self.to && acknowledged.saturating_sub(self.from) > LEAST
    }

    /// The first and the last byte of the whole, if the rest begins at `at` in the server's stream.
    fn range(&self, at: u64) -> Option<(u64, u64)> {
        let within = (self.from..self.to).contains(&at);
        within.then(|| {
            let last = self.first + (self.to - self.from) - 1;
            (self.first + (at - self.from), last)
        })
    }

    /// The request for what stands from `at` on in the server's stream; `head`: of the request that was made.
    pub(super) fn ask(&self, head: &[u8], at: u64) -> Option<Vec<u8>> {
        let (first, last) = self.range(at)?;
        let mut request = Vec::with_capacity(head.len() + 128);
        let mut lines = head.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                // The empty line.
                let (end, validator) = if self.ranged {
                    (last.to_string(), self.validator.text())
                } else {
                    (String::new(), self.validator.text())
                };
                let fields = format!("Range: bytes={first}-{end}\r\nIf-Range: {validator}\r\n");
                request.extend_from_slice(fields.as_bytes());
                request.extend_from_slice(line);
            } else if !is_field(line, b"range:") && !is_field(line, b"if-range:") {
                request.extend_from_slice(line);
            }
        }
        Some(request)
    }

    /// What an answer to that says, of which these are the bytes known.
    pub(super) fn judge(&self, answer: &[u8], at: u64) -> Heard {
        let mut from = 0;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            let len = match response.parse(&answer[from..]) {
                Ok(Status::Complete(len)) => len,
                Ok(Status::Partial) if answer.len() < MAX_ANSWER => return Heard::Partial,
                Ok(Status::Partial) => return Heard::Refused("the answer's head is too long"),
                Err(_) => return Heard::Refused("the answer is not HTTP"),
            };
            from += len;
            match response.code {
                // What goes before the answer (RFC 9110 section 15.2); of another protocol there can be no talk.
                Some(100 | 102..200) => continue,
                Some(206) => {}
                Some(200) => return Heard::Refused("the whole was sent, not its rest"),
                _ => return Heard::Refused("the rest was refused"),
            }
            let closes = super::head::closes(&response);
            let found = Fields::read(response.headers);
            return found.map_or(Heard::Refused("the answer contradicts itself"), |fields| {
                self.compare(&fields, closes, at)
                    .map_or(Heard::Head(from), Heard::Refused)
            });
        }
    }

    /// In what an answer of status 206 differs from what was asked for.
    fn compare(&self, fields: &Fields<'_>, closes: Option<bool>, at: u64) -> Option<&'static str> {
        let wanted = self
            .range(at)
            .map(|(first, last)| (first, last, self.total));
        let same = match &self.validator {
            Validator::Tag(tag) => fields.tag == Some(tag),
            Validator::Modified(date) => fields.tag.is_none() && fields.modified == Some(date),
        };
        if !same {
            return Some("the answer is of another version");
        }
        if wanted.is_none() || fields.range.and_then(content_range) != wanted {
            return Some("the answer is another part");
        }
        let length = fields.length == Some(self.to - at);
        if !length || fields.transfer_coding || fields.coded != self.coded {
            return Some("the answer has another form");
        }
        (closes != Some(self.closes)).then_some("the answer ends the connection, or does not")
    }
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    let begins = line.get(..name.len());
    begins.is_some_and(|begins| begins.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
