// SPDX-License-Identifier: GPL-3.0-only
//! The one error type of the toolstack: what failed, on which object, why, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::DomId;

/// What kind of failure it was. Scripts may rely on the names (JSON field `code`) and on [`Code::exit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The command line or the configuration file is wrong; nothing was touched.
    Usage,
    /// The named object does not exist.
    NotFound,
    /// The name, or the object, exists already.
    Exists,
    /// The host has not enough of something: memory, disk space, event channels.
    Resources,
    /// The object is not in a state in which this can be done.
    State,
    /// Something did not happen in the time it was given.
    Timeout,
    /// Xen refused a hypercall.
    Hypercall,
    /// xenstored refused a request or cannot be reached.
    Store,
    /// The caller lacks a right: not root, not in Dom0, no access to a device file.
    Denied,
    /// The operating system refused something else (file, network, loop device).
    System,
    /// The operator stopped the operation (Ctrl-C); everything was undone.
    Interrupted,
}

impl Code {
    /// The process exit code: 2 for usage, 3 for any failure.
    #[must_use]
    pub const fn exit(self) -> u8 {
        match self {
            Self::Usage => 2,
            _ => 3,
        }
    }
}

/// A failure, told completely: `rxl create: web: cannot ...: because ... (hint)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What kind of failure.
    pub code: Code,
    /// The operation, a verb phrase that completes "cannot ...": `"build the domain"`.
    pub op: String,
    /// The domain that the operation was about, if it has a number already.
    pub domain: Option<DomId>,
    /// The object: a domain's name, a file, a bridge, a xenstore path.
    pub object: String,
    /// Why: the lower layer's words, with errno spelled out.
    pub cause: String,
    /// What the operator can do, if anything is known.
    pub hint: Option<String>,
    /// Failures of the undo that followed, each told once; empty when the undo was complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `op` on `object` because of `cause`.
    pub fn new(
        code: Code,
        op: impl Into<String>,
        object: impl Into<String>,
        cause: impl fmt::Display,
    ) -> Self {
        Self {
            code,
            op: op.into(),
            domain: None,
            object: object.into(),
            cause: cause.to_string(),
            hint: None,
            leftovers: Vec::new(),
        }
    }

    /// The same failure with a line of advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, told to be about domain `id`.
    #[must_use]
    pub const fn domain(mut self, id: DomId) -> Self {
        self.domain = Some(id);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot {}: {}", self.object, self.op, self.cause)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        for left in &self.leftovers {
            write!(f, "\n  left behind: {left}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
