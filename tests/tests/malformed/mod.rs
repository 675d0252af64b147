// SPDX-License-Identifier: GPL-3.0-only
//! Requests that are malformed, ambiguous, huge or slow: what smugglers of requests send (RFC 9112 section 11.2), and what
//! breaks parsers.

/// An entry.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// What is sent, in these pieces, with a pause between them.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// The plug-in must say that it does not understand it.
    pub(crate) unclear: bool,
}

fn entry(name: &'static str, unclear: bool, text: &str) -> Entry {
    Entry {
        name,
        pieces: vec![text.as_bytes().to_vec()],
        unclear,
    }
}

/// All of them. `base` stands before each path: nothing, or where the origin is of which a proxy is asked.
pub(crate) fn corpus(base: &str) -> Vec<Entry> {
    let get = &format!("GET {base}/small HTTP/1.1\r\nHost: web\r\n\r\n");
    // A POST with these fields and this body, and a request behind it.
    let post = |name, unclear, fields: &str, body: &str| {
        let text = format!("POST {base}/small HTTP/1.1\r\nHost: web\r\n{fields}\r\n{body}{get}");
        entry(name, unclear, &text)
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    let huge = "a".repeat(40_000);
    let fields: String = (0..300).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let with = |field: &str| format!("GET {base}/small HTTP/1.1\r\nHost: web\r\n{field}\r\n\r\n");
    let slow = |text: &str| text.bytes().map(|byte| vec![byte]).collect();
    vec![
        entry("a good request", false, get),
        entry("two good requests", false, &get.repeat(2)),
        post(
            "lengths and chunks (CL.TE)",
            true,
            "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\nG",
        ),
        post(
            "chunks and lengths (TE.CL)",
            true,
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
        ),
        post(
            "two lengths",
            true,
            "Content-Length: 3\r\nContent-Length: 5\r\n",
            "abcde",
        ),
        post("a list of lengths", true, "Content-Length: 3, 3\r\n", "abc"),
        post(
            "the same length twice",
            false,
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "abc",
        ),
        post(
            "a length with a sign",
            true,
            "Content-Length: +3\r\n",
            "abc",
        ),
        post("a negative length", true, "Content-Length: -1\r\n", ""),
        post(
            "a length beyond 64 bits",
            true,
            "Content-Length: 99999999999999999999\r\n",
            "",
        ),
        post(
            "a hexadecimal length",
            true,
            "Content-Length: 0x3\r\n",
            "abc",
        ),
        post("an empty length", true, "Content-Length:\r\n", ""),
        post(
            "a space before the colon",
            true,
            "Content-Length : 3\r\n",
            "abc",
        ),
        post(
            "an unknown coding",
            true,
            "Transfer-Encoding: xchunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunks twice",
            true,
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunks that are coded after",
            true,
            "Transfer-Encoding: chunked, gzip\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunk extensions",
            false,
            chunked,
            "3;a=\"b\"\r\nabc\r\n0;x\r\n\r\n",
        ),
        post("trailers", false, chunked, "3\r\nabc\r\n0\r\nX: y\r\n\r\n"),
        post(
            "a chunk size beyond 64 bits",
            true,
            chunked,
            "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        ),
        post(
            "a chunk that is too long",
            true,
            chunked,
            "3\r\nabcdef\r\n0\r\n\r\n",
        ),
        post(
            "a chunk size that is none",
            true,
            chunked,
            "zz\r\nabc\r\n0\r\n\r\n",
        ),
        post(
            "a chunk size with a sign",
            true,
            chunked,
            "-3\r\nabc\r\n0\r\n\r\n",
        ),
        entry("a folded field", true, &with("X: a\r\n b")),
        entry("bare line feeds", false, &get.replace("\r\n", "\n")),
        entry("a bare carriage return", true, &with("X: a\rb")),
        entry("a zero byte in a field", true, &with("X: a\0b")),
        entry(
            "a zero byte in the path",
            true,
            &format!("GET {base}/sm\0all HTTP/1.1\r\nHost: web\r\n\r\n"),
        ),
        entry("no colon", true, &with("X")),
        entry("a field without a name", true, &with(": x")),
        entry("a huge field", true, &with(&format!("X: {huge}"))),
        entry("many fields", true, &with(fields.trim_end())),
        entry(
            "a huge path",
            true,
            &format!("GET {base}/{huge} HTTP/1.1\r\nHost: web\r\n\r\n"),
        ),
        entry(
            "another version",
            true,
            &format!("GET {base}/small HTTP/9.9\r\nHost: web\r\n\r\n"),
        ),
        entry("no version", true, &format!("GET {base}/small\r\n\r\n")),
        entry("no HTTP", true, "\x16\x03\u{1}\0\u{5}hello\r\n\r\n"),
        entry("HTTP/2", true, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        entry("empty lines first", false, &format!("\r\n\r\n{get}")),
        entry("an unknown method", false, &get.replace("GET", "BREW")),
        entry(
            "no host",
            false,
            &format!("GET {base}/small HTTP/1.1\r\n\r\n"),
        ),
        Entry {
            name: "one byte at a time",
            pieces: slow(get),
            unclear: false,
        },
        Entry {
            name: "one byte at a time, malformed",
            pieces: slow(&with("Content-Length: 3\r\nContent-Length: 4")),
            unclear: true,
        },
        Entry {
            name: "a head that never ends",
            pieces: slow(&format!("GET {base}/small HTTP/1.1\r\nX: ")),
            unclear: false,
        },
    ]
}
