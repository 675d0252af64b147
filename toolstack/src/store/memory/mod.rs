// SPDX-License-Identifier: GPL-3.0-only
//! A xenstored in memory, for tests: deterministic, every flight a fault point.
//!
//! [`MemoryStore`] is one connection. [`MemoryStore::new`] makes a fresh store and its Dom0 connection;
//! [`MemoryStore::connect`] adds the connection of a guest, with a guest's rights. A test plays the kernel's back-ends
//! with [`MemoryStore::on_change`], and looks at the result with [`MemoryStore::dump`].

mod tree;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Store;
use super::types::{Errno, Reply, Request, Tx, Watch, WatchEvent, XsPath};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use world::World;

/// What goes wrong at a flight chosen with [`MemoryStore::fail_at`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// xenstored refuses every request of the flight with this error (`"EQUOTA"`); nothing takes effect. The connection
    /// stays good.
    Refused(&'static str),
    /// The connection breaks before the requests arrive: nothing takes effect, open transactions are discarded, and
    /// every later flight fails until [`MemoryStore::mend`].
    BrokenBefore,
    /// The requests take effect, then the connection breaks before an answer arrives.
    BrokenAfter,
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Connection {
    flights: u64,
    faults: BTreeMap<u64, Fault>,
    broken: bool,
    events: VecDeque<WatchEvent>,
}

/// One connection to a store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    /// Index of this connection in the world.
    id: usize,
    domain: DomId,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// A fresh store as `xen-init-dom0` leaves it, and the connection of Dom0 to it.
    #[must_use]
    pub fn new() -> Self {
        let mut world = World::new();
        let id = world.connect();
        Self {
            shared: Arc::new(Shared {
                world: Mutex::new(world),
                changed: Condvar::new(),
            }),
            id,
            domain: DomId::DOM0,
        }
    }

    /// Another connection to the same store, made by `domain`: paths are relative to it and rights are its own.
    #[must_use]
    pub fn connect(&self, domain: DomId) -> Self {
        let id = self.world().connect();
        Self {
            shared: Arc::clone(&self.shared),
            id,
            domain,
        }
    }

    /// Lets `fault` happen at this connection's flight `number`, counted from 1 as [`Store::flights`] counts.
    pub fn fail_at(&self, number: u64, fault: Fault) {
        self.world().connections[self.id]
            .faults
            .insert(number, fault);
    }

    /// Forgets all faults and makes a broken connection good again, as a new one would be.
    pub fn mend(&self) {
        let mut world = self.world();
        let connection = &mut world.connections[self.id];
        connection.faults.clear();
        connection.broken = false;
    }

    /// Plays the other domains: `kernel` is called for every change of a node (its value, `None` after a removal)
    /// and answers with requests, which are carried out with Dom0's rights before the flight's answer is given. It must not call the store itself.
    pub fn on_change(
        &self,
        kernel: impl FnMut(&XsPath, Option<&[u8]>) -> Vec<Request> + Send + 'static,
    ) {
        self.world().kernel = Some(world::Kernel(Box::new(kernel)));
    }

    /// Fires `@introduceDomain`, as xenstored does for a new domain.
    pub fn fire_introduce(&self) {
        self.world().fire_special("@introduceDomain");
        self.shared.changed.notify_all();
    }

    /// Fires `@releaseDomain`, as xenstored does when a domain shuts down or is gone.
    pub fn fire_release(&self) {
        self.world().fire_special("@releaseDomain");
        self.shared.changed.notify_all();
    }

    /// The whole tree, one line a node, in order: `/path = "value" (n0,r5)`. Two dumps are equal if and only if the trees
    /// are.
    #[must_use]
    pub fn dump(&self) -> Vec<String> {
        self.world().dump()
    }

    /// A node's value as text, seen with Dom0's rights and without a flight.
    #[must_use]
    pub fn peek(&self, path: &str) -> Option<String> {
        let world = self.world();
        let node = world.tree.nodes.get(path)?;
        Some(String::from_utf8_lossy(&node.value).into_owned())
    }

    /// Domains that were introduced and not yet released.
    #[must_use]
    pub fn introduced(&self) -> Vec<DomId> {
        self.world().introduced.iter().copied().collect()
    }

    /// Watches of this connection that are registered now.
    #[must_use]
    pub fn watches(&self) -> usize {
        let world = self.world();
        world
            .watches
            .iter()
            .filter(|w| w.connection == self.id)
            .count()
    }

    /// Transactions of this connection that are open now.
    #[must_use]
    pub fn open_transactions(&self) -> usize {
        let world = self.world();
        world
            .transactions
            .values()
            .filter(|t| t.connection == self.id)
            .count()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked elsewhere has said so already; the tree itself is whole after every request.
        self.shared
            .world
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One flight: counts it, applies the fault planned for it, runs `work`, lets the kernel react.
    fn flight<T>(
        &self,
        what: &str,
        work: impl FnOnce(&mut World) -> T,
        refused: impl FnOnce(Errno) -> T,
    ) -> Result<T> {
        let mut world = self.world();
        let connection = &mut world.connections[self.id];
        connection.flights += 1;
        let number = connection.flights;
        let fault = connection.faults.remove(&number);
        if connection.broken || fault == Some(Fault::BrokenBefore) {
            world.break_connection(self.id);
            return Err(broken(what));
        }
        if let Some(Fault::Refused(name)) = fault {
            return Ok(refused(tree::errno(name)));
        }
        let result = work(&mut world);
        world.react();
        if fault == Some(Fault::BrokenAfter) {
            world.break_connection(self.id);
            return Err(broken(what));
        }
        drop(world);
        self.shared.changed.notify_all();
        Ok(result)
    }

    /// As the trait says of [`Store::next_event`]; but if no other connection exists, nobody can cause an event any more: a
    /// deadline then counts as passed at once, and waiting for ever is an error.
    fn wait_event(
        &self,
        wanted: impl Fn(&WatchEvent) -> bool,
        deadline: Option<Instant>,
    ) -> Result<Option<WatchEvent>> {
        let mut world = self.world();
        loop {
            let connection = &mut world.connections[self.id];
            let found = connection.events.iter().position(&wanted);
            if let Some(event) = found.and_then(|at| connection.events.remove(at)) {
                return Ok(Some(event));
            }
            if connection.broken {
                return Err(broken("wait for a watch event"));
            }
            let alone = Arc::strong_count(&self.shared) == 1;
            world = match (deadline, alone) {
                (Some(_), true) => return Ok(None),
                (None, true) => {
                    let why = "no event is pending and nobody else is connected";
                    return Err(Error::new(
                        Code::Store,
                        "wait for a watch event",
                        "the store in memory",
                        why,
                    ));
                }
                (Some(deadline), false) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return Ok(None);
                    }
                    self.shared
                        .changed
                        .wait_timeout(world, deadline - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                (None, false) => self
                    .shared
                    .changed
                    .wait(world)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn requests(&self, tx: Option<Tx>, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.flight(
            "send requests",
            |world| {
                requests
                    .iter()
                    .map(|request| match tx {
                        None => world.request(self.domain, request),
                        Some(tx) => world.request_in(self.id, tx, self.domain, request),
                    })
                    .collect()
            },
            |e| vec![Err(e); requests.len()],
        )
    }
}

fn broken(op: &str) -> Error {
    Error::new(Code::Store, op, "xenstored", "the connection is broken")
}

fn refusal(op: &str, object: impl Into<String>, e: &Errno) -> Error {
    Error::new(Code::Store, op, object, e)
}

impl Store for MemoryStore {
    fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.requests(None, requests)
    }

    fn begin(&self) -> Result<Tx> {
        self.flight("start a transaction", |world| Ok(world.begin(self.id)), Err)?
            .map_err(|e| refusal("start a transaction", "xenstored", &e))
    }

    fn batch_in(&self, tx: Tx, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.requests(Some(tx), requests)
    }

    fn end(&self, tx: Tx, commit: bool) -> Result<bool> {
        let op = "end a transaction";
        let answer = self.flight(op, |world| world.end(self.id, tx, self.domain, commit), Err)?;
        match answer {
            Ok(()) => Ok(true),
            Err(e) if e.0 == "EAGAIN" => Ok(false),
            Err(e) => Err(refusal(op, "xenstored", &e)),
        }
    }

    fn watch(&self, watch: &Watch) -> Result<()> {
        self.flight(
            "set a watch",
            |world| world.watch(self.id, self.domain, watch),
            Err,
        )?
        .map_err(|e| refusal("set a watch", watch.path.as_str(), &e))
    }

    fn unwatch(&self, watch: &Watch) -> Result<()> {
        self.flight("remove a watch", |world| world.unwatch(self.id, watch), Err)?
            .map_err(|e| refusal("remove a watch", watch.path.as_str(), &e))
    }

    fn next_event(&self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.wait_event(|_| true, deadline)
    }

    fn next_event_of(&self, token: &str, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.wait_event(|event| event.token == token, deadline)
    }

    fn flights(&self) -> u64 {
        self.world().connections[self.id].flights
    }
}

#[cfg(test)]
mod tests;
