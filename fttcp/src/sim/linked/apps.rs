// SPDX-License-Identifier: GPL-3.0-only
//! Services that open connections themselves, and what is at their other ends: a proxy with its origin, FTP in active
//! mode (RFC 959).

use std::net::Ipv4Addr;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use crate::sim::host::Host;

pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const ORIGIN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
pub(super) const PROXY_PORT: u16 = 80;
pub(super) const CONTROL_PORT: u16 = 21;
const ORIGIN_PORT: u16 = 8080;
const DATA_PORT: u16 = 20;
/// How many connections to it an origin can take.
const ORIGIN_BACKLOG: usize = 24;

/// What runs on a host.
pub(super) trait App {
    fn run(&mut self, host: &mut Host);
    /// What it has to show in the end; `None`: it is not done yet.
    fn done(&self, host: &mut Host) -> Option<Vec<String>>;
}

pub(super) fn take(socket: &mut tcp::Socket<'_>, into: &mut Vec<u8>) {
    while socket.can_recv() {
        let took = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
        into.extend(took.unwrap_or_default());
    }
}

pub(super) fn give(socket: &mut tcp::Socket<'_>, from: &mut Vec<u8>) {
    while !from.is_empty() && socket.can_send() {
        let sent = socket.send_slice(from).unwrap_or(0);
        from.drain(..sent);
    }
}

/// The first line, if it is whole.
pub(super) fn line(bytes: &mut Vec<u8>) -> Option<String> {
    let end = bytes.windows(2).position(|at| at == b"\r\n")?;
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    bytes.drain(..end + 2);
    Some(line)
}

pub(super) fn number(line: &str, field: usize) -> usize {
    let word = line.split(' ').nth(field);
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

pub(super) fn content(id: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(31) ^ (at >> 8) ^ id.wrapping_mul(77)) as u8;
    (0..len).map(byte).collect()
}

pub(super) fn digest(bytes: &[u8]) -> String {
    format!(
        "{} bytes {:016x}",
        bytes.len(),
        xxhash_rust::xxh3::xxh3_64(bytes)
    )
}

pub(super) fn ended(socket: &tcp::Socket<'_>) -> bool {
    matches!(socket.state(), tcp::State::TimeWait | tcp::State::Closed)
}

/// Asks the proxy, one request after the other on one connection.
pub(super) struct ProxyClient {
    socket: SocketHandle,
    requests: Vec<(usize, usize)>,
    asked: usize,
    got: Vec<u8>,
    want: usize,
}

impl ProxyClient {
    pub(super) fn new(host: &mut Host, port: u16, requests: Vec<(usize, usize)>) -> Self {
        let socket = host.add_socket();
        host.connect(socket, (SERVER, PROXY_PORT), port);
        Self {
            socket,
            requests,
            asked: 0,
            got: Vec::new(),
            want: 0,
        }
    }
}

impl App for ProxyClient {
    fn run(&mut self, host: &mut Host) {
        let socket = host.socket(self.socket);
        take(socket, &mut self.got);
        if self.got.len() < self.want || !socket.may_send() {
            return;
        }
        if let Some(&(id, len)) = self.requests.get(self.asked) {
            let mut request = format!("GET {id} {len}\r\n").into_bytes();
            self.want += format!("OK {len}\r\n").len() + len;
            self.asked += 1;
            give(socket, &mut request);
        } else {
            socket.close();
        }
    }

    fn done(&self, host: &mut Host) -> Option<Vec<String>> {
        let all = self.asked == self.requests.len() && self.got.len() == self.want;
        (all && ended(host.socket(self.socket))).then(|| vec![digest(&self.got)])
    }
}

/// One client's connection to the proxy, and its to the origin.
struct Relay {
    client: SocketHandle,
    request: Vec<u8>,
    unsent: Vec<u8>,
    upstream: Option<Upstream>,
}

struct Upstream {
    socket: SocketHandle,
    request: Vec<u8>,
    read: Vec<u8>,
    left: usize,
}

/// Fetches what it is asked for from the origin, with one connection for each request.
pub(super) struct Proxy {
    relays: Vec<Relay>,
    next_port: u16,
}

