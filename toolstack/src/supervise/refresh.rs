// SPDX-License-Identifier: GPL-3.0-only
//! What the agent of a member does when its turn to serve has come.
//!
//! It may have been paused for days, or be a copy of another guest: its clock is set, and its random numbers become its own.
//! Clients do not wait for this, and a guest that cannot do it serves all the same.

use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::backend::{Backend, Connection};
use super::core::Action;
use super::daemon::Message;
use super::work::with_connection;
use crate::error::{Code, Result};
use crate::guest::{Verb, ask, clock, seed};
use crate::ids::DomId;

/// How long an agent may take for each of the two.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has agents refresh their guests, one after the other.
pub(super) fn refresh_all(backend: &dyn Backend, orders: &Receiver<Action>, _: &Sender<Message>) {
    let mut connection = None;
    for order in orders {
        let Action::Refresh(domid) = order else {
            continue;
        };
        let done = with_connection(backend, &mut connection, |open| refresh(open, domid));
        // Most guests without an agent never had one, and nobody misses it.
        if let Err(error) = done
            && error.code != Code::NotFound
        {
            eprintln!("rxld: {error}");
        }
    }
}

fn refresh(connection: &Connection, domid: DomId) -> Result<()> {
    let (store, seed) = (connection.store.as_ref(), seed(domid)?);
    let deadline = || Instant::now() + PATIENCE;
    ask(store, domid, || Verb::Clock { unix: clock() }, deadline())?;
    ask(store, domid, || Verb::Reseed(seed.clone()), deadline()).map(drop)
}
