// SPDX-License-Identifier: GPL-3.0-only
//! The in-memory store behaves as xenstored does, and breaks where it is told to.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::super::types::{Permission, Reply, Request, Watch, XsPath};
use super::super::{Store, StoreExt, UNINTERRUPTED};
use super::{Fault, MemoryStore};
use crate::error::Code;
use crate::ids::{DomId, Gfn, Port};

fn path(text: &str) -> XsPath {
    XsPath::new(text)
}

fn write(name: &str, value: &str) -> Request {
    Request::write(path(name), value)
}

fn watch(name: &str, token: &str) -> Watch {
    Watch {
        path: path(name),
        token: token.to_owned(),
    }
}

/// Events that are pending now, as `token:path`.
fn drain(store: &MemoryStore) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = store.next_event(Some(Instant::now())).unwrap() {
        events.push(format!("{}:{}", event.token, event.path));
    }
    events
}

#[test]
fn batch_of_many_requests_is_one_flight_and_answers_in_order() {
    let store = MemoryStore::new();
    let replies = store
        .batch(&[
            write("/a/b", "1"),
            Request::Read(path("/a/b")),
            Request::Read(path("/a/c")),
            Request::Directory(path("/a")),
        ])
        .unwrap();
    assert_eq!(replies[1], Ok(Reply::Value(b"1".to_vec())));
    assert_eq!(replies[2].as_ref().unwrap_err().0, "ENOENT");
    assert_eq!(replies[3], Ok(Reply::Names(vec!["b".into()])));
    assert_eq!(store.flights(), 1);
}

#[test]
fn new_node_inherits_permissions_and_guest_owns_what_it_makes() {
    let store = MemoryStore::new();
    let guest = store.connect(DomId(7));
    let open = vec![Permission::owner(DomId(0)), Permission::both(DomId(7))];
    store
        .all(&[
            write("/local/domain/7/data", ""),
            Request::SetPerms(path("/local/domain/7/data"), open),
        ])
        .unwrap();
    guest.request(write("data/x", "1")).unwrap();
    let reply = store
        .request(Request::GetPerms(path("/local/domain/7/data/x")))
        .unwrap();
    let expected = vec![Permission::owner(DomId(7)), Permission::both(DomId(7))];
    assert_eq!(reply, Reply::Perms(expected));
}

#[test]
fn guest_without_right_is_refused() {
    let store = MemoryStore::new();
    let guest = store.connect(DomId(7));
    store.request(write("/secret", "1")).unwrap();
    let replies = guest
        .batch(&[Request::Read(path("/secret")), write("/x", "1")])
        .unwrap();
    assert!(
        replies
            .iter()
            .all(|r| r.as_ref().unwrap_err().0 == "EACCES")
    );
}

#[test]
fn removal_of_missing_node_succeeds_only_below_an_existing_parent() {
    let store = MemoryStore::new();
    let replies = store
        .batch(&[
            Request::Rm(path("/vm/none")),
            Request::Rm(path("/none/none")),
        ])
        .unwrap();
    assert_eq!(replies[0], Ok(Reply::Done));
    assert_eq!(replies[1].as_ref().unwrap_err().0, "ENOENT");
}

#[test]
fn bad_paths_are_refused() {
    let store = MemoryStore::new();
    for bad in ["", "/a//b", "/a/", "/a b", "/ä"] {
        let reply = store.batch(&[write(bad, "1")]).unwrap().remove(0);
        assert_eq!(reply.unwrap_err().0, "EINVAL", "{bad}");
    }
}

#[test]
fn transaction_is_invisible_until_committed() {
    let store = MemoryStore::new();
    let tx = store.begin().unwrap();
    store.batch_in(tx, &[write("/vm/a", "1")]).unwrap();
    assert_eq!(store.read_text(&path("/vm/a")).unwrap(), None);
    assert!(store.end(tx, true).unwrap());
    assert_eq!(
        store.read_text(&path("/vm/a")).unwrap().as_deref(),
        Some("1")
    );
}

#[test]
fn transaction_conflicts_when_what_it_read_has_changed() {
    let store = MemoryStore::new();
    let tx = store.begin().unwrap();
    store
        .batch_in(
            tx,
            &[Request::Read(path("/vm/name")), write("/vm/mine", "1")],
        )
        .unwrap();
    store.request(write("/vm/name", "taken")).unwrap();
    assert!(!store.end(tx, true).unwrap());
    assert_eq!(store.peek("/vm/mine"), None);
}