impl Proxy {
    /// `port`: from which it begins to connect.
    pub(super) fn new(host: &mut Host, clients: usize, port: u16) -> Self {
        let relay = |host: &mut Host| Relay {
            client: listening(host, PROXY_PORT),
            request: Vec::new(),
            unsent: Vec::new(),
            upstream: None,
        };
        Self {
            relays: (0..clients).map(|_| relay(host)).collect(),
            next_port: port,
        }
    }
}

pub(super) fn listening(host: &mut Host, port: u16) -> SocketHandle {
    let handle = host.add_socket();
    let listens = host.socket(handle).listen(port);
    assert_eq!(listens, Ok(()), "a fresh socket can listen");
    handle
}

impl App for Proxy {
    fn run(&mut self, host: &mut Host) {
        for relay in &mut self.relays {
            take(host.socket(relay.client), &mut relay.request);
            if relay.upstream.is_none()
                && let Some(line) = line(&mut relay.request)
            {
                let socket = host.add_socket();
                host.connect(socket, (ORIGIN, ORIGIN_PORT), self.next_port);
                self.next_port += 1;
                relay.upstream = Some(Upstream {
                    socket,
                    request: format!("{line}\r\n").into_bytes(),
                    read: Vec::new(),
                    left: number(&line, 2),
                });
                let head = format!("OK {}\r\n", number(&line, 2));
                relay.unsent.extend(head.into_bytes());
            }
            if let Some(upstream) = &mut relay.upstream {
                let socket = host.socket(upstream.socket);
                give(socket, &mut upstream.request);
                take(socket, &mut upstream.read);
                upstream.left -= upstream.read.len();
                relay.unsent.append(&mut upstream.read);
                if upstream.left == 0 && !socket.may_recv() {
                    socket.close();
                    relay.upstream = None;
                }
            }
            let socket = host.socket(relay.client);
            give(socket, &mut relay.unsent);
            let served = relay.unsent.is_empty() && relay.upstream.is_none();
            if served && !socket.may_recv() && socket.may_send() {
                socket.close();
            }
        }
    }

    fn done(&self, _: &mut Host) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}

/// Answers each request with its content and closes.
pub(super) struct Origin {
    sockets: Vec<(SocketHandle, Vec<u8>, Option<Vec<u8>>)>,
    requests: Vec<String>,
}

impl Origin {
    pub(super) fn new(host: &mut Host) -> Self {
        let socket = |_| (listening(host, ORIGIN_PORT), Vec::new(), None);
        Self {
            sockets: (0..ORIGIN_BACKLOG).map(socket).collect(),
            requests: Vec::new(),
        }
    }
}

impl App for Origin {
    fn run(&mut self, host: &mut Host) {
        for (handle, request, answer) in &mut self.sockets {
            let socket = host.socket(*handle);
            take(socket, request);
            if answer.is_none()
                && let Some(line) = line(request)
            {
                *answer = Some(content(number(&line, 1), number(&line, 2)));
                self.requests.push(line);
            }
            if let Some(answer) = answer {
                give(socket, answer);
                if answer.is_empty() && socket.may_send() {
                    socket.close();
                }
            }
        }
    }

    fn done(&self, host: &mut Host) -> Option<Vec<String>> {
        let idle = |handle: SocketHandle, host: &mut Host| {
            let socket = host.socket(handle);
            ended(socket) || socket.state() == tcp::State::Listen
        };
        let all = self.sockets.iter().all(|(handle, ..)| idle(*handle, host));
        let mut requests = self.requests.clone();
        requests.sort_unstable();
        all.then_some(requests)
    }
}

/// A file to be transferred: up or down, its number, its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) up: bool,
    pub(super) id: usize,
    pub(super) len: usize,
}

/// Transfers files one after the other, each over a connection that the server opens.
pub(super) struct FtpClient {
    control: SocketHandle,
    heard: Vec<u8>,
    said: String,
    files: Vec<Transfer>,
    next: usize,
    data: Option<(SocketHandle, Vec<u8>)>,
    port: u16,
    got: Vec<u8>,
    results: Vec<String>,
    told: bool,
}

impl FtpClient {
    /// `port`: of its control connection; its data ports follow.
    pub(super) fn new(host: &mut Host, port: u16, files: Vec<Transfer>) -> Self {
        let control = host.add_socket();
        host.connect(control, (SERVER, CONTROL_PORT), port);
        Self {
            control,
            heard: Vec::new(),
            said: String::new(),
            files,
            next: 0,
            data: None,
            port: port + 1,
            got: Vec::new(),
            results: Vec::new(),
            told: false,
        }
    }
}

