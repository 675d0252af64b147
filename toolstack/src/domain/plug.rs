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
    fn check(&self, store: &dyn Store, config: &DomainConfig) -> Result<()>;

    /// Plugs `devices`, whose nodes are in the store, in the order of `config`'s vifs and then its disks; waits
    /// for those that other domains plug. Returns early when `cancel` is set.
    ///
    /// # Errors
    /// Of the first device that fails; it and those before it are to be unplugged by the caller.
    fn plug(
        &self,
        store: &dyn Store,
        config: &DomainConfig,
        devices: &[Device],
        cancel: &AtomicBool,
    ) -> Result<()>;

    /// Unplugs `devices` of a domain that is gone, plugged or half plugged or not. Their nodes are still there, and
    /// are removed by the caller.
    ///
    /// # Errors
    /// What could not be unplugged; the others are.
    fn unplug(&self, store: &dyn Store, devices: &[Device]) -> Result<()>;
}
