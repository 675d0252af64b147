// SPDX-License-Identifier: GPL-3.0-only
//! Facts of the host: `XEN_SYSCTL_physinfo`, `xen_version`, Xen's log.

use std::ffi::{c_char, c_int, c_void};

use crate::ctl::Xenctrl;
use crate::error::XenError;
use crate::raw;

/// What the hardware and this Xen can virtualise (`XEN_SYSCTL_PHYSCAP_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// PV guests.
    pub pv: bool,
    /// HVM containers.
    pub hvm: bool,
    /// Hardware-assisted paging.
    pub hap: bool,
    /// Shadow page tables.
    pub shadow: bool,
    /// PCI pass-through.
    pub directio: bool,
    /// IOMMU page tables shared with hardware-assisted paging.
    pub iommu_hap_pt_share: bool,
    /// Processor trace of a vCPU.
    pub vmtrace: bool,
    /// Virtual performance counters.
    pub vpmu: bool,
    /// Grant tables of version 1.
    pub gnttab_v1: bool,
    /// Grant tables of version 2.
    pub gnttab_v2: bool,
}

/// Processors and memory (`xen_sysctl_physinfo`). Memory is counted in 4 KiB pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhysInfo {
    /// Threads in a core.
    pub threads_per_core: u32,
    /// Cores in a socket.
    pub cores_per_socket: u32,
    /// Processors on line.
    pub nr_cpus: u32,
    /// Highest processor number.
    pub max_cpu_id: u32,
    /// NUMA nodes on line.
    pub nr_nodes: u32,
    /// Processor clock in kHz.
    pub cpu_khz: u32,
    /// All pages.
    pub total_pages: u64,
    /// Pages in the free heap.
    pub free_pages: u64,
    /// Pages that wait to be scrubbed.
    pub scrub_pages: u64,
    /// Pages claimed and not yet given out.
    pub outstanding_pages: u64,
    /// Hardware capability words.
    pub hw_cap: [u32; 8],
    /// What can be virtualised.
    pub capabilities: Capabilities,
}

/// What Xen says of itself (`xen_version`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// The rest of the version, with its dot: `.7`.
    pub extra: String,
    /// Guest interfaces: `xen-3.0-x86_64 hvm-3.0-x86_32 ...`.
    pub capabilities: String,
    /// The change set it was built from.
    pub changeset: String,
    /// Its command line.
    pub commandline: String,
    /// Compiler.
    pub compiler: String,
    /// Who built it.
    pub compiled_by: String,
    /// Where it was built.
    pub compile_domain: String,
    /// When it was built.
    pub compile_date: String,
    /// Page size in bytes.
    pub page_size: u32,
}

impl Xenctrl {
    /// Processors, memory and capabilities.
    ///
    /// # Errors
    /// What `XEN_SYSCTL_physinfo` gives.
    pub fn physinfo(&self) -> Result<PhysInfo, XenError> {
        let mut info = raw::xc_physinfo_t::default();
        self.call("xc_physinfo", |xch| {
            // SAFETY: xch is open; info is a whole structure to be filled.
            unsafe { raw::xc_physinfo(xch, &raw mut info) }
        })?;
        Ok(PhysInfo {
            threads_per_core: info.threads_per_core,
            cores_per_socket: info.cores_per_socket,
            nr_cpus: info.nr_cpus,
            max_cpu_id: info.max_cpu_id,
            nr_nodes: info.nr_nodes,
            cpu_khz: info.cpu_khz,
            total_pages: info.total_pages,
            free_pages: info.free_pages,
            scrub_pages: info.scrub_pages,
            outstanding_pages: info.outstanding_pages,
            hw_cap: info.hw_cap,
            capabilities: decode_capabilities(info.capabilities),
        })
    }

    /// Xen's version, build and command line, each by its own small hypercall.
    ///
    /// # Errors
    /// What `xen_version` gives.
    pub fn versions(&self) -> Result<Versions, XenError> {
        let version = self.version_number(raw::XENVER_version)?;
        let mut extra: raw::xen_extraversion_t = [0; _];
        let mut capabilities: raw::xen_capabilities_info_t = [0; _];
        let mut changeset: raw::xen_changeset_info_t = [0; _];
        let mut commandline: raw::xen_commandline_t = [0; _];
        let mut build = raw::xen_compile_info_t::default();
        self.version_record(raw::XENVER_extraversion, &mut extra)?;
        self.version_record(raw::XENVER_capabilities, &mut capabilities)?;
        self.version_record(raw::XENVER_changeset, &mut changeset)?;
        self.version_record(raw::XENVER_commandline, &mut commandline)?;
        self.version_record(raw::XENVER_compile_info, &mut build)?;
        Ok(Versions {
            major: version >> 16,
            minor: version & 0xffff,
            extra: text(&extra),
            capabilities: text(&capabilities).trim_end().to_owned(),
            changeset: text(&changeset),
            commandline: text(&commandline),
            compiler: text(&build.compiler),
            compiled_by: text(&build.compile_by),
            compile_domain: text(&build.compile_domain),
            compile_date: text(&build.compile_date),
            page_size: self.version_number(raw::XENVER_pagesize)?,
        })
    }

