// SPDX-License-Identifier: GPL-3.0-only
//! One client: connection after connection, request after request, of every kind, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::http;
use super::protocol::{self, Ask};
use super::shared::{Board, Shared};
use super::tally::{Doing, Trouble};
use super::wire::Wire;
use crate::netns::random::Random;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Everything, on connections that end after a few requests.
    All,
    /// One connection each, on which a small request is made after each failover: cheap, for thousands of them.
    Still,
    /// One connection each for the whole storm: by turns one download of so many bytes, and small requests.
    Long(u32),
}

/// Where clients connect to, and what they ask nginx for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) storm: SocketAddr,
    pub(super) http: SocketAddr,
    /// Files by their number.
    pub(super) files: Arc<Vec<Vec<u8>>>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: usize,
    pub(super) random: Random,
    pub(super) target: Target,
    pub(super) mix: Mix,
    pub(super) shared: Arc<Shared>,
}

impl Session {
    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let board = &shared.boards()[self.client];
        loop {
            board.show(Doing::Connecting);
            let result = match self.mix {
                Mix::All if self.random.below(4) == 0 => self.http(&shared, board),
                Mix::All => self.all(&shared, board),
                Mix::Still => self.still(&shared, board),
                Mix::Long(bytes) => self.long(bytes, &shared, board),
            };
            board.show(Doing::Nothing);
            if let Err(trouble) = result {
                shared.tally().troubles.push(trouble);
                // What broke once breaks again: not as fast as it can.
                self.think(500);
            }
            if shared.stopped() {
                return;
            }
        }
    }

    /// Lets some time pass, as users do; at most `most` ms.
    fn think(&mut self, most: u64) {
        if !self.shared.stopped() {
            thread::sleep(Duration::from_micros(self.random.below(1000 * most)));
        }
    }

    fn all(&mut self, shared: &Shared, board: &Board) -> Result<(), Trouble> {
        let window = [Some(4096), Some(16 << 10), Some(64 << 10), None];
        let window = window[self.random.below(4) as usize];
        let mut wire = Wire::open(shared, self.client, self.target.storm, window)?;
        let mut slow = false;
        for _ in 0..self.random.below(5) {
            match self.random.below(6) {
                0 => self.idle(&mut wire, board)?,
                1 => self.download(&mut wire, board)?,
                2 => self.client_window(&mut wire, board)?,
                3 => self.echo(&mut wire, board)?,
                // A replay repeats the server's pauses: one for each connection.
                4 if !slow => {
                    slow = true;
                    self.server_window(&mut wire, board)?;
                }
                _ => self.upload(&mut wire, board)?,
            }
            shared.tally().answers += 1;
        }
        match self.random.below(5) {
            0 => return self.half_close(wire, board),
            1 => return self.server_closes(wire, board),
            2 => {
                // In the middle of an answer.
                let ask = Ask::Download {
                    bytes: 1 << 20,
                    seed: 1,
                };
                wire.send(&ask.encode())?;
                return wire.abort();
            }
            _ => {}
        }
        Ok(())
    }

    /// A size between 1 and `most`: half of them small, in every order of magnitude, and half of them large.
    fn size(&mut self, most: u32) -> u32 {
        if self.random.below(2) == 0 {
            return 1 + self.random.below(u64::from(most)) as u32;
        }
        let bits = 1 + self.random.below(u64::from(most.ilog2()) + 1);
        1 + (self.random.below(1 << bits) as u32).min(most - 1)
    }

    fn idle(&mut self, wire: &mut Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::Idle);
        self.shared.await_failover();
        self.ask_small(wire)
    }

    fn ask_small(&mut self, wire: &mut Wire<'_>) -> Result<(), Trouble> {
        let (bytes, seed) = (self.size(200), self.random.number());
        wire.send(&Ask::Download { bytes, seed }.encode())?;
        wire.expect_fill(seed, 0..u64::from(bytes))
    }

    fn download(&mut self, wire: &mut Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::Download);
        let (bytes, seed) = (self.size(400_000), self.random.number());
        wire.send(&Ask::Download { bytes, seed }.encode())?;
        self.read_slowly(wire, seed, u64::from(bytes), 40)
    }

    fn read_slowly(
        &mut self,
        wire: &mut Wire<'_>,
        seed: u64,
        bytes: u64,
        pause_ms: u64,
    ) -> Result<(), Trouble> {
        let mut at = 0;
        while at < bytes {
            let end = bytes.min(at + 1 + self.random.below(40_000));
            wire.expect_fill(seed, at..end)?;
            at = end;
            self.think(pause_ms);
        }
        Ok(())
    }

    fn client_window(&mut self, wire: &mut Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::ClientWindow);
        let (bytes, seed) = (1 + self.size(600_000), self.random.number());
        wire.send(&Ask::Download { bytes, seed }.encode())?;
        let first = self.random.below(2);
        wire.expect_fill(seed, 0..first)?;
        self.shared.await_failover();
        wire.expect_fill(seed, first..u64::from(bytes))
    }

    /// Sends `bytes` random bytes with pauses; their digest.
    fn send_slowly(&mut self, wire: &mut Wire<'_>, bytes: u32) -> Result<[u8; 32], Trouble> {
        let mut sha = Sha256::new();
        let mut left = bytes as usize;
        while left > 0 {
            let length = left.min(1 + self.random.below(30_000) as usize);
            let piece = self.random.bytes(length);
            sha.update(&piece);
            wire.send(&piece)?;
            left -= length;
            self.think(30);
        }
        Ok(protocol::digest(sha))
    }

    fn upload(&mut self, wire: &mut Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::Upload);
        let (bytes, pause_ms) = (self.size(300_000), 0);
        wire.send(&Ask::Upload { bytes, pause_ms }.encode())?;
        let digest = self.send_slowly(wire, bytes)?;
        wire.expect(&digest)
    }

    fn server_window(&mut self, wire: &mut Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::ServerWindow);
        let bytes = 1 << 20;
        let pause_ms = 1 + self.random.below(400);
        wire.send(&Ask::Upload { bytes, pause_ms }.encode())?;
        let content = self.random.bytes(bytes as usize);
        wire.send(&content)?;
        wire.expect(&protocol::digest(Sha256::new_with_prefix(&content)))
    }

    fn echo(&mut self, wire: &mut Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::Echo);
        let bytes = self.size(60_000);
        wire.send(&Ask::Echo { bytes }.encode())?;
        let mut left = bytes as usize;
        while left > 0 {
            let length = left.min(1 + self.random.below(8000) as usize);
            let piece = self.random.bytes(length);
            wire.send(&piece)?;
            wire.expect(&piece)?;
            left -= length;
            self.think(20);
        }
        Ok(())
    }

    fn half_close(&mut self, mut wire: Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::HalfClose);
        let (bytes, seed) = (self.size(200_000), self.random.number());
        wire.send(&Ask::Rest { bytes, seed }.encode())?;
        let sent = self.size(100_000);
        let digest = self.send_slowly(&mut wire, sent)?;
        let moment = self.random.below(4);
        if moment == 0 {
            self.shared.await_failover();
        }
        wire.half_close()?;
        if moment == 1 {
            self.shared.await_failover();
        }
        wire.expect(&digest)?;
        self.read_slowly(&mut wire, seed, u64::from(bytes), 40)?;
        wire.expect_end()?;
        self.shared.tally().answers += 1;
        Ok(())
    }

    fn server_closes(&mut self, mut wire: Wire<'_>, board: &Board) -> Result<(), Trouble> {
        board.show(Doing::ServerCloses);
        let (bytes, seed) = (self.size(50_000), self.random.number());
        wire.send(&Ask::Bye { bytes, seed }.encode())?;
        self.read_slowly(&mut wire, seed, u64::from(bytes), 20)?;
        wire.expect_end()?;
        self.shared.tally().answers += 1;
        Ok(())
    }

    fn http(&mut self, shared: &Shared, board: &Board) -> Result<(), Trouble> {
        let mut wire = Wire::open(shared, self.client, self.target.http, Some(32 << 10))?;
        board.show(Doing::Http);
        for _ in 0..1 + self.random.below(6) {
            // Several at once: pipelined.
            let files = Arc::clone(&self.target.files);
            let count = 1 + self.random.below(3);
            let asked: Vec<usize> = (0..count)
                .map(|_| self.random.below(files.len() as u64) as usize)
                .collect();
            for file in &asked {
                wire.send(&http::request(*file))?;
            }
            for file in &asked {
                self.think(60);
                http::expect(&mut wire, &files[*file])?;
            }
            shared.tally().answers += count;
        }
        Ok(())
    }

    fn still(&mut self, shared: &Shared, board: &Board) -> Result<(), Trouble> {
        let mut wire = Wire::open(shared, self.client, self.target.storm, None)?;
        board.show(Doing::Idle);
        loop {
            self.ask_small(&mut wire)?;
            shared.tally().answers += 1;
            if shared.stopped() {
                return Ok(());
            }
            shared.await_failover();
        }
    }

    fn long(&mut self, bytes: u32, shared: &Shared, board: &Board) -> Result<(), Trouble> {
        let mut wire = Wire::open(shared, self.client, self.target.storm, Some(64 << 10))?;
        if self.client.is_multiple_of(2) {
            board.show(Doing::Download);
            let seed = self.random.number();
            wire.send(&Ask::Download { bytes, seed }.encode())?;
            self.read_slowly(&mut wire, seed, u64::from(bytes), 40)?;
            shared.tally().answers += 1;
        }
        board.show(Doing::KeepAlive);
        while !shared.stopped() {
            self.ask_small(&mut wire)?;
            shared.tally().answers += 1;
            self.think(40);
        }
        self.server_closes(wire, board)
    }
}
