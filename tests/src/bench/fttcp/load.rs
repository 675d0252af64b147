// SPDX-License-Identifier: GPL-3.0-only
//! Traffic for the bench: a server that sends, swallows or echoes, and the client that measures.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{Shutdown as How, shutdown};

use crate::netns::space::Space;
use crate::netns::topology::SERVER;

/// The port of the echo service; the logger protects it.
const PORT: u16 = 7;
/// Bytes of one write or read.
const CHUNK: usize = 256 * 1024;
/// Bytes of one exchange.
const MESSAGE: usize = 64;
/// A transfer gets up to speed for this long before it is measured.
const START: Duration = Duration::from_millis(200);

/// What a connection is for, told by its first byte.
const DOWNLOAD: u8 = b'd';
const UPLOAD: u8 = b'u';
const EXCHANGE: u8 = b'x';

/// The server: one connection at a time.
#[derive(Debug)]
pub(super) struct Echo {
    listener: TcpListener,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Echo {
    /// Starts it in `space`.
    pub(super) fn start(space: &Space) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot listen at {SERVER}:{PORT}: {error}");
        let listener = space
            .enter(|| TcpListener::bind((SERVER, PORT)))?
            .map_err(failed)?;
        let own = listener.try_clone().map_err(failed)?;
        let thread = std::thread::spawn(move || {
            // Ends when the listener is shut down.
            while let Ok((stream, _)) = own.accept() {
                // A client that has measured enough breaks off; that is no failure.
                let _ = answer(stream);
            }
            Ok(())
        });
        Ok(Self {
            listener,
            thread: Some(thread),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = shutdown(&self.listener, How::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    let mut buffer = vec![0x5a; if kind[0] == EXCHANGE { MESSAGE } else { CHUNK }];
    loop {
        match kind[0] {
            DOWNLOAD => stream.write_all(&buffer)?,
            UPLOAD => {
                if stream.read(&mut buffer)? == 0 {
                    return Ok(());
                }
            }
            _ => {
                stream.read_exact(&mut buffer)?;
                stream.write_all(&buffer)?;
            }
        }
    }
}

/// The client, in its namespace.
#[derive(Debug)]
pub(super) struct Client<'a> {
    space: &'a Space,
}

impl<'a> Client<'a> {
    pub(super) const fn new(space: &'a Space) -> Self {
        Self { space }
    }

    /// Gbit/s from the server.
    pub(super) fn download(&self, time: Duration) -> Result<f64, String> {
        self.inside(move || {
            let mut stream = connect(DOWNLOAD)?;
            let mut buffer = vec![0; CHUNK];
            rate(time, || stream.read(&mut buffer))
        })
    }

    /// Gbit/s to the server.
    pub(super) fn upload(&self, time: Duration) -> Result<f64, String> {
        self.inside(move || {
            let mut stream = connect(UPLOAD)?;
            let buffer = vec![0x5a; CHUNK];
            let rate = rate(time, || stream.write(&buffer))?;
            stream.shutdown(Shutdown::Write)?;
            // What is on the way belongs to this run, not to the next.
            stream.read(&mut [0]).map(|_| rate)
        })
    }

    /// Connections opened, used for one exchange, and closed, in a second.
    pub(super) fn connections(&self, time: Duration) -> Result<f64, String> {
        self.inside(move || {
            let start = Instant::now();
            let mut count = 0_u32;
            while start.elapsed() < time {
                let mut stream = connect(EXCHANGE)?;
                exchange(&mut stream)?;
                count += 1;
            }
            Ok(f64::from(count) / start.elapsed().as_secs_f64())
        })
    }

    /// The times of exchanges, in microseconds.
    pub(super) fn exchange(&self, time: Duration) -> Result<Vec<f64>, String> {
        self.inside(move || {
            let mut stream = connect(EXCHANGE)?;
            let (start, mut times) = (Instant::now(), Vec::new());
            while start.elapsed() < time {
                let before = Instant::now();
                exchange(&mut stream)?;
                times.push(before.elapsed().as_secs_f64() * 1e6);
            }
            Ok(times)
        })
    }

    fn inside<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        self.space
            .enter(task)?
            .map_err(|error| format!("the load in {} broke off: {error}", self.space.name()))
    }
}

fn connect(kind: u8) -> io::Result<TcpStream> {
    let address: SocketAddr = format!("{SERVER}:{PORT}")
        .parse()
        .map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&[kind])?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    let mut message = [0x5a; MESSAGE];
    stream.write_all(&message)?;
    stream.read_exact(&mut message)
}

/// Moves bytes by `step` and gives the rate in Gbit/s, from when it was up to speed.
fn rate(time: Duration, mut step: impl FnMut() -> io::Result<usize>) -> io::Result<f64> {
    let begin = Instant::now();
    while begin.elapsed() < START {
        step()?;
    }
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < time {
        match step()? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes += count,
        }
    }
    Ok(bytes as f64 * 8.0 / 1e9 / start.elapsed().as_secs_f64())
}
