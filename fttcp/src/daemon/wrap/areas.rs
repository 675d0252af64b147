// SPDX-License-Identifier: GPL-3.0-only
//! Which memory domains grant for the records of their servers. It is kept in a file, for the logger that comes after this one:
//! its frames must not go out before it reads along again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use xen_sys::grants::{EventChannels, GrantCopy};

use super::super::clock::log;
use super::area::{Area, Bell, Copier};
use crate::control::WrapArea;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Areas {
    by_interface: BTreeMap<String, WrapArea>,
    path: Option<PathBuf>,
    xen: Option<Xen>,
}

#[derive(Debug)]
struct Xen {
    copier: Rc<dyn Copier>,
    channels: Rc<EventChannels>,
}

impl Xen {
    fn open() -> Result<Self, String> {
        let failed = |module: &str, error: io::Error| {
            format!("memory that other domains grant cannot be used: {error}; modprobe {module}")
        };
        let copier = GrantCopy::open().map_err(|error| failed("xen-gntdev", error))?;
        let channels = EventChannels::open().map_err(|error| failed("xen-evtchn", error))?;
        Ok(Self {
            copier: Rc::new(copier),
            channels: Rc::new(channels),
        })
    }
}

impl Areas {
    /// Reads what a logger before this one has left at `path`, and keeps it there.
    pub(super) fn keep_at(&mut self, path: &Path) {
        self.path = Some(path.to_owned());
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return log(format_args!("cannot read {}: {error}", path.display())),
        };
        match serde_json::from_slice(&text) {
            Ok(known) => self.by_interface = known,
            Err(error) => log(format_args!(
                "{} is not understood, and not used: {error}",
                path.display()
            )),
        }
        if !self.by_interface.is_empty()
            && let Err(error) = self.need_xen()
        {
            log(error);
        }
    }

    /// Removes the file.
    pub(super) fn forget(&self) {
        let removed = self.path.as_ref().map(fs::remove_file);
        if let Some(Err(error)) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            log(format_args!("cannot remove the list of areas: {error}"));
        }
    }

    fn need_xen(&mut self) -> Result<(), String> {
        if self.xen.is_none() {
            self.xen = Some(Xen::open()?);
        }
        Ok(())
    }

    /// What is granted for the server behind `interface` has changed.
    pub(super) fn set(&mut self, interface: &str, area: Option<WrapArea>) -> Result<(), String> {
        let changed = match area {
            Some(area) => {
                self.need_xen()?;
                self.by_interface.insert(interface.to_owned(), area) != Some(area)
            }
            None => self.by_interface.remove(interface).is_some(),
        };
        if changed && let Some(path) = &self.path {
            let kept = serde_json::to_vec(&self.by_interface).map_err(io::Error::from);
            let new = path.with_extension("areas.new");
            let kept = kept
                .and_then(|text| fs::write(&new, text))
                .and_then(|()| fs::rename(&new, path));
            kept.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(())
    }

    /// What is granted for the server behind `interface`.
    pub(super) fn granted(&self, interface: &str) -> Option<WrapArea> {
        self.by_interface.get(interface).copied()
    }

    /// Begins to use an area.
    pub(super) fn open(&self, place: WrapArea) -> Option<Area> {
        let xen = self.xen.as_ref()?;
        let bell = Bell::bind(&xen.channels, place).inspect_err(|error| {
            // Its record can be read without, but it cannot be given more room.
            log(format_args!(
                "cannot bind event channel port {} of domain {}: {error}",
                place.port, place.domain
            ));
        });
        Some(Area::new(place, Rc::clone(&xen.copier), bell.ok()))
    }

    /// See [`super::Wraps::bells`].
    pub(super) fn bells(&self) -> Option<BorrowedFd<'_>> {
        self.xen.as_ref().map(|xen| xen.channels.as_fd())
    }

    /// The next port of an agent that has rung.
    pub(super) fn next_bell(&self) -> Option<u32> {
        let next = self.xen.as_ref()?.channels.next();
        next.unwrap_or_else(|error| {
            log(format_args!("cannot read event channels: {error}"));
            None
        })
    }
}
