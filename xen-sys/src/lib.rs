// SPDX-License-Identifier: GPL-3.0-only
//! Bindings to Xen's control libraries and safe handles over them.
//!
//! The only crate of the toolstack with `unsafe`. Two handles: [`Xenctrl`] for hypercalls (libxenctrl) and
//! [`DomBuilder`] for filling a new domain (libxenguest). Both speak plain numbers and records of this crate; what they
//! mean to a toolstack is `toolstack::hypervisor`'s business. Every failure is a [`XenError`] that carries what
//! the libraries said; nothing is printed.
//!
//! Without the feature `xen` there are only ioctls of Linux ([`loop_ioctl`], [`guest_ioctl`], [`grants`]), and no library is linked.

#[cfg(feature = "xen")]
mod ctl;
#[cfg(feature = "xen")]
mod dom;
#[cfg(feature = "xen")]
mod domain;
#[cfg(feature = "xen")]
mod error;
pub mod grants;
pub mod guest_ioctl;
#[cfg(feature = "xen")]
mod host;
#[cfg(feature = "xen")]
mod image;
#[cfg(feature = "xen")]
mod log;
pub mod loop_ioctl;
#[cfg(feature = "xen")]
mod raw;
#[cfg(feature = "xen")]
mod setup;

#[cfg(feature = "xen")]
pub use ctl::Xenctrl;
#[cfg(feature = "xen")]
pub use dom::{Container, DomBuilder, DomSettings, E820Entry, Frames, HvmLayout, LoadedTable};
#[cfg(feature = "xen")]
pub use domain::{DomainFlags, DomainRecord, VcpuRecord};
#[cfg(feature = "xen")]
pub use error::XenError;
#[cfg(feature = "xen")]
pub use host::{Capabilities, PhysInfo, Versions};
#[cfg(feature = "xen")]
pub use setup::CreateDomain;

/// Constants of Xen's interface that the layers above name.
#[cfg(feature = "xen")]
pub mod consts {
    use crate::raw;

    /// The kernel may take its RSDP address from the start info (`XENFEAT_linux_rsdp_unrestricted`).
    pub const FEATURE_RSDP_UNRESTRICTED: u32 = raw::XENFEAT_linux_rsdp_unrestricted;
    /// First frame after the special pages of an HVM container (`X86_HVM_END_SPECIAL_REGION`).
    pub const HVM_END_SPECIAL_REGION: u64 = raw::X86_HVM_END_SPECIAL_REGION as u64;
    /// Number of special pages of an HVM container (`X86_HVM_NR_SPECIAL_PAGES`).
    pub const HVM_NR_SPECIAL_PAGES: u64 = raw::X86_HVM_NR_SPECIAL_PAGES as u64;
    /// Most tables that [`crate::DomBuilder::load_tables`] takes (`MAX_ACPI_MODULES`).
    pub const MAX_TABLES: usize = raw::MAX_ACPI_MODULES as usize;
    /// Trigger: non-maskable interrupt.
    pub const TRIGGER_NMI: u32 = raw::XEN_DOMCTL_SENDTRIGGER_NMI;
    /// Trigger: reset the vCPU.
    pub const TRIGGER_RESET: u32 = raw::XEN_DOMCTL_SENDTRIGGER_RESET;
    /// Trigger: INIT signal.
    pub const TRIGGER_INIT: u32 = raw::XEN_DOMCTL_SENDTRIGGER_INIT;
    /// Trigger: ACPI power button.
    pub const TRIGGER_POWER: u32 = raw::XEN_DOMCTL_SENDTRIGGER_POWER;
    /// Trigger: ACPI sleep button.
    pub const TRIGGER_SLEEP: u32 = raw::XEN_DOMCTL_SENDTRIGGER_SLEEP;
}
