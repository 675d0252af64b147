// SPDX-License-Identifier: GPL-3.0-only
//! The xenstore protocol as bytes, without I/O (`xen/include/public/io/xs_wire.h`, `docs/misc/xenstore.txt`).
//!
//! A message is a header of four little-endian words (type, request id, transaction id, length) and a payload of at most
//! 4096 bytes. [`encode`] writes requests, [`Decoder`] cuts a stream into messages however it was chunked, [`reply`]
//! reads an answer in the light of its request.

use std::collections::VecDeque;

use super::{Errno, Permission, Reply, Request, Tx, Watch, WatchEvent, XsPath};
use crate::ids::DomId;

/// Length of the header.
pub const HEADER: usize = 16;
/// Longest payload (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;

/// `enum xsd_sockmsg_type`.
pub mod kind {
    #![allow(missing_docs)]
    pub const DIRECTORY: u32 = 1;
    pub const READ: u32 = 2;
    pub const GET_PERMS: u32 = 3;
    pub const WATCH: u32 = 4;
    pub const UNWATCH: u32 = 5;
    pub const TRANSACTION_START: u32 = 6;
    pub const TRANSACTION_END: u32 = 7;
    pub const INTRODUCE: u32 = 8;
    pub const RELEASE: u32 = 9;
    pub const WRITE: u32 = 11;
    pub const MKDIR: u32 = 12;
    pub const RM: u32 = 13;
    pub const SET_PERMS: u32 = 14;
    pub const WATCH_EVENT: u32 = 15;
    pub const ERROR: u32 = 16;
}

/// The peer does not speak the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header promises more than a message may have.
    #[error("a message of {0} bytes, at most {PAYLOAD_MAX} are allowed")]
    Length(u32),
    /// The payload is not what this type of message carries.
    #[error("a malformed message of type {0}")]
    Malformed(u32),
    /// An answer of another type than the request.
    #[error("an answer of type {got} to a request of type {asked}")]
    Mismatch {
        /// The request's type.
        asked: u32,
        /// The answer's type.
        got: u32,
    },
}

/// What goes out: a [`Request`], or one of those that [`super::Store`] has methods for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing<'a> {
    /// An ordinary request.
    Request(&'a Request),
    /// Registers a watch.
    Watch(&'a Watch),
    /// Removes a watch.
    Unwatch(&'a Watch),
    /// Starts a transaction.
    Begin,
    /// Ends a transaction; true commits it.
    End(bool),
}

impl Outgoing<'_> {
    /// The message's type, which is the answer's type as well.
    #[must_use]
    pub const fn kind(self) -> u32 {
        match self {
            Self::Request(Request::Read(_)) => kind::READ,
            Self::Request(Request::Directory(_)) => kind::DIRECTORY,
            Self::Request(Request::Write(..)) => kind::WRITE,
            Self::Request(Request::Mkdir(_)) => kind::MKDIR,
            Self::Request(Request::Rm(_)) => kind::RM,
            Self::Request(Request::GetPerms(_)) => kind::GET_PERMS,
            Self::Request(Request::SetPerms(..)) => kind::SET_PERMS,
            Self::Request(Request::Introduce { .. }) => kind::INTRODUCE,
            Self::Request(Request::Release(_)) => kind::RELEASE,
            Self::Watch(_) => kind::WATCH,
            Self::Unwatch(_) => kind::UNWATCH,
            Self::Begin => kind::TRANSACTION_START,
            Self::End(_) => kind::TRANSACTION_END,
        }
    }

    fn payload(self) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        match self {
            Self::Request(Request::Write(path, value)) => {
                word(&mut out, path.as_str())?;
                out.extend_from_slice(value);
            }
            Self::Request(Request::SetPerms(path, perms)) => {
                word(&mut out, path.as_str())?;
                for permission in perms {
                    word(&mut out, &permission.to_string())?;
                }
            }
            Self::Request(Request::Introduce {
                domain,
                frame,
                port,
            }) => {
                for number in [domain.to_string(), frame.to_string(), port.to_string()] {
                    word(&mut out, &number)?;
                }
            }
            Self::Request(Request::Release(domain)) => word(&mut out, &domain.to_string())?,
            Self::Request(
                Request::Read(path)
                | Request::Directory(path)
                | Request::Mkdir(path)
                | Request::Rm(path)
                | Request::GetPerms(path),
            ) => word(&mut out, path.as_str())?,
            Self::Watch(watch) | Self::Unwatch(watch) => {
                word(&mut out, watch.path.as_str())?;
                word(&mut out, &watch.token)?;
            }
            Self::Begin => word(&mut out, "")?,
            Self::End(commit) => word(&mut out, if commit { "T" } else { "F" })?,
        }
        Ok(out)
    }
}

