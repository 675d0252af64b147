// SPDX-License-Identifier: GPL-3.0-only
//! Dom0 of the lab as a drill needs it: commands that an interrupt ends, the supervisor's events as they come, its clock.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rxl_tests::lab::Lab;

use super::files::{FOLDER, GROUP};
use super::group::SupervisorEvent;

/// How often an interrupt is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How long a program in Dom0 has to end by itself.
const GOODBYE: Duration = Duration::from_secs(20);
/// How often Dom0's clock is read at a time; the quickest answer counts.
const PROBES: usize = 3;
/// Ends the group, and the drill's domains and files.
const SWEEP: &str = "rxl ft unprotect \"$1\" >/dev/null 2>&1; \
     for d in $(rxl list | awk -v g=\"$1-\" 'index($1, g) == 1 {print $1}'); do rxl destroy $d || bad=1; done; \
     rm -rf \"$2\"; exit ${bad:-0}";

/// See the module's text. Dropped, it leaves the lab as it was: ended, or without anything of the drill.
#[derive(Debug)]
pub(super) struct Dom0 {
    lab: Lab,
    /// The lab was started for this drill.
    ours: bool,
    interrupted: Arc<AtomicBool>,
    way: Option<SocketAddr>,
}

impl Dom0 {
    /// Starts the lab, or takes the one that runs.
    pub(super) fn up(interrupted: Arc<AtomicBool>) -> Result<Self, String> {
        let ours = !Lab::runs()?;
        let dom0 = Self {
            lab: Lab::up()?,
            ours,
            interrupted,
            way: None,
        };
        let there = "command -v rxl && command -v rxld && [ -e /lab/guest/initrd.img ] && [ -e /lab/logger/initrd.img ]";
        dom0.ok(there).map_err(|why| {
            format!("the lab has no rxl in it ({why}); `scripts/lab programs` builds it and puts it there")
        })?;
        // What a drill has left that was killed.
        dom0.sweep()?;
        dom0.ok(&format!("mkdir -p {FOLDER}"))?;
        Ok(dom0)
    }

    pub(super) const fn lab(&self) -> &Lab {
        &self.lab
    }

    fn interrupted(&self) -> Result<(), String> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err("it was interrupted".to_owned());
        }
        Ok(())
    }

    /// Runs `script` in Dom0 and returns what it prints. An interrupt ends it.
    pub(super) fn ok(&self, script: &str) -> Result<String, String> {
        self.interrupted()?;
        let done = self.run(script, &|| self.interrupted())?;
        checked(script, &done)
    }

    /// The same, interrupt or not.
    pub(super) fn always(&self, script: &str) -> Result<String, String> {
        let done = self.run(script, &|| Ok(()))?;
        checked(script, &done)
    }

    fn run(&self, script: &str, look: &dyn Fn() -> Result<(), String>) -> Result<Output, String> {
        let child = self.lab.start(script, Stdio::null())?;
        let pid = Pid::from_child(&child);
        let (tell, told) = channel();
        thread::spawn(move || tell.send(child.wait_with_output()));
        loop {
            match told.recv_timeout(LOOK) {
                Ok(done) => {
                    return done.map_err(|error| format!("cannot wait for scripts/lab: {error}"));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("a thread has ended".to_owned()),
            }
            if let Err(why) = look() {
                // It may have ended just now.
                let _ = kill_process(pid, Signal::KILL);
                return Err(why);
            }
        }
    }

    /// Writes a file of the drill.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        self.ok(&format!(
            "cat >{FOLDER}/{name} <<'RXL-END'\n{text}RXL-END\n"
        ))
        .map(drop)
    }

    /// Opens the way from this machine to the service.
    pub(super) fn open_way(&mut self, service: SocketAddr) -> Result<SocketAddr, String> {
        let way = self.lab.forward(service)?;
        self.way = Some(way);
        Ok(way)
    }

    fn sweep(&self) -> Result<(), String> {
        self.always(&format!("set -- {GROUP} {FOLDER}; {SWEEP}"))
            .map(drop)
    }

    fn leave(&self) -> Result<(), String> {
        if self.ours {
            return self.lab.down();
        }
        let closed = self.way.map_or(Ok(()), |way| self.lab.close(way));
        // Nobody comes after this: if the connection to Dom0 broke, the next command makes a new one.
        self.sweep().or_else(|_| self.sweep()).and(closed)
    }
}

impl Drop for Dom0 {
    fn drop(&mut self) {
        if let Err(why) = self.leave() {
            eprintln!(
                "rxl drill: something is left in the lab ({why}); `scripts/lab down` ends it"
            );
        }
    }
}

