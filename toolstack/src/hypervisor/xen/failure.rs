// SPDX-License-Identifier: GPL-3.0-only
//! A refused call told in the toolstack's words.

use xen_sys::XenError;

use crate::error::{Code, Error};
use crate::ids::DomId;

/// `EINVAL`, `ENOSYS` and `EOPNOTSUPP` of Linux, which Xen's error numbers are given as.
pub(super) const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();
const ENOSYS: i32 = rustix::io::Errno::NOSYS.raw_os_error();
const EOPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

/// How an error names a domain of which only the number is known.
pub(super) fn name(id: DomId) -> String {
    format!("domain {id}")
}

/// The failure of a call about `object`.
pub(super) fn fail(op: &str, object: impl Into<String>, cause: &XenError) -> Error {
    let code = match cause {
        cause if cause.is_no_such_domain() => Code::NotFound,
        cause if cause.is_denied() => Code::Denied,
        cause if cause.is_out_of_resources() => Code::Resources,
        _ => Code::Hypercall,
    };
    Error::new(code, op, object, cause)
}

/// The failure of a call about a domain.
pub(super) fn fail_domain(op: &str, id: DomId, cause: &XenError) -> Error {
    if cause.is_no_such_domain() {
        return no_such_domain(op, id);
    }
    fail(op, name(id), cause).domain(id)
}

/// There is no such domain.
pub(super) fn no_such_domain(op: &str, id: DomId) -> Error {
    Error::new(
        Code::NotFound,
        op,
        name(id),
        "there is no domain (or vCPU) with this number",
    )
    .domain(id)
    .hint("rxl list shows the domains")
}

/// Xen cannot be reached, or does not let this caller rule.
pub(super) fn unreachable(op: &str, cause: &XenError) -> Error {
    Error::new(Code::Denied, op, "/dev/xen/privcmd", cause).hint(
        "run this as root in Dom0 of a host that runs Xen, with the module xen-privcmd loaded",
    )
}

/// Xen does not do this for this kind of guest.
pub(super) const fn is_unsupported(cause: &XenError) -> bool {
    matches!(cause.errno, EINVAL | ENOSYS | EOPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: rustix::io::Errno) -> XenError {
        XenError {
            call: "xc_test",
            errno: errno.raw_os_error(),
            messages: vec!["why".into()],
        }
    }

    #[test]
    fn codes_follow_errno() {
        use rustix::io::Errno;
        let code = |errno| fail_domain("test", DomId(3), &error(errno)).code;
        assert_eq!(code(Errno::SRCH), Code::NotFound);
        assert_eq!(code(Errno::PERM), Code::Denied);
        assert_eq!(code(Errno::NOMEM), Code::Resources);
        assert_eq!(code(Errno::BUSY), Code::Hypercall);
    }

    #[test]
    fn prose_names_domain_call_and_library_message() {
        let text = fail_domain(
            "pause the domain",
            DomId(3),
            &error(rustix::io::Errno::BUSY),
        );
        let text = text.to_string();
        for part in ["domain 3: cannot pause the domain", "xc_test", "why"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn opening_without_xen_is_denied_with_a_hint() {
        let denied = unreachable("reach the hypervisor", &error(rustix::io::Errno::NOENT));
        assert_eq!(denied.code, Code::Denied);
        assert!(denied.hint.is_some_and(|hint| hint.contains("Dom0")));
    }
}
