// SPDX-License-Identifier: GPL-3.0-only
//! A logger that asks, by a page and at a socket; store, pages and disk are stand-ins.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket,
};
use toolstack::ids::DomId;
use toolstack::store::memory::MemoryStore;
use toolstack::store::{Reply, Request, StoreExt, Watch, XsPath};

use super::*;
use crate::grants::fake::{Fake, GUEST, store};
use crate::wrap::listen_at;

const LOGGER: u16 = 3;
const WANTED: usize = 1;
const DONE: usize = 2;
const FAILED: usize = 3;
const CHECK: usize = 4;

/// A disk that says when it is asked, and is done when it is told.
#[derive(Clone)]
struct Disk {
    asked: Sender<()>,
    done: Arc<Mutex<Receiver<Result<String, String>>>>,
}

impl Worker for Disk {
    fn perform(&self, job: &Job) -> Result<String, String> {
        assert_eq!(*job, Job::Other(Verb::Flush));
        self.asked.send(()).unwrap();
        self.done.lock().unwrap().recv().unwrap()
    }

    fn mounts(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The test's end of a disk.
struct Platter {
    asked: Receiver<()>,
    done: Sender<Result<String, String>>,
}

fn disk() -> (Disk, Platter) {
    let ((asked, hears), (done, waits)) = (channel(), channel());
    let disk = Disk {
        asked,
        done: Arc::new(Mutex::new(waits)),
    };
    (disk, Platter { asked: hears, done })
}

impl Platter {
    fn asked(&self) {
        self.asked.recv().unwrap();
    }

    fn is_done(&self) {
        self.done.send(Ok("took_ms=1".to_owned())).unwrap();
    }

    fn fails(&self) {
        self.done.send(Err("no disk".to_owned())).unwrap();
    }
}

fn guest(vif: bool) -> MemoryStore {
    let store = store();
    if vif {
        let backend = XsPath::domain(GUEST).join("device/vif/0/backend-id");
        store.write_all(&[(backend, LOGGER.to_string())]).unwrap();
    }
    store
}

/// What the logger's domain reads of the node: gref and port.
fn node(store: &MemoryStore) -> Option<(u32, u32)> {
    let node = XsPath::domain(GUEST).join("data/rxl/commit");
    let logger = store.connect(DomId(LOGGER));
    let replies = logger.batch(&[Request::Read(node)]).unwrap();
    let Ok(Reply::Value(value)) = &replies[0] else {
        return None;
    };
    let text = String::from_utf8(value.clone()).unwrap();
    let (gref, port) = text.split_once(' ').unwrap();
    Some((gref.parse().unwrap(), port.parse().unwrap()))
}

/// The page, as its logger finds it.
struct Served {
    store: MemoryStore,
    fake: Fake,
    disk: Platter,
    gref: u32,
    bell: UnixStream,
    committing: Option<Committing>,
}

impl Served {
    fn new() -> Self {
        let (store, fake, (disk, platter)) = (guest(true), Fake::default(), disk());
        let own = store.connect(GUEST);
        let watch = Watch {
            path: XsPath::domain(GUEST).join("data/rxl/commit"),
            token: "commit".to_owned(),
        };
        store.watch(&watch).unwrap();
        let committing = Committing::start_on(0, own, disk, fake.clone()).unwrap();
        let told = loop {
            store.next_event(None).unwrap();
            if let Some(told) = node(&store) {
                break told;
            }
        };
        let (gref, port) = told;
        Self {
            bell: fake.bind(port),
            store,
            fake,
            disk: platter,
            gref,
            committing: Some(committing),
        }
    }

    fn ask(&mut self, number: u64) {
        self.fake.put_word(self.gref, WANTED, number);
        self.fake.put_word(self.gref, CHECK, !number);
        self.bell.write_all(&[1]).unwrap();
    }

    fn hears(&mut self) -> (u64, u64) {
        self.bell.read_exact(&mut [0]).unwrap();
        (
            self.fake.word(self.gref, DONE),
            self.fake.word(self.gref, FAILED),
        )
    }
}

#[test]
fn newest_number_is_done_when_the_disk_has_all() {
    let mut served = Served::new();
    assert_eq!(served.fake.granted_to(served.gref), Some(LOGGER));
    served.ask(1);
    served.disk.asked();
    // What comes meanwhile is not covered.
    served.ask(2);
    served.ask(5);
    assert_eq!(served.fake.word(served.gref, DONE), 0);
    served.disk.is_done();
    assert_eq!(served.hears(), (1, 0));
    served.disk.asked();
    served.disk.is_done();
    assert_eq!(served.hears(), (5, 0));
    // The same again, and nonsense: nothing is to be done. Then something is.
    served.ask(5);
    served.fake.put_word(served.gref, WANTED, 900);
    served.bell.write_all(&[1]).unwrap();
    served.ask(6);
    served.disk.asked();
    served.disk.fails();
    assert_eq!(served.hears(), (5, 6));
    drop(served.committing.take());
    assert_eq!(node(&served.store), None);
    assert_eq!(served.fake.granted(), 0);
}

#[test]
fn guest_without_xens_devices_or_a_logger_says_so_and_goes_on() {
    for (vif, broken) in [(true, true), (false, false)] {
        let (store, fake, (disk, _platter)) = (guest(vif), Fake::default(), disk());
        if broken {
            fake.break_down("/dev/xen/gntalloc is missing: modprobe xen-gntalloc");
        }
        // What an agent before it has left goes.
        let stale = (XsPath::new("data/rxl/commit"), "1 2".to_owned());
        store.connect(GUEST).write_all(&[stale]).unwrap();
        let own = store.connect(GUEST);
        drop(Committing::start_on(0, own, disk, fake).unwrap());
        let left = store.read_text(&XsPath::domain(GUEST).join("data/rxl/commit"));
        assert_eq!(left.unwrap(), None);
    }
}

fn come(path: &PathBuf) -> std::os::fd::OwnedFd {
    let logger = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&logger, &SocketAddrUnix::new(path).unwrap()).unwrap();
    logger
}

#[test]
fn loggers_at_a_socket_share_a_flush() {
    let path = std::env::temp_dir().join(format!("rxl-commit-{}.sock", std::process::id()));
    let listener = listen_at(&path).unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let (disk, platter) = disk();
    let server = std::thread::spawn(move || serve(&listener, &stopped, &disk));
    let (one, other) = (come(&path), come(&path));
    let ask = |logger, text: &str| send(logger, text.as_bytes(), SendFlags::empty()).unwrap();
    let hear = |logger| {
        let mut bytes = [0; 64];
        let (length, _) = recv(logger, &mut bytes, RecvFlags::empty()).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    ask(&one, "1");
    platter.asked();
    ask(&one, "2");
    ask(&one, "3");
    ask(&other, "1");
    platter.is_done();
    assert_eq!(hear(&one), "1 ok took_ms=1");
    platter.asked();
    platter.fails();
    assert_eq!(
        (hear(&one), hear(&other)),
        ("3 error no disk".to_owned(), "1 error no disk".to_owned())
    );
    // Who makes no sense is left.
    ask(&other, "what?");
    assert_eq!(hear(&other), "");
    stop.shutdown(Shutdown::Both).unwrap();
    server.join().unwrap().unwrap();
    std::fs::remove_file(&path).unwrap();
}
