// SPDX-License-Identifier: GPL-3.0-only
//! Clients: the command that runs a stock curl, and a connection of our own on which requests can be sent one by one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::space::Space;
use super::topology::SERVER;

/// How long our own client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command that lets curl write `files`, one after the other over one connection, to its standard output.
#[must_use]
pub fn curl(client: &Space, options: &[&str], files: &[&str]) -> Vec<String> {
    let inside = [
        "ip",
        "netns",
        "exec",
        client.name(),
        "curl",
        "-s",
        "--max-time",
        "60",
    ];
    let urls = files.iter().map(|file| format!("http://{SERVER}/{file}"));
    let words = inside.iter().chain(options).map(|word| (*word).to_owned());
    words.chain(urls).collect()
}

/// A connection to the server.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `200`, `404` ...
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects from `client` to TCP port `port` of the server.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn open(client: &Space, port: u16) -> Result<Self, String> {
        let stream = client
            .enter(move || -> std::io::Result<TcpStream> {
                let address: SocketAddr = format!("{SERVER}:{port}")
                    .parse()
                    .map_err(std::io::Error::other)?;
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })?
            .map_err(|error| format!("cannot connect to {SERVER}:{port}: {error}"))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends a request for `file`, with more header lines.
    ///
    /// # Errors
    /// The connection broke.
    pub fn ask(&mut self, file: &str, lines: &[String]) -> Result<(), String> {
        let mut text = format!("GET /{file} HTTP/1.1\r\nHost: web\r\n");
        for line in lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        self.send(text.as_bytes())
            .map_err(|error| format!("request for {file}: {error}"))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.stream.get_mut().write_all(bytes);
        sent.map_err(|error| format!("sending broke off: {error}"))
    }

    /// Whether nothing comes for `time`: no byte, no end, no reset.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub fn is_silent_for(&self, time: Duration) -> Result<bool, String> {
        let timeout = Timespec::try_from(time).map_err(|error| error.to_string())?;
        let mut fds = [PollFd::new(self.stream.get_ref(), PollFlags::IN)];
        poll(&mut fds, Some(&timeout))
            .map(|events| events == 0)
            .map_err(|error| format!("cannot wait for the server: {error}"))
    }

    /// Reads a whole response.
    ///
    /// # Errors
    /// The connection broke or ended, or this is not HTTP.
    pub fn answer(&mut self) -> Result<Response, String> {
        let broke = |error| format!("the response broke off: {error}");
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or("no status line")?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value
                    .trim()
                    .parse()
                    .map_err(|error| format!("{line}: {error}"))?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).map_err(broke)?;
        Ok(Response { status, body })
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// The connection broke or ended.
    pub fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("the response broke off: {error}")),
        }
    }
}
