// SPDX-License-Identifier: GPL-3.0-only
//! Bounds of memory that are reached: whatever a full buffer does, no bound is exceeded at any event (the simulation
//! looks after each), and no client hears anything that is wrong.

use super::seeds::{Family, chance};
use super::*;
use crate::control::Counters;

const SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 3000 };

/// A scenario without crashes whose bounds are small beside what its clients send.
fn tight(family: Family, seed: u64, on_full: OnFull) -> Scenario {
    let mut scenario = chance(family, seed);
    let mut rng = Rng::new(seed ^ 0x626f_756e);
    for request in &mut scenario.script.requests {
        request.upload += rng.below(20_000) as usize;
    }
    scenario.connections = 1 + rng.below(4) as usize;
    // A server that dies with a connection that is not protected any more ends it.
    scenario.crashes.clear();
    scenario.kind = "opaque";
    scenario.on_full = on_full;
    scenario.may_end = on_full == OnFull::Reset;
    scenario.buffer_bytes = 2000 + rng.below(30_000) as u32;
    scenario.memory_bytes = 4000 + rng.below(60_000);
    scenario
}

/// Runs them all; says how often bounds were reached, of one connection and of all.
fn run_all(on_full: OnFull, judge: &dyn Fn(&Scenario, &Outcome)) -> (u64, u64) {
    let (mut buffers, mut memory) = (0, 0);
    for seed in 0..SEEDS {
        for family in Family::ALL {
            let scenario = tight(family, seed, on_full);
            let outcome = run(&scenario);
            // An end that is reset says so.
            let wrong = |text: &&String| on_full != OnFull::Reset || text.contains("bound");
            let wrong: Vec<_> = outcome.violations.iter().filter(wrong).collect();
            assert!(
                wrong.is_empty(),
                "{wrong:?}: {:#?} {scenario:?}",
                outcome.log
            );
            judge(&scenario, &outcome);
            let Counters {
                full_buffers,
                full_memory,
                ..
            } = outcome.status.counters;
            buffers += u64::from(full_buffers > 0);
            memory += u64::from(full_memory > 0);
        }
    }
    println!("{buffers} runs filled a connection's buffer, {memory} the memory of all");
    (buffers, memory)
}

#[test]
fn full_buffers_that_end_protection_keep_their_bounds_and_harm_no_stream() {
    let (buffers, memory) = run_all(OnFull::Unprotect, &|scenario, outcome| {
        if let Err(wrong) = outcome.judge(scenario) {
            let bare = Scenario {
                protect: false,
                restarts: Vec::new(),
                shortcut: None,
                ..scenario.clone()
            };
            let whole = run(&bare).complete == bare.connections;
            assert!(!whole, "{wrong:?}: {:#?} {scenario:?}", outcome.log);
        }
    });
    assert!(buffers * 20 > SEEDS && memory * 20 > SEEDS);
}

#[test]
fn full_buffers_that_reset_keep_their_bounds() {
    let (buffers, memory) = run_all(OnFull::Reset, &|scenario, outcome| {
        let truth = truth::Truth::new(&scenario.script);
        for stream in &outcome.streams {
            assert_eq!(truth.wrong_response(0, stream), None, "{scenario:?}");
        }
    });
    assert!(buffers * 20 > SEEDS && memory * 20 > SEEDS);
}
