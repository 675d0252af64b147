// SPDX-License-Identifier: GPL-3.0-only
//! Newtypes for numbers that must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A domain's number, unique among living domains (`domid_t`, `xen/include/public/xen.h`).
    DomId(u16)
}
number! {
    /// A guest frame number: a 4 KiB page as the guest's own address map counts it. For PV guests the
    /// pseudo-physical frame number.
    Gfn(u64)
}
number! {
    /// A machine frame number: a 4 KiB page of the host's memory.
    Mfn(u64)
}
number! {
    /// An event channel port (`evtchn_port_t`).
    Port(u32)
}
number! {
    /// An amount of memory in KiB, the unit of xenstore's memory nodes and of `XEN_DOMCTL_max_mem`.
    KiB(u64)
}

impl DomId {
    /// The control domain.
    pub const DOM0: Self = Self(0);
}

impl KiB {
    /// The amount in whole MiB, rounded down.
    #[must_use]
    pub const fn mib(self) -> u64 {
        self.0 / 1024
    }

    /// `mib` MiB; saturates at the type's limit.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1024))
    }

    /// The amount in whole 4 KiB pages.
    #[must_use]
    pub const fn pages(self) -> u64 {
        self.0 / 4
    }
}
