// SPDX-License-Identifier: GPL-3.0-only
//! Kinds of services that are told in a file: protocols of requests and answers that are simple to take apart.
//!
//! Who lives here: `definition`, what the file says; `frames`, where messages begin and end; this file, the plug-in. It
//! pairs answers with requests. A replay begins behind the newest answer that the client has whole, but not behind
//! what the server remembers for the rest of the connection. What must not be issued twice is not: while such a request
//! lies in what would be replayed, answered or not, the connection ends with its server.
//!
//! A stream that the definition does not fit is replayed from the last point that was understood, as by `opaque`, unless
//! it could hold requests that must not be issued twice. The reason is told.

mod definition;
mod frames;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::definition::{Command, CommandVerb, Definition, Reply, Session, word};
use self::frames::{Frames, Lost, Message};
use super::{Restart, Service, Verb};
pub use definition::DefinitionError;

/// Most requests that wait for their answers, or for the client to acknowledge them.
const MAX_WAITING: usize = 4096;

/// A kind of service as a text (TOML) defines it; docs/service-designers.md tells the form.
#[derive(Clone, Debug)]
pub struct Defined(Arc<Definition>);

impl Defined {
    /// Reads a definition.
    ///
    /// # Errors
    /// It is none: what is wrong, in which line, and what to do.
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        Definition::parse(text).map(|definition| Self(Arc::new(definition)))
    }

    /// The kind's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Header fields whose values may differ between two servers, as in [`crate::control::ServiceSpec::mask`].
    #[must_use]
    pub fn masks(&self) -> &[String] {
        self.0.masks()
    }

    /// A plug-in for a new connection.
    #[must_use]
    pub fn plugin(&self) -> DefinedService {
        DefinedService {
            state: State::from(&self.0, Restart::default()),
            definition: Arc::clone(&self.0),
        }
    }
}

/// What is still to come of a request's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Owed {
    /// So many messages.
    Messages(u32),
    /// All up to the last one.
    Last,
    /// Nothing; it ended at this position.
    Nothing(u64),
}

/// A request, and how far it is answered.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// Its first bytes, if they tell what ends its answer.
    head: Vec<u8>,
    end: u64,
    owed: Owed,
    /// Where it begins, if the server remembers it.
    keeps: Option<u64>,
    forgets: bool,
    closes: bool,
}

impl Request {
    /// Something of its answer is still to come.
    const fn is_open(&self) -> bool {
        !matches!(self.owed, Owed::Nothing(_) | Owed::Messages(0))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    requests: Frames,
    answers: Frames,
    /// In order; those whose answers the client has are gone.
    waiting: VecDeque<Request>,
    /// The server speaks first, and has not spoken.
    greeting: bool,
    /// The newest point from which a replay may start, until it is taken.
    restart: Option<Restart>,
    /// Where the first request begins that the server remembers.
    kept: Option<u64>,
    /// Where the newest request ends that must not be issued twice, and lies in what would be replayed.
    once: Option<u64>,
    /// Where the newest message of the server ended.
    answered: u64,
    closing_at: Option<u64>,
    /// The streams are not understood any more.
    lost: bool,
    /// Why, until it is told.
    #[serde(skip)]
    reason: Option<&'static str>,
}

impl State {
    fn from(definition: &Definition, at: Restart) -> Self {
        Self {
            requests: Frames::from(at.client),
            answers: Frames::from(at.server),
            waiting: VecDeque::new(),
            greeting: definition.greeting,
            restart: None,
            // A new server greets again: what it says cannot be left out.
            kept: definition.greeting.then_some(0),
            once: None,
            answered: at.server,
            closing_at: None,
            lost: false,
            reason: None,
        }
    }

    fn request(&mut self, definition: &Definition, request: &Message<'_>) -> Result<(), Lost> {
        let command = definition
            .command(request.head)
            .ok_or(Lost("a request that its definition does not tell"))?;
        if command.verb == CommandVerb::End {
            self.once = Some(request.end);
        }
        if self.waiting.len() == MAX_WAITING {
            return Err(Lost("too many requests wait for their answers"));
        }
        let request = Request::new(command, request);
        self.kept = self.kept.or(request.keeps);
        self.waiting.push_back(request);
        Ok(())
    }

    fn answer(&mut self, definition: &Definition, answer: &Message<'_>) -> Result<(), Lost> {
        self.answered = answer.end;
        if std::mem::take(&mut self.greeting) {
            return Ok(());
        }
        let request = self.waiting.iter_mut().find(|request| request.is_open());
        let request = request.ok_or(Lost("the server said something that nobody asked for"))?;
        request.owed = match request.owed {
            Owed::Messages(left) if left > 1 => Owed::Messages(left - 1),
            Owed::Last if !definition.ends(&request.head, answer.head) => Owed::Last,
            Owed::Messages(_) | Owed::Last | Owed::Nothing(_) => Owed::Nothing(answer.end),
        };
        Ok(())
    }

