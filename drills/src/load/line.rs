// SPDX-License-Identifier: GPL-3.0-only
//! A connection of a client: lines and bytes, with a bound on how long it waits for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Target;
use super::watch::Watch;

/// Longer lines are not what these protocols have.
const LONGEST: u64 = 16 * 1024;

/// See the module's text. Errors are phrases for a report.
#[derive(Debug)]
pub(super) struct Line {
    stream: BufReader<TcpStream>,
    patience: Duration,
}

impl Line {
    /// Connects to a port of the target.
    pub(super) fn connect(
        target: &Target,
        port: u16,
        watch: &mut Watch<'_>,
    ) -> Result<Self, String> {
        let patience = target.patience;
        let address = SocketAddr::new(target.address.ip(), port);
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = connect().map_err(|error| format!("cannot connect: {error}"))?;
        watch.moved(0);
        Ok(Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            patience,
        })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.stream.get_mut().write_all(bytes);
        sent.map_err(|error| format!("cannot send a request: {}", self.phrase(&error)))
    }

    /// Sends as many of `bytes` as fit.
    pub(super) fn send_some(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let sent = self.stream.get_mut().write(bytes);
        sent.map_err(|error| format!("sending broke off: {}", self.phrase(&error)))
    }

    /// Says that no more is sent.
    pub(super) fn finish(&self) -> Result<(), String> {
        let shut = self.stream.get_ref().shutdown(std::net::Shutdown::Write);
        shut.map_err(|error| format!("cannot end the data connection: {error}"))
    }

    /// The next line, without its end; `None` at the end of the stream.
    pub(super) fn line(&mut self) -> Result<Option<String>, String> {
        let mut line = Vec::new();
        let mut stream = self.stream.by_ref().take(LONGEST);
        let read = stream.read_until(b'\n', &mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned())),
            Err(error) => Err(self.phrase(&error)),
        }
    }

    /// Bytes that have come; none at the end of the stream. [`Self::consume`] takes them.
    pub(super) fn some(&mut self) -> Result<&[u8], String> {
        let patience = self.patience;
        let came = self.stream.fill_buf();
        came.map_err(|error| phrase(&error, patience))
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.stream.consume(bytes);
    }

    fn phrase(&self, error: &std::io::Error) -> String {
        phrase(error, self.patience)
    }
}

/// What has happened to a connection.
fn phrase(error: &std::io::Error, patience: Duration) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("nothing happened for {patience:?}"),
        ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        ErrorKind::BrokenPipe => "the connection was closed".to_owned(),
        _ => error.to_string(),
    }
}
