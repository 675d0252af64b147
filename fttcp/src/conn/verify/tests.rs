// SPDX-License-Identifier: GPL-3.0-only
//! What counts as the same stream, and which masked values the client gets.

use super::*;
use proptest::prelude::*;

fn masks() -> Masks {
    Masks::new(&["Date".to_owned()])
}

fn stream(date: &str, len: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\n\r\n").into_bytes();
    bytes.extend((0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    bytes
}

fn fed(bytes: &[u8], una: u64) -> Verifier {
    let mut verifier = Verifier::new(1024);
    for piece in bytes.chunks(777) {
        verifier.feed(&masks(), piece);
    }
    verifier.prune(una);
    verifier
}

#[test]
fn same_stream_with_another_date_verifies_and_keeps_the_sent_date() {
    let expected = Expected::new(fed(&stream("10:00", 5000), 0), Pieces::default());
    let mut fresh = Verifier::new(1024);
    for piece in stream("11:11", 6000).chunks(1000) {
        expected.compare(&mut fresh, &masks(), piece).unwrap();
    }
    assert_eq!(expected.verified(&fresh), fresh.end());
    let values: Vec<_> = fresh.values().cloned().collect();
    assert_eq!(values.len(), 1);
    assert_eq!(values[0].bytes, b" 10:00");
}

#[test]
fn a_changed_byte_anywhere_is_found() {
    let sent = stream("10:00", 5000);
    for una in [0, 3000, 5000] {
        let expected = Expected::new(fed(&sent, una), Pieces::default());
        for at in (0..sent.len()).step_by(41).chain([sent.len() - 1]) {
            let mut changed = sent.clone();
            changed[at] ^= 1;
            let mut fresh = Verifier::new(1024);
            let result = changed
                .chunks(900)
                .try_for_each(|piece| expected.compare(&mut fresh, &masks(), piece));
            let in_date = changed[at] != sent[at] && (23..29).contains(&at);
            assert_eq!(result.is_err(), !in_date, "byte {at}, una {una}");
            if let Err(found) = result {
                assert!(found.offset >= at as u64);
            }
        }
    }
}

#[test]
fn bytes_beyond_a_gap_are_compared_and_their_masked_values_kept() {
    let sent = stream("10:00", 3000);
    let mut ahead = Pieces::default();
    ahead.insert(20, &sent[20..900]);
    let expected = Expected::new(fed(&sent[..10], 0), ahead);
    let mut fresh = Verifier::new(1024);
    let new = stream("22:22", 3000);
    expected.compare(&mut fresh, &masks(), &new).unwrap();
    assert_eq!(fresh.values().next().unwrap().bytes, b" 10:00");
    let mut changed = sent;
    changed[880] ^= 1;
    let mut fresh = Verifier::new(1024);
    let found = expected
        .compare(&mut fresh, &masks(), &changed)
        .unwrap_err();
    assert_eq!(found.offset, 880);
}

#[test]
fn nothing_is_verified_between_borders_but_the_head_and_the_tail() {
    let sent = stream("10:00", 5000);
    let expected = Expected::new(fed(&sent, 0), Pieces::default());
    let mut fresh = Verifier::new(1024);
    for (to, verified) in [
        (500, 500),
        (1500, 1024),
        (2047, 1024),
        (2048, 2048),
        (5030, 5030),
    ] {
        let from = fresh.end() as usize;
        expected
            .compare(&mut fresh, &masks(), &sent[from..to])
            .unwrap();
        assert_eq!(expected.verified(&fresh), verified, "at {to}");
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same_digests(sizes in proptest::collection::vec(1usize..3000, 1..20)) {
        let bytes = stream("10:00", 9000);
        let whole = fed(&bytes, 0);
        let mut pieces = Verifier::new(1024);
        let (mut at, mut sizes) = (0, sizes.into_iter().cycle());
        while at < bytes.len() {
            let to = (at + sizes.next().unwrap_or(1)).min(bytes.len());
            pieces.feed(&masks(), &bytes[at..to]);
            at = to;
        }
        prop_assert_eq!(&pieces.borders, &whole.borders);
        prop_assert_eq!(&pieces.tail, &whole.tail);
    }
}

/// The first server's head is lost on its way, the second's is sent, the third must not say another.
#[test]
fn value_that_an_unfinished_replacement_has_sent_is_kept_for_the_next() {
    let sent = stream("10:00", 3000);
    for (released, kept) in [(0, b" 22:22"), (26, b" 11:22"), (600, b" 11:11")] {
        let mut ahead = Pieces::default();
        ahead.insert(100, &sent[100..900]);
        let mut expected = Expected::new(Verifier::new(1024), ahead);
        let mut second = Verifier::new(1024);
        let said = &stream("11:11", 3000)[..600];
        expected.compare(&mut second, &masks(), said).unwrap();
        expected.keep(&second, released);
        let mut third = Verifier::new(1024);
        let said = stream("22:22", 3000);
        expected.compare(&mut third, &masks(), &said).unwrap();
        assert_eq!(third.values().next().unwrap().bytes, kept, "{released}");
    }
}
