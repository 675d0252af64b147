// SPDX-License-Identifier: GPL-3.0-only
//! `redis`: RESP2, for servers whose data a replacement shares. docs/service-designers.md tells how this file came about.

use serde::{Deserialize, Serialize};

use super::dialogue::{Dialogue, Lost, Protocol, Request, Session};
use super::{Restart, stored};

/// Commands that leave the same data when they are carried out twice.
const TWICE: &str = "GET MGET STRLEN EXISTS TYPE TTL HGET HMGET HGETALL HKEYS HVALS HLEN LLEN LRANGE LINDEX SMEMBERS \
    SISMEMBER SCARD ZSCORE ZRANGE ZCARD PING ECHO DBSIZE COMMAND CONFIG CLIENT QUIT MSET SETEX DEL HSET HDEL SADD SREM EXPIRE";
/// After these, replies come otherwise than one for each request.
const FOREIGN: &str = "HELLO MONITOR SUBSCRIBE PSUBSCRIBE SSUBSCRIBE SYNC PSYNC MULTI WATCH";
/// Longest line: what is longer is a bulk string's content.
const MAX_LINE: usize = 64 * 1024;
/// Longest name of a command with its CR, in bytes.
const MAX_NAME: usize = 16;
const NOT_RESP: Lost = Lost("this is no request and no reply of RESP2");

/// Finds the values of one stream.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Values {
    /// The value begins at `start`, and is known up to `at`.
    start: u64,
    at: u64,
    line: Vec<u8>,
    /// So much is left of a bulk string with its CR LF.
    bulk: u64,
    /// How bulk strings begin, one after the other; and how many elements the array has.
    text: Vec<u8>,
    elements: u64,
    /// So many values must follow the present one until all of it is whole.
    more: u64,
}

impl Values {
    /// Takes bytes, and shows `each` value that they complete.
    fn take(
        &mut self,
        at: u64,
        bytes: &[u8],
        mut each: impl FnMut(&Self) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        let gap = at.saturating_sub(self.at);
        if gap > self.bulk {
            return Err(Lost("bytes were left out that say where a value ends"));
        }
        (self.at, self.bulk) = (self.at + gap, self.bulk - gap);
        let mut rest = bytes.get((self.at - at) as usize..).unwrap_or_default();
        while !rest.is_empty() {
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let in_bulk = self.bulk > 0;
            let most = if in_bulk { self.bulk as usize } else { line };
            let (part, next) = rest.split_at(most.min(rest.len()));
            (rest, self.at) = (next, self.at + part.len() as u64);
            let whole = if in_bulk {
                let room = MAX_NAME.saturating_sub(self.text.len());
                self.text.extend_from_slice(&part[..part.len().min(room)]);
                self.bulk -= part.len() as u64;
                self.bulk == 0
            } else {
                self.line.extend_from_slice(part);
                part.ends_with(b"\n") && self.line_is_value()?
            };
            if self.line.len() > MAX_LINE {
                return Err(NOT_RESP);
            } else if whole && self.more > 0 {
                self.more -= 1;
            } else if whole {
                each(self)?;
                *self = Self::from(self.at);
            }
        }
        Ok(())
    }

    /// A line has ended. Says whether it was a value by itself.
    fn line_is_value(&mut self) -> Result<bool, Lost> {
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line[1..]).unwrap_or_default();
        let number = text.trim_end().parse::<i64>().ok();
        match (line[0], number.filter(|number| *number < 1 << 30)) {
            (b'+' | b'-' | b':', _) | (b'$' | b'*', Some(..0)) | (b'*', Some(0)) => Ok(true),
            (b'$', Some(length)) => {
                self.bulk = length.unsigned_abs() + 2;
                Ok(false)
            }
            (b'*', Some(elements)) => {
                self.elements = elements.unsigned_abs();
                self.more += self.elements - 1;
                Ok(false)
            }
            _ => Err(NOT_RESP),
        }
    }

    fn from(at: u64) -> Self {
        Self {
            start: at,
            at,
            ..Self::default()
        }
    }
}

/// See the module's text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Redis(Values, Values);

impl Protocol for Redis {
    fn client_bytes(&mut self, at: u64, bytes: &[u8], told: &mut Dialogue) -> Result<(), Lost> {
        self.0.take(at, bytes, |request| {
            let text = String::from_utf8_lossy(&request.text).to_uppercase();
            let name = text.split('\r').next().unwrap_or_default();
            let within = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
            if within(FOREIGN) {
                return Err(Lost("a command after which replies come otherwise"));
            }
            let plain_set = name == "SET" && request.elements == 3;
            let session = match name {
                "SELECT" | "AUTH" => Session::Keeps,
                _ => Session::Unchanged,
            };
            told.asked(Request {
                start: request.start,
                end: request.at,
                once: session == Session::Unchanged && !plain_set && !within(TWICE),
                closes: name == "QUIT",
                session,
                silent: false,
            })
        })
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8], told: &mut Dialogue) -> Result<(), Lost> {
        self.1.take(at, bytes, |reply| told.answered(reply.at))
    }

    fn rewind(&mut self, to: Restart, _: &mut Dialogue) {
        *self = Self(Values::from(to.client), Values::from(to.server));
    }

    fn capture(&self) -> u32 {
        16 * 1024
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        stored::restore(self, saved, |_| true)
    }
}

#[cfg(test)]
mod tests;
