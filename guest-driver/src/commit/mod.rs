// SPDX-License-Identifier: GPL-3.0-only
//! Brings to disk what the service has written, when the logger asks for it: answers of durable services wait for that.
//!
//! The logger asks with a number. What is begun then covers all that the service had done before it was asked, and all numbers
//! below; one flush at a time, for the newest number. It is the work of the order `flush`.
//!
//! Who lives here: `page`, by which a logger in another domain asks; `socket`, at which one on this host does.

mod page;
mod socket;

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use toolstack::guest::Verb;
use toolstack::store::Store;

use crate::agent::Job;
use crate::grants::hypervisor::Hypervisor;
use crate::grants::xen::Xen;
use crate::jobs::Worker;
use crate::say;
use page::Page;

pub(crate) use socket::serve;

/// Writes dirty pages to the disks.
fn flush(worker: &impl Worker) -> Result<String, String> {
    worker.perform(&Job::Other(Verb::Flush))
}

/// The thread that serves a logger in another domain. It ends when this is dropped: the page and its node go.
#[derive(Debug)]
pub struct Committing {
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Committing {
    /// Grants the page to the domain behind network interface `vif`. If it cannot be, that is told, and nobody is served.
    ///
    /// # Errors
    /// There are no sockets.
    pub fn start<S: Store + Send + 'static>(
        vif: u32,
        store: S,
        worker: impl Worker,
    ) -> io::Result<Self> {
        Self::start_on(vif, store, worker, Xen)
    }

    fn start_on<H, S>(vif: u32, store: S, worker: impl Worker, hypervisor: H) -> io::Result<Self>
    where
        H: Hypervisor + Send + 'static,
        S: Store + Send + 'static,
    {
        let (stop, stopped) = UnixStream::pair()?;
        let work = move || match Page::offer(&hypervisor, store, vif) {
            Ok(mut page) => {
                if let Err(error) = page.serve(&stopped, || flush(&worker)) {
                    say(&format!(
                        "commit: {error}; the logger is not served any more"
                    ));
                }
            }
            Err(why) => say(&format!(
                "commit: {why}; the logger cannot ask this guest to bring its data to disk"
            )),
        };
        Ok(Self {
            stop,
            thread: Some(std::thread::spawn(work)),
        })
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        // Only a socket that is not connected could refuse.
        let _ = self.stop.shutdown(Shutdown::Both);
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            say("commit: the thread has panicked");
        }
    }
}

#[cfg(test)]
mod tests;
