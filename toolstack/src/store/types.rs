// SPDX-License-Identifier: GPL-3.0-only
//! The vocabulary of [`super::Store`].

use std::fmt;

use crate::ids::{DomId, Gfn, Port};

/// A path in the store: absolute, or relative to the caller's own domain, or special (`@releaseDomain`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XsPath(String);

impl XsPath {
    /// A path as given; the store refuses what it does not like.
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// The path of `name` below this one; `name` may have several parts.
    #[must_use]
    pub fn join(&self, name: impl fmt::Display) -> Self {
        Self(format!("{}/{name}", self.0.trim_end_matches('/')))
    }

    /// A domain's directory, `/local/domain/ID`.
    #[must_use]
    pub fn domain(id: DomId) -> Self {
        Self(format!("/local/domain/{id}"))
    }

    /// The path above this one; `None` for the root, a special path, or a relative path of one part.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            Some(0) if self.0.len() > 1 => Some(Self::new("/")),
            Some(at) if at > 0 => Some(Self::new(&self.0[..at])),
            _ => None,
        }
    }

    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for XsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One entry of a node's permissions; the first entry names the owner and what everybody else may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Whom it is about.
    pub domain: DomId,
    /// May read.
    pub read: bool,
    /// May write.
    pub write: bool,
}

impl Permission {
    /// Owned by `domain`, nobody else may do anything (`nID`).
    #[must_use]
    pub const fn owner(domain: DomId) -> Self {
        Self {
            domain,
            read: false,
            write: false,
        }
    }

    /// `domain` may read (`rID`).
    #[must_use]
    pub const fn read(domain: DomId) -> Self {
        Self {
            domain,
            read: true,
            write: false,
        }
    }

    /// `domain` may read and write (`bID`).
    #[must_use]
    pub const fn both(domain: DomId) -> Self {
        Self {
            domain,
            read: true,
            write: true,
        }
    }
}

/// As xenstored writes it: `n0`, `r5`, `w5`, `b5`.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match (self.read, self.write) {
            (false, false) => 'n',
            (true, false) => 'r',
            (false, true) => 'w',
            (true, true) => 'b',
        };
        write!(f, "{letter}{}", self.domain)
    }
}

/// One request (`xs_wire.h`, `enum xsd_sockmsg_type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The node's value.
    Read(XsPath),
    /// The names below the node.
    Directory(XsPath),
    /// Sets the node's value, making it and its parents when they are missing.
    Write(XsPath, Vec<u8>),
    /// Makes an empty node unless it exists.
    Mkdir(XsPath),
    /// Removes the node and all below it.
    Rm(XsPath),
    /// The node's permissions.
    GetPerms(XsPath),
    /// Sets the node's permissions.
    SetPerms(XsPath, Vec<Permission>),
    /// Tells xenstored of a new domain's ring and event channel.
    Introduce {
        /// The domain.
        domain: DomId,
        /// Frame of its ring.
        frame: Gfn,
        /// The domain's end of the channel.
        port: Port,
    },
    /// Tells xenstored to drop its connection to a domain.
    Release(DomId),
}

impl Request {
    /// A write of text.
    pub fn write(path: XsPath, value: impl fmt::Display) -> Self {
        Self::Write(path, value.to_string().into_bytes())
    }
}

impl Request {
    /// The path that the request is about; `None` for requests about domains.
    #[must_use]
    pub const fn path(&self) -> Option<&XsPath> {
        match self {
            Self::Read(path)
            | Self::Directory(path)
            | Self::Write(path, _)
            | Self::Mkdir(path)
            | Self::Rm(path)
            | Self::GetPerms(path)
            | Self::SetPerms(path, _) => Some(path),
            Self::Introduce { .. } | Self::Release(_) => None,
        }
    }

    /// What the request does, as a verb: `"write"`.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Directory(_) => "list",
            Self::Write(..) => "write",
            Self::Mkdir(_) => "make",
            Self::Rm(_) => "remove",
            Self::GetPerms(_) => "read the permissions of",
            Self::SetPerms(..) => "set the permissions of",
            Self::Introduce { .. } => "introduce",
            Self::Release(_) => "release",
        }
    }
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done,
    /// A value.
    Value(Vec<u8>),
    /// Names below a node.
    Names(Vec<String>),
    /// Permissions.
    Perms(Vec<Permission>),
}

/// Why xenstored refused: the name it sends, `ENOENT`, `EACCES`, `EQUOTA` ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errno(pub String);

impl Errno {
    /// The node does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.0 == "ENOENT"
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tx(pub u32);

/// A watch: what is watched, and the word that its events carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Path watched.
    pub path: XsPath,
    /// Word given back with each event.
    pub token: String,
}

/// Something below a watched path changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// The node that changed (or a parent that was removed).
    pub path: XsPath,
    /// The watch's token.
    pub token: String,
}
