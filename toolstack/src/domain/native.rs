// SPDX-License-Identifier: GPL-3.0-only
//! The native hot-plug: what `device` does in Dom0, behind the seam [`HotPlug`].

use std::sync::atomic::AtomicBool;

use super::plug::HotPlug;
use crate::config::{DomainConfig, VifConfig};
use crate::device::{Device, hotplug};
use crate::error::Result;
use crate::ids::DomId;
use crate::store::Store;

/// Plugs devices with `device`'s own means, in Dom0.
#[derive(Clone, Copy, Debug)]
pub struct NativePlug;

impl HotPlug for NativePlug {
    fn check(&self, config: &DomainConfig) -> Result<()> {
        for vif in config.vifs.iter().filter(|vif| served_here(vif)) {
            hotplug::check_vif(vif)?;
        }
        config.disks.iter().try_for_each(hotplug::check_disk)
    }

    fn plug(&self, store: &dyn Store, devices: &[Device], cancel: &AtomicBool) -> Result<()> {
        devices
            .iter()
            .try_for_each(|device| hotplug::plug(store, DomId::DOM0, device, cancel))
    }

    fn unplug(&self, store: &dyn Store, devices: &[Device]) -> Result<()> {
        let failures: Vec<_> = devices
            .iter()
            .filter_map(|device| hotplug::unplug(store, DomId::DOM0, device).err())
            .collect();
        let mut failures = failures.into_iter();
        let Some(mut first) = failures.next() else {
            return Ok(());
        };
        first
            .leftovers
            .extend(failures.map(|error| error.to_string()));
        Err(first)
    }
}

/// Whether Dom0 runs the interface's back-end.
fn served_here(vif: &VifConfig) -> bool {
    vif.backend
        .as_deref()
        .is_none_or(|backend| backend == "0" || backend == "Domain-0")
}
