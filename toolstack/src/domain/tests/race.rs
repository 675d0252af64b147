// SPDX-License-Identifier: GPL-3.0-only
//! Another toolstack takes the name between the look and the commit.

use std::cell::Cell;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::super::{CreateOptions, Host, create};
use super::World;
use crate::error::{Code, Result};
use crate::ids::DomId;
use crate::store::memory::MemoryStore;
use crate::store::{Errno, Reply, Request, Store, StoreExt, Tx, Watch, WatchEvent, XsPath};

/// A connection whose first commit a rival precedes by giving domain 1 another name.
struct Overtaken<'a> {
    store: &'a MemoryStore,
    rival: MemoryStore,
    name: &'a str,
    done: Cell<bool>,
}

impl Store for Overtaken<'_> {
    fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.store.batch(requests)
    }

    fn begin(&self) -> Result<Tx> {
        self.store.begin()
    }

    fn batch_in(&self, tx: Tx, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.store.batch_in(tx, requests)
    }

    fn end(&self, tx: Tx, commit: bool) -> Result<bool> {
        if commit && !self.done.replace(true) {
            let path = XsPath::new("/local/domain/1/name");
            self.rival.request(Request::write(path, self.name))?;
        }
        self.store.end(tx, commit)
    }

    fn watch(&self, watch: &Watch) -> Result<()> {
        self.store.watch(watch)
    }

    fn unwatch(&self, watch: &Watch) -> Result<()> {
        self.store.unwatch(watch)
    }

    fn next_event(&self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.store.next_event(deadline)
    }

    fn next_event_of(&self, token: &str, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.store.next_event_of(token, deadline)
    }

    fn flights(&self) -> u64 {
        self.store.flights()
    }
}

/// Creates "web" while a rival renames domain 1 to `name` just before the commit.
fn create_overtaken(world: &World, name: &str) -> Result<DomId> {
    let store = Overtaken {
        store: &world.store,
        rival: world.store.connect(DomId::DOM0),
        name,
        done: Cell::new(false),
    };
    let host = Host {
        store: &store,
        ..world.host()
    };
    let cancel = AtomicBool::new(false);
    let options = CreateOptions {
        paused: false,
        cancel: &cancel,
        progress: None,
        image: None,
    };
    create(&host, &world.config("web"), &options)
}

#[test]
fn name_taken_between_look_and_commit_is_noticed_and_all_undone() {
    let world = World::new();
    world.create(&world.config("other")).unwrap();
    let error = create_overtaken(&world, "web").unwrap_err();
    assert_eq!((error.code, error.domain), (Code::Exists, Some(DomId(1))));
    assert_eq!(error.leftovers, Vec::<String>::new());
    assert!(world.store.peek("/local/domain/2").is_none());
    assert!(
        world.hv.triggers(DomId(2)).is_err(),
        "domain 2 is still there"
    );
}

#[test]
fn other_change_between_look_and_commit_only_costs_another_try() {
    let world = World::new();
    world.create(&world.config("other")).unwrap();
    let id = create_overtaken(&world, "another").unwrap();
    assert_eq!(id, DomId(2));
    assert_eq!(
        world.store.peek("/local/domain/2/name").as_deref(),
        Some("web")
    );
    assert!(
        world.hv.triggers(DomId(3)).is_err(),
        "a second domain was made"
    );
}
