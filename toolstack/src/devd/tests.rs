// SPDX-License-Identifier: GPL-3.0-only
//! The daemon against a store in memory: with the rights of a guest, as in life.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fttcp::control;

use super::*;
use crate::config::VifConfig;
use crate::device::nodes;
use crate::device::relay::{REPLY_DIR, ft_call};
use crate::store::Permission;
use crate::store::memory::MemoryStore;

pub(super) const ME: DomId = DomId(3);
pub(super) const GUEST: DomId = DomId(5);

/// A kernel whose interfaces a test makes.
#[derive(Clone, Default)]
pub(super) struct FakePorts {
    links: Rc<RefCell<BTreeSet<String>>>,
    plans: Rc<RefCell<Vec<Plan>>>,
    broken: bool,
}

impl Ports for FakePorts {
    fn exists(&mut self, name: &str) -> Result<bool> {
        Ok(self.links.borrow().contains(name))
    }

    fn set_up(&mut self, plan: &Plan) -> Result<Option<String>> {
        if self.broken {
            return Err(Error::new(
                Code::System,
                "set it up",
                &plan.interface,
                "no memory",
            ));
        }
        self.plans.borrow_mut().push(plan.clone());
        Ok(plan.bridge.clone())
    }
}

struct Echo;

impl Forward for Echo {
    fn forward(&mut self, line: &str) -> Result<String, String> {
        Ok(format!("{line}\n"))
    }
}

/// A store with the nodes that the toolstack makes for the driver domain, and that domain's connection.
pub(super) fn store() -> (MemoryStore, MemoryStore) {
    let dom0 = MemoryStore::new();
    let home = XsPath::domain(ME);
    let readable = vec![Permission::owner(DomId::DOM0), Permission::read(ME)];
    dom0.all(&[
        Request::Mkdir(home.clone()),
        Request::SetPerms(home.clone(), readable),
        Request::write(home.join("domid"), ME),
        Request::Mkdir(home.join("data")),
        Request::SetPerms(home.join("data"), vec![Permission::owner(ME)]),
    ])
    .unwrap();
    let own = dom0.connect(ME);
    (dom0, own)
}

pub(super) fn vif(vifname: Option<&str>) -> Vec<Request> {
    let config = VifConfig {
        mac: [0, 0x16, 0x3e, 0, 0, 1],
        bridge: Some("xenbr0".into()),
        backend: None,
        ip: None,
        script: None,
        vifname: vifname.map(str::to_owned),
    };
    nodes::vif(GUEST, ME, 0, &config, true)
}

pub(super) fn settle<P: Ports, F: Forward>(daemon: &mut Daemon<'_, MemoryStore, P, F>) {
    daemon.settle().unwrap();
}

/// A kernel that is asked about an interface just when a request is made.
struct Meanwhile(MemoryStore);

impl Ports for Meanwhile {
    fn exists(&mut self, _: &str) -> Result<bool> {
        let asked = XsPath::domain(ME).join(REQUEST_DIR).join("one");
        self.0.request(Request::write(asked, "hello"))?;
        Ok(false)
    }

    fn set_up(&mut self, _: &Plan) -> Result<Option<String>> {
        Ok(None)
    }
}

#[test]
fn request_that_comes_while_interfaces_are_looked_at_is_answered() {
    let (dom0, own) = store();
    let mut daemon = Daemon::start(&own, Meanwhile(dom0.connect(DomId::DOM0)), Echo).unwrap();
    dom0.all(&vif(None)).unwrap();
    settle(&mut daemon);
    dom0.remove_all(&[XsPath::domain(ME).join(REPLY_DIR).join("one")])
        .unwrap();
    daemon.on_links();
    settle(&mut daemon);
    let reply = "/local/domain/3/data/rxl-ft/reply/one/0";
    assert_eq!(dom0.peek(reply).as_deref(), Some("hello"));
}

const STATUS: &str = "/local/domain/3/backend/vif/5/0/hotplug-status";

