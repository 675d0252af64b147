// SPDX-License-Identifier: GPL-3.0-only
//! Replies of an FTP server (RFC 959 section 4.2): a code and text, on one line or on several, `123-` to `123 `.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Most of a line's text that is kept; what is looked for stands at its beginning. A path may be as long.
pub(super) const LONGEST: usize = 4096;

/// A complete reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The text of its last line.
    pub(super) text: Vec<u8>,
    /// The name that the server has chosen for a file (RFC 1123 section 4.1.2.9), in whichever line it is told.
    pub(super) file: Option<Vec<u8>>,
}

impl Reply {
    /// More of the same command's will follow.
    pub(super) const fn is_preliminary(&self) -> bool {
        self.code < 200
    }

    /// Whether it may be the last word on a transfer that has begun (RFC 959 section 5.4), or a further one about it.
    /// proftpd refuses with 450 what is asked meanwhile.
    pub(super) fn may_end_transfer(&self) -> bool {
        let busy = || self.text.windows(11).any(|word| word == b"in progress");
        self.is_preliminary()
            || matches!(
                self.code,
                226 | 250 | 421 | 425 | 426 | 451 | 452 | 550..=553
            )
            || (self.code == 450 && !busy())
    }

    /// What was asked for is done.
    pub(super) const fn is_done(&self) -> bool {
        self.code >= 200 && self.code < 300
    }
}

/// Not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreign;

/// Puts lines together to replies.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Replies {
    /// The code of a reply whose last line has still to come.
    open: Option<u16>,
    /// What that reply has told so far of [`Reply::file`].
    file: Option<Vec<u8>>,
}

impl Replies {
    /// The last line of a reply has still to come.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a line; `None`: the reply goes on.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Option<Reply>, Foreign> {
        let code = code(line);
        let mark = line.get(3).copied();
        if code.is_some() && code == self.open.or(code) {
            let name = line.get(4..).and_then(|it| it.strip_prefix(b"FILE: "));
            let name = name.filter(|name| !name.is_empty());
            self.file = name.map(<[u8]>::to_vec).or(self.file.take());
        }
        match (self.open, code) {
            (Some(open), Some(code)) if code == open && mark != Some(b'-') => self.open = None,
            (Some(_), _) => return Ok(None),
            (None, None) => return Err(Foreign),
            (None, Some(code)) => match mark {
                Some(b'-') => {
                    self.open = Some(code);
                    return Ok(None);
                }
                Some(b' ') | None => {}
                Some(_) => return Err(Foreign),
            },
        }
        Ok(code.map(|code| Reply {
            code,
            text: line.get(4..).unwrap_or_default().to_vec(),
            file: self.file.take(),
        }))
    }
}

/// The code at the beginning of a line, if there is one.
fn code(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3)?;
    let known = digits.iter().all(u8::is_ascii_digit) && (b'1'..=b'6').contains(&digits[0]);
    known.then(|| {
        let digit = |digit: &u8| u16::from(digit - b'0');
        digits
            .iter()
            .map(digit)
            .fold(0, |sum, next| 10 * sum + next)
    })
}

/// The address and port of a 227 reply (RFC 959 section 4.1.2): six numbers, wherever in the text (RFC 1123 section
/// 4.1.2.6).
pub(super) fn passive(text: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let text = std::str::from_utf8(text).ok()?;
    let starts = text.char_indices().filter(|&(at, letter)| {
        let before = text[..at].trim_end().chars().next_back();
        let inside = before == Some(',') || text[..at].ends_with(|it: char| it.is_ascii_digit());
        letter.is_ascii_digit() && !inside
    });
    starts.map(|(at, _)| &text[at..]).find_map(|rest| {
        let end =
            rest.find(|letter: char| !letter.is_ascii_digit() && letter != ',' && letter != ' ');
        let numbers = rest[..end.unwrap_or(rest.len())].split(',');
        let numbers: Result<Vec<u8>, _> = numbers.map(|number| number.trim().parse()).collect();
        let &[a, b, c, d, high, low] = numbers.ok()?.as_slice() else {
            return None;
        };
        let port = u16::from_be_bytes([high, low]);
        (port != 0).then_some((Ipv4Addr::new(a, b, c, d), port))
    })
}

/// The port of a 229 reply (RFC 2428 section 3): `(|||port|)`, with any delimiter.
pub(super) fn extended_passive(text: &[u8]) -> Option<u16> {
    let at = text.iter().position(|&byte| byte == b'(')? + 1;
    let &mark = text.get(at)?;
    let inside = text.get(at..)?.strip_prefix(&[mark, mark, mark])?;
    let digits = &inside[..inside.iter().position(|&byte| byte == mark)?];
    let port = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (port != 0).then_some(port)
}

/// The path of a 257 reply (RFC 959 section 7, appendix II): in quotes, a quote in it twice.
pub(super) fn path(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut path = Vec::new();
    loop {
        let at = rest.iter().position(|&byte| byte == b'"')?;
        path.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix(b"\"") {
            Some(more) => {
                path.push(b'"');
                rest = more;
            }
            None => return path.starts_with(b"/").then_some(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[&str]) -> Vec<Result<Option<u16>, Foreign>> {
        let mut replies = Replies::default();
        let take = |line: &&str| Ok(replies.take(line.as_bytes())?.map(|reply| reply.code));
        lines.iter().map(take).collect()
    }

    #[test]
    fn replies_of_many_lines_end_with_their_own_code() {
        assert_eq!(
            taken(&[
                "211-Features:",
                " EPSV",
                "500 not the end",
                "211-x",
                "211 End",
                "200"
            ]),
            [
                Ok(None),
                Ok(None),
                Ok(None),
                Ok(None),
                Ok(Some(211)),
                Ok(Some(200))
            ]
        );
    }

    #[test]
    fn what_is_no_reply_is_seen() {
        for line in [
            "",
            "hello",
            "22",
            "2x0 ",
            "220_",
            "990 x",
            "020 x",
            "SSH-2.0-x",
        ] {
            assert_eq!(taken(&[line]), [Err(Foreign)], "{line}");
        }
    }

    #[test]
    fn passive_addresses_are_read_as_servers_write_them() {
        let address = Ipv4Addr::new(10, 77, 0, 2);
        for text in [
            "Entering Passive Mode (10,77,0,2,19,136).",
            "Entering Passive Mode (10,77,0,2,19,136)",
            "=10,77,0,2,19,136",
            "Entering 1 passive mode 10, 77, 0, 2, 19, 136",
        ] {
            assert_eq!(passive(text.as_bytes()), Some((address, 5000)), "{text}");
        }
        for text in [
            "",
            "(1,2,3,4,5)",
            "(1,2,3,4,5,6,7)",
            "(1,2,3,4,5,256)",
            "(1,2,3,4,0,0)",
        ] {
            assert_eq!(passive(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn extended_passive_ports_are_read_with_any_delimiter() {
        let port = |text: &str| extended_passive(text.as_bytes());
        assert_eq!(
            port("Entering Extended Passive Mode (|||5001|)"),
            Some(5001)
        );
        assert_eq!(port("x (!!!80!)."), Some(80));
        for text in ["(||5001|)", "(|||0|)", "(|||70000|)", "(|||12", "(", ""] {
            assert_eq!(port(text), None, "{text}");
        }
    }

    #[test]
    fn paths_are_unquoted_and_absolute() {
        assert_eq!(path(b"\"/a \"\"b\"\"\" is it"), Some(b"/a \"b\"".to_vec()));
        for text in ["/a", "\"a\"", "\"/a", ""] {
            assert_eq!(path(text.as_bytes()), None, "{text}");
        }
    }
}
