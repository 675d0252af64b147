// SPDX-License-Identifier: GPL-3.0-only
//! `http`: HTTP/1.0 and 1.1 (RFC 9110, RFC 9112), of servers and of proxies.
//!
//! Who lives here: `head` reads heads, `chunks` finds the end of chunked bodies, `body` follows one direction. This file
//! pairs requests with responses, and says three things of them:
//!
//! * where a replay may begin: behind the last response that the client has whole. A kept-alive connection on which a
//!   thousand requests were made replays the last;
//! * whether the server has a reason to close;
//! * that a request which does something else when it is done twice (RFC 9110 section 9.2.2: POST, PATCH) must not be
//!   done twice: a connection on which one is under way ends with its server.
//!
//! A stream that it does not understand, or that two readers could understand differently, is replayed whole, as
//! `opaque` does; so is a connection that became a tunnel (CONNECT, an upgrade).

mod body;
mod chunks;
mod head;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::body::{Meaning, Messages, Reader};
use self::head::{Asked, Found, Framing};
use super::{Restart, Service, Verb};

/// How much of each answer is looked at: heads are shorter.
const CAPTURE: u32 = 4096;

/// Most requests that wait for their responses. With more, nothing is understood any more.
const MAX_WAITING: usize = 1024;

/// A request and its response.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Exchange {
    is_head: bool,
    is_connect: bool,
    idempotent: bool,
    closes: bool,
    /// Where the request ends in the client's stream, and the response in the server's, as far as it is known.
    request_end: Option<u64>,
    response_end: Option<u64>,
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
}

impl Default for Http {
    fn default() -> Self {
        Self::from(Restart::default())
    }
}

/// The client's side.
struct Requests<'a>(&'a mut VecDeque<Exchange>);

impl Reader for Requests<'_> {
    fn head(&mut self, _: u64, bytes: &[u8]) -> Meaning {
        match head::request(bytes) {
            Found::Partial => Meaning::Partial,
            Found::Head(len, request) if self.0.len() < MAX_WAITING => {
                self.0.push_back(Exchange {
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
    fn head(&mut self, _: u64, bytes: &[u8]) -> Meaning {
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
                exchange.closes |= response.closes && !response.is_interim;
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
            self.exchanges.pop_front();
            newest = Some(Restart { client, server });
        }
        newest
    }

    fn verb(&self, acknowledged: u64) -> Verb {
        let under_way = |exchange: &&Exchange| {
            let had = exchange.response_end.is_some_and(|end| end <= acknowledged);
            !exchange.idempotent && !exchange.is_connect && !had
        };
        match self.exchanges.iter().find(under_way) {
            Some(_) => Verb::End("a request that must not be made twice was under way"),
            None => Verb::Replay,
        }
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
                    && state.exchanges.len() <= MAX_WAITING =>
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
