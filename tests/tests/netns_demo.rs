// SPDX-License-Identifier: GPL-3.0-only
//! The demo without Xen: every claim that it makes, control run included.

use rxl_tests::demo::report::Report;
use rxl_tests::netns::demo::{NetnsDemo, run};

#[test]
fn demo_claims_hold_and_its_timeline_is_whole() -> Result<(), String> {
    let mut runs = Vec::new();
    for protected in [false, true] {
        runs.push(run(&NetnsDemo {
            protected,
            file_bytes: 16 << 20,
            ..NetnsDemo::default()
        })?);
    }
    let words: Vec<String> = runs[1].events.iter().map(|e| e.name.clone()).collect();

    let report = Report::new("netns", vec![], runs);

    assert!(report.holds(), "{}", report.text());
    for word in [
        "start",
        "crash",
        "detection",
        "handshake",
        "hand-over",
        "first new client byte",
        "done",
    ] {
        assert!(
            words.iter().any(|name| name == word),
            "{word} is missing: {words:?}"
        );
    }
    Ok(())
}
