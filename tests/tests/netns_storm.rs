// SPDX-License-Identifier: GPL-3.0-only
//! Thousands of connections are moved while clients do everything that clients do, and every byte is compared.

mod storm_plan;

use std::error::Error;

use fttcp::control::Verify;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::storm::driver::{Mix, Plan, run};
use rxl_tests::netns::storm::tally::Doing;
use rxl_tests::netns::victim::End;
use storm_plan::plan;

type Outcome = Result<(), Box<dyn Error>>;

/// Environment variable with the number of connections to move in the long test.
const FAILOVERS: &str = "FT_FAILOVERS";

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

#[test]
fn hundred_failovers_in_a_row_on_the_same_connections() -> Outcome {
    // Two downloads that last for most of the run, and two connections with one request after the other.
    let plan = Plan {
        clients: 4,
        mix: Mix::Long(48 << 20),
        failovers: 100,
        lives_ms: 0,
        pause_ms: 100,
        ..plan("hundred_failovers_in_a_row_on_the_same_connections")
    };

    let tally = run(&plan)?;

    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert_eq!((tally.connections, tally.failovers), (4, 100));
    assert_eq!(tally.moved, 400);
    Ok(())
}

/// Of each pair, the second server ends while connections are being moved to it.
#[test]
fn replacement_that_ends_in_the_middle_of_a_failover_is_replaced() -> Outcome {
    let plan = Plan {
        clients: 40,
        failovers: 30,
        again_ms: Some(25),
        ..plan("replacement_that_ends_in_the_middle_of_a_failover_is_replaced")
    };

    let tally = run(&plan)?;

    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert_eq!(tally.failovers, 30);
    assert!(tally.interrupted >= 8, "{tally}");
    Ok(())
}

#[test]
fn failback_to_the_server_that_came_back() -> Outcome {
    let plan = Plan {
        clients: 20,
        failovers: 10,
        failback: true,
        ends: vec![End::Killed],
        ..plan("failback_to_the_server_that_came_back")
    };

    let tally = run(&plan)?;

    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert!(tally.moved >= 150);
    Ok(())
}

#[test]
fn thousands_of_connections_are_moved_at_once() -> Outcome {
    let plan = Plan {
        clients: 2500,
        mix: Mix::Still,
        failovers: 4,
        ..plan("thousands_of_connections_are_moved_at_once")
    };

    let tally = run(&plan)?;

    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert_eq!(tally.connections, 2500);
    assert_eq!(tally.moved, 4 * 2500);
    Ok(())
}

/// Every byte that a replacement says again is compared with a digest of all that was sent.
#[test]
fn nothing_is_lost_or_corrupted_with_every_byte_compared() -> Outcome {
    let base = plan("nothing_is_lost_or_corrupted_with_every_byte_compared");
    few(Plan {
        layout: Layout {
            verify: Verify::Full,
            ..base.layout
        },
        ..base
    })
}

/// Where the kernel takes no program.
#[test]
fn nothing_is_lost_or_corrupted_with_packet_sockets_alone() -> Outcome {
    let base = plan("nothing_is_lost_or_corrupted_with_packet_sockets_alone");
    few(Plan {
        layout: Layout {
            logger: ["--datapath", "packet"].map(str::to_owned).to_vec(),
            ..base.layout
        },
        ..base
    })
}

fn few(base: Plan) -> Outcome {
    const MOVES: u64 = 500;
    let plan = Plan {
        moves: MOVES,
        ..base
    };
    let tally = run(&plan)?;
    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert!(tally.moved >= MOVES);
    Ok(())
}
