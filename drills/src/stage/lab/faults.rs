// SPDX-License-Identifier: GPL-3.0-only
//! Faults on real Xen, each by what an operator would do.

use std::time::Duration;

use super::dom0::epoch_ms;
use super::files::{self, FOLDER, GROUP, LOGGER};
use super::group::Report;
use super::{Awaited, Lab, typing};
use crate::plan::{Act, How, Still};
use crate::stage::Clock;

/// How often the logger's daemon has ended so far.
const ENDINGS: &str = "grep -c 'ftlogger ended' /var/log/xen/console/guest-drill-logger.log";

impl Lab {
    /// Does something in Dom0 that is a fault, and tells since when it is.
    fn begin(
        &mut self,
        script: &str,
        clock: Clock<'_>,
        what: &'static str,
        detail: String,
    ) -> Result<(), String> {
        let printed = self.dom0.ok(&format!("echo $EPOCHREALTIME; {script}"))?;
        self.time.set()?;
        let ms = epoch_ms(printed.lines().next().unwrap_or_default())?;
        clock.begun(self.time.since(clock.start, ms), what, detail);
        Ok(())
    }

    pub(super) fn perform(
        &mut self,
        act: Act,
        report: &Report,
        clock: Clock<'_>,
    ) -> Result<(), String> {
        let active = report.state.active.as_ref();
        let name = active.map(|it| it.name.clone()).unwrap_or_default();
        let what = act.name();
        match act {
            Act::Crash(How::Panic) => {
                let detail = format!("the kernel of {name} is made to panic: rxl sysrq {name} c");
                self.begin(&format!("rxl sysrq {name} c"), clock, what, detail)
            }
            Act::Crash(_) => {
                let detail = format!("the active server is destroyed: rxl destroy {name}");
                self.begin(&format!("rxl destroy {name}"), clock, what, detail)
            }
            Act::Hang(still, wakes) => {
                let (script, detail) = match still {
                    Still::Pause => (
                        format!("rxl pause {name}"),
                        format!("the active server stands still: rxl pause {name}"),
                    ),
                    Still::Stop => (
                        typing(&name, "kill -STOP $(pidof nginx)"),
                        format!("nginx is stopped in {name}, whose kernel lives"),
                    ),
                };
                self.begin(&script, clock, what, detail)?;
                self.still = Some((name, wakes.map(|after| clock.now() + after)));
                Ok(())
            }
            Act::RestartLogger => {
                let ended = self.endings()?;
                let kill = typing(LOGGER, "kill -KILL $(pidof ftlogger)");
                let detail = "the process ftlogger is killed in the logger's domain".to_owned();
                self.begin(&kill, clock, what, detail)?;
                self.awaited.push(Awaited::Logger(ended));
                Ok(())
            }
            Act::Upgrade(drain) => self.upgrade(drain, clock),
            Act::Rollback => {
                let script = format!("rxl ft rollback {GROUP} --no-wait");
                self.begin(&script.clone(), clock, what, script)
            }
            Act::Finish => Err("the supervisor finishes an upgrade by itself".to_owned()),
        }
    }

    fn upgrade(&mut self, drain: Duration, clock: Clock<'_>) -> Result<(), String> {
        self.version += 1;
        let file = format!("v{}.cfg", self.version);
        self.dom0
            .write(&file, &files::server(self.version, self.service.guests))?;
        let order = format!(
            "rxl ft upgrade {GROUP} --to {file} --drain {}ms --rollback-for {}",
            drain.as_millis(),
            self.kept
        );
        // Its agent says when nginx answers in the new member; the supervisor does not wait without end.
        let health = "until [ \"$(xenstore-read /local/domain/$RXL_DOMID/data/rxl/progress)\" -gt 0 ]; do sleep 0.5; done";
        let script = format!("cd {FOLDER} && {order} --no-wait --health '{health}'");
        self.begin(&script, clock, "upgrade", order)
    }

    pub(super) fn endings(&self) -> Result<u64, String> {
        let count = self.dom0.ok(&format!("{ENDINGS} || true"))?;
        count
            .trim()
            .parse()
            .map_err(|_| format!("no number: {count}"))
    }

    pub(super) fn wake_up(&mut self, name: &str, clock: Clock<'_>) -> Result<(), String> {
        // Once for us, and once for the supervisor, which has paused it before it replaced it. A program that was stopped goes
        // on, too; to others that means nothing.
        self.dom0.ok(&format!(
            "rxl unpause {name}; rxl unpause {name} 2>/dev/null; {}",
            typing(name, "kill -CONT $(pidof nginx)")
        ))?;
        let detail = format!("{name} goes on, and must not be heard");
        clock.note("awake", detail);
        Ok(())
    }
}
