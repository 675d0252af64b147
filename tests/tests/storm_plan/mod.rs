// SPDX-License-Identifier: GPL-3.0-only
//! What the tests with a storm have in common.

use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::storm::driver::{Mix, Plan};
use rxl_tests::netns::victim::End;

/// A storm over the plain house, of which each test changes what it is about.
pub(crate) fn plan(test: &str) -> Plan {
    Plan {
        layout: Layout {
            storm: Some(env!("CARGO_BIN_EXE_storm-server").into()),
            ..Layout::default()
        },
        clients: 100,
        mix: Mix::All,
        v6: false,
        moves: 0,
        failovers: 1,
        failback: false,
        ends: End::ALL.to_vec(),
        again_ms: None,
        // A server's close is held for a quarter of a second, and is another's business if it dies meanwhile: of servers
        // that all die sooner, a client never hears that they close.
        lives_ms: 300,
        pause_ms: 300,
        seed: Random::announced(test).number(),
    }
}
