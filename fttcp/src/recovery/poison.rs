// SPDX-License-Identifier: GPL-3.0-only
//! The poison rule: a request that was under way each time that its server died may be what it died of. After
//! `poison_deaths` deaths in a row it is not given to another server.
//!
//! A death counts if the server had been told the request, and nothing has come of it since the last death, or ever: the
//! client got no new byte of the response though it had room, and no server has read a byte of the request that the last one
//! to die had not been sent. So a download that goes on may be moved any number of times, as may an upload, a client that does
//! not read, and an idle connection. What a client goes on saying clears nothing, nor that a dying server's TCP takes it: the
//! byte of which servers die may be far before it. What is counted is the connection's, and survives the logger.
//!
//! Of a transfer that another connection carries (FTP), what counts is how far that one has come, and only the transfer is
//! given up, if its plug-in can say so.

use serde::{Deserialize, Serialize};

use crate::conn::{Connection, Context};
use crate::engine::Event;
use crate::service::UnderWay;

/// So much of a request's first line is told.
const SHOWN: u64 = 120;

/// The request that was under way when the server died last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suspect {
    /// Where it begins in the client's stream.
    at: u64,
    /// How much a server that died with it may have been sent of what the client said.
    told: u64,
    /// How far the server's stream had come.
    answered: u64,
    deaths: u8,
}

/// How far a connection had come when its server died.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    /// How much of the client's words the server had acknowledged.
    acked: u64,
    /// How much of them its program had read for certain.
    read: u64,
    /// How much of them it may have been sent.
    told: u64,
    /// How far the server's stream had come.
    answered: u64,
    /// The client would have taken another segment.
    room: bool,
    /// The server had taken the connection, or the transfer for which it was announced.
    taken: bool,
}

impl Default for Reached {
    /// It has not come yet.
    fn default() -> Self {
        Self {
            acked: 0,
            read: 0,
            told: 0,
            answered: 0,
            room: true,
            taken: false,
        }
    }
}

impl Connection {
    /// The server is dead. Says whether the request under way is now given up, and its connection with it.
    pub(super) fn is_poisoned(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = cx.service.spec.poison_deaths;
        let Some(under_way) = self.under_way() else {
            self.suspect = None;
            return false;
        };
        let request = &under_way.request;
        if under_way.linked {
            // It was counted (`gives_up_linked`). What its plug-in could give up alone is not under way any more.
            let known = self.suspect.as_deref().filter(|it| it.at == request.start);
            if limit == 0 || known.is_none_or(|it| it.deaths < limit) {
                return false;
            }
        } else {
            let reached = self.reached();
            if limit == 0 || !self.was_told(request.start) || !reached.room {
                return false;
            }
            let within = Reached {
                read: reached.read.min(request.end),
                told: reached.told.min(request.end),
                ..reached
            };
            // What came of it came since the last death.
            let first = u8::from(under_way.untouched);
            if self.count_death(request.start, within, first) < limit {
                return false;
            }
            self.note_poisoned(&under_way, cx);
        }
        // The last attempt's server is dead.
        self.recovery = None;
        self.map = None;
        self.lose("its request was under way each time its server died", cx);
        true
    }

    /// The server is dead. Says whether no other is to go on with the transfer for which this connection has announced
    /// another; `reached`: how far that one has come.
    pub(crate) fn gives_up_linked(&mut self, reached: Reached, cx: &mut Context<'_>) -> bool {
        let limit = cx.service.spec.poison_deaths;
        let Some(under_way) = self.under_way().filter(|it| it.linked) else {
            return false;
        };
        let at = under_way.request.start;
        let untouched = reached.told == 0 && reached.answered == 0;
        // A byte of the file is met by a server that has begun the transfer; the command may kill it before.
        let begun = untouched || reached.taken || self.has_begun();
        if limit == 0 || !self.was_told(at) || !begun || !reached.room {
            return false;
        }
        // Two that die at the same byte are enough, wherever that is; one that dies in the middle proves nothing.
        let nothing = reached.acked == 0 && reached.answered == 0;
        if self.count_death(at, reached, u8::from(nothing || limit > 1)) < limit {
            return false;
        }
        self.note_poisoned(&under_way, cx);
        true
    }

    fn under_way(&self) -> Option<UnderWay> {
        let plugin = self.plugin.as_ref().filter(|_| self.outbound.is_none())?;
        plugin.under_way(self.server.end)
    }

    /// A server has died with the request that begins here. How many have in a row, now that they came so far. `first`: if
    /// something came of it since the last did.
    fn count_death(&mut self, at: u64, now: Reached, first: u8) -> u8 {
        let goes_on = |it: &Suspect| now.read > it.told || now.answered > it.answered;
        let before = self.suspect.as_deref().copied();
        let before = before.filter(|it| it.at == at && !goes_on(it));
        let deaths = before.map_or(first, |it| it.deaths.saturating_add(1));
        self.suspect = Some(Box::new(Suspect {
            at,
            told: now.told.max(before.map_or(0, |it| it.told)),
            answered: now.answered.max(before.map_or(0, |it| it.answered)),
            deaths,
        }));
        deaths
    }

    fn note_poisoned(&self, under_way: &UnderWay, cx: &mut Context<'_>) {
        cx.counters.poisoned += 1;
        cx.events.push(Event::Poisoned {
            ends: self.ends(),
            request: self.first_line(under_way.request.start, under_way.secret),
            deaths: self.suspect.as_ref().map_or(0, |it| it.deaths),
        });
    }

    /// How far it has come with the server that is dead.
    pub(crate) fn reached(&self) -> Reached {
        let logged = self.log.stable();
        let (acked, told) = match &self.recovery {
            Some(recovery) => (recovery.fed_una, recovery.fed_most),
            None => (self.client.acked, logged),
        };
        Reached {
            acked: acked.min(logged),
            read: self.intake.read().min(logged),
            told: told.min(logged),
            answered: self.server.end,
            room: self.has_room(),
            taken: self.recovery.as_ref().is_none_or(|it| it.is_taken()),
        }
    }

    /// Whether the dead server had got a byte of what stands here in the client's stream.
    fn was_told(&self, at: u64) -> bool {
        self.recovery.as_ref().is_none_or(|it| it.was_told(at))
    }

    /// Whether the dead server had answered all that it was asked to be where its predecessor was, if it had one.
    fn has_begun(&self) -> bool {
        let recovery = self.recovery.as_ref();
        recovery.is_none_or(|it| it.taken_up.is_some())
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
