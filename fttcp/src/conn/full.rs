// SPDX-License-Identifier: GPL-3.0-only
//! What a connection may keep, and what becomes of it when that is not enough.
//!
//! Two bounds hold: `buffer_bytes` for each connection's log, and the memory of all connections together. A byte that
//! does not fit is never passed on as if it were logged: either the connection's protection ends first
//! (`unprotect`), or its life does (`reset`), or the byte is neither passed on nor acknowledged (`hold`), and the client
//! sends it again.
//!
//! A service may have more (`spill_bytes`): then the beginning of a long log leaves memory for a file, and only what the
//! file does not take fills the buffer.

use super::{Connection, Context, State};
use crate::control::OnFull;
use crate::wire::Flags;

/// Which bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// `buffer_bytes` of the connection.
    Buffer,
    /// The memory of all connections.
    Memory,
}

impl Lack {
    const fn reason(self) -> &'static str {
        match self {
            Self::Buffer => "its client sent more than buffer_bytes",
            Self::Memory => "the logger's memory for all connections is used up (--memory)",
        }
    }
}

/// This part of a buffer is for what its pieces beyond gaps cost beside their bytes; as much again is for causes.
pub(super) const BOOKKEEPING: u64 = 8;
/// What one entry of `causes` costs.
const CAUSE: usize = size_of::<(u64, u64)>();
/// Their list grows by this part of itself.
const CAUSES_GROW: usize = 8;
/// Most bytes of a log in memory, and the part of its buffer, if the rest can be spilled.
const IN_MEMORY: usize = 256 << 10;
const IN_BUFFER: usize = 2;

impl Connection {
    /// Memory used for the bytes that it keeps, and for their order.
    pub(crate) fn memory(&self) -> usize {
        let recovery = self.recovery.as_ref();
        self.log.cost()
            + self.causes.capacity() * CAUSE
            + self.sent.cost()
            + recovery.map_or(0, |recovery| recovery.cost())
            + self.uncommitted.as_ref().map_or(0, |it| it.cost())
    }

    /// Gives up room to spare, which was made without knowing the bounds.
    pub(crate) fn tighten(&mut self) {
        self.log.tighten();
        self.causes.shrink_to_fit();
    }

    /// Memory used for its log alone.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn log_memory(&self) -> usize {
        self.log.cost()
    }

    /// Logs a client's bytes within both bounds.
    pub(super) fn log_bytes(
        &mut self,
        at: u64,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Lack> {
        let buffer = cx.service.spec.buffer_bytes as usize;
        let buffer = match cx.service.spec.on_full {
            // What was promised must fit.
            OnFull::Hold => buffer,
            OnFull::Unprotect | OnFull::Reset => {
                buffer.saturating_sub(self.causes.capacity() * CAUSE)
            }
        };
        let memory = self.log.cost() + self.account.room as usize;
        self.spill(data.len(), cx);
        let full = self.log.insert(at, data, buffer.min(memory));
        full.map_err(|_| {
            if buffer <= memory {
                Lack::Buffer
            } else {
                Lack::Memory
            }
        })
    }

    /// Makes room in memory for so many more bytes of the log, if its service has a spill file.
    pub(crate) fn spill(&mut self, more: usize, cx: &mut Context<'_>) {
        let spec = &cx.service.spec;
        let Some(store) = cx.spill.filter(|_| spec.spill_bytes > 0) else {
            return;
        };
        let mut keep = IN_MEMORY.min(spec.buffer_bytes as usize / IN_BUFFER);
        if (self.account.room as usize) < more {
            keep = 0;
        }
        let kept = self
            .log
            .spill(keep.saturating_sub(more), spec.spill_bytes, store);
        cx.counters.spill_full += u64::from(kept.is_err());
    }

    /// Logged bytes are lost, because the spill file could not be read: a replay is not possible any more.
    pub(crate) fn unreadable(&mut self, cx: &mut Context<'_>) {
        const REASON: &str = "the logger could not read its spill file";
        cx.counters.spill_unreadable += 1;
        if self.state == State::Recovering {
            self.lose(REASON, cx);
        } else {
            self.unprotect(REASON, cx);
        }
    }

    /// Whether there is room for one more cause. Where the buffer may not be full, the order of cause and effect is given
    /// up instead: a replay then goes on without waiting.
    pub(super) fn may_note_cause(&self, cx: &Context<'_>) -> bool {
        let part = u64::from(cx.service.spec.buffer_bytes) / BOOKKEEPING;
        let used = (self.causes.capacity() * CAUSE) as u64;
        cx.service.spec.on_full != OnFull::Hold || used < part
    }

    /// What the client sends from `at` on, it sends knowing the server's stream up to what it has acknowledged.
    pub(super) fn note_cause(&mut self, at: u64, seen: u64, cx: &Context<'_>) -> Result<(), Lack> {
        let known = self
            .causes
            .back()
            .map_or(self.replay_from, |&(_, seen)| seen);
        if seen <= known || !self.may_note_cause(cx) {
            return Ok(());
        }
        if self.causes.len() == self.causes.capacity() {
            let more = 1 + self.causes.len() / CAUSES_GROW;
            let Some(rest) = self.account.room.checked_sub((more * CAUSE) as u32) else {
                return match cx.service.spec.on_full {
                    OnFull::Hold => Ok(()),
                    OnFull::Unprotect | OnFull::Reset => Err(Lack::Memory),
                };
            };
            self.account.room = rest;
            self.causes.reserve_exact(more);
        }
        self.causes.push_back((at, seen));
        Ok(())
    }

    /// A client's bytes could not be logged. Says whether they must not reach the server.
    pub(super) fn on_full(&mut self, lack: Lack, cx: &mut Context<'_>) -> bool {
        match lack {
            Lack::Buffer => cx.counters.full_buffers += 1,
            Lack::Memory => cx.counters.full_memory += 1,
        }
        match cx.service.spec.on_full {
            OnFull::Unprotect if self.state == State::Established => {
                cx.counters.full_unprotected += 1;
                self.unprotect(lack.reason(), cx);
                return false;
            }
            OnFull::Reset if self.state == State::Established => {
                cx.counters.full_reset += 1;
                self.reset_both(lack.reason(), cx);
            }
            OnFull::Unprotect | OnFull::Hold | OnFull::Reset => cx.counters.full_held += 1,
        }
        true
    }

    /// Ends the connection at both ends.
    fn reset_both(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        self.reset_client(cx);
        // The server takes a reset only at the byte that it expects next, which may be any that was not acknowledged.
        let (acked, stable) = (self.client.acked, self.stable());
        let ack = self
            .server
            .una
            .min(self.map.map_or(u64::MAX, |map| map.next));
        for at in [acked, stable] {
            cx.send_south(&self.for_server(Flags::RST, at, ack, &[]));
        }
        cx.counters.lost += 1;
        cx.events.push(crate::engine::Event::Lost {
            ends: self.ends(),
            reason,
        });
        self.protected = false;
        self.close(cx);
    }
}
