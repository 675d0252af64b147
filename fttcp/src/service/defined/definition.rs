// SPDX-License-Identifier: GPL-3.0-only
//! A definition: the text in which a service's designer says what there is to know of a simple protocol.

use serde::Deserialize;
use toml::Spanned;

use super::frames::{Frame, HEAD};
use crate::service::dialogue::Session;

/// Longest text.
const MAX_TEXT: usize = 64 * 1024;
/// Longest message that may be allowed, in bytes.
const MAX_LONGEST: u64 = 1 << 40;

/// What is wrong with a definition, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DefinitionError {
    /// Counted from 1.
    pub line: usize,
    /// What, why, and what to do.
    pub message: String,
}

/// See the module's text. docs/service-designers.md tells what each field means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    name: Spanned<String>,
    #[serde(default)]
    mask: Vec<String>,
    #[serde(default)]
    pub(super) greeting: bool,
    pub(super) request: Requests,
    pub(super) answer: Answers,
    #[serde(default, rename = "command")]
    commands: Vec<Spanned<Command>>,
    otherwise: Option<Spanned<Command>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requests {
    frame: Spanned<Frame>,
    #[serde(default = "default_longest")]
    longest: Spanned<u64>,
    /// Where in a request its verb begins.
    #[serde(default)]
    verb_at: usize,
    #[serde(default)]
    verb_is: Match,
    #[serde(default)]
    ignore_case: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answers {
    frame: Spanned<Frame>,
    #[serde(default = "default_longest")]
    longest: Spanned<u64>,
}

fn default_longest() -> Spanned<u64> {
    Spanned::new(0..0, 64 * 1024)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Match {
    /// The bytes up to the next white space.
    #[default]
    Word,
    /// The message begins with it.
    Prefix,
}

/// What a kind of request means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    /// Its requests begin with one of these.
    #[serde(default, rename = "match")]
    names: Vec<String>,
    /// Whether it may be issued twice.
    #[serde(default)]
    pub(super) verb: CommandVerb,
    #[serde(default)]
    pub(super) answers: Reply,
    #[serde(default)]
    pub(super) session: Session,
    /// The server closes when it has answered.
    #[serde(default)]
    pub(super) closes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CommandVerb {
    #[default]
    Replay,
    End,
}

/// How many messages answer a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    #[default]
    One,
    None,
    Count(u32),
    /// All up to one that begins with one of these words.
    Until(Vec<String>),
}

/// The line in which byte `at` of `text` stands.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

impl Definition {
    /// Reads a definition.
    pub(super) fn parse(text: &str) -> Result<Self, DefinitionError> {
        if text.len() > MAX_TEXT {
            return Err(DefinitionError {
                line: line(text, MAX_TEXT),
                message: format!("the definition is longer than {MAX_TEXT} bytes; shorten it"),
            });
        }
        let definition: Self = toml::from_str(text).map_err(|error| DefinitionError {
            line: line(text, error.span().map_or(0, |span| span.start)),
            message: error.message().trim().replace('\n', "; "),
        })?;
        definition
            .check()
            .map_err(|(at, message)| DefinitionError {
                line: line(text, at),
                message,
            })?;
        Ok(definition)
    }

    /// What cannot be: where it stands in the text, and what to do.
    fn check(&self) -> Result<(), (usize, String)> {
        let name = self.name.get_ref();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(plain) {
            let text = "name is not one word; use up to 32 letters, digits, - and _";
            return Err((self.name.span().start, text.to_owned()));
        }
        if super::super::KINDS.contains(&name.as_str()) {
            let text = format!("name {name} is that of a kind that ftlogger has; use another");
            return Err((self.name.span().start, text));
        }
        for (frame, longest) in [
            (&self.request.frame, &self.request.longest),
            (&self.answer.frame, &self.answer.longest),
        ] {
            check_frame(frame.get_ref()).map_err(|text| (frame.span().start, text.to_owned()))?;
            if !(1..=MAX_LONGEST).contains(longest.get_ref()) {
                let text = format!("longest is not a length; use 1 to {MAX_LONGEST} bytes");
                return Err((longest.span().start, text));
            }
        }
        if let Some(otherwise) = &self.otherwise
            && !otherwise.get_ref().names.is_empty()
        {
            let text = "[otherwise] is for what no command matches; leave match out";
            return Err((otherwise.span().start, text.to_owned()));
        }
        for command in &self.commands {
            self.check_names(&command.get_ref().names)
                .map_err(|text| (command.span().start, text))?;
        }
        Ok(())
    }

    fn check_names(&self, names: &[String]) -> Result<(), String> {
        if names.is_empty() {
            let text = "match names no request; name one, or use [otherwise] for all others";
            return Err(text.to_owned());
        }
        let at = self.request.verb_at;
        for name in names {
            let shown = name.escape_debug();
            // Its end must be seen, too.
            if name.is_empty() || name.len().saturating_add(at) >= HEAD {
                return Err(format!(
                    "match \"{shown}\" must lie in the first {HEAD} bytes of a request; shorten it"
                ));
            }
            if self.request.verb_is == Match::Word && name.contains(char::is_whitespace) {
                return Err(format!(
                    "match \"{shown}\" is not one word; use one, or verb_is = \"prefix\""
                ));
            }
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        self.name.get_ref()
    }

    pub(super) fn masks(&self) -> &[String] {
        &self.mask
    }

    /// Whether there are requests that must not be issued twice.
    pub(super) fn has_end(&self) -> bool {
        let mut all = self.commands.iter().chain(&self.otherwise);
        all.any(|command| command.get_ref().verb == CommandVerb::End)
    }

    /// What a request means; `None`: nothing that the definition tells.
    pub(super) fn command(&self, head: &[u8]) -> Option<&Command> {
        let verb = head.get(self.request.verb_at..).unwrap_or_default();
        let is = |name: &String| match self.request.verb_is {
            Match::Word => self.same(word(verb), name.as_bytes()),
            Match::Prefix => {
                let start = verb.get(..name.len());
                start.is_some_and(|start| self.same(start, name.as_bytes()))
            }
        };
        let mut commands = self.commands.iter();
        let found = commands.find(|command| command.get_ref().names.iter().any(is));
        found.or(self.otherwise.as_ref()).map(Spanned::get_ref)
    }

    fn same(&self, one: &[u8], other: &[u8]) -> bool {
        if self.request.ignore_case {
            one.eq_ignore_ascii_case(other)
        } else {
            one == other
        }
    }
}

impl Requests {
    pub(super) fn frame(&self) -> (&Frame, u64) {
        (self.frame.get_ref(), *self.longest.get_ref())
    }
}

impl Answers {
    pub(super) fn frame(&self) -> (&Frame, u64) {
        (self.frame.get_ref(), *self.longest.get_ref())
    }

    /// How much of an answer must be seen to know where it ends.
    pub(super) fn capture(&self) -> u32 {
        match self.frame() {
            (Frame::Delimiter(_), longest) => u32::try_from(longest).unwrap_or(u32::MAX),
            (Frame::Length(_) | Frame::Size(_), _) => super::super::CAPTURE,
        }
    }
}

/// The bytes up to the first white space.
pub(super) fn word(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(u8::is_ascii_whitespace);
    &bytes[..end.unwrap_or(bytes.len())]
}

fn check_frame(frame: &Frame) -> Result<(), &'static str> {
    match frame {
        Frame::Delimiter(bytes) if bytes.is_empty() || bytes.len() > 16 => {
            Err("delimiter is no end of a message; use 1 to 16 bytes, such as \"\\r\\n\"")
        }
        Frame::Size(0) => Err("size is 0, which never ends; use the bytes of a message"),
        Frame::Length(field) if !(1..=8).contains(&field.width) => {
            Err("width is not that of a number; use 1 to 8 bytes")
        }
        Frame::Length(field) if field.offset.saturating_add(field.width) > HEAD => Err(
            "the length is too far from the message's beginning; offset and width may be 64 together",
        ),
        Frame::Delimiter(_) | Frame::Size(_) | Frame::Length(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KV: &str = include_str!("../../../examples/kv.toml");

    #[test]
    fn requests_are_known_by_their_first_word() {
        let kv = Definition::parse(KV).unwrap();
        assert_eq!(kv.name(), "kv");
        let command = |head: &[u8]| kv.command(head).unwrap();
        assert_eq!(command(b"GET a").verb, CommandVerb::Replay);
        assert_eq!(command(b"get\ta"), command(b"GET a"));
        assert_eq!(command(b"ADD n 1").verb, CommandVerb::End);
        assert_eq!(command(b"USE shop").session, Session::Keeps);
        assert!(matches!(command(b"LIST").answers, Reply::Until(_)));
        assert!(command(b"QUIT").closes);
        assert_eq!(kv.command(b"GETTING"), None);
    }

    #[test]
    fn errors_name_the_line_and_what_to_do() {
        let told = |from: &str, to: &str| {
            assert!(KV.contains(from), "{from}");
            Definition::parse(&KV.replacen(from, to, 1))
                .unwrap_err()
                .to_string()
        };
        let at = |what: &str| 1 + KV[..KV.find(what).unwrap()].matches('\n').count();
        let line = format!("line {}: ", at("name = "));
        let text = told("name = \"kv\"", "name = \"http\"");
        assert!(
            text.starts_with(&line) && text.contains("use another"),
            "{text}"
        );
        let text = told("delimiter = \"\\n\"", "delimiter = \"\"");
        assert!(text.contains("use 1 to 16 bytes"), "{text}");
        // Where its [[command]] stands.
        let line = format!("line {}: ", at("match = [\"ADD\"]") - 1);
        let text = told("[\"ADD\"]", "[]");
        assert!(
            text.starts_with(&line) && text.contains("[otherwise]"),
            "{text}"
        );
        let text = told("[\"ADD\"]", "[\"ADD ONE\"]");
        assert!(text.contains("verb_is"), "{text}");
        let text = told("verb = \"end\"", "verb = \"stop\"");
        assert!(
            text.contains("`replay`") && text.contains("`end`"),
            "{text}"
        );
        let text = told("ignore_case", "ignorecase");
        assert!(text.contains("ignore_case"), "{text}");
        assert!(
            Definition::parse("")
                .unwrap_err()
                .to_string()
                .contains("name")
        );
        assert!(Definition::parse(&" ".repeat(MAX_TEXT + 1)).is_err());
    }
}
