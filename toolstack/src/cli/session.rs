// SPDX-License-Identifier: GPL-3.0-only
//! What a verb works with: Xen and xenstore, opened once.

use crate::domain::Host;
use crate::error::Result;
use crate::hypervisor::XenHypervisor;
use crate::store::XsClient;

/// Open connections to Xen and xenstored.
#[derive(Debug)]
pub(super) struct Session {
    hv: XenHypervisor,
    store: XsClient,
}

impl Session {
    /// Opens both; each error says what is missing.
    pub(super) fn open() -> Result<Self> {
        Ok(Self {
            hv: XenHypervisor::open()?,
            store: XsClient::open()?,
        })
    }

    /// The host, with files in the usual places.
    pub(super) fn host(&self) -> Host<'_> {
        Host::new(&self.hv, &self.store)
    }
}
