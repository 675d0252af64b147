// SPDX-License-Identifier: GPL-3.0-only
//! The journal: what a logger that dies leaves to the next one.
//!
//! A write-ahead log of the engine's state. Its records are made by the engine and reach the file before any frame
//! leaves that depends on them ([`crate::frame::Output::log`]); so every byte of a client that a server may have seen
//! is in it. The file lies on a tmpfs: written with write(2), it survives the death of the process, which is what it
//! is for, and not that of the machine.
//!
//! Who lives here: the form of records in a file ([`Writer`], [`Records`]), [`Replay`] (from records to an
//! [`Image`](crate::engine::Image)), and [`file`], the only part that does I/O.
//!
//! A journal begins with a header and grows with each change. When it has grown to twice what is alive and 1 MiB
//! more, another is begun beside it: at first it only continues the old one, whole connections are written to it a few
//! at a time, and when all are there the old one is deleted. So no moment is long, and at each moment the old one
//! followed by the new one tell everything.

pub mod file;
mod frame;
mod record;
mod replay;
mod starts;

pub use frame::JournalError;
pub(crate) use frame::{Records, Unwritable, Writer};
pub(crate) use record::{Kind, State};
pub use replay::Replay;

#[cfg(any(test, feature = "sim"))]
pub(crate) use frame::header;

use crate::conn::SentMark;

/// What of a connection is in the journal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// The journal that has all of it; 0: none.
    pub(crate) generation: u32,
    /// It may have changed since.
    pub(crate) touched: bool,
    /// In what must be written before the next frame is sent.
    pub(crate) urgent: bool,
    /// Digest of its last record.
    pub(crate) digest: u64,
    /// The client's bytes below are written.
    pub(crate) logged: u64,
    /// So many of its causes are written, and which was the last.
    pub(crate) causes: (usize, u64),
    pub(crate) sent: SentMark,
}

/// What the engine has for the journal, in order.
#[derive(Clone, Copy, Debug)]
pub enum Log<'a> {
    /// A new journal begins. The one before is still needed.
    Begin,
    /// Records, to be written before the next frame is sent.
    Records(&'a [u8]),
    /// The new journal tells everything: the one before is no longer needed.
    Complete,
}
