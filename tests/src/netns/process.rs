// SPDX-License-Identifier: GPL-3.0-only
//! A child process that says on standard error when it is ready, and that is killed when it is dropped.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, pidfd_send_signal,
    waitid,
};

/// How long a program may take that does not say when it is ready.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked.
const PROBE: Duration = Duration::from_millis(5);

/// A running process.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts `command` and waits until a line with `ready` comes on its standard error.
    ///
    /// # Errors
    /// It could not be started, or ended before it was ready: what it said.
    pub fn start(name: &str, mut command: Command, ready: &str) -> Result<Self, String> {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Self::spawn(name, command)?;
        let stderr = running.child.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        for line in lines.by_ref() {
            let is_ready = line.contains(ready);
            running.lock().push(line);
            if is_ready {
                running.read_on(lines);
                return Ok(running);
            }
        }
        Err(format!(
            "{name} ended before it was ready:\n{}",
            running.log()
        ))
    }

    /// Starts `command`, which does not say when it is ready: asks `ready` every few milliseconds. Its log is what it
    /// writes to standard output and standard error.
    ///
    /// # Errors
    /// It could not be started, ended, or was not ready in time: what it said.
    pub fn probe(
        name: &str,
        mut command: Command,
        ready: impl Fn() -> bool,
    ) -> Result<Self, String> {
        let cannot = |error| format!("cannot start {name}: {error}");
        let (from, to) = std::io::pipe().map_err(cannot)?;
        command.stdout(to.try_clone().map_err(cannot)?).stderr(to);
        let mut running = Self::spawn(name, command)?;
        running.read_on(BufReader::new(from).lines().map_while(Result::ok));
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if ready() {
                return Ok(running);
            }
            if running.child.try_wait().map_err(cannot)?.is_some() {
                running.wait()?;
                break;
            }
            std::thread::sleep(PROBE);
        }
        Err(format!("{name} did not become ready:\n{}", running.log()))
    }

    fn spawn(name: &str, mut command: Command) -> Result<Self, String> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: Arc::default(),
            reader: None,
        })
    }

    fn read_on(&mut self, lines: impl Iterator<Item = String> + Send + 'static) {
        let log = Arc::clone(&self.log);
        self.reader = Some(std::thread::spawn(move || {
            for line in lines {
                log.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.lock().join("\n")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A handle on the process that another thread can have.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn handle(&self) -> Result<Handle, String> {
        let fd = pidfd_open(self.pid()?, PidfdFlags::empty())
            .map_err(|error| format!("cannot watch {}: {error}", self.name))?;
        Ok(Handle { fd })
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(self.pid()?, signal)
            .map_err(|error| format!("cannot send a signal to {}: {error}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn wait(&mut self) -> Result<ExitStatus, String> {
        let status = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        status.map_err(|error| format!("cannot wait for {}: {error}", self.name))
    }

    fn pid(&self) -> Result<Pid, String> {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| format!("{} has no process id", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // Not for the end of its output: children of its own may outlive it, and have that open.
        let _ = self.child.wait();
    }
}

/// Waits until a child has ended (true), or for so long (false).
///
/// # Errors
/// The kernel refused.
pub fn ends_within(child: &Child, limit: Duration) -> std::io::Result<bool> {
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A process, whoever may get its number after it (pidfd_open(2)).
#[derive(Debug)]
pub struct Handle {
    fd: OwnedFd,
}

impl Handle {
    /// Waits until the process has died.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn wait(&self) -> Result<(), String> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        poll(&mut fds, None)
            .map(drop)
            .map_err(|error| format!("cannot wait for a death: {error}"))
    }

    /// Lets it stand still, and waits until it does: each of its threads runs until it has been told, and on a busy machine
    /// that takes a while.
    ///
    /// # Errors
    /// It is dead already, or not a child of this process.
    pub fn stop(&self) -> Result<(), String> {
        self.signal(Signal::STOP)?;
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(self.fd.as_fd()), stopped)
            .map(drop)
            .map_err(|error| format!("cannot wait until it stands still: {error}"))
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// It is dead already.
    pub fn kill(&self) -> Result<(), String> {
        self.signal(Signal::KILL)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is dead already.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        pidfd_send_signal(&self.fd, signal)
            .map_err(|error| format!("cannot send a signal: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn start_waits_for_the_ready_line_and_keeps_the_log() {
        let script = "echo first >&2; echo ready >&2; echo last >&2";
        let mut running = Running::start("sh", shell(script), "ready").unwrap();
        assert!(running.wait().unwrap().success());
        assert_eq!(running.log(), "first\nready\nlast");
    }

    #[test]
    fn start_process_that_ends_early_tells_what_it_said() {
        let error = Running::start("sh", shell("echo no port >&2; exit 1"), "ready").unwrap_err();
        assert!(error.contains("no port"), "{error}");
    }

    #[test]
    fn probe_keeps_the_log_of_both_outputs_and_tells_of_an_early_end() {
        let script = "echo out; echo err >&2";
        let mut running = Running::probe("sh", shell(script), || true).unwrap();
        running.wait().unwrap();
        assert_eq!(running.log(), "out\nerr");
        let error = Running::probe("sh", shell("echo no port; exit 1"), || false).unwrap_err();
        assert!(error.contains("no port"), "{error}");
    }

    #[test]
    fn handle_tells_of_the_death() {
        let script = "echo ready >&2; exec sleep 100";
        let mut running = Running::start("sh", shell(script), "ready").unwrap();
        let handle = running.handle().unwrap();
        handle.kill().unwrap();
        handle.wait().unwrap();
        assert!(!running.wait().unwrap().success());
    }
}
