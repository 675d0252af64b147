// SPDX-License-Identifier: GPL-3.0-only
//! Planned moves between living servers, with faults at every event of them.

use super::*;
use crate::control::UpgradeEnd;

/// Three exchanges on one connection, and a planned move at an event.
fn planned(base: Scenario, at_event: u64, drain_us: u64) -> Scenario {
    Scenario {
        kind: "exchange",
        upgrade: Some(UpgradePlan {
            at_event,
            drain_us,
            rollback_at: None,
            finish_at: None,
            new_dies: false,
        }),
        ..base
    }
}

/// With a fast path, which has the connection most of the time.
fn short(mut base: Scenario) -> Scenario {
    let requests = base.script.requests.clone();
    base.script.requests = [requests.clone(), requests].concat();
    Scenario {
        shortcut: Some(64 * 1024),
        ..base
    }
}

fn bases() -> [Scenario; 4] {
    let (even, uneven) = (keep_alive(), scripted(keep_alive()));
    [even.clone(), uneven.clone(), short(even), short(uneven)]
}

#[test]
fn upgrade_begun_at_every_event_at_rest_or_when_time_is_up() {
    for base in bases() {
        let events = clean(&base).events;
        let (mut quiet, mut replayed) = (0, 0);
        for at_event in 0..events {
            for drain_us in [0, 60_000_000] {
                let scenario = planned(base.clone(), at_event, drain_us);
                assert!(assert_same(&scenario), "an end stalled on a clean link");
                let upgrade = run(&scenario).status.upgrade.expect("there was one");
                assert_eq!((upgrade.lost, upgrade.returned), (0, 0), "{scenario:?}");
                quiet += upgrade.moved_quiet;
                replayed += upgrade.moved_by_replay;
            }
        }
        println!("{quiet} moved at rest, {replayed} by a replay");
        assert!(quiet > events / 4 && replayed > events / 4);
    }
}

#[test]
fn either_server_dies_at_every_event_of_an_upgrade() {
    for base in bases() {
        let events = clean(&base).events;
        let mut ends = [0, 0];
        for at_event in (0..events).step_by(7) {
            for (after, death) in (0..50).zip([Death::Silent, Death::Closes].into_iter().cycle()) {
                for (new_dies, drain_us) in [
                    (false, 0),
                    (true, 0),
                    (false, 60_000_000),
                    (true, 60_000_000),
                ] {
                    let mut faulty = planned(base.clone(), at_event, drain_us);
                    faulty.crashes = vec![crash(at_event + 1 + after, death)];
                    if let Some(plan) = &mut faulty.upgrade {
                        plan.new_dies = new_dies;
                    }
                    let got = run(&faulty);
                    assert_eq!(got.judge(&faulty), Ok(true), "{faulty:?}: {:#?}", got.log);
                    let ended = got.status.upgrade.and_then(|upgrade| upgrade.ended);
                    ends[0] += u64::from(ended == Some(UpgradeEnd::LeftDied));
                    ends[1] += u64::from(ended == Some(UpgradeEnd::ActiveDied));
                }
            }
        }
        println!("{ends:?} upgrades ended by the old and the new server's death");
        assert!(ends.into_iter().all(|count| count > events));
    }
}

#[test]
fn logger_restarted_at_every_event_of_an_upgrade() {
    for base in bases() {
        let events = clean(&base).events;
        for at_event in (0..events).step_by(7) {
            for after in 0..50 {
                for journal in [false, true] {
                    let mut faulty = planned(base.clone(), at_event, 0);
                    (faulty.restarts, faulty.journal) = (vec![at_event + 1 + after], journal);
                    assert!(assert_same(&faulty), "an end stalled on a clean link");
                }
            }
        }
    }
}

#[test]
fn upgrade_is_rolled_back_and_finished_at_every_event() {
    for base in bases() {
        let events = clean(&base).events;
        for at_event in (0..events).step_by(5) {
            for after in (0..60).step_by(3) {
                for finish in [false, true] {
                    let mut scenario = planned(base.clone(), at_event, 20_000);
                    let step = Some(at_event + 1 + after);
                    if let Some(plan) = &mut scenario.upgrade {
                        plan.rollback_at = step.filter(|_| !finish);
                        plan.finish_at = step.map(|step| step + if finish { 0 } else { 20 });
                    }
                    assert!(assert_same(&scenario), "an end stalled on a clean link");
                }
            }
        }
    }
}

#[test]
fn upgrade_over_lines_that_lose_and_double() {
    for seed in 0..200 {
        let mut scenario = planned(scripted(keep_alive()), 20 + seed % 150, (seed % 3) * 30_000);
        scenario.seed = seed;
        for wire in [&mut scenario.client_link, &mut scenario.server_link] {
            for link in [&mut wire.to, &mut wire.from] {
                (link.loss, link.duplicate) = (30, 10);
            }
        }
        if seed % 2 == 0 {
            scenario.shortcut = Some(6000);
        }
        assert_same(&scenario);
    }
}
