// SPDX-License-Identifier: GPL-3.0-only
//! Reading xenstore's answers.

use crate::error::{Code, Error, Result};
use crate::store::{Errno, Reply, Request};

/// The answer as text; `None` if the node is missing, empty, or not text.
pub(super) fn text(answer: Result<Reply, Errno>) -> Option<String> {
    match answer {
        Ok(Reply::Value(bytes)) => String::from_utf8(bytes).ok().filter(|s| !s.is_empty()),
        _ => None,
    }
}

/// The answer as names; none if the node is missing.
pub(super) fn names(answer: Result<Reply, Errno>) -> Vec<String> {
    match answer {
        Ok(Reply::Names(names)) => names,
        _ => Vec::new(),
    }
}

/// Fails with the first refusal among `answers`, which belong to `requests`. A node that was to be removed and was
/// not there is no refusal.
pub(super) fn all_done(
    op: &str,
    requests: &[Request],
    answers: Vec<Result<Reply, Errno>>,
) -> Result<()> {
    for (request, answer) in requests.iter().zip(answers) {
        match (request, answer) {
            (_, Ok(_)) => {}
            (Request::Rm(_), Err(errno)) if errno.is_missing() => {}
            (request, Err(errno)) => return Err(refused(op, request, &errno)),
        }
    }
    Ok(())
}

fn refused(op: &str, request: &Request, errno: &Errno) -> Error {
    let (verb, object) = match request {
        Request::Read(path) => ("read", path.to_string()),
        Request::Directory(path) => ("list", path.to_string()),
        Request::Write(path, _) => ("write", path.to_string()),
        Request::Mkdir(path) => ("make", path.to_string()),
        Request::Rm(path) => ("remove", path.to_string()),
        Request::GetPerms(path) => ("read the permissions of", path.to_string()),
        Request::SetPerms(path, _) => ("set the permissions of", path.to_string()),
        Request::Introduce { domain, .. } => ("introduce", format!("domain {domain}")),
        Request::Release(domain) => ("release", format!("domain {domain}")),
    };
    let error = Error::new(
        Code::Store,
        op,
        object,
        format!("xenstored refused to {verb} it: {errno}"),
    );
    match errno.0.as_str() {
        "EQUOTA" | "ENOSPC" => {
            error.hint("a xenstore quota is exhausted: look for leftovers with xenstore-ls")
        }
        "EACCES" | "EPERM" => error.hint("run it as root in Dom0"),
        _ => error,
    }
}
