// SPDX-License-Identifier: GPL-3.0-only
//! A client's connection, on which each wait is timed and each byte that comes is compared.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{
    Timeout, set_socket_linger, set_socket_recv_buffer_size, set_socket_timeout,
};
use rustix::net::{AddressFamily, SocketType, connect, ipproto, socket};

use super::protocol::fill;
use super::shared::{Board, Shared};
use super::tally::{STALL, Trouble};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(40);
/// Most bytes read at a time.
const PIECE: usize = 64 * 1024;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    board: &'a Board,
    name: String,
}

impl<'a> Wire<'a> {
    /// Connects; `window`: size of the receive buffer, which the kernel doubles; `None`: it grows as needed.
    pub(super) fn open(
        shared: &'a Shared,
        client: usize,
        to: SocketAddr,
        window: Option<usize>,
    ) -> Result<Self, Trouble> {
        let board = &shared.boards()[client];
        let prepared = || -> rustix::io::Result<_> {
            let family = if to.is_ipv4() {
                AddressFamily::INET
            } else {
                AddressFamily::INET6
            };
            let socket = socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
            if let Some(window) = window {
                set_socket_recv_buffer_size(&socket, window)?;
            }
            for timeout in [Timeout::Recv, Timeout::Send] {
                set_socket_timeout(&socket, timeout, Some(PATIENCE))?;
            }
            Ok(socket)
        };
        let name = format!("client {client} to port {}", to.port());
        let socket = prepared().map_err(|error| Trouble::Broken(format!("{name}: {error}")))?;
        let (connected, took) = shared.wait(board, || connect(&socket, &to));
        let mut wire = Self {
            stream: TcpStream::from(socket),
            shared,
            board,
            name,
        };
        wire.note(took);
        connected.map_err(|error| wire.trouble("connect", &error.into()))?;
        let own = wire.stream.local_addr();
        let port = own.map_or(0, |own| own.port());
        board.connected(port);
        wire.name = format!("{} from port {port}", wire.name);
        wire.stream
            .set_nodelay(true)
            .map_err(|error| wire.trouble("set up", &error))?;
        shared.tally().connections += 1;
        Ok(wire)
    }

    fn note(&self, took: Duration) {
        let mut tally = self.shared.tally();
        if took > tally.longest_wait {
            tally.longest_wait = took;
            tally.longest_waiter = format!("{}, {:?}", self.name, self.board.doing());
        }
        tally.stalls += u64::from(took > STALL);
    }

    fn trouble(&self, what: &str, error: &io::Error) -> Trouble {
        let doing = self.board.doing();
        let text = format!("{}, {doing:?}: {what}: {error}", self.name);
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Trouble::Hung(text),
            _ if error.raw_os_error() == Some(libc::EINPROGRESS) => Trouble::Hung(text),
            _ => Trouble::Broken(text),
        }
    }

    /// Sends all of it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let (sent, took) = self
            .shared
            .wait(self.board, || (&self.stream).write_all(bytes));
        self.note(took);
        sent.map_err(|error| self.trouble("send", &error))
    }

    /// Reads what has come, at most as much as there is room for.
    fn read(&mut self, room: &mut [u8]) -> Result<usize, Trouble> {
        let (got, took) = self.shared.wait(self.board, || (&self.stream).read(room));
        self.note(took);
        got.map_err(|error| self.trouble("read", &error))
    }

    /// Reads `room` full.
    pub(super) fn take(&mut self, room: &mut [u8]) -> Result<(), Trouble> {
        let mut at = 0;
        while at < room.len() {
            let got = self.read(&mut room[at..])?;
            if got == 0 {
                let text = format!("{}, {:?}", self.name, self.board.doing());
                return Err(Trouble::Broken(format!(
                    "{text}: closed {} bytes too early",
                    room.len() - at
                )));
            }
            at += got;
        }
        Ok(())
    }

    /// Reads as many bytes as `expected` has and compares.
    pub(super) fn expect(&mut self, expected: &[u8]) -> Result<(), Trouble> {
        let mut got = vec![0; expected.len()];
        self.take(&mut got)?;
        self.shared.tally().bytes += got.len() as u64;
        let differs = got.iter().zip(expected).position(|(a, b)| a != b);
        differs.map_or(Ok(()), |at| {
            let doing = self.board.doing();
            Err(Trouble::Corrupted(format!(
                "{}, {doing:?}: byte {at} of {} differs",
                self.name,
                got.len()
            )))
        })
    }

    /// Reads bytes `range` of the seed's stream and compares.
    pub(super) fn expect_fill(
        &mut self,
        seed: u64,
        range: std::ops::Range<u64>,
    ) -> Result<(), Trouble> {
        let mut at = range.start;
        let mut piece = vec![0; PIECE];
        while at < range.end {
            let length = (range.end - at).min(PIECE as u64) as usize;
            fill(seed, at, &mut piece[..length]);
            self.expect(&piece[..length])?;
            at += length as u64;
        }
        Ok(())
    }

    /// Reads the end of the server's stream.
    pub(super) fn expect_end(&mut self) -> Result<(), Trouble> {
        match self.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(Trouble::Corrupted(format!(
                "{}: more than the whole answer came",
                self.name
            ))),
        }
    }

    /// Closes the client's direction.
    pub(super) fn half_close(&self) -> Result<(), Trouble> {
        let closed = self.stream.shutdown(Shutdown::Write);
        closed.map_err(|error| self.trouble("half-close", &error))
    }

    /// Ends with a reset.
    pub(super) fn abort(self) -> Result<(), Trouble> {
        let set = set_socket_linger(&self.stream, Some(Duration::ZERO));
        set.map_err(|error| self.trouble("abort", &error.into()))
    }
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        self.board.connected(0);
    }
}
