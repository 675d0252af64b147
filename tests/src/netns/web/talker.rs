// SPDX-License-Identifier: GPL-3.0-only
//! A client of our own that speaks HTTP step by step, and tells a connection that has ended from one that hangs.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::origin::{chunk, chunks, trailers};
use crate::netns::space::Space;
use crate::netns::topology::SERVER;

/// A connection on which nothing comes for so long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the server's port 80.
#[derive(Debug)]
pub struct Talker {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its head, with the empty line.
    pub head: String,
    /// Its body, without the framing.
    pub body: Vec<u8>,
    /// What stood behind a body in chunks.
    pub trailers: String,
}

impl Answer {
    /// Its status, or 0.
    #[must_use]
    pub fn status(&self) -> u16 {
        let word = self.head.split(' ').nth(1).unwrap_or_default();
        word.parse().unwrap_or(0)
    }

    /// The value of a field of its head.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(it, _)| it.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// Whether the connection has ended: closed or reset, as opposed to one that hangs.
#[must_use]
pub fn has_ended(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

impl Talker {
    /// Connects from `space`.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn connect(space: &Space) -> Result<Self> {
        let stream = space
            .enter(|| TcpStream::connect((SERVER, 80)))
            .map_err(Error::other)??;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Its own end, as the logger names it.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn name(&self) -> Result<String> {
        self.stream.get_ref().local_addr().map(|it| it.to_string())
    }

    /// Says this.
    ///
    /// # Errors
    /// The connection has ended, or hangs.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Says a request without a body; `fields`: lines that end with CRLF.
    ///
    /// # Errors
    /// See [`Self::say`].
    pub fn ask(&mut self, method: &str, target: &str, fields: &str) -> Result<()> {
        self.say(format!(
            "{method} {target} HTTP/1.1\r\nHost: web\r\n{fields}\r\n"
        ))
    }

    /// Hears so many bytes.
    ///
    /// # Errors
    /// The connection has ended, or hangs.
    pub fn hear(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Hears a head.
    ///
    /// # Errors
    /// See [`Self::hear`].
    pub fn head(&mut self) -> Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    /// Hears a whole response to a request with this method.
    ///
    /// # Errors
    /// See [`Self::hear`].
    pub fn answer(&mut self, method: &str) -> Result<Answer> {
        let head = self.head()?;
        self.body(method, head)
    }

    /// Hears the rest of a response whose head has come.
    ///
    /// # Errors
    /// See [`Self::hear`].
    pub fn body(&mut self, method: &str, head: String) -> Result<Answer> {
        let (mut body, mut trailers) = (Vec::new(), String::new());
        if method != "HEAD" {
            if field(&head, "Transfer-Encoding").is_some() {
                (body, trailers) = chunks(&mut self.stream)?;
            } else {
                let length = field(&head, "Content-Length").unwrap_or("0").parse();
                body = self.hear(length.map_err(Error::other)?)?;
            }
        }
        Ok(Answer {
            head,
            body,
            trailers,
        })
    }

    /// Hears one chunk of a body in chunks; the last is empty, and trailers follow it.
    ///
    /// # Errors
    /// See [`Self::hear`].
    pub fn chunk(&mut self) -> Result<Vec<u8>> {
        chunk(&mut self.stream)
    }

    /// Hears the trailers, as they stand there.
    ///
    /// # Errors
    /// See [`Self::hear`].
    pub fn trailers(&mut self) -> Result<String> {
        trailers(&mut self.stream)
    }

    /// Says that nothing more will be said.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn finish(&mut self) -> Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// Hears all that comes until the connection ends; whether that was a close, and no reset.
    ///
    /// # Errors
    /// It hangs.
    pub fn rest(&mut self) -> Result<(Vec<u8>, bool)> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => Ok((bytes, true)),
            Err(error) if has_ended(&error) => Ok((bytes, false)),
            Err(error) => Err(error),
        }
    }
}
