// SPDX-License-Identifier: GPL-3.0-only
//! What a client says that need not make sense, and how its server ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

/// Between the pieces of what is said: each is to be a segment of its own.
const PACE: Duration = Duration::from_millis(4);

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The server closed; with a reset if it had not read all. A part of its answer may be lost then, with any server.
    Closed,
    /// See [`How::Closed`].
    Reset,
    /// It waits.
    Open,
}

/// Says these pieces one after the other, as far as they are taken.
pub fn say(stream: &mut TcpStream, pieces: &[Vec<u8>]) {
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            // How the client behaves, not a wait for something.
            sleep(PACE);
        }
        if stream.write_all(piece).is_err() {
            break;
        }
    }
}

/// Adds to `text` what the server says, until it ends or has been silent for the stream's read time-out.
///
/// # Errors
/// The stream failed in another way than by a reset.
pub fn hear(stream: &mut TcpStream, text: &mut Vec<u8>) -> io::Result<How> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(How::Closed),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(How::Reset),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(How::Open),
            Err(error) => return Err(error),
        }
    }
}
