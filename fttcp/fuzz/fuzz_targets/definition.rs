// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary definitions, and arbitrary streams through three that are right: `scripts/fuzz definition`.
//!
//! Input: a byte that chooses. 0: a definition's text follows. Else streams ([`fttcp_fuzz::streams`]).
#![no_main]

use fttcp::service::Defined;
use fttcp_fuzz::streams;
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
    streams(&mut defined.plugin(), &mut defined.plugin(), rest);
});
