// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary drill files: `scripts/fuzz drill_plan`. Nothing panics; what is wrong has a line and a cause; what is right can be
//! made shorter, and keeps within the bounds that a drill has.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rxl_drills::plan::Plan;

fuzz_target!(|text: &str| {
    match Plan::parse("a.toml", text) {
        Ok(plan) => {
            assert!(plan.duration <= Duration::from_secs(3600));
            assert!(!plan.loads.is_empty());
            let shorter = plan.clone().shortened(0.25);
            assert!(shorter.duration <= plan.duration);
            assert_eq!(shorter.faults.len(), plan.faults.len());
        }
        Err(error) => {
            assert!(!error.text.is_empty());
            assert!((1..=text.split('\n').count()).contains(&error.line));
        }
    }
});
