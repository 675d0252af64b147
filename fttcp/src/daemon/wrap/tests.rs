// SPDX-License-Identifier: GPL-3.0-only
//! Records in memory that other domains grant, over a stand-in for Xen's copying.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use xen_sys::grants::Piece;

use super::super::grants::Copier;
use super::header::{HEADER, LIVE, WAITS};
use super::*;

const GROUP: &str = "kv";
const PAGE: usize = 4096;
/// Grants are numbered from here on: the directory's root, leaves, pages.
const ROOT: u32 = 8;
const LEAF: u32 = 100;
const FIRST: u32 = 1000;

/// A domain's memory: pages by their grants.
#[derive(Debug, Default)]
struct Domain {
    pages: RefCell<BTreeMap<u32, Vec<u8>>>,
    gone: Cell<bool>,
    copies: Cell<u64>,
}

impl Copier for Domain {
    fn copy(&self, _domain: u16, pieces: &mut [Piece<'_>]) -> io::Result<()> {
        if self.gone.get() {
            return Err(io::Error::other("bad domain"));
        }
        self.copies.set(self.copies.get() + 1);
        let mut pages = self.pages.borrow_mut();
        for piece in pieces {
            let (Piece::Read { gref, .. } | Piece::Write { gref, .. }) = piece;
            let page = pages
                .get_mut(gref)
                .ok_or_else(|| io::Error::other("bad grant"))?;
            match piece {
                Piece::Read { offset, into, .. } => {
                    into.copy_from_slice(&page[usize::from(*offset)..][..into.len()]);
                }
                Piece::Write { offset, from, .. } => {
                    page[usize::from(*offset)..][..from.len()].copy_from_slice(from);
                }
            }
        }
        Ok(())
    }
}

/// The agent's and the program's side.
impl Domain {
    fn with(pages: usize) -> Rc<Self> {
        let domain = Rc::new(Self::default());
        domain.put_in(ROOT, 0, b"rxlarea1");
        domain.put_in(ROOT, 16, &16_u64.to_le_bytes());
        for leaf in 0..16 {
            domain.put_in(ROOT, 64 + 4 * leaf as usize, &(LEAF + leaf).to_le_bytes());
        }
        domain.grow(pages);
        domain
    }

