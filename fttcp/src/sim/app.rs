// SPDX-License-Identifier: GPL-3.0-only
//! What runs at the ends: a small HTTP-like service, deterministic but for its `Date`, and a client with a script.

use smoltcp::socket::tcp;

/// One request of a client's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of request body.
    pub upload: usize,
    /// Bytes of response body.
    pub download: usize,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// One after the other, on one connection.
    pub requests: Vec<Request>,
    /// Bytes handed to TCP at a time, so that a request takes several segments.
    pub chunk: usize,
    /// Close its direction right after the last request, and read on.
    pub half_close: bool,
}

impl Script {
    fn request(&self, index: usize) -> Vec<u8> {
        let Request { upload, download } = self.requests[index];
        let mut bytes = format!(
            "GET {download} HTTP/1.1\r\nNumber: {index}\r\nContent-Length: {upload}\r\n\r\n"
        )
        .into_bytes();
        bytes.extend((0..upload).map(|n| pattern(index, n)));
        bytes
    }
}

fn pattern(salt: usize, n: usize) -> u8 {
    let mixed = (n as u64 ^ (salt as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// A client at work.
#[derive(Debug)]
pub(super) struct Client {
    script: Script,
    index: usize,
    unsent: Vec<u8>,
    /// Everything received.
    pub(super) stream: Vec<u8>,
    response_at: usize,
    pub(super) complete: bool,
}

impl Client {
    pub(super) fn new(script: Script) -> Self {
        let unsent = script.request(0);
        Self {
            script,
            index: 0,
            unsent,
            stream: Vec::new(),
            response_at: 0,
            complete: false,
        }
    }

    pub(super) fn run(&mut self, socket: &mut tcp::Socket<'_>) {
        if !self.unsent.is_empty() && socket.can_send() {
            let len = self.unsent.len().min(self.script.chunk);
            if let Ok(sent) = socket.send_slice(&self.unsent[..len]) {
                self.unsent.drain(..sent);
            }
        }
        let last = self.index + 1 == self.script.requests.len();
        if last && self.unsent.is_empty() && self.script.half_close && socket.may_send() {
            socket.close();
        }
        while socket.can_recv() {
            let took = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
            self.stream.extend(took.unwrap_or_default());
        }
        if !self.complete && response_end(&self.stream[self.response_at..]).is_some() {
            let end = response_end(&self.stream[self.response_at..]).unwrap_or(0);
            self.response_at += end;
            if last {
                self.complete = true;
                socket.close();
            } else {
                self.index += 1;
                self.unsent = self.script.request(self.index);
            }
        }
    }

    /// More to hand to TCP without being asked by it.
    pub(super) fn eager(&self) -> bool {
        !self.unsent.is_empty()
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|at| at == b"\r\n\r\n")
        .map(|at| at + 4)
}

fn content_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head);
    text.split("\r\n")
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

fn response_end(bytes: &[u8]) -> Option<usize> {
    let head = head_end(bytes)?;
    let end = head + content_length(&bytes[..head]);
    (bytes.len() >= end).then_some(end)
}

/// A server's side of one connection.
#[derive(Debug)]
pub(super) struct Server {
    date: String,
    request: Vec<u8>,
    unsent: Vec<u8>,
    /// From this byte of the output on, it lies: for tests of divergence.
    lie_at: Option<usize>,
    sent: usize,
}

impl Server {
    pub(super) fn new(date: &str, lie_at: Option<usize>) -> Self {
        Self {
            date: date.to_owned(),
            request: Vec::new(),
            unsent: Vec::new(),
            lie_at,
            sent: 0,
        }
    }

    pub(super) fn run(&mut self, socket: &mut tcp::Socket<'_>) {
        while socket.can_recv() {
            let took = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
            self.request.extend(took.unwrap_or_default());
        }
        while let Some(end) = response_end(&self.request) {
            let request: Vec<u8> = self.request.drain(..end).collect();
            self.answer(&request);
        }
        while !self.unsent.is_empty() && socket.can_send() {
            let sent = socket.send_slice(&self.unsent).unwrap_or(0);
            if sent == 0 {
                break;
            }
            self.unsent.drain(..sent);
        }
        if self.unsent.is_empty() && !socket.may_recv() && socket.may_send() {
            socket.close();
        }
    }

    fn answer(&mut self, request: &[u8]) {
        let text = String::from_utf8_lossy(request);
        let size: usize = text
            .split(' ')
            .nth(1)
            .and_then(|size| size.parse().ok())
            .unwrap_or(0);
        let seen: u64 = request.iter().fold(0, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\nDate: {}\r\nX-Seen: {seen:016x}\r\nContent-Length: {size}\r\n\r\n",
            self.date
        )
        .into_bytes();
        // From the request alone: a server that is asked this first must say the same.
        let salt = (seen & 0xff_ffff) as usize;
        bytes.extend((0..size).map(|n| pattern(salt, n)));
        if let Some(at) = self.lie_at
            && let Some(byte) = bytes.get_mut(at.wrapping_sub(self.sent))
        {
            *byte ^= 0xff;
        }
        self.sent += bytes.len();
        self.unsent.extend(bytes);
    }
}
