// SPDX-License-Identifier: GPL-3.0-only
//! Protocols of requests and answers in turn: what is the same in all of them.
//!
//! A [`Protocol`] takes the streams apart, and tells a [`Dialogue`] of each request and each answer. From that follows,
//! in [`Talk`], the plug-in: where a replay may begin, and whether the connection may be replayed at all.

use std::collections::VecDeque;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::{CAPTURE, Once, Restart, Service, UnderWay, Verb};

/// Most requests that wait for their answers, or for the client to acknowledge them.
const MAX_WAITING: usize = 16 * 1024;

/// A stream that is no longer understood, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost(pub &'static str);

/// What becomes of what the server remembers of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Session {
    /// Nothing.
    #[default]
    Unchanged,
    /// It remembers this request: a replay must begin with it, or before.
    Keeps,
    /// It remembers nothing any more, once it has answered this.
    Forgets,
}

/// A request that is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Position of its first byte in the client's stream.
    pub start: u64,
    /// Position behind its last byte.
    pub end: u64,
    /// It must not be issued twice.
    pub once: bool,
    /// No answer comes.
    pub silent: bool,
    /// The server closes when it has answered.
    pub closes: bool,
    /// What it does to the session.
    pub session: Session,
}

/// The requests of a connection, and how far they are answered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Dialogue {
    /// In order, with the ends of their answers; those whose answers the client has are gone.
    waiting: VecDeque<(Request, Option<u64>)>,
    /// How many of these are answered, or silent before one that is.
    answered: usize,
    /// Where the newest answer ended.
    end: u64,
    /// The newest point from which a replay may start, until it is taken.
    restart: Option<Restart>,
    /// Where the first request begins that the server remembers.
    kept: Option<u64>,
    /// Every replay begins with the first byte.
    whole: bool,
    /// Where the newest request ends that must not be issued twice, of those that would be replayed.
    once: Option<u64>,
    closing_at: Option<u64>,
    lost: bool,
    /// All that begins before was answered by a server before this one, which has not said it all again yet.
    #[serde(skip)]
    answered_before: u64,
    #[serde(skip)]
    complaint: Option<&'static str>,
}

impl Dialogue {
    /// A request is whole.
    ///
    /// # Errors
    /// Too many wait for their answers.
    pub fn asked(&mut self, request: Request) -> Result<(), Lost> {
        if self.waiting.len() == MAX_WAITING {
            return Err(Lost("too many requests wait for their answers"));
        }
        if request.once {
            self.once = Some(request.end);
        }
        if request.session == Session::Keeps {
            self.kept = self.kept.or(Some(request.start));
        }
        self.waiting.push_back((request, None));
        Ok(())
    }

    /// The answer to the oldest request that has none is whole; it ends at `end` in the server's stream.
    ///
    /// # Errors
    /// All requests are answered.
    pub fn answered(&mut self, end: u64) -> Result<(), Lost> {
        for (request, answer) in self.waiting.iter_mut().skip(self.answered) {
            self.answered += 1;
            if !request.silent {
                *answer = Some(end);
                self.end = end;
                return Ok(());
            }
        }
        Err(Lost("the server said something that nobody asked for"))
    }

    /// The server has said something of its own accord, up to here.
    pub const fn greeted(&mut self, end: u64) {
        self.end = end;
    }

    /// Every replay must begin with the first byte.
    pub const fn keep_all(&mut self) {
        self.whole = true;
    }

    fn from(at: Restart) -> Self {
        Self {
            end: at.server,
            ..Self::default()
        }
    }

