// SPDX-License-Identifier: GPL-3.0-only
//! `ftp-data`: a data connection that a control connection has announced. Nothing in its bytes tells that they are all;
//! the control connection does, by its reply after the transfer.

use serde::{Deserialize, Serialize};

use crate::engine::Ends;
use crate::service::stored;
use crate::service::{Goes, Heard, Link, Restart, Service, Verb};

/// See the module's text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Data {
    control: Option<Ends>,
    /// The server has said that it is done, one way or the other.
    over: bool,
    /// How it goes on with the newest replacement.
    goes: Option<Goes>,
}

impl Service for Data {
    fn server_bytes(&mut self, _: u64, _: &[u8]) {}

    fn verb(&self, _: u64) -> Verb {
        match self.goes {
            // Nothing need be asked here: it was asked for on the control connection.
            Some(Goes::From(_)) => Verb::Resume(0..0),
            Some(Goes::Again) => Verb::Replay,
            None => {
                Verb::End("a file was being transferred: the client can ask for the rest of it")
            }
        }
    }

    fn ask(&self, _: u64, _: &[u8]) -> Option<Vec<u8>> {
        Some(Vec::new())
    }

    fn said(&self, acknowledged: u64) -> (u64, Vec<u8>) {
        let from = match self.goes {
            Some(Goes::From(from)) => from,
            Some(Goes::Again) | None => acknowledged,
        };
        (from, Vec::new())
    }

    fn judge(&self, _: u64, _: &[u8]) -> Heard {
        Heard::Head(0)
    }

    fn rewind(&mut self, _: Restart) {}

    fn close_expected(&self, _: u64) -> bool {
        self.over
    }

    fn link(&self) -> Option<Link> {
        self.control.map(Link::To)
    }

    fn linked_to(&mut self, control: Ends) {
        self.control = Some(control);
    }

    fn linked_is_over(&mut self) {
        self.over = true;
    }

    fn goes(&mut self, on: Option<Goes>) {
        self.goes = on;
    }

    fn kind(&self) -> &str {
        "ftp-data"
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        stored::restore(self, saved, |_| true)
    }
}
