// SPDX-License-Identifier: GPL-3.0-only
//! Xen's records turned into the toolstack's words.

use uuid::Uuid;
use xen_sys::{Capabilities, DomainRecord, PhysInfo, VcpuRecord, Versions};

use crate::hypervisor::{DomainInfo, HostInfo, RunState, ShutdownReason, VcpuInfo};
use crate::ids::{DomId, KiB};

/// Pages of 4 KiB as KiB; Dom0's limit can be "all there is", which saturates.
const fn kib(pages: u64) -> KiB {
    KiB(pages.saturating_mul(4))
}

pub(super) fn domain(record: &DomainRecord) -> DomainInfo {
    DomainInfo {
        id: DomId(record.domid),
        uuid: Uuid::from_bytes(record.handle),
        hvm_container: record.flags.hvm,
        state: RunState {
            running: record.flags.running,
            blocked: record.flags.blocked,
            paused: record.flags.paused,
            shutdown: record.flags.shutdown.map(ShutdownReason::from_code),
            dying: record.flags.dying,
        },
        memory: kib(record.tot_pages),
        max_memory: kib(record.max_pages),
        online_vcpus: record.nr_online_vcpus,
        max_vcpu_id: record.max_vcpu_id.unwrap_or(0),
        cpu_time_ns: record.cpu_time,
    }
}

pub(super) fn vcpu(vcpu: u32, record: &VcpuRecord, max_cpu: u32) -> VcpuInfo {
    VcpuInfo {
        vcpu,
        cpu: record.cpu,
        online: record.online,
        blocked: record.blocked,
        running: record.running,
        cpu_time_ns: record.cpu_time,
        hard_affinity: cpus(&record.hard, max_cpu),
        soft_affinity: cpus(&record.soft, max_cpu),
    }
}

/// The processors of a bitmap. Xen sets bits of processors that do not exist too: they are left out.
fn cpus(bitmap: &[u8], max_cpu: u32) -> Vec<u32> {
    (0..=max_cpu)
        .filter(|cpu| {
            let byte = bitmap.get((cpu / 8) as usize).copied().unwrap_or(0);
            byte >> (cpu % 8) & 1 == 1
        })
        .collect()
}

pub(super) fn host(phys: &PhysInfo, versions: Versions, scheduler: &str) -> HostInfo {
    HostInfo {
        xen_major: versions.major,
        xen_minor: versions.minor,
        xen_extra: versions.extra,
        xen_caps: versions.capabilities,
        xen_changeset: versions.changeset,
        xen_commandline: versions.commandline,
        xen_compiled: format!(
            "{} by {} ({}) {}",
            versions.compiler, versions.compiled_by, versions.compile_domain, versions.compile_date
        ),
        scheduler: scheduler.to_owned(),
        page_size: versions.page_size,
        nr_cpus: phys.nr_cpus,
        max_cpu_id: phys.max_cpu_id,
        nr_nodes: phys.nr_nodes,
        cores_per_socket: phys.cores_per_socket,
        threads_per_core: phys.threads_per_core,
        cpu_khz: phys.cpu_khz,
        hw_caps: phys.hw_cap,
        virt_caps: virt_caps(phys.capabilities),
        total_memory: kib(phys.total_pages),
        free_memory: kib(phys.free_pages),
        scrub_memory: kib(phys.scrub_pages),
        outstanding_claims: kib(phys.outstanding_pages),
    }
}

/// The capabilities by the names that `xl info` gives them.
fn virt_caps(caps: Capabilities) -> Vec<String> {
    [
        (caps.pv, "pv"),
        (caps.hvm, "hvm"),
        (caps.hvm && caps.directio, "hvm_directio"),
        (caps.pv && caps.directio, "pv_directio"),
        (caps.hap, "hap"),
        (caps.shadow, "shadow"),
        (caps.iommu_hap_pt_share, "iommu_hap_pt_share"),
        (caps.vmtrace, "vmtrace"),
        (caps.vpmu, "vpmu"),
        (caps.gnttab_v1, "gnttab-v1"),
        (caps.gnttab_v2, "gnttab-v2"),
    ]
    .into_iter()
    .filter(|(has, _)| *has)
    .map(|(_, name)| name.to_owned())
    .collect()
}

#[cfg(test)]
mod tests {
    use xen_sys::DomainFlags;

    use super::*;

    #[test]
    fn domain_pages_become_kib_and_saturate() {
        let record = DomainRecord {
            tot_pages: 256,
            max_pages: u64::MAX,
            ..Default::default()
        };
        let info = domain(&record);
        assert_eq!(info.memory, KiB(1024));
        assert_eq!(info.max_memory, KiB(u64::MAX));
    }

    #[test]
    fn domain_shutdown_reason_is_named() {
        let named = |code| {
            let flags = DomainFlags {
                shutdown: Some(code),
                ..Default::default()
            };
            domain(&DomainRecord {
                flags,
                ..Default::default()
            })
            .state
            .shutdown
        };
        assert_eq!(named(0), Some(ShutdownReason::Poweroff));
        assert_eq!(named(3), Some(ShutdownReason::Crash));
        assert_eq!(named(200), Some(ShutdownReason::Other(200)));
    }

    #[test]
    fn affinity_ends_at_the_last_processor() {
        assert_eq!(cpus(&[0xff, 0xff], 9), (0..10).collect::<Vec<_>>());
        assert_eq!(cpus(&[0b101], 31), [0, 2]);
    }
}
