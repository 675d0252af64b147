// SPDX-License-Identifier: GPL-3.0-only
//! A failure, or a kill, at every hypercall and every flight of a create and of a destroy.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::super::{CreateOptions, Host, Operation, Owner, create, destroy, recover};
use super::World;
use crate::config::DomainConfig;
use crate::error::Result;
use crate::store::memory::{Fault, MemoryStore};
use crate::store::{Errno, Reply, Request, Store, Tx, Watch, WatchEvent};

/// Where an operation is hit: at its n-th hypercall or its n-th flight, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    Hypercall(u64),
    Flight(u64, How),
}

/// How a flight is hit.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Refused,
    Before,
    After,
}

impl How {
    pub(super) const fn fault(self) -> Fault {
        match self {
            Self::Refused => Fault::Refused("EIO"),
            Self::Before => Fault::BrokenBefore,
            Self::After => Fault::BrokenAfter,
        }
    }
}

/// Calls and flights of an operation that succeeds.
pub(super) fn cost(operation: impl FnOnce(&World)) -> (u64, u64) {
    let world = World::new();
    operation(&world);
    (world.hv.calls(), world.store.flights())
}

/// Every point between `from` and `to`.
pub(super) fn points(from: (u64, u64), to: (u64, u64)) -> Vec<Point> {
    let calls = (from.0 + 1..=to.0).map(Point::Hypercall);
    let flights = (from.1 + 1..=to.1).flat_map(|flight| {
        [How::Refused, How::Before, How::After].map(|how| Point::Flight(flight, how))
    });
    calls.chain(flights).collect()
}

fn create_on(host: &Host<'_>, config: &DomainConfig) -> Result<()> {
    let cancel = AtomicBool::new(false);
    let options = CreateOptions {
        paused: false,
        cancel: &cancel,
        progress: None,
        image: None,
    };
    create(host, config, &options).map(drop)
}

fn make(world: &World) {
    world.create(&world.full_config("web")).unwrap();
}

#[test]
fn create_that_fails_at_any_point_leaves_no_trace() {
    let points = points((0, 0), cost(make));
    assert!(points.len() > 30, "{} points", points.len());
    for point in points {
        let world = World::new();
        let before = world.snapshot();
        let broken = match point {
            Point::Hypercall(call) => {
                world.hv.fail_call(call);
                false
            }
            Point::Flight(flight, how) => {
                world.store.fail_at(flight, how.fault());
                !matches!(how, How::Refused)
            }
        };
        let config = world.full_config("web");
        match world.create(&config) {
            // The end of a transaction whose answer was lost, and the like, must not count as success.
            Ok(id) => panic!("{point:?}: domain {id} was made"),
            Err(error) => {
                assert!(!error.object.is_empty(), "{point:?}: {error}");
                assert!(!error.cause.is_empty(), "{point:?}: {error}");
                // With a broken connection the nodes cannot be removed; the error says so, unless there are none.
                assert!(broken || error.leftovers.is_empty(), "{point:?}: {error}");
            }
        }
        world.hv.mend();
        world.store.mend();
        if broken {
            recover(&world.host()).unwrap();
        }
        assert_eq!(world.snapshot(), before, "{point:?}");
        world
            .create(&config)
            .unwrap_or_else(|error| panic!("{point:?}, again: {error}"));
    }
}

/// The store of a process that is killed together with its hold on Xen: once one of the two is cut off, so is the other,
/// and nothing that the process tries has an effect any more.
struct Mortal<'a>(&'a World);

impl Mortal<'_> {
    fn flight<T>(&self, send: impl FnOnce(&MemoryStore) -> Result<T>) -> Result<T> {
        let World { hv, store, .. } = self.0;
        if hv.is_cut_off() {
            store.fail_at(store.flights() + 1, Fault::BrokenBefore);
        }
        let answer = send(store);
        if answer.is_err() {
            hv.cut_off();
        }
        answer
    }
}

impl Store for Mortal<'_> {
    fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.flight(|store| store.batch(requests))
    }

    fn begin(&self) -> Result<Tx> {
        self.flight(Store::begin)
    }

    fn batch_in(&self, tx: Tx, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.flight(|store| store.batch_in(tx, requests))
    }

    fn end(&self, tx: Tx, commit: bool) -> Result<bool> {
        self.flight(|store| store.end(tx, commit))
    }

    fn watch(&self, watch: &Watch) -> Result<()> {
        self.flight(|store| store.watch(watch))
    }

    fn unwatch(&self, watch: &Watch) -> Result<()> {
        self.flight(|store| store.unwatch(watch))
    }

    fn next_event(&self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.0.store.next_event(deadline)
    }

    fn next_event_of(&self, token: &str, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.0.store.next_event_of(token, deadline)
    }

    fn flights(&self) -> u64 {
        self.0.store.flights()
    }
}