fn checked(script: &str, done: &Output) -> Result<String, String> {
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = [&*done.stderr, &*done.stdout].concat();
    let first = script.lines().next().unwrap_or_default();
    Err(format!(
        "in Dom0: `{first}`: {}: {}",
        done.status,
        String::from_utf8_lossy(&said).trim()
    ))
}

/// A program in Dom0 that lives as long as this, and answers lines.
#[derive(Debug)]
struct Companion {
    child: Option<Child>,
    stdin: Option<ChildStdin>,
}

impl Companion {
    fn start(lab: &Lab, script: &str) -> Result<(Self, BufReader<ChildStdout>), String> {
        let mut child = lab.start(script, Stdio::piped())?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no pipe from Dom0")?;
        let child = Some(child);
        Ok((Self { child, stdin }, BufReader::new(stdout)))
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // The end of its input ends the program, and then what carries it; only one that does not end is killed.
        self.stdin = None;
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = Pid::from_child(&child);
        let (tell, ended) = channel();
        let waiter = thread::spawn(move || {
            let _ = tell.send(child.wait());
        });
        if ended.recv_timeout(GOODBYE).is_err() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = waiter.join();
    }
}

/// What the supervisor tells, from now on.
#[derive(Debug)]
pub(super) struct Events {
    _companion: Companion,
    told: Receiver<Result<SupervisorEvent, String>>,
}

impl Events {
    pub(super) fn follow(dom0: &Dom0) -> Result<Self, String> {
        let known = dom0.ok("rxl ft events --json")?;
        let known: Vec<SupervisorEvent> = serde_json::from_str(&known)
            .map_err(|error| format!("rxl ft events --json: {error}: {known}"))?;
        let since = known.last().map_or(0, |event| event.seq);
        let script = format!(
            "rxl ft events --follow --json --since {since} </dev/null & pid=$!; read -r _; kill $pid"
        );
        let (companion, lines) = Companion::start(dom0.lab(), &script)?;
        let (tell, told) = channel();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"));
                if tell.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            _companion: companion,
            told,
        })
    }

    /// The next one that has come.
    pub(super) fn next(&self) -> Option<Result<SupervisorEvent, String>> {
        self.told.try_recv().ok()
    }
}

/// Dom0's clock beside ours.
#[derive(Debug)]
pub(super) struct Dom0Clock {
    companion: Companion,
    answers: BufReader<ChildStdout>,
    /// It showed so many ms since the epoch then.
    seen: (Instant, f64),
}

impl Dom0Clock {
    pub(super) fn read(dom0: &Dom0) -> Result<Self, String> {
        let script = "while read -r _; do echo $EPOCHREALTIME; done";
        let (companion, answers) = Companion::start(dom0.lab(), script)?;
        let mut clock = Self {
            companion,
            answers,
            seen: (Instant::now(), 0.0),
        };
        clock.set()?;
        Ok(clock)
    }

    /// Reads it again: clocks of an emulated machine do not go evenly.
    pub(super) fn set(&mut self) -> Result<(), String> {
        let mut best: Option<(Duration, Instant, f64)> = None;
        for _ in 0..PROBES {
            let asked = Instant::now();
            let ms = self.ask()?;
            let took = asked.elapsed();
            if best.is_none_or(|(least, ..)| took < least) {
                best = Some((took, asked + took / 2, ms));
            }
        }
        if let Some((_, at, ms)) = best {
            self.seen = (at, ms);
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<f64, String> {
        let silent = |error| format!("Dom0 does not tell the time: {error}");
        if let Some(stdin) = &mut self.companion.stdin {
            stdin.write_all(b"\n").map_err(silent)?;
        }
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(silent)?;
        epoch_ms(&line)
    }

    /// The time since `start` that Dom0 calls `ms`.
    pub(super) fn since(&self, start: Instant, ms: f64) -> Duration {
        let (at, seen) = self.seen;
        let seconds = at.saturating_duration_since(start).as_secs_f64()
            - start.saturating_duration_since(at).as_secs_f64()
            + (ms - seen) / 1e3;
        Duration::from_secs_f64(seconds.max(0.0))
    }
}

/// Bash's `$EPOCHREALTIME`, in ms.
pub(super) fn epoch_ms(line: &str) -> Result<f64, String> {
    let seconds: Result<f64, _> = line.trim().parse();
    seconds
        .map(|seconds| seconds * 1e3)
        .map_err(|_| format!("Dom0 does not tell the time but {line:?}"))
}
