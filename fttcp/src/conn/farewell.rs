// SPDX-License-Identifier: GPL-3.0-only
//! The last words to a client whose connection cannot be moved: an error reply in the protocol's own form
//! ([`crate::service::Service::error_reply`]), and the end of the stream. A client that has no byte of an answer yet so learns
//! that it waits in vain; a reset would only say that something broke.
//!
//! The logger is the server then. It repeats the words until they are acknowledged, and takes and forgets what the client
//! still says: one that says its whole request before it reads must get to reading, and a reset could overtake what it
//! has not read (RFC 9112 section 9.6).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Connection, Context, FAR, State};
use crate::frame::Time;
use crate::wire::Flags;

/// How often the words are repeated.
const REPEAT: Duration = Duration::from_millis(500);
/// How long the client may lack something that was said before them, which nobody can repeat.
const GAP: Duration = Duration::from_secs(3);
/// How long the client may go on saying what nobody reads.
const LINGER: Duration = Duration::from_secs(30);
/// How much it may say at a time.
const ROOM: u64 = 64 * 1024;

/// See the module's text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// The words, from this position of the server's stream on.
    at: u64,
    words: Vec<u8>,
    since: Time,
    due: Time,
}

impl Farewell {
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// Where the stream ends with them.
    const fn end(&self) -> u64 {
        self.at + self.words.len() as u64
    }

    pub(super) fn moved(&mut self, from: Time, to: Time) {
        self.since = self.since.moved(from, to);
        self.due = self.due.moved(from, to);
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.at < FAR
    }
}

impl Connection {
    /// Ends the client's side with an error reply. False: nothing can be said here, and nothing was.
    pub(crate) fn say_farewell(&mut self, cx: &mut Context<'_>) -> bool {
        let at = self.server.end;
        let open = self.protected && self.server.fin.is_none() && self.outbound.is_none();
        let plugin = self.plugin.as_ref().filter(|_| open && self.client.heard);
        let Some(words) = plugin.and_then(|plugin| plugin.error_reply(at)) else {
            return false;
        };
        if at + words.len() as u64 > self.client.right {
            return false;
        }
        let farewell = Farewell {
            at,
            words,
            since: cx.now,
            due: cx.now,
        };
        self.recovery = None;
        self.hold = None;
        self.map = None;
        self.state = State::Orphaned;
        self.active = cx.now;
        self.forget_streams();
        self.window_limit = u64::MAX;
        self.server.end = farewell.end();
        self.server.fin = Some(farewell.end());
        self.farewell = Some(Box::new(farewell));
        self.forget_said();
        self.repeat_farewell(cx);
        true
    }

    /// The client said something that nobody will read.
    pub(super) fn forget_said(&mut self) {
        if self.farewell.is_some() {
            self.log.truncate(self.log.stable());
            self.causes.clear();
            self.urgent.clear();
            self.server.right = self.server.right.max(self.stable() + ROOM);
        }
    }

    /// Says what the client has not acknowledged of the last words; stops when it has, and when it has had time enough.
    pub(super) fn repeat_farewell(&mut self, cx: &mut Context<'_>) {
        let Some(farewell) = self.farewell.take() else {
            return;
        };
        let (una, end) = (self.server.una, farewell.end());
        let heard = una > end;
        let left = self.client.fin.is_some_and(|fin| self.client.acked > fin);
        if heard && left {
            return;
        }
        let unreachable = una < farewell.at && farewell.since.after(GAP) <= cx.now;
        if unreachable || farewell.since.after(LINGER) <= cx.now {
            if !heard {
                self.reset_client(cx);
            }
            // What still comes reaches the replacement, which knows nothing of it and says so.
            self.state = State::Closed;
            self.protected = false;
            self.active = cx.now;
            return;
        }
        if !heard {
            let from = una.max(farewell.at);
            let words = farewell.words.get((from - farewell.at) as usize..);
            self.send_data(from, words.unwrap_or_default().to_vec(), cx);
            self.send_client(Flags::FIN, end, &[], cx);
        }
        self.farewell = Some(Box::new(Farewell {
            due: cx.now.after(REPEAT),
            ..*farewell
        }));
    }
}
