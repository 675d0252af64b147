// SPDX-License-Identifier: GPL-3.0-only
//! What xenstored does with a request's bytes, for tests of the client: requests are carried out on a store in memory.

use std::time::Instant;

use super::super::memory::MemoryStore;
use super::super::{Errno, Reply, Request, Store, Tx, Watch, XsPath};
use super::{Message, frame, kind, permission, words};
use crate::ids::{DomId, Gfn, Port};

/// A request as the server understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Parsed {
    Request(Request),
    Watch(Watch),
    Unwatch(Watch),
    Begin,
    End(bool),
}

pub(in crate::store) fn parse(message: &Message) -> Option<Parsed> {
    if message.kind == kind::WRITE {
        let end = message.payload.iter().position(|byte| *byte == 0)?;
        let path = String::from_utf8(message.payload[..end].to_vec()).ok()?;
        let value = message.payload[end + 1..].to_vec();
        return Some(Parsed::Request(Request::Write(XsPath::new(path), value)));
    }
    if message.payload.last() != Some(&0) {
        return None;
    }
    let words = words(message).ok()?;
    let first = words.first()?.clone();
    let path = XsPath::new(first.clone());
    let request = match message.kind {
        kind::READ => Request::Read(path),
        kind::DIRECTORY => Request::Directory(path),
        kind::MKDIR => Request::Mkdir(path),
        kind::RM => Request::Rm(path),
        kind::GET_PERMS => Request::GetPerms(path),
        kind::SET_PERMS => {
            let perms: Option<Vec<_>> = words[1..].iter().map(|p| permission(p)).collect();
            Request::SetPerms(path, perms?)
        }
        kind::INTRODUCE => Request::Introduce {
            domain: DomId(first.parse().ok()?),
            frame: Gfn(words.get(1)?.parse().ok()?),
            port: Port(words.get(2)?.parse().ok()?),
        },
        kind::RELEASE => Request::Release(DomId(first.parse().ok()?)),
        kind::WATCH | kind::UNWATCH => {
            let watch = Watch {
                path,
                token: words.get(1)?.clone(),
            };
            let set = message.kind == kind::WATCH;
            return Some(if set {
                Parsed::Watch(watch)
            } else {
                Parsed::Unwatch(watch)
            });
        }
        kind::TRANSACTION_START => return Some(Parsed::Begin),
        kind::TRANSACTION_END => return Some(Parsed::End(first == "T")),
        _ => return None,
    };
    Some(Parsed::Request(request))
}

fn answer_bytes(message: &Message, answer: Result<Reply, Errno>) -> Vec<u8> {
    let joined = |words: Vec<String>| -> Vec<u8> {
        words.iter().flat_map(|w| w.bytes().chain([0])).collect()
    };
    let payload = match answer {
        Err(errno) => {
            return frame(kind::ERROR, message.id, message.tx, &joined(vec![errno.0]));
        }
        Ok(Reply::Done) => b"OK\0".to_vec(),
        Ok(Reply::Value(value)) => value,
        Ok(Reply::Names(names)) => joined(names),
        Ok(Reply::Perms(perms)) => joined(perms.iter().map(ToString::to_string).collect()),
    };
    frame(message.kind, message.id, message.tx, &payload)
}

/// Carries out one message on `store` and gives the answer's bytes.
pub(in crate::store) fn serve(store: &MemoryStore, message: &Message) -> Vec<u8> {
    let tx = (message.tx != 0).then_some(Tx(message.tx));
    let named = |result: crate::error::Result<()>| match result {
        Ok(()) => Ok(Reply::Done),
        Err(error) => Err(Errno(error.cause)),
    };
    let answer = match parse(message) {
        None => Err(Errno("EINVAL".into())),
        Some(Parsed::Begin) => {
            let tx = store.begin().expect("no fault is planned");
            Ok(Reply::Value(format!("{}\0", tx.0).into_bytes()))
        }
        Some(Parsed::End(commit)) => match store.end(tx.unwrap_or(Tx(0)), commit) {
            Ok(true) => Ok(Reply::Done),
            Ok(false) => Err(Errno("EAGAIN".into())),
            Err(error) => Err(Errno(error.cause)),
        },
        Some(Parsed::Watch(watch)) => named(store.watch(&watch)),
        Some(Parsed::Unwatch(watch)) => named(store.unwatch(&watch)),
        Some(Parsed::Request(request)) => {
            let batch = match tx {
                None => store.batch(&[request]),
                Some(tx) => store.batch_in(tx, &[request]),
            };
            batch.expect("no fault is planned").remove(0)
        }
    };
    answer_bytes(message, answer)
}

/// The bytes of all events that are pending on `store`.
pub(in crate::store) fn events(store: &MemoryStore) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some(event) = store
        .next_event(Some(Instant::now()))
        .expect("no fault is planned")
    {
        let payload = format!("{}\0{}\0", event.path, event.token);
        out.push(frame(kind::WATCH_EVENT, 0, 0, payload.as_bytes()));
    }
    out
}
