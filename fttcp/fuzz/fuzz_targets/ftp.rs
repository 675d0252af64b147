// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary FTP sessions through the plug-in: `scripts/fuzz ftp`.
//!
//! Input: pieces, each a byte whose highest bit says who speaks and the others how much, then that much. No panic, no
//! unbounded memory; a plug-in that is saved and restored after each piece says the same as one that is not.
#![no_main]

use fttcp::service::Kinds;
use libfuzzer_sys::fuzz_target;

/// More than a plug-in may remember: a command for each that waits, and a line of each direction.
const MOST: usize = 2 << 20;

fuzz_target!(|input: &[u8]| {
    let kinds = Kinds::default();
    let make = || kinds.plugin("ftp").expect("there is such a kind");
    let (mut one, mut other) = (make(), make());
    let mut said = [0; 2];
    let mut rest = input;
    while let Some((&head, more)) = rest.split_first() {
        let (piece, more) = more.split_at(usize::from(head & 0x7f).min(more.len()));
        rest = more;
        let server = head & 0x80 != 0;
        let at = &mut said[usize::from(server)];
        for plugin in [&mut one, &mut other] {
            if server {
                plugin.server_bytes(*at, piece);
            } else {
                plugin.client_bytes(*at, piece);
            }
        }
        *at += piece.len() as u64;
        let [news, again] = [&mut one, &mut other]
            .map(|plugin| std::iter::from_fn(|| plugin.news()).collect::<Vec<_>>());
        assert_eq!(news, again);
        assert_eq!(one.restart(said[1]), other.restart(said[1]));
        assert_eq!(one.link(), other.link());
        assert_eq!(one.close_expected(said[1]), other.close_expected(said[1]));
        let saved = other.save();
        assert!(saved.len() < MOST);
        other = make();
        assert!(other.restore(&saved), "it does not know its own");
    }
});
