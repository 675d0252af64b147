// SPDX-License-Identifier: GPL-3.0-only
//! Making an empty domain with its vCPUs and limits, in the order in which libxl does it.

use xen_sys::{Capabilities, CreateDomain, XenError, Xenctrl};

use super::failure::{fail, name};
use super::images::MAX_PVH_VCPUS;
use crate::config::TscMode;
use crate::error::{Code, Error, Result};
use crate::hypervisor::{CreateSpec, GuestKind};
use crate::ids::DomId;

const OP: &str = "create the domain";

/// Makes the domain; if setting it up fails it is destroyed again.
pub(super) fn create(ctl: &Xenctrl, caps: Capabilities, spec: &CreateSpec) -> Result<DomId> {
    let pvh = is_possible(caps, spec)?;
    let domid = ctl
        .create_domain(&CreateDomain {
            handle: spec.uuid.into_bytes(),
            pvh,
            max_vcpus: spec.max_vcpus,
            max_evtchn_port: spec.max_event_channels,
            max_grant_frames: spec.max_grant_frames,
            max_maptrack_frames: spec.max_maptrack_frames,
            grant_version: grant_version(caps),
        })
        .map_err(|cause| fail(OP, spec.uuid.to_string(), &cause))?;
    set_up(ctl, domid, pvh, spec).map_err(|cause| {
        let id = DomId(domid);
        let mut error = fail(OP, name(id), &cause).domain(id);
        if let Err(cause) = ctl.destroy_domain(domid) {
            error.leftovers.push(format!(
                "domain {id}, because it could not be destroyed: {cause}"
            ));
        }
        error
    })?;
    Ok(DomId(domid))
}

/// vCPUs, memory limit, and for PVH its timers and the memory for hardware page tables.
fn set_up(ctl: &Xenctrl, domid: u16, pvh: bool, spec: &CreateSpec) -> Result<(), XenError> {
    ctl.max_vcpus(domid, spec.max_vcpus)?;
    ctl.set_max_mem(domid, spec.max_memory.0)?;
    if pvh {
        ctl.set_pvh_params(domid)?;
    }
    ctl.set_tsc_mode(domid, tsc_number(spec.tsc_mode))?;
    if pvh {
        // Xen counts the pool in whole pages.
        ctl.set_paging_pool(domid, spec.paging_pool.pages().saturating_mul(4096))?;
    }
    Ok(())
}

/// Xen's number of the mode (`TSC_MODE_*`, `xen/arch/x86/include/asm/time.h`).
const fn tsc_number(mode: TscMode) -> u32 {
    match mode {
        TscMode::Default => 0,
        TscMode::AlwaysEmulate => 1,
        TscMode::Native => 2,
    }
}

/// The newest grant table version that this Xen offers.
const fn grant_version(caps: Capabilities) -> u32 {
    if caps.gnttab_v2 {
        2
    } else {
        caps.gnttab_v1 as u32
    }
}

/// Whether it is a PVH guest, if this host can run the kind of guest at all.
fn is_possible(caps: Capabilities, spec: &CreateSpec) -> Result<bool> {
    let refuse = |code, why: &str, hint: &str| {
        Err(Error::new(code, OP, spec.uuid.to_string(), why).hint(hint))
    };
    match spec.kind {
        GuestKind::Pv if caps.pv => Ok(false),
        GuestKind::Pv => refuse(
            Code::State,
            "this Xen runs no PV guests",
            "set type = \"pvh\"",
        ),
        GuestKind::Pvh if spec.max_vcpus > MAX_PVH_VCPUS => refuse(
            Code::Usage,
            "a PVH guest has at most 128 vCPUs",
            "set maxvcpus to 128 or less",
        ),
        GuestKind::Pvh if caps.hvm && caps.hap => Ok(true),
        GuestKind::Pvh => refuse(
            Code::State,
            "this host has no hardware virtualisation with nested paging for PVH guests",
            "enable VT-x with EPT or AMD-V with NPT in the firmware, or set type = \"pv\"",
        ),
        GuestKind::Hvm => refuse(
            Code::Usage,
            "HVM guests with a device model are not made by rxl",
            "set type = \"pvh\" or \"pv\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::KiB;

    fn spec(kind: GuestKind, max_vcpus: u32) -> CreateSpec {
        CreateSpec {
            kind,
            uuid: Uuid::nil(),
            max_vcpus,
            max_memory: KiB::from_mib(64),
            max_grant_frames: 64,
            max_maptrack_frames: 1024,
            max_event_channels: 1023,
            paging_pool: KiB::from_mib(2),
            tsc_mode: TscMode::Default,
        }
    }

    #[test]
    fn pvh_needs_nested_paging() {
        let hvm_only = Capabilities {
            hvm: true,
            pv: true,
            ..Default::default()
        };
        let refused = is_possible(hvm_only, &spec(GuestKind::Pvh, 1)).map_err(|e| e.code);
        assert_eq!(refused, Err(Code::State));
        assert_eq!(
            is_possible(hvm_only, &spec(GuestKind::Pv, 1)).ok(),
            Some(false)
        );
    }

    #[test]
    fn pvh_vcpus_are_limited() {
        let all = Capabilities {
            hvm: true,
            hap: true,
            ..Default::default()
        };
        assert_eq!(
            is_possible(all, &spec(GuestKind::Pvh, 128)).ok(),
            Some(true)
        );
        let refused = is_possible(all, &spec(GuestKind::Pvh, 129)).map_err(|e| e.code);
        assert_eq!(refused, Err(Code::Usage));
    }

    #[test]
    fn tsc_modes_have_the_numbers_of_xen() {
        let modes = [TscMode::Default, TscMode::AlwaysEmulate, TscMode::Native];
        assert_eq!(modes.map(tsc_number), [0, 1, 2]);
    }

    #[test]
    fn grant_version_is_the_newest_offered() {
        let both = Capabilities {
            gnttab_v1: true,
            gnttab_v2: true,
            ..Default::default()
        };
        assert_eq!(grant_version(both), 2);
        assert_eq!(
            grant_version(Capabilities {
                gnttab_v2: false,
                ..both
            }),
            1
        );
        assert_eq!(grant_version(Capabilities::default()), 0);
    }
}
