// SPDX-License-Identifier: GPL-3.0-only
//! The demo on real Xen: three domains made by `rxl`, a download through the logger, and the death of one of them.

use std::time::Instant;

use serde::Deserialize;

use super::DemoRun;
use crate::lab::{BOOT_SECONDS, Lab, project};

/// How the service VM dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Crash {
    /// `rxl destroy`: the domain and its memory vanish between two instructions.
    Destroy,
    /// `rxl sysrq DOMAIN c`: its kernel panics.
    Sysrq,
}

/// How the service VMs are virtualised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Paravirtual.
    Pv,
    /// HVM container without device model.
    Pvh,
}

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct LabDemo {
    /// Kind of the service VMs.
    pub kind: Kind,
    /// How the service VM dies.
    pub crash: Crash,
}

/// The client's address of the service, as in `scripts/demo.d/web.cfg`.
const URL: &str = "http://10.77.0.10/blob.bin";

/// The domains, in the order in which they are made; the logger must be first: it serves the others' interfaces.
const DOMAINS: [&str; 3] = ["logger", "web", "web-standby"];

/// The same clock for all: Dom0's, in ms since the UNIX epoch.
#[derive(Debug, Deserialize)]
struct ClientReport {
    run: DemoRun,
    wall_ms: u64,
}

/// The part of `rxl ft events --json` that the timeline uses.
#[derive(Debug, Deserialize)]
struct SupervisorEvent {
    time_ms: u64,
    kind: String,
    #[serde(default)]
    detail: String,
}

/// The part of `rxl ft status --json` that the timeline uses.
#[derive(Debug, Deserialize)]
struct GroupReport {
    logger: Option<fttcp::control::GroupStatus>,
    logger_error: Option<String>,
}

impl LabDemo {
    /// One run: makes the domains, downloads, lets the service VM die at 40 %, collects what all sides recorded, and
    /// removes the domains again, also after a failure.
    ///
    /// # Errors
    /// What could not be set up or read, in words. A download that failed is no error here: it is in the result.
    pub fn run(&self, lab: &Lab, protected: bool, say: &dyn Fn(&str)) -> Result<DemoRun, String> {
        let result = self.run_in(lab, protected, say);
        let logs = if result.is_err() {
            logs(lab)
        } else {
            String::new()
        };
        let removed = remove(lab);
        match result {
            Ok(run) => removed.map(|()| run),
            Err(e) => Err(format!("{e}\n{logs}")),
        }
    }

    fn run_in(&self, lab: &Lab, protected: bool, say: &dyn Fn(&str)) -> Result<DemoRun, String> {
        remove(lab)?;
        self.create(lab, say)?;
        let no_ft = if protected { "" } else { " --no-ft" };
        lab.ok(&format!(
            "rxl ft protect www --service web --standby web-standby --logger logger --port 80,opaque,mask=Date{no_ft}"
        ))?;
        // The first request warms the path (ARP, page cache): the file must be reachable before anything is shown.
        lab.ok(&format!("curl -sS --max-time 60 -o /dev/null -r 0-0 {URL}"))?;

        let sum = lab.ok("cat /lab/data/blob.sha256")?.trim().to_owned();
        let size: u64 = lab
            .ok(&format!("curl -sSI --max-time 60 {URL} | tr -d '\\r' | awk 'tolower($1)==\"content-length:\" {{print $2}}'"))?
            .trim()
            .parse()
            .map_err(|e| format!("{URL}: no content length: {e}"))?;
        let crash = match self.crash {
            Crash::Destroy => "rxl destroy web",
            Crash::Sysrq => "rxl sysrq web c",
        };
        say(&format!(
            "download of {} MiB, `{crash}` at 40 %",
            size >> 20
        ));
        let since = last_event_ms(lab)?;
        let report = lab.ok(&format!(
            "demo-client {URL} --file-bytes {size} --sha256 {sum} --crash-at {} --crash-command '{crash}'",
            size * 2 / 5
        ))?;
        let report: ClientReport = serde_json::from_str(&report)
            .map_err(|e| format!("demo-client printed something else: {e}: {report}"))?;
        let mut run = report.run;
        run.protected = protected;
        run.title = if protected {
            "with FT-TCP"
        } else {
            "control: without FT-TCP"
        }
        .to_owned();
        self.timeline(lab, &mut run, report.wall_ms, since)?;
        Ok(run)
    }

    fn create(&self, lab: &Lab, say: &dyn Fn(&str)) -> Result<(), String> {
        lab.ok("mkdir -p /root/demo")?;
        for name in DOMAINS {
            lab.put(
                &project().join(format!("scripts/demo.d/{name}.cfg")),
                &format!("/root/demo/{name}.cfg"),
            )?;
            // xenconsoled appends: an old log would answer for the new guest.
            lab.ok(&format!("rm -f /var/log/xen/console/guest-{name}.log"))?;
        }
        let kind = match self.kind {
            Kind::Pv => "pv",
            Kind::Pvh => "pvh",
        };
        for name in DOMAINS {
            let started = Instant::now();
            let overrides = if name == "logger" {
                String::new()
            } else {
                format!(" 'type=\"{kind}\"'")
            };
            lab.ok(&format!("rxl create /root/demo/{name}.cfg{overrides}"))?;
            say(&format!(
                "rxl create {name}.cfg: {:.1} s",
                started.elapsed().as_secs_f64()
            ));
            if name == "logger" {
                lab.wait_console(name, "rxl-guest: ready", BOOT_SECONDS)?;
            }
        }
        for name in &DOMAINS[1..] {
            let started = Instant::now();
            lab.wait_console(name, "rxl-guest: ready", BOOT_SECONDS)?;
            say(&format!(
                "{name} serves ({:.1} s more)",
                started.elapsed().as_secs_f64()
            ));
        }
        Ok(())
    }

