// SPDX-License-Identifier: GPL-3.0-only
//! The request for the rest of a response, which the logger makes in the place of the client's: as a server is told it.

use super::super::ranges::split;
use super::super::truth::Truth;
use crate::wire::SeqNumber;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Asked {
    start: SeqNumber,
    bytes: Vec<u8>,
    /// Its length, once it is whole.
    length: Option<usize>,
}

impl Asked {
    /// A server's connection begins at `start`. `None`: there the client begins to say something, or goes on.
    pub(super) fn begin(start: SeqNumber, isn: SeqNumber, truth: &Truth) -> Option<Self> {
        let mut places = std::iter::once(&0).chain(&truth.request_ends);
        let plain = places.any(|&at| SeqNumber::at(isn, at as u64) == start);
        (!plain).then(|| Self {
            start,
            bytes: Vec::new(),
            length: None,
        })
    }

    /// The server is told these bytes; gives how many of them belong to the request.
    pub(super) fn take(
        &mut self,
        (seq, data): (SeqNumber, &[u8]),
        isn: SeqNumber,
        truth: &Truth,
    ) -> Result<usize, String> {
        let Ok(at) = usize::try_from(seq.ahead_of(self.start)) else {
            return Err("a byte before the connection's first".to_owned());
        };
        if at > self.bytes.len() && self.length.is_none() {
            return Err(format!("a gap in the request for the rest at {at}"));
        }
        if self.length.is_none() {
            self.bytes.truncate(at);
            self.bytes.extend_from_slice(data);
            let head = memchr::memmem::find(&self.bytes, b"\r\n\r\n");
            self.length = head.map(|head| head + 4);
            if let Some(length) = self.length {
                self.bytes.truncate(length);
                self.check(isn, truth)?;
            }
        }
        let left = self
            .length
            .map_or(usize::MAX, |length| length.saturating_sub(at));
        Ok(left.min(data.len()))
    }

    /// It must stand where a true request ended, and ask for a part of that one's response.
    fn check(&self, isn: SeqNumber, truth: &Truth) -> Result<(), String> {
        let text = self.bytes.escape_ascii();
        let (whole, part) = split(&self.bytes);
        let end = self.start + self.bytes.len() as u32;
        let ends = truth.request_ends.iter();
        let place = ends
            .copied()
            .find(|&at| SeqNumber::at(isn, at as u64) == end);
        let Some(end) = place else {
            return Err(format!("no request ends where this does: {text}"));
        };
        if part.is_none() || !truth.requests[..end].ends_with(&whole) {
            return Err(format!("the client did not ask for a part of this: {text}"));
        }
        Ok(())
    }
}
