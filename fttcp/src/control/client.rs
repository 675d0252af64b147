// SPDX-License-Identifier: GPL-3.0-only
//! A blocking client of the control protocol: a request out, its reply back.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request};

/// How long a reply may take. The logger answers at once; only a stopped one does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a logger.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no logger answers at {path}: {source}; is ftlogger running, and is --socket right?", path = path.display())]
    NoLogger {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("the logger at {path} did not answer: {source}", path = path.display())]
    NoAnswer {
        /// Where it listens.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The logger refused.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Connects to the logger that listens at `path`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(stream)
            })
            .map_err(|source| ClientError::NoLogger {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            stream: BufReader::new(stream),
        })
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// The logger went away or is stopped, or it answered [`Reply::Error`].
    pub fn request(&mut self, request: &Request) -> Result<Reply, ClientError> {
        match self.exchange(request) {
            Ok(Reply::Error { message }) => Err(ClientError::Refused(message)),
            Ok(reply) => Ok(reply),
            Err(source) => Err(ClientError::NoAnswer {
                path: self.path.clone(),
                source,
            }),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut answer = String::new();
        if self.stream.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}