#[test]
fn readiness_is_published_and_taken_back() {
    let (dom0, own) = store();
    let mut daemon = Daemon::start(&own, FakePorts::default(), Echo).unwrap();
    let node = "/local/domain/3/data/rxl-devd/version";
    assert_eq!(dom0.peek(node).as_deref(), Some(VERSION));
    daemon.stop().unwrap();
    assert_eq!(dom0.peek(node), None);
}

#[test]
fn vif_is_plugged_when_its_interface_comes() {
    let (dom0, own) = store();
    let ports = FakePorts::default();
    let mut daemon = Daemon::start(&own, ports.clone(), Echo).unwrap();
    dom0.atomic(&vif(Some("web0"))).unwrap();
    settle(&mut daemon);
    assert_eq!(dom0.peek(STATUS).as_deref(), Some(""));

    ports.links.borrow_mut().insert("vif5.0".into());
    daemon.on_links();
    settle(&mut daemon);
    assert_eq!(dom0.peek(STATUS).as_deref(), Some("connected"));
    let expected = Plan {
        interface: "vif5.0".into(),
        rename: Some("web0".into()),
        bridge: Some("xenbr0".into()),
        mac: [0xfe, 0, 3, 0, 5, 0],
    };
    assert_eq!(*ports.plans.borrow(), [expected]);

    // netback takes the word away when the guest reconnects; that is no reason to plug again.
    daemon.on_links();
    settle(&mut daemon);
    assert_eq!(ports.plans.borrow().len(), 1);
}

#[test]
fn failure_is_reported_once_to_the_toolstack() {
    let (dom0, own) = store();
    let ports = FakePorts {
        broken: true,
        ..FakePorts::default()
    };
    ports.links.borrow_mut().insert("vif5.0".into());
    let mut daemon = Daemon::start(&own, ports, Echo).unwrap();
    dom0.atomic(&vif(None)).unwrap();
    settle(&mut daemon);
    assert_eq!(dom0.peek(STATUS).as_deref(), Some("error"));
    let why = dom0
        .peek("/local/domain/3/backend/vif/5/0/hotplug-error")
        .unwrap();
    assert!(why.contains("no memory"), "{why}");
}

#[test]
fn closed_backend_is_cleared_and_a_new_one_plugged() {
    let (dom0, own) = store();
    let ports = FakePorts::default();
    ports.links.borrow_mut().insert("vif5.0".into());
    let mut daemon = Daemon::start(&own, ports.clone(), Echo).unwrap();
    dom0.atomic(&vif(None)).unwrap();
    settle(&mut daemon);
    let backend = XsPath::new("/local/domain/3/backend/vif/5/0");
    dom0.all(&[
        Request::write(backend.join("online"), "0"),
        Request::write(backend.join("state"), "6"),
    ])
    .unwrap();
    settle(&mut daemon);
    assert_eq!(dom0.peek(backend.as_str()), None);
    dom0.atomic(&vif(None)).unwrap();
    settle(&mut daemon);
    assert_eq!(dom0.peek(STATUS).as_deref(), Some("connected"));
    assert_eq!(ports.plans.borrow().len(), 2);
}

#[test]
fn daemon_started_again_leaves_plugged_vifs_alone() {
    let (dom0, own) = store();
    let ports = FakePorts::default();
    ports.links.borrow_mut().insert("vif5.0".into());
    dom0.atomic(&vif(None)).unwrap();
    dom0.request(Request::write(XsPath::new(STATUS), "connected"))
        .unwrap();
    let mut daemon = Daemon::start(&own, ports.clone(), Echo).unwrap();
    settle(&mut daemon);
    assert!(ports.plans.borrow().is_empty());
}

