// SPDX-License-Identifier: GPL-3.0-only
//! The end of a server, and how the logger comes to know of it.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use fttcp::control::Request;

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

/// A server that can be killed, and whose death is told to the logger: the part that the toolstack has with domains.
#[derive(Debug)]
pub struct Victim {
    killed: Handle,
    watched: Handle,
    socket: PathBuf,
}

impl Victim {
    /// The server whose process is `process`, behind `logger`.
    ///
    /// # Errors
    /// It is dead already.
    pub fn new(process: &Running, logger: &Logger) -> Result<Self, String> {
        Ok(Self {
            killed: process.handle()?,
            watched: process.handle()?,
            socket: logger.socket().to_owned(),
        })
    }

    /// Kills the server with SIGKILL. A thread that waits for its death tells the logger.
    ///
    /// # Errors
    /// It is dead already.
    pub fn kill(self) -> Result<JoinHandle<Result<Told, String>>, String> {
        self.killed.kill()?;
        Ok(std::thread::spawn(move || self.tell()))
    }

    /// Kills the server and waits for its death, of which nobody is told.
    ///
    /// # Errors
    /// It is dead already.
    pub fn kill_untold(&self) -> Result<(), String> {
        self.killed.kill()?;
        self.watched.wait()
    }

    /// Waits for the server's death and tells the logger.
    ///
    /// # Errors
    /// The logger refused.
    pub fn tell(&self) -> Result<Told, String> {
        self.watched.wait()?;
        let seen = Instant::now();
        let request = Request::Failover {
            group: GROUP.to_owned(),
            reason: "nginx was killed".to_owned(),
        };
        ask(&self.socket, &request)?;
        Ok(Told {
            seen,
            answered: Instant::now(),
        })
    }
}
