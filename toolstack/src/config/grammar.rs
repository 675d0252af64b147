// SPDX-License-Identifier: GPL-3.0-only
//! Statements of `xl.cfg`: `name = value` and `name += value`, joined into one setting per name as xl joins them:
//! the last assignment wins, `+=` appends text to text and list to list.

use std::collections::BTreeMap;

use super::lexer::{Lexer, Text, Token};
use super::source::{Findings, Source, Span};

/// Deepest nesting of lists; xl's own keys use two.
const MOST_NESTING: usize = 8;

/// The right side of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A string or a number: xl does not tell them apart.
    Text(Text),
    /// A list.
    List(Vec<Value>, Span),
}

impl Value {
    /// Where it stands.
    pub(super) const fn span(&self) -> Span {
        match self {
            Self::Text(text) => text.span,
            Self::List(_, span) => *span,
        }
    }
}

/// What a name was set to in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Where the name stands in the last assignment.
    pub(super) name: Span,
    /// The value.
    pub(super) value: Value,
    /// The last assignment was `+=`.
    pub(super) appended: bool,
}

/// All settings, by name.
pub(super) type Settings = BTreeMap<String, Setting>;

/// Reads the sources one after the other; a later one overrides without a warning, for that is what arguments after
/// a file are for.
pub(super) fn read(sources: &[Source<'_>], findings: &mut Findings<'_>) -> Settings {
    let mut settings = Settings::new();
    for (index, source) in sources.iter().enumerate() {
        let mut lexer = Lexer::new(*source, index);
        let (token, span) = lexer.next(findings);
        let mut reader = Reader {
            lexer,
            findings,
            settings: &mut settings,
            token,
            span,
        };
        reader.statements();
    }
    settings
}

struct Reader<'a, 's, 'f> {
    lexer: Lexer<'s>,
    findings: &'a mut Findings<'f>,
    settings: &'a mut Settings,
    token: Token,
    span: Span,
}

/// A message was given; where reading goes on.
enum Told {
    /// After the rest of this line.
    NextLine,
    /// At the word that the reader stands at.
    Here,
}

