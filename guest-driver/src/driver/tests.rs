// SPDX-License-Identifier: GPL-3.0-only
//! The agent and Dom0's end together, over a xenstore in memory, with a stand-in for the kernel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use toolstack::error::Code;
use toolstack::guest::{Pulse, Verb, ask, pulse};
use toolstack::ids::DomId;
use toolstack::store::Permission;
use toolstack::store::memory::MemoryStore;

use super::*;

const GUEST: DomId = DomId(7);
const BEAT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// A kernel that only remembers what it was asked, in place of the real one's disks and clock.
#[derive(Clone, Default)]
struct Fake {
    done: Arc<Mutex<Vec<Job>>>,
}

impl Worker for Fake {
    fn perform(&self, job: &Job) -> Result<String, String> {
        self.done.lock().unwrap().push(job.clone());
        match job {
            Job::Other(Verb::Hints) => Ok("free_kib=1".into()),
            Job::Other(verb) => Err(format!("{} fails here", verb.name())),
            Job::Freeze(mounts) => Ok(format!("frozen={}", mounts.join(","))),
            Job::Thaw(_) => Ok("thawed=1".into()),
        }
    }

    fn mounts(&self) -> Vec<String> {
        vec!["/data".into()]
    }
}

/// A store with a domain's directories as `rxl create` makes them.
fn world() -> MemoryStore {
    let store = MemoryStore::new();
    let home = XsPath::domain(GUEST);
    let readable = vec![Permission::owner(DomId::DOM0), Permission::read(GUEST)];
    let mut requests = Vec::new();
    for (path, permissions) in [
        (home.clone(), &readable),
        (home.join("control"), &readable),
        (home.join("data"), &vec![Permission::owner(GUEST)]),
    ] {
        requests.push(Request::Mkdir(path.clone()));
        requests.push(Request::SetPerms(path, permissions.clone()));
    }
    store.all(&requests).unwrap();
    store
}

/// Runs an agent in the domain while `body` plays Dom0.
fn with_agent<T>(store: &MemoryStore, probe: Probe, fake: &Fake, body: impl FnOnce() -> T) -> T {
    let guest = store.connect(GUEST);
    let (stop, ready) = (AtomicBool::new(false), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut driver = Driver::start(&guest, BEAT, probe, fake.clone(), || ()).unwrap();
            ready.wait();
            while !stop.load(Ordering::Relaxed) {
                // The threads' news is looked for at every beat: there is nothing here to wake up.
                while let Some(event) = guest.next_event(Some(driver.deadline())).unwrap() {
                    driver.on_event(&event).unwrap();
                    driver.work().unwrap();
                }
                driver.work().unwrap();
            }
            driver.stop().unwrap();
        });
        ready.wait();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        stop.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn order(store: &MemoryStore, verb: &Verb) -> toolstack::error::Result<String> {
    ask(store, GUEST, || verb.clone(), Instant::now() + LONG)
}

fn node(store: &MemoryStore, name: &str) -> Option<String> {
    store.read_text(&XsPath::domain(GUEST).join(name)).unwrap()
}

#[test]
fn dom0_sees_the_heartbeat_and_the_answers() {
    let (store, fake) = (world(), Fake::default());
    with_agent(&store, Probe::None, &fake, || {
        let seen = pulse(&store, GUEST, Instant::now() + LONG).unwrap();
        assert!(seen.alive && seen.serving, "{seen:?}");
        assert_eq!(order(&store, &Verb::Hints).unwrap(), "free_kib=1");
        let error = order(&store, &Verb::Flush).unwrap_err();
        assert_eq!(
            (error.code, error.cause.as_str()),
            (Code::State, "flush fails here")
        );
        assert_eq!(node(&store, ORDER), None);
    });
    assert_eq!(node(&store, VERSION), None);
    let jobs = fake.done.lock().unwrap().clone();
    assert_eq!(
        jobs,
        [
            Job::Other(Verb::Hints),
            Job::Other(Verb::Flush),
            Job::Thaw(vec![])
        ]
    );
}

#[test]
fn a_service_that_hangs_is_seen_though_the_agent_lives() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let probe = Probe::Greet(listener.local_addr().unwrap().port());
    let store = world();
    with_agent(&store, probe, &Fake::default(), || {
        let Pulse { alive, serving, .. } = pulse(&store, GUEST, Instant::now() + LONG).unwrap();
        assert!(alive && !serving);
    });
}

#[test]
fn frozen_by_a_dom0_that_falls_silent_is_thawed() {
    let (store, fake) = (world(), Fake::default());
    let quiesce = Verb::Quiesce {
        hold: Duration::from_secs(2),
        mounts: Vec::new(),
    };
    with_agent(&store, Probe::None, &fake, || {
        assert_eq!(order(&store, &quiesce).unwrap(), "frozen=/data");
        assert_eq!(node(&store, FROZEN).as_deref(), Some("/data"));
        let path = XsPath::domain(GUEST).join(FROZEN);
        let thawed = |store: &MemoryStore| Ok(store.read_text(&path)?.is_none().then_some(()));
        let seen = store
            .wait_for(
                &path,
                Instant::now() + LONG,
                &toolstack::store::UNINTERRUPTED,
                thawed,
            )
            .unwrap();
        assert_eq!(seen, Some(()));
    });
    let jobs = fake.done.lock().unwrap().clone();
    assert_eq!(
        jobs[..2],
        [Job::Freeze(vec!["/data".into()]), Job::Thaw(vec![])]
    );
}

#[test]
fn no_agent_and_a_silent_agent_are_told_apart() {
    let store = world();
    let none = order(&store, &Verb::Flush).unwrap_err();
    assert_eq!(none.code, Code::NotFound);
    assert!(none.cause.contains("no rxl-guest has reported"), "{none}");
    store
        .write_all(&[(XsPath::domain(GUEST).join(HEARTBEAT), "9".into())])
        .unwrap();
    let soon = Instant::now() + Duration::from_millis(50);
    let silent = ask(&store, GUEST, || Verb::Flush, soon).unwrap_err();
    assert_eq!(silent.code, Code::Timeout);
    assert!(silent.cause.contains("silent for"), "{silent}");
    assert!(silent.cause.ends_with("heartbeat stands at 9"), "{silent}");
    // Taken back: an agent that starts later does not carry it out.
    assert_eq!(node(&store, ORDER), None);
}

/// Of what it has written nothing is there, and its watches fire.
#[test]
fn agent_of_a_guest_that_wakes_up_in_another_domain_introduces_itself_again() {
    let store = world();
    let home = XsPath::domain(GUEST);
    let number = |number: &str| Request::write(home.join(DOMAIN), number);
    store.request(number("7")).unwrap();
    with_agent(&store, Probe::None, &Fake::default(), || {
        let version = home.join(VERSION);
        assert!(store.read_text(&version).unwrap().is_some());
        store.remove_all(&[home.join("data/rxl")]).unwrap();
        store.request(number("8")).unwrap();
        store.request(Request::write(home.join(ORDER), "")).unwrap();
        let deadline = Instant::now() + LONG;
        let stop = AtomicBool::new(false);
        let look = |store: &MemoryStore| store.read_text(&version);
        let told = store.wait_for(&version, deadline, &stop, look).unwrap();
        assert_eq!(told.as_deref(), Some(crate::AGENT_VERSION));
    });
}
