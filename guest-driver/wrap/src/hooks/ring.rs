// SPDX-License-Identifier: GPL-3.0-only
//! A record that the logger reads along: a standby waits at its first recorded call until the logger hands it the record of
//! the dead server, replays it, and records behind it.
//!
//! The logger writes the records, which clients come again, and its order last. In a file its writes are news (inotify), this
//! process's own are not, since those go through the mapping; the clients are in a file beside it. Of an area the agent
//! tells when there is news, and the clients are behind the records.

use super::*;
use map::in_area;

/// How often the words are looked at, in ms, when nobody is left to tell of news.
const LOOK: c_int = 200;
/// How long a logger may take from one word to the next, in ms.
const PATIENCE: c_int = 1000;

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
    bell: Bell,
    /// There was no order yet.
    waits: bool,
    /// The clients were read so often.
    told: u64,
}

/// What tells that the logger has something to say.
enum Bell {
    /// A file's changes.
    File {
        /// inotify's descriptor.
        watch: c_int,
        /// The file of clients.
        clients: String,
    },
    /// The agent.
    Agent {
        /// The area's socket.
        socket: c_int,
        /// There is no agent any more.
        gone: bool,
    },
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

    /// For a program that is to wait, with a record in a file.
    pub(super) unsafe fn standby(path: &str, max: usize) -> Self {
        // SAFETY: see the function.
        let map = unsafe { in_file(path, max, state::WAITS) };
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
        let clients = format!("{path}.clients");
        Self::waiting(map, Bell::File { watch, clients })
    }

    /// For a program that is to wait, with a record in the area of the agent at this socket.
    pub(super) unsafe fn of_agent(path: &str, max: usize) -> Self {
        // SAFETY: see the function.
        let (map, socket) = unsafe { in_area(path, max) };
        let gone = false;
        Self::waiting(map, Bell::Agent { socket, gone })
    }

    fn waiting(map: Map, bell: Bell) -> Self {
        Self {
            standby: Some(Standby {
                map,
                bell,
                waits: true,
                told: 0,
            }),
            ..Self::new()
        }
    }

    /// The descriptor at which news comes, or none (-1), and how long in ms to wait for it at most, or for ever (-1).
    pub(super) fn news(&self) -> (c_int, c_int) {
        let standby = self.standby.as_ref();
        standby.map_or((-1, -1), |standby| standby.bell.news())
    }

    /// The descriptors of what waits.
    pub(super) fn own(&self) -> impl Iterator<Item = c_int> {
        let standby = self.standby.iter();
        standby.flat_map(|it| it.map.own().into_iter().chain([it.bell.news().0]))
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

    /// Takes which clients come again, before the replay asks for the first of them.
    fn hear_first(&mut self) {
        self.hear();
        // The logger may be telling it anew.
        while let Some(standby) = &mut self.standby
            && standby.map.word(word::TOLD).load(Ordering::Acquire) != standby.told
        {
            standby.bell.wait(-1);
            self.hear();
        }
    }
}

impl Bell {
    fn news(&self) -> (c_int, c_int) {
        match *self {
            Self::File { watch, .. } => (watch, -1),
            Self::Agent {
                socket,
                gone: false,
            } => (socket, -1),
            Self::Agent { gone: true, .. } => (-1, LOOK),
        }
    }

    /// Takes the news. What it says does not matter.
    fn take(&mut self) {
        match self {
            Self::File { watch, .. } => {
                let mut events = [0; 4096];
                // SAFETY: the buffer is as long as that.
                while unsafe {
                    libc::syscall(libc::SYS_read, *watch, &raw mut events, events.len())
                } > 0
                {}
            }
            Self::Agent { socket, gone } => *gone = *gone || area::take_news(*socket).is_err(),
        }
    }

    /// Waits for news, so many ms at most or for ever (-1), and takes it. Whether there was any.
    fn wait(&mut self, patience: c_int) -> bool {
        let (fd, most) = self.news();
        let patience = if most < 0 { patience } else { most };
        let mut ask = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, which lives over the call; a negative descriptor is passed over.
        let found = unsafe { libc::syscall(libc::SYS_poll, &raw mut ask, 1, patience) };
        self.take();
        found != 0
    }
}

impl Standby {
    /// The clients, if they were told anew.
    fn hear(&mut self) -> Option<String> {
        self.bell.take();
        let told = self.map.word(word::TOLD).load(Ordering::Acquire);
        if told == self.told {
            return None;
        }
        let clients = match &self.bell {
            // Replaced as a whole by the logger: it is never seen half.
            Bell::File { clients, .. } => std::fs::read_to_string(clients).ok(),
            // SAFETY: see the function; nothing is recorded yet. Half of it is no news: the logger rings when it is whole.
            Bell::Agent { .. } => Some(unsafe { self.map.clients(told) }?),
        };
        self.told = told;
        clients
    }

    /// Waits for the order.
    fn await_order(&mut self) -> u64 {
        loop {
            match self.map.word(word::ORDER).load(Ordering::Acquire) {
                order::NONE => {}
                order => return order,
            }
            if let Bell::Agent { gone: true, .. } = self.bell {
                die(UNUSABLE, "the agent has gone, and no order can come");
            }
            self.bell.wait(-1);
        }
    }

    /// The replay is over: nothing of the logger's comes any more.
    fn ends(&mut self) {
        self.map
            .word(word::STATE)
            .store(state::RECORDS, Ordering::Release);
        match self.bell {
            Bell::File { watch, .. } => {
                // SAFETY: the descriptor is ours.
                unsafe { libc::syscall(libc::SYS_close, watch) };
            }
            Bell::Agent { .. } => self.let_end(),
        }
    }

    /// A logger that tells clients writes where the next record goes: one that has begun is let end. It looks at the state
    /// once more when it has begun, this looks whether it has begun after the state was changed: one of the two sees the
    /// other. One that was ended meanwhile writes nothing any more.
    fn let_end(&mut self) {
        fence(Ordering::SeqCst);
        let word = |index| self.map.word(index).load(Ordering::Acquire);
        while word(word::TELLING) != word(word::TOLD) && self.bell.wait(PATIENCE) {}
    }
}

impl State {
    /// Before a call that is recorded: a standby whose record is used up waits for its order, or begins to record.
    #[inline]
    pub(super) fn attend(&mut self) {
        if !self.calm
            && let Mode::Replay(player) = &self.mode
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
                ring.hear_first();
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
        let (Some(mut standby), Mode::Replay(player)) = (standby, &self.mode) else {
            return;
        };
        standby.ends();
        self.mode = Mode::Record(Recorder::after(standby.map, player));
    }

    /// Whether the connection at `fd` is over, as far as the program may know.
    #[inline]
    pub(super) fn over(&self, fd: c_int) -> Option<&[u8]> {
        if self.calm {
            return None;
        }
        self.ring.as_ref().and_then(|ring| ring.again.over(fd))
    }
}
