// SPDX-License-Identifier: GPL-3.0-only
//! The hypervisor in the toolstack's own words.
//!
//! Who lives here: the trait [`Hypervisor`] and its vocabulary; `xen` implements it through `xen-sys`, `sim` in
//! memory, deterministically, with every call a point where a fault can be injected.
//! Who may call in: `domain`, `supervise` and `cli`.

pub mod sim;
mod types;
mod xen;

pub use types::{
    BuildSpec, Built, CreateSpec, DomainInfo, GuestKind, HostInfo, RunState, ShutdownReason,
    Trigger, VcpuInfo,
};
pub use xen::{XenHypervisor, check_images};

use std::fs::File;

use crate::error::Result;
use crate::ids::{DomId, KiB, Port};

/// What the toolstack asks of Xen. Each method is one step: it has happened whole, or an error says why not.
pub trait Hypervisor {
    /// Facts of the host: versions, memory, processors (`XEN_SYSCTL_physinfo`, `xen_version`).
    fn host(&self) -> Result<HostInfo>;

    /// All domains, in order of their numbers, in as few hypercalls as Xen allows
    /// (`XEN_SYSCTL_getdomaininfolist`).
    fn domains(&self) -> Result<Vec<DomainInfo>>;

    /// One domain, or `None` if no domain has this number.
    fn domain(&self, id: DomId) -> Result<Option<DomainInfo>>;

    /// Makes an empty, paused domain (`XEN_DOMCTL_createdomain`) with its vCPUs
    /// (`XEN_DOMCTL_max_vcpus`) and its memory limit (`XEN_DOMCTL_max_mem`). Undo: [`Hypervisor::destroy`]. If
    /// a later part of it fails, the domain is gone again before the error is returned.
    fn create(&self, spec: &CreateSpec) -> Result<DomId>;

    /// Allocates an event channel of `id` that `remote` may bind (`EVTCHNOP_alloc_unbound`).
    fn alloc_unbound(&self, id: DomId, remote: DomId) -> Result<Port>;

    /// Gives the domain its memory, kernel, ramdisk, start information, CPUID policy and first vCPU state
    /// (libxenguest's `xc_dom_*`). The domain stays paused.
    fn build(&self, id: DomId, spec: &BuildSpec) -> Result<Built>;

    /// Writes the memory and the processors of a domain that has suspended itself to `to`, as libxc's migration stream
    /// (`xc_domain_save`). The domain stays as it is.
    fn save(&self, id: DomId, to: &File) -> Result<()>;

    /// Gives the domain what [`Hypervisor::save`] has written of another one, instead of building it
    /// (`xc_domain_restore`). Kernel, ramdisk and command line of `spec` do not count: they are in the image. The domain
    /// stays paused.
    fn restore(&self, id: DomId, spec: &BuildSpec, from: &File) -> Result<Built>;

    /// Stops scheduling the domain; counted by Xen, so each pause needs one unpause.
    fn pause(&self, id: DomId) -> Result<()>;

    /// Undoes one [`Hypervisor::pause`].
    fn unpause(&self, id: DomId) -> Result<()>;

    /// Ends the domain at once and frees its memory (`XEN_DOMCTL_destroydomain`), continuing until Xen says
    /// that it is done. A domain that is gone already is an error with `Code::NotFound`.
    fn destroy(&self, id: DomId) -> Result<()>;

    /// Marks the domain as shut down for `reason` without asking it (`SCHEDOP_remote_shutdown`).
    fn remote_shutdown(&self, id: DomId, reason: ShutdownReason) -> Result<()>;

    /// Sends a trigger to one vCPU (`XEN_DOMCTL_sendtrigger`).
    fn trigger(&self, id: DomId, trigger: Trigger, vcpu: u32) -> Result<()>;

    /// The domain's vCPUs.
    fn vcpus(&self, id: DomId) -> Result<Vec<VcpuInfo>>;

    /// Changes the memory limit (`XEN_DOMCTL_max_mem`).
    fn set_max_mem(&self, id: DomId, max: KiB) -> Result<()>;

    /// Xen's own log ring (`XEN_SYSCTL_readconsole`); `clear` empties it.
    fn console_ring(&self, clear: bool) -> Result<Vec<u8>>;
}
