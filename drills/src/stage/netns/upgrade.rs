// SPDX-License-Identifier: GPL-3.0-only
//! Upgrades in namespaces: the standby is the new version; connections move to it, back, or it is finished.

use std::time::Duration;

use fttcp::control::Request;
use rxl_tests::netns::topology::GROUP;

use super::Netns;
use crate::engine::Told;
use crate::stage::Clock;

impl Netns {
    /// Begins to move connections to the standby.
    pub(super) fn upgrade(&mut self, drain: Duration, clock: Clock<'_>) -> Result<(), String> {
        let standbys = self.status()?.spec.standbys;
        let interface = standbys
            .into_iter()
            .next()
            .ok_or("there is no standby to upgrade to")?;
        let at = clock.now();
        self.topology.logger()?.request(&Request::Upgrade {
            group: GROUP.to_owned(),
            interface,
            drain_ms: u32::try_from(drain.as_millis()).unwrap_or(u32::MAX),
        })?;
        let detail = format!(
            "connections move to the new version, drain {} ms",
            drain.as_millis()
        );
        clock.begun(at, "upgrade", detail);
        self.topology.take_over();
        self.upgrading = Some(at);
        Ok(())
    }

    /// Begins to move them back.
    pub(super) fn roll_back(&mut self, clock: Clock<'_>) -> Result<(), String> {
        let at = clock.now();
        let group = GROUP.to_owned();
        self.topology
            .logger()?
            .request(&Request::Rollback { group })?;
        clock.begun(at, "rollback", "connections move back to the old version");
        self.topology.take_over();
        self.upgrading = Some(at);
        Ok(())
    }

    /// Lets the old version go; another server of the new one becomes the standby.
    pub(super) fn finish(&mut self, clock: Clock<'_>) -> Result<(), String> {
        let at = clock.now();
        let group = GROUP.to_owned();
        self.topology
            .logger()?
            .request(&Request::Finish { group })?;
        clock.begun(at, "finish", "the old version goes away");
        if let Some(told) = self.upgrading {
            self.drained(told, clock)?;
        }
        self.upgrading = None;
        self.topology.add_standby()?;
        (clock.tell)(Told::Over {
            at: clock.now(),
            detail: "a new standby is ready".to_owned(),
            recovered: 0,
            lost: 0,
        });
        Ok(())
    }

    /// Tells when the last connection has left the other version.
    pub(super) fn drained(&mut self, told: Duration, clock: Clock<'_>) -> Result<(), String> {
        let status = self
            .status()?
            .upgrade
            .ok_or("the logger knows of no upgrade")?;
        let Some(took) = status.drained_us else {
            return Ok(());
        };
        self.upgrading = None;
        let took = Duration::from_micros(took);
        (clock.tell)(Told::Over {
            at: told + took,
            detail: format!(
                "{} connections moved at rest, {} in the middle of something, {} ended, {} tries failed, {:.1} ms after the order",
                status.moved_quiet,
                status.moved_by_replay,
                status.lost,
                status.returned,
                took.as_secs_f64() * 1e3
            ),
            recovered: status.moved_quiet + status.moved_by_replay,
            lost: status.lost,
        });
        Ok(())
    }
}
