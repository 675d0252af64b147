// SPDX-License-Identifier: GPL-3.0-only
//! Kinds of services that are told in a file: protocols of requests and answers that are simple to take apart.
//!
//! Who lives here: `definition`, what the file says; `frames`, where messages begin and end; this file, which tells
//! requests and answers to a [`Dialogue`].
//!
//! A stream that the definition does not fit is replayed from the last point that was understood, as by `opaque`, unless
//! it could hold requests that must not be issued twice. The reason is told.

mod definition;
mod frames;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::definition::{CommandVerb, Definition, Reply, word};
use self::frames::{Frames, Message};
use super::dialogue::{Dialogue, Lost, Protocol, Request, Talk};
use super::{Restart, stored};
pub use definition::DefinitionError;

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
    pub fn plugin(&self) -> Talk<DefinedProtocol> {
        Talk::new(DefinedProtocol {
            definition: Arc::clone(&self.0),
            state: State::default(),
        })
    }
}

/// A definition at work in one connection.
#[derive(Debug)]
pub struct DefinedProtocol {
    definition: Arc<Definition>,
    state: State,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    requests: Frames,
    answers: Frames,
    /// The server speaks first, and has not spoken.
    greeting: bool,
    /// What is still to come of answers, of those that are not whole.
    owed: VecDeque<Owed>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Owed {
    /// So many messages.
    Messages(u32),
    /// All up to the last one, which the request's first bytes tell.
    Last(Vec<u8>),
}

impl State {
    fn request(
        &mut self,
        definition: &Definition,
        request: &Message<'_>,
        dialogue: &mut Dialogue,
    ) -> Result<(), Lost> {
        let command = definition.command(request.head);
        let command = command.ok_or(Lost("a request that its definition does not tell"))?;
        let owed = match command.answers {
            Reply::None | Reply::Count(0) => None,
            Reply::One => Some(Owed::Messages(1)),
            Reply::Count(count) => Some(Owed::Messages(count)),
            Reply::Until(_) => Some(Owed::Last(request.head.to_vec())),
        };
        dialogue.asked(Request {
            start: request.start,
            end: request.end,
            once: command.verb == CommandVerb::End,
            silent: owed.is_none(),
            closes: command.closes,
            session: command.session,
        })?;
        self.owed.extend(owed);
        Ok(())
    }

    fn answer(
        &mut self,
        definition: &Definition,
        answer: &Message<'_>,
        dialogue: &mut Dialogue,
    ) -> Result<(), Lost> {
        if std::mem::take(&mut self.greeting) {
            dialogue.greeted(answer.end);
            return Ok(());
        }
        match self.owed.front_mut() {
            Some(Owed::Messages(left)) if *left > 1 => *left -= 1,
            Some(Owed::Last(head)) if !definition.ends(head, answer.head) => {}
            Some(_) | None => {
                self.owed.pop_front();
                dialogue.answered(answer.end)?;
            }
        }
        Ok(())
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

impl Protocol for DefinedProtocol {
    fn client_bytes(&mut self, at: u64, bytes: &[u8], dialogue: &mut Dialogue) -> Result<(), Lost> {
        let (frame, longest) = self.definition.request.frame();
        let mut requests = std::mem::take(&mut self.state.requests);
        let taken = requests.take(frame, longest, (at, bytes), |request| {
            self.state.request(&self.definition, request, dialogue)
        });
        self.state.requests = requests;
        taken
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8], dialogue: &mut Dialogue) -> Result<(), Lost> {
        let (frame, longest) = self.definition.answer.frame();
        let mut answers = std::mem::take(&mut self.state.answers);
        let taken = answers.take(frame, longest, (at, bytes), |answer| {
            self.state.answer(&self.definition, answer, dialogue)
        });
        self.state.answers = answers;
        taken
    }

    fn rewind(&mut self, to: Restart, dialogue: &mut Dialogue) {
        let greeting = self.definition.greeting;
        if greeting {
            // A new server greets again: what it says cannot be left out.
            dialogue.keep_all();
        }
        self.state = State {
            requests: Frames::from(to.client),
            answers: Frames::from(to.server),
            greeting,
            owed: VecDeque::new(),
        };
    }

    fn capture(&self) -> u32 {
        self.definition.answer.capture()
    }

    fn replays_unknown(&self) -> bool {
        !self.definition.has_end()
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
        stored::restore(&mut self.state, saved, |state| {
            state.requests.is_sound(self.definition.request.frame().0)
                && state.answers.is_sound(self.definition.answer.frame().0)
        })
    }
}

#[cfg(test)]
mod tests;