    /// Adds what the supervisor and the logger recorded to the client's own marks.
    fn timeline(
        &self,
        lab: &Lab,
        run: &mut DemoRun,
        start_ms: u64,
        since: u64,
    ) -> Result<(), String> {
        // Milliseconds since the epoch fit an f64 exactly.
        let at = |time_ms: u64| (time_ms as f64 - start_ms as f64) / 1000.0;
        let mut told_at = None;
        for event in events(lab)?.into_iter().filter(|e| e.time_ms > since) {
            let name = match event.kind.as_str() {
                "domain-crashed" | "domain-gone" => "detection",
                "failover-sent" => {
                    told_at = Some(at(event.time_ms));
                    "failover ordered"
                }
                "failover-acknowledged" => "logger switched",
                _ => continue,
            };
            run.mark(
                at(event.time_ms),
                name,
                format!("rxld: {} {}", event.kind, event.detail),
            );
        }
        if !run.protected {
            return Ok(());
        }
        let status = lab.ok("rxl ft status www --json")?;
        let groups: Vec<GroupReport> = serde_json::from_str(&status)
            .map_err(|e| format!("rxl ft status --json: {e}: {status}"))?;
        let group = groups
            .into_iter()
            .next()
            .ok_or("rxl ft status --json shows no group")?;
        let logger = group.logger.ok_or_else(|| {
            format!(
                "the logger does not answer: {}",
                group.logger_error.unwrap_or_default()
            )
        })?;
        run.failover = logger.failover;
        if let (Some(failover), Some(told)) = (&run.failover, told_at) {
            let marks = [
                (
                    failover.first_handshake_us,
                    "standby answered",
                    "fabricated handshake done",
                ),
                (
                    failover.done_us,
                    "hand-over",
                    "replay verified, connection handed to the standby",
                ),
            ]
            .map(|(us, name, detail)| us.map(|us| (told + us as f64 / 1e6, name, detail)));
            for (at, name, detail) in marks.into_iter().flatten() {
                run.mark(at, name, detail);
            }
        }
        if let Some((at, gap)) = first_byte_after_pause(run) {
            run.mark(
                at,
                "first new client byte",
                format!("after {gap:.3} s without one"),
            );
        }
        Ok(())
    }
}

/// When the client's longest pause after the crash ended, and how long it was.
fn first_byte_after_pause(run: &DemoRun) -> Option<(f64, f64)> {
    let gap = run.client_gap?;
    run.bytes_over_time
        .windows(2)
        .filter(|pair| pair[1].0 > run.crash_at && pair[1].1 > pair[0].1)
        .map(|pair| (pair[1].0, pair[1].0 - pair[0].0))
        // The numbers have been through JSON, which may change their last bit.
        .find(|(_, pause)| *pause > gap - 1e-6)
}

fn events(lab: &Lab) -> Result<Vec<SupervisorEvent>, String> {
    let text = lab.ok("rxl ft events --json")?;
    serde_json::from_str(&text).map_err(|e| format!("rxl ft events --json: {e}: {text}"))
}

fn last_event_ms(lab: &Lab) -> Result<u64, String> {
    Ok(events(lab)?.iter().map(|e| e.time_ms).max().unwrap_or(0))
}

/// Ends the group and destroys what is there of the demo's domains.
fn remove(lab: &Lab) -> Result<(), String> {
    lab.ok(
        "rxl ft unprotect www >/dev/null 2>&1; for d in web web-standby logger; do \
            if rxl domid $d >/dev/null 2>&1; then rxl destroy $d || exit; fi; done",
    )
    .map(drop)
}

/// What helps to understand a failed run.
fn logs(lab: &Lab) -> String {
    lab.run(
        "rxl list; rxl ft events; rxl ft status; for d in logger web web-standby; do \
         echo \"--- console of $d\"; tail -n 15 /var/log/xen/console/guest-$d.log; done; \
         echo '--- rxld'; tail -n 15 /var/log/xen/rxld.log",
    )
    .map_or_else(|e| e, |ran| ran.stdout + &ran.stderr)
}

/// What was in use, for the report.
///
/// # Errors
/// Dom0 did not answer.
pub fn facts(lab: &Lab) -> Result<Vec<String>, String> {
    let text = lab.ok(
        "rxl info | awk -F': *' '/^xen_version/ {print \"Xen \" $2} /^virt_caps/ {print \"virtualisation: \" $2}'; \
         echo \"Dom0: Linux $(uname -r), $(grep -c ^processor /proc/cpuinfo) CPU, in QEMU's software emulation\"; \
         curl --version | head -n 1 | cut -d' ' -f1,2",
    )?;
    Ok(text.lines().map(str::to_owned).collect())
}
