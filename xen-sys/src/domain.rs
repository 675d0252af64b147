// SPDX-License-Identifier: GPL-3.0-only
//! Calls about a living domain: look at it, run it, end it.

use std::ffi::c_int;

use crate::ctl::Xenctrl;
use crate::error::XenError;
use crate::raw;

/// Most domains asked for in one `XEN_SYSCTL_getdomaininfolist`.
const LIST_BATCH: u32 = 256;

/// State bits of a domain (`XEN_DOMINF_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainFlags {
    /// Being destroyed.
    pub dying: bool,
    /// An HVM container.
    pub hvm: bool,
    /// Shut down, with this `SHUTDOWN_*` code.
    pub shutdown: Option<u8>,
    /// Paused by the toolstack.
    pub paused: bool,
    /// All vCPUs wait for an event.
    pub blocked: bool,
    /// A vCPU is on a processor.
    pub running: bool,
}

/// One domain (`xen_domctl_getdomaininfo`). Memory is counted in 4 KiB pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainRecord {
    /// Its number.
    pub domid: u16,
    /// Its handle (UUID).
    pub handle: [u8; 16],
    /// State bits.
    pub flags: DomainFlags,
    /// Pages it has.
    pub tot_pages: u64,
    /// Pages it may have.
    pub max_pages: u64,
    /// CPU time used, in ns.
    pub cpu_time: u64,
    /// vCPUs on line.
    pub nr_online_vcpus: u32,
    /// Highest vCPU number, or `None` without vCPUs.
    pub max_vcpu_id: Option<u32>,
    /// Xen emulates ACPI power management for it: it has a power and a sleep button.
    pub power_buttons: bool,
}

/// One vCPU (`xen_domctl_getvcpuinfo`, `XEN_DOMCTL_getvcpuaffinity`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VcpuRecord {
    /// On line.
    pub online: bool,
    /// Waits for an event.
    pub blocked: bool,
    /// On a processor.
    pub running: bool,
    /// CPU time used, in ns.
    pub cpu_time: u64,
    /// Processor it runs or last ran on.
    pub cpu: u32,
    /// Hard affinity, bit n of byte n / 8 for processor n.
    pub hard: Vec<u8>,
    /// Soft affinity, likewise.
    pub soft: Vec<u8>,
}

impl Xenctrl {
    /// Frees all of a domain; Xen continues the hypercall by itself until that is done. A domain whose pages others
    /// still map stays listed as dying until they let go.
    ///
    /// # Errors
    /// `ESRCH`: no such domain.
    pub fn destroy_domain(&self, domid: u16) -> Result<(), XenError> {
        self.simple("xc_domain_destroy", domid, raw::xc_domain_destroy)
    }

    /// Adds one to the toolstack's pause count.
    ///
    /// # Errors
    /// `ESRCH`: no such domain.
    pub fn pause(&self, domid: u16) -> Result<(), XenError> {
        self.simple("xc_domain_pause", domid, raw::xc_domain_pause)
    }

    /// Takes one from the toolstack's pause count.
    ///
    /// # Errors
    /// `ESRCH`: no such domain. `EINVAL`: it was not paused.
    pub fn unpause(&self, domid: u16) -> Result<(), XenError> {
        self.simple("xc_domain_unpause", domid, raw::xc_domain_unpause)
    }

