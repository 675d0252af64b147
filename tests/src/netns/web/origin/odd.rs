// SPDX-License-Identifier: GPL-3.0-only
//! Bad responses, which the origin says when it is asked for [`PATH`] and a number: malformed, ambiguous, huge, slow, cut
//! short, or more than was asked for (RFC 9112 sections 6.3, 9.3.1 and 11.2).

use std::fmt::Write;

/// Below this path.
pub const PATH: &str = "/odd/";

/// A bad response.
#[derive(Clone, Debug)]
pub struct Odd {
    /// What is bad.
    pub name: &'static str,
    /// Of the request that it answers.
    pub method: &'static str,
    /// What is said, each piece by itself.
    pub pieces: Vec<Vec<u8>>,
    /// The server closes behind it.
    pub closes: bool,
    /// The plug-in must say that it does not understand it.
    pub unclear: bool,
}

impl Odd {
    /// What a client must get.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    fn to(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn slow(self) -> Self {
        let pieces = self.bytes().into_iter().map(|byte| vec![byte]).collect();
        Self { pieces, ..self }
    }
}

/// What the plug-in follows.
fn clear(name: &'static str, text: &str) -> Odd {
    Odd {
        name,
        method: "GET",
        pieces: vec![text.as_bytes().to_vec()],
        closes: false,
        unclear: false,
    }
}

/// What it must give up.
fn unclear(name: &'static str, text: &str) -> Odd {
    Odd {
        unclear: true,
        ..clear(name, text)
    }
}

/// A response of status 200 with these fields and this body.
fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")
}

/// The response that is asked for by this number.
#[must_use]
pub fn named(number: &str) -> Option<Odd> {
    let number: usize = number.parse().ok()?;
    corpus().into_iter().nth(number)
}

/// All of them, in the order of their numbers.
#[must_use]
pub fn corpus() -> Vec<Odd> {
    let mut all = lengths();
    all.extend(chunks());
    all.extend(heads());
    all.extend(ends());
    all
}

fn lengths() -> Vec<Odd> {
    let length = |value: &str| ok(&format!("Content-Length: {value}\r\n"), "hello");
    let bare = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nhello");
    vec![
        clear("a good response", &length("5")),
        unclear(
            "two lengths",
            &ok("Content-Length: 3\r\nContent-Length: 5\r\n", "hello"),
        ),
        clear(
            "the same length twice",
            &ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        ),
        unclear("a list of lengths", &length("5, 5")),
        unclear("a length with a sign", &length("+5")),
        unclear("a negative length", &length("-5")),
        unclear("a hexadecimal length", &length("0x5")),
        unclear("an empty length", &length("")),
        unclear("a length beyond 64 bits", &length("99999999999999999999")),
        unclear(
            "a length that ends beyond 64 bits",
            &length("18446744073709551615"),
        ),
        clear("a length of 63 bits", &length("9223372036854775807")).closing(),
        unclear(
            "bytes behind the length",
            &ok("Content-Length: 3\r\n", "hello"),
        ),
        unclear("a response that nobody asked for", &length("5").repeat(2)),
        unclear("a body after HEAD", &length("5")).to("HEAD"),
        clear("a length after HEAD", &ok("Content-Length: 5\r\n", "")).to("HEAD"),
        unclear("a body after 204", &bare("204 No Content")),
        unclear("a body after 304", &bare("304 Not Modified")),
        unclear(
            "a body after 103",
            &(bare("103 Early Hints") + &length("5")),
        ),
    ]
}

