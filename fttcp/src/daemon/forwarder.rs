// SPDX-License-Identifier: GPL-3.0-only
//! Engine and data path together: what comes in goes to the engine, what the engine sends goes out.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::clock::{Clock, log, wall_ms};
use super::commit::{Answer, Commits};
use super::epoll::{Epoll, Token};
use super::wrap::Wraps;
use crate::control::{FastTotals, Grant, PortStatus};
use crate::datapath::{DataPath, OpenError, Received, Settings, trim_memory};
use crate::engine::{Committed, Engine, EngineConfig};
use crate::frame::{Output, PortId};
use crate::journal::file::JournalFile;

/// When so many connections were put to sleep, the memory that they held while awake is given back. It takes well below
/// a millisecond.
const DOZED: usize = 256;

/// After so many rounds the fast path is given connections though frames wait.
const AT_LAST: u32 = 8;

/// The part of the daemon that forwards frames and that requests act on.
#[derive(Debug)]
pub(super) struct Forwarder {
    pub(super) clock: Clock,
    pub(super) datapath: DataPath,
    pub(super) engine: Engine,
    pub(super) wraps: Wraps,
    pub(super) commits: Commits,
    epoll: Rc<Epoll>,
    /// The agents' bells are heard.
    bells: bool,
    /// Frames still wait at some port.
    more: bool,
    /// How often the fast path might have been given connections.
    rounds: u32,
    /// Connections that were put to sleep since memory was given back.
    dozed: usize,
}

impl Forwarder {
    /// A forwarder without groups, whose ports will be watched by `epoll`.
    pub(super) fn new(
        epoll: Rc<Epoll>,
        mut limits: EngineConfig,
        settings: &Settings,
    ) -> io::Result<Self> {
        let datapath = DataPath::choose(settings)?;
        epoll.watch(datapath.changes(), Token::Links)?;
        if let Some(ring) = datapath.records() {
            epoll.watch_edge(ring, Token::Records)?;
        }
        limits.shortcut = datapath.records().is_some();
        // What loading the kernel's program took.
        trim_memory();
        Ok(Self {
            clock: Clock::start(),
            datapath,
            engine: Engine::new(limits),
            wraps: Wraps::default(),
            commits: Commits::new(Rc::clone(&epoll)),
            epoll,
            bells: false,
            more: false,
            rounds: 0,
            dozed: 0,
        })
    }

    /// What a logger before us left in the fast path and this one does not know is not protected any more.
    pub(super) fn drop_leftovers(&mut self) {
        for key in self.datapath.connections() {
            if !self.engine.knows(&key) {
                self.datapath.ports().reclaim(&key);
            }
        }
    }

    /// Opens an interface and waits for its frames.
    pub(super) fn open(&mut self, interface: &str) -> Result<PortId, OpenError> {
        let port = self.datapath.open(interface)?;
        let mut sockets = self.datapath.descriptors(port);
        let watched = sockets.try_for_each(|(number, socket)| {
            self.epoll.watch(socket, Token::Port(port, number as u16))
        });
        drop(sockets);
        watched.map(|()| port).map_err(|source| {
            self.abandon(port);
            OpenError::Failed {
                action: "wait for frames of",
                interface: interface.to_owned(),
                source,
            }
        })
    }

    /// Wakes when an agent of a service domain rings, once there may be one.
    pub(super) fn watch_bells(&mut self) {
        let Some(bells) = self.wraps.bells().filter(|_| !self.bells) else {
            return;
        };
        match self.epoll.watch(bells, Token::Bells) {
            Ok(()) => self.bells = true,
            Err(error) => log(format_args!("cannot wait for event channels: {error}")),
        }
    }

    /// Closes an interface and says what went through it.
    pub(super) fn close(&mut self, port: PortId, why: &str) {
        if let Some(status) = &self.abandon(port) {
            log(Totals { status, why });
        }
    }

    /// Closes an interface without a word.
    pub(super) fn abandon(&mut self, port: PortId) -> Option<PortStatus> {
        // The sockets may live on for a moment, but must not wake the loop.
        for (_, socket) in self.datapath.descriptors(port) {
            self.epoll.forget(socket);
        }
        self.wraps.forget(port);
        if let Some(interface) = self.datapath.interface(port) {
            self.commits.forget(interface);
        }
        self.datapath.close(port)
    }

    /// Takes what the fast path has copied out.
    pub(super) fn take_records(&mut self) {
        let now = self.clock.now();
        self.engine.handle_records(now, self.datapath.ports());
    }

    /// Takes away from the fast path the connections that a logger before us gave it and that this one does not know:
    /// they are not protected any more.
    pub(super) fn forget_strangers(&mut self) {
        let given = self.engine.given();
        for key in self.datapath.connections() {
            if !given.contains(&key) {
                self.datapath.ports().reclaim(&key);
            }
        }
    }

    /// Tells the data path what has changed about groups and their ports.
    pub(super) fn announce(&mut self) {
        self.engine.announce(self.datapath.ports());
    }

    /// Takes the frames that wait at a socket of `port`.
    pub(super) fn receive(&mut self, port: PortId, socket: u16) {
        let (engine, wraps, now) = (&mut self.engine, &mut self.wraps, self.clock.now());
        let received = self
            .datapath
            .receive_from(port, usize::from(socket), |frames, ports| {
                if wraps.commit(port) {
                    engine.handle_frames(now, port, frames, ports);
                }
            });
        match received {
            // What is left wakes the loop again, after the other ports have had their turn.
            Received::More => self.more = true,
            Received::All => {}
            Received::Down => {
                let interface = self.datapath.interface(port).unwrap_or_default();
                log(format_args!(
                    "interface {interface} was set down; it is used again when it is up"
                ));
            }
        }
    }