    /// Forgets the requests whose answers the client has. A silent one is known to be done when a later one is answered.
    fn settle(&mut self, acknowledged: u64) {
        let mut done = 0;
        for ((request, answer), number) in self.waiting.iter().zip(1..) {
            match answer {
                Some(end) if *end <= acknowledged => done = number,
                None if request.silent => {}
                Some(_) | None => break,
            }
        }
        for _ in 0..done {
            let Some((request, answer)) = self.waiting.pop_front() else {
                return;
            };
            self.answered = self.answered.saturating_sub(1);
            if request.session == Session::Forgets {
                let mut later = self.waiting.iter().map(|(later, _)| later);
                let keeps = later.find(|later| later.session == Session::Keeps);
                self.kept = keeps.map(|later| later.start);
            }
            let (client, Some(server)) = (request.end, answer) else {
                continue;
            };
            if !self.whole && self.kept.is_none_or(|kept| client <= kept) {
                self.restart = Some(Restart { client, server });
            }
            self.closing_at = request.closes.then_some(server).or(self.closing_at);
        }
    }

    fn check(&mut self, understood: Result<(), Lost>) {
        if let Err(Lost(reason)) = understood {
            (self.lost, self.complaint) = (true, Some(reason));
            (self.waiting, self.answered, self.closing_at) = (VecDeque::new(), 0, None);
        }
    }

    fn close_expected(&self, at: u64) -> bool {
        let answered =
            |(request, answer): &&(Request, Option<u64>)| request.silent || answer.is_some();
        let mut done = self.waiting.iter().take_while(answered);
        let closes = at == self.end && done.any(|(request, _)| request.closes);
        closes || self.closing_at == Some(at)
    }

    /// The first request to which the client lacks some of the answer, if it was sent the server's stream up to `end`.
    fn open(&self, end: u64) -> Option<&Request> {
        let open = |(request, answer): &&(Request, Option<u64>)| {
            let owed = !request.silent && request.start >= self.answered_before;
            owed && answer.is_none_or(|it| it > end)
        };
        self.waiting.iter().find(open).map(|(request, _)| request)
    }

    /// The streams are shown again from here on.
    fn rewind(&mut self, to: Restart) {
        let newest = self.waiting.back().map_or(0, |(request, _)| request.end);
        let before = self.open(u64::MAX).map_or(newest, |open| open.start);
        *self = Self {
            answered_before: before.max(self.answered_before),
            ..Self::from(to)
        };
    }

    fn is_sound(&self) -> bool {
        self.waiting.len() <= MAX_WAITING && self.answered <= self.waiting.len()
    }
}

/// What is special in a protocol of requests and answers: how the streams are taken apart.
pub trait Protocol: Debug + Send {
    /// Bytes of the client, as [`Service::client_bytes`] gets them: tells `dialogue` of the requests that they complete.
    ///
    /// # Errors
    /// They are not understood. Nothing is asked of the protocol any more then, until [`Protocol::rewind`].
    fn client_bytes(&mut self, at: u64, bytes: &[u8], dialogue: &mut Dialogue) -> Result<(), Lost>;

    /// Bytes of the server, as [`Service::server_bytes`] gets them: tells `dialogue` of the answers that they complete.
    ///
    /// # Errors
    /// As of [`Protocol::client_bytes`].
    fn server_bytes(&mut self, at: u64, bytes: &[u8], dialogue: &mut Dialogue) -> Result<(), Lost>;

    /// Messages begin at these positions, in a new connection or when the streams are shown again.
    fn rewind(&mut self, to: Restart, dialogue: &mut Dialogue);

    /// How many bytes of an answer must be seen; see [`Service::capture`].
    fn capture(&self) -> u32 {
        CAPTURE
    }

    /// Whether a connection that is not understood may be replayed.
    fn replays_unknown(&self) -> bool {
        false
    }

    /// Whether the log is ever cut; see [`Service::truncates`].
    fn truncates(&self) -> bool {
        true
    }

    /// See [`Service::kind`].
    fn kind(&self) -> &str;

    /// Where it stands in the streams; see [`Service::save`].
    fn save(&self) -> Vec<u8>;

    /// See [`Service::restore`].
    fn restore(&mut self, saved: &[u8]) -> bool;
}

/// The plug-in that a [`Protocol`] makes.
#[derive(Debug)]
pub struct Talk<P> {
    protocol: P,
    dialogue: Dialogue,
}

