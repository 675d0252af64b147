// SPDX-License-Identifier: GPL-3.0-only
//! The origin of the tests' own: behind proxies, in the client's namespace, or a server by itself. It serves files (`files`),
//! counts what is posted, echoes what comes after an upgrade, says bad responses (`odd`), and dies of a request if it is told to.

mod files;
pub mod odd;
mod request;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::netns::topology::{CLIENT, Topology};

pub use files::{CHUNKS, sum};
pub use request::{chunk, chunks, trailers};

/// Where it listens behind proxies.
pub const PORT: u16 = 8080;
/// What it says on standard error when it listens, as a server by itself.
pub const READY: &str = "http-server is listening";
/// A server by itself dies of a request for this.
pub const DEADLY: &str = "/die";
/// A request for this is not answered.
pub const SILENT: &str = "/silent";
/// An upgrade to this path is answered with a number that no other has: what says it again says another.
pub const NUMBERED: &str = "/numbered";
/// Each request's first line is added to this file of the house.
const ASKED: &str = "asked";
/// Added to each byte that is echoed: an echo of nobody else's.
const ECHO: u8 = 1;

/// How often each path was posted to.
type Posts = Arc<Mutex<BTreeMap<String, u32>>>;

/// A running origin. It lives as long as the program.
#[derive(Debug)]
pub struct Origin {
    posts: Posts,
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
        let house = House {
            posts: Arc::clone(&posts),
            files: topology.folder().join("files"),
            mortal: false,
        };
        std::thread::spawn(move || house.serve(&listener));
        Ok(Self { posts })
    }

    /// How often each path was posted to.
    #[must_use]
    pub fn posts(&self) -> BTreeMap<String, u32> {
        let posts = self.posts.lock();
        posts.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves the files in `folder` at port 80 for ever, or until it is asked to die.
///
/// # Errors
/// It cannot listen.
pub fn run(folder: &Path) -> std::io::Result<()> {
    let listener = TcpListener::bind(("::", 80))?;
    eprintln!("{READY}");
    let house = House {
        posts: Posts::default(),
        files: folder.to_owned(),
        mortal: true,
    };
    house.serve(&listener);
    Ok(())
}

/// The first lines of all requests that origins of this house have got, in their order.
///
/// # Errors
/// There was none.
pub fn asked(topology: &Topology) -> Result<Vec<String>, String> {
    let path = topology.folder().join(ASKED);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// What an echo of these bytes is.
#[must_use]
pub fn echo(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte.wrapping_add(ECHO)).collect()
}

/// What all connections share.
#[derive(Clone, Debug)]
struct House {
    posts: Posts,
    files: PathBuf,
    /// A request may end the process.
    mortal: bool,
}

impl House {
    fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming().map_while(Result::ok) {
            let house = self.clone();
            // What ends a connection is its client's business.
            std::thread::spawn(move || house.talk(&stream));
        }
    }

    fn talk(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = request::Request::read(&mut reader)? {
            files::note(&self.files, &format!("{} {}", request.method, request.path))?;
            if self.mortal && request.path == DEADLY {
                std::process::abort();
            }
            if request.path == SILENT {
                reader.read_to_end(&mut Vec::new())?;
                break;
            }
            if request.expects {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let (body, trailers) = request.body(&mut reader)?;
            let close = if request.close { "close" } else { "keep-alive" };
            let close = format!("Connection: {close}\r\n");
            if request.upgrade {
                stream.write_all(upgraded(&request.path).as_bytes())?;
                return echo_all(reader, stream);
            }
            if let Some(name) = request.path.strip_prefix(odd::PATH) {
                let odd = odd::named(name).ok_or_else(|| std::io::Error::other("no such"))?;
                for piece in odd.pieces {
                    stream.write_all(&piece)?;
                }
                if odd.closes {
                    break;
                }
                continue;
            }
            match request.method.as_str() {
                "POST" => {
                    let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
                    *posts.entry(request.path).or_default() += 1;
                    drop(posts);
                    say(stream, &close, "done\n")?;
                }
                "PUT" => say(stream, &close, &files::receipt(&body, &trailers))?,
                _ => files::answer(stream, &request, &close, &self.files)?,
            }
            if request.close {
                break;
            }
        }
        Ok(())
    }
}

/// The head after which the other protocol begins.
fn upgraded(path: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = match path {
        NUMBERED => format!("Number: {:06}\r\n", NUMBER.fetch_add(1, Ordering::Relaxed)),
        _ => String::new(),
    };
    // A proxy wants an answer to the client's key, and leaves it to the client to see whether it is the right one.
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{number}\r\n"
    )
}

fn say(mut stream: &TcpStream, close: &str, text: &str) -> std::io::Result<()> {
    let length = text.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())
}

fn echo_all(mut reader: impl Read, mut stream: &TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&echo(&buffer[..count]))?;
    }
}
