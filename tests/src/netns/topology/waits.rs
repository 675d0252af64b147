// SPDX-License-Identifier: GPL-3.0-only
//! Waiting for what the logger tells, by asking it again and again.

use std::thread;
use std::time::{Duration, Instant};

use fttcp::control::{GroupStatus, UpgradeStatus};

use super::{GROUP, PATIENCE, Topology};
use crate::netns::logger::Logger;

/// From one question to the next. Asked without a pause, loggers, which go before all others (nice -20), and tests took both
/// processors of a machine with two, and servers that were waited for did nothing for seconds.
const LOOK: Duration = Duration::from_millis(1);

impl Topology {
    /// Waits until the logger has closed `interface`, which it does when the kernel tells it that it is gone.
    ///
    /// # Errors
    /// It is still open after [`PATIENCE`].
    pub fn wait_closed(&self, interface: &str) -> Result<(), String> {
        self.wait(&format!("{interface} to be closed"), |logger| {
            let ports = logger.hello()?.ports;
            Ok(ports
                .iter()
                .all(|port| port.interface != interface)
                .then_some(()))
        })
    }

    /// Waits until the last connection of the failover under way is moved or given up. Clients may be content before:
    /// what they wanted had been sent by the dead server.
    ///
    /// # Errors
    /// It is not done after [`PATIENCE`], or there is none.
    pub fn wait_moved(&self) -> Result<GroupStatus, String> {
        self.wait("the failover to be done", |logger| {
            let status = logger.status(GROUP)?;
            let failover = status.failover.as_ref().ok_or("no failover was begun")?;
            Ok(failover.done_us.is_some().then_some(status))
        })
        .map_err(|error| {
            format!(
                "{error}\n{:?}",
                self.logger().and_then(|it| it.status(GROUP))
            )
        })
    }

    /// Waits until so many connections have been moved, in all failovers together. One may not be done: the logger waits
    /// longer than this for a server to open a connection again.
    ///
    /// # Errors
    /// They are fewer after [`PATIENCE`].
    pub fn wait_recovered(&self, count: u64) -> Result<(), String> {
        self.wait(&format!("{count} connections to be moved"), |logger| {
            let counters = logger.totals(GROUP)?.counters;
            Ok((counters.recovered >= count).then_some(()))
        })
    }

    /// Waits until the logger has logged what is looked for: it comes through a pipe, later than what its clients see.
    ///
    /// # Errors
    /// It has not after [`PATIENCE`].
    pub fn wait_told(&self, what: &str, found: impl Fn(&str) -> bool) -> Result<(), String> {
        self.wait(what, |logger| Ok(found(&logger.log()).then_some(())))
    }

    /// Waits until every connection has left the server that an upgrade or a rollback moves them from.
    ///
    /// # Errors
    /// One is still there after [`PATIENCE`], or there is no upgrade.
    pub fn wait_drained(&self) -> Result<UpgradeStatus, String> {
        self.wait("all connections to leave", |logger| {
            let upgrade = logger.status(GROUP)?.upgrade;
            let upgrade = upgrade.ok_or("no upgrade was begun")?;
            Ok(upgrade.drained_us.is_some().then_some(upgrade))
        })
    }

    /// Waits until so many connections are protected.
    ///
    /// # Errors
    /// They are fewer after [`PATIENCE`].
    pub fn wait_protected(&self, count: u64) -> Result<(), String> {
        self.wait(&format!("{count} connections"), |logger| {
            let counters = logger.totals(GROUP)?.counters;
            Ok((counters.protected >= count).then_some(()))
        })
    }

    /// Waits until at most so many connections are protected.
    ///
    /// # Errors
    /// They are more after [`PATIENCE`].
    pub fn wait_protected_at_most(&self, count: u64) -> Result<(), String> {
        self.wait(&format!("at most {count} connections"), |logger| {
            let counters = logger.totals(GROUP)?.counters;
            Ok((counters.protected <= count).then_some(()))
        })
    }

    /// Waits until no connection is protected any more: all are closed at both ends.
    ///
    /// # Errors
    /// One is still open after [`PATIENCE`].
    pub fn wait_idle(&self) -> Result<(), String> {
        self.wait("all connections to be closed", |logger| {
            let counters = logger.status(GROUP)?.counters;
            Ok((counters.protected == 0).then_some(()))
        })
    }

    /// Waits until the logger holds at most `bytes` of its clients: all else is answered, and acknowledged.
    ///
    /// # Errors
    /// It holds more after [`PATIENCE`].
    pub fn wait_answered(&self, bytes: u64) -> Result<(), String> {
        self.wait(&format!("{bytes} bytes to be left"), |logger| {
            let counters = logger.status(GROUP)?.counters;
            Ok((counters.logged_bytes <= bytes).then_some(()))
        })
    }

    /// Waits until the logger holds at least `bytes` of its clients.
    ///
    /// # Errors
    /// It holds less after [`PATIENCE`].
    pub fn wait_logged(&self, bytes: u64) -> Result<(), String> {
        self.wait(&format!("{bytes} bytes to be logged"), |logger| {
            let counters = logger.status(GROUP)?.counters;
            Ok((counters.logged_bytes >= bytes).then_some(()))
        })
    }

    /// Asks the logger again and again; each answer lets its event loop go round.
    fn wait<T>(
        &self,
        what: &str,
        ask: impl Fn(&Logger) -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        let logger = self.logger()?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(found) = ask(logger)? {
                return Ok(found);
            }
            thread::sleep(LOOK);
        }
        Err(format!("waited {PATIENCE:?} for {what}:\n{}", logger.log()))
    }
}
