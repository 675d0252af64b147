// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary texts as orders to the agent in a guest, and as its answers: `scripts/fuzz orders`. Nothing panics; an order that
//! is understood says itself again, and an answer is short enough for its node.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolstack::guest::{Answer, Order};

fuzz_target!(|text: &str| {
    match text.parse::<Order>() {
        Ok(order) => assert_eq!(order.to_string().parse(), Ok(order)),
        Err(malformed) => assert!(!malformed.why.is_empty()),
    }
    if let Ok(answer) = text.parse::<Answer>() {
        let said = answer.to_string();
        assert!(said.len() <= answer.id.len() + 2000 && !said.contains('\n'));
    }
});