    /// Lets the engine give connections to the fast path, unless frames still wait that would be overtaken; but not for
    /// ever: what the kernel forwards makes the load less, and an overtaken segment is put in order by TCP.
    pub(super) fn settle(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let waiting = std::mem::take(&mut self.more);
        if !waiting || self.rounds.is_multiple_of(AT_LAST) {
            let now = self.clock.now();
            self.engine.settle(now, waiting, self.datapath.ports());
        }
    }

    /// Closes the ports whose interfaces were removed, as a domain's is when the domain ends. One that comes by the
    /// same name later is another: it is used when it is asked for.
    pub(super) fn look_at_links(&mut self) {
        for port in self.datapath.removed() {
            self.close(port, "was removed");
            let (now, reason) = (self.clock.now(), "its interface was removed");
            let ports = self.datapath.ports();
            let group = self
                .engine
                .lose_standby(now, wall_ms(), port, reason, ports);
            if let Some(group) = group {
                log(format_args!("group {group}: has a standby less"));
            }
        }
        self.announce();
    }

    /// Lets the engine do what has become due.
    pub(super) fn handle_timeout(&mut self) {
        let Some(due) = self.engine.next_timeout() else {
            return;
        };
        let now = self.clock.now();
        if due <= now {
            self.engine.handle_timeout(now, self.datapath.ports());
            self.dozed += self.engine.take_dozed();
        }
        if self.dozed >= DOZED {
            self.dozed = 0;
            trim_memory();
        }
    }

    /// Asks for what servers' answers wait for.
    pub(super) fn ask_commits(&mut self) {
        while let Some(wanted) = self.engine.poll_commit() {
            if !self.commits.ask(&wanted) {
                self.committed(vec![(wanted, Committed::Nobody)]);
            }
        }
    }

    /// Who was asked has answered: at the socket with this number, or a bell has rung.
    pub(super) fn hear_commits(&mut self, socket: Option<u32>) {
        let answers = match socket {
            Some(id) => self.commits.hear(id),
            None => self.commits.hear_bells(),
        };
        self.committed(answers);
    }

    /// By which page the agent of the server behind `interface` is asked.
    ///
    /// # Errors
    /// This domain cannot use what another one grants, or it cannot be kept for the next logger.
    pub(super) fn set_commit_page(
        &mut self,
        interface: &str,
        page: Option<Grant>,
    ) -> Result<(), String> {
        let (kept, answers) = self.commits.set_page(interface, page);
        self.committed(answers);
        kept
    }

    fn committed(&mut self, answers: Vec<Answer>) {
        for (commit, how) in answers {
            let now = self.clock.now();
            self.engine
                .committed(now, &commit, how, self.datapath.ports());
        }
    }

    /// Tells wraps that replay what has become of their clients.
    pub(super) fn follow_wraps(&mut self) {
        let engine = &self.engine;
        self.wraps.follow(|group| engine.clients(group));
    }

    /// How long until the engine or the data path has something to do; `None`: they wait for frames only.
    pub(super) fn patience(&mut self) -> Option<Duration> {
        let due = self.engine.next_timeout();
        let engine = due.map(|due| due.since(self.clock.now()));
        engine.into_iter().chain(self.datapath.attend()).min()
    }

    /// Logs which data path is used.
    pub(super) fn say_data_path(&self) {
        let name = self.datapath.name();
        match self.datapath.reason() {
            Some(reason) => log(format_args!(
                "data path {name}, every frame through this process: {reason}"
            )),
            None => log(format_args!("data path {name}")),
        }
    }

    /// Ends in order: nothing is left at the interfaces. Unless all is to be forgotten, another process can go on.
    pub(super) fn shut_down(&mut self, forget: bool) {
        let now = self.clock.now();
        let ports = self.datapath.ports();
        if forget {
            ports.journal().map(JournalFile::remove);
            self.wraps.forget_areas();
            self.commits.forget_pages();
        } else {
            self.engine.take_back_all(now, ports);
            self.engine.sync_journal(now, ports);
        }
        if let Some(totals) = self.datapath.fast_totals() {
            log(FastLine(totals));
        }
        if let Some(journal) = self.datapath.ports().journal() {
            journal.ended_in_order();
        }
        self.datapath.shut_down();
    }

    /// Logs what the engine has to say.
    pub(super) fn say_events(&mut self) {
        let journal = self.datapath.ports().journal();
        if let Some(error) = journal.and_then(JournalFile::take_failure) {
            self.engine.stop_journal();
            log(format_args!("{error}"));
            log("from now on, connections do not survive the end of this process");
        }
        while let Some(event) = self.engine.poll_event() {
            log(event);
        }
    }

    /// Logs the totals of every open interface.
    pub(super) fn say_totals(&mut self) {
        for status in &self.datapath.status() {
            log(Totals {
                status,
                why: "was open",
            });
        }
    }
}

struct Totals<'a> {
    status: &'a PortStatus,
    why: &'a str,
}

impl fmt::Display for Totals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortStatus {
            interface,
            received,
            sent,
            receive_drops,
            send_drops,
        } = self.status;
        write!(
            f,
            "interface {interface} {}: {received} frames received, {sent} sent, lost {receive_drops} on the way in \
             and {send_drops} on the way out",
            self.why
        )
    }
}

struct FastLine(FastTotals);

impl fmt::Display for FastLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FastTotals {
            forwarded,
            punted,
            ring_full,
            closed,
            unattended,
            unprotected,
        } = self.0;
        write!(
            f,
            "fast path: {forwarded} frames forwarded, {punted} handed over, dropped {closed} of closed ports, \
             {unattended} without a logger and {ring_full} for a full ring without one; {unprotected} passed unprotected without one"
        )
    }
}
