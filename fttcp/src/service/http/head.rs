// SPDX-License-Identifier: GPL-3.0-only
//! What the head of a message says of the message's end (RFC 9112 section 6).

use httparse::{Header, Status};

use super::once::IDEMPOTENT;

/// Most header fields of a head. One with more is not understood.
const FIELDS: usize = 128;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes follow.
    Length(u64),
    /// Chunks follow (RFC 9112 section 7.1).
    Chunked,
    /// It ends with the connection.
    UntilClose,
    /// The connection is not HTTP any more (RFC 9110 sections 7.8 and 9.3.6).
    Tunnel,
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) framing: Framing,
    /// The response has no body.
    pub(super) is_head: bool,
    /// It asks for a tunnel.
    pub(super) is_connect: bool,
    /// It asks for another protocol (RFC 9110 section 7.8).
    pub(super) upgrades: bool,
    /// Issued twice it does the same as once (RFC 9110 section 9.2.2).
    pub(super) idempotent: bool,
    /// The client closes, or expects the server to.
    pub(super) closes: bool,
}

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) framing: Framing,
    /// Another response to the same request follows.
    pub(super) is_interim: bool,
    /// The server will close after it.
    pub(super) closes: bool,
}

/// What was found at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// The head is longer.
    Partial,
    /// A head of so many bytes.
    Head(usize, T),
    /// Nothing that is understood, or that two readers could understand differently (RFC 9112 section 11.2).
    Foreign,
}

/// The fields that matter here.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    coded: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Fields {
    /// `None`: they contradict each other.
    fn read(fields: &[Header<'_>]) -> Option<Self> {
        let mut found = Self::default();
        for field in fields {
            let value = std::str::from_utf8(field.value).ok()?;
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            let has = |word: &str| {
                let mut words = value.split(',');
                words.any(|it| it.trim().eq_ignore_ascii_case(word))
            };
            if is("content-length") {
                let digits = value.trim();
                let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
                let length: u64 = digits.parse().ok().filter(|_| plain)?;
                if found.length.is_some_and(|known| known != length) {
                    return None;
                }
                found.length = Some(length);
            } else if is("transfer-encoding") {
                if found.coded {
                    return None;
                }
                found.coded = true;
                let last = value.rsplit(',').next().unwrap_or_default();
                found.chunked = last.trim().eq_ignore_ascii_case("chunked");
            } else if is("connection") || is("proxy-connection") {
                found.close |= has("close");
                found.keep_alive |= has("keep-alive");
            } else if is("upgrade") {
                found.upgrade = true;
            }
        }
        (!found.coded || found.length.is_none()).then_some(found)
    }

    const fn closes(&self, minor: u8) -> bool {
        self.close || (minor == 0 && !self.keep_alive)
    }
}

/// Reads a request's head.
pub(super) fn request(bytes: &[u8]) -> Found<Request> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let len = match head.parse(bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Found::Partial,
        Err(_) => return Found::Foreign,
    };
    let (Some(method), Some(minor)) = (head.method, head.version) else {
        return Found::Foreign;
    };
    let Some(fields) = Fields::read(head.headers) else {
        return Found::Foreign;
    };
    let framing = match (fields.chunked, fields.coded) {
        (true, _) => Framing::Chunked,
        // A server cannot know where it ends (RFC 9112 section 6.1).
        (false, true) => return Found::Foreign,
        (false, false) => Framing::Length(fields.length.unwrap_or(0)),
    };
    Found::Head(
        len,
        Request {
            framing,
            is_head: method == "HEAD",
            is_connect: method == "CONNECT",
            upgrades: fields.upgrade,
            idempotent: IDEMPOTENT.contains(&method),
            closes: fields.closes(minor),
        },
    )
}

/// Reads the head of a response to `request`.
pub(super) fn response(bytes: &[u8], request: &Asked) -> Found<Response> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let len = match head.parse(bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Found::Partial,
        Err(_) => return Found::Foreign,
    };
    let (Some(status), Some(minor)) = (head.code, head.version) else {
        return Found::Foreign;
    };
    let Some(fields) = Fields::read(head.headers) else {
        return Found::Foreign;
    };
    let opened = status == 101 || (request.is_connect && (200..300).contains(&status));
    let is_interim = (100..200).contains(&status) && !opened;
    let bare = is_interim || request.is_head || matches!(status, 204 | 304);
    let framing = match fields.length {
        _ if opened => Framing::Tunnel,
        _ if bare => Framing::Length(0),
        _ if fields.chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    Found::Head(
        len,
        Response {
            framing,
            is_interim,
            closes: fields.closes(minor),
        },
    )
}

/// Whether the server will close after this response. `None`: it is not understood.
pub(super) fn closes(response: &httparse::Response<'_, '_>) -> Option<bool> {
    let fields = Fields::read(response.headers)?;
    Some(fields.closes(response.version?))
}

/// What of a request its response's end depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) is_connect: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> Option<Framing> {
        match request(head.as_bytes()) {
            Found::Head(len, request) => {
                assert_eq!(len, head.len());
                Some(request.framing)
            }
            Found::Partial => panic!("the head is whole"),
            Found::Foreign => None,
        }
    }

    fn answer(head: &str, asked: Asked) -> Option<Response> {
        match response(head.as_bytes(), &asked) {
            Found::Head(_, response) => Some(response),
            Found::Partial => panic!("the head is whole"),
            Found::Foreign => None,
        }
    }

    #[test]
    fn ends_of_requests_are_told_by_their_heads() {
        let post = |fields: &str| framing(&format!("POST / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(post(""), Some(Framing::Length(0)));
        assert_eq!(post("Content-Length: 7\r\n"), Some(Framing::Length(7)));
        let twice = "Content-Length: 7\r\nContent-Length: 7\r\n";
        assert_eq!(post(twice), Some(Framing::Length(7)));
        let coded = "Transfer-Encoding: gzip, chunked\r\n";
        assert_eq!(post(coded), Some(Framing::Chunked));
    }

    #[test]
    fn heads_that_smuggle_are_foreign() {
        for fields in [
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +7\r\n",
            "Content-Length: 7, 7\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length : 7\r\n",
            "X: a\r\n b\r\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(framing(&head), None, "{fields:?}");
        }
    }

    #[test]
    fn responses_end_as_their_requests_and_status_say() {
        let plain = Asked::default();
        let of = |head: &str, asked| answer(head, asked).map(|it| it.framing);
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(of(length, plain), Some(Framing::Length(9)));
        let is_head = Asked {
            is_head: true,
            ..plain
        };
        assert_eq!(of(length, is_head), Some(Framing::Length(0)));
        let is_connect = Asked {
            is_connect: true,
            ..plain
        };
        assert_eq!(of(length, is_connect), Some(Framing::Tunnel));
        assert_eq!(
            of("HTTP/1.1 200 OK\r\n\r\n", plain),
            Some(Framing::UntilClose)
        );
        let unchanged = "HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(of(unchanged, plain), Some(Framing::Length(0)));
        let go_on = answer("HTTP/1.1 100 Continue\r\n\r\n", plain).unwrap();
        assert!(go_on.is_interim && go_on.framing == Framing::Length(0));
        let other = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(of(other, plain), Some(Framing::Tunnel));
        let old = answer("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", plain).unwrap();
        assert!(old.closes);
    }
}
