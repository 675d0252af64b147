// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary bytes as the record of a north side wrap: `scripts/fuzz record`. Nothing panics; what is read as a record is
//! written as one that reads the same, in no more room than it says it takes; a replay ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rxl_wrap::again::Again;
use rxl_wrap::record::{Record, decode, pairs};
use rxl_wrap::session::Player;

fuzz_target!(|input: &[u8]| {
    let (mut rest, mut records) = (input, 0);
    while let Some((record, length)) = decode(rest) {
        let mut again = vec![0; record.room()];
        let written = record.encode(&mut again);
        assert_eq!(decode(&again[..written]), Some((record, written)));
        if let Record::Ready { list, .. } = record {
            assert!(pairs(list).count() <= list.len());
        }
        if let Record::Accept { peer, .. } = record {
            let mut again = Again::new(input);
            again.told("10.0.0.1:999\n[::1]:80\nnonsense");
            again.came(5, peer);
            let _ = (
                again.comes(records + 1, peer),
                again.knows(peer),
                again.lives(5),
            );
        }
        rest = &rest[length..];
        records += 1;
    }
    let mut player = Player::new(input);
    while !player.is_used_up() {
        let asked = player.next("anything", |record| {
            Some(matches!(record, Record::Stop { .. }))
        });
        if asked.is_err() {
            break;
        }
    }
    assert!(player.number() <= records);
    let _ = Player::new(input).clock(usize::from(input.first().copied().unwrap_or(0)));
});
