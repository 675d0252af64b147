// SPDX-License-Identifier: GPL-3.0-only
//! The control socket: several clients, one JSON object a line, nothing that blocks.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::DaemonError;
use crate::control::{Reply, Request};

/// The longest request. A group with a thousand services fits.
const MAX_LINE: usize = 1 << 20;

/// The listening socket and its clients.
#[derive(Debug)]
pub(super) struct Server {
    listener: UnixListener,
    path: PathBuf,
    clients: BTreeMap<u32, Client>,
    accepted: u32,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What a client is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// To be read from.
    Read,
    /// To be written to. It is not read from until it has taken its reply, which bounds what is kept for it.
    Write,
    /// Nothing: it has gone.
    Closed,
}

impl Server {
    /// Listens at `path`, readable and writable by its owner only. What a dead logger left there is replaced.
    pub(super) fn listen(path: &Path) -> Result<Self, DaemonError> {
        let failed = |source| DaemonError::Listen {
            path: path.to_owned(),
            source,
        };
        remove_stale(path)?;
        // The mode must be right from the first moment; a later chmod would leave a gap.
        let before = rustix::process::umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            clients: BTreeMap::new(),
            accepted: 0,
        })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Accepts a client that waits; `None` if there is none.
    pub(super) fn accept(&mut self) -> Option<(u32, BorrowedFd<'_>)> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        let id = self.accepted;
        self.accepted = self.accepted.wrapping_add(1);
        let client = Client {
            stream,
            input: Vec::new(),
            output: Vec::new(),
        };
        let client = self.clients.entry(id).insert_entry(client).into_mut();
        Some((id, client.stream.as_fd()))
    }

    pub(super) fn client(&self, id: u32) -> Option<BorrowedFd<'_>> {
        self.clients.get(&id).map(|c| c.stream.as_fd())
    }

    /// Reads from and writes to client `id` what can be now, and answers its requests.
    pub(super) fn serve(&mut self, id: u32, mut answer: impl FnMut(Request) -> Reply) -> Wants {
        let Some(client) = self.clients.get_mut(&id) else {
            return Wants::Closed;
        };
        let wants = client.serve(&mut answer).unwrap_or(Wants::Closed);
        if wants == Wants::Closed {
            self.clients.remove(&id);
        }
        wants
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Client {
    fn serve(&mut self, answer: &mut impl FnMut(Request) -> Reply) -> io::Result<Wants> {
        let mut ended = false;
        loop {
            if !self.flush()? {
                return Ok(Wants::Write);
            }
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let reply = match serde_json::from_slice(&self.input[..end]) {
                    Ok(request) => answer(request),
                    Err(error) => Reply::Error {
                        message: format!("request not understood: {error}"),
                    },
                };
                self.input.drain(..=end);
                self.queue(&reply);
            } else if ended {
                return Ok(Wants::Closed);
            } else if self.input.len() > MAX_LINE {
                let message = format!("request longer than {MAX_LINE} bytes");
                self.queue(&Reply::Error { message });
                self.flush()?;
                return Ok(Wants::Closed);
            } else {
                match self.fill() {
                    Ok(count) => ended = count == 0,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Wants::Read);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut part = [0; 4096];
        let count = self.stream.read(&mut part)?;
        self.input.extend_from_slice(&part[..count]);
        Ok(count)
    }

    fn queue(&mut self, reply: &Reply) {
        // A reply is made of strings and numbers, which JSON can always hold.
        if serde_json::to_writer(&mut self.output, reply).is_ok() {
            self.output.push(b'\n');
        }
    }

    /// Whether everything was written.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Removes a socket that nobody listens on; anything else at `path` is an error.
fn remove_stale(path: &Path) -> Result<(), DaemonError> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let failed = |source| DaemonError::Listen {
        path: path.to_owned(),
        source,
    };
    if !found.file_type().is_socket() {
        return Err(failed(io::Error::other("a file of another kind is there")));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(DaemonError::Running {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn server(name: &str) -> (Server, PathBuf) {
        let path = std::env::temp_dir().join(format!("ftl-{name}-{}.sock", std::process::id()));
        (Server::listen(&path).unwrap(), path)
    }

    fn exchange(server: &mut Server, stream: &mut UnixStream, text: &[u8]) -> (Wants, String) {
        let (id, _) = server.accept().unwrap();
        stream.write_all(text).unwrap();
        let wants = server.serve(id, |_| Reply::Done);
        stream.set_nonblocking(true).unwrap();
        let mut answers = String::new();
        let mut reader = BufReader::new(stream);
        while matches!(reader.read_line(&mut answers), Ok(n) if n > 0) {}
        (wants, answers)
    }

    #[test]
    fn serve_two_requests_in_one_read_gives_two_replies() {
        let (mut server, path) = server("two");
        let mut stream = UnixStream::connect(&path).unwrap();
        let text = b"{\"op\":\"hello\"}\n{\"op\":\"unprotect\",\"group\":\"web\"}\n{\"op\"";
        let (wants, answers) = exchange(&mut server, &mut stream, text);
        assert_eq!(wants, Wants::Read);
        assert_eq!(answers, "{\"reply\":\"done\"}\n{\"reply\":\"done\"}\n");
    }

    #[test]
    fn serve_nonsense_is_answered_with_an_error() {
        let (mut server, path) = server("nonsense");
        let mut stream = UnixStream::connect(&path).unwrap();
        let (wants, answers) = exchange(&mut server, &mut stream, b"\xff{]\n");
        assert_eq!(wants, Wants::Read);
        assert!(answers.contains("request not understood"), "{answers}");
    }

    #[test]
    fn serve_client_that_leaves_is_closed() {
        let (mut server, path) = server("leaves");
        let stream = UnixStream::connect(&path).unwrap();
        let (id, _) = server.accept().unwrap();
        drop(stream);
        assert_eq!(server.serve(id, |_| Reply::Done), Wants::Closed);
        assert!(server.client(id).is_none());
    }

    #[test]
    fn listen_makes_private_socket_and_refuses_a_second_logger() {
        let (server, path) = server("second");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = Server::listen(&path).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn listen_replaces_what_a_dead_logger_left() {
        let path = std::env::temp_dir().join(format!("ftl-stale-{}.sock", std::process::id()));
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(Server::listen(&path).is_ok());
    }
}