/// Appends a NUL-terminated word.
fn word(out: &mut Vec<u8>, text: &str) -> Result<(), Errno> {
    if text.contains('\0') {
        return Err(Errno("EINVAL".into()));
    }
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Ok(())
}

/// The message for a request, header included. What xenstored would have to refuse without being able to say so is refused
/// here in its words: `E2BIG` for a payload above the limit (xenstored would drop the connection), `EINVAL` for NUL in
/// a word.
pub fn encode(request: Outgoing<'_>, id: u32, tx: Option<Tx>) -> Result<Vec<u8>, Errno> {
    let payload = request.payload()?;
    if payload.len() > PAYLOAD_MAX {
        return Err(Errno("E2BIG".into()));
    }
    Ok(frame(request.kind(), id, tx.map_or(0, |tx| tx.0), &payload))
}

/// Header and payload as bytes.
#[must_use]
pub fn frame(kind: u32, id: u32, tx: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADER + payload.len());
    for field in [kind, id, tx, length] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(payload);
    out
}

/// One message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: u32,
    /// The request that it answers.
    pub id: u32,
    /// The transaction.
    pub tx: u32,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: VecDeque<u8>,
}

impl Decoder {
    /// Takes bytes as they come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next whole message. After an error the stream is lost: every later call gives the same error.
    pub fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let field = |at: usize| {
            let bytes = [0, 1, 2, 3].map(|i| self.buffer[at + i]);
            u32::from_le_bytes(bytes)
        };
        let (kind, id, tx, length) = (field(0), field(4), field(8), field(12));
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > PAYLOAD_MAX {
            return Err(WireError::Length(length));
        }
        if self.buffer.len() < HEADER + size {
            return Ok(None);
        }
        let payload = self.buffer.drain(..HEADER + size).skip(HEADER).collect();
        Ok(Some(Message {
            kind,
            id,
            tx,
            payload,
        }))
    }
}

/// Reads the answer to a request of type `asked`: the outer error is a peer that breaks the protocol, the inner one a
/// refusal.
pub fn reply(asked: u32, message: &Message) -> Result<Result<Reply, Errno>, WireError> {
    if message.kind == kind::ERROR {
        let name = words(message)?
            .into_iter()
            .next()
            .ok_or(WireError::Malformed(kind::ERROR))?;
        return Ok(Err(Errno(name)));
    }
    if message.kind != asked {
        return Err(WireError::Mismatch {
            asked,
            got: message.kind,
        });
    }
    let reply = match asked {
        kind::READ => Reply::Value(message.payload.clone()),
        kind::TRANSACTION_START => {
            let mut value = message.payload.clone();
            while value.last() == Some(&0) {
                value.pop();
            }
            Reply::Value(value)
        }
        kind::DIRECTORY => Reply::Names(words(message)?),
        kind::GET_PERMS => {
            let perms: Option<Vec<Permission>> = words(message)?
                .iter()
                .map(|text| permission(text))
                .collect();
            Reply::Perms(perms.ok_or(WireError::Malformed(asked))?)
        }
        _ => Reply::Done,
    };
    Ok(Ok(reply))
}

/// Reads a watch event.
pub fn event(message: &Message) -> Result<WatchEvent, WireError> {
    let mut words = words(message)?.into_iter();
    match (words.next(), words.next()) {
        (Some(path), Some(token)) => Ok(WatchEvent {
            path: XsPath::new(path),
            token,
        }),
        _ => Err(WireError::Malformed(message.kind)),
    }
}

/// The NUL-terminated words of a payload; the last terminator may be missing.
fn words(message: &Message) -> Result<Vec<String>, WireError> {
    let text =
        std::str::from_utf8(&message.payload).map_err(|_| WireError::Malformed(message.kind))?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.strip_suffix('\0').unwrap_or(text);
    Ok(text.split('\0').map(str::to_owned).collect())
}

fn permission(text: &str) -> Option<Permission> {
    let (read, write) = match text.chars().next()? {
        'n' => (false, false),
        'r' => (true, false),
        'w' => (false, true),
        'b' => (true, true),
        _ => return None,
    };
    let domain = DomId(text[1..].parse().ok()?);
    Some(Permission {
        domain,
        read,
        write,
    })
}

/// The server's side of the protocol, for tests.
#[cfg(test)]
pub(super) mod server;

#[cfg(test)]
mod tests;
