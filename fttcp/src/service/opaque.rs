// SPDX-License-Identifier: GPL-3.0-only
//! `opaque`: a deterministic byte stream about which nothing is known; everything is replayed.
//!
//! The one thing it looks for is a single HTTP/1.x response with `Content-Length` and `Connection: close` (RFC 9112
//! sections 6 and 9.6) at the start of the stream: when its body is complete, the server's close is expected. Anything
//! else, a response on a kept-alive connection included, gives no reason to close, and the close is held.

use serde::{Deserialize, Serialize};

use super::{Restart, Service, stored};

/// Longest response head looked at.
const MAX_HEAD: usize = 8 * 1024;

#[derive(Debug, Serialize, Deserialize)]
enum State {
    /// Collecting the response head.
    Head(Vec<u8>),
    /// The body ends at this position.
    Body(u64),
    /// Not a stream that tells its end.
    Unknown,
}

/// See the module's text.
#[derive(Debug)]
pub struct Opaque {
    state: State,
}

impl Default for Opaque {
    fn default() -> Self {
        Self {
            state: State::Head(Vec::new()),
        }
    }
}

impl Service for Opaque {
    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        match &mut self.state {
            State::Head(head) => {
                let known = head.len();
                head.extend_from_slice(&bytes[..bytes.len().min(MAX_HEAD - known)]);
                if at != known as u64 || !b"HTTP/1."[..].starts_with(&head[..head.len().min(7)]) {
                    self.state = State::Unknown;
                } else if let Some(end) = find(head, b"\r\n\r\n") {
                    let body = (end + 4) as u64;
                    self.state = body_length(&head[..end])
                        .and_then(|length| body.checked_add(length))
                        .filter(|&end| at + bytes.len() as u64 <= end)
                        .map_or(State::Unknown, State::Body);
                } else if head.len() >= MAX_HEAD {
                    self.state = State::Unknown;
                }
            }
            State::Body(end) if at + bytes.len() as u64 > *end => self.state = State::Unknown,
            State::Body(_) | State::Unknown => {}
        }
    }

    fn rewind(&mut self, _: Restart) {
        *self = Self::default();
    }

    fn close_expected(&self, at: u64) -> bool {
        matches!(self.state, State::Body(end) if end == at)
    }

    fn kind(&self) -> &'static str {
        "opaque"
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.state).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        stored::restore(
            &mut self.state,
            saved,
            |state| !matches!(state, State::Head(head) if head.len() >= MAX_HEAD),
        )
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|at| at == needle)
}

/// The `Content-Length` of a response head after which the server will close.
fn body_length(head: &[u8]) -> Option<u64> {
    let head = std::str::from_utf8(head).ok()?;
    let (mut length, mut close) = (None, false);
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.trim().eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
    }
    length.filter(|_| close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(chunks: &[&[u8]]) -> bool {
        let mut service = Opaque::default();
        let mut at = 0;
        for chunk in chunks {
            service.server_bytes(at, chunk);
            at += chunk.len() as u64;
        }
        service.close_expected(at)
    }

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";

    #[test]
    fn close_is_expected_exactly_at_the_end_of_the_body() {
        assert!(!fed(&[HEAD]));
        assert!(!fed(&[HEAD, b"1234"]));
        assert!(fed(&[HEAD, b"1234", b"5"]));
        assert!(!fed(&[HEAD, b"1234", b"56"]));
        for cut in 1..HEAD.len() {
            assert!(fed(&[&HEAD[..cut], &HEAD[cut..], b"12345"]));
        }
    }

    #[test]
    fn restored_anywhere_it_goes_on_as_before() {
        let stream = [HEAD, b"12345"].concat();
        for cut in 0..=stream.len() {
            let mut first = Opaque::default();
            first.server_bytes(0, &stream[..cut]);
            let mut second = Opaque::default();
            assert!(second.restore(&first.save()));
            second.server_bytes(cut as u64, &stream[cut..]);
            assert!(second.close_expected(stream.len() as u64));
        }
        assert!(!Opaque::default().restore(&[9, 9]));
    }

    #[test]
    fn kept_alive_and_foreign_streams_never_expect_a_close() {
        assert!(!fed(&[b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"]));
        assert!(!fed(&[b"220 ready\r\n"]));
        assert!(!fed(&[
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        ]));
        assert!(!fed(&[&[b'H'; MAX_HEAD + 9]]));
        assert!(!fed(&[b"HTTP/1.1 200 OK\r\n", &[b'a'; MAX_HEAD]]));
    }
}
