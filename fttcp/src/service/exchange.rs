// SPDX-License-Identifier: GPL-3.0-only
//! `exchange`: requests and responses in turn, each a head that ends with an empty line and tells the length of its
//! body (`Content-Length`). For the simulation and tests: the least that a plug-in must know so that a replay begins
//! with the first request whose response the client has not acknowledged.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Restart, Service, stored};

/// Longest head; a stream with a longer one is not understood.
const MAX_HEAD: usize = 8 * 1024;

/// Finds the ends of the messages of one stream.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Messages {
    /// The head of the message that begins at `at`, as far as it is known.
    head: Vec<u8>,
    at: u64,
    lost: bool,
}

impl Messages {
    const fn from(at: u64) -> Self {
        Self {
            head: Vec::new(),
            at,
            lost: false,
        }
    }

    /// Takes bytes; gives the ends of the messages whose heads they complete. Bytes of bodies may be left out.
    fn take(&mut self, at: u64, bytes: &[u8], ends: &mut VecDeque<u64>) {
        let mut from = at;
        let end = at + bytes.len() as u64;
        while !self.lost {
            let known = self.at + self.head.len() as u64;
            from = from.max(known);
            if from >= end {
                return;
            }
            if from > known {
                // A part of a head is missing.
                self.lost = true;
                return;
            }
            let rest = &bytes[(from - at) as usize..];
            let before = self.head.len();
            self.head
                .extend_from_slice(&rest[..rest.len().min(MAX_HEAD - before)]);
            let Some(head) = self.head.windows(4).position(|at| at == b"\r\n\r\n") else {
                self.lost = self.head.len() == MAX_HEAD;
                return;
            };
            let length = content_length(&self.head[..head]);
            self.at += (head + 4) as u64 + length;
            self.head = Vec::new();
            ends.push_back(self.at);
        }
    }
}

fn content_length(head: &[u8]) -> u64 {
    let head = String::from_utf8_lossy(head);
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// See the module's text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Exchange {
    requests: Messages,
    responses: Messages,
    /// Ends of requests and responses that the client may not have acknowledged.
    request_ends: VecDeque<u64>,
    response_ends: VecDeque<u64>,
}

impl Service for Exchange {
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.requests.take(at, bytes, &mut self.request_ends);
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.responses.take(at, bytes, &mut self.response_ends);
    }

    fn close_expected(&self, _: u64) -> bool {
        false
    }

    fn truncates(&self) -> bool {
        true
    }

    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        let mut newest = None;
        while let (Some(&client), Some(&server)) =
            (self.request_ends.front(), self.response_ends.front())
            && server <= acknowledged
        {
            self.request_ends.pop_front();
            self.response_ends.pop_front();
            newest = Some(Restart { client, server });
        }
        newest
    }

    fn rewind(&mut self, to: Restart) {
        *self = Self {
            requests: Messages::from(to.client),
            responses: Messages::from(to.server),
            ..Self::default()
        };
    }

    fn kind(&self) -> &'static str {
        "exchange"
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        stored::restore(self, saved, |_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"PUT 1\r\nContent-Length: 3\r\n\r\nabc";
    const RESPONSE: &[u8] = b"OK\r\nContent-Length: 5\r\n\r\n12345";

    #[test]
    fn restart_is_after_the_last_acknowledged_response_of_a_whole_request() {
        let (request, response) = (REQUEST.len() as u64, RESPONSE.len() as u64);
        let mut service = Exchange::default();
        for (at, byte) in (0..).zip(REQUEST.repeat(2)) {
            service.client_bytes(at, &[byte]);
        }
        assert_eq!(service.restart(response), None);
        service.server_bytes(0, &RESPONSE.repeat(2));
        assert_eq!(service.restart(response - 1), None);
        let first = Restart {
            client: request,
            server: response,
        };
        assert_eq!(service.restart(2 * response - 1), Some(first));
        assert_eq!(service.restart(2 * response - 1), None);
        service.rewind(first);
        service.client_bytes(request, REQUEST);
        service.server_bytes(response, RESPONSE);
        let second = Restart {
            client: 2 * request,
            server: 2 * response,
        };
        assert_eq!(service.restart(2 * response), Some(second));
    }

    #[test]
    fn bodies_may_be_left_out_heads_may_not() {
        let mut service = Exchange::default();
        service.client_bytes(0, &REQUEST.repeat(3));
        let (head, end) = (RESPONSE.len() - 5, RESPONSE.len() as u64);
        service.server_bytes(0, &RESPONSE[..head]);
        service.server_bytes(end, &RESPONSE[..head]);
        assert_eq!(service.restart(2 * end).map(|it| it.server), Some(2 * end));
        service.server_bytes(2 * end + 1, RESPONSE);
        assert_eq!(service.restart(9 * end), None);
    }
}
