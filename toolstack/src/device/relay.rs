// SPDX-License-Identifier: GPL-3.0-only
//! The way from Dom0 to the logger's `ftlogger`: through xenstore and the logger's `rxl-devd`, so that the two domains need
//! no network between them.
//!
//! Below the logger's directory, Dom0 writes `data/rxl-ft/request/ID` (one JSON line). The daemon writes the reply in
//! pieces, `data/rxl-ft/reply/ID/0`, `1` ..., then `done` with their number, and removes the request, all at once. Dom0
//! takes the reply and removes it.

use std::time::Instant;

use fttcp::control;
use uuid::Uuid;

use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{Request, Store, StoreExt, UNINTERRUPTED, XsPath};

/// Node, below a domain's directory, by which `rxl-devd` tells that it is ready: its version.
pub const VERSION_NODE: &str = "data/rxl-devd/version";
/// Directory of requests, below the logger's directory.
pub const REQUEST_DIR: &str = "data/rxl-ft/request";
/// Directory of replies, below the logger's directory.
pub const REPLY_DIR: &str = "data/rxl-ft/reply";
/// Name of the node that completes a reply: the number of its pieces.
pub const DONE: &str = "done";
/// Longest piece of a reply in bytes: xenstored lets a guest's node have 2048 bytes with its permissions.
pub const PIECE_MAX: usize = 2000;

/// Asks the `ftlogger` in domain `logger` and waits for its reply until `deadline`; a logger that is still starting is
/// waited for as well. [`control::Reply::Error`] is a reply like others.
pub fn ft_call<S: Store + ?Sized>(
    store: &S,
    logger: DomId,
    request: &control::Request,
    deadline: Instant,
) -> Result<control::Reply> {
    let object = format!("domain {logger}");
    let failed = |code, cause: &str| {
        Error::new(code, "ask its ftlogger", object.clone(), cause).domain(logger)
    };
    let home = XsPath::domain(logger);
    let line = serde_json::to_string(request)
        .map_err(|e| failed(Code::Usage, &format!("the request cannot be written: {e}")))?;
    // Nothing is asked before the request is on its way: a failover waits for no answer that it does not need, and a
    // daemon that starts later finds the request waiting. No other caller, living or dead, uses the same number.
    let id = Uuid::new_v4().simple();
    let asked = home.join(REQUEST_DIR).join(id);
    let reply = home.join(REPLY_DIR).join(id);
    store.request(Request::write(asked.clone(), line))?;
    let outcome = receive(store, &reply, deadline);
    let cleared = store.remove_all(&[asked, reply]);
    let Some(text) = outcome? else {
        if store.read_text(&home.join(VERSION_NODE))?.is_none() {
            return Err(failed(Code::Timeout, "its rxl-devd is not running")
                .hint("start rxl-devd in the logger VM; see its console: rxl console"));
        }
        return Err(failed(Code::Timeout, "its rxl-devd did not answer in time")
            .hint("is the logger VM running? (rxl list); its console may say more: rxl console"));
    };
    cleared?;
    serde_json::from_str(&text)
        .map_err(|e| failed(Code::State, &format!("the reply is not understood: {e}")))
}

/// Waits until the reply is complete and puts its pieces together.
fn receive<S: Store + ?Sized>(
    store: &S,
    reply: &XsPath,
    deadline: Instant,
) -> Result<Option<String>> {
    let done = reply.join(DONE);
    let look = |store: &S| store.read_text(&done);
    let Some(count) = store.wait_for(&done, deadline, &UNINTERRUPTED, look)? else {
        return Ok(None);
    };
    let malformed =
        |cause: String| Error::new(Code::State, "read the reply", reply.as_str(), cause);
    // The daemon's domain writes these nodes: what it says is not trusted to make sense.
    let count: usize = match count.parse() {
        Ok(count) if count <= 1000 => count,
        _ => return Err(malformed(format!("{count:?} is not a number of pieces"))),
    };
    let paths: Vec<XsPath> = (0..count).map(|piece| reply.join(piece)).collect();
    let pieces = store.read_many(&paths)?;
    let text: Option<String> = pieces.into_iter().collect();
    text.map(Some)
        .ok_or_else(|| malformed("a piece is missing".to_owned()))
}

/// Cuts a reply into pieces of at most [`PIECE_MAX`] bytes, each valid text.
#[must_use]
pub fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_MAX));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_short_whole_and_in_order() {
        let text = "ä".repeat(2501);
        let parts = pieces(&text);
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() <= PIECE_MAX));
        assert_eq!(parts.concat(), text);
        assert!(pieces("").is_empty());
    }
}
