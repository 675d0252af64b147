// SPDX-License-Identifier: GPL-3.0-only
//! The response to a request that no server will answer any more (RFC 9110 section 15.6.3).

const BODY: &str = "The server failed before it answered this request.\n";

/// A whole response, after which the connection ends. One to a HEAD request has no body.
pub(super) fn bad_gateway(is_head: bool) -> Vec<u8> {
    let (length, body) = (BODY.len(), if is_head { "" } else { BODY });
    format!(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
