// SPDX-License-Identifier: GPL-3.0-only
//! What most callers want from a [`Store`]: text instead of bytes, refusals turned into errors, transactions that
//! start again after a conflict.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{Errno, Reply, Request, Store, Tx, Watch, XsPath};
use crate::error::{Code, Error, Result};

/// Conflicts in a row after which a transaction gives up: a live-lock, not bad luck.
const CONFLICTS_MAX: u32 = 64;

/// For waits that no signal handler ends early.
pub static UNINTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Turns xenstored's refusal of `request` into an error that names the node.
#[must_use]
pub fn refused(request: &Request, errno: &Errno) -> Error {
    let object = match request {
        Request::Introduce { domain, .. } | Request::Release(domain) => format!("domain {domain}"),
        other => other.path().map(XsPath::to_string).unwrap_or_default(),
    };
    let error = Error::new(
        Code::Store,
        format!("{} it in xenstore", request.verb()),
        object,
        meaning(errno),
    );
    match errno.0.as_str() {
        "ENOSPC" | "EQUOTA" => error.hint("remove stale nodes, or raise xenstored's quota"),
        "EACCES" | "EPERM" => error.hint("run this in the control domain, as root"),
        "E2BIG" => error.hint("a message may have 4096 bytes, a node of a guest 2048"),
        _ => error,
    }
}

/// The error's name with its meaning in words.
pub(super) fn meaning(errno: &Errno) -> String {
    let words = match errno.0.as_str() {
        "ENOENT" => "the node does not exist",
        "EACCES" | "EPERM" => "no right to do this",
        "EINVAL" => "the path or the request is not valid",
        "ENOSPC" | "EQUOTA" => "xenstored's quota is used up",
        "E2BIG" => "the message is too long",
        "EEXIST" => "it exists already",
        "EAGAIN" => "another client changed the same nodes",
        "EBUSY" => "too many transactions are open",
        "EIO" => "xenstored could not store it",
        "EISCONN" => "the domain is connected already",
        "ENOMEM" => "xenstored has no memory left",
        "ENOSYS" => "xenstored does not know this request",
        "EROFS" => "the store is read-only",
        _ => return errno.0.clone(),
    };
    format!("{words} ({errno})")
}

