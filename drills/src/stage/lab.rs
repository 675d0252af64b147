// SPDX-License-Identifier: GPL-3.0-only
//! A drill on real Xen in the lab: domains made by `rxl`, a supervisor that notices what fails, and clients of this machine,
//! outside of Xen.
//!
//! Who lives here: the stage; `dom0`, commands and events; `faults`, what is done there; `files`, what Dom0 gets; `group`, what
//! the supervisor says.

mod dom0;
mod faults;
mod files;
mod group;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use rxl_tests::lab::{BOOT_SECONDS, awaiting};

use super::{Clock, Stage, Task};
use crate::engine::Told;
use crate::load::{File, Target};
use crate::plan::{Act, Plan, Service, StageKind};
use dom0::{Dom0, Dom0Clock, Events};
use files::{ADDRESS, FOLDER, GROUP, LOGGER, PORT};
use group::{Meaning, Report, SupervisorEvent};

/// How often the supervisor is asked, at most.
const ASK: Duration = Duration::from_millis(250);
/// How long the old version is kept, if the drill does not roll back.
const KEPT: &str = "2s";
/// The same if it does: longer than any drill.
const KEPT_FOR_ROLLBACK: &str = "2h";
/// What must be asked until it is known.
#[derive(Debug)]
enum Awaited {
    /// How a failover ended that was sent then.
    Failover(Duration),
    /// How many connections an upgrade has moved that was over then.
    Upgrade(Duration, String),
    /// Whether the logger is back, whose daemon had ended so often before it was killed.
    Logger(u64),
}

/// See the module's text.
#[derive(Debug)]
pub struct Lab {
    // Programs in Dom0 end before it.
    events: Events,
    time: Dom0Clock,
    dom0: Dom0,
    way: SocketAddr,
    service: Service,
    facts: Vec<String>,
    kept: &'static str,
    /// The newest version of the servers.
    version: u32,
    /// What is to happen as soon as it can.
    queue: VecDeque<Act>,
    awaited: Vec<Awaited>,
    /// The group, as long as nothing has been heard of it since: to ask takes seconds beside a load in emulation.
    known: Option<Report>,
    asked: Option<Instant>,
    /// When the logger was told of the last failure.
    sent: Duration,
    /// The number of the last failover that is over.
    done: u32,
    /// A server was made to fail, and what comes of it is not over: until the supervisor notices, the group looks whole.
    failing: bool,
    /// Who stands still, and when it wakes up.
    still: Option<(String, Option<Duration>)>,
}

impl Lab {
    /// Starts the lab if it does not run, and in it everything but the clients.
    ///
    /// # Errors
    /// What could not be made or started.
    pub fn new(plan: &Plan, files: &[File], interrupted: &Arc<AtomicBool>) -> Result<Self, String> {
        let mut dom0 = Dom0::up(Arc::clone(interrupted))?;
        put_files(&dom0, plan, files)?;
        eprintln!("{}: the logger's domain boots", plan.name);
        dom0.ok(&format!(
            "rm -f /var/log/xen/console/guest-{GROUP}-*.log; cd {FOLDER} && rxl create logger.cfg"
        ))?;
        let ready = |name: &str| dom0.ok(&awaiting(name, "rxl-guest: ready", BOOT_SECONDS));
        ready(LOGGER)?;
        eprintln!("{}: two servers boot", plan.name);
        dom0.ok(&format!("timeout 480 rxl ft apply {FOLDER}/group.toml"))?;
        let made = report(&dom0)?;
        for member in made.state.active.iter().chain(&made.state.standbys) {
            ready(&member.name)?;
        }
        // The first request warms the path; whatever is wrong is told before anything is measured.
        let url = format!("http://{ADDRESS}:{PORT}/file0");
        dom0.ok(&format!(
            "curl -sSf --max-time 60 -o /dev/null -r 0-0 {url}"
        ))?;
        let facts = facts(&dom0)?;
        // Its standbys serve meanwhile.
        let known = Some(report(&dom0)?);
        let way = dom0.open_way(SocketAddr::from((ADDRESS, PORT)))?;
        let rolls_back = plan.faults.iter().any(|fault| fault.act == Act::Rollback);
        Ok(Self {
            events: Events::follow(&dom0)?,
            time: Dom0Clock::read(&dom0)?,
            dom0,
            way,
            service: plan.service.clone(),
            facts,
            kept: if rolls_back { KEPT_FOR_ROLLBACK } else { KEPT },
            version: 1,
            queue: VecDeque::new(),
            awaited: Vec::new(),
            known,
            asked: None,
            sent: Duration::ZERO,
            done: 0,
            failing: false,
            still: None,
        })
    }

