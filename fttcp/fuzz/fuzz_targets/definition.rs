// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary definitions, and arbitrary streams through three that are right: `scripts/fuzz definition`. Nothing panics, no point to restart from lies beyond what was said, and a
//! plug-in that was saved and restored anywhere goes on as the first.
//!
//! Input: a byte that chooses. 0: a definition's text follows. Else pieces: a byte that says whose (bit 7), how many
//! bytes of the server are left out before (bits 4 to 6), and how many follow (bits 0 to 3).
#![no_main]

use fttcp::service::{Defined, Restart, Service};
use libfuzzer_sys::fuzz_target;

const COMMANDS: &str = r#"
[[command]]
match = ["GET"]
[[command]]
match = ["ADD"]
verb = "end"
[[command]]
match = ["L"]
answers = { until = ["E"] }
[[command]]
match = ["U"]
session = "keeps"
[[command]]
match = ["R"]
session = "forgets"
[[command]]
match = ["T"]
answers = "none"
[[command]]
match = ["Q"]
closes = true
answers = { count = 2 }
"#;

fn definition(choice: u8) -> String {
    let frame = match choice % 3 {
        0 => r#"{ delimiter = "\r\n" }"#,
        1 => r#"{ length = { offset = 1, width = 2, adjust = -1, endian = "little" } }"#,
        _ => "{ size = 5 }",
    };
    let verb = if choice % 3 == 1 {
        "verb_at = 3\nverb_is = \"prefix\""
    } else {
        ""
    };
    format!(
        "name = \"x\"\ngreeting = {}\n[request]\nframe = {frame}\nlongest = 99\n{verb}\n[answer]\nframe = {frame}\n{COMMANDS}",
        choice & 0x40 != 0
    )
}

fn run(mut plugin: impl Service, mut fresh: impl Service, mut input: &[u8]) {
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

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    if choice == 0 {
        if let Ok(text) = std::str::from_utf8(rest) {
            let _ = Defined::parse(text);
        }
        return;
    }
    let defined = Defined::parse(&definition(choice)).expect("it is right");
    run(defined.plugin(), defined.plugin(), rest);
});
