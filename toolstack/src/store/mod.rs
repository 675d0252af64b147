// SPDX-License-Identifier: GPL-3.0-only
//! XenStore: the small database through which toolstack, back-ends and guests meet.
//!
//! Who lives here: the trait [`Store`] and its vocabulary; `wire` (the protocol, sans-IO), `client` (the socket or
//! `/dev/xen/xenbus`, pipelined), `memory` (an in-memory store for tests, every flight a fault point).
//! Who may call in: `domain`, `device`, `supervise` and `cli`.
//!
//! The unit of cost is the **flight**: requests written together before any answer is waited for. A client that waits
//! for each answer, as libxenstore does, pays one flight per request; [`Store::batch`] pays one for all.

pub mod client;
pub mod memory;
mod types;
pub mod util;
pub mod wire;

pub use types::{Errno, Permission, Reply, Request, Tx, Watch, WatchEvent, XsPath};

pub use client::XsClient;
pub use util::{InTx, StoreExt, UNINTERRUPTED};

use std::time::Instant;

use crate::error::Result;

/// What the toolstack asks of xenstored.
pub trait Store {
    /// Sends all requests in one flight and returns one answer for each, in order. The outer error is a broken
    /// connection; the inner one is xenstored's refusal of that request. Outside a transaction, requests before
    /// and after a refused one have taken effect.
    fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>>;

    /// Starts a transaction (one flight).
    fn begin(&self) -> Result<Tx>;

    /// Like [`Store::batch`], inside `tx`.
    fn batch_in(&self, tx: Tx, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>>;

    /// Ends `tx`. Returns false if another client changed what `tx` had read or written: nothing has happened, do it
    /// again from [`Store::begin`]. With `commit` false, discards it and returns true.
    fn end(&self, tx: Tx, commit: bool) -> Result<bool>;

    /// Registers a watch on `path` and everything below it (also `@introduceDomain`, `@releaseDomain`). One event with
    /// that token comes at once, as xenstored does.
    fn watch(&self, watch: &Watch) -> Result<()>;

    /// Removes a watch.
    fn unwatch(&self, watch: &Watch) -> Result<()>;

    /// The next watch event, or `None` if none came before `deadline` (`None`: wait for ever). A signal ends a wait that
    /// has a deadline with [`crate::error::Code::Interrupted`].
    fn next_event(&self, deadline: Option<Instant>) -> Result<Option<WatchEvent>>;

    /// Like [`Store::next_event`], but only events with this token; the others stay queued in their order.
    fn next_event_of(&self, token: &str, deadline: Option<Instant>) -> Result<Option<WatchEvent>>;

    /// Flights sent so far, for counts in tests and benches.
    fn flights(&self) -> u64;
}
