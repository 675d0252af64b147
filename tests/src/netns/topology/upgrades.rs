// SPDX-License-Identifier: GPL-3.0-only
//! Upgrades from the first server to the second, as an operator asks for them.

use fttcp::control::Request;

use super::{GROUP, Topology};

impl Topology {
    /// Begins to move connections from the first server to the second, both of which live.
    ///
    /// # Errors
    /// The logger refused.
    pub fn upgrade(&self, drain_ms: u32) -> Result<(), String> {
        let request = Request::Upgrade {
            group: GROUP.to_owned(),
            interface: "vif2".to_owned(),
            drain_ms,
        };
        self.logger()?.request(&request).map(drop)
    }

    /// Begins to move them back.
    ///
    /// # Errors
    /// The logger refused.
    pub fn rollback(&self) -> Result<(), String> {
        let group = GROUP.to_owned();
        let request = Request::Rollback { group };
        self.logger()?.request(&request).map(drop)
    }

    /// Ends the upgrade.
    ///
    /// # Errors
    /// The logger refused.
    pub fn finish(&self) -> Result<(), String> {
        let group = GROUP.to_owned();
        let request = Request::Finish { group };
        self.logger()?.request(&request).map(drop)
    }
}
