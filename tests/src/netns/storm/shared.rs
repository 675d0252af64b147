// SPDX-License-Identifier: GPL-3.0-only
//! What clients and driver tell each other: how many failovers are done, when to end, who does what and who waits.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::tally::{Doing, Tally};

/// How long a client that lies idle waits for the next failover.
const FAILOVER: Duration = Duration::from_secs(60);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shared {
    start: Instant,
    stop: AtomicBool,
    moved: Mutex<u64>,
    changed: Condvar,
    tally: Mutex<Tally>,
    boards: Vec<Board>,
}

/// What one client shows.
#[derive(Debug, Default)]
pub(super) struct Board {
    doing: AtomicU16,
    /// Its port; 0: it is not connected.
    port: AtomicU16,
    /// Since when it waits for the server, in ms since the start; 0: it does not.
    waits: AtomicU64,
}

impl Board {
    pub(super) fn show(&self, doing: Doing) {
        self.doing.store(doing as u16, Ordering::Relaxed);
    }

    pub(super) fn connected(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    pub(super) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub(super) fn doing(&self) -> Doing {
        Doing::ALL[usize::from(self.doing.load(Ordering::Relaxed))]
    }
}

impl Shared {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            moved: Mutex::new(0),
            changed: Condvar::new(),
            tally: Mutex::default(),
            boards: (0..clients).map(|_| Board::default()).collect(),
        }
    }

    pub(super) fn boards(&self) -> &[Board] {
        &self.boards
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn lock_moved(&self) -> MutexGuard<'_, u64> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the clients end when they have what they asked for.
    pub(super) fn stop(&self) {
        // Under the lock, so that nobody begins to wait unnoticed.
        let _moved = self.lock_moved();
        self.stop.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// A failover is done.
    pub(super) fn moved(&self) {
        *self.lock_moved() += 1;
        self.changed.notify_all();
    }

    /// Waits until the next failover is done, or until there will be none.
    pub(super) fn await_failover(&self) {
        let moved = self.lock_moved();
        let seen = *moved;
        let waits = |now: &mut u64| *now == seen && !self.stopped();
        let _ = self.changed.wait_timeout_while(moved, FAILOVER, waits);
    }

    fn now_ms(&self) -> u64 {
        1 + self.start.elapsed().as_millis() as u64
    }

    /// Runs a call that waits for the server, and shows so; how long it took.
    pub(super) fn wait<T>(&self, board: &Board, call: impl FnOnce() -> T) -> (T, Duration) {
        let start = Instant::now();
        board.waits.store(self.now_ms(), Ordering::Relaxed);
        let result = call();
        board.waits.store(0, Ordering::Relaxed);
        (result, start.elapsed())
    }

    /// The clients that have been waiting for longer than `limit`.
    pub(super) fn stalled(&self, limit: Duration) -> Vec<usize> {
        let now = self.now_ms();
        let waits = |board: &Board| match board.waits.load(Ordering::Relaxed) {
            0 => false,
            since => now.saturating_sub(since) > limit.as_millis() as u64,
        };
        let all = self.boards.iter().enumerate();
        all.filter(|(_, board)| waits(board))
            .map(|(index, _)| index)
            .collect()
    }
}
