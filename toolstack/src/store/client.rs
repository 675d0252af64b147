// SPDX-License-Identifier: GPL-3.0-only
//! The client of a real xenstored: a blocking, pipelined [`Store`].
//!
//! On a socket all requests of a batch are written before the first answer is waited for; while the socket would block,
//! answers are read, so that a big batch cannot lock up with a server that is itself waiting to write. Through the
//! kernel's device, which cannot take that, they go one by one. Answers are matched by request id, watch events are
//! queued. One client serves one caller at a time: while it waits, other threads wait for it.

mod transport;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::wire::{self, Decoder, Message, Outgoing, kind};
use super::{Errno, Reply, Request, Store, Tx, Watch, WatchEvent, util};
use crate::error::{Code, Error, Result};
use transport::{Queue, Transport, Woken};

/// A connection to xenstored.
#[derive(Debug)]
pub struct XsClient {
    transport: Transport,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    decoder: Decoder,
    events: VecDeque<WatchEvent>,
    next_id: u32,
    flights: u64,
    /// Why the connection cannot be used any more.
    broken: Option<String>,
}

impl XsClient {
    /// Connects: to the socket that `XENSTORED_PATH` names; without it to xenstored's socket (a control domain), else
    /// through the kernel (`/dev/xen/xenbus`, any guest).
    pub fn open() -> Result<Self> {
        Transport::open().map(Self::over)
    }

    /// A client over a stream socket that is connected already.
    pub fn from_socket(socket: OwnedFd) -> Result<Self> {
        Transport::socket(socket).map(Self::over)
    }

    fn over(transport: Transport) -> Self {
        let state = State {
            decoder: Decoder::default(),
            events: VecDeque::new(),
            next_id: 1,
            flights: 0,
            broken: None,
        };
        Self {
            transport,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // State is whole between any two statements that could panic: none of them does.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One flight: all requests out, all answers in, in order.
    fn flight(
        &self,
        requests: &[Outgoing<'_>],
        tx: Option<Tx>,
    ) -> Result<Vec<Result<Reply, Errno>>> {
        let mut state = self.state();
        state.usable()?;
        state.flights += 1;
        self.exchange(&mut state, requests, tx)
            .map_err(|cause| state.fail(&cause))
    }

    fn exchange(
        &self,
        state: &mut State,
        requests: &[Outgoing<'_>],
        tx: Option<Tx>,
    ) -> Result<Vec<Result<Reply, Errno>>, String> {
        let mut answers: Vec<Option<Result<Reply, Errno>>> = Vec::with_capacity(requests.len());
        let mut waiting = HashMap::new();
        let mut frames = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            let id = state.take_id();
            match wire::encode(*request, id, tx) {
                Ok(bytes) if bytes.len() > self.transport.message_max() => {
                    answers.push(Some(Err(Errno("E2BIG".into()))));
                }
                Ok(bytes) => {
                    frames.push(bytes);
                    waiting.insert(id, (index, request.kind()));
                    answers.push(None);
                }
                Err(errno) => answers.push(Some(Err(errno))),
            }
        }
        let mut outgoing = self.transport.queue(frames);
        while !outgoing.is_empty() || !waiting.is_empty() {
            if let Woken::Bytes(bytes) = self.transport.step(&mut outgoing, None)? {
                state.decoder.feed(&bytes);
            }
            while let Some(message) = state.decoder.next_message().map_err(|e| e.to_string())? {
                if message.kind == kind::WATCH_EVENT {
                    state
                        .events
                        .push_back(wire::event(&message).map_err(|e| e.to_string())?);
                    continue;
                }
                let (index, asked) = claim(&mut waiting, &message)?;
                outgoing.answered();
                let answer = wire::reply(asked, &message).map_err(|e| e.to_string())?;
                answers[index] = Some(answer);
            }
        }
        answers
            .into_iter()
            .map(|a| a.ok_or_else(|| "an answer is missing".to_owned()))
            .collect()
    }

    fn single(&self, request: Outgoing<'_>, tx: Option<Tx>) -> Result<Result<Reply, Errno>> {
        let mut answers = self.flight(&[request], tx)?;
        answers.pop().ok_or_else(|| lost("an answer is missing"))
    }

    fn wait_event(
        &self,
        wanted: impl Fn(&WatchEvent) -> bool,
        deadline: Option<Instant>,
    ) -> Result<Option<WatchEvent>> {
        let mut state = self.state();
        // One look at the socket even when the deadline has passed: a deadline of now means "what is there already".
        let mut looked = false;
        loop {
            let found = state.events.iter().position(&wanted);
            if let Some(event) = found.and_then(|at| state.events.remove(at)) {
                return Ok(Some(event));
            }
            state.usable()?;
            if looked && deadline.is_some_and(|at| Instant::now() >= at) {
                return Ok(None);
            }
            let step = self.transport.step(&mut Queue::default(), deadline);
            let taken = step.and_then(|woken| {
                if let Woken::Bytes(bytes) = &woken {
                    state.decoder.feed(bytes);
                    state.queue_events()?;
                }
                Ok(woken)
            });
            match taken {
                Err(cause) => return Err(state.fail(&cause)),
                Ok(Woken::Signal) if deadline.is_some() => {
                    return Err(util::interrupted("a change in xenstore"));
                }
                Ok(_) => looked = true,
            }
        }
    }

    fn outgoing(requests: &[Request]) -> Vec<Outgoing<'_>> {
        requests.iter().map(Outgoing::Request).collect()
    }
}

/// Finds the request that a message answers. Linux's `/dev/xen/xenbus` acknowledges watches itself, with request id 0; at
/// most one of them is under way.
fn claim(
    waiting: &mut HashMap<u32, (usize, u32)>,
    message: &Message,
) -> Result<(usize, u32), String> {
    if let Some(found) = waiting.remove(&message.id) {
        return Ok(found);
    }
    let of_watch = matches!(message.kind, kind::WATCH | kind::UNWATCH) && message.id == 0;
    let sole = waiting
        .iter()
        .find(|(_, (_, asked))| of_watch && *asked == message.kind);
    let Some(id) = sole.map(|(id, _)| *id) else {
        return Err(format!(
            "an answer to request {}, which was not asked",
            message.id
        ));
    };
    waiting
        .remove(&id)
        .ok_or_else(|| "an answer is missing".to_owned())
}

impl State {
    fn usable(&self) -> Result<()> {
        self.broken
            .as_ref()
            .map_or(Ok(()), |cause| Err(lost(cause)))
    }

    fn fail(&mut self, cause: &str) -> Error {
        self.broken = Some(cause.to_owned());
        lost(cause)
    }

    /// The next request id; never 0, which the kernel uses for its own answers.
    fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        id
    }

    fn queue_events(&mut self) -> Result<(), String> {
        while let Some(message) = self.decoder.next_message().map_err(|e| e.to_string())? {
            if message.kind != kind::WATCH_EVENT {
                return Err(format!(
                    "an answer to request {}, which was not asked",
                    message.id
                ));
            }
            self.events
                .push_back(wire::event(&message).map_err(|e| e.to_string())?);
        }
        Ok(())
    }
}

fn lost(cause: &str) -> Error {
    Error::new(Code::Store, "talk to xenstored", "xenstored", cause)
        .hint("xenstored cannot be restarted under running domains; see its log in /var/log/xen")
}

impl AsFd for XsClient {
    /// Readable when xenstored has sent something. Events may be queued in the client already: before polling, call
    /// [`Store::next_event`] with a deadline of now until it gives none.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

impl Store for XsClient {
    fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.flight(&Self::outgoing(requests), None)
    }

