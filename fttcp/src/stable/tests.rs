// SPDX-License-Identifier: GPL-3.0-only
//! The log of one connection: order, overlap, bound, truncation.

use super::*;
use proptest::prelude::*;

#[test]
fn trap_22_overlap_keeps_what_came_first() {
    let mut log = StableBuffer::default();
    log.insert(4, b"EFGH", 10_000).unwrap();
    log.insert(2, b"cdefghij", 10_000).unwrap();
    assert!(log.has_gap());
    assert_eq!(log.stable(), 0);
    log.insert(0, b"abxx", 10_000).unwrap();
    assert_eq!(log.read(0, 100), b"abcdEFGHij");
    assert!(!log.has_gap());
    assert_eq!(log.len(), 10);
}

#[test]
fn insert_beyond_the_bound_is_refused_whole() {
    let mut log = StableBuffer::default();
    log.insert(0, &[1; 8], 10).unwrap();
    assert_eq!(log.insert(8, &[2; 3], 10), Err(Full));
    assert_eq!(log.insert(9, &[2; 1], 10), Err(Full));
    assert_eq!(log.insert(9, &[2; 1], 300), Err(Full));
    assert_eq!(log.stable(), 8);
    log.insert(8, &[2; 2], 10).unwrap();
    log.insert(0, &[9; 10], 10).unwrap();
    assert_eq!(log.read(0, 100), [1, 1, 1, 1, 1, 1, 1, 1, 2, 2]);
}

#[test]
fn memory_stays_within_the_bound_whatever_the_sizes() {
    const BOUND: usize = 100_000;
    for size in [1, 100, 1448, 5000, 60_000] {
        let mut log = StableBuffer::default();
        let mut at = 0;
        while log.insert(at, &vec![0; size], BOUND).is_ok() {
            at += size as u64;
            assert!(log.cost() <= BOUND, "{} of {size}", log.cost());
        }
        assert!(log.len() + size > BOUND);
    }
}

#[test]
fn room_to_spare_gives_way_to_what_lies_beyond_a_gap() {
    const BOUND: usize = 20_000;
    let mut log = StableBuffer::default();
    for at in (0..9000).step_by(100) {
        log.insert(at, &[1; 100], BOUND).unwrap();
    }
    let spare = log.cost() - log.len();
    let mut at = 10_000;
    while log.len() + 2000 < BOUND {
        log.insert(at, &[2; 500], BOUND).unwrap();
        at += 500;
        assert!(log.cost() <= BOUND, "{}, {spare} to spare", log.cost());
    }
    assert!(spare > 500);
    // Pieces follow the prefix one by one, and others are still beyond.
    log.insert(at + 100, &[3; 10], BOUND).unwrap();
    log.insert(9000, &[4; 1000], BOUND).unwrap();
    assert!(log.has_gap() && log.cost() <= BOUND, "{}", log.cost());
}

#[test]
fn truncate_keeps_positions_and_frees_memory() {
    let mut log = StableBuffer::default();
    log.insert(0, &[1; 20_000], 1 << 20).unwrap();
    log.insert(30_000, b"later", 1 << 20).unwrap();
    log.truncate(15_000);
    assert_eq!(
        (log.start(), log.stable(), log.len()),
        (15_000, 20_000, 5005)
    );
    assert_eq!(log.read(15_000, 9999).len(), 5000);
    log.truncate(99_999);
    assert_eq!((log.start(), log.stable()), (20_000, 20_000));
    assert!(log.has_gap());
    log.insert(20_000, &[2; 10_000], 1 << 20).unwrap();
    assert_eq!(log.read(29_999, 9999), b"\x02later");
    assert_eq!(log.len(), 10_005);
    log.truncate(30_005);
    assert_eq!((log.len(), log.cost()), (0, 0));
}

#[test]
fn logged_shows_prefix_and_pieces_within_a_range() {
    let mut log = StableBuffer::default();
    log.insert(0, b"abcdef", 10_000).unwrap();
    log.insert(8, b"ijkl", 10_000).unwrap();
    log.truncate(2);
    let seen: Vec<(u64, &[u8])> = log.logged(1, 9).collect();
    assert_eq!(seen, [(2, &b"cdef"[..]), (8, &b"ij"[..])]);
    assert_eq!(log.logged(6, 2).count(), 0);
}

proptest! {
    #[test]
    fn any_order_of_pieces_gives_the_stream(
        pieces in proptest::collection::vec((0usize..200, 1usize..60, 0u64..100), 1..60),
    ) {
        let stream: Vec<u8> = (0..260u32).map(|n| (n * 7) as u8).collect();
        let mut log = StableBuffer::default();
        let mut seen = vec![false; stream.len()];
        for (at, len, cut) in pieces {
            log.insert(at as u64, &stream[at..at + len], 1 << 20).unwrap();
            seen[at..at + len].fill(true);
            let prefix = seen.iter().take_while(|&&seen| seen).count();
            prop_assert_eq!(log.stable(), prefix as u64);
            log.truncate(cut.min(log.stable()).max(log.start()));
            let start = log.start() as usize;
            prop_assert_eq!(log.read(log.start(), usize::MAX), &stream[start..prefix]);
            let held = seen.iter().filter(|&&seen| seen).count() - start;
            prop_assert_eq!(log.len(), held);
            prop_assert_eq!(log.has_gap(), held > prefix - start);
        }
    }
}

/// One step of the logger logged bytes 4 to 12 and cut the log at 8: only what is left is written.
#[test]
fn log_that_grew_and_was_cut_beyond_what_is_known_conforms() {
    let mut log = StableBuffer::default();
    log.insert(0, b"abcd", 1000).unwrap();
    log.insert(8, b"ijkl", 1000).unwrap();
    assert!(log.conform((8, 12, false)));
    assert_eq!((log.start(), log.stable(), log.has_gap()), (8, 12, false));
    assert!(!log.conform((8, 13, false)));
}
