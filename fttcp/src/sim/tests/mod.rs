// SPDX-License-Identifier: GPL-3.0-only
//! Runs with faults, compared with what a run without faults gives.
//!
//! * `bounds`: bounds of memory that are reached.
//! * `every_event`: one base scenario, a fault at each of its events.
//! * `seeds`: scenarios in which everything depends on a seed.
//! * `journal`: the logger goes on from its journal.
//! * `many`: many connections, many failovers.
//! * `once`: requests that must not be made twice.
//! * `resume`: responses that are taken up in the middle.
//! * `spill`: logs that leave memory for a store, which may fail.
//! * `control`: what the simulation itself must show.

mod bounds;
mod control;
mod every_event;
mod journal;
mod many;
mod once;
mod resume;
mod seeds;
mod spill;
mod upgrade;

use super::*;

/// Judges a run. False: it was cut short by a defect of smoltcp.
///
/// # Errors
/// What is wrong, and all that is known of the run.
fn judged(scenario: &Scenario) -> Result<bool, String> {
    let got = run(scenario);
    got.judge(scenario).or_else(|wrong| {
        let unfinished = |text: &String| text.ends_with("clients done") || text.starts_with("stream has ");
        if wrong.iter().all(unfinished) && !comes_to_an_end(scenario) {
            return Ok(false);
        }
        let (log, status, events, us) = (&got.log, &got.status, got.events, got.took_us);
        Err(format!(
            "{wrong:?}\nlog: {log:#?}\nstatus: {status:?}\nafter {events} events and {us} us of sim::run(&{scenario:?})"
        ))
    })
}

/// Whether the same ends come to an end over the same links with a bare wire in the middle, and without crashes. Those
/// that do not tell nothing of the logger: to a client with a tiny window that keeps asking whether it is still there,
/// smoltcp says a segment every ten seconds.
fn comes_to_an_end(scenario: &Scenario) -> bool {
    let bare = Scenario {
        protect: false,
        crashes: Vec::new(),
        restarts: Vec::new(),
        shortcut: None,
        trace: false,
        ..scenario.clone()
    };
    run(&bare).complete == bare.connections
}

/// As `judged`, for runs of which none may be wrong.
#[track_caller]
fn assert_same(scenario: &Scenario) -> bool {
    match judged(scenario) {
        Ok(whole) => whole,
        Err(wrong) => panic!("{wrong}"),
    }
}

/// A run without faults.
#[track_caller]
fn clean(scenario: &Scenario) -> Outcome {
    let outcome = run(scenario);
    assert_eq!(outcome.judge(scenario), Ok(true), "{:#?}", outcome.log);
    outcome
}

fn crash(at_event: u64, death: Death) -> Crash {
    Crash {
        at_event,
        death,
        detect_us: 2000,
    }
}

/// Scripted ends on both sides.
fn scripted(base: Scenario) -> Scenario {
    Scenario {
        client: EndSpec::new(Stack::Scripted),
        servers: vec![EndSpec::new(Stack::Scripted)],
        ..base
    }
}

fn keep_alive() -> Scenario {
    let buffer = |buffer| EndSpec {
        buffer,
        ..EndSpec::new(Stack::Smoltcp)
    };
    let base = Scenario::default();
    Scenario {
        script: Script {
            requests: vec![
                Request::new(10, 5000),
                Request::new(6000, 300),
                Request::new(0, 9000),
            ],
            chunk: 700,
            ..base.script
        },
        client: buffer(128 * 1024),
        servers: vec![buffer(256 * 1024), buffer(64 * 1024), buffer(4096)],
        ..base
    }
}