    fn begin(&self) -> Result<Tx> {
        let op = "start a transaction";
        match self.single(Outgoing::Begin, None)? {
            Ok(Reply::Value(value)) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse().ok())
                .map(Tx)
                .ok_or_else(|| Error::new(Code::Store, op, "xenstored", "it gave no number")),
            Ok(_) => Err(Error::new(
                Code::Store,
                op,
                "xenstored",
                "it gave no number",
            )),
            Err(errno) => Err(Error::new(
                Code::Store,
                op,
                "xenstored",
                util::meaning(&errno),
            )),
        }
    }

    fn batch_in(&self, tx: Tx, requests: &[Request]) -> Result<Vec<Result<Reply, Errno>>> {
        self.flight(&Self::outgoing(requests), Some(tx))
    }

    fn end(&self, tx: Tx, commit: bool) -> Result<bool> {
        match self.single(Outgoing::End(commit), Some(tx))? {
            Ok(_) => Ok(true),
            Err(errno) if errno.0 == "EAGAIN" => Ok(false),
            Err(errno) => {
                let cause = util::meaning(&errno);
                Err(Error::new(
                    Code::Store,
                    "end a transaction",
                    "xenstored",
                    cause,
                ))
            }
        }
    }

    fn watch(&self, watch: &Watch) -> Result<()> {
        self.single(Outgoing::Watch(watch), None)?
            .map(drop)
            .map_err(|errno| {
                let cause = util::meaning(&errno);
                Error::new(Code::Store, "set a watch", watch.path.as_str(), cause)
            })
    }

    fn unwatch(&self, watch: &Watch) -> Result<()> {
        self.single(Outgoing::Unwatch(watch), None)?
            .map(drop)
            .map_err(|errno| {
                let cause = util::meaning(&errno);
                Error::new(Code::Store, "remove a watch", watch.path.as_str(), cause)
            })
    }

    fn next_event(&self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.wait_event(|_| true, deadline)
    }

    fn next_event_of(&self, token: &str, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.wait_event(|event| event.token == token, deadline)
    }

    fn flights(&self) -> u64 {
        self.state().flights
    }
}

#[cfg(test)]
mod tests;
