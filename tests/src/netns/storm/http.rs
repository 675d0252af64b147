// SPDX-License-Identifier: GPL-3.0-only
//! Requests to nginx over a [`Wire`].

use super::tally::Trouble;
use super::wire::Wire;

/// Longest head of a response.
const HEAD: usize = 4096;

/// Asks for a file by its number.
pub(super) fn request(file: usize) -> Vec<u8> {
    format!("GET /{file} HTTP/1.1\r\nHost: web\r\n\r\n").into_bytes()
}

/// Reads a response and compares its body with `content`.
pub(super) fn expect(wire: &mut Wire<'_>, content: &[u8]) -> Result<(), Trouble> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD {
            return Err(corrupted("no end of its head", &head));
        }
        let mut byte = [0];
        wire.take(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let length = format!("Content-Length: {}\r\n", content.len());
    if !text.starts_with("HTTP/1.1 200 OK\r\n") || !text.contains(&length) {
        return Err(corrupted("another head than expected", &head));
    }
    wire.expect(content)
}

fn corrupted(what: &str, head: &[u8]) -> Trouble {
    Trouble::Corrupted(format!("response with {what}: {}", head.escape_ascii()))
}
