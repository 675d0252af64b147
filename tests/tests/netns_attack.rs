// SPDX-License-Identifier: GPL-3.0-only
//! Attacks through the real path: what is protected stays whole, and the logger stays small.

mod storm_plan;

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use rxl_tests::netns::attack::{Attack, BESIDE_A_STILL_WINDOW, BESIDE_ANY_WINDOW, flood, misdate};
use rxl_tests::netns::line::Fault;
use rxl_tests::netns::storm::PORT;
use rxl_tests::netns::storm::driver::{Mix, Plan, Storm};
use rxl_tests::netns::storm::protocol::Ask;
use rxl_tests::netns::topology::{GROUP, PATIENCE, SERVER, Topology};
use rxl_tests::netns::victim::End;
use storm_plan::plan;

type Outcome = Result<(), Box<dyn Error>>;

/// Environment variable with the number of connections that only ever send a SYN.
const HALF_OPEN: &str = "FT_HALF_OPEN";
/// So many without it: more than the logger tracks.
const FEW: u64 = 200_000;
/// What the logger may use for as many connections as it tracks, in KiB.
const MEMORY: u64 = 300 << 10;

#[test]
fn flood_of_half_open_connections_costs_bounded_memory_and_harms_no_protected_one() -> Outcome {
    let name = "flood_of_half_open_connections_costs_bounded_memory_and_harms_no_protected_one";
    let half_open = std::env::var(HALF_OPEN).map_or(Ok(FEW), |text| text.parse())?;
    let plan = Plan {
        clients: 100,
        mix: Mix::Still,
        ..plan(name)
    };
    let mut storm = Storm::start(&plan)?;
    let before = storm.topology().logger()?.hello()?.memory_kib;

    flood(storm.topology(), half_open / 2, plan.seed)?;
    let memory = storm.topology().logger()?.hello()?.memory_kib;
    storm.fail_over(End::Killed)?;
    flood(storm.topology(), half_open / 2, plan.seed ^ 1)?;

    let after = storm.topology().logger()?.hello()?.memory_kib;
    let counters = storm.topology().logger()?.totals(GROUP)?.counters;
    println!(
        "resident: {before} KiB before, {memory} KiB after half of {half_open} SYNs; {counters:?}"
    );
    let tally = storm.finish()?;
    println!("resident after the failover and the other half: {after} KiB\n{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert!(memory < MEMORY && after < MEMORY, "{memory}, {after} KiB");
    assert!(counters.frames >= half_open / 2, "{counters:?}");
    assert!(tally.moved >= 100, "{tally}");
    Ok(())
}

#[test]
fn forged_segments_and_storms_of_acknowledgements_are_borne() -> Outcome {
    let plan = Plan {
        clients: 4,
        mix: Mix::Long(8 << 20),
        failovers: 5,
        ..plan("forged_segments_and_storms_of_acknowledgements_are_borne")
    };
    // A hundred times as many segments as there should be.
    let (storm, attack) = Storm::start_after(&plan, |topology| {
        Attack::forge(topology, 30, BESIDE_A_STILL_WINDOW, plan.seed)
    })?;

    let tally = storm.run();

    let forged = attack.stop()?;
    let tally = tally?;
    println!("{forged:?}\n{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert!(forged.acks > 20 * forged.seen, "{forged:?}");
    assert!(forged.resets > 1000 && forged.beyond > 1000, "{forged:?}");
    assert!(tally.memory_kib < MEMORY, "{tally}");
    Ok(())
}

#[test]
fn forged_segments_outside_the_window_change_nothing() -> Outcome {
    forged_beside(&Plan {
        clients: 30,
        failovers: 10,
        ..plan("forged_segments_outside_the_window_change_nothing")
    })
}

#[test]
fn forged_segments_on_a_bad_line_change_nothing() -> Outcome {
    let mut plan = Plan {
        clients: 20,
        failovers: 10,
        ..plan("forged_segments_on_a_bad_line_change_nothing")
    };
    plan.layout.line = Some(Fault::of_percent(2, plan.seed));
    forged_beside(&plan)
}

#[test]
fn clock_of_a_forged_old_acknowledgement_does_not_stop_a_connection() -> Outcome {
    let plan = plan("clock_of_a_forged_old_acknowledgement_does_not_stop_a_connection");
    let mut topology = Topology::build(plan.layout)?;
    topology.serve()?;
    let connect = || TcpStream::connect((SERVER, PORT));
    let mut stream = topology.client().enter(connect)??;
    stream.set_read_timeout(Some(PATIENCE))?;
    let ask = Ask::Download {
        bytes: 600,
        seed: plan.seed,
    };
    let mut answer = [0; 600];
    for failed_over in [false, true] {
        // Linux predicts after a few.
        for _ in 0..5 {
            stream.write_all(&ask.encode())?;
            stream.read_exact(&mut answer)?;
        }
        misdate(&topology, &stream, &ask.encode(), 600, plan.seed)?;
        stream.write_all(&ask.encode())?;
        let heard = stream.read_exact(&mut answer);
        heard.map_err(|error| format!("failed over: {failed_over}: {error}"))?;
        if !failed_over {
            topology.crash()?;
        }
    }
    let counters = topology.logger()?.totals(GROUP)?.counters;
    assert_eq!((counters.recovered, counters.lost), (1, 0), "{counters:?}");
    Ok(())
}

/// Of each step of a connection three of each kind are forged.
fn forged_beside(plan: &Plan) -> Outcome {
    let (storm, attack) = Storm::start_after(plan, |topology| {
        Attack::forge(topology, 3, BESIDE_ANY_WINDOW, plan.seed)
    })?;

    let tally = storm.run();

    let forged = attack.stop()?;
    let tally = tally?;
    println!("{forged:?}\n{tally}");
    let unharmed = match plan.layout.line {
        Some(_) => tally.is_whole(),
        None => tally.is_clean(),
    };
    assert!(unharmed, "{tally}");
    assert!(
        forged.resets > 1000 && forged.beyond > 1000 && forged.acks > 1000,
        "{forged:?}"
    );
    assert!(tally.moved >= 200, "{tally}");
    Ok(())
}
