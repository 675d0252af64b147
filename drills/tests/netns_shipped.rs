// SPDX-License-Identifier: GPL-3.0-only
//! Every shipped drill for namespaces, in short form: on real kernels with stock servers it does what it says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rxl_drills::engine::verdict::Findings;
use rxl_drills::plan::Plan;
use rxl_drills::run::{files, run};
use rxl_drills::shipped::shipped;
use rxl_drills::stage::netns::Netns;

type Outcome = Result<(), String>;

/// A drill's part in its short form.
const SHORT: f64 = 0.4;

fn plan(name: &str) -> Result<Plan, String> {
    let text = shipped(name).ok_or("no such drill")?;
    let plan = Plan::parse(name, text).map_err(|error| error.to_string())?;
    Ok(plan.shortened(SHORT))
}

/// What was found, and what happened, for messages.
fn done(plan: &Plan) -> Result<(Findings, String), String> {
    let files = files(plan);
    let stage = Box::new(Netns::new(plan, &files)?);
    let (findings, log) = run(plan, stage, &files, &|_| {}, &AtomicBool::new(false))?;
    let text = format!("{:#?}\n{:#?}\n{log}", findings.judged, findings.events);
    Ok((findings, text))
}

/// Everything that the drill expects is seen.
fn holds(name: &str) -> Outcome {
    let (findings, text) = done(&plan(name)?)?;
    assert!(findings.met(), "{text}");
    Ok(())
}

#[test]
fn proxy_crash_under_load() -> Outcome {
    holds("proxy-crash-under-load")
}

#[test]
fn ftp_crash_mid_upload() -> Outcome {
    holds("ftp-crash-mid-upload")
}

#[test]
fn web_hang() -> Outcome {
    holds("web-hang")
}

#[test]
fn web_repeated_crash() -> Outcome {
    holds("web-repeated-crash")
}

#[test]
fn logger_restart() -> Outcome {
    holds("logger-restart")
}

#[test]
fn rolling_upgrade() -> Outcome {
    holds("rolling-upgrade")
}

#[test]
fn upgrade_rollback() -> Outcome {
    holds("upgrade-rollback")
}

#[test]
fn crash_during_upgrade() -> Outcome {
    holds("crash-during-upgrade")
}

#[test]
fn without_protection_the_same_drill_fails() -> Outcome {
    let mut plan = plan("web-repeated-crash")?;
    plan.service.protected = false;
    let (findings, text) = done(&plan)?;
    let failed = findings
        .figures
        .iter()
        .find(|it| it.name == "failed requests");
    assert!(failed.and_then(|it| it.value) > Some(0.0), "{text}");
    assert!(!findings.met(), "{text}");
    Ok(())
}

#[test]
fn interrupted_drill_leaves_nothing_behind() -> Outcome {
    let mut plan = plan("web-hang")?;
    plan.duration = Duration::from_secs(60);
    let files = files(&plan);
    let stage = Box::new(Netns::new(&plan, &files)?);
    let folder = stage.folder().to_owned();
    let spaces = stage.spaces();
    let interrupted = AtomicBool::new(false);
    let start = Instant::now();
    // The first event comes when the drill is in full swing.
    let stop = |_: &rxl_drills::engine::Event| interrupted.store(true, Ordering::Relaxed);
    let ended = thread::scope(|scope| {
        scope
            .spawn(|| run(&plan, stage, &files, &stop, &interrupted))
            .join()
    });
    let ended = ended.map_err(|_| "the drill panicked")?;
    assert_eq!(ended.err().as_deref(), Some("it was interrupted"));
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert!(!folder.exists(), "{}", folder.display());
    for space in spaces {
        assert!(
            !std::path::Path::new("/run/netns").join(&space).exists(),
            "{space}"
        );
    }
    Ok(())
}
