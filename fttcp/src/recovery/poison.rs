// SPDX-License-Identifier: GPL-3.0-only
//! The poison rule: a request that was under way each time that its server died may be what it died of. After
//! `poison_deaths` deaths in a row it is not given to another server.
//!
//! A death counts if the server had been told the request, and nothing has come of it since the last death, or ever: the
//! client got no new byte of the response though it had room, and said none of the request. So a download that goes on may be
//! moved any number of times, as may a client that does not read, and an idle connection. What is counted is the
//! connection's, and survives the logger.

use serde::{Deserialize, Serialize};

use crate::conn::{Connection, Context};
use crate::engine::Event;

/// So much of a request's first line is told.
const SHOWN: u64 = 120;

/// The request that was under way when the server died last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suspect {
    /// Where it begins in the client's stream, and how much of it was said.
    at: u64,
    said: u64,
    /// How far the server's stream had come.
    answered: u64,
    deaths: u8,
}

impl Connection {
    /// The server is dead. Says whether the request under way is now given up, and its connection with it.
    pub(super) fn is_poisoned(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = cx.service.spec.poison_deaths;
        let end = self.server.end;
        let plugin = self.plugin.as_ref().filter(|_| self.outbound.is_none());
        let Some(under_way) = plugin.and_then(|plugin| plugin.under_way(end)) else {
            self.suspect = None;
            return false;
        };
        let request = under_way.request;
        if limit == 0 || !self.was_told(request.start) || !self.has_room() {
            return false;
        }
        let now = Suspect {
            at: request.start,
            said: request.end.min(self.log.stable()),
            answered: end,
            deaths: 0,
        };
        let before = self.suspect.as_deref().copied();
        let deaths = match before.filter(|it| Suspect { deaths: 0, ..*it } == now) {
            Some(before) => before.deaths.saturating_add(1),
            // What came of it came since the last death.
            None => u8::from(under_way.untouched),
        };
        self.suspect = Some(Box::new(Suspect { deaths, ..now }));
        if deaths < limit {
            return false;
        }
        cx.counters.poisoned += 1;
        cx.events.push(Event::Poisoned {
            ends: self.ends(),
            request: self.first_line(request.start, under_way.secret),
            deaths,
        });
        // The last attempt's server is dead.
        self.recovery = None;
        self.map = None;
        self.lose("its request was under way each time its server died", cx);
        true
    }

    /// Whether the dead server had got a byte of what stands here in the client's stream.
    fn was_told(&self, at: u64) -> bool {
        self.recovery.as_ref().is_none_or(|it| it.was_told(at))
    }

    /// Whether the client would have taken another segment.
    fn has_room(&self) -> bool {
        self.client.right.saturating_sub(self.server.end) >= self.client_mss() as u64
    }

    /// Of a request that is `secret`, no more than its first word.
    fn first_line(&self, at: u64, secret: bool) -> String {
        let bytes = self.log.fetch(at, SHOWN as usize).unwrap_or_default();
        let ends = |&byte: &u8| matches!(byte, b'\r' | b'\n') || secret && byte == b' ';
        let line = bytes.split(ends).next();
        line.unwrap_or_default().escape_ascii().to_string()
    }
}
