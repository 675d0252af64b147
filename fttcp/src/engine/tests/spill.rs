// SPDX-License-Identifier: GPL-3.0-only
//! Logs that are longer than their buffers: where they go, and when that fails.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::engine::Image;
use crate::sim::{MemorySpill, SpillPlan};

fn engine(plan: SpillPlan) -> (Engine, Rc<Cell<usize>>) {
    let spill = MemorySpill::new(plan);
    let used = spill.used();
    let mut engine = Engine::new(EngineConfig::default());
    engine.set_spill(Box::new(spill));
    (engine, used)
}

fn spilling() -> ServiceSpec {
    ServiceSpec {
        spill_bytes: 100_000,
        ..service()
    }
}

/// The client has said 40,000 bytes, each 1000 of which are the same.
fn upload(plan: SpillPlan) -> (Bench, Rc<Cell<usize>>) {
    let (engine, used) = engine(plan);
    let mut bench = Bench::over(engine, vec![spilling()]);
    bench.open(7);
    for part in 0..40 {
        let at = u32::from(part) * 1000;
        let seen = says(&mut bench, at, &[part; 1000]);
        assert_eq!((seen[0].port, seen[0].data.len()), (ACTIVE, 1000));
        // The server has taken only half of it so far.
        let answer = Say::new(bench.s(0), bench.c(at / 2), ACK).stamp(7001, 102);
        bench.say(ACTIVE, &answer);
    }
    (bench, used)
}

fn says(bench: &mut Bench, at: u32, data: &[u8]) -> Vec<Seen> {
    let say = Say::new(bench.c(at), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &say.data(data))
}

#[test]
fn long_log_leaves_memory_and_comes_back_to_it_no_more() {
    let (bench, used) = upload(SpillPlan::sound(1000));
    let counters = bench.counters();
    assert_eq!(counters.logged_bytes, 40_000);
    assert!((35_000..40_000).contains(&counters.spilled_bytes));
    assert_eq!(used.get() as u64 * 1000, counters.spilled_bytes);
    assert!(bench.engine.memory() <= 10_000);
    assert_eq!((counters.protected, counters.full_buffers), (1, 0));
}

#[test]
fn repetition_of_spilled_bytes_says_what_was_logged_first() {
    let (mut bench, _) = upload(SpillPlan::sound(700));
    let seen = says(&mut bench, 21_500, &[99; 1000]);
    let expected = [[21; 500], [22; 500]].concat();
    assert_eq!((seen[0].port, &seen[0].data), (ACTIVE, &expected));
    assert_eq!(bench.counters().conflicts, 1);
}

#[test]
fn repetition_that_cannot_be_compared_ends_protection() {
    let plan = SpillPlan {
        loads: 0,
        ..SpillPlan::sound(700)
    };
    let (mut bench, used) = upload(plan);
    says(&mut bench, 21_500, &[99; 1000]);
    let counters = bench.counters();
    assert_eq!((counters.spill_unreadable, counters.protected), (1, 0));
    assert_eq!(used.get(), 0);
}

#[test]
fn spill_bytes_bound_what_is_stored_and_the_full_buffer_is_seen_to() {
    let (mut bench, used) = upload(SpillPlan::sound(1000));
    let mut at = 40_000;
    while bench.counters().full_buffers == 0 {
        assert!(used.get() <= 100);
        says(&mut bench, at, &[7; 1000]);
        at += 1000;
        let answer = Say::new(bench.s(0), bench.c(at), ACK).stamp(7001, 102);
        bench.say(ACTIVE, &answer);
    }
    assert!((109_000..112_000).contains(&at), "{at}");
    let counters = bench.counters();
    assert_eq!((counters.full_unprotected, counters.spill_full), (1, 0));
    assert_eq!((counters.spilled_bytes, used.get()), (0, 0));
}

#[test]
fn store_is_free_again_when_the_group_is_gone() {
    let (mut bench, used) = upload(SpillPlan::sound(1000));
    assert!(used.get() > 30);
    let mut sent = Sent::default();
    let removed = bench.engine.remove_group(bench.now, "web", &mut sent);
    assert!(removed.is_ok());
    assert_eq!(used.get(), 0);
}

#[test]
fn image_holds_spilled_bytes_and_they_are_spilled_again() {
    let (bench, _) = upload(SpillPlan::sound(1000));
    let bytes = bench.engine.export(bench.now);
    let image = || Image::parse(&bytes).expect("an engine understands itself");
    let ports = GroupPorts {
        north: NORTH,
        active: ACTIVE,
        standbys: vec![STANDBY, SECOND],
    };
    let (mut other, used) = engine(SpillPlan::sound(512));
    let mut sent = Sent::default();
    let taken = other.import(bench.now, image(), |_| Some(ports.clone()), &mut sent);
    assert_eq!(taken.map(|it| it.connections), Ok(1));
    assert!(used.get() > 30_000 / 512);
    assert!(other.memory() <= 10_000);
    // One without a store has it in memory.
    let mut plain = Engine::new(EngineConfig::default());
    let taken = plain.import(bench.now, image(), |_| Some(ports.clone()), &mut sent);
    assert_eq!(taken.map(|it| it.connections), Ok(1));
    assert!(plain.memory() >= 40_000);
}

#[test]
fn image_leaves_out_what_cannot_be_read() {
    let plan = SpillPlan {
        loads: 3,
        ..SpillPlan::sound(1000)
    };
    let (bench, _) = upload(plan);
    let image = Image::parse(&bench.engine.export(bench.now));
    let image = image.expect("the rest is there");
    assert_eq!((image.groups.len(), image.connections.len()), (1, 0));
}

#[test]
fn service_is_refused_what_the_store_cannot_give() {
    let ports = GroupPorts {
        north: NORTH,
        active: ACTIVE,
        standbys: vec![STANDBY, SECOND],
    };
    let mut spec = Bench::new().status().spec;
    spec.services = vec![spilling()];
    let mut without = Engine::new(EngineConfig::default());
    let error = without.add_group(spec.clone(), ports.clone()).unwrap_err();
    assert!(error.to_string().contains("--spill"), "{error}");
    let (mut engine, _) = engine(SpillPlan::sound(8000));
    let error = engine.add_group(spec, ports).unwrap_err();
    assert!(error.to_string().contains("at least 16000"), "{error}");
}