fn chunks() -> Vec<Odd> {
    let chunked = |body: &str| ok("Transfer-Encoding: chunked\r\n", body);
    let coded = |value: &str| ok(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
    vec![
        clear("chunks", &chunked("5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n")),
        clear(
            "a trailer without a colon",
            &chunked("5\r\nhello\r\n0\r\nXy\r\n\r\n"),
        ),
        unclear(
            "lengths and chunks",
            &ok(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        unclear(
            "a chunk size that is none",
            &chunked("zz\r\nhello\r\n0\r\n\r\n"),
        ),
        unclear(
            "a chunk size with a sign",
            &chunked("-5\r\nhello\r\n0\r\n\r\n"),
        ),
        unclear("an empty chunk size", &chunked("\r\nhello\r\n0\r\n\r\n")),
        unclear(
            "a chunk size beyond 64 bits",
            &chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ),
        unclear(
            "a chunk that is too long",
            &chunked("3\r\nhello\r\n0\r\n\r\n"),
        ),
        unclear(
            "a chunk extension that never ends",
            &chunked(&format!("5;{}", "x".repeat(20_000))),
        ),
        unclear(
            "bytes behind the last chunk",
            &chunked("5\r\nhello\r\n0\r\n\r\nmore"),
        ),
        unclear(
            "chunks twice",
            &(coded("chunked\r\nTransfer-Encoding: chunked")),
        ),
        clear("another coding", &coded("gzip")).closing(),
        clear("chunks that are cut short", &chunked("5\r\nhel")).closing(),
    ]
}

fn heads() -> Vec<Odd> {
    let with = |field: &str| ok(&format!("Content-Length: 5\r\n{field}\r\n"), "hello");
    let status = |line: &str| format!("{line}\r\nContent-Length: 5\r\n\r\nhello");
    let mut fields = String::new();
    for number in 0..300 {
        let _ = writeln!(fields, "X-{number}: {number}\r");
    }
    vec![
        unclear("no colon", &with("X")),
        unclear("a space before the colon", &with("X : y")),
        unclear("a field without a name", &with(": y")),
        unclear("a folded field", &with("X: a\r\n b")),
        unclear("a bare carriage return", &with("X: a\rb")),
        unclear("a zero byte in a field", &with("X: a\0b")),
        unclear("a huge field", &with(&format!("X: {}", "a".repeat(40_000)))),
        unclear("many fields", &with(fields.trim_end())),
        clear("bare line feeds", &with("X: y").replace("\r\n", "\n")),
        clear("an empty line first", &format!("\r\n{}", with("X: y"))),
        clear("no reason", &status("HTTP/1.1 200")),
        unclear("another version", &status("HTTP/9.9 200 OK")),
        unclear("a status that is no number", &status("HTTP/1.1 abc OK")),
        unclear("a status of five digits", &status("HTTP/1.1 20000 OK")),
        unclear("another protocol", &status("ICY 200 OK")),
        clear("one byte at a time", &with("X: y")).slow(),
        unclear("one byte at a time, malformed", &with("Content-Length: 4")).slow(),
        clear(
            "a flood of interim responses",
            &("HTTP/1.1 102 Processing\r\n\r\n".repeat(5000) + &with("X: y")),
        ),
    ]
}

fn ends() -> Vec<Odd> {
    vec![
        clear(
            "a body that is cut short",
            &ok("Content-Length: 100\r\n", "hello"),
        )
        .closing(),
        clear("a head that is cut short", "HTTP/1.1 200 OK\r\nContent-Le").closing(),
        clear("nothing", "").closing(),
        clear("a body until the close", &ok("", "hello")).closing(),
        unclear("HTTP/0.9", "<html>hello</html>").closing(),
        unclear("no HTTP", "\x15\x03\u{1}\0\u{2}\u{2}\n\r\n\r\n").closing(),
        // What follows is another protocol's, though nobody wanted one.
        clear(
            "another protocol that nobody asked for",
            "HTTP/1.1 101 x\r\n\r\nhello",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_number_and_a_name_of_its_own() {
        let all = corpus();
        for (number, odd) in all.iter().enumerate() {
            let found = named(&number.to_string()).expect("a number of the corpus");
            assert_eq!(found.name, odd.name);
            let same = all.iter().filter(|it| it.name == odd.name).count();
            assert_eq!(same, 1, "{}", odd.name);
        }
        assert!(named(&all.len().to_string()).is_none());
    }
}
