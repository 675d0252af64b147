// SPDX-License-Identifier: GPL-3.0-only
//! The vocabulary of [`super::Hypervisor`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::TscMode;
use crate::ids::{DomId, Gfn, KiB, Port};

/// How a guest is virtualised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// Paravirtual: page tables by hypercall, no hardware support needed.
    Pv,
    /// HVM container without device model: hardware page tables, direct kernel boot.
    Pvh,
    /// HVM with QEMU as device model. `rxl` lists such domains; it does not create them yet.
    Hvm,
}

/// Why a domain shut down (`SHUTDOWN_*`, `xen/include/public/sched.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownReason {
    /// Clean power-off.
    Poweroff,
    /// Clean reboot.
    Reboot,
    /// Suspended for save or migration.
    Suspend,
    /// The guest's kernel crashed.
    Crash,
    /// The guest's watchdog fired.
    Watchdog,
    /// Soft reset (kexec inside the guest).
    SoftReset,
    /// A number that Xen's headers do not name.
    Other(u8),
}

impl ShutdownReason {
    /// Xen's number for it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Poweroff => 0,
            Self::Reboot => 1,
            Self::Suspend => 2,
            Self::Crash => 3,
            Self::Watchdog => 4,
            Self::SoftReset => 5,
            Self::Other(code) => code,
        }
    }

    /// The reason that Xen gives this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Poweroff,
            1 => Self::Reboot,
            2 => Self::Suspend,
            3 => Self::Crash,
            4 => Self::Watchdog,
            5 => Self::SoftReset,
            other => Self::Other(other),
        }
    }
}

/// What a domain is doing, as far as one answer of Xen tells (`XEN_DOMINF_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// A vCPU is on a processor now.
    pub running: bool,
    /// All vCPUs wait for an event.
    pub blocked: bool,
    /// Paused by the toolstack.
    pub paused: bool,
    /// Shut down, for this reason; its memory is still there.
    pub shutdown: Option<ShutdownReason>,
    /// Being destroyed.
    pub dying: bool,
}

/// One domain as Xen sees it (`xen_domctl_getdomaininfo`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DomainInfo {
    /// Its number.
    pub id: DomId,
    /// The handle it was made with: the configuration's `uuid`.
    pub uuid: Uuid,
    /// How it is virtualised; an HVM container counts as `Pvh` only if the toolstack's xenstore node says so.
    pub hvm_container: bool,
    /// What it is doing.
    pub state: RunState,
    /// Memory that it has now.
    pub memory: KiB,
    /// Memory that it may have.
    pub max_memory: KiB,
    /// vCPUs on line.
    pub online_vcpus: u32,
    /// Highest vCPU number.
    pub max_vcpu_id: u32,
    /// CPU time used so far, in ns.
    pub cpu_time_ns: u64,
}

/// One vCPU (`xen_domctl_getvcpuinfo`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VcpuInfo {
    /// Its number in the domain.
    pub vcpu: u32,
    /// The processor it runs or last ran on.
    pub cpu: u32,
    /// On line.
    pub online: bool,
    /// Waiting for an event.
    pub blocked: bool,
    /// On a processor now.
    pub running: bool,
    /// CPU time used so far, in ns.
    pub cpu_time_ns: u64,
    /// Hard affinity: the processors it may run on, ascending; all of them if it is not pinned.
    pub hard_affinity: Vec<u32>,
    /// Soft affinity: the processors it prefers, ascending.
    pub soft_affinity: Vec<u32>,
}

/// Facts of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostInfo {
    /// Xen's major version.
    pub xen_major: u32,
    /// Xen's minor version.
    pub xen_minor: u32,
    /// The rest of the version: `.7`.
    pub xen_extra: String,
    /// What guests it can run: `xen-3.0-x86_64 hvm-3.0-x86_32 ...`.
    pub xen_caps: String,
    /// The change set that it was built from.
    pub xen_changeset: String,
    /// Its command line.
    pub xen_commandline: String,
    /// Compiler, builder and date.
    pub xen_compiled: String,
    /// Scheduler's name.
    pub scheduler: String,
    /// Page size in bytes.
    pub page_size: u32,
    /// Processors on line.
    pub nr_cpus: u32,
    /// Highest processor number.
    pub max_cpu_id: u32,
    /// NUMA nodes.
    pub nr_nodes: u32,
    /// Cores in a socket.
    pub cores_per_socket: u32,
    /// Threads in a core.
    pub threads_per_core: u32,
    /// Processor clock in kHz.
    pub cpu_khz: u32,
    /// Hardware capability words as Xen reports them.
    pub hw_caps: [u32; 8],
    /// What the hardware and Xen can virtualise: `pv hvm hap ...`.
    pub virt_caps: Vec<String>,
    /// All memory of the host.
    pub total_memory: KiB,
    /// Memory in Xen's free heap.
    pub free_memory: KiB,
    /// Memory that waits to be scrubbed.
    pub scrub_memory: KiB,
    /// Memory claimed but not yet given out.
    pub outstanding_claims: KiB,
}

/// What [`super::Hypervisor::create`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSpec {
    /// PV or PVH.
    pub kind: GuestKind,
    /// The domain's handle.
    pub uuid: Uuid,
    /// vCPUs it may ever have.
    pub max_vcpus: u32,
    /// Memory limit, with the toolstack's slack included.
    pub max_memory: KiB,
    /// Grant table size limit, in frames.
    pub max_grant_frames: u32,
    /// Maptrack size limit, in frames (a driver domain needs more).
    pub max_maptrack_frames: u32,
    /// Highest event channel port.
    pub max_event_channels: u32,
    /// PVH: memory for hardware page tables (`XEN_DOMCTL_set_paging_mempool_size`).
    pub paging_pool: KiB,
    /// The time stamp counter's behaviour (`XEN_DOMCTL_settscinfo`).
    pub tsc_mode: TscMode,
}

/// What [`super::Hypervisor::build`] puts into a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSpec {
    /// PV or PVH; the same as in [`CreateSpec`].
    pub kind: GuestKind,
    /// Kernel image: bzImage or ELF with Xen notes.
    pub kernel: PathBuf,
    /// Initial ramdisk.
    pub ramdisk: Option<PathBuf>,
    /// Kernel command line.
    pub cmdline: String,
    /// Memory at start.
    pub memory: KiB,
    /// Memory that it may balloon up to.
    pub max_memory: KiB,
    /// vCPUs (ACPI tables of a PVH guest name them all).
    pub vcpus: u32,
    /// The guest's end of the xenstore channel.
    pub store_port: Port,
    /// The domain that runs xenstored.
    pub store_domain: DomId,
    /// The guest's end of the console channel.
    pub console_port: Port,
    /// The domain that runs xenconsoled.
    pub console_domain: DomId,
}

/// What a finished build tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Frame of the xenstore ring, as `XS_INTRODUCE` wants it (PV: machine frame, PVH: guest frame).
    pub store_frame: Gfn,
    /// Frame of the console ring, as the console's `ring-ref` node wants it.
    pub console_frame: Gfn,
}

/// What can be sent to a vCPU (`XEN_DOMCTL_SENDTRIGGER_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Non-maskable interrupt.
    Nmi,
    /// Reset the vCPU.
    Reset,
    /// INIT signal.
    Init,
    /// ACPI power button.
    Power,
    /// ACPI sleep button.
    Sleep,
    /// Resume from ACPI S3.
    S3Resume,
}