impl Reader<'_, '_, '_> {
    fn advance(&mut self) -> (Token, Span) {
        let next = self.lexer.next(self.findings);
        let token = std::mem::replace(&mut self.token, next.0);
        (token, std::mem::replace(&mut self.span, next.1))
    }

    fn statements(&mut self) {
        while self.token != Token::Eof {
            if matches!(self.token, Token::End { .. }) {
                self.advance();
            } else if let Err(Told::NextLine) = self.statement() {
                self.skip_line();
            }
        }
    }

    fn skip_line(&mut self) {
        if !matches!(self.token, Token::End { newline: true } | Token::Eof) {
            self.lexer.skip_line();
            self.advance();
        }
    }

    /// Says `message` about the present word, unless the lexer has said something about it.
    fn fail<T>(&mut self, message: impl Into<String>) -> Result<T, Told> {
        if self.token != Token::Bad {
            self.findings.error(self.span, message);
        }
        Err(Told::NextLine)
    }

    fn statement(&mut self) -> Result<(), Told> {
        let Token::Name(name) = self.token.clone() else {
            return self.fail("expected a key, as in name = \"web\"");
        };
        let (_, span) = self.advance();
        let appended = match self.token {
            Token::Assign => false,
            Token::Append => true,
            _ => return self.fail(format!("expected `=` or `+=` after `{name}`")),
        };
        self.advance();
        let value = self.value(0, &name)?;
        if !matches!(self.token, Token::End { .. } | Token::Eof) {
            return self.fail(format!(
                "expected the end of the line after the value of `{name}`"
            ));
        }
        self.store(name, span, value, appended);
        Ok(())
    }

    fn value(&mut self, depth: usize, key: &str) -> Result<Value, Told> {
        match self.token.clone() {
            Token::Text(text) => {
                self.advance();
                Ok(Value::Text(text))
            }
            Token::Open if depth == MOST_NESTING => {
                self.fail(format!("{key}: lists may be nested {MOST_NESTING} deep"))
            }
            Token::Open => {
                let (_, open) = self.advance();
                match self.list(depth, key, open) {
                    Err(Told::NextLine) if !self.skip_list() => Err(Told::Here),
                    result => result,
                }
            }
            Token::Name(word) => self.fail(format!(
                "{key}: expected a value, found the bare word `{word}`: put it in quotes, \"{word}\""
            )),
            _ => self.fail(format!(
                "{key}: expected a value: a number, a \"quoted string\" or a [list]"
            )),
        }
    }

    /// What follows `[`, with line breaks anywhere and a comma allowed at the end.
    fn list(&mut self, depth: usize, key: &str, open: Span) -> Result<Value, Told> {
        let mut items = Vec::new();
        loop {
            self.skip_newlines();
            if self.token == Token::Close {
                break;
            }
            self.still_open(key, open)?;
            items.push(self.value(depth + 1, key)?);
            self.skip_newlines();
            match self.token {
                Token::Comma => {
                    self.advance();
                }
                Token::Close => break,
                _ => {
                    self.still_open(key, open)?;
                    return self.fail(format!("{key}: expected `,` or `]` in the list"));
                }
            }
        }
        let (_, close) = self.advance();
        let len = close.start + close.len - open.start;
        Ok(Value::List(items, Span { len, ..open }))
    }

    /// Fails at the end of the source, and at a name on a later line: it starts a new statement, the list was
    /// forgotten to be closed.
    fn still_open(&mut self, key: &str, open: Span) -> Result<(), Told> {
        let over = match self.token {
            Token::Eof => true,
            Token::Name(_) => self.findings.line_of(self.span) != self.findings.line_of(open),
            _ => false,
        };
        if !over {
            return Ok(());
        }
        self.findings.error(
            open,
            format!("{key}: the list that starts here is not closed with `]`"),
        );
        Err(Told::Here)
    }

    /// Goes past the `]` of the list that the reader is in; or to what must be a new statement, then it says false.
    fn skip_list(&mut self) -> bool {
        let mut depth = 0_usize;
        let mut line_start = false;
        loop {
            match self.token {
                Token::Eof => return false,
                Token::Name(_) if line_start => return false,
                Token::Open => depth += 1,
                Token::Close if depth == 0 => break,
                Token::Close => depth -= 1,
                _ => {}
            }
            line_start = self.token == (Token::End { newline: true });
            self.advance();
        }
        self.advance();
        true
    }

    fn skip_newlines(&mut self) {
        while self.token == (Token::End { newline: true }) {
            self.advance();
        }
    }

    fn store(&mut self, key: String, name: Span, value: Value, appended: bool) {
        let Some(before) = self.settings.get(&key) else {
            let setting = Setting {
                name,
                value,
                appended,
            };
            self.settings.insert(key, setting);
            return;
        };
        let value = match (appended, before.value.clone(), value) {
            (true, Value::Text(first), Value::Text(more)) => Value::Text(first.followed_by(more)),
            (true, Value::List(mut items, _), Value::List(more, span)) => {
                items.extend(more);
                Value::List(items, span)
            }
            (true, first, more) => {
                let (is, not) = match first {
                    Value::Text(_) => ("a string", "a list"),
                    Value::List(..) => ("a list", "a string"),
                };
                self.findings.error(
                    more.span(),
                    format!("{key}: `+=` cannot append {not} to {is}"),
                );
                return;
            }
            (false, _, value) => {
                if before.name.source == name.source {
                    let line = self.findings.line_of(before.name);
                    self.findings.warning(
                        name,
                        format!("{key}: set again, the value of line {line} is not used"),
                    );
                }
                value
            }
        };
        let setting = Setting {
            name,
            value,
            appended,
        };
        self.settings.insert(key, setting);
    }
}
