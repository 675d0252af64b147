// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary HTTP connections through the plug-in: `scripts/fuzz http`.
//!
//! Input: pieces, each a byte and what it announces: whose it is (bit 7), how many bytes of the server are left out
//! before (bits 5 and 6, in dozens), and how many follow (the others). No panic, no unbounded memory; no point to restart
//! from lies beyond what was said; an error reply is a whole response of which nothing more is due; and a plug-in that is
//! saved and restored after each piece says the same as one that is not.
#![no_main]

use fttcp::service::{Kinds, Service, UnderWay, Verb};
use libfuzzer_sys::fuzz_target;

/// More than a plug-in may remember: a validator for each request that waits, and a head of each direction.
const MOST: usize = 2 << 20;

fn check(plugin: &dyn Service, (client, server): (u64, u64)) {
    if let Verb::Resume(request) = plugin.verb(server) {
        assert!(request.start < request.end && request.end <= client);
        let said = vec![b'a'; (request.end - request.start) as usize];
        if plugin.ask(server, &said).is_some() {
            plugin.judge(server, b"HTTP/1.1 206 Partial Content\r\n\r\n");
        }
    }
    if let Some(UnderWay { request, .. }) = plugin.under_way(server) {
        assert!(request.start < request.end && request.start <= client);
    }
    if let Some(reply) = plugin.error_reply(server) {
        assert!(reply.starts_with(b"HTTP/1.1 502 "));
    }
}

fuzz_target!(|input: &[u8]| {
    let kinds = Kinds::default();
    let make = || kinds.plugin("http").expect("there is such a kind");
    let (mut one, mut other) = (make(), make());
    let (mut client, mut server) = (0_u64, 0_u64);
    let mut rest = input;
    while let Some((&head, more)) = rest.split_first() {
        let (piece, more) = more.split_at(usize::from(head & 0x1f).min(more.len()));
        rest = more;
        let left_out = u64::from(head >> 5 & 3) * 12;
        for plugin in [&mut one, &mut other] {
            if head & 0x80 == 0 {
                plugin.client_bytes(client, piece);
            } else {
                plugin.server_bytes(server + left_out, piece);
            }
        }
        if head & 0x80 == 0 {
            client += piece.len() as u64;
        } else {
            server += left_out + piece.len() as u64;
        }
        check(one.as_ref(), (client, server));
        let restart = one.restart(server / 2);
        assert_eq!(restart, other.restart(server / 2));
        if let Some(restart) = restart {
            assert!(restart.client <= client && restart.server <= server / 2);
            one.restarted(restart);
            other.restarted(restart);
        }
        assert_eq!(one.verb(server), other.verb(server));
        assert_eq!(one.close_expected(server), other.close_expected(server));
        assert_eq!(one.error_reply(server), other.error_reply(server));
        let saved = other.save();
        assert!(saved.len() < MOST);
        other = make();
        assert!(other.restore(&saved), "it does not know its own");
    }
});
