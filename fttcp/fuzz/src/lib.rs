// SPDX-License-Identifier: GPL-3.0-only
//! What fuzz targets have in common.

use fttcp::service::{Restart, Service};

/// Arbitrary streams through a plug-in for requests and answers, and through one that is restored from what the first has saved
/// before each piece. Nothing panics, no point to restart from lies beyond what was said, and a plug-in that was saved and
/// restored anywhere goes on as the first.
///
/// Input: pieces, each a byte that says whose (bit 7), how many bytes of the server are left out before (bits 4 to 6), and how
/// many follow (bits 0 to 3).
pub fn streams(plugin: &mut dyn Service, fresh: &mut dyn Service, mut input: &[u8]) {
    let (mut client, mut server, mut taken) = (0_u64, 0_u64, Restart::default());
    while let Some((&head, rest)) = input.split_first() {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(head & 15)));
        input = rest;
        assert!(fresh.restore(&plugin.save()));
        if head & 0x80 == 0 {
            plugin.client_bytes(client, piece);
            fresh.client_bytes(client, piece);
            client += piece.len() as u64;
        } else {
            server += u64::from(head >> 4 & 7);
            plugin.server_bytes(server, piece);
            fresh.server_bytes(server, piece);
            server += piece.len() as u64;
        }
        assert_eq!(plugin.save(), fresh.save());
        let _ = (
            plugin.verb(server),
            plugin.close_expected(server),
            plugin.complaint(),
        );
        if let Some(at) = plugin.restart(server) {
            assert!(at.client <= client && at.server <= server);
            assert!(at.client >= taken.client && at.server >= taken.server);
            plugin.restarted(at);
            taken = at;
        }
    }
    plugin.rewind(taken);
}
