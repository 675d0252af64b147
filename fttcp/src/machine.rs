// SPDX-License-Identifier: GPL-3.0-only
//! What the machine has, for defaults that suit a logger VM as well as a host.

use rustix::system::sysinfo;

/// Memory that the kernel manages, in bytes (sysinfo(2)).
pub(crate) fn memory() -> u64 {
    let info = sysinfo();
    info.totalram.saturating_mul(info.mem_unit.into())
}