/// Runs `operation`, killed at `point`, and brings Xen and the store back for whoever comes after. True if it
/// failed.
fn run_killed(
    world: &World,
    point: Point,
    operation: impl FnOnce(&Host<'_>) -> Result<()>,
) -> bool {
    match point {
        Point::Hypercall(call) => world.hv.fail_from(call),
        Point::Flight(flight, how) => world.store.fail_at(flight, how.fault()),
    }
    let mortal = Mortal(world);
    let host = Host {
        store: &mortal,
        ..world.host()
    };
    let failed = operation(&host).is_err();
    world.hv.mend();
    world.store.mend();
    failed
}

#[test]
fn create_that_is_killed_at_any_point_is_undone_by_recovery() {
    for point in points((0, 0), cost(make)) {
        // A refusal does not kill.
        if matches!(point, Point::Flight(_, How::Refused)) {
            continue;
        }
        let world = World::new();
        let before = world.snapshot();
        let config = world.full_config("web");
        assert!(
            run_killed(&world, point, |host| create_on(host, &config)),
            "{point:?}"
        );
        let recovered = recover(&world.host()).unwrap();
        for done in &recovered {
            assert_eq!(
                (done.operation, done.failures.len()),
                (Operation::Create, 0),
                "{point:?}"
            );
        }
        assert_eq!(world.snapshot(), before, "{point:?}");
    }
}

#[test]
fn destroy_that_fails_at_any_point_can_be_repeated() {
    let made = cost(make);
    let done = cost(|world| {
        let id = world.create(&world.full_config("web")).unwrap();
        destroy(&world.host(), id).unwrap();
    });
    for point in points(made, done) {
        let world = World::new();
        let before = world.snapshot();
        let id = world.create(&world.full_config("web")).unwrap();
        match point {
            Point::Hypercall(call) => world.hv.fail_call(call),
            Point::Flight(flight, how) => world.store.fail_at(flight, how.fault()),
        }
        let error = destroy(&world.host(), id).expect_err("the fault was not met");
        assert!(
            !error.object.is_empty() && !error.cause.is_empty(),
            "{point:?}: {error}"
        );
        world.hv.mend();
        world.store.mend();
        // Either it is still there and can be destroyed by its number, or recovery finishes it.
        let again = destroy(&world.host(), id);
        let recovered = recover(&world.host()).unwrap();
        assert!(
            recovered.iter().all(|done| done.failures.is_empty()),
            "{point:?}: {recovered:?}"
        );
        assert!(again.is_ok() || !recovered.is_empty(), "{point:?}");
        assert_eq!(world.snapshot(), before, "{point:?}");
    }
}

#[test]
fn destroy_that_is_killed_at_any_point_is_finished_by_recovery() {
    let made = cost(make);
    let done = cost(|world| {
        let id = world.create(&world.full_config("web")).unwrap();
        destroy(&world.host(), id).unwrap();
    });
    for point in points(made, done) {
        if matches!(point, Point::Flight(_, How::Refused)) {
            continue;
        }
        let world = World::new();
        let before = world.snapshot();
        let id = world.create(&world.full_config("web")).unwrap();
        let alive = world.snapshot();
        assert!(
            run_killed(&world, point, |host| destroy(host, id)),
            "{point:?}"
        );
        let recovered = recover(&world.host()).unwrap();
        // Killed before the journal entry was written, it has done nothing; afterwards it is finished.
        let expected = if recovered.is_empty() {
            &alive
        } else {
            &before
        };
        assert_eq!(&world.snapshot(), expected, "{point:?}");
    }
}

#[test]
fn plug_failure_undoes_the_domain_and_tells_of_the_device() {
    let world = World::new();
    let before = world.snapshot();
    world.plug.fails.set(true);
    let error = world.create(&world.full_config("web")).unwrap_err();
    assert_eq!(error.object, "vif1.0");
    assert_eq!(error.leftovers, Vec::<String>::new());
    assert_eq!(world.snapshot(), before);
}

#[test]
fn recovery_leaves_the_operations_of_living_processes_alone() {
    let world = World::new();
    world.store.fail_at(4, Fault::BrokenBefore);
    let mut host = world.host();
    host.places.owner = Owner::this_process();
    let cancel = AtomicBool::new(false);
    let options = CreateOptions {
        paused: false,
        cancel: &cancel,
        progress: None,
        image: None,
    };
    let error = create(&host, &world.full_config("web"), &options).unwrap_err();
    assert!(!error.leftovers.is_empty());
    world.store.mend();
    assert_eq!(recover(&host).unwrap(), []);
}