impl<P: Protocol> Talk<P> {
    /// For a new connection.
    pub fn new(mut protocol: P) -> Self {
        let mut dialogue = Dialogue::default();
        protocol.rewind(Restart::default(), &mut dialogue);
        Self { protocol, dialogue }
    }
}

impl<P: Protocol> Service for Talk<P> {
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        if !self.dialogue.lost {
            let understood = self.protocol.client_bytes(at, bytes, &mut self.dialogue);
            self.dialogue.check(understood);
        }
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        if !self.dialogue.lost {
            let understood = self.protocol.server_bytes(at, bytes, &mut self.dialogue);
            self.dialogue.check(understood);
        }
    }

    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        self.dialogue.settle(acknowledged);
        self.dialogue.restart
    }

    fn restarted(&mut self, at: Restart) {
        let dialogue = &mut self.dialogue;
        dialogue.restart = dialogue.restart.filter(|restart| *restart != at);
        dialogue.once = dialogue.once.filter(|once| *once > at.client);
    }

    fn verb(&self, _: u64) -> Verb {
        if self.dialogue.once.is_some() {
            Verb::End("a request that must not be made twice would be replayed")
        } else if self.dialogue.lost && !self.protocol.replays_unknown() {
            Verb::End("requests that are not understood would be replayed")
        } else {
            Verb::Replay
        }
    }

    fn once(&self, end: u64) -> Once {
        let waiting = &self.dialogue.waiting;
        let once = || waiting.iter().filter(|(request, _)| request.once);
        let had = |answer: &Option<u64>| answer.is_some_and(|it| it <= end);
        let last = once().next_back().map(|(request, _)| request.end);
        Once {
            answered: once()
                .filter_map(|&(_, answer)| answer)
                .filter(|it| *it <= end)
                .max(),
            open: self.dialogue.lost
                || self.dialogue.once != last
                || once().any(|(_, answer)| !had(answer)),
        }
    }

    fn rests(&self, acknowledged: u64) -> bool {
        let dialogue = &self.dialogue;
        let unheard = |answer: &Option<u64>| answer.is_none_or(|end| end > acknowledged);
        let idle = !dialogue.waiting.iter().any(|(_, answer)| unheard(answer));
        let known = !dialogue.lost && !dialogue.whole;
        idle && known && dialogue.once.is_none()
    }

    fn under_way(&self, end: u64) -> Option<UnderWay> {
        let open = self.dialogue.open(end)?;
        Some(UnderWay {
            request: open.start..open.end,
            untouched: self.dialogue.end == end,
            secret: true,
            linked: false,
        })
    }

    fn rewind(&mut self, to: Restart) {
        self.dialogue.rewind(to);
        self.protocol.rewind(to, &mut self.dialogue);
    }

    fn complaint(&mut self) -> Option<&'static str> {
        self.dialogue.complaint.take()
    }

    fn capture(&self) -> u32 {
        self.protocol.capture()
    }

    /// What the fast path copies out may overtake what still waits for the logger; the end of an answer that comes before
    /// its beginning is not understood.
    fn sees_all(&self) -> bool {
        true
    }

    fn close_expected(&self, at: u64) -> bool {
        self.dialogue.close_expected(at)
    }

    fn awaits(&self, _: u64) -> bool {
        let mut unanswered = self.dialogue.waiting.iter().skip(self.dialogue.answered);
        unanswered.any(|(request, answer)| !request.silent && answer.is_none())
    }

    fn truncates(&self) -> bool {
        self.protocol.truncates()
    }

    fn kind(&self) -> &str {
        self.protocol.kind()
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&(&self.dialogue, self.protocol.save())).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        match postcard::from_bytes::<(Dialogue, Vec<u8>)>(saved) {
            Ok((dialogue, protocol)) if dialogue.is_sound() => {
                let restored = self.protocol.restore(&protocol);
                if restored {
                    self.dialogue = dialogue;
                }
                restored
            }
            _ => false,
        }
    }
}