#[test]
fn transaction_helper_runs_again_after_a_conflict() {
    let store = MemoryStore::new();
    store.request(write("/vm/count", "1")).unwrap();
    let mut rounds = 0;
    let value = store
        .transaction(|tx| {
            let old = tx.read_many(&[path("/vm/count")])?.remove(0).unwrap();
            if rounds == 0 {
                store.request(write("/vm/count", "5"))?;
            }
            rounds += 1;
            let new = old.parse::<u32>().unwrap() + 1;
            tx.all(&[write("/vm/count", &new.to_string())])?;
            Ok(new)
        })
        .unwrap();
    assert_eq!((value, rounds), (6, 2));
    assert_eq!(store.peek("/vm/count").as_deref(), Some("6"));
}

#[test]
fn transaction_helper_discards_on_error() {
    let store = MemoryStore::new();
    let before = store.dump();
    let error = store
        .atomic(&[write("/vm/a", "1"), Request::Read(path("/vm/none"))])
        .unwrap_err();
    assert!(error.to_string().contains("/vm/none"), "{error}");
    assert_eq!(store.dump(), before);
    assert_eq!(store.open_transactions(), 0);
}

#[test]
fn watch_fires_at_once_then_for_changes_below() {
    let store = MemoryStore::new();
    store.watch(&watch("/vm", "w")).unwrap();
    store
        .all(&[write("/vm/a", "1"), write("/libxl/b", "1")])
        .unwrap();
    assert_eq!(drain(&store), ["w:/vm", "w:/vm/a"]);
    store.unwatch(&watch("/vm", "w")).unwrap();
    store.request(write("/vm/a", "2")).unwrap();
    assert!(drain(&store).is_empty());
}

#[test]
fn removal_fires_for_a_watch_below_the_removed_node() {
    let store = MemoryStore::new();
    store.request(write("/vm/a/b", "1")).unwrap();
    store.watch(&watch("/vm/a/b", "deep")).unwrap();
    store.request(Request::Rm(path("/vm/a"))).unwrap();
    assert_eq!(drain(&store), ["deep:/vm/a/b", "deep:/vm/a/b"]);
}

#[test]
fn watch_tells_who_could_read_a_node_of_its_end() {
    let dom0 = MemoryStore::new();
    let reader = dom0.connect(DomId(3));
    let node = path("/vm/secret/node");
    reader.watch(&watch(node.as_str(), "w")).unwrap();
    dom0.request(write(node.as_str(), "1")).unwrap();
    let first = ["w:/vm/secret/node"];
    assert_eq!(drain(&reader), first, "not yet its to read");
    let readable = vec![Permission::owner(DomId::DOM0), Permission::read(DomId(3))];
    dom0.request(Request::SetPerms(node.clone(), readable))
        .unwrap();
    assert_eq!(drain(&reader), first);
    dom0.request(Request::Rm(node)).unwrap();
    assert_eq!(drain(&reader), first);
}

#[test]
fn relative_watch_tells_relative_paths() {
    let store = MemoryStore::new();
    let guest = store.connect(DomId(3));
    let dir = path("/local/domain/3");
    let perms = vec![Permission::owner(DomId(3))];
    store
        .all(&[Request::Mkdir(dir.clone()), Request::SetPerms(dir, perms)])
        .unwrap();
    guest.watch(&watch("backend", "b")).unwrap();
    guest.request(write("backend/vif/9/0/state", "1")).unwrap();
    assert_eq!(drain(&guest), ["b:backend", "b:backend/vif/9/0/state"]);
}

#[test]
fn introduce_and_release_fire_special_watches() {
    let store = MemoryStore::new();
    store.watch(&watch("@introduceDomain", "i")).unwrap();
    store.watch(&watch("@releaseDomain", "r")).unwrap();
    let introduce = Request::Introduce {
        domain: DomId(4),
        frame: Gfn(1),
        port: Port(2),
    };
    store.all(&[introduce, Request::Release(DomId(4))]).unwrap();
    store.fire_release();
    let expected = [
        "i:@introduceDomain",
        "r:@releaseDomain",
        "i:@introduceDomain",
        "r:@releaseDomain",
        "r:@releaseDomain",
    ];
    assert_eq!(drain(&store), expected);
    assert!(store.introduced().is_empty());
}

