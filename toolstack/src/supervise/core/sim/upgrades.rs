// SPDX-License-Identifier: GPL-3.0-only
//! Upgrades, with every fault at every step.

use super::*;
use crate::supervise::care::{UpgradeOrder, UpgradeStage};

fn next_version(rollback_ms: u64) -> UpgradeOrder {
    let mut to = plan(1, StandbyMode::Booted).member;
    to.source = "web2.cfg".into();
    to.config.name = "next".into();
    UpgradeOrder {
        to,
        drain_ms: 1000,
        rollback_ms,
        health: Some("true".into()),
    }
}

impl Sim {
    fn begin_upgrade(&mut self, rollback_ms: u64) {
        let now = self.now_ms;
        self.core
            .upgrade(NAME, next_version(rollback_ms), now)
            .unwrap();
        self.collect();
    }

    fn stage(&self) -> Option<UpgradeStage> {
        self.group().upgrade().map(|upgrade| upgrade.stage)
    }

    fn run_until(&mut self, stage: impl Fn(Option<UpgradeStage>) -> bool) {
        for _ in 0..2000 {
            if stage(self.stage()) {
                return;
            }
            self.step();
        }
        panic!("it stays in {:?}", self.stage());
    }

    /// The names of the domains, without their numbers.
    fn versions(&self) -> Vec<&str> {
        let names = self.guests.values().map(|guest| guest.name.as_str());
        names.filter_map(|name| name.split('-').next()).collect()
    }
}

#[test]
fn upgrade_moves_to_the_new_version_and_renews_the_standbys() {
    for (standbys, mode) in [
        (0, StandbyMode::Booted),
        (2, StandbyMode::Booted),
        (1, StandbyMode::Paused),
    ] {
        let mut sim = Sim::new(tireless(standbys, mode), 3);
        sim.run_ms(20_000);
        sim.begin_upgrade(5000);
        sim.run_until(|it| matches!(it, Some(UpgradeStage::Holding { .. })));
        // The old version is kept until then.
        assert!(sim.versions().contains(&"web"), "{:?}", sim.guests);
        sim.run_ms(60_000);
        sim.assert_whole("upgraded");
        assert!(
            sim.versions().iter().all(|it| *it == "next"),
            "{:?}",
            sim.guests
        );
        assert_eq!(sim.failovers, 0);
        let again = sim.core.rollback(NAME, sim.now_ms).unwrap_err();
        assert_eq!(again.code, Code::State);
    }
}

#[test]
fn rollback_at_any_time_leaves_the_old_version() {
    for at in 0..60 {
        let mut sim = Sim::new(tireless(1, StandbyMode::Booted), at + 1);
        sim.run_ms(20_000);
        sim.begin_upgrade(600_000);
        for _ in 0..at {
            sim.step();
        }
        // While the logger is being told, it has to be said again.
        while let Err(error) = sim.core.rollback(NAME, sim.now_ms) {
            assert_eq!(error.code, Code::State, "{error}");
            sim.step();
        }
        sim.collect();
        sim.run_ms(120_000);
        sim.assert_whole(&format!("rolled back at {at}"));
        assert_eq!(sim.versions(), ["web", "web"], "at {at}");
        assert_eq!(sim.failovers, 0);
    }
}

#[test]
fn new_version_that_is_not_healthy_or_does_not_boot_never_serves() {
    let mut sim = Sim::new(plan(1, StandbyMode::Booted), 3);
    for sick in [true, false] {
        sim.run_ms(20_000);
        (sim.sick, sim.never_boots) = (sick, !sick);
        sim.begin_upgrade(5000);
        sim.run_until(|it| it.is_none());
        sim.never_boots = false;
        sim.run_ms(20_000);
        sim.assert_whole("as before");
        assert_eq!(sim.versions(), ["web", "web"]);
    }
}

/// Every fault at every step of an upgrade: whole afterwards, by one version or the other, and the upgrade is over.
#[test]
fn every_fault_at_every_step_of_an_upgrade_completes_or_undoes_it() {
    for standbys in [0, 1] {
        for fault in FAULTS {
            for at in 0..45 {
                let mut sim = Sim::new(tireless(standbys, StandbyMode::Booted), at + 1);
                sim.run_ms(12_000);
                sim.begin_upgrade(4000);
                for _ in 0..at {
                    sim.step();
                }
                sim.inject(fault);
                sim.run_ms(25_000);
                sim.never_boots = false;
                sim.run_ms(90_000);
                let what = format!("{fault:?} at {at} of an upgrade, {standbys} standbys");
                assert_eq!(sim.stage(), None, "{what}");
                sim.assert_whole(&what);
                // A standby of the older version may take over after the end: better than nobody.
                let story = sim.core.events(0).0;
                let after = story
                    .iter()
                    .skip_while(|event| event.kind != EventKind::UpgradeMoved);
                let late = after
                    .filter(|event| event.kind == EventKind::FailoverSent)
                    .count();
                let versions = sim.versions();
                assert!(
                    late > 0 || versions.windows(2).all(|two| two[0] == two[1]),
                    "{what}: {versions:?}"
                );
            }
        }
    }
}

/// The server that an upgrade leads away from dies or hangs before, during and after the move.
#[test]
fn death_of_the_member_that_is_left_ends_the_upgrade() {
    let mut sim = Sim::new(tireless(1, StandbyMode::Booted), 3);
    sim.run_ms(20_000);
    sim.begin_upgrade(600_000);
    sim.run_until(|it| matches!(it, Some(UpgradeStage::Holding { .. })));
    let old = sim.group().upgrade().and_then(|it| it.old.clone()).unwrap();
    sim.crash(Some(old.domid));
    sim.run_ms(60_000);
    assert_eq!(sim.stage(), None);
    sim.assert_whole("without the old one");
    assert_eq!((sim.versions(), sim.failovers), (vec!["next", "next"], 0));
}

#[test]
fn upgrade_that_does_not_fit_is_refused() {
    let mut sim = Sim::new(plan(1, StandbyMode::Booted), 3);
    let early = sim
        .core
        .upgrade(NAME, next_version(0), sim.now_ms)
        .unwrap_err();
    assert_eq!(early.code, Code::State);
    sim.run_ms(20_000);
    let unknown = sim.core.upgrade("mail", next_version(0), 0).unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    sim.begin_upgrade(0);
    let twice = sim
        .core
        .upgrade(NAME, next_version(0), sim.now_ms)
        .unwrap_err();
    assert!(
        twice.cause.starts_with("an upgrade is under way"),
        "{twice}"
    );
}
