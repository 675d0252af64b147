// SPDX-License-Identifier: GPL-3.0-only
//! Calls that make a domain and set it up before it is built.

use std::ffi::c_ulong;

use crate::ctl::Xenctrl;
use crate::dom::{E820Entry, to_raw_e820};
use crate::error::XenError;
use crate::raw;

/// What `XEN_DOMCTL_createdomain` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateDomain {
    /// The domain's handle (UUID).
    pub handle: [u8; 16],
    /// An HVM container with hardware-assisted paging and a local APIC (PVH); else PV.
    pub pvh: bool,
    /// vCPUs it may have.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_evtchn_port: u32,
    /// Grant table limit in frames.
    pub max_grant_frames: u32,
    /// Maptrack limit in frames.
    pub max_maptrack_frames: u32,
    /// Highest grant table version the guest may use.
    pub grant_version: u32,
}

impl Xenctrl {
    /// Makes an empty domain that is paused by the toolstack; returns its number.
    ///
    /// # Errors
    /// What `XEN_DOMCTL_createdomain` gives.
    pub fn create_domain(&self, spec: &CreateDomain) -> Result<u16, XenError> {
        let mut config = raw::xen_domctl_createdomain {
            handle: spec.handle,
            max_vcpus: spec.max_vcpus,
            max_evtchn_port: spec.max_evtchn_port,
            max_grant_frames: signed(spec.max_grant_frames),
            max_maptrack_frames: signed(spec.max_maptrack_frames),
            grant_opts: spec.grant_version & 0xf,
            ..Default::default()
        };
        if spec.pvh {
            config.flags = raw::XEN_DOMCTL_CDF_hvm | raw::XEN_DOMCTL_CDF_hap;
            config.arch.emulation_flags = raw::XEN_X86_EMU_LAPIC;
        }
        // 0 asks Xen to choose the number.
        let mut domid: u32 = 0;
        self.call("xc_domain_create", |xch| {
            // SAFETY: domid and config are places that the call reads and fills.
            unsafe { raw::xc_domain_create(xch, &raw mut domid, &raw mut config) }
        })?;
        u16::try_from(domid)
            .map_err(|_| XenError::before("xc_domain_create", libc::ERANGE, "number out of range"))
    }

    /// Gives a domain its vCPUs, off line.
    ///
    /// # Errors
    /// What `XEN_DOMCTL_max_vcpus` gives.
    pub fn max_vcpus(&self, domid: u16, max: u32) -> Result<(), XenError> {
        self.done("xc_domain_max_vcpus", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_domain_max_vcpus(xch, domid.into(), max) }
        })
    }

    /// Sets the memory limit, in KiB.
    ///
    /// # Errors
    /// What `XEN_DOMCTL_max_mem` gives.
    pub fn set_max_mem(&self, domid: u16, kib: u64) -> Result<(), XenError> {
        self.done("xc_domain_setmaxmem", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_domain_setmaxmem(xch, domid.into(), kib) }
        })
    }

    /// PV: sets the size, in KiB, of the memory map that the guest is shown (`XENMEM_set_memory_map`).
    ///
    /// # Errors
    /// What `XENMEM_set_memory_map` gives.
    pub fn set_memmap_limit(&self, domid: u16, kib: u64) -> Result<(), XenError> {
        self.done("xc_domain_set_memmap_limit", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_domain_set_memmap_limit(xch, domid.into(), kib as c_ulong) }
        })
    }

    /// Sets the memory map that the guest is shown (`XENMEM_set_memory_map`).
    ///
    /// # Errors
    /// What `XENMEM_set_memory_map` gives.
    pub fn set_memory_map(&self, domid: u16, map: &[E820Entry]) -> Result<(), XenError> {
        let mut map = to_raw_e820(map);
        let count = u32::try_from(map.len()).unwrap_or(u32::MAX);
        self.done("xc_domain_set_memory_map", |xch| {
            // SAFETY: map has `count` entries, which the call copies.
            unsafe { raw::xc_domain_set_memory_map(xch, domid.into(), map.as_mut_ptr(), count) }
        })
    }

    /// Sets how the guest's time stamp counter behaves; 0 is Xen's default, native where that is safe.
    ///
    /// # Errors
    /// What `XEN_DOMCTL_settscinfo` gives.
    pub fn set_tsc_mode(&self, domid: u16, mode: u32) -> Result<(), XenError> {
        self.done("xc_domain_set_tsc_info", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_domain_set_tsc_info(xch, domid.into(), mode, 0, 0, 0) }
        })
    }

    /// PVH: sets the memory for hardware page tables, in bytes.
    ///
    /// # Errors
    /// What `XEN_DOMCTL_set_paging_mempool_size` gives.
    pub fn set_paging_pool(&self, domid: u16, bytes: u64) -> Result<(), XenError> {
        self.done("xc_set_paging_mempool_size", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_set_paging_mempool_size(xch, domid.into(), bytes) }
        })
    }

    /// PVH: timer ticks that a vCPU missed while it was not running are not made up for
    /// (`HVMPTM_no_delay_for_missed_ticks`), and there is no alternate p2m: what a guest gets that asks for nothing.
    ///
    /// # Errors
    /// What `HVMOP_set_param` gives.
    pub fn set_pvh_params(&self, domid: u16) -> Result<(), XenError> {
        let params = [
            (
                raw::HVM_PARAM_TIMER_MODE,
                raw::HVMPTM_no_delay_for_missed_ticks,
            ),
            (raw::HVM_PARAM_ALTP2M, raw::XEN_ALTP2M_disabled),
        ];
        for (param, value) in params {
            self.done("xc_hvm_param_set", |xch| {
                // SAFETY: plain numbers only.
                unsafe { raw::xc_hvm_param_set(xch, domid.into(), param, value.into()) }
            })?;
        }
        Ok(())
    }

    /// Gives the domain the default CPUID and MSR policy of its kind on this host.
    ///
    /// # Errors
    /// What `XEN_DOMCTL_set_cpu_policy` gives.
    pub fn apply_cpu_policy(&self, domid: u16) -> Result<(), XenError> {
        let none = std::ptr::null();
        self.done("xc_cpuid_apply_policy", |xch| {
            // SAFETY: NULL lists mean "no changes to the default"; PAE is always there for 64-bit Xen.
            unsafe {
                raw::xc_cpuid_apply_policy(
                    xch,
                    domid.into(),
                    false,
                    none,
                    0,
                    true,
                    false,
                    false,
                    std::ptr::null(),
                    std::ptr::null(),
                )
            }
        })
    }
}

/// A limit for a field in which negative numbers mean "the default".
fn signed(limit: u32) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}