impl App for FtpClient {
    fn run(&mut self, host: &mut Host) {
        take(host.socket(self.control), &mut self.heard);
        while let Some(line) = line(&mut self.heard) {
            self.told |= line.starts_with("226");
            self.said.push_str(&line);
            self.said.push('\n');
        }
        if let Some((handle, unsent)) = &mut self.data {
            let socket = host.socket(*handle);
            take(socket, &mut self.got);
            give(socket, unsent);
            let up = self.files[self.next - 1].up;
            let over = if up {
                unsent.is_empty()
            } else {
                !socket.may_recv() && socket.state() != tcp::State::Listen
            };
            if over && socket.may_send() && socket.state() != tcp::State::Listen {
                socket.close();
            }
            if self.told && ended(socket) {
                self.results.push(digest(&self.got));
                self.got.clear();
                self.data = None;
                self.told = false;
            }
        }
        if self.data.is_some() || !host.socket(self.control).may_send() {
            return;
        }
        if let Some(&Transfer { up, id, len }) = self.files.get(self.next) {
            let unsent = if up { content(id, len) } else { Vec::new() };
            self.data = Some((listening(host, self.port), unsent));
            let verb = if up { "STOR" } else { "RETR" };
            let mut command = format!("{verb} {id} {len} {}\r\n", self.port).into_bytes();
            give(host.socket(self.control), &mut command);
            self.next += 1;
            self.port += 1;
        } else {
            host.socket(self.control).close();
        }
    }

    fn done(&self, host: &mut Host) -> Option<Vec<String>> {
        let all = self.results.len() == self.files.len();
        (all && ended(host.socket(self.control))).then(|| {
            let mut results = self.results.clone();
            results.push(self.said.clone());
            results
        })
    }
}

/// One control connection of the FTP server.
struct Session {
    control: SocketHandle,
    heard: Vec<u8>,
    unsent: Vec<u8>,
    data: Option<Data>,
}

struct Data {
    socket: SocketHandle,
    up: bool,
    unsent: Vec<u8>,
    got: Vec<u8>,
    opened: bool,
}

pub(super) struct Ftp {
    sessions: Vec<Session>,
}

impl Ftp {
    pub(super) fn new(host: &mut Host, clients: usize) -> Self {
        let session = |_| Session {
            control: listening(host, CONTROL_PORT),
            heard: Vec::new(),
            unsent: b"220 ready\r\n".to_vec(),
            data: None,
        };
        Self {
            sessions: (0..clients).map(session).collect(),
        }
    }
}

impl App for Ftp {
    fn run(&mut self, host: &mut Host) {
        for session in &mut self.sessions {
            take(host.socket(session.control), &mut session.heard);
            if session.data.is_none()
                && let Some(line) = line(&mut session.heard)
            {
                let socket = host.add_socket();
                let port = number(&line, 3) as u16;
                host.connect(socket, (CLIENT, port), DATA_PORT);
                let up = line.starts_with("STOR");
                let (id, len) = (number(&line, 1), number(&line, 2));
                session.data = Some(Data {
                    socket,
                    up,
                    unsent: if up { Vec::new() } else { content(id, len) },
                    got: Vec::new(),
                    opened: false,
                });
            }
            if let Some(data) = &mut session.data {
                let socket = host.socket(data.socket);
                if !data.opened && socket.may_send() {
                    data.opened = true;
                    session.unsent.extend(b"150 here it comes\r\n");
                }
                take(socket, &mut data.got);
                give(socket, &mut data.unsent);
                let over = if data.up {
                    !socket.may_recv()
                } else {
                    data.unsent.is_empty() && socket.send_queue() == 0
                };
                if data.opened && over {
                    socket.close();
                    let line = format!("226 {}\r\n", digest(&data.got));
                    session.unsent.extend(line.into_bytes());
                    session.data = None;
                }
            }
            let socket = host.socket(session.control);
            give(socket, &mut session.unsent);
            if session.data.is_none() && !socket.may_recv() && socket.may_send() {
                socket.close();
            }
        }
    }

    fn done(&self, _: &mut Host) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}