    /// The scheduler's number turned into its name, as `xl info` shows it.
    ///
    /// # Errors
    /// What `XEN_SYSCTL_sched_id` gives.
    pub fn scheduler(&self) -> Result<&'static str, XenError> {
        let mut id: c_int = 0;
        self.call("xc_sched_id", |xch| {
            // SAFETY: xch is open; id is a place for one int.
            unsafe { raw::xc_sched_id(xch, &raw mut id) }
        })?;
        Ok(match u32::try_from(id).unwrap_or(u32::MAX) {
            raw::XEN_SCHEDULER_CREDIT => "credit",
            raw::XEN_SCHEDULER_CREDIT2 => "credit2",
            raw::XEN_SCHEDULER_ARINC653 => "arinc653",
            raw::XEN_SCHEDULER_RTDS => "rtds",
            raw::XEN_SCHEDULER_NULL => "null",
            _ => "unknown",
        })
    }

    /// Xen's log from its oldest byte on. With `clear`, what was returned is marked as read.
    ///
    /// # Errors
    /// What `XEN_SYSCTL_readconsole` gives.
    pub fn console_ring(&self, clear: bool) -> Result<Vec<u8>, XenError> {
        let mut ring = Vec::new();
        let mut chunk = vec![0_u8; 16 * 1024];
        let mut index = 0_u32;
        let mut incremental = false;
        loop {
            let mut count = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            self.call("xc_readconsolering", |xch| {
                // SAFETY: chunk has room for `count` bytes; count and index are places for one number each.
                unsafe {
                    raw::xc_readconsolering(
                        xch,
                        chunk.as_mut_ptr().cast(),
                        &raw mut count,
                        c_int::from(clear),
                        c_int::from(incremental),
                        &raw mut index,
                    )
                }
            })?;
            let read = chunk.get(..count as usize).unwrap_or(&chunk);
            if read.is_empty() {
                return Ok(ring);
            }
            ring.extend_from_slice(read);
            // The next part starts where this one ended, also when Xen logs while we read.
            incremental = true;
        }
    }

    /// `xen_version` with a number as its answer.
    fn version_number(&self, what: u32) -> Result<u32, XenError> {
        let number = self.call("xc_version", |xch| {
            // SAFETY: these two sub-operations take no argument.
            unsafe { raw::xc_version(xch, what as c_int, std::ptr::null_mut()) }
        })?;
        Ok(number.unsigned_abs())
    }

    /// `xen_version` with a record as its answer; `T` is the record that the header names for `what`.
    fn version_record<T>(&self, what: u32, record: &mut T) -> Result<(), XenError> {
        self.call("xc_version", |xch| {
            // SAFETY: libxenctrl copies exactly the size of the record that belongs to `what`, which is T's.
            unsafe {
                raw::xc_version(
                    xch,
                    what as c_int,
                    std::ptr::from_mut(record).cast::<c_void>(),
                )
            }
        })?;
        Ok(())
    }
}

const fn decode_capabilities(bits: u32) -> Capabilities {
    Capabilities {
        pv: bits & raw::XEN_SYSCTL_PHYSCAP_pv != 0,
        hvm: bits & raw::XEN_SYSCTL_PHYSCAP_hvm != 0,
        hap: bits & raw::XEN_SYSCTL_PHYSCAP_hap != 0,
        shadow: bits & raw::XEN_SYSCTL_PHYSCAP_shadow != 0,
        directio: bits & raw::XEN_SYSCTL_PHYSCAP_directio != 0,
        iommu_hap_pt_share: bits & raw::XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share != 0,
        vmtrace: bits & raw::XEN_SYSCTL_PHYSCAP_vmtrace != 0,
        vpmu: bits & raw::XEN_SYSCTL_PHYSCAP_vpmu != 0,
        gnttab_v1: bits & raw::XEN_SYSCTL_PHYSCAP_gnttab_v1 != 0,
        gnttab_v2: bits & raw::XEN_SYSCTL_PHYSCAP_gnttab_v2 != 0,
    }
}

/// A C character array up to its NUL.
fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars
        .iter()
        .take_while(|c| **c != 0)
        .map(|c| c.to_ne_bytes()[0])
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{decode_capabilities, text};
    use crate::raw;

    #[test]
    fn text_ends_at_nul_or_at_the_end() {
        assert_eq!(text(&[46, 55, 0, 99]), ".7");
        assert_eq!(text(&[97, 98]), "ab");
    }

    #[test]
    fn capabilities_keep_their_bits_apart() {
        let all = decode_capabilities(raw::XEN_SYSCTL_PHYSCAP_pv | raw::XEN_SYSCTL_PHYSCAP_hap);
        assert!(all.pv && all.hap);
        assert!(!all.hvm && !all.shadow && !all.gnttab_v2);
    }
}
