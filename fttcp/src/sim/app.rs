// SPDX-License-Identifier: GPL-3.0-only
//! What runs at the ends: a small HTTP-like service, deterministic but for its `Date`, and a client with a script.

use std::cell::Cell;
use std::rc::Rc;

use super::ranges::{Ranges, split};
use super::truth::{Response, Truth, date};
use crate::frame::Time;

/// One request of a client's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of request body.
    pub upload: usize,
    /// Bytes of response body.
    pub download: usize,
    /// How long the client is idle before it, in microseconds.
    pub pause_us: u64,
}

impl Request {
    /// Without an idle time.
    #[must_use]
    pub const fn new(upload: usize, download: usize) -> Self {
        Self {
            upload,
            download,
            pause_us: 0,
        }
    }
}

/// Who ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client, when it has everything.
    Client,
    /// The client closes its direction right after the last request, and reads on.
    Half,
    /// The server, after its last response (`Connection: close`); the client then.
    Server,
    /// The server after its last response, and the client without waiting for that.
    Both,
}

/// An end that reads slowly, so that its window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// So much at a time.
    pub bytes: usize,
    /// At most so often, in microseconds.
    pub every_us: u64,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// One after the other, on one connection.
    pub requests: Vec<Request>,
    /// Bytes handed to TCP at a time, so that a request takes several segments.
    pub chunk: usize,
    /// The end.
    pub closing: Closing,
    /// How the client reads; `None`: at once.
    pub reads: Option<Slow>,
    /// How the server reads.
    pub server_reads: Option<Slow>,
    /// What the servers make of a request for a part of a response.
    pub ranges: Ranges,
    /// Of all requests.
    pub method: &'static str,
}

/// A connection of a TCP, as the program that uses it sees it.
pub(super) trait Socket {
    /// Hands over bytes; how many were taken.
    fn send(&mut self, bytes: &[u8]) -> usize;
    /// Takes at most so many bytes.
    fn receive(&mut self, most: usize, into: &mut Vec<u8>);
    /// Bytes that can be taken now.
    fn unread(&self) -> usize;
    /// The other end has closed, and everything before that was taken.
    fn ended(&self) -> bool;
    /// Sends no more, after what was handed over.
    fn close(&mut self);
}

/// A program at an end.
#[derive(Debug)]
pub(super) enum App {
    Client(Client),
    Server(Server),
}

impl App {
    pub(super) fn run(&mut self, now: Time, socket: &mut dyn Socket) {
        match self {
            Self::Client(client) => client.run(now, socket),
            Self::Server(server) => server.run(now, socket),
        }
    }

    /// When it wants to run though nothing comes.
    pub(super) fn wake(&self) -> Option<Time> {
        match self {
            Self::Client(client) => [client.resume, client.reader.again]
                .into_iter()
                .flatten()
                .min(),
            Self::Server(server) => server.reader.again,
        }
    }
}

/// Reads, at the speed that the script says.
#[derive(Debug)]
struct Reader {
    slow: Option<Slow>,
    next: Time,
    again: Option<Time>,
}

impl Reader {
    const fn new(slow: Option<Slow>) -> Self {
        Self {
            slow,
            next: Time(0),
            again: None,
        }
    }

    fn read(&mut self, now: Time, socket: &mut dyn Socket, into: &mut Vec<u8>) {
        let Some(slow) = self.slow else {
            socket.receive(usize::MAX, into);
            return;
        };
        if now >= self.next && socket.unread() > 0 {
            socket.receive(slow.bytes, into);
            self.next = Time(now.0 + slow.every_us);
        }
        self.again = (socket.unread() > 0).then_some(self.next);
    }
}

/// A client at work.
#[derive(Debug)]
pub(super) struct Client {
    truth: Rc<Truth>,
    script: Rc<Script>,
    index: usize,
    sent: usize,
    closed: bool,
    /// Hands over nothing before.
    resume: Option<Time>,
    reader: Reader,
    /// Everything received.
    pub(super) stream: Vec<u8>,
    pub(super) complete: bool,
}

impl Client {
    /// Between two pieces of a request, so that it takes several segments.
    const PACE_US: u64 = 200;

    pub(super) fn new(script: &Rc<Script>, truth: &Rc<Truth>) -> Self {
        Self {
            truth: Rc::clone(truth),
            script: Rc::clone(script),
            index: 0,
            sent: 0,
            closed: false,
            resume: None,
            reader: Reader::new(script.reads),
            stream: Vec::new(),
            complete: false,
        }
    }

    fn run(&mut self, now: Time, socket: &mut dyn Socket) {
        self.reader.read(now, socket, &mut self.stream);
        let requests = self.script.requests.len();
        while self.index < requests && self.stream.len() >= self.truth.response_ends[self.index] {
            self.index += 1;
            let next = self.script.requests.get(self.index);
            self.resume = next
                .filter(|next| next.pause_us > 0)
                .map(|next| Time(now.0 + next.pause_us));
        }
        self.complete = self.index == requests;
        self.talk(now, socket);
        let everything = self.sent == self.truth.requests.len();
        let close = match self.script.closing {
            Closing::Half => everything,
            Closing::Client | Closing::Both => self.complete,
            Closing::Server => self.complete && socket.ended(),
        };
        if (close || socket.ended()) && !self.closed {
            socket.close();
            self.closed = true;
        }
    }

