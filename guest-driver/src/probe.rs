// SPDX-License-Identifier: GPL-3.0-only
//! Does the service answer? What tells that it hangs while its kernel lives.
//!
//! A connection that is only established proves nothing: the kernel accepts it for a service that stands still. So the
//! probes of TCP services wait for a byte.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

/// How a service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Not at all: the progress is the heartbeat.
    None,
    /// `file:PATH`: it answers if the file's size or time of change is another than the last time.
    File(PathBuf),
    /// `greet:PORT`: it says something to who connects to 127.0.0.1 (FTP, SMTP, SSH).
    Greet(u16),
    /// `http:PORT[/PATH]`: it answers an HTTP request with any status.
    Http(u16, String),
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |word: &str| -> Result<u16, String> {
            let port = word.parse().ok().filter(|&port| port > 0);
            port.ok_or_else(|| format!("expected a port number from 1 to 65535, not {word:?}"))
        };
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("greet", rest)) => Ok(Self::Greet(port(rest)?)),
            Some(("http", rest)) => {
                let (number, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
                if path.contains(char::is_whitespace) {
                    return Err(format!("{path:?} is not a path of a URL"));
                }
                Ok(Self::Http(port(number)?, path.to_owned()))
            }
            _ => Err("expected none, file:/PATH, greet:PORT or http:PORT[/PATH]".to_owned()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Greet(port) => write!(f, "greet:{port}"),
            Self::Http(port, path) => write!(f, "http:{port}{path}"),
        }
    }
}

/// A probe with what it has to remember.
#[derive(Debug)]
pub struct Prober {
    probe: Probe,
    /// Size and time of change of the file at the last look.
    last: Option<(u64, SystemTime)>,
}

impl Prober {
    /// Nothing has been asked yet.
    #[must_use]
    pub const fn new(probe: Probe) -> Self {
        Self { probe, last: None }
    }

    /// Asks once, for at most `limit`. Blocks.
    pub fn answers(&mut self, limit: Duration) -> bool {
        match &self.probe {
            Probe::None => true,
            Probe::File(path) => {
                let now = std::fs::metadata(path)
                    .and_then(|about| Ok((about.len(), about.modified()?)))
                    .ok();
                let moved = now.is_some() && now != self.last;
                self.last = now.or(self.last);
                moved
            }
            Probe::Greet(port) => says_something(*port, "", limit).is_ok(),
            Probe::Http(port, path) => {
                let request = format!("GET {path} HTTP/1.0\r\nUser-Agent: rxl-guest\r\n\r\n");
                says_something(*port, &request, limit).is_ok()
            }
        }
    }
}

/// Connects, sends `request`, and waits for the first byte.
fn says_something(port: u16, request: &str, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    // A time-out of zero is refused by the standard library: what is left is at least a millisecond.
    let left = || {
        deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1))
    };
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&here, left())?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(request.as_bytes())?;
    stream.set_read_timeout(Some(left()))?;
    stream.read_exact(&mut [0])
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(30);

    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn forms() {
        for text in ["none", "file:/a b", "greet:21", "http:80/x?y"] {
            assert_eq!(text.parse::<Probe>().unwrap().to_string(), text);
        }
        assert_eq!("http:80".parse(), Ok(Probe::Http(80, "/".into())));
        for bad in ["", "file:a", "greet:0", "http:x", "http:80/a b", "tcp:80"] {
            assert!(bad.parse::<Probe>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_service_that_accepts_nothing_hangs_although_its_kernel_answers() {
        let (_listener, port) = listener();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        for probe in [Probe::Greet(port), Probe::Http(port, "/".into())] {
            assert!(!Prober::new(probe).answers(LIMIT));
        }
    }

    #[test]
    fn a_service_that_says_a_byte_answers() {
        let (listener, port) = listener();
        let server = std::thread::spawn(move || {
            let (mut greeted, _) = listener.accept().unwrap();
            greeted.write_all(b"220 ready\r\n").unwrap();
            let (mut asked, _) = listener.accept().unwrap();
            let mut head = [0; 5];
            asked.read_exact(&mut head).unwrap();
            asked.write_all(b"HTTP/1.0 500 no\r\n").unwrap();
            head
        });
        assert!(Prober::new(Probe::Greet(port)).answers(LONG));
        assert!(Prober::new(Probe::Http(port, "/".into())).answers(LONG));
        assert_eq!(&server.join().unwrap(), b"GET /");
        assert!(!Prober::new(Probe::Greet(port)).answers(LONG));
    }

    #[test]
    fn a_file_that_does_not_change_is_no_progress() {
        let path = std::env::temp_dir().join(format!("rxl-probe-{}", std::process::id()));
        let mut prober = Prober::new(Probe::File(path.clone()));
        assert!(!prober.answers(LIMIT));
        std::fs::write(&path, "1").unwrap();
        assert!(prober.answers(LIMIT));
        assert!(!prober.answers(LIMIT));
        std::fs::write(&path, "12").unwrap();
        assert!(prober.answers(LIMIT));
        std::fs::remove_file(&path).unwrap();
        assert!(!prober.answers(LIMIT));
    }
}
