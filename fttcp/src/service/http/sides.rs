// SPDX-License-Identifier: GPL-3.0-only
//! What the messages of each direction mean for the exchanges.

use std::collections::VecDeque;

use super::body::{Meaning, Reader};
use super::head::{self, Asked, Found, Framing};
use super::resume::{self, Rest};
use super::{Exchange, MAX_WAITING};

/// The client's side.
pub(super) struct Requests<'a> {
    exchanges: &'a mut VecDeque<Exchange>,
    /// Something was asked.
    pub(super) asked: bool,
    /// What is known of the head of a message that is not understood.
    pub(super) lost: Option<Vec<u8>>,
}

impl<'a> Requests<'a> {
    pub(super) const fn of(exchanges: &'a mut VecDeque<Exchange>) -> Self {
        Self {
            exchanges,
            asked: false,
            lost: None,
        }
    }
}

impl Reader for Requests<'_> {
    fn head(&mut self, at: u64, bytes: &[u8]) -> Meaning {
        match head::request(bytes) {
            Found::Partial => Meaning::Partial,
            Found::Head(len, request) if self.exchanges.len() < MAX_WAITING => {
                self.asked = true;
                let empty = request.framing == Framing::Length(0);
                self.exchanges.push_back(Exchange {
                    request: at,
                    wanted: resume::wanted(&bytes[..len]).filter(|_| empty),
                    is_head: request.is_head,
                    is_connect: request.is_connect,
                    may_open: request.is_connect || request.upgrades,
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
        if let Some(exchange) = self.exchanges.back_mut() {
            exchange.request_end = Some(at);
        }
    }

    fn lost(&mut self, head: &[u8]) {
        self.lost = Some(head.to_vec());
    }
}

/// The server's side.
pub(super) struct Responses<'a> {
    exchanges: &'a mut VecDeque<Exchange>,
    closing_at: &'a mut Option<u64>,
    is_interim: bool,
    pub(super) is_tunnel: bool,
    pub(super) is_lost: bool,
    /// Where the server began to say what answers nothing.
    pub(super) unasked: Option<u64>,
}

impl<'a> Responses<'a> {
    pub(super) const fn of(
        exchanges: &'a mut VecDeque<Exchange>,
        closing_at: &'a mut Option<u64>,
    ) -> Self {
        Self {
            exchanges,
            closing_at,
            is_interim: false,
            is_tunnel: false,
            is_lost: false,
            unasked: None,
        }
    }

    fn next(&mut self) -> Option<&mut Exchange> {
        let mut open = self.exchanges.iter_mut();
        open.find(|exchange| exchange.response_end.is_none())
    }
}

impl Reader for Responses<'_> {
    fn head(&mut self, at: u64, bytes: &[u8]) -> Meaning {
        // What answers nothing (RFC 9112 section 9.3.1) is the server's last word.
        let Some(exchange) = self.next() else {
            self.unasked = Some(at);
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

    fn lost(&mut self, _: &[u8]) {
        self.is_lost = true;
    }
}
