// SPDX-License-Identifier: GPL-3.0-only
//! What both ends say on a connection when nothing goes wrong, byte for byte. Only the `Date` of a response depends
//! on which server gives it.

use super::app::{Closing, Script};
use super::ranges::{self, Part, Ranges};

const DATE_LEN: usize = 29;

/// The `Date` of a server, by its number.
pub(super) fn date(server: usize) -> String {
    let (hour, minute, second) = (server / 60 % 24, server % 60, server * 7 % 60);
    format!("Sat, 21 Nov 2026 {hour:02}:{minute:02}:{second:02} GMT")
}

/// Both streams of a connection.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) requests: Vec<u8>,
    pub(super) request_ends: Vec<usize>,
    pub(super) responses: Vec<u8>,
    pub(super) response_ends: Vec<usize>,
    /// Where the dates begin.
    dates: Vec<usize>,
}

impl Truth {
    pub(super) fn new(script: &Script) -> Self {
        let mut truth = Self {
            requests: Vec::new(),
            request_ends: Vec::new(),
            responses: Vec::new(),
            response_ends: Vec::new(),
            dates: Vec::new(),
        };
        let last = script.requests.len().saturating_sub(1);
        for (index, request) in script.requests.iter().enumerate() {
            let start = truth.requests.len();
            let close = index == last && matches!(script.closing, Closing::Server | Closing::Both);
            let close = if close { "Connection: close\r\n" } else { "" };
            let (method, upload, download) = (script.method, request.upload, request.download);
            let head =
                format!("{method} {download} HTTP/1.1\r\n{close}Content-Length: {upload}\r\n\r\n");
            truth.requests.extend(head.as_bytes());
            truth.requests.extend(pattern(index, upload));
            truth.request_ends.push(truth.requests.len());
            let request = &truth.requests[start..];
            let response = Response::to(request, &date(0), script.ranges).bytes;
            let date = memchr::memmem::find(&response, b"Date: ").map_or(0, |at| at + 6);
            truth.dates.push(truth.responses.len() + date);
            truth.responses.extend(response);
            truth.response_ends.push(truth.responses.len());
        }
        truth
    }

    /// The dates of which `len` bytes from `at` have a part: where each begins.
    pub(super) fn dates_in(&self, at: usize, len: usize) -> impl Iterator<Item = usize> {
        let within = move |&&date: &&usize| date < at + len && date + DATE_LEN > at;
        self.dates.iter().filter(within).copied()
    }

    /// The first byte of a piece of the server's stream that is wrong, dates left aside.
    pub(super) fn wrong_response(&self, at: usize, bytes: &[u8]) -> Option<usize> {
        let end = at + bytes.len();
        if end > self.responses.len() {
            return Some(self.responses.len().max(at));
        }
        let same = |from: usize, to: usize| {
            let (got, want) = (&bytes[from - at..to - at], &self.responses[from..to]);
            if got == want {
                return None;
            }
            let differ = got.iter().zip(want).position(|(got, want)| got != want);
            differ.map(|first| from + first)
        };
        let mut from = at;
        for date in self.dates_in(at, bytes.len()) {
            if let Some(wrong) = same(from, date.max(from)) {
                return Some(wrong);
            }
            from = (date + DATE_LEN).min(end);
        }
        same(from, end)
    }

    /// Whether this is what the client gets in a run without faults, with the dates of any of so many servers; a date
    /// that is cut somewhere may go on with another's.
    pub(super) fn compare(
        &self,
        stream: &[u8],
        servers: usize,
        cuts: &[usize],
    ) -> Result<(), String> {
        if let Some(wrong) = self.wrong_response(0, stream) {
            return Err(format!("stream differs at {wrong}"));
        }
        if stream.len() != self.responses.len() {
            let (got, want) = (stream.len(), self.responses.len());
            return Err(format!("stream has {got} bytes of {want}"));
        }
        for at in self.dates_in(0, stream.len()) {
            let got = &stream[at..at + DATE_LEN];
            let within = cuts.iter().filter_map(|cut| cut.checked_sub(at));
            let mut ends: Vec<usize> = within.filter(|&cut| cut < DATE_LEN).collect();
            ends.push(DATE_LEN);
            ends.sort_unstable();
            let mut from = 0;
            for to in ends {
                let said = |server| date(server).as_bytes()[from..to] == got[from..to];
                if !(0..servers).any(said) {
                    return Err(format!("no server's date: {}", got.escape_ascii()));
                }
                from = to;
            }
        }
        Ok(())
    }
}

fn pattern(salt: usize, len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(move |n| {
        let mixed = (n as u64 ^ (salt as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as u8
    })
}

/// A server's response to a whole request. It follows from the request alone, with a digest of it: a server that is
/// asked this first must say the same.
pub(super) struct Response {
    pub(super) bytes: Vec<u8>,
    /// Where its body begins.
    body: usize,
    tag: String,
}

impl Response {
    pub(super) fn to(request: &[u8], date: &str, ranges: Ranges) -> Self {
        let head = memchr::memmem::find(request, b"\r\n\r\n").unwrap_or(request.len());
        let text = String::from_utf8_lossy(&request[..head]);
        let size = text.split(' ').nth(1).and_then(|size| size.parse().ok());
        let size: usize = size.unwrap_or(0);
        let close = if text.contains("\r\nConnection: close") {
            "Connection: close\r\n"
        } else {
            ""
        };
        let seen = request.iter().fold(0u64, |seen, &byte| {
            (seen ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let tag = format!("{seen:016x}");
        let validator = match ranges {
            Ranges::Unknown => String::new(),
            _ => format!("ETag: \"{tag}\"\r\n"),
        };
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\nDate: {date}\r\nX-Seen: {tag}\r\n{validator}{close}Content-Length: {size}\r\n\r\n"
        )
        .into_bytes();
        let body = bytes.len();
        bytes.extend(pattern((seen & 0xff_ffff) as usize, size));
        Self { bytes, body, tag }
    }

    /// What is said to who asks for a part of it. `None`: the connection is closed.
    pub(super) fn part(&self, ranges: Ranges, part: Part) -> Option<Vec<u8>> {
        ranges::answer(ranges, part, &self.bytes, self.body, &self.tag)
    }
}
