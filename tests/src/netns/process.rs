// SPDX-License-Identifier: GPL-3.0-only
//! A child process that says on standard error when it is ready, and that is killed when it is dropped.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

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
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let stderr = child.stderr.take().ok_or("no standard error")?;
        let mut running = Self {
            name: name.to_owned(),
            child,
            log: Arc::default(),
            reader: None,
        };
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        for line in lines.by_ref() {
            let is_ready = line.contains(ready);
            running.lock().push(line);
            if is_ready {
                let log = Arc::clone(&running.log);
                running.reader = Some(std::thread::spawn(move || {
                    for line in lines {
                        log.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(line);
                    }
                }));
                return Ok(running);
            }
        }
        Err(format!(
            "{name} ended before it was ready:\n{}",
            running.log()
        ))
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
        let _ = self.wait();
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
    fn handle_tells_of_the_death() {
        let script = "echo ready >&2; exec sleep 100";
        let mut running = Running::start("sh", shell(script), "ready").unwrap();
        let handle = running.handle().unwrap();
        handle.kill().unwrap();
        handle.wait().unwrap();
        assert!(!running.wait().unwrap().success());
    }
}
