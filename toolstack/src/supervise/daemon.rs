// SPDX-License-Identifier: GPL-3.0-only
//! The daemon: a thread that thinks ([`Core`]), one that watches Xen, one that talks to loggers, one that destroys and
//! restarts, and one for each client.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::backend::Backend;
use super::care::UpgradeOrder;
use super::core::{Action, Core, Input, unknown_group};
use super::plan::GroupPlan;
use super::proto::{Event, GroupState, Reply, Status};
use super::{images, members, refresh, upgrades, work};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;

/// Where the daemon keeps its things.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The socket that it listens on.
    pub socket: PathBuf,
    /// The file of what outlives it.
    pub state: PathBuf,
    /// The file that only one daemon can lock.
    pub lock: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(super::proto::SOCKET),
            state: PathBuf::from("/run/rxl/groups.json"),
            lock: PathBuf::from("/run/rxl/rxld.lock"),
        }
    }
}

/// What reaches the thinking thread.
#[derive(Debug)]
pub(super) enum Message {
    /// News, or the result of work.
    Input(Input),
    /// A client's question that the core alone can answer.
    Ask(Question, Sender<Reply>),
    /// The domains can no longer be watched.
    Blind(Error),
    /// The daemon is to end.
    Stop,
}

/// What a client's thread asks.
#[derive(Debug)]
pub(super) enum Question {
    Status,
    Domains,
    /// The groups as the core knows them, without their loggers.
    Groups,
    Watch(DomId, Box<crate::config::DomainConfig>),
    Unwatch(DomId),
    Protected(Box<GroupState>),
    Unprotected(String),
    Apply(Box<GroupPlan>, DomId, Uuid),
    Upgrade(String, Box<UpgradeOrder>),
    Rollback(String),
    Failover(String, String),
    Events {
        since: u64,
        follow: bool,
    },
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    to_core: Sender<Message>,
    thinking: thread::JoinHandle<Result<()>>,
    stop: Arc<AtomicBool>,
    /// Open for as long as the daemon is the only one.
    lock: std::fs::File,
}

/// Ends a daemon from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    to_core: Sender<Message>,
}

impl Stopper {
    /// Asks the daemon to end.
    pub fn stop(&self) {
        // If it has ended already, there is nothing to ask.
        let _ = self.to_core.send(Message::Stop);
    }
}

impl Daemon {
    /// Starts a daemon; it listens when this returns.
    ///
    /// # Errors
    /// If another one runs, or Xen, xenstore, or the socket cannot be had.
    pub fn start(settings: Settings, backend: &Arc<dyn Backend>) -> Result<Self> {
        let lock = super::server::lock(&settings)?;
        let saved = work::load(&settings.state)?;
        work::recover(backend.as_ref())?;
        // What is left takes memory and does no other harm: the groups are taken care of all the same.
        if let Err(error) = images::sweep(backend.as_ref(), &saved.groups) {
            eprintln!("rxld: {error}");
        }
        let (to_core, inbox) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        super::server::listen(&settings, backend, &to_core)?;
        let work = |work: Work| {
            let (orders, inbox) = channel();
            let (worker, answer) = (Arc::clone(backend), to_core.clone());
            thread::spawn(move || work(worker.as_ref(), &inbox, &answer));
            orders
        };
        let workers = Workers {
            relay: work(work::relay),
            chores: work(work::chores),
            makers: work(members::make_all),
            eyes: work(members::look_all),
            ears: work(members::ask_all),
            doctor: work(upgrades::check_all),
            nurse: work(refresh::refresh_all),
        };
        let (worker, answer, stopped) = (Arc::clone(backend), to_core.clone(), Arc::clone(&stop));
        thread::spawn(move || work::watch_domains(worker.as_ref(), &answer, &stopped));

        let mind = Mind {
            core: Core::new(saved, now_ms()),
            started_ms: now_ms(),
            settings,
            workers,
            followers: Vec::new(),
            waiting: HashMap::new(),
        };
        let thinking = thread::spawn(move || mind.run(&inbox));
        Ok(Self {
            to_core,
            thinking,
            stop,
            lock,
        })
    }

    /// What ends it from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            to_core: self.to_core.clone(),
        }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Why it ended, unless it was asked to.
    pub fn join(self) -> Result<()> {
        let ended = self.thinking.join();
        self.stop.store(true, Ordering::Relaxed);
        drop(self.lock);
        ended.unwrap_or_else(|_| {
            let cause = "a thread panicked; see the log";
            Err(Error::new(Code::System, "supervise", "rxld", cause))
        })
    }
}

