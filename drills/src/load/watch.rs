// SPDX-License-Identifier: GPL-3.0-only
//! What one client sees: bytes, and the pauses between them.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::{Input, Shared};
use crate::engine::Sample;

/// Shorter pauses are not told: a busy machine makes many of them.
pub(super) const LEAST: Duration = Duration::from_millis(5);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    shared: &'a Shared,
    tell: &'a Sender<Input>,
    client: usize,
    last: Duration,
}

impl<'a> Watch<'a> {
    pub(super) const fn new(shared: &'a Shared, tell: &'a Sender<Input>, client: usize) -> Self {
        Self {
            shared,
            tell,
            client,
            last: Duration::ZERO,
        }
    }

    /// A request begins: from now on the client wants to get on. When that is.
    pub(super) fn begin(&mut self) -> Duration {
        self.last = self.shared.now();
        self.last
    }

    /// `bytes` of the file have come or gone; 0 for what is not the file's.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.shared.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.pause();
    }

    /// The request is over. If it failed, the client has waited up to now.
    pub(super) fn end(&mut self, good: bool) {
        if !good {
            self.pause();
        }
    }

    fn pause(&mut self) {
        let now = self.shared.now();
        if now - self.last >= LEAST {
            let sample = Sample::Pause {
                client: self.client,
                start: self.last,
                end: now,
            };
            let _ = self.tell.send(Input::Sample(sample));
        }
        self.last = now;
    }
}
