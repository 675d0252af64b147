// SPDX-License-Identifier: GPL-3.0-only
//! Devices: the store's nodes that front-end and back-end meet at, and what the back-end's domain does to plug them in.
//!
//! Who lives here: `nodes` (pure: which nodes), `vdev` (disk names), `hotplug` (native plugging over `netlink` and `loopdev`, or a
//! script), `close` (orderly removal), `list` (what is attached), `relay` (the way to the logger's `ftlogger`). Who may
//! call in: `domain`, `supervise`, `cli`, and the driver domain's `devd`.

pub mod close;
pub mod hotplug;
pub mod list;
pub mod loopdev;
pub mod netlink;
pub mod nodes;
pub mod relay;
pub mod script;
#[cfg(test)]
pub(crate) mod testing;
pub mod vdev;

use std::fmt;

use crate::error::Result;
use crate::ids::DomId;
use crate::store::{Store, StoreExt, XsPath};

/// A kind of device, as paths spell it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A console.
    Console,
    /// A network interface.
    Vif,
    /// A block device.
    Vbd,
    /// Another one, made by another toolstack (`qdisk`, `vkbd`, `9pfs`).
    Other(String),
}

impl Kind {
    /// The word in paths.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Console => "console",
            Self::Vif => "vif",
            Self::Vbd => "vbd",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Kind {
    fn from(word: &str) -> Self {
        match word {
            "console" => Self::Console,
            "vif" => Self::Vif,
            "vbd" => Self::Vbd,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One device of a domain: who has it, who serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// The domain that has it.
    pub domain: DomId,
    /// Its kind in the front-end's and the toolstack's paths.
    pub kind: Kind,
    /// Its kind in the back-end's path: the same, but for example `qdisk` for a `vbd` that QEMU serves.
    pub backend_kind: Kind,
    /// Its number within domain and kind.
    pub devid: u32,
    /// The domain that serves it.
    pub backend: DomId,
}

impl Device {
    /// A device that both sides call by the same kind.
    #[must_use]
    pub fn new(domain: DomId, kind: Kind, devid: u32, backend: DomId) -> Self {
        Self {
            domain,
            backend_kind: kind.clone(),
            kind,
            devid,
            backend,
        }
    }

    /// The front-end's directory. The first console has a place of its own.
    #[must_use]
    pub fn frontend_path(&self) -> XsPath {
        let domain = XsPath::domain(self.domain);
        if self.kind == Kind::Console && self.devid == 0 {
            return domain.join("console");
        }
        domain.join(format_args!("device/{}/{}", self.kind, self.devid))
    }

    /// The back-end's directory.
    #[must_use]
    pub fn backend_path(&self) -> XsPath {
        XsPath::domain(self.backend).join(format_args!(
            "backend/{}/{}/{}",
            self.backend_kind, self.domain, self.devid
        ))
    }

    /// The toolstack's own record, which neither end may write.
    #[must_use]
    pub fn libxl_path(&self) -> XsPath {
        XsPath::new(format!(
            "/libxl/{}/device/{}/{}",
            self.domain, self.kind, self.devid
        ))
    }

    /// The device whose back-end's directory is `path`; its front-end kind is taken to be the same.
    #[must_use]
    pub fn from_backend_path(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("/local/domain/")?.split('/');
        let backend = DomId(parts.next()?.parse().ok()?);
        if parts.next()? != "backend" {
            return None;
        }
        let kind = Kind::from(parts.next()?);
        let domain = DomId(parts.next()?.parse().ok()?);
        let devid = parts.next()?.parse().ok()?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self::new(domain, kind, devid, backend))
    }

    /// The name that the back-end's kernel gives a network interface: `vifDOMID.DEVID`.
    #[must_use]
    pub fn interface(&self) -> String {
        format!("vif{}.{}", self.domain, self.devid)
    }
}

/// All devices that the toolstack has recorded for a domain, in at most three flights. A record without a valid back-end
/// path is left out: it names nothing that could be removed.
pub fn of_domain<S: Store + ?Sized>(store: &S, domain: DomId) -> Result<Vec<Device>> {
    let root = XsPath::new(format!("/libxl/{domain}/device"));
    let kinds = store.list(&root)?;
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let directories: Vec<XsPath> = kinds.iter().map(|kind| root.join(kind)).collect();
    let mut records = Vec::new();
    for ((kind, directory), names) in kinds
        .iter()
        .zip(&directories)
        .zip(store.list_many(&directories)?)
    {
        records.extend(
            names
                .iter()
                .map(|name| (Kind::from(kind.as_str()), directory.join(name))),
        );
    }
    let pointers: Vec<XsPath> = records
        .iter()
        .map(|(_, path)| path.join("backend"))
        .collect();
    let mut devices = Vec::new();
    for ((kind, _), backend) in records.into_iter().zip(store.read_many(&pointers)?) {
        let found = backend.and_then(|path| Device::from_backend_path(&path));
        if let Some(device) = found.filter(|device| device.domain == domain) {
            devices.push(Device { kind, ..device });
        }
    }
    devices.sort();
    Ok(devices)
}

/// Removes the nodes of `devices`, and the directories above that are empty then, in one transaction. Nodes that are gone
/// already are no error.
pub fn remove_nodes<S: Store + ?Sized>(store: &S, devices: &[Device]) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    store.transaction(|tx| nodes::remove(tx, devices))
}

#[cfg(test)]
mod tests;
