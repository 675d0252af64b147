// SPDX-License-Identifier: GPL-3.0-only
//! Runs a drill on a stage: the thin shell of clocks, threads and channels around the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::engine::verdict::Findings;
use crate::engine::{Action, Engine, Event, Told};
use crate::load::{Client, File, Input, Shared};
use crate::plan::Plan;
use crate::stage::{Clock, Stage};

/// How often time goes on for the engine.
const TICK: Duration = Duration::from_millis(5);
/// Bytes of files look random and are the same each time.
const SEED: u64 = 0x5eed;

/// The files of a plan's loads, in their order.
#[must_use]
pub fn files(plan: &Plan) -> Vec<File> {
    let file = |(index, load): (usize, &crate::plan::Load)| {
        let mut random = rxl_tests::netns::random::Random::new(SEED + index as u64);
        File {
            name: format!("file{index}"),
            content: Arc::new(random.bytes(load.size as usize)),
        }
    };
    plan.loads.iter().enumerate().map(file).collect()
}

/// What is left of a drill: what was found, and what the logger said.
pub type Done = (Findings, String);

/// Runs it. `say` gets each event as it comes; `interrupted` ends it early.
///
/// # Errors
/// It could not be done, or was interrupted.
pub fn run(
    plan: &Plan,
    stage: Box<dyn Stage>,
    files: &[File],
    say: &dyn Fn(&Event),
    interrupted: &AtomicBool,
) -> Result<Done, String> {
    let (tell, told) = channel();
    let shared = Arc::new(Shared::new());
    begin(plan, stage.as_ref(), files, &shared, &tell)?;
    let (order, orders) = channel();
    let worker = {
        let (shared, tell) = (Arc::clone(&shared), tell.clone());
        thread::spawn(move || {
            let mut stage = stage;
            obey(stage.as_mut(), &shared, &tell, &orders);
            stage.log()
        })
    };
    let findings = drive(plan, &shared, &order, &told, say, interrupted);
    shared.stop.store(true, Ordering::Relaxed);
    // Without orders the stage is torn down.
    drop(order);
    let log = worker.join().map_err(|_| "the stage's thread panicked")?;
    match findings {
        Ok(findings) => Ok((findings, log)),
        Err(why) => Err(why),
    }
}

/// Lets all clients begin.
fn begin(
    plan: &Plan,
    stage: &dyn Stage,
    files: &[File],
    shared: &Arc<Shared>,
    tell: &Sender<Input>,
) -> Result<(), String> {
    let target = stage.target();
    let mut number = 0;
    for (load, file) in plan.loads.iter().zip(files) {
        for _ in 0..load.connections {
            let client = Client {
                number,
                load: load.clone(),
                file: file.clone(),
                target: target.clone(),
            };
            let (shared, tell) = (Arc::clone(shared), tell.clone());
            stage.spawn(Box::new(move || client.work(&shared, &tell)))?;
            number += 1;
        }
    }
    Ok(())
}

/// The engine's loop.
fn drive(
    plan: &Plan,
    shared: &Shared,
    order: &Sender<Action>,
    told: &Receiver<Input>,
    say: &dyn Fn(&Event),
    interrupted: &AtomicBool,
) -> Result<Findings, String> {
    let mut engine = Engine::new(plan.clone());
    let mut said = 0;
    loop {
        match told.recv_timeout(TICK) {
            Ok(input) => {
                take(&mut engine, input);
                // Whatever else is there already.
                told.try_iter().for_each(|input| take(&mut engine, input));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("all clients are gone".to_owned()),
        }
        let now = shared.now();
        engine.bytes(now, shared.bytes.load(Ordering::Relaxed));
        engine.tick(now);
        if interrupted.load(Ordering::Relaxed) {
            engine.interrupt(now);
        }
        while let Some(action) = engine.action() {
            if action == Action::StopLoad {
                shared.stop.store(true, Ordering::Relaxed);
            } else {
                // A stage that is gone has told why.
                let _ = order.send(action);
            }
        }
        engine.news(&mut said).for_each(say);
        if engine.is_over(now) {
            break;
        }
    }
    match engine.broken() {
        Some(why) => Err(why.to_owned()),
        None => Ok(engine.finish()),
    }
}

fn take(engine: &mut Engine, input: Input) {
    match input {
        Input::Sample(sample) => engine.sample(sample),
        Input::Told(told) => engine.told(told),
    }
}

/// The stage's loop.
fn obey(stage: &mut dyn Stage, shared: &Shared, tell: &Sender<Input>, orders: &Receiver<Action>) {
    let told = |told: Told| {
        let _ = tell.send(Input::Told(told));
    };
    let clock = Clock {
        start: shared.start,
        tell: &told,
    };
    loop {
        let done = match orders.recv_timeout(TICK) {
            Ok(Action::Do(act)) => stage.act(act, clock),
            Ok(Action::Replace(reason)) => stage.replace(&reason, clock),
            Ok(Action::Wake) => stage.wake(clock),
            Ok(Action::StopLoad) => Ok(()),
            Err(RecvTimeoutError::Timeout) => stage.poll(clock),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(why) = done {
            told(Told::Broken(why));
            return;
        }
    }
}
