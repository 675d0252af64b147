// SPDX-License-Identifier: GPL-3.0-only
//! What the daemon works on: the real host, or a simulated one in tests.

use std::time::{Duration, Instant};

use crate::device::relay;
use crate::domain::Host;
use crate::error::Result;
use crate::hypervisor::{Hypervisor, XenHypervisor};
use crate::ids::DomId;
use crate::store::{Store, XsClient};

/// Connections to Xen and xenstore for one thread.
#[expect(missing_debug_implementations, reason = "trait objects")]
pub struct Connection {
    /// Xen.
    pub hv: Box<dyn Hypervisor>,
    /// xenstore.
    pub store: Box<dyn Store>,
}

/// Where connections come from. Each thread of the daemon opens its own: one waits in its store for events while another
/// works.
pub trait Backend: Send + Sync {
    /// Opens connections.
    ///
    /// # Errors
    /// What is missing.
    fn open(&self) -> Result<Connection>;

    /// The host behind a connection.
    fn host<'a>(&self, connection: &'a Connection) -> Host<'a>;

    /// Sends a request to the logger in domain `logger` and returns its answer.
    ///
    /// # Errors
    /// That the logger, or its domain, did not answer.
    fn logger(
        &self,
        store: &dyn Store,
        logger: DomId,
        request: &fttcp::control::Request,
    ) -> Result<fttcp::control::Reply>;
}

/// How long a logger may take to answer.
const LOGGER_TIME: Duration = Duration::from_secs(10);

/// The real host.
#[derive(Clone, Copy, Debug)]
pub struct XenBackend;

impl Backend for XenBackend {
    fn open(&self) -> Result<Connection> {
        Ok(Connection {
            hv: Box::new(XenHypervisor::open()?),
            store: Box::new(XsClient::open()?),
        })
    }

    fn host<'a>(&self, connection: &'a Connection) -> Host<'a> {
        Host::new(connection.hv.as_ref(), connection.store.as_ref())
    }

    fn logger(
        &self,
        store: &dyn Store,
        logger: DomId,
        request: &fttcp::control::Request,
    ) -> Result<fttcp::control::Reply> {
        relay::ft_call(store, logger, request, Instant::now() + LOGGER_TIME)
    }
}
