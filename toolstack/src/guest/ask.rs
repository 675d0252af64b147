// SPDX-License-Identifier: GPL-3.0-only
//! Dom0's end: give an order and wait for its answer, look whether the agent and its service live.
//!
//! There is one node for orders. Who wants to give one claims it: it is free when it is empty, or when what stands
//! there is answered. An order that is not answered in time is taken back, so that an agent which comes to life later does
//! not carry it out.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use uuid::Uuid;

use super::{
    ANSWER, Answer, FROZEN, HEARTBEAT, INTERVAL, ORDER, Order, PROGRESS, Seed, VERSION, Verb,
};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{Request, Store, StoreExt, UNINTERRUPTED, XsPath};

/// Interval that is believed when the guest names none that makes sense.
const INTERVAL_DEFAULT: Duration = Duration::from_millis(500);

/// Bytes of randomness that [`seed`] takes: twice what the kernel's generator holds.
const SEED: usize = 64;

/// This host's time since the UNIX epoch, for [`Verb::Clock`].
#[must_use]
pub fn clock() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Randomness of this host for [`Verb::Reseed`].
///
/// # Errors
/// `Code::System` if there is none.
pub fn seed(domain: DomId) -> Result<Seed> {
    let mut bytes = vec![0; SEED];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| {
            let op = format!("get random bytes for domain {domain}");
            Error::new(Code::System, op, "/dev/urandom", e)
        })?;
    Ok(Seed(bytes))
}

/// Gives the agent in `domain` an order and waits until `deadline` for its answer: `KEY=VALUE` words. `verb` is called when
/// the order goes out, so that a time in it is right.
///
/// # Errors
/// `Code::NotFound` without an agent; `Code::Timeout` when it does not answer; `Code::State` with the agent's words when it
/// could not do it.
pub fn ask<S: Store + ?Sized>(
    store: &S,
    domain: DomId,
    verb: impl Fn() -> Verb,
    deadline: Instant,
) -> Result<String> {
    let began = Instant::now();
    let home = XsPath::domain(domain);
    let [order, answer, heartbeat] = [ORDER, ANSWER, HEARTBEAT].map(|node| home.join(node));
    let op = format!("have its agent {}", words(&verb()));
    let failed = |code, cause: String| {
        Error::new(code, op.clone(), format!("domain {domain}"), cause).domain(domain)
    };
    let first = store
        .read_text(&heartbeat)?
        .ok_or_else(|| absent(domain, &op))?;
    let silent = |what: &str| -> Result<Error> {
        let seconds = began.elapsed().as_secs_f64();
        let now = store.read_text(&heartbeat)?;
        Ok(if now.as_ref() == Some(&first) {
            let cause = format!(
                "{what}; the agent has been silent for the {seconds:.1} s of waiting, its heartbeat stands at {first}"
            );
            failed(Code::Timeout, cause)
                .hint("is the domain paused (rxl list), or has its kernel stopped (rxl console)?")
        } else {
            let cause = format!("{what} within {seconds:.1} s, although the agent lives");
            failed(Code::Timeout, cause).hint("give it more time: --timeout SECONDS")
        })
    };

    let id = Uuid::new_v4().simple().to_string();
    let claim = |store: &S| -> Result<Option<()>> {
        store.transaction(|tx| {
            let mut values = tx.read_many(&[order.clone(), answer.clone()])?.into_iter();
            let (held, said) = (values.next().flatten(), values.next().flatten());
            let held = held.as_deref().and_then(first_word);
            if held.is_some() && held != said.as_deref().and_then(first_word) {
                return Ok(None);
            }
            let order_now = Order {
                id: id.clone(),
                verb: verb(),
            };
            tx.all(&[Request::write(order.clone(), order_now)])?;
            Ok(Some(()))
        })
    };
    if store
        .wait_for(&answer, deadline, &UNINTERRUPTED, claim)?
        .is_none()
    {
        return Err(silent("another order was under way and not answered")?);
    }
    let look = |store: &S| {
        let text = store.read_text(&answer)?;
        let answer = text.and_then(|text| text.parse::<Answer>().ok());
        Ok(answer.filter(|answer| answer.id == id))
    };
    let outcome = store.wait_for(&answer, deadline, &UNINTERRUPTED, look);
    let cleared = take_back(store, &order, &id);
    let Some(Answer { result, .. }) = outcome? else {
        return Err(silent("it did not answer")?);
    };
    cleared?;
    result.map_err(|text| failed(Code::State, printable(&text)))
}

