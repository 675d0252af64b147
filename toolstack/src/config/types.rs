// SPDX-License-Identifier: GPL-3.0-only
//! The typed form of a domain's configuration; it cannot express what `xl.cfg(5)` forbids.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::hypervisor::GuestKind;
use crate::ids::KiB;

/// What to do when a domain ends (`on_poweroff`, `on_reboot`, `on_crash`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Free everything.
    Destroy,
    /// Free everything and create it again from the stored configuration.
    Restart,
    /// Rename the old one, leave it for inspection, create a new one.
    RenameRestart,
    /// Leave it as it is.
    Preserve,
}

/// How the guest's time stamp counter behaves (`tsc_mode`, `xen-tscmode(7)`), in xl's words. xl's fourth word,
/// `native_paravirt`, is not here: Xen 4.17 has no such mode any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TscMode {
    /// The processor's own where the host keeps its counters in step, emulated elsewhere.
    #[default]
    Default,
    /// Every reading goes through Xen.
    AlwaysEmulate,
    /// Always the processor's own.
    Native,
}

/// One domain, as `rxl create` makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainConfig {
    /// Unique among living domains; 1 to 127 characters, no `/`.
    pub name: String,
    /// Handle; made at random when the file does not give one.
    pub uuid: Uuid,
    /// PV or PVH (`type`).
    pub kind: GuestKind,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial ramdisk.
    pub ramdisk: Option<PathBuf>,
    /// Kernel command line: `cmdline`, or `root=` + `extra` as xl joins them.
    pub cmdline: String,
    /// Memory at start (`memory`, MiB in the file).
    pub memory: KiB,
    /// Most memory (`maxmem`); equals `memory` when the file does not say.
    pub max_memory: KiB,
    /// vCPUs at start (`vcpus`).
    pub vcpus: u32,
    /// vCPUs at most (`maxvcpus`).
    pub max_vcpus: u32,
    /// Network interfaces, in order; the index is the devid.
    pub vifs: Vec<VifConfig>,
    /// Disks, in order.
    pub disks: Vec<DiskConfig>,
    /// What a clean power-off leads to.
    pub on_poweroff: Action,
    /// What a reboot leads to.
    pub on_reboot: Action,
    /// What a crash leads to.
    pub on_crash: Action,
    /// The domain runs back-ends for others (`driver_domain`).
    pub driver_domain: bool,
    /// The time stamp counter's behaviour; a stored configuration without it has the default.
    #[serde(default)]
    pub tsc_mode: TscMode,
}

/// One network interface (`xl-network-configuration(5)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VifConfig {
    /// MAC address; made under Xen's prefix 00:16:3e when the file does not give one.
    pub mac: [u8; 6],
    /// Bridge that the back-end is put on; `None` with a back-end that is not Dom0: left to that domain.
    pub bridge: Option<String>,
    /// Name or number of the domain that runs the back-end; `None` is Dom0.
    pub backend: Option<String>,
    /// Address told to the hot-plug script.
    pub ip: Option<String>,
    /// Hot-plug script; `None` is the native hot-plug.
    pub script: Option<PathBuf>,
    /// Name of the back-end's interface instead of vifDOMID.DEVID.
    pub vifname: Option<String>,
}

/// Who serves a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskBackend {
    /// blkback on a block device; a raw file is put behind a loop device first.
    Phy,
}

/// One disk (`xl-disk-configuration(5)`), format raw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// File or block device in the back-end domain.
    pub target: PathBuf,
    /// Name in the guest: `xvda`, `sda1`, `hdc`.
    pub vdev: String,
    /// Writable by the guest.
    pub writable: bool,
    /// Who serves it.
    pub backend: DiskBackend,
    /// Hot-plug script; `None` is the native hot-plug.
    pub script: Option<PathBuf>,
}