    /// One event of the supervisor.
    fn heard(&mut self, event: &SupervisorEvent, clock: Clock<'_>) -> Result<(), String> {
        if event.group.as_deref().is_some_and(|group| group != GROUP) {
            return Ok(());
        }
        self.known = None;
        let at = self.time.since(clock.start, event.time_ms as f64);
        // Further lines are hints for who sits at the prompt.
        let first = event.detail.lines().next().unwrap_or_default().to_owned();
        let note = |what| {
            let detail = first.clone();
            (clock.tell)(Told::Note { at, what, detail });
        };
        match event.meaning() {
            Meaning::Note(what) => note(what),
            Meaning::Sent => {
                note("logger told");
                self.sent = at;
            }
            Meaning::Moving => self.awaited.push(Awaited::Failover(self.sent)),
            Meaning::Moved => self.awaited.push(Awaited::Upgrade(at, first)),
            Meaning::Lost => {
                return Err(format!("the logger's domain has ended: {first}"));
            }
            Meaning::Nothing => {}
        }
        Ok(())
    }

    /// Asks the supervisor whether anything that is awaited has come, and does what can be done now.
    fn look(&mut self, clock: Clock<'_>) -> Result<(), String> {
        let now = match self.known.take().filter(|_| self.awaited.is_empty()) {
            Some(known) => known,
            None => {
                self.asked = Some(Instant::now());
                report(&self.dom0)?
            }
        };
        for awaited in std::mem::take(&mut self.awaited) {
            if let Some(over) = self.over(&awaited, &now, clock)? {
                self.failing &= matches!(awaited, Awaited::Logger(_));
                (clock.tell)(over);
            } else {
                self.awaited.push(awaited);
            }
        }
        // What ends first must be what began first: the end of a fault is the end of all that are open.
        let restarts = |it: &Awaited| matches!(it, Awaited::Logger(_));
        while !self.awaited.iter().any(restarts)
            && let Some(act) = self.queue.pop_front_if(|act| {
                now.may(*act) && (!self.failing || matches!(act, Act::RestartLogger))
            })
        {
            self.failing |= matches!(act, Act::Crash(_) | Act::Hang(..));
            self.perform(act, &now, clock)?;
            if !matches!(act, Act::RestartLogger) {
                // It is another group now.
                return Ok(());
            }
        }
        // Whether a service answers in a domain is no event: who waits for it asks again.
        self.known = self.queue.is_empty().then_some(now);
        Ok(())
    }

    fn over(
        &mut self,
        awaited: &Awaited,
        now: &Report,
        clock: Clock<'_>,
    ) -> Result<Option<Told>, String> {
        Ok(match awaited {
            Awaited::Failover(sent) => now.failover(*sent, self.done).map(|(number, told)| {
                self.done = number;
                told
            }),
            Awaited::Upgrade(at, detail) => now.upgraded(*at, detail),
            Awaited::Logger(before) => {
                let back = now.logger.is_some() && self.endings()? > *before;
                back.then(|| Told::Over {
                    at: clock.now(),
                    detail: "the logger answers again".to_owned(),
                    recovered: 0,
                    lost: 0,
                })
            }
        })
    }
}

