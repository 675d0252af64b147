// SPDX-License-Identifier: GPL-3.0-only
//! Runs whose logs leave memory for a store, and a store that fails.

use super::every_event::crash_everywhere;
use super::*;

/// An upload of many chunks, with an answer at the end, and one more request.
fn upload() -> Scenario {
    Scenario {
        script: Script {
            requests: vec![Request::new(30_000, 2000), Request::new(500, 3000)],
            chunk: 1000,
            ..Scenario::default().script
        },
        // The log of the upload does not fit in it.
        buffer_bytes: 8000,
        spill: Some(SpillPlan::sound(700)),
        ..Scenario::default()
    }
}

#[test]
fn crash_at_every_event_of_an_upload_that_spills() {
    let base = upload();
    let counters = clean(&base).status.counters;
    assert_eq!((counters.full_buffers, counters.unprotected), (0, 0));
    crash_everywhere(&base, Death::Silent);
    crash_everywhere(&base, Death::Resets);
}

#[test]
fn crash_at_every_event_of_an_upload_that_spills_and_truncates() {
    let base = Scenario {
        kind: "exchange",
        on_full: OnFull::Hold,
        buffer_bytes: 16_000,
        ..upload()
    };
    let fault_free = clean(&base);
    assert!(fault_free.status.counters.truncations > 0);
    crash_everywhere(&base, Death::Silent);
}

#[test]
fn restart_and_crash_during_an_upload_that_spills() {
    let base = upload();
    let fault_free = clean(&base);
    for restart in 0..fault_free.events {
        let faulty = Scenario {
            restarts: vec![restart],
            journal: restart % 2 == 0,
            crashes: vec![crash(restart + 2, Death::Silent)],
            ..base.clone()
        };
        assert!(assert_same(&faulty));
    }
}

#[test]
fn store_that_fails_at_any_call_fills_the_buffer_and_harms_no_stream() {
    let base = upload();
    for stores in 0..10 {
        let failing = Scenario {
            spill: Some(SpillPlan {
                stores,
                ..SpillPlan::sound(700)
            }),
            ..base.clone()
        };
        assert!(assert_same(&failing));
        let counters = run(&failing).status.counters;
        assert!(counters.spill_full > 0);
        assert_eq!((counters.full_unprotected, counters.spilled_bytes), (1, 0));
    }
}

#[test]
fn store_that_cannot_be_read_at_any_call_loses_the_connection_and_says_so() {
    let base = upload();
    let fault_free = clean(&base);
    for (loads, journal) in (0..10).flat_map(|loads| [(loads, false), (loads, true)]) {
        let got = run(&Scenario {
            spill: Some(SpillPlan {
                loads,
                ..SpillPlan::sound(700)
            }),
            journal,
            crashes: vec![crash(fault_free.events * 2 / 3, Death::Silent)],
            ..base.clone()
        });
        let counters = got.status.counters;
        assert_eq!((counters.lost, counters.recovered), (1, 0), "{:?}", got.log);
        assert_eq!((counters.spill_unreadable, counters.spilled_bytes), (1, 0));
        let told = got.log.iter().any(|line| line.contains("spill file"));
        assert!(told, "{:?}", got.log);
    }
}
