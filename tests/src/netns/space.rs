// SPDX-License-Identifier: GPL-3.0-only
//! Network namespaces by `ip netns`: made with a name of their own, and deleted when dropped.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Every name begins with this and the process's id.
const PREFIX: &str = "rxlt";

/// Where iproute2 keeps the namespaces that it has named.
const NAMED: &str = "/run/netns";

/// How long an interface may take until it sends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A network namespace.
#[derive(Debug)]
pub struct Space {
    name: String,
}

impl Space {
    /// Makes a namespace; `role` becomes part of its name. It makes no IPv6 addresses of its own.
    ///
    /// # Errors
    /// `ip netns add` failed: no root, or no iproute2.
    pub fn new(role: &str) -> Result<Self, String> {
        static SWEPT: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        SWEPT.call_once(sweep);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}-{role}", std::process::id());
        ip(&["netns", "add", &name])?;
        let space = Self { name };
        space.ip(&["link", "set", "lo", "up"])?;
        space.sysctl("net.ipv6.conf.default.addr_gen_mode", "1")?;
        Ok(space)
    }

    /// Ends it as a domain is destroyed: with all its processes and, when the last has left, its interfaces.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn destroy(&self) -> Result<(), String> {
        // Without its name nobody could say who is inside.
        let inside = self.processes()?;
        ip(&["netns", "del", &self.name])?;
        end(inside);
        Ok(())
    }

    /// Its name, for `ip`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command that runs `program` inside. It replaces `ip`, so that the process's id is that of `program`.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `ip -n NAME ARGS`.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn ip(&self, args: &[&str]) -> Result<String, String> {
        ip(&[&["-n", &self.name], args].concat())
    }

    /// Runs a program inside to its end.
    ///
    /// # Errors
    /// It could not be started, or ended with a failure: what it said.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let output = self.command(program).args(args).output();
        judge(program, args, output)
    }

    /// Waits until an interface sends. The kernel sees to that some time after its other end was set up, and drops frames until
    /// then.
    ///
    /// # Errors
    /// It does not: its other end is down, or there is none of this name.
    pub fn await_link(&self, interface: &str) -> Result<(), String> {
        let start = Instant::now();
        loop {
            // The next look is as far away as this command takes.
            let state = self.ip(&["-brief", "link", "show", "dev", interface])?;
            if state.split_whitespace().nth(1) == Some("UP") {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!(
                    "{interface} in {} does not send: {state}",
                    self.name
                ));
            }
        }
    }

    /// Sets a kernel parameter of the namespace.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<(), String> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let (to, value) = (path.clone(), value.to_owned());
        self.enter(move || fs::write(to, value))?
            .map_err(|error| format!("cannot write {path}: {error}"))
    }

    /// Sets several.
    ///
    /// # Errors
    /// There is none of a name.
    pub fn sysctls(&self, parameters: &[(&str, &str)]) -> Result<(), String> {
        parameters
            .iter()
            .try_for_each(|(name, value)| self.sysctl(name, value))
    }

    /// Runs `task` in a thread that is inside. What it opens there stays there, and may be used from outside.
    ///
    /// # Errors
    /// The namespace could not be entered.
    pub fn enter<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        self.spawn(task)?
            .join()
            .map_err(|_| format!("a thread in {} panicked", self.name))?
    }

    /// Like [`Self::enter`], without waiting for `task` to end.
    ///
    /// # Errors
    /// The namespace does not exist.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<thread::JoinHandle<Result<T, String>>, String> {
        let path = format!("{NAMED}/{}", self.name);
        let file = File::open(&path).map_err(|error| format!("cannot open {path}: {error}"))?;
        Ok(thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| format!("cannot enter {path}: {error}"))?;
            Ok(task())
        }))
    }
}

impl Space {
    /// The processes inside.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn processes(&self) -> Result<Vec<i32>, String> {
        processes(&self.name)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// The processes in the namespace of this name. A test's own threads may be inside, and are none.
fn processes(name: &str) -> Result<Vec<i32>, String> {
    let own = std::process::id().cast_signed();
    let text = ip(&["netns", "pids", name])?;
    let found = text.lines().filter_map(|line| line.trim().parse().ok());
    Ok(found.filter(|&pid| pid != own).collect())
}

/// Ends every process inside, such as a server's sessions that have outlived it, and deletes the namespace.
fn remove(name: &str) {
    // Nobody could do anything about an error here, and the next run sweeps.
    // A session may be born while others end.
    while let Ok(inside) = processes(name)
        && !inside.is_empty()
    {
        end(inside);
    }
    let _ = ip(&["netns", "del", name]);
}

/// Ends these processes, and waits until they have left their namespace.
fn end(processes: Vec<i32>) {
    for pid in processes.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
        let gone = || fs::metadata(format!("/proc/{}/ns/net", pid.as_raw_pid())).is_err();
        while !gone() {
            thread::yield_now();
        }
    }
}

/// Joins two namespaces by a pair of virtual Ethernet interfaces and sets both up.
///
/// # Errors
/// What `ip` said.
pub fn join(a: (&Space, &str), b: (&Space, &str)) -> Result<(), String> {
    let link = ["link", "add", a.1, "netns", a.0.name()];
    let peer = ["type", "veth", "peer", "name", b.1, "netns", b.0.name()];
    ip(&[link.as_slice(), &peer].concat())?;
    for (space, interface) in [a, b] {
        space.ip(&["link", "set", interface, "up"])?;
    }
    Ok(())
}

fn ip(args: &[&str]) -> Result<String, String> {
    judge("ip", args, Command::new("ip").args(args).output())
}

fn judge(program: &str, args: &[&str], output: std::io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", args.join(" "), said.trim()))
}

/// Deletes what processes that were killed have left behind.
fn sweep() {
    let Ok(named) = fs::read_dir(NAMED) else {
        return;
    };
    for name in named
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
    {
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| fs::metadata(format!("/proc/{pid}")).is_err()) {
            remove(&name);
        }
    }
}