#[test]
fn kernel_answers_changes_before_the_flight_returns() {
    let store = MemoryStore::new();
    store.on_change(|changed, value| {
        if changed.as_str().ends_with("/state") && value == Some(b"5") {
            return vec![Request::write(changed.clone(), "6")];
        }
        Vec::new()
    });
    store.request(write("/vm/x/state", "5")).unwrap();
    assert_eq!(store.peek("/vm/x/state").as_deref(), Some("6"));
}

#[test]
fn refused_flight_changes_nothing_and_the_next_one_works() {
    let store = MemoryStore::new();
    let before = store.dump();
    store.fail_at(1, Fault::Refused("EQUOTA"));
    let error = store.all(&[write("/vm/a", "1")]).unwrap_err();
    assert!(error.to_string().contains("EQUOTA"), "{error}");
    assert_eq!(store.dump(), before);
    store.request(write("/vm/a", "1")).unwrap();
}

#[test]
fn broken_connection_discards_transactions_until_mended() {
    let store = MemoryStore::new();
    let before = store.dump();
    let tx = store.begin().unwrap();
    store.batch_in(tx, &[write("/vm/a", "1")]).unwrap();
    store.fail_at(3, Fault::BrokenBefore);
    store.end(tx, true).unwrap_err();
    store.batch(&[]).unwrap_err();
    assert_eq!(store.dump(), before);
    store.mend();
    assert_eq!(store.end(tx, true).unwrap_err().cause, "ENOENT");
}

#[test]
fn broken_after_takes_effect_without_an_answer() {
    let store = MemoryStore::new();
    store.fail_at(1, Fault::BrokenAfter);
    store.request(write("/vm/a", "1")).unwrap_err();
    assert_eq!(store.peek("/vm/a").as_deref(), Some("1"));
}

#[test]
fn next_event_alone_does_not_wait_and_with_a_peer_does() {
    let store = MemoryStore::new();
    store.watch(&watch("/vm/a", "w")).unwrap();
    drain(&store);
    let far = Instant::now() + Duration::from_secs(3600);
    assert_eq!(store.next_event(Some(far)).unwrap(), None);
    store.next_event(None).unwrap_err();

    let peer = store.connect(DomId(0));
    let writer = std::thread::spawn(move || peer.request(write("/vm/a", "1")).map(|_| peer));
    let event = store.next_event(Some(far)).unwrap().unwrap();
    assert_eq!(event.path.as_str(), "/vm/a");
    drop(writer.join().unwrap().unwrap());
}

#[test]
fn wait_for_sees_the_change_leaves_no_watch_and_keeps_other_events() {
    let store = MemoryStore::new();
    store.watch(&watch("/vm/a", "mine")).unwrap();
    let node = path("/vm/state");
    let far = Instant::now() + Duration::from_secs(3600);
    store.request(write("/vm/state", "2")).unwrap();
    let look = |s: &MemoryStore| Ok(s.read_text(&node)?.filter(|v| v == "2"));
    let found = store.wait_for(&node, far, &UNINTERRUPTED, look).unwrap();
    assert_eq!(found.as_deref(), Some("2"));
    let absent = path("/vm/never");
    let look = |s: &MemoryStore| s.read_text(&absent);
    assert_eq!(
        store.wait_for(&absent, far, &UNINTERRUPTED, look).unwrap(),
        None
    );
    assert_eq!(store.watches(), 1);
    assert_eq!(drain(&store), ["mine:/vm/a"]);
}

#[test]
fn wait_for_ends_when_it_is_cancelled() {
    let store = MemoryStore::new();
    let node = path("/vm/state");
    let far = Instant::now() + Duration::from_secs(3600);
    let cancelled = AtomicBool::new(true);
    let look = |s: &MemoryStore| s.read_text(&node);
    let error = store.wait_for(&node, far, &cancelled, look).unwrap_err();
    assert_eq!(error.code, Code::Interrupted);
    assert_eq!(store.watches(), 0);
}

#[test]
fn dump_shows_values_and_permissions() {
    let store = MemoryStore::new();
    store
        .all(&[
            write("/vm/a", "x\"y"),
            Request::SetPerms(
                path("/vm/a"),
                vec![Permission::owner(DomId(0)), Permission::read(DomId(5))],
            ),
        ])
        .unwrap();
    assert!(
        store
            .dump()
            .contains(&r#"/vm/a = "x\"y" (n0,r5)"#.to_owned())
    );
}
