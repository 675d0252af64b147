// SPDX-License-Identifier: GPL-3.0-only
//! A record that the logger reads along: a standby waits at its first recorded call until the logger hands it the record of
//! the dead server, replays it, and records behind it.
//!
//! The logger writes the records, the file of clients beside them, and its order last. Its writes are news of the file
//! (inotify), this process's own are not, since those go through the mapping.

use super::*;

/// See the module's text.
pub(super) struct Ring {
    /// The connections of the replay.
    pub(super) again: Again,
    /// Descriptors at which connections were accepted in the replay.
    pub(super) listeners: Vec<c_int>,
    /// Until the program records.
    standby: Option<Standby>,
}

struct Standby {
    map: Map,
    clients: String,
    /// inotify's descriptor.
    watch: c_int,
    /// There was no order yet.
    waits: bool,
    /// The clients were read so often.
    told: u64,
}

impl Ring {
    /// For a program that records from its beginning.
    pub(super) fn new() -> Self {
        Self {
            again: Again::default(),
            listeners: Vec::new(),
            standby: None,
        }
    }

    /// For a program that is to wait.
    pub(super) unsafe fn standby(path: &str, max: usize) -> Self {
        // SAFETY: see the function.
        let map = unsafe { create(path, max, state::WAITS) };
        // SAFETY: the name lives over the call; the descriptors are ours.
        let watch = unsafe {
            let low = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
            let watch = libc::fcntl(low, libc::F_DUPFD_CLOEXEC, HIGH);
            libc::syscall(libc::SYS_close, low);
            let name = std::ffi::CString::new(path).unwrap_or_default();
            if watch < 0 || libc::inotify_add_watch(watch, name.as_ptr(), libc::IN_MODIFY) < 0 {
                die(
                    UNUSABLE,
                    &format!("{path}: cannot be watched: errno {}", errno()),
                );
            }
            watch
        };
        Self {
            standby: Some(Standby {
                map,
                clients: format!("{path}.clients"),
                watch,
                waits: true,
                told: 0,
            }),
            ..Self::new()
        }
    }

    /// What tells that the logger has something to say.
    pub(super) fn news(&self) -> Option<c_int> {
        self.standby.as_ref().map(|it| it.watch)
    }

    /// Takes what the logger has to say about clients.
    pub(super) fn hear(&mut self) {
        let Some(standby) = &mut self.standby else {
            return;
        };
        let told = standby.hear();
        if let Some(clients) = told {
            self.again.told(&clients);
        }
    }
}

impl Standby {
    /// The clients, if they were told anew.
    fn hear(&mut self) -> Option<String> {
        let mut events = [0; 4096];
        // SAFETY: the buffer is as long as that. What it says does not matter, only that it is taken.
        while unsafe { libc::syscall(libc::SYS_read, self.watch, &raw mut events, events.len()) }
            > 0
        {}
        let told = self.map.word(word::TOLD).load(Ordering::Acquire);
        if told == self.told {
            return None;
        }
        self.told = told;
        // Replaced as a whole by the logger: it is never seen half.
        std::fs::read_to_string(&self.clients).ok()
    }

    /// Waits for the order.
    fn await_order(&self) -> u64 {
        loop {
            match self.map.word(word::ORDER).load(Ordering::Acquire) {
                order::NONE => {}
                order => return order,
            }
            let mut ask = libc::pollfd {
                fd: self.watch,
                events: libc::POLLIN,
                revents: 0,
            };
            let mut events = [0; 4096];
            // SAFETY: one entry and a buffer of that length, which live over the calls.
            unsafe {
                libc::syscall(libc::SYS_poll, &raw mut ask, 1, -1);
                libc::syscall(libc::SYS_read, self.watch, &raw mut events, events.len());
            }
        }
    }
}

impl State {
    /// Before a call that is recorded: a standby whose record is used up waits for its order, or begins to record.
    #[inline]
    pub(super) fn attend(&mut self) {
        if let Mode::Replay(player) = &self.mode
            && player.is_used_up()
            && self.ring.is_some()
        {
            self.go_on();
        }
    }

    #[cold]
    fn go_on(&mut self) {
        let saved = errno();
        let Some(ring) = &mut self.ring else {
            return;
        };
        if let Some(standby) = &mut ring.standby
            && standby.waits
        {
            standby.waits = false;
            if standby.await_order() == order::REPLAY {
                // SAFETY: see the function; the logger writes no records after its order.
                let Some(records) = (unsafe { standby.map.take_in() }) else {
                    die(UNUSABLE, "the record that the logger gave is not whole");
                };
                standby
                    .map
                    .word(word::STATE)
                    .store(state::REPLAYS, Ordering::Release);
                ring.again = Again::new(records);
                self.mode = Mode::Replay(Player::new(records));
                ring.hear();
            }
        }
        if let Mode::Replay(player) = &self.mode
            && player.is_used_up()
        {
            // SAFETY: see the function.
            unsafe { self.sort_early() };
            self.record_on();
        }
        set_errno(saved);
    }

    /// The replay is over: from here on it is recorded.
    fn record_on(&mut self) {
        let standby = self.ring.as_mut().and_then(|ring| ring.standby.take());
        let (Some(standby), Mode::Replay(player)) = (standby, &self.mode) else {
            return;
        };
        // SAFETY: the descriptor is ours.
        unsafe { libc::syscall(libc::SYS_close, standby.watch) };
        let recorder = Recorder::after(standby.map, player);
        recorder
            .log()
            .word(word::STATE)
            .store(state::RECORDS, Ordering::Release);
        self.mode = Mode::Record(recorder);
    }

    /// `fd` is closed, or becomes something else.
    pub(super) fn closed(&mut self, fd: c_int) {
        self.known.note(fd, None);
        if let Some(ring) = &mut self.ring {
            ring.again.closed(fd);
        }
    }

    /// Whether the connection at `fd` is over, as far as the program may know.
    #[inline]
    pub(super) fn over(&self, fd: c_int) -> Option<&[u8]> {
        self.ring.as_ref().and_then(|ring| ring.again.over(fd))
    }
}