    fn put_in(&self, gref: u32, at: usize, bytes: &[u8]) {
        let mut pages = self.pages.borrow_mut();
        let page = pages.entry(gref).or_insert_with(|| vec![0; PAGE]);
        page[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn grow(&self, pages: usize) {
        for page in 0..pages {
            let gref = FIRST + page as u32;
            self.put_in(gref, 0, &[]);
            let (leaf, at) = (LEAF + (page / 1024) as u32, 4 * (page % 1024));
            self.put_in(leaf, at, &gref.to_le_bytes());
        }
        self.put_in(ROOT, 8, &(pages as u64).to_le_bytes());
        self.put_word(9, (pages * PAGE) as u64);
    }

    fn put(&self, mut at: usize, bytes: &[u8]) {
        for byte in bytes {
            self.put_in(FIRST + (at / PAGE) as u32, at % PAGE, &[*byte]);
            at += 1;
        }
    }

    fn put_word(&self, word: usize, value: u64) {
        self.put(word * 8, &value.to_le_bytes());
    }

    fn get(&self, at: usize, length: usize) -> Vec<u8> {
        let pages = self.pages.borrow();
        let byte = |at: usize| pages[&(FIRST + (at / PAGE) as u32)][at % PAGE];
        (at..at + length).map(byte).collect()
    }

    fn word(&self, word: usize) -> u64 {
        u64::from_le_bytes(*self.get(word * 8, 8).first_chunk().unwrap())
    }

    /// The program begins, or goes on with its record.
    fn program(&self, state: u64, record: &[u8]) {
        self.put(HEADER as usize, record);
        self.put_word(1, record.len() as u64);
        self.put_word(2, record.len() as u64 / 4);
        self.put_word(7, state);
        self.put_word(8, 77);
        self.put(0, b"rxlwrap2");
    }

    fn clients(&self) -> String {
        let at = (HEADER as usize + self.word(1) as usize).next_multiple_of(8);
        let length = u64::from_le_bytes(*self.get(at, 8).first_chunk().unwrap());
        String::from_utf8(self.get(at + 8, length as usize)).unwrap()
    }
}

fn place(domain: u16) -> Grant {
    Grant {
        domain,
        gref: ROOT,
        port: 1,
    }
}

fn area(domain: &Rc<Domain>) -> Area {
    Area::new(place(1), Rc::clone(domain) as Rc<dyn Copier>, None)
}

fn attached(wraps: &mut Wraps, interface: &str, domain: &Rc<Domain>) {
    let server = wraps.find(GROUP, interface).unwrap();
    server.move_to(area(domain));
}

/// A group of an active server and a standby.
fn pair(active: &Rc<Domain>, standby: &Rc<Domain>) -> Wraps {
    let mut wraps = Wraps::default();
    for (port, interface, domain) in [(1, "vif1", active), (2, "vif2", standby)] {
        wraps.watch(GROUP, GRANTED, interface, PortId(port));
        attached(&mut wraps, interface, domain);
    }
    wraps
}

fn clients(count: u16) -> BTreeSet<SocketAddr> {
    let client = |port| SocketAddr::from(([10, 0, 0, 1], port));
    (1..=count).map(client).collect()
}

fn record(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn what_spans_pages_and_leaves_is_read_and_written() {
    let domain = Domain::with(1030);
    let mut area = area(&domain);
    let bytes = record(3 * PAGE);
    let at = 1022 * PAGE + 100;
    area.write(at as u64, &bytes).unwrap();
    assert_eq!(domain.get(at, bytes.len()), bytes);
    let mut back = vec![0; bytes.len()];
    area.read(at as u64, &mut back).unwrap();
    assert_eq!(back, bytes);
    let beyond = area.read(1030 * PAGE as u64 - 1, &mut [0; 2]).unwrap_err();
    assert!(beyond.to_string().contains("too few pages"), "{beyond}");
    // It has grown meanwhile.
    domain.grow(1031);
    area.read(1030 * PAGE as u64 - 1, &mut [0; 2]).unwrap();
}

#[test]
fn directory_that_makes_no_sense_is_an_error() {
    let fails = |change: &dyn Fn(&Domain)| {
        let domain = Domain::with(4);
        change(&domain);
        area(&domain).header().unwrap_err().to_string()
    };
    assert!(fails(&|domain| domain.put_in(ROOT, 0, b"x")).contains("no directory"));
    let huge = u64::MAX.to_le_bytes();
    assert!(fails(&|domain| domain.put_in(ROOT, 8, &huge)).contains("pages"));
    let huger = |domain: &Domain| {
        domain.put_in(ROOT, 8, &huge);
        domain.put_in(ROOT, 16, &huge);
    };
    assert!(fails(&huger).contains("pages"));
    assert!(fails(&|domain| domain.put_in(ROOT, 64, &[0xff; 4])).contains("bad grant"));
}

#[test]
fn what_a_dying_domain_says_last_is_held_back_and_its_record_goes_to_the_standby() {
    let (active, standby) = (Domain::with(256), Domain::with(256));
    let mut wraps = pair(&active, &standby);
    standby.program(WAITS, &[]);
    let said = record(100_000);
    active.program(0, &said);
    assert!(wraps.commit(PortId(1)));
    active.program(0, &record(100_400));
    active.gone.set(true);
    assert!(!wraps.commit(PortId(1)), "what it depends on is not here");
    wraps.give(GROUP, "vif1", "vif2");
    assert_eq!(standby.word(5), 0, "not yet");
    wraps.order(GROUP, "vif2", &clients(3));
    assert_eq!(standby.word(5), REPLAY);
    assert_eq!(standby.word(1), said.len() as u64);
    assert_eq!(standby.get(HEADER as usize, said.len()), said);
    assert_eq!((standby.word(6), standby.word(11)), (1, 1));
    assert_eq!(standby.clients(), "10.0.0.1:1\n10.0.0.1:2\n10.0.0.1:3\n");
    let status = wraps.status(GROUP, "vif2").unwrap();
    assert_eq!((status.handed, status.missing, status.held), (1, 0, 1));
    // One that leaves during the replay.
    wraps.follow(|_| clients(2));
    assert_eq!(standby.clients(), "10.0.0.1:1\n10.0.0.1:2\n");
    assert_eq!((standby.word(6), standby.word(11)), (2, 2));
}

#[test]
fn clients_are_not_told_over_what_is_recorded_by_now() {
    let (active, standby) = (Domain::with(4), Domain::with(4));
    let mut wraps = pair(&active, &standby);
    standby.program(WAITS, &[]);
    active.program(0, &record(800));
    assert!(wraps.commit(PortId(1)));
    wraps.give(GROUP, "vif1", "vif2");
    wraps.order(GROUP, "vif2", &clients(2));
    let server = wraps.find(GROUP, "vif2").unwrap();
    // It was seen to replay, and has begun to record since then.
    standby.put_word(7, 0);
    let before = standby.get(HEADER as usize + 800, 100);
    server.tell(clients(1), 800).unwrap();
    assert_eq!(standby.get(HEADER as usize + 800, 100), before);
    assert_eq!((standby.word(6), standby.word(11)), (2, 2));
}

#[test]
fn standby_has_room_before_it_needs_it() {
    let (active, standby) = (Domain::with(1024), Domain::with(256));
    let mut wraps = pair(&active, &standby);
    active.program(0, &record(2 << 20));
    assert!(wraps.commit(PortId(1)));
    assert!(standby.word(10) > 3 << 20, "{}", standby.word(10));
    let wanted = standby.word(10);
    active.program(0, &record((2 << 20) + 400));
    assert!(wraps.commit(PortId(1)));
    assert_eq!(standby.word(10), wanted, "asked once");
}

/// The agent grows no area beyond 64 MiB, and does nothing if it is asked to.
#[test]
fn no_more_room_is_asked_for_than_an_agent_has() {
    let (active, standby) = (Domain::with(4), Domain::with(4));
    let mut wraps = pair(&active, &standby);
    let server = wraps.find(GROUP, "vif2").unwrap();
    server.want(60 << 20).unwrap();
    assert_eq!(standby.word(10), 64 << 20);
}

#[test]
fn record_for_which_there_can_be_no_room_is_not_waited_for() {
    let standby = Domain::with(4);
    let mut wraps = pair(&Domain::with(4), &standby);
    standby.program(WAITS, &[]);
    let server = wraps.find(GROUP, "vif2").unwrap();
    server.prepare(Rc::new(vec![0; 64 << 20]), 1).unwrap();
    wraps.order(GROUP, "vif2", &clients(1));
    assert_eq!(standby.word(5), LIVE);
    assert_eq!(wraps.status(GROUP, "vif2").unwrap().missing, 1);
}

#[test]
fn what_was_given_for_a_failover_that_was_refused_is_not_replayed_later() {
    let (active, standby) = (Domain::with(4), Domain::with(4));
    let mut wraps = pair(&active, &standby);
    standby.program(WAITS, &[]);
    active.program(0, &record(800));
    assert!(wraps.commit(PortId(1)));
    wraps.give(GROUP, "vif1", "vif2");
    assert_eq!(standby.word(1), 800);
    // The failover is refused; then the recording ends, and the server dies.
    active.put_word(4, 1);
    assert!(wraps.commit(PortId(1)));
    wraps.give(GROUP, "vif1", "vif2");
    wraps.order(GROUP, "vif2", &clients(1));
    assert_eq!((standby.word(5), standby.word(1)), (LIVE, 0));
    let status = wraps.status(GROUP, "vif2").unwrap();
    assert_eq!((status.handed, status.missing), (0, 1));
}

#[test]
fn standby_without_room_gets_the_record_when_it_has_it() {
    let (active, standby) = (Domain::with(1024), Domain::with(1));
    let mut wraps = pair(&active, &standby);
    let said = record(2 << 20);
    active.program(0, &said);
    assert!(wraps.commit(PortId(1)));
    wraps.give(GROUP, "vif1", "vif2");
    wraps.order(GROUP, "vif2", &clients(1));
    wraps.forget(PortId(1));
    assert_eq!((standby.word(5), standby.word(1)), (0, 0));
    assert_eq!(wraps.lacks(GROUP, "vif2"), Lack::Record);
    standby.grow(standby.word(10).div_ceil(PAGE as u64) as usize);
    wraps.order(GROUP, "vif2", &clients(1));
    // Its program begins only now, and finds the order.
    assert_eq!(
        (standby.word(5), standby.word(1)),
        (REPLAY, said.len() as u64)
    );
    assert_eq!(standby.get(HEADER as usize, said.len()), said);
    // It dies before it has said anything: the next one gets the same.
    let third = Domain::with(1024);
    wraps.watch(GROUP, GRANTED, "vif3", PortId(3));
    attached(&mut wraps, "vif3", &third);
    wraps.give(GROUP, "vif2", "vif3");
    wraps.order(GROUP, "vif3", &clients(1));
    assert_eq!(third.get(HEADER as usize, said.len()), said);
    let status = wraps.status(GROUP, "vif3").unwrap();
    assert_eq!((status.handed, status.missing), (2, 0));
}

#[test]
fn first_server_is_told_to_begin_before_its_program_waits() {
    let (active, standby) = (Domain::with(1), Domain::with(1));
    let mut wraps = pair(&active, &standby);
    assert_eq!(wraps.lacks(GROUP, "vif1"), Lack::Order);
    wraps.order_live(GROUP, "vif1");
    assert_eq!(active.word(5), LIVE);
    assert_eq!(wraps.lacks(GROUP, "vif1"), Lack::Nothing);
}

#[test]
fn logger_that_is_started_again_reads_all_and_orders_what_was_given() {
    let (active, standby) = (Domain::with(256), Domain::with(256));
    let mut wraps = pair(&active, &standby);
    active.program(0, &record(5000));
    standby.program(WAITS, &[]);
    assert!(wraps.commit(PortId(1)));
    wraps.give(GROUP, "vif1", "vif2");
    // It is killed here.
    let mut wraps = pair(&active, &standby);
    assert!(wraps.resume(GROUP, "vif2", || clients(1)));
    assert_eq!(wraps.lacks(GROUP, "vif2"), Lack::Record);
    wraps.order(GROUP, "vif2", &clients(1));
    assert_eq!((standby.word(5), standby.clients().len()), (REPLAY, 11));
    // And of the active server's record, had it lived, nothing is missing.
    assert!(wraps.commit(PortId(1)));
    assert_eq!(wraps.status(GROUP, "vif1").unwrap().kept, 5000);
}

#[test]
fn a_look_that_finds_nothing_new_costs_one_copy_and_one_that_does_two() {
    let (active, standby) = (Domain::with(4), Domain::with(4));
    let mut wraps = pair(&active, &standby);
    active.program(0, &record(1000));
    assert!(wraps.commit(PortId(1)));
    let before = active.copies.get();
    assert!(wraps.commit(PortId(1)));
    assert_eq!(active.copies.get() - before, 1);
    active.program(0, &record(9000));
    assert!(wraps.commit(PortId(1)));
    assert_eq!(active.copies.get() - before, 3);
}

#[test]
fn program_that_outlives_its_agent_is_read_on_and_what_is_gone_ends_the_record() {
    let (active, standby) = (Domain::with(4), Domain::with(4));
    let mut wraps = pair(&active, &standby);
    active.program(0, &record(1000));
    wraps.find(GROUP, "vif1").unwrap().withdrawn = true;
    assert!(wraps.commit(PortId(1)));
    assert_eq!(wraps.status(GROUP, "vif1").unwrap().kept, 1000);
    active.gone.set(true);
    assert!(wraps.commit(PortId(1)), "nobody is held up for good");
    assert!(wraps.status(GROUP, "vif1").unwrap().ended);
}
