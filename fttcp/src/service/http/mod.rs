// SPDX-License-Identifier: GPL-3.0-only
//! `http`: HTTP/1.0 and 1.1 (RFC 9110, RFC 9112), of servers and of proxies.
//!
//! Who lives here: `head` reads heads, `chunks` finds the end of chunked bodies, `body` follows one direction, `resume`
//! asks for the rest of a response. This file pairs requests with responses, and says four things of them:
//!
//! * where a replay may begin: behind the last response that the client has whole. A kept-alive connection on which a
//!   thousand requests were made replays the last;
//! * whether the server has a reason to close;
//! * that a request which does something else when it is done twice (RFC 9110 section 9.2.2: POST, PATCH) must not be
//!   done twice: a connection on which one is under way ends with its server;
//! * that of a long response, which can be told from another version, only the rest need be asked for.
//!
//! A stream that it does not understand, or that two readers could understand differently, is replayed whole, as
//! `opaque` does; so is a connection that became a tunnel (CONNECT, an upgrade).

mod body;
mod chunks;
mod date;
mod head;
mod resume;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::body::{Meaning, Messages, Reader};
use self::head::{Asked, Found, Framing};
use self::resume::{Rest, Wanted};
use super::{Heard, Restart, Service, Verb};

/// How much of each answer is looked at: heads are shorter.
const CAPTURE: u32 = 4096;

/// Most requests that wait for their responses. With more, nothing is understood any more.
const MAX_WAITING: usize = 1024;

/// A request and its response.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Exchange {
    is_head: bool,
    is_connect: bool,
    idempotent: bool,
    closes: bool,
    /// Where the request begins in the client's stream.
    request: u64,
    /// Where the request ends in the client's stream, and the response in the server's, as far as it is known.
    request_end: Option<u64>,
    response_end: Option<u64>,
    /// If the response may perhaps be taken up in the middle, and if so.
    wanted: Option<Wanted>,
    rest: Option<Box<Rest>>,
}

impl Exchange {
    /// Whether its parts fit together.
    fn is_sound(&self) -> bool {
        let rest = self.rest.as_ref();
        rest.is_none_or(|rest| rest.is_sound())
    }

    const fn must_not_repeat(&self) -> bool {
        !self.idempotent && !self.is_connect
    }

    /// Whether the client has the response, having acknowledged everything below.
    fn is_had(&self, acknowledged: u64) -> bool {
        self.response_end.is_some_and(|end| end <= acknowledged)
    }
}

/// See the module's text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Http {
    requests: Messages,
    responses: Messages,
    /// In order; those that the client has whole are gone.
    exchanges: VecDeque<Exchange>,
    /// The server's close is expected at this position.
    closing_at: Option<u64>,
    /// The newest request that must not be made twice ends here, and would be replayed though the client has the response:
    /// the streams could not be cut behind it yet.
    had_once: Option<u64>,
}

impl Default for Http {
    fn default() -> Self {
        Self::from(Restart::default())
    }
}

/// The client's side.
struct Requests<'a>(&'a mut VecDeque<Exchange>);

impl Reader for Requests<'_> {
    fn head(&mut self, at: u64, bytes: &[u8]) -> Meaning {
        match head::request(bytes) {
            Found::Partial => Meaning::Partial,
            Found::Head(len, request) if self.0.len() < MAX_WAITING => {
                let empty = request.framing == Framing::Length(0);
                self.0.push_back(Exchange {
                    request: at,
                    wanted: resume::wanted(&bytes[..len]).filter(|_| empty),
                    is_head: request.is_head,
                    is_connect: request.is_connect,
                    idempotent: request.idempotent,
                    closes: request.closes,
                    ..Exchange::default()
                });
                Meaning::Message(len, request.framing)
            }
            Found::Head(..) | Found::Foreign => Meaning::Foreign,
        }
    }

    fn end(&mut self, at: u64) {
        if let Some(exchange) = self.0.back_mut() {
            exchange.request_end = Some(at);
        }
    }
}

/// The server's side.
struct Responses<'a> {
    exchanges: &'a mut VecDeque<Exchange>,
    closing_at: &'a mut Option<u64>,
    is_interim: bool,
    is_tunnel: bool,
}

impl Responses<'_> {
    fn next(&mut self) -> Option<&mut Exchange> {
        let mut open = self.exchanges.iter_mut();
        open.find(|exchange| exchange.response_end.is_none())
    }
}

