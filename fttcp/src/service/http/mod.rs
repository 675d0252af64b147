// SPDX-License-Identifier: GPL-3.0-only
//! `http`: HTTP/1.0 and 1.1 (RFC 9110, RFC 9112), of servers and of proxies.
//!
//! Who lives here: `head` reads heads, `chunks` finds the end of chunked bodies, `body` follows one direction, `sides` says
//! what the messages of each mean, `resume` asks for the rest of a response, `reply` says that there will be none, `once`
//! looks for what must not be made twice in what is not understood. This file pairs requests with responses, and says
//! five things of them:
//!
//! * where a replay may begin: behind the last response that the client has whole. A kept-alive connection on which a
//!   thousand requests were made replays the last;
//! * whether the server has a reason to close;
//! * that a request which does something else when it is done twice (RFC 9110 section 9.2.2: POST, PATCH) must not be
//!   done twice: a connection on which one is under way ends with its server;
//! * that of a long response, which can be told from another version, only the rest need be asked for;
//! * how a client is told that its request will not be answered (502).
//!
//! A stream that it does not understand, or that two readers could understand differently, is replayed whole, as
//! `opaque` does, unless it may have a request that must not be made twice; so is a connection that became a tunnel
//! (CONNECT, an upgrade).

mod body;
mod chunks;
mod date;
mod head;
mod once;
mod reply;
mod resume;
mod sides;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::body::Messages;
use self::once::Search;
use self::resume::{Rest, Wanted};
use self::sides::{Requests, Responses};
use super::{Heard, Once, Restart, Service, UnderWay, Verb, stored};

/// How much of each answer is looked at: heads are shorter.
const CAPTURE: u32 = 4096;

/// Why a connection is not understood any more. What it says from here on is replayed whole, or not at all.
const UNCLEAR_REQUEST: &str =
    "a request is no HTTP/1, too long, or could be understood in two ways";
const UNCLEAR_RESPONSE: &str =
    "a response is no HTTP/1, too long, could be understood in two ways, or answers nothing";

/// Most requests that wait for their responses. With more, nothing is understood any more.
const MAX_WAITING: usize = 1024;

/// A request and its response.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Exchange {
    is_head: bool,
    is_connect: bool,
    /// What follows may be a tunnel's.
    may_open: bool,
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
    /// Where the newest of the responses ended that the client has.
    #[serde(skip)]
    had: Option<u64>,
    /// The newest request that must not be made twice ends here, and would be replayed though the client has the response:
    /// the streams could not be cut behind it yet.
    had_once: Option<u64>,
    /// What is not understood any more may have a request that must not be made twice.
    unclear: bool,
    /// Looks for one in what the client says, which is not understood any more, unless that is a tunnel's.
    search: Option<Search>,
    /// From here on the server has said what answers nothing. A replacement says that only behind the response that ends here.
    unasked: Option<u64>,
    /// Where in the server's stream a replay begins.
    cut: u64,
    /// What was heard last is a request: nothing is known that was said since.
    #[serde(skip)]
    asked_last: bool,
    /// Why it is not understood, until that was told.
    #[serde(skip)]
    complaint: Option<&'static str>,
    /// That was told: what a replacement says again is not complained of again.
    complained: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self::from(Restart::default())
    }
}

impl Http {
    const fn from(at: Restart) -> Self {
        Self {
            requests: Messages::from(at.client),
            responses: Messages::from(at.server),
            exchanges: VecDeque::new(),
            closing_at: None,
            had: None,
            had_once: None,
            unclear: false,
            search: None,
            unasked: None,
            cut: at.server,
            asked_last: false,
            complaint: None,
            complained: false,
        }
    }

    /// The server has said everything below `at`: a response of known length that ends there is whole, of which bytes may
    /// have been left out.
    fn end_known(&mut self, at: u64) {
        let mut reader = Responses::of(&mut self.exchanges, &mut self.closing_at);
        self.responses.end_by(at, &mut reader);
    }