    /// Forgets the requests whose answers the client has. One without an answer is known to be done when a later one is
    /// answered.
    fn settle(&mut self, acknowledged: u64) {
        let mut done = 0;
        for (request, number) in self.waiting.iter().zip(1..) {
            match request.owed {
                Owed::Nothing(server) if server <= acknowledged => done = number,
                Owed::Messages(0) => {}
                Owed::Nothing(_) | Owed::Messages(_) | Owed::Last => break,
            }
        }
        for _ in 0..done {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            if request.forgets {
                self.kept = self.waiting.iter().find_map(|later| later.keeps);
            }
            let Owed::Nothing(server) = request.owed else {
                continue;
            };
            let client = request.end;
            if self.kept.is_none_or(|kept| client <= kept) {
                self.restart = Some(Restart { client, server });
            }
            self.closing_at = request.closes.then_some(server).or(self.closing_at);
        }
    }

    fn lose(&mut self, Lost(reason): Lost) {
        self.lost = true;
        self.reason = Some(reason);
        self.waiting = VecDeque::new();
        self.closing_at = None;
    }
}

impl Request {
    fn new(command: &Command, request: &Message<'_>) -> Self {
        let owed = match command.answers {
            Reply::None => Owed::Messages(0),
            Reply::One => Owed::Messages(1),
            Reply::Count(count) => Owed::Messages(count),
            Reply::Until(_) => Owed::Last,
        };
        Self {
            head: match owed {
                Owed::Last => request.head.to_vec(),
                Owed::Messages(_) | Owed::Nothing(_) => Vec::new(),
            },
            end: request.end,
            owed,
            keeps: (command.session == Session::Keeps).then_some(request.start),
            closes: command.closes,
            forgets: command.session == Session::Forgets,
        }
    }
}

impl Definition {
    /// Whether this message is the last of the answer to the request that begins with `head`.
    fn ends(&self, head: &[u8], answer: &[u8]) -> bool {
        let Some(Reply::Until(words)) = self.command(head).map(|command| &command.answers) else {
            return true;
        };
        words.iter().any(|last| last.as_bytes() == word(answer))
    }
}

/// The plug-in of one connection.
#[derive(Debug)]
pub struct DefinedService {
    definition: Arc<Definition>,
    state: State,
}

impl Service for DefinedService {
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        if self.state.lost {
            return;
        }
        let (frame, longest) = self.definition.request.frame();
        let mut requests = std::mem::take(&mut self.state.requests);
        let taken = requests.take(frame, longest, (at, bytes), |request| {
            self.state.request(&self.definition, request)
        });
        self.state.requests = requests;
        taken.unwrap_or_else(|lost| self.state.lose(lost));
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        if self.state.lost {
            return;
        }
        let (frame, longest) = self.definition.answer.frame();
        let mut answers = std::mem::take(&mut self.state.answers);
        let taken = answers.take(frame, longest, (at, bytes), |answer| {
            self.state.answer(&self.definition, answer)
        });
        self.state.answers = answers;
        taken.unwrap_or_else(|lost| self.state.lose(lost));
    }

    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        self.state.settle(acknowledged);
        self.state.restart
    }

    fn restarted(&mut self, at: Restart) {
        let state = &mut self.state;
        state.restart = state.restart.filter(|restart| *restart != at);
        state.once = state.once.filter(|once| *once > at.client);
    }

    fn verb(&self, _: u64) -> Verb {
        if self.state.once.is_some() {
            Verb::End("a request that must not be made twice would be replayed")
        } else if self.state.lost && self.definition.has_end() {
            Verb::End("requests that are not understood would be replayed")
        } else {
            Verb::Replay
        }
    }

    fn rewind(&mut self, to: Restart) {
        self.state = State::from(&self.definition, to);
    }

    fn complaint(&mut self) -> Option<&'static str> {
        self.state.reason.take()
    }

    fn capture(&self) -> u32 {
        self.definition.answer.capture()
    }

    fn close_expected(&self, at: u64) -> bool {
        let state = &self.state;
        let mut answered = state
            .waiting
            .iter()
            .take_while(|request| !request.is_open());
        let closes = at == state.answered && answered.any(|request| request.closes);
        closes || state.closing_at == Some(at)
    }

    fn truncates(&self) -> bool {
        !self.definition.greeting
    }

    fn kind(&self) -> &str {
        self.definition.name()
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.state).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        match postcard::from_bytes::<State>(saved) {
            Ok(state)
                if state.requests.is_sound(self.definition.request.frame().0)
                    && state.answers.is_sound(self.definition.answer.frame().0)
                    && state.waiting.len() <= MAX_WAITING =>
            {
                self.state = state;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
