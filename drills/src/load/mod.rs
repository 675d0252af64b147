// SPDX-License-Identifier: GPL-3.0-only
//! The clients: threads that do what a plan's loads say, look at every byte, and tell what they saw.
//!
//! Who lives here: what all clients share, and the loop of one; `watch`, pauses and bytes; `http`, `ftp`, `command`, one
//! request each. The stage runs each client where clients are.

mod command;
mod ftp;
mod http;
mod line;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::engine::{Outcome, Sample, Told};
use crate::plan::{Load, Runs, Work};
use watch::Watch;

/// A client that failed waits so long before it tries again.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// What reaches the engine.
#[derive(Debug)]
pub enum Input {
    /// A client saw something.
    Sample(Sample),
    /// The stage told something.
    Told(Told),
}

/// Where the service is.
#[derive(Clone, Debug)]
pub struct Target {
    /// What serves.
    pub runs: Runs,
    /// Where clients connect to.
    pub address: SocketAddr,
    /// What comes before a file's name in its URL.
    pub url: String,
    /// Where uploads are found.
    pub uploads: PathBuf,
    /// A client that gets no byte for so long gives up.
    pub patience: Duration,
}

/// A file of a load: its name and what is in it.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: Arc<Vec<u8>>,
}

/// What all clients share.
#[derive(Debug)]
pub struct Shared {
    /// When the clients began.
    pub start: Instant,
    /// Whether they shall begin nothing more.
    pub stop: AtomicBool,
    /// Bytes that they have transferred.
    pub bytes: AtomicU64,
}

impl Shared {
    /// Clients that begin now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
        }
    }

    /// The time since then.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its number.
    pub number: usize,
    /// What it does.
    pub load: Load,
    /// The file that it does it with.
    pub file: File,
    /// Where.
    pub target: Target,
}

/// One request at a time, over connections that it keeps.
trait Requests {
    fn request(&mut self, watch: &mut Watch<'_>) -> Outcome;
}

impl Client {
    /// Works until it is told to stop.
    pub fn work(self, shared: &Shared, tell: &Sender<Input>) {
        let pause = self.load.pause;
        let client = self.number;
        let mut requests = self.requests();
        let mut watch = Watch::new(shared, tell, client);
        while !shared.stop.load(Ordering::Relaxed) {
            let start = watch.begin();
            let outcome = requests.request(&mut watch);
            let good = outcome == Outcome::Good;
            watch.end(good);
            let sample = Sample::Request {
                client,
                start,
                end: shared.now(),
                outcome,
            };
            // Nobody listens when the drill is over.
            let _ = tell.send(Input::Sample(sample));
            let rest = if good {
                pause
            } else {
                pause.max(AFTER_FAILURE)
            };
            if !rest.is_zero() {
                // How a client behaves, not a wait for something.
                std::thread::sleep(rest);
            }
        }
        let _ = tell.send(Input::Sample(Sample::Ended));
    }

    fn requests(self) -> Box<dyn Requests> {
        match (&self.load.work, self.target.runs) {
            (Work::Command(line), _) => {
                let line = line.clone();
                Box::new(command::Command::new(self, &line))
            }
            (_, Runs::Ftp) => Box::new(ftp::Session::new(self)),
            (_, Runs::Web | Runs::Proxy) => Box::new(http::Http::new(self)),
        }
    }
}

/// Compares bytes that came with those that should have: `done` were compared before.
fn compare(came: &[u8], file: &[u8], done: usize) -> Result<(), Outcome> {
    let Some(wanted) = file.get(done..done + came.len()) else {
        let text = format!("more than the {} bytes of the file came", file.len());
        return Err(Outcome::Corrupt(text));
    };
    if came == wanted {
        return Ok(());
    }
    let at = came.iter().zip(wanted).position(|(a, b)| a != b);
    let at = done + at.unwrap_or_default();
    Err(Outcome::Corrupt(format!(
        "byte {at} of {} differs",
        file.len()
    )))
}

#[cfg(test)]
mod tests;