impl Reader for Responses<'_> {
    fn head(&mut self, at: u64, bytes: &[u8]) -> Meaning {
        // What answers nothing (RFC 9112 section 9.3.1) is the server's last word.
        let Some(exchange) = self.next() else {
            return Meaning::Foreign;
        };
        let asked = Asked {
            is_head: exchange.is_head,
            is_connect: exchange.is_connect,
        };
        match head::response(bytes, &asked) {
            Found::Partial => Meaning::Partial,
            Found::Foreign => Meaning::Foreign,
            Found::Head(len, response) => {
                if !response.is_interim {
                    let body = at + len as u64;
                    let rest = |wanted| Rest::of(wanted, &bytes[..len], body, response.closes);
                    exchange.rest = exchange.wanted.and_then(rest).map(Box::new);
                    exchange.closes |= response.closes;
                }
                self.is_interim = response.is_interim;
                self.is_tunnel |= response.framing == Framing::Tunnel;
                Meaning::Message(len, response.framing)
            }
        }
    }

    fn end(&mut self, at: u64) {
        if std::mem::take(&mut self.is_interim) {
            return;
        }
        let Some(exchange) = self.next() else {
            return;
        };
        exchange.response_end = Some(at);
        if exchange.closes {
            *self.closing_at = Some(at);
        }
    }
}

impl Http {
    const fn from(at: Restart) -> Self {
        Self {
            requests: Messages::from(at.client),
            responses: Messages::from(at.server),
            exchanges: VecDeque::new(),
            closing_at: None,
            had_once: None,
        }
    }

    /// The rest of a response was left out, with the sizes of its chunks. The next response shows where it had ended, if
    /// just one more request has been made since: a client that does not wait for responses makes more.
    fn bridge_gap(&mut self, at: u64, bytes: &[u8]) {
        if !self.responses.has_gap() || !bytes.starts_with(b"HTTP/1.") {
            return;
        }
        let mut open = self
            .exchanges
            .iter_mut()
            .filter(|exchange| exchange.response_end.is_none());
        let (Some(first), Some(_), None) = (open.next(), open.next(), open.next()) else {
            return;
        };
        first.response_end = Some(at);
        self.responses = Messages::from(at);
    }

    fn give_up(&mut self) {
        self.requests.forget();
        self.responses.forget();
        self.exchanges = VecDeque::new();
    }

    /// The first request whose response the client does not have.
    fn open(&self, acknowledged: u64) -> Option<&Exchange> {
        let mut open = self.exchanges.iter();
        open.find(|exchange| !exchange.is_had(acknowledged))
    }

    /// Whether requests are still told from one another.
    fn understands(&self) -> bool {
        !self.requests.is_foreign() && !self.responses.is_foreign()
    }
}

impl Service for Http {
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.requests
            .take(at, bytes, &mut Requests(&mut self.exchanges));
        if self.requests.is_foreign() {
            self.give_up();
        }
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.bridge_gap(at, bytes);
        let mut reader = Responses {
            exchanges: &mut self.exchanges,
            closing_at: &mut self.closing_at,
            is_interim: false,
            is_tunnel: false,
        };
        self.responses.take(at, bytes, &mut reader);
        if reader.is_tunnel {
            self.give_up();
        }
    }

    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        let mut newest = None;
        while let Some(exchange) = self.exchanges.front()
            && let (Some(client), Some(server)) = (exchange.request_end, exchange.response_end)
            && server <= acknowledged
        {
            if exchange.must_not_repeat() {
                self.had_once = Some(client);
            }
            self.exchanges.pop_front();
            newest = Some(Restart { client, server });
        }
        newest
    }

    fn restarted(&mut self, at: Restart) {
        self.had_once = self.had_once.filter(|end| *end > at.client);
    }

    fn verb(&self, acknowledged: u64) -> Verb {
        // Also if its response is there: as long as it lies in the log, it would be replayed.
        if self.had_once.is_some() || self.exchanges.iter().any(Exchange::must_not_repeat) {
            return Verb::End("a request that must not be made twice was under way");
        }
        match self.open(acknowledged) {
            Some(Exchange {
                request,
                request_end: Some(end),
                rest: Some(rest),
                ..
            }) if rest.is_worth_it(acknowledged) => Verb::Resume(*request..*end),
            _ => Verb::Replay,
        }
    }

    fn ask(&self, from: u64, said: &[u8]) -> Option<Vec<u8>> {
        self.open(from)?.rest.as_ref()?.ask(said, from)
    }

    fn judge(&self, from: u64, answer: &[u8]) -> Heard {
        let open = self.open(from).and_then(|open| open.rest.as_ref());
        let unknown = Heard::Refused("nothing was asked for");
        open.map_or(unknown, |rest| rest.judge(answer, from))
    }

    fn rewind(&mut self, to: Restart) {
        *self = Self::from(to);
    }

    fn capture(&self) -> u32 {
        CAPTURE
    }

    fn close_expected(&self, at: u64) -> bool {
        self.understands() && self.closing_at == Some(at)
    }

    fn truncates(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "http"
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        match postcard::from_bytes::<Self>(saved) {
            Ok(state)
                if state.requests.is_sound()
                    && state.responses.is_sound()
                    && state.exchanges.len() <= MAX_WAITING
                    && state.exchanges.iter().all(Exchange::is_sound) =>
            {
                *self = state;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
