// SPDX-License-Identifier: GPL-3.0-only
//! Talking to `rxld`, and starting it when it does not run.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::proto::{Reply, Request, SOCKET};
use crate::error::{Code, Error, Result};

const OP: &str = "talk to the supervisor";

/// Sends a request to the supervisor and returns its answer. [`Reply::Error`] becomes the error that it carries.
///
/// # Errors
/// What the supervisor says; or that it does not run.
pub fn call(request: &Request) -> Result<Reply> {
    call_at(Path::new(SOCKET), request)
}

/// [`call`] at another socket.
///
/// # Errors
/// As [`call`].
pub fn call_at(socket: &Path, request: &Request) -> Result<Reply> {
    stream_at(socket, request)?.next().unwrap_or_else(|| {
        let cause = "it closed the connection without an answer";
        Err(
            Error::new(Code::System, OP, socket.display().to_string(), cause)
                .hint("see /var/log/xen/rxld.log"),
        )
    })
}

/// Sends a request and returns its answers one by one as they come, for [`Request::Events`] with `follow`.
///
/// # Errors
/// As [`call`].
pub fn stream(request: &Request) -> Result<Replies> {
    stream_at(Path::new(SOCKET), request)
}

/// [`stream`] at another socket.
///
/// # Errors
/// As [`call`].
pub fn stream_at(socket: &Path, request: &Request) -> Result<Replies> {
    let mut connection = UnixStream::connect(socket).map_err(|error| not_there(socket, &error))?;
    let mut line = serde_json::to_vec(request).map_err(|error| failed(socket, error))?;
    line.push(b'\n');
    connection
        .write_all(&line)
        .map_err(|error| failed(socket, error))?;
    Ok(Replies {
        lines: BufReader::new(connection),
        socket: socket.to_owned(),
    })
}

/// The answers to one request.
#[derive(Debug)]
pub struct Replies {
    lines: BufReader<UnixStream>,
    socket: PathBuf,
}

impl Iterator for Replies {
    type Item = Result<Reply>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(match serde_json::from_str(&line) {
                Ok(Reply::Error { error }) => Err(error),
                Ok(reply) => Ok(reply),
                Err(error) => Err(failed(&self.socket, error)),
            }),
            Err(error) => Some(Err(failed(&self.socket, error))),
        }
    }
}

fn not_there(socket: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => Code::Denied,
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Code::State,
        _ => Code::System,
    };
    let failure = Error::new(code, OP, socket.display().to_string(), error);
    match code {
        Code::Denied => failure.hint("run it as root in Dom0"),
        _ => failure.hint("start it: rxld"),
    }
}

fn failed(socket: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(Code::System, OP, socket.display().to_string(), cause)
}

/// Starts the supervisor unless it answers. Returns when it does: a daemon that starts keeps the pipe of its standard
/// output open until it is ready.
///
/// # Errors
/// If it cannot be started, with what it said.
pub fn ensure_running() -> Result<()> {
    if UnixStream::connect(SOCKET).is_ok() {
        return Ok(());
    }
    start(&program())
}

/// `rxld` beside this program, or else the one in the search path.
fn program() -> PathBuf {
    std::env::current_exe()
        .ok()
        .map(|this| this.with_file_name("rxld"))
        .filter(|beside| beside.is_file())
        .unwrap_or_else(|| PathBuf::from("rxld"))
}

/// Runs `rxld`, which leaves the terminal's session and goes to the background by itself once it is ready.
fn start(program: &Path) -> Result<()> {
    let op = "start the supervisor";
    let object = program.display().to_string();
    let cannot = |error: io::Error| Error::new(Code::System, op, &object, error);
    let mut child = Command::new(program)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let mut said = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut said).map_err(cannot)?;
    }
    let status = child.wait().map_err(cannot)?;
    // Two callers may start it at the same time: the second daemon refuses, and the first one serves both.
    if status.success() || UnixStream::connect(SOCKET).is_ok() {
        return Ok(());
    }
    let cause = match said.trim() {
        "" => format!("it ended with {status}"),
        words => words.to_owned(),
    };
    Err(Error::new(Code::System, op, &object, cause).hint("see /var/log/xen/rxld.log"))
}
