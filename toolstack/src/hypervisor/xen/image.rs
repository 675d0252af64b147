// SPDX-License-Identifier: GPL-3.0-only
//! The image of a suspended domain, and filling an empty domain from one.

use std::fs::File;
use std::os::fd::AsFd;

use xen_sys::{DomSettings, Xenctrl};

use super::failure::{fail_domain, name, no_such_domain};
use crate::error::{Code, Error, Result};
use crate::hypervisor::{BuildSpec, Built, GuestKind, ShutdownReason};
use crate::ids::{DomId, Gfn};

const SAVE: &str = "save the domain's memory";
const RESTORE: &str = "give the domain the memory of an image";

pub(super) fn save(ctl: &Xenctrl, id: DomId, to: &File) -> Result<()> {
    let record = ctl
        .domain(id.0)
        .map_err(|cause| fail_domain(SAVE, id, &cause))?
        .ok_or_else(|| no_such_domain(SAVE, id))?;
    if record.flags.shutdown != Some(ShutdownReason::Suspend.code()) {
        let why = "it has not suspended itself";
        return Err(Error::new(Code::State, SAVE, name(id), why).domain(id));
    }
    ctl.save_domain(id.0, to.as_fd())
        .map_err(|cause| fail_domain(SAVE, id, &cause))
}

pub(super) fn restore(ctl: &Xenctrl, id: DomId, spec: &BuildSpec, from: &File) -> Result<Built> {
    let failed = |cause| fail_domain(RESTORE, id, &cause);
    if spec.kind == GuestKind::Pv {
        let seen = spec.max_memory.max(spec.memory);
        ctl.set_memmap_limit(id.0, seen.0).map_err(failed)?;
    }
    let settings = DomSettings {
        max_vcpus: spec.vcpus,
        console_port: spec.console_port.0,
        console_domid: spec.console_domain.0,
        store_port: spec.store_port.0,
        store_domid: spec.store_domain.0,
    };
    let frames = ctl
        .restore_domain(id.0, &settings, from.as_fd())
        .map_err(failed)?;
    Ok(Built {
        store_frame: Gfn(frames.store),
        console_frame: Gfn(frames.console),
    })
}
