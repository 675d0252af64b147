// SPDX-License-Identifier: GPL-3.0-only
//! The server: a thread for each connection, which reads one request after the other and answers it.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::protocol::{self, Ask, LENGTH, fill};
use super::{PORT, READY};

/// Bytes taken from or given to a socket at a time.
const PIECE: usize = 64 * 1024;
/// Connections that wait for this program; more than ever come at once.
const BACKLOG: i32 = 8192;

/// Serves until it is killed.
///
/// # Errors
/// It cannot listen.
pub fn run() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    // Listening again only makes the queue longer (listen(2)).
    rustix::net::listen(&listener, BACKLOG)?;
    eprintln!("{READY}");
    loop {
        let (stream, client) = listener.accept()?;
        let session = thread::Builder::new().stack_size(256 * 1024);
        session.spawn(move || {
            if let Err(error) = serve(&stream) {
                eprintln!("{client}: {error}");
            }
        })?;
    }
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(ask) = next(stream)? {
        match ask {
            Ask::Download { bytes, seed } => send(stream, bytes, seed)?,
            Ask::Upload { bytes, pause_ms } => {
                thread::sleep(Duration::from_millis(pause_ms));
                let sha = take(stream, Some(bytes), |_| Ok(()))?;
                (&*stream).write_all(&protocol::digest(sha))?;
            }
            Ask::Echo { bytes } => {
                take(stream, Some(bytes), |piece| (&*stream).write_all(piece))?;
            }
            Ask::Rest { bytes, seed } => {
                let sha = take(stream, None, |_| Ok(()))?;
                (&*stream).write_all(&protocol::digest(sha))?;
                send(stream, bytes, seed)?;
                return Ok(());
            }
            Ask::Bye { bytes, seed } => {
                send(stream, bytes, seed)?;
                stream.shutdown(Shutdown::Write)?;
                // A close with unread bytes would be a reset; what still comes is the client's close.
                take(stream, None, |_| Ok(()))?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next request; `None`: the client has closed.
fn next(mut stream: &TcpStream) -> io::Result<Option<Ask>> {
    let mut wire = [0; LENGTH];
    if stream.read(&mut wire[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut wire[1..])?;
    match Ask::decode(wire) {
        Some(ask) => Ok(Some(ask)),
        None => Err(io::Error::other(format!("no request: {wire:02x?}"))),
    }
}

fn send(mut stream: &TcpStream, bytes: u32, seed: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE.min(bytes as usize)];
    let mut at = 0;
    while at < u64::from(bytes) {
        let length = (u64::from(bytes) - at).min(PIECE as u64) as usize;
        fill(seed, at, &mut piece[..length]);
        stream.write_all(&piece[..length])?;
        at += length as u64;
    }
    Ok(())
}

/// Reads so many bytes (`None`: to the end), shows each piece, and hashes them.
fn take(
    mut stream: &TcpStream,
    bytes: Option<u32>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Sha256> {
    let mut sha = Sha256::new();
    let mut left = bytes.map_or(u64::MAX, u64::from);
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let room = left.min(PIECE as u64) as usize;
        let got = stream.read(&mut piece[..room])?;
        if got == 0 {
            return match bytes {
                None => Ok(sha),
                Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        sha.update(&piece[..got]);
        each(&piece[..got])?;
        left -= got as u64;
    }
    Ok(sha)
}
