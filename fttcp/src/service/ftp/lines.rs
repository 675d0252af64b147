// SPDX-License-Identifier: GPL-3.0-only
//! The lines of one direction of an FTP control connection (RFC 959 section 5.3), while its bytes pass in pieces of any
//! size: ended by CR LF, or by LF alone, which most servers take. Telnet commands (RFC 854) in the client's direction are
//! left out, as servers do: a transfer is aborted with `IAC IP IAC DM ABOR`.

use serde::{Deserialize, Serialize};

const IAC: u8 = 255;
/// From here on a Telnet command has an operand, except [`IAC`] itself, which stands for a byte.
const WILL: u8 = 251;

/// Where a Telnet command stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Telnet {
    #[default]
    Text,
    Command,
    Operand,
}

/// See the module's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lines {
    /// The next byte's position in the stream.
    at: u64,
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    cut: bool,
    telnet: Telnet,
}

impl Lines {
    pub(super) const fn from(at: u64) -> Self {
        Self {
            at,
            line: Vec::new(),
            cut: false,
            telnet: Telnet::Text,
        }
    }

    /// Where the next line begins if the last one is complete.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Whether no line has begun.
    pub(super) const fn is_between(&self) -> bool {
        self.line.is_empty() && !self.cut
    }

    /// Whether this is a state that [`Lines::next`] with this bound can reach.
    pub(super) const fn is_sound(&self, longest: usize) -> bool {
        self.line.len() <= longest
    }

    /// The new bytes of a piece at `at`: those before are known. `None`: something between is missing.
    pub(super) fn new_of<'a>(&self, at: u64, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let known = self.at.checked_sub(at)?;
        Some(bytes.get(known as usize..).unwrap_or_default())
    }

    /// Takes bytes up to the end of a line; gives that line, of which at most `longest` bytes are kept, and whether it was
    /// longer.
    pub(super) fn next(
        &mut self,
        bytes: &mut &[u8],
        longest: usize,
        telnet: bool,
    ) -> Option<(Vec<u8>, bool)> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.at += 1;
            match self.telnet {
                Telnet::Text if telnet && byte == IAC => self.telnet = Telnet::Command,
                Telnet::Command if byte != IAC => {
                    self.telnet = if byte >= WILL {
                        Telnet::Operand
                    } else {
                        Telnet::Text
                    };
                }
                Telnet::Operand => self.telnet = Telnet::Text,
                Telnet::Text if byte == b'\n' => {
                    let mut line = std::mem::take(&mut self.line);
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    return Some((line, std::mem::take(&mut self.cut)));
                }
                Telnet::Text | Telnet::Command => {
                    self.telnet = Telnet::Text;
                    if self.line.len() < longest {
                        self.line.push(byte);
                    } else {
                        self.cut = true;
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for mut piece in stream.chunks(step) {
            while let Some((line, _)) = lines.next(&mut piece, 64, true) {
                found.push(line);
            }
        }
        assert_eq!(lines.at(), stream.len() as u64);
        found
    }

    #[test]
    fn telnet_commands_are_left_out_in_pieces_of_any_size() {
        let stream =
            b"USER a\r\n\xff\xf4\xff\xf2ABOR\nCWD \xff\xff\r\n\xff\xfd\x06\xff\xf6NOOP\r\n";
        let want = [&b"USER a"[..], b"ABOR", b"CWD \xff", b"NOOP"];
        for step in 1..=stream.len() {
            assert_eq!(all(stream, step), want, "{step}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_said_so() {
        let mut lines = Lines::default();
        let stream = [[b'a'; 100].as_slice(), b"\r\nb\r\n"].concat();
        let mut rest = stream.as_slice();
        assert_eq!(
            lines.next(&mut rest, 10, false),
            Some((vec![b'a'; 10], true))
        );
        assert_eq!(lines.next(&mut rest, 10, false), Some((vec![b'b'], false)));
        assert!(lines.is_sound(10));
    }

    #[test]
    fn pieces_that_are_known_give_nothing_new_and_gaps_are_seen() {
        let lines = Lines::from(10);
        assert_eq!(lines.new_of(8, b"abcd"), Some(&b"cd"[..]));
        assert_eq!(lines.new_of(2, b"abcd"), Some(&b""[..]));
        assert_eq!(lines.new_of(11, b"a"), None);
    }
}
