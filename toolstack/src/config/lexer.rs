// SPDX-License-Identifier: GPL-3.0-only
//! Words of `xl.cfg`: names, quoted strings, numbers and punctuation, each with its place.
//!
//! Taken from xl as facts: both kinds of quotes, no line break inside a string, the escapes `\\ \' \" \a \b \f \n \r \t
//! \v`. xl 4.17 drops what its numeric escapes stand for; here they give the character. Beyond xl: a comment
//! may end the file without a line break, and lines may end in CR LF.

use super::source::{Findings, Source, Span};

/// Text of a string or number, with the place of each of its bytes, so that a message about a part of it (one
/// option of a `vif`) points at that part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// The text, unquoted.
    pub(super) value: String,
    /// The whole of it in the source, quotes included.
    pub(super) span: Span,
    /// Source position of each byte of `value`.
    places: Vec<(usize, usize)>,
}

impl Text {
    /// The span of `len` bytes of the value from byte `from`. Past the end: the end of the text.
    pub(super) fn part(&self, from: usize, len: usize) -> Span {
        let Some(&(source, start)) = self.places.get(from) else {
            let end = self.span.start + self.span.len;
            return Span::at(self.span.source, end.saturating_sub(1));
        };
        let last = self.places[(from + len.max(1)).min(self.places.len()) - 1];
        let len = if last.0 == source && last.1 >= start {
            last.1 + 1 - start
        } else {
            1
        };
        Span { source, start, len }
    }

    /// This text followed by `more`, as `+=` joins them.
    pub(super) fn followed_by(mut self, more: Self) -> Self {
        self.value.push_str(&more.value);
        self.places.extend(more.places);
        self.span = more.span;
        self
    }
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Text(Text),
    Open,
    Close,
    Comma,
    Assign,
    Append,
    /// A line break or `;`.
    End {
        /// It was a line break.
        newline: bool,
    },
    /// Told already; the reader skips to a safe place.
    Bad,
    /// The source is over.
    Eof,
}

/// Splits one source into words.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    source: Source<'a>,
    index: usize,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Reads `source`, which is number `index` of the sources.
    pub(super) const fn new(source: Source<'a>, index: usize) -> Self {
        Self {
            source,
            index,
            at: 0,
        }
    }

    /// The next word and its place.
    pub(super) fn next(&mut self, findings: &mut Findings<'_>) -> (Token, Span) {
        self.skip_blanks();
        let start = self.at;
        let token = match self.peek(0) {
            None => Token::Eof,
            Some(b'\n') => self.one(Token::End { newline: true }),
            Some(b';') => self.one(Token::End { newline: false }),
            Some(b',') => self.one(Token::Comma),
            Some(b'[') => self.one(Token::Open),
            Some(b']') => self.one(Token::Close),
            Some(b'=') => self.one(Token::Assign),
            Some(b'+') if self.peek(1) == Some(b'=') => {
                self.at += 2;
                Token::Append
            }
            Some(quote @ (b'\'' | b'"')) => self.string(quote, findings),
            Some(b'0'..=b'9') => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == b'_' => self.name(),
            Some(_) => self.stray(findings),
        };
        let span = Span {
            source: self.index,
            start,
            len: self.at - start,
        };
        (token, span)
    }

    /// Skips what is left of the line, but not its end.
    pub(super) fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|b| b != b'\n') {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.bytes.get(self.at + ahead).copied()
    }

    const fn one(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\r') if matches!(self.peek(1), Some(b'\n') | None) => self.at += 1,
                Some(b'#') => self.skip_line(),
                _ => return,
            }
        }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.source.bytes[start..self.at]).into_owned()
    }

    fn name(&mut self) -> Token {
        Token::Name(
            self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')),
        )
    }

    fn number(&mut self) -> Token {
        let start = self.at;
        let value = self.take_while(|b| b.is_ascii_alphanumeric());
        let places = (start..self.at).map(|at| (self.index, at)).collect();
        let span = Span {
            source: self.index,
            start,
            len: self.at - start,
        };
        Token::Text(Text {
            value,
            span,
            places,
        })
    }

    /// A character that starts no word: one message for the whole run of them.
    fn stray(&mut self, findings: &mut Findings<'_>) -> Token {
        let start = self.at;
        let text = self.take_while(|b| {
            !b.is_ascii_whitespace()
                && !b.is_ascii_alphanumeric()
                && !matches!(b, b',' | b';' | b'[' | b']' | b'=' | b'\'' | b'"' | b'#')
        });
        if self.at == start {
            self.at += 1;
        }
        let span = Span {
            source: self.index,
            start,
            len: self.at - start,
        };
        findings.error(
            span,
            format!(
                "unexpected `{}`: a value is a number, a \"quoted string\" or a [list]",
                text.escape_debug()
            ),
        );
        Token::Bad
    }

    fn string(&mut self, quote: u8, findings: &mut Findings<'_>) -> Token {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        let mut sound = true;
        loop {
            let at = self.at;
            match self.peek(0) {
                None | Some(b'\n') => {
                    findings.error(
                        Span::at(self.index, start),
                        "the string that starts here is not closed on its line",
                    );
                    return Token::Bad;
                }
                Some(b) if b == quote => break,
                Some(b'\\') => match self.escape() {
                    Ok(byte) => {
                        bytes.push(byte);
                        places.push((self.index, at));
                    }
                    Err(message) => {
                        sound = false;
                        let len = self.at - at;
                        let source = self.index;
                        findings.error(
                            Span {
                                source,
                                start: at,
                                len,
                            },
                            message,
                        );
                    }
                },
                Some(b) => {
                    bytes.push(b);
                    places.push((self.index, at));
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        let span = Span {
            source: self.index,
            start,
            len: self.at - start,
        };
        match String::from_utf8(bytes) {
            Ok(value) if sound => Token::Text(Text {
                value,
                span,
                places,
            }),
            Ok(_) => Token::Bad,
            Err(error) => {
                let at = places[error.utf8_error().valid_up_to()].1;
                findings.error(Span::at(self.index, at), "this byte is not UTF-8 text");
                Token::Bad
            }
        }
    }

    /// Reads a backslash and what follows.
    fn escape(&mut self) -> Result<u8, &'static str> {
        self.at += 1;
        let Some(c) = self.peek(0).filter(|&c| c != b'\n') else {
            return Err("a backslash must be followed by a character on the same line");
        };
        self.at += 1;
        Ok(match c {
            b'\\' | b'\'' | b'"' => c,
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'x' => {
                return self
                    .digits(2, 2, 16, 0)
                    .ok_or("`\\x` must be followed by two hexadecimal digits");
            }
            b'0'..=b'7' => {
                return self
                    .digits(0, 2, 8, u32::from(c - b'0'))
                    .ok_or("an octal escape must be 377 at most");
            }
            _ => return Err("unknown escape: write \\\\ for a backslash"),
        })
    }

    /// Between `least` and `most` further digits of a number that begins with `value`.
    fn digits(&mut self, least: u32, most: u32, radix: u32, mut value: u32) -> Option<u8> {
        let mut count = 0;
        while count < most {
            let Some(digit) = self.peek(0).and_then(|b| char::from(b).to_digit(radix)) else {
                break;
            };
            value = value * radix + digit;
            self.at += 1;
            count += 1;
        }
        u8::try_from(value).ok().filter(|_| count >= least)
    }
}
