// SPDX-License-Identifier: GPL-3.0-only
//! Reading a request (RFC 9112): its head as far as it matters, and its body, by length or in chunks.

use std::io::{BufRead, Error};

/// The head of a request, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    length: usize,
    chunked: bool,
    pub(super) close: bool,
    /// The client waits for leave to send the body.
    pub(super) expects: bool,
    /// It wants to speak another protocol.
    pub(super) upgrade: bool,
    pub(super) range: Option<String>,
    pub(super) validator: Option<String>,
}

impl Request {
    /// The next request's head; `None`: the client has closed.
    pub(super) fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default().to_owned();
        let mut request = Self {
            method: word(),
            path: word(),
            ..Self::default()
        };
        request.close = word() == "HTTP/1.0";
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                return Ok(Some(request));
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                // A proxy may pass a list of the same length on (RFC 9110 section 8.6).
                "content-length" => {
                    let one = value.split(',').next().unwrap_or_default();
                    request.length = one.trim().parse().map_err(Error::other)?;
                }
                "transfer-encoding" => request.chunked = true,
                "connection" if value.eq_ignore_ascii_case("close") => request.close = true,
                "connection" if value.eq_ignore_ascii_case("keep-alive") => request.close = false,
                "expect" => request.expects = value.eq_ignore_ascii_case("100-continue"),
                "upgrade" => request.upgrade = true,
                "range" => request.range = Some(value.to_owned()),
                "if-range" => request.validator = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    /// Its body and its trailers. All of it is read: what is left of one would be taken for a request, and its answer for
    /// that of another client, since proxies share their connections to an origin.
    pub(super) fn body(&self, reader: &mut impl BufRead) -> std::io::Result<(Vec<u8>, String)> {
        if self.chunked {
            return chunks(reader);
        }
        let mut body = vec![0; self.length];
        reader.read_exact(&mut body)?;
        Ok((body, String::new()))
    }
}

/// Reads a body in chunks (RFC 9112 section 7.1): its data, and its trailers as they stand there.
///
/// # Errors
/// The connection broke, or these are no chunks.
pub fn chunks(reader: &mut impl BufRead) -> std::io::Result<(Vec<u8>, String)> {
    let mut body = Vec::new();
    loop {
        let chunk = chunk(reader)?;
        if chunk.is_empty() {
            return Ok((body, trailers(reader)?));
        }
        body.extend(chunk);
    }
}

/// Reads the data of a chunk; of the last, there is none.
///
/// # Errors
/// The connection broke, or this is no chunk.
pub fn chunk(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let size = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16).map_err(|error| ended(&line, &error))?;
    if size == 0 {
        return Ok(Vec::new());
    }
    let mut data = vec![0; size + 2];
    reader.read_exact(&mut data)?;
    if !data.ends_with(b"\r\n") {
        let what = format!("no line ends behind a chunk of {size} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    data.truncate(size);
    Ok(data)
}

/// Reads the trailers behind the last chunk.
///
/// # Errors
/// The connection broke.
pub fn trailers(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut trailers = String::new();
    loop {
        let before = trailers.len();
        if reader.read_line(&mut trailers)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if &trailers[before..] == "\r\n" {
            trailers.truncate(before);
            return Ok(trailers);
        }
    }
}

/// A line that the end of the connection has cut short is no malformed one.
fn ended(line: &str, error: &std::num::ParseIntError) -> Error {
    if line.ends_with('\n') {
        let what = format!("{line:?}: {error}");
        Error::new(std::io::ErrorKind::InvalidData, what)
    } else {
        std::io::ErrorKind::UnexpectedEof.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_and_trailers_kept() {
        let text = "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nSum: 5\r\nEnd: 1\r\n\r\nGET";
        let mut reader = text.as_bytes();
        let (body, trailers) = chunks(&mut reader).unwrap();
        assert_eq!(
            (&body[..], trailers.as_str()),
            (&b"abcde"[..], "Sum: 5\r\nEnd: 1\r\n")
        );
        assert_eq!(reader, b"GET");
    }

    #[test]
    fn what_is_cut_short_has_ended_and_what_is_no_size_is_wrong() {
        for cut in ["", "3", "3\r\nab", "3\r\nabc\r\n", "0\r\n", "0\r\nSum: 5"] {
            let error = chunks(&mut cut.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{cut:?}");
        }
        let error = chunks(&mut &b"xyz\r\n"[..]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
}
