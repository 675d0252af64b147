// SPDX-License-Identifier: GPL-3.0-only
//! What a client sees of a failover on real Xen: the demo's download, several times.

use super::{Row, Runs};
use crate::demo::DemoRun;
use crate::demo::lab::{Crash, Kind, LabDemo};
use crate::lab::Lab;

/// Failovers of each kind of death.
const ROUNDS: usize = 3;

/// Runs protected downloads whose server is destroyed, and such whose server's kernel crashes.
///
/// # Errors
/// What could not be set up in the lab, or a download that did not survive.
pub fn run(lab: &Lab, say: &dyn Fn(&str)) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (crash, how) in [
        (Crash::Destroy, "domain destroyed"),
        (Crash::Sysrq, "kernel crashed"),
    ] {
        let demo = LabDemo {
            kind: Kind::Pv,
            crash,
        };
        let mut runs = Vec::new();
        for round in 1..=ROUNDS {
            say(&format!("server's {how}, {round} of {ROUNDS}"));
            let run = demo.run(lab, true, &|_| ())?;
            if run.curl_exit != 0 || !run.sha256_ok {
                return Err(format!(
                    "the download did not survive: curl exit {}",
                    run.curl_exit
                ));
            }
            runs.push(run);
        }
        let row = |figure: &str, value: &dyn Fn(&DemoRun) -> Option<f64>| {
            let ours = runs.iter().filter_map(value).collect();
            Row::new(
                &format!("{figure}, {how}"),
                "s",
                "-",
                Runs {
                    ours,
                    peer: Vec::new(),
                },
            )
        };
        rows.push(row("client's longest pause", &|run| run.client_gap));
        rows.push(row("crash to detection", &|run| {
            mark(run, "detection").map(|at| at - run.crash_at)
        }));
        rows.push(row("detection to standby's answer", &|run| {
            Some(mark(run, "standby answered")? - mark(run, "detection")?)
        }));
        rows.push(row("replay and verification", &|run| {
            Some(mark(run, "hand-over")? - mark(run, "standby answered")?)
        }));
    }
    Ok(rows)
}

fn mark(run: &DemoRun, name: &str) -> Option<f64> {
    run.events
        .iter()
        .find(|event| event.name == name)
        .map(|event| event.at)
}
