// SPDX-License-Identifier: GPL-3.0-only
//! Thousands of connections are moved while clients do everything that clients do, and every byte is compared.

use std::error::Error;

use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::storm::driver::{Mix, Plan, run};
use rxl_tests::netns::storm::tally::Doing;
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// Environment variable with the number of connections to move in the long test.
const FAILOVERS: &str = "FT_FAILOVERS";

fn plan(test: &str) -> Plan {
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
        ends: End::ALL.to_vec(),
        pause_ms: 300,
        seed: Random::announced(test).number(),
    }
}

#[test]
fn no_connection_is_lost_or_corrupted_whatever_it_does() -> Outcome {
    let moves = std::env::var(FAILOVERS).map_or(Ok(2000), |text| text.parse())?;
    let plan = Plan {
        moves,
        ..plan("no_connection_is_lost_or_corrupted_whatever_it_does")
    };

    let tally = run(&plan)?;

    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert!(tally.moved >= moves);
    for doing in [
        Doing::Download,
        Doing::Upload,
        Doing::ServerWindow,
        Doing::ClientWindow,
        Doing::Echo,
        Doing::HalfClose,
        Doing::ServerCloses,
        Doing::Idle,
        Doing::Http,
    ] {
        assert!(tally.caught.contains_key(&doing), "no {doing:?}: {tally}");
    }
    Ok(())
}