    fn talk(&mut self, now: Time, socket: &mut dyn Socket) {
        if self.resume.is_some_and(|resume| resume > now) {
            return;
        }
        self.resume = None;
        let at = self.index.min(self.script.requests.len() - 1);
        let end = self.truth.request_ends[at];
        let to = end.min(self.sent + self.script.chunk);
        if self.sent < to {
            let taken = socket.send(&self.truth.requests[self.sent..to]);
            self.sent += taken;
            if taken > 0 && self.sent < end {
                self.resume = Some(Time(now.0 + Self::PACE_US));
            }
        }
    }
}

/// What a server's program is started with, for each connection.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) truth: Rc<Truth>,
    /// Counted over all servers of a run; tells the `Date`.
    pub(super) number: usize,
    /// From this byte of the output on, it lies: for tests of divergence.
    pub(super) lie_at: Option<usize>,
    pub(super) reads: Option<Slow>,
    pub(super) ranges: Ranges,
    /// How many requests the servers of a run have carried out.
    pub(super) done: Rc<Cell<u64>>,
}

/// A server's side of one connection.
#[derive(Debug)]
pub(super) struct Server {
    program: Program,
    reader: Reader,
    request: Vec<u8>,
    /// Where its connection may have begun in the client's stream, and how many bytes came since: a replay begins at
    /// the start of a request.
    starts: Vec<usize>,
    got: usize,
    /// What came last the client did not say: it may be a request for a part.
    odd: bool,
    unsent: Vec<u8>,
    sent: usize,
    close: bool,
    /// What the client never said, or not there.
    pub(super) violation: Option<String>,
}

impl Server {
    pub(super) fn new(program: &Program) -> Self {
        Self {
            reader: Reader::new(program.reads),
            program: program.clone(),
            request: Vec::new(),
            starts: std::iter::once(0)
                .chain(program.truth.request_ends.iter().copied())
                .collect(),
            got: 0,
            odd: false,
            unsent: Vec::new(),
            sent: 0,
            close: false,
            violation: None,
        }
    }

    fn run(&mut self, now: Time, socket: &mut dyn Socket) {
        let known = self.request.len();
        self.reader.read(now, socket, &mut self.request);
        let new = &self.request[known..];
        let (truth, got) = (&self.program.truth, self.got);
        self.starts.retain(|start| {
            let from = start + got;
            truth.requests.get(from..from + new.len()) == Some(new)
        });
        let new = new.len();
        self.odd |= self.starts.is_empty();
        if self.odd && self.program.ranges == Ranges::Unknown {
            self.object(got, new);
        }
        self.got += new;
        while let Some((end, close)) = whole_request(&self.request) {
            let request: Vec<u8> = self.request.drain(..end).collect();
            if self.odd {
                self.recognise(&request);
            }
            self.close |= close;
            self.respond(&request);
        }
        while !self.unsent.is_empty() {
            let sent = socket.send(&self.unsent);
            if sent == 0 {
                break;
            }
            self.unsent.drain(..sent);
        }
        if self.unsent.is_empty() && (self.close || socket.ended()) {
            socket.close();
        }
    }

    fn object(&mut self, got: usize, new: usize) {
        let number = self.program.number;
        self.violation.get_or_insert(format!(
            "server {number} got {new} bytes after {got} that the client did not send there"
        ));
    }

    /// Its first request was none that the client has made: it must ask for a part of what one of those asked for.
    fn recognise(&mut self, request: &[u8]) {
        let (mut whole, part) = split(request);
        let length = whole.len();
        whole.extend_from_slice(&self.request);
        let truth = &self.program.truth;
        self.starts = std::iter::once(0)
            .chain(truth.request_ends.iter().copied())
            .filter(|&start| truth.requests[start..].starts_with(&whole))
            .collect();
        if part.is_none() || self.starts.is_empty() {
            self.object(0, length);
        }
        (self.odd, self.got) = (false, whole.len());
    }

    fn respond(&mut self, request: &[u8]) {
        self.program.done.update(|done| done + 1);
        let (request, part) = split(request);
        let ranges = self.program.ranges;
        let response = Response::to(&request, &date(self.program.number), ranges);
        let part = part.filter(|_| ranges != Ranges::Unknown);
        let Some(mut bytes) = part.map_or(Some(response.bytes.clone()), |part| {
            response.part(ranges, part)
        }) else {
            self.close = true;
            return;
        };
        if let Some(at) = self.program.lie_at
            && let Some(byte) = bytes.get_mut(at.wrapping_sub(self.sent))
        {
            *byte ^= 0xff;
        }
        self.sent += bytes.len();
        self.unsent.extend(bytes);
    }
}

/// Where the first request ends, if it is whole, and whether it asks for the connection's end.
fn whole_request(bytes: &[u8]) -> Option<(usize, bool)> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let field = |name| text.split("\r\n").find_map(|line| line.strip_prefix(name));
    let length: usize = field("Content-Length: ").and_then(|value| value.parse().ok())?;
    let close = field("Connection: ") == Some("close");
    (bytes.len() >= head + length).then_some((head + length, close))
}