/// Puts the drill's files into Dom0.
fn put_files(dom0: &Dom0, plan: &Plan, files: &[File]) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("rxl-drill-{}", std::process::id()));
    let put = files::disk(files, &folder)
        .and_then(|disk| dom0.lab().put(&disk, &format!("{FOLDER}/files.img")));
    // Nothing needs it any more, whatever has come of it.
    let _ = std::fs::remove_dir_all(&folder);
    put?;
    dom0.write("logger.cfg", &files::logger())?;
    dom0.write("v1.cfg", &files::server(1, plan.service.guests))?;
    dom0.write("group.toml", &files::group(plan))
}

fn report(dom0: &Dom0) -> Result<Report, String> {
    Report::parse(&dom0.ok(group::ASK)?)
}

/// A script that types a line at a domain's console. The first key there gives a shell.
fn typing(domain: &str, line: &str) -> String {
    format!(
        "printf '\\r%s\\r' '{line}' >$(xenstore-read /local/domain/$(rxl domid {domain})/console/tty)"
    )
}

fn facts(dom0: &Dom0) -> Result<Vec<String>, String> {
    let mut facts = rxl_tests::demo::lab::facts(dom0.lab())?;
    let server = dom0.ok(&format!(
        "curl -sSI --max-time 60 http://{ADDRESS}/ | tr -d '\\r' | sed -n 's/^Server: //p'; rxl --version"
    ))?;
    facts.extend(server.lines().map(str::to_owned));
    Ok(facts)
}

impl Stage for Lab {
    fn facts(&self) -> Vec<String> {
        self.facts.clone()
    }

    fn log(&self) -> String {
        let parts = [
            ("the supervisor's events", "rxl ft events".to_owned()),
            (
                "the group",
                format!("rxl ft show {GROUP}; rxl ft status {GROUP}"),
            ),
            (
                "the logger's console",
                format!("cat /var/log/xen/console/guest-{LOGGER}.log"),
            ),
            ("rxld", "tail -n 100 /var/log/xen/rxld.log".to_owned()),
        ];
        let parts = parts.map(|(title, script)| {
            let text = self.dom0.always(&script).unwrap_or_else(|why| why);
            format!("--- {title}\n{text}\n")
        });
        parts.concat()
    }

    fn target(&self) -> Target {
        Target {
            runs: self.service.runs,
            address: self.way,
            url: format!("http://{}/", self.way),
            uploads: PathBuf::new(),
            patience: StageKind::Lab.client_patience(),
        }
    }

    fn spawn(&self, client: Task) -> Result<(), String> {
        thread::spawn(client);
        Ok(())
    }

    fn act(&mut self, act: Act, clock: Clock<'_>) -> Result<(), String> {
        self.queue.push_back(act);
        self.look(clock)?;
        if !self.queue.is_empty() {
            clock.note(
                "waits",
                format!("{}: the group is not as it should be yet", act.name()),
            );
        }
        Ok(())
    }

    fn replace(&mut self, _reason: &str, _clock: Clock<'_>) -> Result<(), String> {
        // The supervisor does it.
        Ok(())
    }

    fn wake(&mut self, _clock: Clock<'_>) -> Result<(), String> {
        // The time counts from when the server really stood still; `poll` looks after it.
        Ok(())
    }

    fn poll(&mut self, clock: Clock<'_>) -> Result<(), String> {
        while let Some(event) = self.events.next() {
            self.heard(&event?, clock)?;
        }
        let now = clock.now();
        let due = |it: &mut (String, Option<Duration>)| it.1.is_some_and(|at| now >= at);
        if let Some((name, _)) = self.still.take_if(due) {
            self.wake_up(&name, clock)?;
        }
        let asks = !self.queue.is_empty() || !self.awaited.is_empty();
        if asks && self.asked.is_none_or(|asked| asked.elapsed() >= ASK) {
            self.look(clock)?;
        }
        Ok(())
    }
}
