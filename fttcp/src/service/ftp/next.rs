// SPDX-License-Identifier: GPL-3.0-only
//! Where the next data connection is to be opened, and by whom: the client comes to a port that the server has named (227,
//! 229), or the server to an end that the client has named (`PORT`, `EPRT`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::command::words;
use super::reply;
use crate::service::{Link, News};

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Next {
    Comes(Option<Ipv4Addr>, u16),
    Opens(SocketAddr),
}

impl Next {
    pub(super) const fn link(self) -> Link {
        match self {
            Self::Comes(address, port) => Link::Expects(address, port),
            Self::Opens(at) => Link::Opens(at),
        }
    }

    pub(super) fn news(next: Option<Self>) -> News {
        match next {
            Some(Self::Opens(at)) => News::Opens(at),
            Some(Self::Comes(address, port)) => News::Expects(Some((address, port))),
            None => News::Expects(None),
        }
    }

    /// What this command announces, if the server takes it.
    pub(super) fn of_command(line: &[u8]) -> Option<Self> {
        let (word, rest) = words(line);
        let at = match word.as_slice() {
            b"PORT" => reply::passive(rest).map(|(address, port)| (address, port).into()),
            b"EPRT" => extended(rest),
            _ => None,
        };
        at.map(Self::Opens)
    }

    /// What this answer to a command announces.
    pub(super) fn of_reply(code: u16, text: &[u8]) -> Option<Self> {
        match code {
            227 => reply::passive(text).map(|(address, port)| Self::Comes(Some(address), port)),
            229 => reply::extended_passive(text).map(|port| Self::Comes(None, port)),
            _ => None,
        }
    }
}

/// The end that `EPRT` names (RFC 2428 section 2): `|family|address|port|`, with any delimiter.
fn extended(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let mark = text.chars().next()?;
    let mut parts = text[mark.len_utf8()..].split(mark);
    let (family, address, port) = (parts.next()?, parts.next()?, parts.next()?);
    let address: IpAddr = address.parse().ok()?;
    let known = match family {
        "1" => address.is_ipv4(),
        "2" => address.is_ipv6(),
        _ => false,
    };
    let port: u16 = port.parse().ok().filter(|&port| known && port != 0)?;
    Some((address, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(line: &str) -> Option<String> {
        match Next::of_command(line.as_bytes()) {
            Some(Next::Opens(at)) => Some(at.to_string()),
            Some(Next::Comes(..)) | None => None,
        }
    }

    #[test]
    fn ends_that_clients_name_are_read() {
        for (line, at) in [
            ("PORT 10,0,0,1,19,136", "10.0.0.1:5000"),
            ("port 10,0,0,1,0,20", "10.0.0.1:20"),
            ("EPRT |1|10.0.0.1|5000|", "10.0.0.1:5000"),
            ("eprt |2|fd00::1|5000|", "[fd00::1]:5000"),
            ("EPRT !2!::1!5000!", "[::1]:5000"),
        ] {
            assert_eq!(opens(line), Some(at.to_owned()), "{line}");
        }
        for line in [
            "PORT",
            "PORT 10,0,0,1,0,0",
            "PORT 10,0,0,256,1,1",
            "EPRT",
            "EPRT |",
            "EPRT |2|10.0.0.1|5000|",
            "EPRT |1|fd00::1|5000|",
            "EPRT |3|10.0.0.1|5000|",
            "EPRT |1|10.0.0.1|0|",
            "EPRT |1|10.0.0.1|70000|",
            "EPSV 2",
        ] {
            assert_eq!(opens(line), None, "{line}");
        }
    }
}
