// SPDX-License-Identifier: GPL-3.0-only
//! A shipped drill for the lab, in short form, on real Xen. The lab is one machine: `--test-threads 1`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rxl_drills::plan::Plan;
use rxl_drills::run::{files, run};
use rxl_drills::shipped::shipped;
use rxl_drills::stage::lab::Lab;
use rxl_tests::lab::Lab as Machine;

/// A drill's part in its short form, as of `rxl drill run --quick`.
const SHORT: f64 = 0.4;

#[test]
fn lab_drill_crash_under_load_is_met_and_leaves_the_lab_as_it_was() -> Result<(), String> {
    let ran = Machine::runs()?;
    let text = shipped("lab-crash-under-load").ok_or("no such drill")?;
    let plan = Plan::parse("lab-crash-under-load", text).map_err(|error| error.to_string())?;
    let plan = plan.shortened(SHORT);
    let files = files(&plan);
    let interrupted = Arc::new(AtomicBool::new(false));
    let stage = Box::new(Lab::new(&plan, &files, &interrupted)?);
    let say = |event: &rxl_drills::engine::Event| println!("{event:?}");
    let (findings, log) = run(&plan, stage, &files, &say, &interrupted)?;
    assert!(
        findings.met(),
        "{:#?}\n{:#?}\n{log}",
        findings.judged,
        findings.events
    );
    assert_eq!(Machine::runs()?, ran);
    if ran {
        let dom0 = Machine::up()?;
        let left = dom0
            .ok("rxl list | grep '^drill-' || true; ls -d /root/rxl-drill 2>/dev/null || true")?;
        assert_eq!(left, "");
    }
    Ok(())
}
