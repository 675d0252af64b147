// SPDX-License-Identifier: GPL-3.0-only
//! The seam to the devices: what must happen outside xenstore for them to work.

use std::sync::atomic::AtomicBool;

use crate::config::DomainConfig;
use crate::device::Device;
use crate::error::Result;
use crate::store::Store;

/// Plugs a domain's devices into the host: bridges, loop devices, scripts.
pub trait HotPlug {
    /// Looks whether the devices of `config` that Dom0 serves can be had (bridges and disk targets exist). Touches nothing.
    ///
    /// # Errors
    /// Names the bridge, or the file, and what to do.
    fn check(&self, config: &DomainConfig) -> Result<()>;

    /// Plugs `devices`, whose nodes are in the store, in their order; waits for those that other domains plug. A
    /// signal handler that sets `cancel` ends the waits.
    ///
    /// # Errors
    /// Of the first device that fails; it and those before it are to be unplugged by the caller.
    fn plug(&self, store: &dyn Store, devices: &[Device], cancel: &AtomicBool) -> Result<()>;

    /// Unplugs `devices` of a domain that is gone, plugged or half plugged or not. Their nodes are still there, and
    /// are removed by the caller.
    ///
    /// # Errors
    /// The first thing that could not be unplugged, with the others as `leftovers`; the rest is.
    fn unplug(&self, store: &dyn Store, devices: &[Device]) -> Result<()>;
}