/// Runs a daemon in a thread of its own until `call` has returned.
fn with_daemon<T>(
    own: MemoryStore,
    forward: impl Forward + Send + 'static,
    call: impl FnOnce() -> T,
) -> T {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let mut daemon = Daemon::start(&own, FakePorts::default(), forward).unwrap();
        while stopped.try_recv().is_err() {
            let soon = Instant::now() + Duration::from_millis(50);
            if let Some(event) = own.next_event(Some(soon)).unwrap() {
                daemon.on_event(&event);
            }
            daemon.work().unwrap();
        }
    });
    let answer = call();
    stop.send(()).unwrap();
    server.join().unwrap();
    answer
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Answers every request with a status as long as asked for.
struct Long(usize);

impl Forward for Long {
    fn forward(&mut self, _line: &str) -> Result<String, String> {
        let reply = control::Reply::Error {
            message: "ü".repeat(self.0),
        };
        Ok(serde_json::to_string(&reply).unwrap())
    }
}

#[test]
fn call_brings_long_replies_whole_and_leaves_no_node() {
    let (dom0, own) = store();
    let request = control::Request::Status {
        group: None,
        connections: true,
    };
    let reply = with_daemon(own, Long(4000), || ft_call(&dom0, ME, &request, soon())).unwrap();
    assert_eq!(
        reply,
        control::Reply::Error {
            message: "ü".repeat(4000)
        }
    );
    let dump = dom0.dump().join("\n");
    assert!(!dump.contains("rxl-ft/request/"), "{dump}");
    assert!(!dump.contains("rxl-ft/reply/"), "{dump}");
}

#[test]
fn call_reaches_the_socket_of_ftlogger() {
    let (dom0, own) = store();
    let path = std::env::temp_dir().join(format!("rxl-devd-test-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let logger = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let reply = serde_json::to_string(&control::Reply::Done).unwrap();
        (&stream)
            .write_all(format!("{reply}\n").as_bytes())
            .unwrap();
        serde_json::from_str::<control::Request>(&line).unwrap()
    });
    let request = control::Request::Unprotect {
        group: "web".into(),
    };
    let socket = Socket(path.clone());
    let reply = with_daemon(own, socket, || ft_call(&dom0, ME, &request, soon()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(reply.unwrap(), control::Reply::Done);
    assert_eq!(logger.join().unwrap(), request);
}

#[test]
fn absent_ftlogger_is_an_error_reply_that_says_so() {
    let (dom0, own) = store();
    let socket = Socket("/none/such.sock".into());
    let reply = with_daemon(own, socket, || {
        ft_call(&dom0, ME, &control::Request::Hello, soon())
    });
    let control::Reply::Error { message } = reply.unwrap() else {
        panic!("an error was expected");
    };
    assert!(
        message.contains("ftlogger does not listen at /none/such.sock"),
        "{message}"
    );
}

#[test]
fn absent_daemon_is_named_and_nothing_is_left() {
    let (dom0, own) = store();
    drop(own);
    let request_left = || {
        dom0.dump()
            .iter()
            .any(|node| node.contains("rxl-ft/re") && node.matches('/').count() > 6)
    };
    dom0.request(Request::Mkdir(
        XsPath::domain(ME).join("data/rxl-ft/request/probe"),
    ))
    .unwrap();
    assert!(
        request_left(),
        "the check sees a request: {:?}",
        dom0.dump()
    );
    dom0.request(Request::Rm(
        XsPath::domain(ME).join("data/rxl-ft/request/probe"),
    ))
    .unwrap();
    let error = ft_call(&dom0, ME, &control::Request::Hello, soon()).unwrap_err();
    assert_eq!((error.code, error.domain), (Code::Timeout, Some(ME)));
    assert!(error.cause.contains("rxl-devd is not running"), "{error}");
    assert!(!request_left(), "{:?}", dom0.dump());

    // Ready once, but stuck: the request is taken back.
    dom0.request(Request::write(XsPath::domain(ME).join(VERSION_NODE), "1"))
        .unwrap();
    let error = ft_call(&dom0, ME, &control::Request::Hello, soon()).unwrap_err();
    assert!(error.cause.contains("did not answer in time"), "{error}");
    let dump = dom0.dump().join("\n");
    assert!(!dump.contains("rxl-ft/request/"), "{dump}");
}
