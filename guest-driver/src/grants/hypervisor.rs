// SPDX-License-Identifier: GPL-3.0-only
//! What is needed of Xen, so that tests can do without it: granted pages and an event channel. Failures are told in the
//! operator's words, since the program that is refused prints them.

use std::os::fd::AsFd;

/// Bytes of a page.
pub(crate) const PAGE: u64 = xen_sys::grants::PAGE as u64;

/// Who gives pages and bells.
pub(crate) trait Hypervisor {
    /// Its pages.
    type Pages: Pages;
    /// Its event channel.
    type Bell: Bell;

    /// A file without pages yet.
    fn pages(&self) -> Result<Self::Pages, String>;

    /// An event channel for the domain `logger`, to which nobody listens yet.
    fn bell(&self, logger: u16) -> Result<Self::Bell, String>;
}

/// Pages that other domains may copy from and to. The descriptor maps them, one behind the other, zero at first; they are
/// taken back when this and all mappings are gone.
pub(crate) trait Pages: AsFd {
    /// Adds `count` pages for the domain `logger`, all or none, and returns their grefs.
    fn add(&mut self, logger: u16, count: u32) -> Result<Vec<u32>, String>;
}

/// An event channel. Its descriptor is readable when it was rung.
pub(crate) trait Bell: AsFd {
    /// This domain's port.
    fn port(&self) -> u32;

    /// Rings at the other end, if somebody is there.
    fn ring(&self) -> std::io::Result<()>;

    /// Whether it was rung since this was asked last.
    fn heard(&self) -> std::io::Result<bool>;
}
