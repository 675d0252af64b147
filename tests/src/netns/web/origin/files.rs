// SPDX-License-Identifier: GPL-3.0-only
//! Answers with the files of the house: with ranges and a validator, or in chunks with a trailer.

use std::fs;
use std::io::{Error, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::request::Request;
use crate::netns::demo::hex;

/// Below this path files are sent in chunks.
pub const CHUNKS: &str = "/chunks/";
/// Data of a chunk: always as much, so that a replacement says the same.
const CHUNK: usize = 5000;

/// The file that a path names.
fn content(files: &Path, name: &str) -> Option<Vec<u8>> {
    if name.contains("..") {
        return None;
    }
    fs::read(files.join(name)).ok()
}

/// Answers a request for a file; `close`: the field of that name.
pub(super) fn answer(
    mut stream: impl Write,
    request: &Request,
    close: &str,
    files: &Path,
) -> std::io::Result<()> {
    if let Some(name) = request.path.strip_prefix(CHUNKS) {
        return in_chunks(stream, &content(files, name).unwrap_or_default(), close);
    }
    let name = request.path.trim_start_matches('/');
    let Some(content) = content(files, name) else {
        let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{close}\r\n");
        return stream.write_all(head.as_bytes());
    };
    let all = content.len();
    let tag = format!("\"{}-{all}\"", name.replace('/', "-"));
    let same = request.validator.as_ref().is_none_or(|it| *it == tag);
    let range = request.range.as_deref().filter(|_| same);
    let part = range.and_then(|range| part(range, all));
    let (status, from, to) = part.map_or(("200 OK", 0, all), |(from, to)| {
        ("206 Partial Content", from, to)
    });
    let mut head = format!(
        "HTTP/1.1 {status}\r\nETag: {tag}\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n{close}",
        to - from
    );
    if part.is_some() {
        head += &format!("Content-Range: bytes {from}-{}/{all}\r\n", to - 1);
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    stream.write_all(&content[from..to])
}

/// All at once: what a proxy makes of the chunks is then as likely as can be the same twice.
fn in_chunks(mut stream: impl Write, content: &[u8], close: &str) -> std::io::Result<()> {
    let mut text =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n{close}\r\n")
            .into_bytes();
    for chunk in content.chunks(CHUNK) {
        write!(text, "{:x}\r\n", chunk.len())?;
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
    }
    write!(text, "0\r\n{}\r\n", sum(content))?;
    stream.write_all(&text)
}

/// The trailer that says what the data was.
#[must_use]
pub fn sum(content: &[u8]) -> String {
    format!("Sum: {}\r\n", hex(&Sha256::digest(content)))
}

/// The bytes from the first to before the last that a `Range` asks for.
fn part(range: &str, all: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = last.parse().map_or(all, |last: usize| all.min(last + 1));
    (first < last).then_some((first, last))
}

/// What a `PUT` is answered: how much came, and what, trailers included.
pub(super) fn receipt(body: &[u8], trailers: &str) -> String {
    format!("{} bytes\r\n{}{trailers}", body.len(), sum(body))
}

/// Notes that something was asked, for whoever counts: also if the process dies of it.
pub(super) fn note(files: &Path, line: &str) -> std::io::Result<()> {
    let folder = files.parent().ok_or_else(|| Error::other("no folder"))?;
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(super::ASKED))?;
    file.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(part("bytes=0-9", 100), Some((0, 10)));
        assert_eq!(part("bytes=90-", 100), Some((90, 100)));
        assert_eq!(part("bytes=90-200", 100), Some((90, 100)));
        assert_eq!(part("bytes=100-", 100), None);
        assert_eq!(part("lines=1-2", 100), None);
    }
}
