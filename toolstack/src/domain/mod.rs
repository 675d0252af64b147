// SPDX-License-Identifier: GPL-3.0-only
//! A domain's life: create, list, ask to end, destroy, become an image, and recovery after a killed operation.
//!
//! Who lives here: each operation as a list of journaled steps, every one with its undo, over the traits
//! [`Hypervisor`] and [`Store`]. Who may call in: `cli` and `supervise`.
//!
//! An operation that fails, is interrupted or is killed at any step leaves nothing behind: the first two undo what
//! they have done before they return, the last is undone (or finished) by [`recover`].

mod capture;
mod checks;
mod create;
mod destroy;
mod journal;
mod names;
mod native;
mod plug;
mod power;
mod skeleton;
mod teardown;
mod userdata;

use std::path::PathBuf;

pub use capture::capture;
pub(crate) use capture::own_folder;
pub use create::{CreateOptions, create};
pub use destroy::{Recovered, destroy, recover};
pub use journal::{Entry, Operation, Owner};
pub use names::{DomainSummary, list, rename, resolve};
pub use native::NativePlug;
pub use plug::HotPlug;
pub use power::{PowerRequest, console_tty, power, sysrq, wait_end};

use crate::hypervisor::Hypervisor;
use crate::store::Store;

/// The host that an operation works on.
#[derive(Clone)]
pub struct Host<'a> {
    /// Xen.
    pub hv: &'a dyn Hypervisor,
    /// Its xenstore.
    pub store: &'a dyn Store,
    /// What plugs devices in.
    pub plug: &'a dyn HotPlug,
    /// Where operations keep their files.
    pub places: Places,
}

impl<'a> Host<'a> {
    /// A host with its files in the usual places.
    pub fn new(hv: &'a dyn Hypervisor, store: &'a dyn Store) -> Self {
        Self {
            hv,
            store,
            plug: &NativePlug,
            places: Places::default(),
        }
    }
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

/// Where operations keep their files, and in whose name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The journal's directory.
    pub journal: PathBuf,
    /// The directory of the configurations that `xl list -l` reads.
    pub userdata: PathBuf,
    /// The directory of the images that members of service groups are made of; its file system lives in memory.
    pub images: PathBuf,
    /// Who is responsible for the operations begun.
    pub owner: Owner,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            journal: PathBuf::from("/run/rxl/journal"),
            userdata: PathBuf::from("/var/lib/xen"),
            images: PathBuf::from("/dev/shm/rxl"),
            owner: Owner::this_process(),
        }
    }
}

#[cfg(test)]
mod tests;
