// SPDX-License-Identifier: GPL-3.0-only
//! A log whose beginning is stored elsewhere says the same as one in memory, and keeps no chunk longer than needed.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::sim::{MemorySpill, SpillPlan};
use proptest::prelude::*;

fn store(plan: SpillPlan) -> (Store, Rc<Cell<usize>>) {
    let spill = MemorySpill::new(plan);
    let used = spill.used();
    (Store::new(Box::new(spill)), used)
}

fn all(log: &StableBuffer) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let bytes = log.fetch(log.start() + all.len() as u64, 1000).unwrap();
        if bytes.is_empty() {
            return all;
        }
        all.extend_from_slice(&bytes);
    }
}

#[test]
fn chunks_are_freed_when_the_log_is_cut_and_when_it_is_gone() {
    let (store, used) = store(SpillPlan::sound(10));
    let mut log = StableBuffer::default();
    log.insert(0, &[1; 95], 100).unwrap();
    log.spill(30, 1000, &store).unwrap();
    assert_eq!((used.get(), log.spilled(), log.len()), (7, 70, 95));
    log.truncate(19);
    assert_eq!((used.get(), log.start(), log.len()), (6, 19, 76));
    log.truncate(75);
    assert_eq!((used.get(), log.start(), log.len()), (0, 75, 20));
    log.spill(0, 1000, &store).unwrap();
    assert_eq!(used.get(), 2);
    log.clear();
    assert_eq!((used.get(), log.start(), log.stable()), (0, 95, 95));
    log.insert(95, &[2; 20], 100).unwrap();
    log.spill(0, 1000, &store).unwrap();
    assert_eq!(used.get(), 2);
    drop(log);
    assert_eq!(used.get(), 0);
}

#[test]
fn what_is_not_stored_stays_in_memory() {
    let plan = SpillPlan::sound(10);
    let (store, used) = store(SpillPlan { stores: 3, ..plan });
    let mut log = StableBuffer::default();
    let stream: Vec<u8> = (0..50).collect();
    log.insert(0, &stream, 100).unwrap();
    log.spill(0, 25, &store).unwrap();
    assert_eq!(used.get(), 2, "no more than it may");
    assert_eq!(log.spill(0, 1000, &store), Err(Full));
    assert_eq!((used.get(), all(&log)), (3, stream));
}

#[test]
fn store_that_fails_is_noticed_by_all_who_read() {
    let plan = SpillPlan::sound(10);
    let (store, _) = store(SpillPlan { loads: 0, ..plan });
    let mut log = StableBuffer::default();
    log.insert(0, &[1; 50], 100).unwrap();
    log.spill(20, 1000, &store).unwrap();
    assert_eq!(log.fetch(29, 1), Err(Unreadable));
    assert_eq!(log.fetch(30, 5).as_deref(), Ok(&[1; 5][..]));
    assert_eq!(log.contradicts(25, &[1; 10]), Err(Unreadable));
    assert_eq!(log.contradicts(30, &[1; 10]), Ok(false));
    assert!(postcard::to_allocvec(&log).is_err());
}

proptest! {
    #[test]
    fn spilled_log_says_what_a_plain_one_does(
        chunk in 1usize..40,
        steps in proptest::collection::vec(
            (0usize..400, 1usize..60, 0u64..400, 0usize..120, 0u8..4), 1..60),
    ) {
        let stream: Vec<u8> = (0..500u32).map(|n| (n * 7) as u8).collect();
        let (store, used) = store(SpillPlan::sound(chunk));
        let (mut plain, mut log) = (StableBuffer::default(), StableBuffer::default());
        for (at, len, cut, keep, lie) in steps {
            let data: Vec<u8> = stream[at..at + len].iter().map(|byte| byte ^ (lie / 3)).collect();
            let there = plain.stable().saturating_sub(at as u64).min(len as u64) as usize;
            if at as u64 >= plain.start() {
                prop_assert_eq!(log.contradicts(at as u64, &data), plain.contradicts(at as u64, &data));
                let (start, found) = log.fetch_spilled(at as u64, len).unwrap();
                prop_assert_eq!(start, at as u64);
                prop_assert!(found.len() <= there);
                prop_assert_eq!(&found[..], plain.read(start, found.len()));
            }
            for log in [&mut plain, &mut log] {
                log.insert(at as u64, &data, 1 << 20).unwrap();
                log.truncate(cut);
            }
            log.spill(keep, u64::MAX, &store).unwrap();
            prop_assert!(log.prefix.len() < keep.max(chunk) + 1);
            prop_assert_eq!((log.start(), log.stable()), (plain.start(), plain.stable()));
            prop_assert_eq!((log.len(), log.has_gap()), (plain.len(), plain.has_gap()));
            prop_assert_eq!(all(&log), plain.read(plain.start(), usize::MAX));
            prop_assert_eq!(used.get() * chunk, log.spilled() as usize);
            let image = postcard::to_allocvec(&log).unwrap();
            prop_assert_eq!(&image, &postcard::to_allocvec(&plain).unwrap());
        }
        drop(log);
        prop_assert_eq!(used.get(), 0);
    }
}
