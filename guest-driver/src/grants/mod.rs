// SPDX-License-Identifier: GPL-3.0-only
//! What this guest grants to the logger's domain, for whoever has something to share with it: pages, a bell, and the node
//! that tells of them.
//!
//! Who lives here: `hypervisor` (what Xen gives, as a trait), `xen` (the real one), `node`.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod hypervisor;
pub(crate) mod node;
pub(crate) mod xen;
