// SPDX-License-Identifier: GPL-3.0-only
//! The native hot-plug: what `device` does in Dom0, behind the seam [`HotPlug`].

use std::sync::atomic::AtomicBool;

use super::plug::HotPlug;
use crate::config::DomainConfig;
use crate::device::Device;
use crate::error::{Code, Error, Result};
use crate::store::Store;

/// Plugs devices with `device`'s own means.
#[derive(Clone, Copy, Debug)]
pub struct NativePlug;

impl HotPlug for NativePlug {
    fn check(&self, _store: &dyn Store, config: &DomainConfig) -> Result<()> {
        if config.vifs.is_empty() && config.disks.is_empty() {
            return Ok(());
        }
        let cause = "devices are not plugged yet";
        Err(Error::new(Code::State, "plug devices", &config.name, cause))
    }

    fn plug(
        &self,
        _store: &dyn Store,
        _config: &DomainConfig,
        _devices: &[Device],
        _cancel: &AtomicBool,
    ) -> Result<()> {
        Ok(())
    }

    fn unplug(&self, _store: &dyn Store, _devices: &[Device]) -> Result<()> {
        Ok(())
    }
}
