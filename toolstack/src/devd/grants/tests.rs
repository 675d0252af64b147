// SPDX-License-Identifier: GPL-3.0-only
//! What `ftlogger` is told of what domains grant, whatever comes first: the interface, the node, or `ftlogger` itself.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::Daemon;
use super::super::tests::{FakePorts, GUEST, ME, settle, store, vif};
use super::*;
use crate::device::relay::REQUEST_DIR;
use crate::store::memory::MemoryStore;
use crate::store::{Permission, StoreExt};

/// An `ftlogger` that notes what it is told, unless it is not there.
#[derive(Clone, Default)]
struct Logger(Rc<RefCell<Told>>);

#[derive(Default)]
struct Told {
    away: bool,
    lines: Vec<String>,
}

impl Forward for Logger {
    fn forward(&mut self, line: &str) -> Result<String, String> {
        let mut told = self.0.borrow_mut();
        if told.away {
            return Err("ftlogger does not listen".into());
        }
        let said = match serde_json::from_str(line).unwrap() {
            control::Request::WrapArea {
                interface,
                area: Some(it),
            } => format!("{interface} {} {} {}", it.domain, it.gref, it.port),
            control::Request::WrapArea { interface, .. } => format!("{interface} none"),
            control::Request::CommitPage {
                interface,
                page: Some(it),
            } => format!("commit {interface} {} {} {}", it.domain, it.gref, it.port),
            // The one for the other.
            control::Request::CommitPage { .. } => String::new(),
            other => format!("{other:?}"),
        };
        if !said.is_empty() {
            told.lines.push(said);
        }
        Ok(format!(
            "{}\n",
            serde_json::to_string(&Reply::Done).unwrap()
        ))
    }
}

impl Logger {
    /// What it was told since the last time.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().lines)
    }

    fn away(&self, away: bool) {
        self.0.borrow_mut().away = away;
    }
}

fn node() -> XsPath {
    XsPath::domain(GUEST).join(WRAP)
}

/// The service domain's own connection, with the directories that the toolstack makes for it.
fn guest(dom0: &MemoryStore) -> MemoryStore {
    let home = XsPath::domain(GUEST);
    let requests = ["", "/data"].map(|name| {
        let path = XsPath::new(format!("{home}{name}"));
        let owner = if name.is_empty() { DomId::DOM0 } else { GUEST };
        let perms = vec![Permission::owner(owner), Permission::read(GUEST)];
        [Request::Mkdir(path.clone()), Request::SetPerms(path, perms)]
    });
    dom0.all(&requests.concat()).unwrap();
    dom0.connect(GUEST)
}

/// The guest's agent writes its node.
fn grants(guest: &MemoryStore, text: &str) {
    let perms = vec![Permission::owner(GUEST), Permission::read(ME)];
    let requests = [
        Request::write(node(), text),
        Request::SetPerms(node(), perms),
    ];
    guest.all(&requests).unwrap();
}

fn start<'a>(own: &'a MemoryStore, logger: &Logger) -> Daemon<'a, MemoryStore, FakePorts, Logger> {
    let mut daemon = Daemon::start(own, FakePorts::default(), logger.clone()).unwrap();
    settle(&mut daemon);
    daemon
}

#[test]
fn area_that_comes_changes_and_goes_is_told() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    let mut daemon = start(&own, &logger);
    dom0.atomic(&vif(None)).unwrap();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 none"]);
    grants(&guest, "8 17");
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 5 8 17"]);
    grants(&guest, "9 18");
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 5 9 18"]);
    guest.request(Request::Rm(node())).unwrap();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 none"]);
    settle(&mut daemon);
    assert!(logger.told().is_empty());
}

#[test]
fn area_is_told_under_the_name_of_the_interface_and_taken_back_with_it() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    grants(&guest, "8 17");
    dom0.atomic(&vif(Some("web1"))).unwrap();
    let mut daemon = start(&own, &logger);
    assert_eq!(logger.told(), ["web1 5 8 17"]);
    let watches = own.watches();
    let home = XsPath::domain(ME).join("backend/vif").join(GUEST);
    dom0.request(Request::Rm(home)).unwrap();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["web1 none"]);
    assert_eq!(own.watches(), watches - 2, "no node is watched any more");
    grants(&guest, "9 18");
    settle(&mut daemon);
    assert!(logger.told().is_empty());
}

