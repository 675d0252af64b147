// SPDX-License-Identifier: GPL-3.0-only
//! Traffic for the bench: a server that sends, swallows or echoes, and the client that measures.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{Shutdown as How, shutdown};

use crate::netns::space::Space;
use crate::netns::topology::SERVER;

/// Bytes of one write or read.
const CHUNK: usize = 256 * 1024;
/// Bytes of one exchange.
const MESSAGE: usize = 64;
/// A download gets up to speed for this long before it is measured.
const START: Duration = Duration::from_millis(200);

/// What a connection is for, told by its first byte.
const DOWNLOAD: u8 = b'd';
/// The length follows in eight bytes; one byte comes back when all has come.
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
    pub(super) fn start(space: &Space, port: u16) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot listen at {SERVER}:{port}: {error}");
        let listener = space
            .enter(move || TcpListener::bind((SERVER, port)))?
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
    match kind[0] {
        DOWNLOAD => loop {
            stream.write_all(&buffer)?;
        },
        UPLOAD => {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            let mut left = u64::from_be_bytes(length);
            while left > 0 {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => left = left.saturating_sub(count as u64),
                }
            }
            stream.write_all(&[UPLOAD])?;
            // The client closes first, when it has looked at the logger.
            stream.read(&mut buffer).map(drop)
        }
        _ => loop {
            stream.read_exact(&mut buffer)?;
            stream.write_all(&buffer)?;
        },
    }
}

/// The client, in its namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    space: &'a Space,
    address: &'static str,
    port: u16,
}

impl<'a> Client<'a> {
    pub(super) const fn new(space: &'a Space, address: &'static str, port: u16) -> Self {
        Self {
            space,
            address,
            port,
        }
    }

    /// Gbit/s from the server.
    pub(super) fn download(&self, time: Duration) -> Result<f64, String> {
        self.inside(move |connect| {
            let mut stream = connect(DOWNLOAD)?;
            let mut buffer = vec![0; CHUNK];
            let begin = Instant::now();
            while begin.elapsed() < START {
                stream.read_exact(&mut buffer)?;
            }
            let (start, mut bytes) = (Instant::now(), 0);
            while start.elapsed() < time {
                match stream.read(&mut buffer)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => bytes += count,
                }
            }
            Ok(rate(bytes as u64, start))
        })
    }

    /// Gbit/s to the server, from the first byte to the news that it has the last, and the connection, still open.
    pub(super) fn upload(&self, bytes: u64) -> Result<(f64, TcpStream), String> {
        self.inside(move |connect| {
            let mut stream = connect(UPLOAD)?;
            let buffer = vec![0x5a; CHUNK];
            stream.write_all(&bytes.to_be_bytes())?;
            let (start, mut left) = (Instant::now(), bytes);
            while left > 0 {
                let count = left.min(CHUNK as u64) as usize;
                stream.write_all(&buffer[..count])?;
                left -= count as u64;
            }
            stream.read_exact(&mut [0])?;
            Ok((rate(bytes, start), stream))
        })
    }

    /// Connections opened, used for one exchange, and closed, in a second.
    pub(super) fn connections(&self, time: Duration) -> Result<f64, String> {
        self.inside(move |connect| {
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
        self.inside(move |connect| {
            let mut stream = connect(EXCHANGE)?;
            let (start, mut times) = (Instant::now(), Vec::new());
            while start.elapsed() < time {
                let before = Instant::now();
                exchange(&mut stream)?;
                times.push(before.elapsed().as_secs_f64() * 1e6);
            }
            stream.shutdown(Shutdown::Both)?;
            Ok(times)
        })
    }

    fn inside<T: Send + 'static>(
        &self,
        task: impl FnOnce(&dyn Fn(u8) -> io::Result<TcpStream>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let (address, port) = (self.address, self.port);
        let done = self
            .space
            .enter(move || task(&|kind| connect(address, port, kind)))?;
        done.map_err(|error| format!("the load in {} broke off: {error}", self.space.name()))
    }
}

fn connect(address: &str, port: u16, kind: u8) -> io::Result<TcpStream> {
    let address: SocketAddr = format!("{address}:{port}")
        .parse()
        .map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&[kind])?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    let mut message = [0x5a; MESSAGE];
    stream.write_all(&message)?;
    stream.read_exact(&mut message)
}

/// Gbit/s.
fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 * 8.0 / 1e9 / since.elapsed().as_secs_f64()
}
