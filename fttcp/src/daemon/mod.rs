// SPDX-License-Identifier: GPL-3.0-only
//! The `ftlogger` daemon: the thin shell of I/O around the engine.
//!
//! Who lives here: the event loop ([`run`]), the control socket (`server`), engine and data path together
//! (`forwarder`), what each request does (`commands`), the records of the servers' wraps (`wrap`), who
//! brings to disk what servers have written (`commit`), what their domains grant (`grants`), whether to sleep at once
//! (`busy_poll`), the clocks and the log. Who may call in: the `ftlogger` binary.
//! One thread; it waits in `epoll` on the packet sockets, changes to interfaces, the control socket and its clients, the
//! signals, and the engine's next timeout.

mod busy_poll;
mod clock;
mod commands;
mod commit;
mod epoll;
mod forwarder;
mod grants;
mod restore;
mod server;
mod spill;
mod wrap;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::control::GroupSpec;
use crate::datapath::Settings;
use crate::engine::EngineConfig;
use crate::journal::file::FileError;
use crate::machine;
use busy_poll::{BusyPoll, Next};
use clock::log;
use epoll::{Epoll, Token};
use forwarder::Forwarder;
use server::Server;
use spill::SpillFile;

pub use spill::SpillOptions;

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen for requests.
    pub socket: PathBuf,
    /// Groups to protect from the start.
    pub groups: Vec<GroupSpec>,
    /// Limits of the engine.
    pub limits: EngineConfig,
    /// Where logs go that are too long for memory, if anywhere.
    pub spill: Option<SpillOptions>,
    /// Which data path, and how.
    pub datapath: Settings,
    /// Where the journal is kept; `None`: connections do not survive the end of the process.
    pub journal: Option<PathBuf>,
    /// When told to end, remove the journal.
    pub forget: bool,
    /// For how long after the last frame to look for more before sleeping; 0: not at all.
    pub busy_poll: Duration,
}

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The control socket could not be made.
    #[error("cannot listen at {path}: {source}", path = path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another logger is there.
    #[error("a logger runs already and listens at {path}; end it, or give this one another --socket", path = path.display())]
    Running {
        /// Where it listens.
        path: PathBuf,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] FileError),
    /// A group from the command line could not be set up.
    #[error("group {name}: {message}")]
    Group {
        /// The group.
        name: String,
        /// What failed, on which object, why.
        message: String,
    },
    /// The spill file could not be made.
    #[error("cannot make a spill file in {directory}: {source}; --spill needs a directory of a file system that knows O_TMPFILE, such as ext4, xfs, btrfs or tmpfs", directory = directory.display())]
    Spill {
        /// Where.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused something that the event loop needs.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// The logs' usual part of the machine's memory ...
const LOGS: u64 = 16;
/// ... and what they have at most.
const MOST_LOGS: u64 = 256 << 20;

/// How much memory the logs of all connections have together if nobody says it, in bytes.
///
/// The journal is in memory, too, and takes up to three times as much while another one is begun; a logger that is started again
/// reads it beside what it makes of it. So a 16th leaves room for all of it, and for what the kernel needs.
#[must_use]
pub fn usual_memory() -> u64 {
    (machine::memory() / LOGS).min(MOST_LOGS)
}

/// The daemon's nice value (sched(7)).
const NICE: i32 = -15;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The daemon could not start: its socket, a group or a signal handler could not be set up. Once it runs, what fails
/// is logged and does not end it.
pub fn run(options: Options) -> Result<(), DaemonError> {
    let memory = options.limits.memory_bytes;
    let mut daemon = Daemon::new(&options.socket, options.limits, &options.datapath)?;
    if let Some(spill) = &options.spill {
        let file = SpillFile::open(spill).map_err(|source| DaemonError::Spill {
            directory: spill.directory.clone(),
            source,
        })?;
        daemon.forwarder.engine.set_spill(Box::new(file));
    }
    daemon.forget = options.forget;
    daemon.busy_poll = BusyPoll::new(options.busy_poll);
    if let Some(path) = &options.journal {
        daemon.forwarder.restore(path)?;
    }
    for spec in options.groups {
        let name = spec.name.clone();
        if !daemon
            .forwarder
            .engine
            .status(Some(&name), false)
            .is_empty()
        {
            log(format_args!(
                "group {name}: the journal had it; its file is not used"
            ));
            continue;
        }
        daemon
            .forwarder
            .protect(&spec)
            .map_err(|message| DaemonError::Group { name, message })?;
    }
    daemon.forwarder.forget_strangers();
    daemon.forwarder.announce();
    daemon.forwarder.start_journal();
    raise_priority();
    daemon.forwarder.say_data_path();
    log(format_args!(
        "listening at {}; {} MiB of memory for logs (--memory)",
        options.socket.display(),
        memory >> 20
    ));
    daemon.serve()
}

/// Goes before ordinary processes: what this one is late with, every connection through it is late with.
fn raise_priority() {
    // Only root may, and without root there are no interfaces to be late with.
    let _ = rustix::process::setpriority_process(None, NICE);
}

struct Daemon {
    epoll: Rc<Epoll>,
    /// Never read: that a byte waits in it is all that a signal has to say.
    _signals: UnixStream,
    server: Server,
    forwarder: Forwarder,
    busy_poll: BusyPoll,
    forget: bool,
}

impl Daemon {
    fn new(socket: &Path, limits: EngineConfig, settings: &Settings) -> Result<Self, DaemonError> {
        let system = |action| move |source| DaemonError::System { action, source };
        let epoll = Rc::new(Epoll::new().map_err(system("make an epoll"))?);
        let (signals, raised) = UnixStream::pair().map_err(system("make a pair of sockets"))?;
        for signal in [SIGTERM, SIGINT] {
            raised
                .try_clone()
                .and_then(|raised| signal_hook::low_level::pipe::register(signal, raised))
                .map_err(system("catch signals"))?;
        }
        let server = Server::listen(socket)?;
        epoll
            .watch(&signals, Token::Signal)
            .and_then(|()| epoll.watch(server.descriptor(), Token::Listener))
            .map_err(system("wait for events"))?;
        Ok(Self {
            forwarder: Forwarder::new(Rc::clone(&epoll), limits, settings)
                .map_err(system("set up the data path"))?,
            epoll,
            _signals: signals,
            server,
            busy_poll: BusyPoll::new(Duration::ZERO),
            forget: false,
        })
    }

    fn serve(mut self) -> Result<(), DaemonError> {
        let mut events = Vec::with_capacity(64);
        loop {
            self.wait(&mut events)
                .map_err(|source| DaemonError::System {
                    action: "wait for events",
                    source,
                })?;
            if events.iter().any(|it| matches!(it, Token::Port(..))) {
                self.busy_poll.frames(Instant::now());
            }
            self.forwarder.take_records();
            for token in events.drain(..) {
                match token {
                    Token::Signal => {
                        self.forwarder.say_totals();
                        self.forwarder.shut_down(self.forget);
                        log("ending, as a signal asked");
                        return Ok(());
                    }
                    Token::Listener => self.accept(),
                    Token::Links => self.forwarder.look_at_links(),
                    Token::Client(id) => self.answer(id),
                    Token::Port(port, socket) => self.forwarder.receive(port, socket),
                    // What it wakes us for has been done.
                    Token::Records => {}
                    Token::Bells => self.forwarder.hear_bells(),
                    Token::Commit(id) => self.forwarder.hear_commits(Some(id)),
                    Token::CommitBells => self.forwarder.hear_commits(None),
                }
            }
            self.forwarder.settle();
            self.forwarder.handle_timeout();
            self.forwarder.ask_commits();
            self.forwarder.follow_wraps();
            self.forwarder.say_events();
        }
    }

    /// Waits for events, or until the engine wants to be called.
    fn wait(&mut self, events: &mut Vec<Token>) -> io::Result<()> {
        let mut last = Instant::now();
        if let Some(end) = self.busy_poll.begin(last) {
            let due = self.forwarder.patience().map(|patience| last + patience);
            loop {
                self.epoll.wait(events, Some(Duration::ZERO))?;
                if !events.is_empty() {
                    return Ok(());
                }
                yield_now();
                let now = Instant::now();
                if due.is_some_and(|due| due <= now)
                    || self.busy_poll.nothing(last, now, end) == Next::Sleep
                {
                    break;
                }
                last = now;
            }
        }
        self.epoll.wait(events, self.forwarder.patience())
    }

    fn accept(&mut self) {
        while let Some((id, descriptor)) = self.server.accept() {
            if let Err(error) = self.epoll.watch(descriptor, Token::Client(id)) {
                log(format_args!("cannot wait for a control client: {error}"));
            }
        }
    }

    fn answer(&mut self, id: u32) {
        let forwarder = &mut self.forwarder;
        let wants = self.server.serve(id, |request| forwarder.execute(request));
        // A client that has gone took its descriptor out of the epoll by closing it.
        if let Some(client) = self.server.client(id)
            && let Err(error) = self.epoll.rearm(client, Token::Client(id), wants)
        {
            log(format_args!("cannot wait for a control client: {error}"));
        }
    }
}