#[test]
fn nonsense_counts_as_none() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    dom0.atomic(&vif(None)).unwrap();
    let mut daemon = start(&own, &logger);
    assert_eq!(logger.told(), ["vif5.0 none"]);
    for text in [
        "",
        "8",
        "8 17 3",
        "8  17",
        "+8 17",
        "8 -1",
        "0x8 17",
        "0 17",
        "8 0",
        "8 4294967296",
        "ä",
    ] {
        grants(&guest, "8 17");
        settle(&mut daemon);
        assert_eq!(logger.told(), ["vif5.0 5 8 17"]);
        grants(&guest, text);
        settle(&mut daemon);
        assert_eq!(logger.told(), ["vif5.0 none"], "{text}");
    }
}

#[test]
fn node_that_may_not_be_read_counts_as_none() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    grants(&guest, "8 17");
    dom0.atomic(&vif(None)).unwrap();
    let mut daemon = start(&own, &logger);
    assert_eq!(logger.told(), ["vif5.0 5 8 17"]);
    let perms = vec![Permission::owner(GUEST)];
    guest.request(Request::SetPerms(node(), perms)).unwrap();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 none"]);
}

#[test]
fn logger_that_comes_late_or_again_is_told_all() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    logger.away(true);
    dom0.atomic(&vif(None)).unwrap();
    let mut daemon = start(&own, &logger);
    grants(&guest, "8 17");
    settle(&mut daemon);
    assert!(daemon.waits_for_logger());
    // Its socket is there, but it does not listen yet.
    daemon.on_logger();
    settle(&mut daemon);
    assert!(daemon.waits_for_logger());
    logger.away(false);
    daemon.try_logger();
    settle(&mut daemon);
    assert!(!daemon.waits_for_logger());
    assert_eq!(logger.told(), ["vif5.0 5 8 17"]);
    daemon.on_logger();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 5 8 17"]);
}

#[test]
fn area_that_was_not_told_is_told_before_the_next_request() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    logger.away(true);
    dom0.atomic(&vif(None)).unwrap();
    let mut daemon = start(&own, &logger);
    grants(&guest, "8 17");
    settle(&mut daemon);
    logger.away(false);
    let asked = XsPath::domain(ME).join(REQUEST_DIR).join("one");
    let line = serde_json::to_string(&control::Request::Hello).unwrap();
    dom0.request(Request::write(asked, line)).unwrap();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 5 8 17", "Hello"]);
}

#[test]
fn refused_watch_stops_nothing() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    let mut daemon = start(&own, &logger);
    grants(&guest, "8 17");
    dom0.atomic(&vif(None)).unwrap();
    let watches = own.watches();
    // Three flights look for interfaces, the next one watches.
    own.fail_at(
        own.flights() + 4,
        crate::store::memory::Fault::Refused("EQUOTA"),
    );
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 5 8 17"]);
    assert_eq!(own.watches(), watches + 1, "only that of the other kind");
}

#[test]
fn page_to_ask_an_agent_by_is_told_as_areas_are() {
    let (dom0, own) = store();
    let (guest, logger) = (guest(&dom0), Logger::default());
    dom0.atomic(&vif(None)).unwrap();
    let mut daemon = start(&own, &logger);
    assert_eq!(logger.told(), ["vif5.0 none"]);
    let node = XsPath::domain(GUEST).join(COMMIT);
    let perms = vec![Permission::owner(GUEST), Permission::read(ME)];
    let requests = [
        Request::write(node.clone(), "11 19"),
        Request::SetPerms(node, perms),
    ];
    guest.all(&requests).unwrap();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["commit vif5.0 5 11 19"]);
    grants(&guest, "8 17");
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 5 8 17"]);
    daemon.on_logger();
    settle(&mut daemon);
    assert_eq!(logger.told(), ["vif5.0 5 8 17", "commit vif5.0 5 11 19"]);
}
