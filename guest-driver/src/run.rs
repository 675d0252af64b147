// SPDX-License-Identifier: GPL-3.0-only
//! The loop of the agent: waits for xenstore, for a thread's news, for the next beat, for a signal to stop.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use toolstack::error::{Code, Error, Result};
use toolstack::store::{Store, StoreExt, XsClient, XsPath};

use crate::commit::{self, Committing};
use crate::driver::Driver;
use crate::jobs::{Kernel, Worker};
use crate::probe::Probe;
use crate::wrap::{self, Wrapping};
use crate::{AGENT_VERSION, say};

/// How the agent is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// From one heartbeat to the next.
    pub interval: Duration,
    /// How the service is asked.
    pub probe: Probe,
    /// How programs get memory for their records.
    pub wrap: wrap::Options,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// xenstore cannot be reached or does not answer any more.
pub fn run(options: &Options) -> Result<()> {
    let stop = stop()?;
    let (mut woken, waker) = pair()?;
    let waker = std::sync::Arc::new(waker);
    // A full socket means that the loop will wake up anyway.
    let wake = move || drop((&*waker).write(&[1]));
    let store = XsClient::open()?;
    let mut driver = Driver::start(
        &store,
        options.interval,
        options.probe.clone(),
        Kernel::default(),
        wake,
    )?;
    // It ends with this function, however that ends.
    let _wrapping = wrapping(&options.wrap)?;
    let _committing = Committing::start(options.wrap.vif, XsClient::open()?, Kernel::default())
        .map_err(|e| failed("make a socket pair", e))?;
    say(&format!("version {AGENT_VERSION} is ready"));
    loop {
        while let Some(event) = store.next_event(Some(Instant::now()))? {
            driver.on_event(&event)?;
        }
        driver.work()?;
        // What came meanwhile is queued in the client, where poll does not see it.
        if let Some(event) = store.next_event(Some(Instant::now()))? {
            driver.on_event(&event)?;
            continue;
        }
        let left = driver.deadline().saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [
            PollFd::new(&store, PollFlags::IN),
            PollFd::new(&woken, PollFlags::IN),
            PollFd::new(&stop, PollFlags::IN),
        ];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("wait for events", errno)),
        }
        let [_, news, stopped] = fds.map(|fd| !fd.revents().is_empty());
        if stopped {
            let ended = driver.stop();
            say("stopped");
            return ended;
        }
        if news {
            // How many bytes there are does not matter: all news is taken.
            let _ = woken.read(&mut [0; 64]);
        }
    }
}

/// Brings data to disk when loggers ask for it at a socket, and does nothing else, until SIGTERM or SIGINT. No Xen is needed.
///
/// # Errors
/// Nothing can listen at the path.
pub fn serve_commits(path: &Path) -> Result<()> {
    let stop = stop()?;
    let listen = |e| failed(&format!("listen at {}", path.display()), e);
    let listener = wrap::listen_at(path).map_err(listen)?;
    say(&format!("commits are served at {}", path.display()));
    let served = commit::serve(&listener, &stop, &Kernel::default());
    // Somebody may have removed it already.
    let _ = std::fs::remove_file(path);
    say("stopped");
    served.map_err(|e| failed("serve commits", e))
}

/// Readable when SIGTERM or SIGINT has come.
fn stop() -> Result<UnixStream> {
    let (stop, sender) = pair()?;
    for signal in [SIGTERM, SIGINT] {
        let sender = sender
            .try_clone()
            .map_err(|e| failed("make a socket pair", e))?;
        pipe::register(signal, sender).map_err(|e| failed("catch signals", e))?;
    }
    Ok(stop)
}

/// Serves programs under the wrap. Where their socket cannot be, the agent does the rest of its work.
fn wrapping(options: &wrap::Options) -> Result<Option<Wrapping>> {
    // A connection of its own: the thread must not wait for the agent's requests, nor the heartbeat for it.
    match Wrapping::start(options, XsClient::open()?) {
        Ok(wrapping) => Ok(Some(wrapping)),
        Err(error) => {
            let path = options.socket.display();
            say(&format!("{path}: no program can be wrapped: {error}"));
            Ok(None)
        }
    }
}

/// Looks whether the agent could run here, and tells what it would do.
///
/// # Errors
/// xenstore cannot be reached.
pub fn check(options: &Options) -> Result<String> {
    let store = XsClient::open()?;
    let domain = store.read_text(&XsPath::new("domid"))?;
    let mounts = Kernel::default().mounts();
    let mounts = match mounts.as_slice() {
        [] => "no mount can be frozen".to_owned(),
        mounts => format!("quiesce would freeze {}", mounts.join(", ")),
    };
    Ok(format!(
        "domain {}: xenstore answers; probe {}; {mounts}",
        domain.as_deref().unwrap_or("(number unknown)"),
        options.probe
    ))
}

/// Two ends of which neither blocks.
fn pair() -> Result<(UnixStream, UnixStream)> {
    let make = || {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok((near, far))
    };
    make().map_err(|e: std::io::Error| failed("make a socket pair", e))
}

fn failed(op: &str, error: impl std::fmt::Display) -> Error {
    Error::new(Code::System, op, "rxl-guest", error)
}