/// Removes the order if it is still this one.
fn take_back<S: Store + ?Sized>(store: &S, order: &XsPath, id: &str) -> Result<()> {
    store.transaction(|tx| {
        let held = tx.read_many(std::slice::from_ref(order))?.pop().flatten();
        if held.as_deref().and_then(first_word) == Some(id) {
            tx.remove_many(std::slice::from_ref(order))?;
        }
        Ok(())
    })
}

fn first_word(text: &str) -> Option<&str> {
    text.split_ascii_whitespace().next()
}

/// What the order is about, after "cannot have its agent".
const fn words(verb: &Verb) -> &'static str {
    match verb {
        Verb::Quiesce { .. } => "freeze file systems",
        Verb::Thaw => "thaw file systems",
        Verb::Flush => "flush dirty pages",
        Verb::Reclaim { .. } => "reclaim memory",
        Verb::Reseed(_) => "reseed its random numbers",
        Verb::Clock { .. } => "set its clock",
        Verb::Hints => "tell how memory is used",
    }
}

fn absent(domain: DomId, op: &str) -> Error {
    let cause = "no rxl-guest has reported in this domain";
    Error::new(Code::NotFound, op, format!("domain {domain}"), cause)
        .domain(domain)
        .hint("install and start rxl-guest in the guest: docs/guest.md; a guest that boots needs some seconds")
}

/// A guest's words on an operator's terminal: no control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// What was seen of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulse {
    /// The domain.
    pub domain: DomId,
    /// The agent's version, if it runs.
    pub version: Option<String>,
    /// The heartbeat as it was last.
    pub heartbeat: u64,
    /// The progress as it was last.
    pub progress: u64,
    /// The heartbeat has grown while it was looked at.
    pub alive: bool,
    /// The progress has grown too.
    pub serving: bool,
    /// How long it was looked at, in ms.
    pub watched_ms: u64,
    /// The mounts that are frozen.
    pub frozen: Vec<String>,
}

/// Looks at the agent in `domain` until it has been seen to live and its service to answer, for at most six intervals of
/// its heartbeat or until `deadline`.
///
/// # Errors
/// `Code::NotFound` without an agent.
pub fn pulse<S: Store + ?Sized>(store: &S, domain: DomId, deadline: Instant) -> Result<Pulse> {
    let began = Instant::now();
    let home = XsPath::domain(domain);
    let paths = [VERSION, HEARTBEAT, PROGRESS, FROZEN, INTERVAL].map(|node| home.join(node));
    let mut first = None;
    let mut until = deadline;
    let heartbeat = &paths[1];
    loop {
        let mut values = store.read_many(&paths)?.into_iter();
        let mut next = || values.next().flatten();
        let (version, beat, progress, frozen, interval) = (next(), next(), next(), next(), next());
        let beat = beat.ok_or_else(|| absent(domain, "look at its agent"))?;
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
        let (beat, progress) = (number(&beat), number(progress.as_deref().unwrap_or("0")));
        let (beat_then, progress_then) = *first.get_or_insert_with(|| {
            let interval = interval.and_then(|text| text.parse().ok());
            let interval = interval.map_or(INTERVAL_DEFAULT, Duration::from_millis);
            until = deadline.min(began + (interval * 6).min(Duration::from_secs(60)));
            (beat, progress)
        });
        let pulse = Pulse {
            domain,
            version,
            heartbeat: beat,
            progress,
            alive: beat != beat_then,
            serving: progress != progress_then,
            watched_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            frozen: frozen.map_or_else(Vec::new, |text| {
                text.split_ascii_whitespace().map(printable).collect()
            }),
        };
        if (pulse.alive && pulse.serving) || Instant::now() >= until {
            return Ok(pulse);
        }
        let moved = |store: &S| {
            let now = store.read_text(heartbeat)?;
            Ok(now.filter(|now| number(now) != beat))
        };
        store.wait_for(heartbeat, until, &UNINTERRUPTED, moved)?;
    }
}
