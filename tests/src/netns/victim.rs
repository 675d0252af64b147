// SPDX-License-Identifier: GPL-3.0-only
//! The end of a server, and how the logger comes to know of it.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use fttcp::control::Request;
use rustix::process::Signal;

use super::logger::{Logger, ask};
use super::process::{Handle, Running};
use super::topology::GROUP;

/// How a failover was told. Times are of this process's clock.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// When the server's death was seen.
    pub seen: Instant,
    /// When the logger had answered.
    pub answered: Instant,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its programs are killed; its kernel lives on and closes their connections.
    Killed,
    /// Its interface is taken away, as when a domain is destroyed. Its programs live on, in the dark.
    Unplugged,
    /// It goes away as a whole.
    Destroyed,
    /// Its programs stand still, and its kernel goes on answering for them.
    Stopped,
    /// It does not end: its connections are moved away from it, as for an upgrade.
    Alive,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Killed,
        Self::Unplugged,
        Self::Destroyed,
        Self::Stopped,
        Self::Alive,
    ];
}

/// A server that can be killed, and whose death is told to the logger: the part that the toolstack has with domains.
#[derive(Debug)]
pub struct Victim {
    killed: Vec<Handle>,
    watched: Vec<Handle>,
    socket: PathBuf,
}

impl Victim {
    /// The server whose programs are `programs`, behind `logger`.
    ///
    /// # Errors
    /// None runs, or one is dead already.
    pub fn new(programs: &[&Running], logger: &Logger) -> Result<Self, String> {
        if programs.is_empty() {
            return Err("the active server does not run".to_owned());
        }
        let handles = || -> Result<Vec<Handle>, String> {
            programs.iter().map(|program| program.handle()).collect()
        };
        Ok(Self {
            killed: handles()?,
            watched: handles()?,
            socket: logger.socket().to_owned(),
        })
    }

    /// Kills the server with SIGKILL. A thread that waits for its death tells the logger.
    ///
    /// # Errors
    /// It is dead already.
    pub fn kill(self) -> Result<JoinHandle<Result<Told, String>>, String> {
        self.signal(Signal::KILL)?;
        Ok(std::thread::spawn(move || self.tell()))
    }

    /// Kills the server and waits for its death, of which nobody is told.
    ///
    /// # Errors
    /// It is dead already.
    pub fn kill_untold(&self) -> Result<(), String> {
        self.signal(Signal::KILL)?;
        self.wait()
    }

    /// Lets the server stand still.
    ///
    /// # Errors
    /// It is dead already.
    pub fn stop(&self) -> Result<(), String> {
        self.killed.iter().try_for_each(Handle::stop)
    }

    /// Waits for the server's death and tells the logger.
    ///
    /// # Errors
    /// The logger refused.
    pub fn tell(&self) -> Result<Told, String> {
        self.wait()?;
        self.tell_end(End::Killed)
    }

    /// Tells the logger.
    ///
    /// # Errors
    /// The logger refused.
    pub fn tell_end(&self, end: End) -> Result<Told, String> {
        let seen = Instant::now();
        let reason = match end {
            End::Killed => "nginx was killed",
            End::Unplugged => "its interface was removed",
            End::Destroyed => "it was destroyed",
            End::Stopped => "it stood still",
            End::Alive => "upgrade",
        };
        let request = Request::Failover {
            group: GROUP.to_owned(),
            reason: reason.to_owned(),
        };
        ask(&self.socket, &request)?;
        Ok(Told {
            seen,
            answered: Instant::now(),
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        self.killed
            .iter()
            .try_for_each(|handle| handle.signal(signal))
    }

    fn wait(&self) -> Result<(), String> {
        self.watched.iter().try_for_each(Handle::wait)
    }
}
