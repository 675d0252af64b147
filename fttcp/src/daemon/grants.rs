// SPDX-License-Identifier: GPL-3.0-only
//! What service domains grant to this one, by the interfaces of their servers, and how it is used: memory, copied by Xen and never
//! mapped, since a domain whose memory is mapped elsewhere cannot go; and event channels, to be heard and to ring. It is kept
//! in a file, for the logger that comes after this one: it must know it before it sends frames.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use xen_sys::grants::{EventChannels, GrantCopy, Piece};

use super::clock::log;
use crate::control::{GRANTED, Grant};

/// What copies between this domain's memory and what another one has granted.
pub(super) trait Copier: fmt::Debug {
    fn copy(&self, domain: u16, pieces: &mut [Piece<'_>]) -> io::Result<()>;
}

impl Copier for GrantCopy {
    fn copy(&self, domain: u16, pieces: &mut [Piece<'_>]) -> io::Result<()> {
        Self::copy(self, domain, pieces)
    }
}

/// What the agent of the service domain hears, and is heard by.
#[derive(Debug)]
pub(super) struct Bell {
    channels: Rc<EventChannels>,
    port: u32,
}

impl Bell {
    /// Whether this is its local port.
    pub(super) const fn has(&self, port: u32) -> bool {
        self.port == port
    }

    /// Tells the agent that there is news.
    pub(super) fn ring(&self) {
        // A domain that has gone hears nothing, which its interface tells.
        let _ = self.channels.notify(self.port);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // The other end may have gone first.
        let _ = self.channels.unbind(self.port);
    }
}

/// Whether a group can say by this where something of its servers is: what their domains grant, or a path for each interface.
pub(super) fn is_place(text: &str) -> bool {
    text == GRANTED || (text.starts_with('/') && text.matches("{}").count() == 1)
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Grants {
    by_interface: BTreeMap<String, Grant>,
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

impl Grants {
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
            log(format_args!(
                "cannot remove the list of what domains grant: {error}"
            ));
        }
    }

    fn need_xen(&mut self) -> Result<(), String> {
        if self.xen.is_none() {
            self.xen = Some(Xen::open()?);
        }
        Ok(())
    }

    /// What is granted for the server behind `interface` has changed.
    ///
    /// # Errors
    /// This domain cannot use what another one grants, or it cannot be kept for the next logger.
    pub(super) fn set(&mut self, interface: &str, grant: Option<Grant>) -> Result<(), String> {
        let changed = match grant {
            Some(grant) => {
                self.need_xen()?;
                self.by_interface.insert(interface.to_owned(), grant) != Some(grant)
            }
            None => self.by_interface.remove(interface).is_some(),
        };
        if changed && let Some(path) = &self.path {
            let kept = serde_json::to_vec(&self.by_interface).map_err(io::Error::from);
            let mut new = path.clone().into_os_string();
            new.push(".new");
            let kept = kept
                .and_then(|text| fs::write(&new, text))
                .and_then(|()| fs::rename(&new, path));
            kept.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(())
    }

    /// What is granted for the server behind `interface`.
    pub(super) fn granted(&self, interface: &str) -> Option<Grant> {
        self.by_interface.get(interface).copied()
    }

    /// What copies, if there is Xen.
    pub(super) fn copier(&self) -> Option<Rc<dyn Copier>> {
        self.xen.as_ref().map(|xen| Rc::clone(&xen.copier))
    }

    /// Binds the bell of what a domain grants. Without one that can be copied, but nobody is told of it.
    pub(super) fn bell(&self, grant: Grant) -> Option<Bell> {
        let channels = &self.xen.as_ref()?.channels;
        let Grant { domain, port, .. } = grant;
        match channels.bind_interdomain(domain, port) {
            Ok(port) => Some(Bell {
                channels: Rc::clone(channels),
                port,
            }),
            Err(error) => {
                log(format_args!(
                    "cannot bind event channel port {port} of domain {domain}: {error}"
                ));
                None
            }
        }
    }

    /// What tells that an agent has rung, once there may be one.
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
