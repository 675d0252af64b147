// SPDX-License-Identifier: GPL-3.0-only
//! The origin behind proxies, in the client's namespace: serves files (with ranges), and counts what is posted.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::netns::topology::{CLIENT, Topology};

/// Where it listens.
pub const PORT: u16 = 8080;

/// How often each path was posted to.
type Posts = Arc<Mutex<BTreeMap<String, u32>>>;

/// A running origin. It lives as long as the program.
#[derive(Debug)]
pub struct Origin {
    posts: Posts,
}

/// The head of a request, as far as it matters.
#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    length: usize,
    chunked: bool,
    close: bool,
    range: Option<String>,
    validator: Option<String>,
}

impl Origin {
    /// Serves the files of the house, in the client's namespace.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(topology: &Topology) -> Result<Self, String> {
        let listener = topology
            .client()
            .enter(|| TcpListener::bind((CLIENT, PORT)))?
            .map_err(|error| format!("the origin cannot listen: {error}"))?;
        let posts = Posts::default();
        let (counted, files) = (Arc::clone(&posts), topology.folder().join("files"));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (posts, files) = (Arc::clone(&counted), files.clone());
                std::thread::spawn(move || serve(&stream, &posts, &files));
            }
        });
        Ok(Self { posts })
    }

    /// How often each path was posted to.
    #[must_use]
    pub fn posts(&self) -> BTreeMap<String, u32> {
        let posts = self.posts.lock();
        posts.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut stream: &TcpStream, posts: &Posts, files: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        if request.chunked {
            skip_chunks(&mut reader)?;
        } else {
            reader.read_exact(&mut vec![0; request.length])?;
        }
        let close = if request.close { "close" } else { "keep-alive" };
        let close = format!("Connection: {close}\r\n");
        if request.method == "POST" {
            let mut posts = posts.lock().unwrap_or_else(PoisonError::into_inner);
            *posts.entry(request.path).or_default() += 1;
            drop(posts);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{close}\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(b"done\n")?;
        } else {
            answer(stream, &request, &close, files)?;
        }
        if request.close {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let mut request = Request {
        method: word(),
        path: word(),
        ..Request::default()
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
                request.length = one.trim().parse().map_err(std::io::Error::other)?;
            }
            "transfer-encoding" => request.chunked = true,
            "connection" if value.eq_ignore_ascii_case("close") => request.close = true,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => request.close = false,
            "range" => request.range = Some(value.to_owned()),
            "if-range" => request.validator = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// Reads a body in chunks with its trailers (RFC 9112 section 7.1). What is left of one would be taken for a request, and
/// its answer for that of another client: proxies share their connections to an origin.
fn skip_chunks(reader: &mut impl BufRead) -> std::io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(std::io::Error::other)?;
        if size == 0 {
            break;
        }
        reader.read_exact(&mut vec![0; size + 2])?;
    }
    while reader.read_line(&mut line)? > 2 {}
    Ok(())
}

fn answer(
    mut stream: &TcpStream,
    request: &Request,
    close: &str,
    files: &Path,
) -> std::io::Result<()> {
    let name = request.path.trim_start_matches('/');
    let path: PathBuf = files.join(name);
    let content = if name.contains("..") {
        None
    } else {
        fs::read(&path).ok()
    };
    let Some(content) = content else {
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

/// The bytes from the first to before the last that a `Range` asks for.
fn part(range: &str, all: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = last.parse().map_or(all, |last: usize| all.min(last + 1));
    (first < last).then_some((first, last))
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
