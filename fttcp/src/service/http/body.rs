// SPDX-License-Identifier: GPL-3.0-only
//! One direction of a connection: where its messages begin and end. Bytes of bodies may be left out.

use serde::{Deserialize, Serialize};

use super::chunks::{Chunks, Step};
use super::head::Framing;

/// Longest head. A message with a longer one is not understood.
const MAX_HEAD: usize = 16 * 1024;

#[derive(Debug, Serialize, Deserialize)]
enum State {
    /// A head, as far as it is known; it begins at `at`.
    Head(Vec<u8>),
    /// A body that ends at this position.
    Until(u64),
    /// Chunks, understood up to `at`.
    Chunks(Chunks),
    /// Bytes were left out that say where the message ends.
    Gap,
    /// What comes is nothing that has messages, or no more of them.
    Foreign,
}

/// See the module's text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Messages {
    at: u64,
    state: State,
}

/// What a head means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is longer.
    Partial,
    /// It has this length, and its body ends so.
    Message(usize, Framing),
    /// Not understood.
    Foreign,
}

/// Who understands the messages.
pub(super) trait Reader {
    /// What a head means of which these are the bytes known; it begins at `at`.
    fn head(&mut self, at: u64, bytes: &[u8]) -> Meaning;

    /// The message ends at this position.
    fn end(&mut self, at: u64);

    /// What comes is not understood; `head`: what is known of a message's head, if it was one.
    fn lost(&mut self, head: &[u8]);
}

impl Messages {
    /// A message begins at `at`.
    pub(super) const fn from(at: u64) -> Self {
        Self {
            at,
            state: State::Head(Vec::new()),
        }
    }

    /// Nothing is known of what comes, for good.
    pub(super) fn forget(&mut self) {
        self.state = State::Foreign;
    }

    /// Whether, of what was said below `end`, something was left out that is not known to be of a body.
    pub(super) fn lacks(&self, end: u64) -> bool {
        match &self.state {
            State::Head(head) => self.at + (head.len() as u64) < end,
            State::Until(body) => *body < end,
            State::Chunks(chunks) => !chunks.are_data(end.saturating_sub(self.at)),
            State::Gap => true,
            State::Foreign => false,
        }
    }

    pub(super) const fn is_foreign(&self) -> bool {
        matches!(self.state, State::Foreign)
    }

    /// Where what is not read yet begins, or the message whose head is not whole.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Where a message begins of whose head something is known, and not all.
    pub(super) fn begun(&self) -> Option<u64> {
        match &self.state {
            State::Head(head) if !head.is_empty() => Some(self.at),
            _ => None,
        }
    }

    /// Whether all that was begun has ended.
    pub(super) fn are_whole(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.is_empty())
    }

    /// Whether no message is open at this position. Of the last one, bytes may have been left out.
    pub(super) fn is_between(&self, at: u64) -> bool {
        match &self.state {
            State::Head(head) => head.is_empty() && self.at == at,
            State::Until(end) => *end == at,
            State::Chunks(_) | State::Gap | State::Foreign => false,
        }
    }

    /// Where the open body ends, if its length is known.
    pub(super) const fn body_end(&self) -> Option<u64> {
        match self.state {
            State::Until(end) => Some(end),
            State::Head(_) | State::Chunks(_) | State::Gap | State::Foreign => None,
        }
    }

    /// Whether what it remembers is within its bounds.
    pub(super) fn is_sound(&self) -> bool {
        match &self.state {
            State::Head(head) => head.len() < MAX_HEAD,
            State::Chunks(chunks) => chunks.is_sound(),
            State::Until(_) | State::Gap | State::Foreign => true,
        }
    }

    /// Everything below `at` was said: a body of known length that ends there is over, of which bytes may have been left out.
    pub(super) fn end_by(&mut self, at: u64, reader: &mut impl Reader) {
        if let State::Until(end) = self.state
            && end <= at
        {
            self.end_at(end, reader);
        }
    }

    /// Takes bytes from position `at` on.
    pub(super) fn take(&mut self, at: u64, bytes: &[u8], reader: &mut impl Reader) {
        let end = at + bytes.len() as u64;
        let rest = |from: u64| &bytes[(from - at) as usize..];
        loop {
            match &mut self.state {
                State::Head(head) => {
                    let known = self.at + head.len() as u64;
                    let from = at.max(known);
                    if from >= end {
                        return;
                    }
                    if from > known {
                        self.state = State::Gap;
                        return;
                    }
                    let before = head.len();
                    let room = MAX_HEAD - before;
                    head.extend_from_slice(&rest(from)[..rest(from).len().min(room)]);
                    match judge(self.at, head, before, reader) {
                        Meaning::Partial if head.len() < MAX_HEAD => return,
                        Meaning::Message(len, framing) => self.begin_body(len, framing, reader),
                        Meaning::Partial | Meaning::Foreign => {
                            reader.lost(head);
                            self.state = State::Foreign;
                        }
                    }
                }
                State::Until(body) if end < *body => return,
                State::Until(body) => {
                    let body = *body;
                    self.end_at(body, reader);
                }
                State::Chunks(chunks) => {
                    let from = at.max(self.at);
                    if from >= end {
                        return;
                    }
                    if !chunks.skip(from - self.at) {
                        self.state = State::Gap;
                        return;
                    }
                    let (used, step) = chunks.take(rest(from));
                    self.at = from + used as u64;
                    match step {
                        Step::More => return,
                        Step::End => {
                            let body = self.at;
                            self.end_at(body, reader);
                        }
                        Step::Foreign => {
                            reader.lost(&[]);
                            self.state = State::Foreign;
                        }
                    }
                }
                State::Gap | State::Foreign => return,
            }
        }
    }

    fn begin_body(&mut self, len: usize, framing: Framing, reader: &mut impl Reader) {
        self.at += len as u64;
        match framing {
            Framing::Length(0) => self.end_at(self.at, reader),
            Framing::Length(length) => {
                let end = self.at.checked_add(length);
                if end.is_none() {
                    reader.lost(&[]);
                }
                self.state = end.map_or(State::Foreign, State::Until);
            }
            Framing::Chunked => self.state = State::Chunks(Chunks::default()),
            Framing::UntilClose | Framing::Tunnel => self.state = State::Foreign,
        }
    }

    fn end_at(&mut self, at: u64, reader: &mut impl Reader) {
        *self = Self::from(at);
        reader.end(at);
    }
}

/// A head is looked at when its end may have come, not with each byte of it.
fn judge(at: u64, head: &[u8], before: usize, reader: &mut impl Reader) -> Meaning {
    let new = &head[before.saturating_sub(3)..];
    let ended = new.windows(2).any(|pair| pair == b"\n\n")
        || new.windows(3).any(|three| three == b"\n\r\n");
    if ended || before == 0 {
        reader.head(at, head)
    } else {
        Meaning::Partial
    }
}
