// SPDX-License-Identifier: GPL-3.0-only
//! Requests for a part of a response, and how servers treat them.

/// What servers make of a request for a part (RFC 9110 section 14). With any but the first, responses have a validator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ranges {
    /// They do not know such requests, and say so.
    #[default]
    Unknown,
    /// They give the part.
    Given,
    /// They give the whole.
    Ignored,
    /// They give a part of another version.
    OtherVersion,
    /// They give another part.
    OtherPart,
    /// They close.
    Closed,
    /// They say nothing.
    Silent,
}

/// A request for the part of a response that begins at a byte, and what that is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: usize,
}

/// A request as the client had made it, and which part of its response is asked for.
pub(super) fn split(request: &[u8]) -> (Vec<u8>, Option<Part>) {
    let mut whole = Vec::with_capacity(request.len());
    let (mut first, mut validated) = (None, false);
    let mut in_head = true;
    for line in request.split_inclusive(|&byte| byte == b'\n') {
        let text = if in_head { line } else { &[] };
        if let Some(value) = text.strip_prefix(b"Range: bytes=") {
            let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
            let digits: String = digits.map(|&byte| char::from(byte)).collect();
            first = digits.parse().ok();
        } else if text.starts_with(b"If-Range: \"") {
            validated = true;
        } else {
            whole.extend_from_slice(line);
        }
        in_head &= line != b"\r\n";
    }
    (
        whole,
        first.filter(|_| validated).map(|first| Part { first }),
    )
}

/// What a server says to a request for a part of this response, whose body begins at `body`. `None`: it closes.
pub(super) fn answer(
    ranges: Ranges,
    part: Part,
    response: &[u8],
    body: usize,
    tag: &str,
) -> Option<Vec<u8>> {
    let total = response.len() - body;
    let first = part.first.min(total);
    let tag = match ranges {
        Ranges::Unknown | Ranges::Ignored => return Some(response.to_vec()),
        Ranges::Closed => return None,
        Ranges::Silent => return Some(Vec::new()),
        Ranges::OtherVersion => "other",
        Ranges::Given | Ranges::OtherPart => tag,
    };
    let first = first - usize::from(ranges == Ranges::OtherPart);
    let (left, last) = (total - first, total - 1);
    let close = memchr::memmem::find(&response[..body], b"Connection: close\r\n");
    let close = close.map_or("", |_| "Connection: close\r\n");
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\n{close}ETag: \"{tag}\"\r\nContent-Length: {left}\r\nContent-Range: bytes {first}-{last}/{total}\r\n\r\n"
    );
    Some([head.as_bytes(), &response[body + first..]].concat())
}
