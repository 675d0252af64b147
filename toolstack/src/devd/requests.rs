// SPDX-License-Identifier: GPL-3.0-only
//! Dom0's requests to `ftlogger`: taken from xenstore, carried to its socket, the reply written back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use fttcp::control::Reply;

use super::log;
use crate::device::relay::{DONE, REPLY_DIR, REQUEST_DIR, pieces};
use crate::error::Result;
use crate::ids::DomId;
use crate::store::{Request, Store, StoreExt, XsPath};

/// How long `ftlogger` may take. It answers at once; only a stopped one does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where requests go.
pub trait Forward {
    /// Carries one JSON line there and gives the reply's line, or says in words why there is none.
    fn forward(&mut self, line: &str) -> Result<String, String>;
}

/// `ftlogger`'s socket.
#[derive(Clone, Debug)]
pub struct Socket(pub PathBuf);

impl Forward for Socket {
    fn forward(&mut self, line: &str) -> Result<String, String> {
        let path = self.0.display();
        let stream = UnixStream::connect(&self.0).map_err(|e| {
            format!("ftlogger does not listen at {path} in the logger VM: {e}; is it running?")
        })?;
        let exchange = || {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            (&stream).write_all(format!("{line}\n").as_bytes())?;
            let mut answer = String::new();
            if BufReader::new(&stream).read_line(&mut answer)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            Ok(answer)
        };
        exchange().map_err(|e: std::io::Error| format!("ftlogger at {path} did not answer: {e}"))
    }
}

/// Answers every request that is there.
pub(super) fn look<S: Store + ?Sized>(
    store: &S,
    here: DomId,
    forward: &mut impl Forward,
) -> Result<()> {
    let home = XsPath::domain(here);
    let directory = home.join(REQUEST_DIR);
    let ids = store.list(&directory)?;
    if ids.is_empty() {
        return Ok(());
    }
    let paths: Vec<XsPath> = ids.iter().map(|id| directory.join(id)).collect();
    for ((id, path), line) in ids.iter().zip(&paths).zip(store.read_many(&paths)?) {
        // Taken back by the asker, who did not want to wait any longer.
        let Some(line) = line else { continue };
        // A line feed would end the request early and start another one.
        let line = line.replace(['\n', '\r'], " ");
        let reply = forward.forward(&line).unwrap_or_else(|message| {
            log(&message);
            error_line(message)
        });
        answer(
            store,
            &home.join(REPLY_DIR).join(id),
            path,
            reply.trim_end(),
        )?;
        log(&format!(
            "request {id}: answered with {} bytes",
            reply.len()
        ));
    }
    Ok(())
}

/// Writes a reply and removes its request, all at once.
fn answer<S: Store + ?Sized>(store: &S, reply: &XsPath, asked: &XsPath, text: &str) -> Result<()> {
    let parts = pieces(text);
    let mut requests: Vec<Request> = parts
        .iter()
        .enumerate()
        .map(|(number, part)| Request::write(reply.join(number), part))
        .collect();
    requests.push(Request::write(reply.join(DONE), parts.len()));
    requests.push(Request::Rm(asked.clone()));
    let Err(error) = store.atomic(&requests) else {
        return Ok(());
    };
    // Too long for the quota, most likely. Say so instead; if that fails too, the store itself is the trouble.
    log(&error.to_string());
    let text = error_line(format!("the reply could not be put into xenstore: {error}"));
    store
        .atomic(&[
            Request::write(
                reply.join(0),
                &text[..text.floor_char_boundary(text.len().min(1900))],
            ),
            Request::write(reply.join(DONE), 1),
            Request::Rm(asked.clone()),
        ])
        .map(drop)
}

/// A reply that says why there is no other.
fn error_line(message: String) -> String {
    let reply = Reply::Error { message };
    // A record of one text always has a JSON form.
    serde_json::to_string(&reply).unwrap_or_default()
}