/// Convenience over every [`Store`].
pub trait StoreExt: Store {
    /// One request that must succeed.
    fn request(&self, request: Request) -> Result<Reply> {
        let requests = [request];
        let reply = self.batch(&requests)?.pop();
        match reply {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(errno)) => Err(refused(&requests[0], &errno)),
            None => Err(short_answer()),
        }
    }

    /// Sends all requests in one flight; the first refusal is the error. Not atomic: see [`Store::batch`].
    fn all(&self, requests: &[Request]) -> Result<Vec<Reply>> {
        check(requests, self.batch(requests)?)
    }

    /// A node's value as text; `None` if there is no such node.
    fn read_text(&self, path: &XsPath) -> Result<Option<String>> {
        let mut values = self.read_many(std::slice::from_ref(path))?;
        Ok(values.pop().flatten())
    }

    /// The values of many nodes as text, in one flight; `None` for each that does not exist.
    fn read_many(&self, paths: &[XsPath]) -> Result<Vec<Option<String>>> {
        let requests: Vec<Request> = paths.iter().cloned().map(Request::Read).collect();
        optional(&requests, self.batch(&requests)?, text)
    }

    /// The names below a node; none if there is no such node.
    fn list(&self, path: &XsPath) -> Result<Vec<String>> {
        let mut lists = self.list_many(std::slice::from_ref(path))?;
        Ok(lists.pop().unwrap_or_default())
    }

    /// The names below many nodes, in one flight; an empty list for each that does not exist.
    fn list_many(&self, paths: &[XsPath]) -> Result<Vec<Vec<String>>> {
        let requests: Vec<Request> = paths.iter().cloned().map(Request::Directory).collect();
        let lists = optional(&requests, self.batch(&requests)?, |reply| match reply {
            Reply::Names(names) => Some(names),
            _ => None,
        })?;
        Ok(lists.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Writes many nodes in one flight.
    fn write_all(&self, nodes: &[(XsPath, String)]) -> Result<()> {
        let requests: Vec<Request> = nodes
            .iter()
            .map(|(path, value)| Request::write(path.clone(), value))
            .collect();
        self.all(&requests).map(drop)
    }

    /// Removes nodes with all below them, in one flight; those that are gone already are no error.
    fn remove_all(&self, paths: &[XsPath]) -> Result<()> {
        let requests: Vec<Request> = paths.iter().cloned().map(Request::Rm).collect();
        optional(&requests, self.batch(&requests)?, Some).map(drop)
    }

    /// Runs `body` in a transaction and commits it; runs it again when another client got in between. When `body` fails, the
    /// transaction is discarded and its error returned.
    fn transaction<T>(&self, mut body: impl FnMut(&InTx<'_, Self>) -> Result<T>) -> Result<T> {
        for _ in 0..CONFLICTS_MAX {
            let tx = self.begin()?;
            match body(&InTx { store: self, tx }) {
                Ok(value) => {
                    if self.end(tx, true)? {
                        return Ok(value);
                    }
                }
                Err(error) => {
                    // The first error is the one to tell; a transaction that cannot be discarded dies with the connection.
                    let _ = self.end(tx, false);
                    return Err(error);
                }
            }
        }
        let cause = format!("another client changed the same nodes {CONFLICTS_MAX} times in a row");
        Err(
            Error::new(Code::Store, "commit a transaction", "xenstored", cause)
                .hint("find the client that keeps writing: xenstore-watch /"),
        )
    }

    /// Carries out all requests atomically: three flights, whatever their number.
    fn atomic(&self, requests: &[Request]) -> Result<Vec<Reply>> {
        self.transaction(|tx| tx.all(requests))
    }

    /// Waits until `found` gives something, looking at once and at every change below `path`. `None` if that did not happen
    /// before `deadline`. Events of other watches stay queued. When a signal handler sets `cancel`, the wait ends with
    /// [`Code::Interrupted`]; who needs none passes [`UNINTERRUPTED`].
    fn wait_for<T>(
        &self,
        path: &XsPath,
        deadline: Instant,
        cancel: &AtomicBool,
        mut found: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let watch = Watch {
            path: path.clone(),
            token: format!("rxl-wait:{path}"),
        };
        self.watch(&watch)?;
        let result = loop {
            let event = self.next_event_of(&watch.token, Some(deadline));
            if cancel.load(Ordering::Relaxed) {
                break Err(interrupted(path.as_str()));
            }
            let last = match event {
                Ok(event) => event.is_none(),
                // A signal that is none of this wait's business.
                Err(error) if error.code == Code::Interrupted => continue,
                Err(error) => break Err(error),
            };
            // Also after the deadline: the change may have come at that very moment.
            match found(self) {
                Ok(None) if !last => {}
                answer => break answer,
            }
        };
        let cleared = self.unwatch(&watch);
        let value = result?;
        cleared.map(|()| value)
    }
}

/// The operator stopped a wait for `object`.
pub(crate) fn interrupted(object: &str) -> Error {
    Error::new(
        Code::Interrupted,
        "wait for it",
        object,
        "the operation was stopped",
    )
}

impl<S: Store + ?Sized> StoreExt for S {}

/// A store as seen inside a transaction.
#[derive(Debug)]
pub struct InTx<'a, S: ?Sized> {
    store: &'a S,
    tx: Tx,
}

impl<S: Store + ?Sized> InTx<'_, S> {
    /// Sends requests in one flight, one answer each.
    pub fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.store.batch_in(self.tx, requests)
    }

    /// Sends requests in one flight; the first refusal is the error.
    pub fn all(&self, requests: &[Request]) -> Result<Vec<Reply>> {
        check(requests, self.batch(requests)?)
    }

    /// Removes nodes with all below them, in one flight; those that are gone already are no error.
    pub fn remove_many(&self, paths: &[XsPath]) -> Result<()> {
        let requests: Vec<Request> = paths.iter().cloned().map(Request::Rm).collect();
        optional(&requests, self.batch(&requests)?, Some).map(drop)
    }

    /// The values of many nodes as text, in one flight; `None` for each that does not exist.
    pub fn read_many(&self, paths: &[XsPath]) -> Result<Vec<Option<String>>> {
        let requests: Vec<Request> = paths.iter().cloned().map(Request::Read).collect();
        optional(&requests, self.batch(&requests)?, text)
    }
}

fn text(reply: Reply) -> Option<String> {
    match reply {
        Reply::Value(value) => Some(String::from_utf8_lossy(&value).into_owned()),
        _ => None,
    }
}

fn check(requests: &[Request], replies: Vec<Result<Reply, Errno>>) -> Result<Vec<Reply>> {
    if replies.len() != requests.len() {
        return Err(short_answer());
    }
    requests
        .iter()
        .zip(replies)
        .map(|(request, reply)| reply.map_err(|errno| refused(request, &errno)))
        .collect()
}

/// Like [`check`], but a missing node is `None`.
fn optional<T>(
    requests: &[Request],
    replies: Vec<Result<Reply, Errno>>,
    convert: impl Fn(Reply) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    if replies.len() != requests.len() {
        return Err(short_answer());
    }
    requests
        .iter()
        .zip(replies)
        .map(|(request, reply)| match reply {
            Ok(reply) => Ok(convert(reply)),
            Err(errno) if errno.is_missing() => Ok(None),
            Err(errno) => Err(refused(request, &errno)),
        })
        .collect()
}

fn short_answer() -> Error {
    Error::new(
        Code::Store,
        "read the answers",
        "xenstored",
        "fewer answers than requests",
    )
}
