// SPDX-License-Identifier: GPL-3.0-only
//! The error of a library call: which call, which errno, and what the library said.

use std::fmt;
use std::io;

/// A call of libxenctrl or libxenguest that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct XenError {
    /// The C function's name.
    pub call: &'static str,
    /// What `errno` was set to by this call; 0 when the library set none.
    pub errno: i32,
    /// Errors and warnings that the libraries logged during the call, oldest first.
    pub messages: Vec<String>,
}

impl XenError {
    /// A failure that this crate found before it made the call.
    pub(crate) fn before(call: &'static str, errno: i32, message: impl Into<String>) -> Self {
        Self {
            call,
            errno,
            messages: vec![message.into()],
        }
    }

    /// No domain (or vCPU) with this number: `ESRCH`.
    #[must_use]
    pub const fn is_no_such_domain(&self) -> bool {
        self.errno == libc::ESRCH
    }

    /// No right to do this, or no Xen to do it with: not in Dom0, not root.
    #[must_use]
    pub const fn is_denied(&self) -> bool {
        matches!(self.errno, libc::EPERM | libc::EACCES)
    }

    /// Out of memory or of another thing that Xen counts.
    #[must_use]
    pub const fn is_out_of_resources(&self) -> bool {
        matches!(self.errno, libc::ENOMEM | libc::ENOSPC | libc::E2BIG)
    }
}

impl fmt::Display for XenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.call)?;
        match self.errno {
            0 => write!(f, " failed")?,
            errno => write!(f, ": {}", io::Error::from_raw_os_error(errno))?,
        }
        for (i, message) in self.messages.iter().enumerate() {
            write!(f, "{}{message}", if i == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::XenError;

    #[test]
    fn display_names_call_errno_and_messages() {
        let error = XenError {
            call: "xc_domain_create",
            errno: libc::ENOMEM,
            messages: vec!["first".into(), "second".into()],
        };
        let text = error.to_string();
        assert!(
            text.starts_with("xc_domain_create: Cannot allocate memory"),
            "{text}"
        );
        assert!(text.ends_with("first; second"), "{text}");
        assert!(error.is_out_of_resources());
    }

    #[test]
    fn display_without_errno_claims_none() {
        let error = XenError {
            call: "xc_dom_parse_image",
            errno: 0,
            messages: vec![],
        };
        assert_eq!(error.to_string(), "xc_dom_parse_image failed");
    }
}