fn done(result: Result<()>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Error { error },
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// What a worker does with its orders.
type Work = fn(&dyn Backend, &Receiver<Action>, &Sender<Message>);

/// Where orders go. Each kind of work has a thread, so that none waits for another.
struct Workers {
    relay: Sender<Action>,
    chores: Sender<Action>,
    makers: Sender<Action>,
    eyes: Sender<Action>,
    ears: Sender<Action>,
    doctor: Sender<Action>,
    nurse: Sender<Action>,
}

/// The thinking thread's things.
struct Mind {
    core: Core,
    started_ms: u64,
    settings: Settings,
    workers: Workers,
    followers: Vec<Sender<Reply>>,
    /// Clients that wait for a logger's answer to a failover, by group.
    waiting: HashMap<String, Vec<Sender<Reply>>>,
}

impl Mind {
    fn run(mut self, inbox: &Receiver<Message>) -> Result<()> {
        self.act();
        loop {
            let message = match self.core.deadline() {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => inbox.recv_timeout(Duration::from_millis(at.saturating_sub(now_ms()))),
            };
            let message = match message {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    self.core.tick(now_ms());
                    self.act();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            match message {
                Message::Stop => break,
                Message::Blind(error) => {
                    self.clean();
                    return Err(error);
                }
                Message::Input(input) => {
                    self.answer_waiting(&input);
                    self.core.handle(input, now_ms());
                }
                Message::Ask(question, client) => self.ask(question, client),
            }
            self.act();
        }
        self.clean();
        Ok(())
    }

    /// A client that connects from now on finds nobody, instead of somebody who does not answer.
    fn clean(&self) {
        // It was made by this daemon; if it is gone already, so much the better.
        let _ = std::fs::remove_file(&self.settings.socket);
    }

    fn act(&mut self) {
        while let Some(action) = self.core.poll() {
            match action {
                // The receivers live as long as this thread.
                Action::Failover { .. }
                | Action::Join { .. }
                | Action::Serve { .. }
                | Action::Change { .. }
                | Action::Leave { .. } => drop(self.workers.relay.send(action)),
                Action::Destroy(_) | Action::Restart { .. } => {
                    drop(self.workers.chores.send(action));
                }
                Action::Make { .. } | Action::Capture { .. } | Action::DropImage(_) => {
                    drop(self.workers.makers.send(action));
                }
                Action::Look { .. } => drop(self.workers.eyes.send(action)),
                Action::Ask { .. } | Action::Progress { .. } => {
                    drop(self.workers.ears.send(action));
                }
                Action::Check { .. } => drop(self.workers.doctor.send(action)),
                Action::Refresh(_) => drop(self.workers.nurse.send(action)),
                Action::Save => {
                    if let Err(error) = work::save(&self.settings.state, &self.core.saved()) {
                        eprintln!("rxld: {error}");
                    }
                }
                Action::Tell(event) => self.tell(&event),
            }
        }
    }

    fn tell(&mut self, event: &Event) {
        let domain = event
            .domain
            .map(|domid| format!(" domain {domid}"))
            .unwrap_or_default();
        let group = event
            .group
            .as_deref()
            .map(|group| format!(" group {group}"))
            .unwrap_or_default();
        eprintln!(
            "rxld: {} {}{domain}{group} {}",
            event.time_ms, event.kind, event.detail
        );
        let reply = Reply::Events {
            events: vec![event.clone()],
        };
        self.followers
            .retain(|follower| follower.send(reply.clone()).is_ok());
    }

    fn answer_waiting(&mut self, input: &Input) {
        let (group, failure) = match input {
            Input::Relayed { group, result } => (group, result.as_ref().err()),
            Input::Unfenced { group, error } => (group, Some(error)),
            _ => return,
        };
        let reply = match failure.cloned() {
            None => Reply::Done,
            Some(error) => Reply::Error { error },
        };
        for client in self.waiting.remove(group).unwrap_or_default() {
            // A client that has gone away needs no answer.
            let _ = client.send(reply.clone());
        }
    }

    fn ask(&mut self, question: Question, client: Sender<Reply>) {
        let reply = match question {
            Question::Status => Reply::Status {
                status: self.status(),
            },
            Question::Domains => Reply::Domains {
                domains: self.core.domains(),
            },
            Question::Groups => Reply::Groups {
                groups: self
                    .core
                    .groups()
                    .into_iter()
                    .map(super::server::report)
                    .collect(),
            },
            Question::Watch(domid, config) => self.input(Input::Watch { domid, config }),
            Question::Unwatch(domid) => self.input(Input::Unwatch(domid)),
            Question::Protected(group) => self.input(Input::Protected(*group)),
            Question::Unprotected(name) => {
                if self.core.groups().iter().any(|group| group.name == name) {
                    self.input(Input::Unprotected(name))
                } else {
                    Reply::Error {
                        error: unknown_group("end the group", &name),
                    }
                }
            }
            Question::Apply(plan, logger, seed) => {
                done(self.core.apply(*plan, logger, seed, now_ms()))
            }
            Question::Upgrade(group, order) => done(self.core.upgrade(&group, *order, now_ms())),
            Question::Rollback(group) => done(self.core.rollback(&group, now_ms())),
            Question::Failover(group, reason) => {
                match self.core.failover(&group, &reason, now_ms()) {
                    Ok(()) => {
                        self.waiting.entry(group).or_default().push(client);
                        return;
                    }
                    Err(error) => Reply::Error { error },
                }
            }
            Question::Events { since, follow } => {
                let (events, _) = self.core.events(since);
                if follow {
                    self.followers.push(client.clone());
                }
                Reply::Events { events }
            }
        };
        // A client that has gone away needs no answer.
        let _ = client.send(reply);
    }

    fn input(&mut self, input: Input) -> Reply {
        self.core.handle(input, now_ms());
        Reply::Done
    }

    fn status(&self) -> Status {
        Status {
            software: concat!("rxld ", env!("CARGO_PKG_VERSION")).to_owned(),
            pid: std::process::id(),
            started_ms: self.started_ms,
            domains: self.core.domains().len(),
            groups: self.core.groups().len(),
            last_event: self.core.events(u64::MAX).1,
        }
    }
}

#[cfg(test)]
mod tests;