    /// Marks a domain as shut down (`SCHEDOP_remote_shutdown`).
    ///
    /// # Errors
    /// `ESRCH`: no such domain.
    pub fn remote_shutdown(&self, domid: u16, reason: u8) -> Result<(), XenError> {
        self.done("xc_domain_shutdown", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_domain_shutdown(xch, domid.into(), reason.into()) }
        })
    }

    /// Sends one of [`crate::consts`]' triggers to a vCPU.
    ///
    /// # Errors
    /// `ESRCH`: no such domain or vCPU. `EOPNOTSUPP`, `ENOSYS`: this kind of guest does not know the trigger.
    pub fn send_trigger(&self, domid: u16, trigger: u32, vcpu: u32) -> Result<(), XenError> {
        self.done("xc_domain_send_trigger", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_domain_send_trigger(xch, domid.into(), trigger, vcpu) }
        })
    }

    /// HVM: ends ACPI sleep state S3.
    ///
    /// # Errors
    /// `ESRCH`: no such domain. `EINVAL`: not an HVM container, or without power management.
    pub fn resume_from_s3(&self, domid: u16) -> Result<(), XenError> {
        self.done("xc_hvm_param_set", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_hvm_param_set(xch, domid.into(), raw::HVM_PARAM_ACPI_S_STATE, 0) }
        })
    }

    /// All domains, ascending, in one hypercall for up to 256 of them.
    ///
    /// # Errors
    /// What `XEN_SYSCTL_getdomaininfolist` gives.
    pub fn domains(&self) -> Result<Vec<DomainRecord>, XenError> {
        let mut domains = Vec::new();
        let mut first = 0_u32;
        loop {
            let batch = self.domains_from(first, LIST_BATCH)?;
            let full = batch.len() == LIST_BATCH as usize;
            domains.extend(batch);
            match domains.last() {
                Some(last) if full => first = u32::from(last.domid) + 1,
                _ => return Ok(domains),
            }
        }
    }

    /// One domain, if it exists.
    ///
    /// # Errors
    /// What `XEN_SYSCTL_getdomaininfolist` gives.
    pub fn domain(&self, domid: u16) -> Result<Option<DomainRecord>, XenError> {
        // The call returns the first domain at or after the number.
        let found = self.domains_from(domid.into(), 1)?;
        Ok(found.into_iter().find(|record| record.domid == domid))
    }

    fn domains_from(&self, first: u32, most: u32) -> Result<Vec<DomainRecord>, XenError> {
        let mut list = vec![raw::xc_domaininfo_t::default(); most as usize];
        let count = self.call("xc_domain_getinfolist", |xch| {
            // SAFETY: list has room for `most` records.
            unsafe { raw::xc_domain_getinfolist(xch, first, most, list.as_mut_ptr()) }
        })?;
        Ok(list
            .iter()
            .take(count.unsigned_abs() as usize)
            .map(decode)
            .collect())
    }

    /// Allocates an event channel of `domid` that `remote` may bind.
    ///
    /// # Errors
    /// `ESRCH`: no such domain. `ENOSPC`: no port left.
    pub fn alloc_unbound(&self, domid: u16, remote: u16) -> Result<u32, XenError> {
        let port = self.call("xc_evtchn_alloc_unbound", |xch| {
            // SAFETY: plain numbers only.
            unsafe { raw::xc_evtchn_alloc_unbound(xch, domid.into(), remote.into()) }
        })?;
        Ok(port.unsigned_abs())
    }

    /// One vCPU with its affinities.
    ///
    /// # Errors
    /// `ESRCH`: no such domain or vCPU.
    pub fn vcpu(&self, domid: u16, vcpu: u32) -> Result<VcpuRecord, XenError> {
        let mut info = raw::xc_vcpuinfo_t::default();
        self.call("xc_vcpu_getinfo", |xch| {
            // SAFETY: info is a whole structure to be filled.
            unsafe { raw::xc_vcpu_getinfo(xch, domid.into(), vcpu, &raw mut info) }
        })?;
        let size = self.call("xc_get_cpumap_size", |xch| {
            // SAFETY: xch is open.
            unsafe { raw::xc_get_cpumap_size(xch) }
        })?;
        let mut hard = vec![0_u8; size.unsigned_abs() as usize];
        let mut soft = hard.clone();
        self.call("xc_vcpu_getaffinity", |xch| {
            // SAFETY: both maps have the size that libxenctrl itself computes for a processor map.
            unsafe {
                raw::xc_vcpu_getaffinity(
                    xch,
                    domid.into(),
                    vcpu as c_int,
                    hard.as_mut_ptr(),
                    soft.as_mut_ptr(),
                    raw::XEN_VCPUAFFINITY_HARD | raw::XEN_VCPUAFFINITY_SOFT,
                )
            }
        })?;
        Ok(VcpuRecord {
            online: info.online != 0,
            blocked: info.blocked != 0,
            running: info.running != 0,
            cpu_time: info.cpu_time,
            cpu: info.cpu,
            hard,
            soft,
        })
    }

    /// A call that takes a domain's number only.
    fn simple(
        &self,
        name: &'static str,
        domid: u16,
        function: unsafe extern "C" fn(*mut raw::xc_interface, u32) -> c_int,
    ) -> Result<(), XenError> {
        // SAFETY: plain numbers only; `function` is one of libxenctrl's, with xch open.
        self.done(name, |xch| unsafe { function(xch, domid.into()) })
    }

    /// A call whose result says no more than that it worked.
    pub(crate) fn done(
        &self,
        name: &'static str,
        call: impl FnOnce(*mut raw::xc_interface) -> c_int,
    ) -> Result<(), XenError> {
        self.call(name, call).map(|_| ())
    }
}

fn decode(info: &raw::xc_domaininfo_t) -> DomainRecord {
    let has = |bit: u32| info.flags & bit != 0;
    let code = (info.flags >> raw::XEN_DOMINF_shutdownshift) & raw::XEN_DOMINF_shutdownmask;
    DomainRecord {
        domid: info.domain,
        handle: info.handle,
        flags: DomainFlags {
            dying: has(raw::XEN_DOMINF_dying),
            hvm: has(raw::XEN_DOMINF_hvm_guest),
            shutdown: has(raw::XEN_DOMINF_shutdown).then(|| code.to_le_bytes()[0]),
            paused: has(raw::XEN_DOMINF_paused),
            blocked: has(raw::XEN_DOMINF_blocked),
            running: has(raw::XEN_DOMINF_running),
        },
        tot_pages: info.tot_pages,
        max_pages: info.max_pages,
        cpu_time: info.cpu_time,
        nr_online_vcpus: info.nr_online_vcpus,
        max_vcpu_id: (info.max_vcpu_id != u32::MAX).then_some(info.max_vcpu_id),
        power_buttons: info.arch_config.emulation_flags & raw::XEN_X86_EMU_PM != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::raw;

    #[test]
    fn decode_shutdown_takes_the_code_from_the_flags() {
        let info = raw::xc_domaininfo_t {
            domain: 7,
            flags: raw::XEN_DOMINF_shutdown
                | raw::XEN_DOMINF_hvm_guest
                | (3 << raw::XEN_DOMINF_shutdownshift),
            max_vcpu_id: u32::MAX,
            ..Default::default()
        };
        let record = decode(&info);
        assert_eq!(record.domid, 7);
        assert_eq!(record.flags.shutdown, Some(3));
        assert!(record.flags.hvm && !record.flags.dying);
        assert_eq!(record.max_vcpu_id, None);
    }

    #[test]
    fn decode_living_domain_has_no_shutdown_code() {
        let info = raw::xc_domaininfo_t {
            flags: raw::XEN_DOMINF_blocked,
            ..Default::default()
        };
        assert_eq!(decode(&info).flags.shutdown, None);
    }
}