    /// The rest of a response was left out, with the sizes of its chunks. The next response shows where it had ended, if
    /// just one more request has been made since: a client that does not wait for responses makes more.
    fn bridge_gap(&mut self, at: u64, bytes: &[u8]) {
        self.end_known(at);
        if !self.responses.lacks(at) || !bytes.starts_with(b"HTTP/1.") {
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
        let once = self.exchanges.iter().any(Exchange::must_not_repeat);
        self.unclear |= once || self.had_once.is_some();
        self.requests.forget();
        self.responses.forget();
        self.exchanges = VecDeque::new();
    }

    /// The exchanges, each with where its response ends, as far as that is known. Of the response whose body is said now it
    /// may be known before: its last bytes may be left out.
    fn told(&self) -> impl Iterator<Item = (&Exchange, Option<u64>)> {
        let mut under_way = self.responses.body_end();
        self.exchanges.iter().map(move |exchange| {
            let end = exchange.response_end.or_else(|| under_way.take());
            (exchange, end)
        })
    }

    /// The requests whose responses reach beyond `end` of the server's stream, or may.
    fn open(&self, end: u64) -> impl Iterator<Item = &Exchange> {
        let open = self
            .told()
            .filter(move |(_, it)| it.is_none_or(|it| it > end));
        open.map(|(exchange, _)| exchange)
    }

    /// Whether there may be a request that must not be made twice in what is not understood.
    fn is_unclear(&self) -> bool {
        self.unclear || self.search.as_ref().is_some_and(Search::has_found)
    }

    /// Whether requests are still told from one another.
    fn understands(&self) -> bool {
        !self.requests.is_foreign() && !self.responses.is_foreign()
    }

    /// Whether something is asked of which the server, having said its stream up to `end`, has not said all.
    fn is_unanswered(&self, end: u64) -> bool {
        self.open(end).next().is_some()
    }
}

impl Service for Http {
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        if self.requests.is_foreign() {
            if let Some(search) = &mut self.search {
                search.take(bytes);
            }
            return;
        }
        let mut reader = Requests::of(&mut self.exchanges);
        self.requests.take(at, bytes, &mut reader);
        self.asked_last |= reader.asked;
        let Some(head) = reader.lost else {
            return;
        };
        let mut search = Search::default();
        let read = (self.requests.at() + head.len() as u64).saturating_sub(at);
        search.take(&head);
        search.take(bytes.get(read as usize..).unwrap_or_default());
        self.search = Some(search);
        // What follows the request for a tunnel is the tunnel's, if that is granted.
        let mut open = self.exchanges.iter().filter(|it| it.response_end.is_none());
        if !open.any(|exchange| exchange.may_open) {
            self.complaint = Some(UNCLEAR_REQUEST);
            self.give_up();
        }
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.asked_last = false;
        self.bridge_gap(at, bytes);
        let mut reader = Responses::of(&mut self.exchanges, &mut self.closing_at);
        self.responses.take(at, bytes, &mut reader);
        let (is_tunnel, is_lost) = (reader.is_tunnel, reader.is_lost);
        self.unasked = self.unasked.or(reader.unasked);
        if is_lost {
            self.complaint = Some(UNCLEAR_RESPONSE);
        }
        if is_tunnel {
            // What was taken for requests behind the one that is granted is the tunnel's.
            let granted = self
                .exchanges
                .iter()
                .position(|it| it.response_end.is_none());
            self.exchanges.truncate(granted.map_or(0, |at| at + 1));
            self.search = None;
            self.give_up();
        }
    }

    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        self.end_known(acknowledged);
        let mut newest = None;
        while let Some(exchange) = self.exchanges.front()
            && let (Some(client), Some(server)) = (exchange.request_end, exchange.response_end)
            && server <= acknowledged
            && self.unasked != Some(server)
        {
            if exchange.must_not_repeat() {
                self.had_once = Some(client);
            }
            self.exchanges.pop_front();
            self.had = Some(server);
            newest = Some(Restart { client, server });
        }
        newest
    }

    fn restarted(&mut self, at: Restart) {
        self.had_once = self.had_once.filter(|end| *end > at.client);
        self.cut = at.server;
    }

    fn complaint(&mut self) -> Option<&'static str> {
        let complaint = self.complaint.take().filter(|_| !self.complained);
        self.complained |= complaint.is_some();
        complaint
    }

    fn verb(&self, acknowledged: u64) -> Verb {
        // Also if its response is there: as long as it lies in the log, it would be replayed.
        if self.is_unclear()
            || self.had_once.is_some()
            || self.exchanges.iter().any(Exchange::must_not_repeat)
        {
            return Verb::End("a request that must not be made twice was under way");
        }
        // One that has said nothing before is asked for what comes: it may greet.
        if self.unasked.is_some_and(|at| at == self.cut && at > 0) {
            return Verb::End("a replacement would not say what the server said unasked");
        }
        match self.open(acknowledged).next() {
            Some(Exchange {
                request,
                request_end: Some(end),
                rest: Some(rest),
                ..
            }) if rest.is_worth_it(acknowledged) => Verb::Resume(*request..*end),
            _ => Verb::Replay,
        }
    }

    fn once(&self, end: u64) -> Once {
        let once = self.told().filter(|(it, _)| it.must_not_repeat());
        let ends = once.filter_map(|(_, it)| it.filter(|it| *it <= end));
        Once {
            answered: ends.max(),
            open: self.is_unclear()
                || self.had_once.is_some()
                || self.open(end).any(Exchange::must_not_repeat),
        }
    }

    fn ask(&self, from: u64, said: &[u8]) -> Option<Vec<u8>> {
        let open = self.open(from).next()?;
        open.rest.as_ref()?.ask(said, from)
    }

    fn judge(&self, from: u64, answer: &[u8]) -> Heard {
        let open = self.open(from).next();
        let open = open.and_then(|open| open.rest.as_ref());
        let unknown = Heard::Refused("nothing was asked for");
        open.map_or(unknown, |rest| rest.judge(answer, from))
    }

    fn under_way(&self, end: u64) -> Option<UnderWay> {
        let open = self.open(end).next().filter(|_| self.understands());
        let whole = open.map(|open| open.request..open.request_end.unwrap_or(u64::MAX));
        Some(UnderWay {
            request: whole.or_else(|| Some(self.requests.begun()?..u64::MAX))?,
            // Where an error reply may stand, no byte of the response was sent.
            untouched: self.error_reply(end).is_some(),
            secret: false,
            linked: false,
        })
    }

    fn error_reply(&self, end: u64) -> Option<Vec<u8>> {
        if !self.understands() || !self.responses.is_between(end) {
            return None;
        }
        Some(reply::bad_gateway(self.open(end).next()?.is_head))
    }

    fn rewind(&mut self, to: Restart) {
        *self = Self {
            complained: self.complained,
            ..Self::from(to)
        };
    }

    fn capture(&self) -> u32 {
        CAPTURE
    }

    fn close_expected(&self, at: u64) -> bool {
        let mut told = self.told();
        let closes = told.any(|(exchange, end)| exchange.closes && end == Some(at));
        self.understands() && (closes || self.closing_at == Some(at))
    }

    fn owes(&self, end: u64) -> bool {
        !self.understands() || self.is_unanswered(end) || self.requests.begun().is_some()
    }

    fn awaits(&self, end: u64) -> bool {
        // What was left out may be the end of the answer. But of an answer the beginning is never left out.
        let waits = self.is_unanswered(end) && (self.asked_last || !self.responses.lacks(end));
        self.understands() && waits && self.requests.are_whole()
    }

    fn answered(&self, at: u64) -> bool {
        let ends = self.told().filter_map(|(_, end)| end);
        self.understands() && ends.last().or(self.had) == Some(at)
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
        stored::restore(self, saved, |state| {
            state.requests.is_sound()
                && state.responses.is_sound()
                && state.exchanges.len() <= MAX_WAITING
                && state.exchanges.iter().all(Exchange::is_sound)
                && state.search.as_ref().is_none_or(Search::is_sound)
        })
    }
}

#[cfg(test)]
mod tests;
