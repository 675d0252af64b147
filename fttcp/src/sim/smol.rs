// SPDX-License-Identifier: GPL-3.0-only
//! An end with smoltcp: a host, and the programs on it.

use std::net::{IpAddr, SocketAddr};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use super::app::{App, Program, Server, Socket};
use super::end::Identity;
use super::host::{Host, HostSpec};
use super::{Death, EndSpec};
use crate::frame::Time;

/// See the module's text.
pub(super) struct Smol {
    host: Host,
    /// Each with its program, unless that has died or hangs.
    apps: Vec<(SocketHandle, Option<App>)>,
    /// What listens, with the programs of connections that have ended.
    serves: Option<(u16, Program)>,
    ended: Vec<App>,
}

/// A socket as its program sees it.
struct Handle<'a>(&'a mut tcp::Socket<'static>);

impl Socket for Handle<'_> {
    fn send(&mut self, bytes: &[u8]) -> usize {
        if !self.0.can_send() {
            return 0;
        }
        self.0.send_slice(bytes).unwrap_or(0)
    }

    fn receive(&mut self, most: usize, into: &mut Vec<u8>) {
        let mut left = most;
        while left > 0 && self.0.can_recv() {
            let took = self.0.recv(|bytes| {
                let len = bytes.len().min(left);
                into.extend_from_slice(&bytes[..len]);
                (len, len)
            });
            left -= took.unwrap_or(left);
        }
    }

    fn unread(&self) -> usize {
        self.0.recv_queue()
    }

    fn ended(&self) -> bool {
        let before = matches!(
            self.0.state(),
            tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived
        );
        !self.0.may_recv() && !before
    }

    fn close(&mut self) {
        if self.0.may_send() {
            self.0.close();
        }
    }
}

impl Smol {
    pub(super) fn new(spec: &EndSpec, identity: Identity, seed: u64, now: Time) -> Self {
        let IpAddr::V4(ip) = identity.ip else {
            panic!("only scripted ends have IPv6");
        };
        let spec = HostSpec {
            mac: identity.mac.0,
            ip,
            seed,
            timestamps: spec.timestamps,
            buffer: spec.buffer,
            mtu: spec.mtu,
        };
        Self {
            host: Host::new(spec, now),
            apps: Vec::new(),
            serves: None,
            ended: Vec::new(),
        }
    }

    pub(super) fn connect(&mut self, to: SocketAddr, from: u16, app: App) {
        let handle = self.host.add_socket();
        self.apps.push((handle, Some(app)));
        if let IpAddr::V4(ip) = to.ip() {
            self.host.connect(handle, (ip, to.port()), from);
        }
    }

    /// So many connections are expected: smoltcp has no backlog.
    pub(super) fn listen(&mut self, port: u16, program: &Program, connections: usize) {
        self.serves = Some((port, program.clone()));
        for _ in 0..connections {
            let next = self.listener(port, program);
            self.apps.push(next);
        }
    }

    fn listener(&mut self, port: u16, program: &Program) -> (SocketHandle, Option<App>) {
        let handle = self.host.add_socket();
        let socket = self.host.socket(handle);
        socket.listen(port).expect("a fresh socket can listen");
        (handle, Some(App::Server(Server::new(program))))
    }

    /// Where a connection has ended, it may have been reset, and the listener is still there. A socket at the end,
    /// because smoltcp gives a repeated SYN to the first that wants it.
    fn listen_again(&mut self) {
        let Some((port, program)) = self.serves.clone() else {
            return;
        };
        for index in 0..self.apps.len() {
            if self.host.socket(self.apps[index].0).state() == tcp::State::Closed {
                let next = self.listener(port, &program);
                let last = std::mem::replace(&mut self.apps[index], next);
                self.ended.extend(last.1);
            }
        }
    }

    pub(super) fn deliver(&mut self, frame: Vec<u8>) {
        self.host.deliver(frame);
    }

    pub(super) fn run(&mut self, now: Time) {
        self.host.run(now);
        self.listen_again();
        for (handle, app) in &mut self.apps {
            if let Some(app) = app {
                app.run(now, &mut Handle(self.host.socket(*handle)));
            }
        }
        self.host.run(now);
    }

    pub(super) fn sent(&mut self) -> Option<Vec<u8>> {
        self.host.sent()
    }

    /// The programs die, or hang; the kernel goes on.
    pub(super) fn die(&mut self, death: Death) {
        self.serves = None;
        for (handle, app) in &mut self.apps {
            let socket = self.host.socket(*handle);
            match death {
                Death::Closes => socket.close(),
                // What is over belongs to no process any more.
                Death::Resets if socket.state() == tcp::State::TimeWait => {}
                Death::Resets => socket.abort(),
                Death::Silent | Death::Hangs => {}
            }
            *app = None;
        }
    }

    pub(super) fn apps(&self) -> impl Iterator<Item = &App> {
        let running = self.apps.iter().filter_map(|(_, app)| app.as_ref());
        running.chain(&self.ended)
    }

    pub(super) fn closed(&self, index: usize) -> bool {
        let (handle, _) = self.apps[index];
        let state = self.host.sockets.get::<tcp::Socket<'_>>(handle).state();
        matches!(state, tcp::State::TimeWait | tcp::State::Closed)
    }

    /// A socket waits for an acknowledgement, or could send and has not, and there is no timer: a defect of smoltcp, by
    /// which no connection can go on (a correct sender always retransmits or probes, RFC 9293 section 3.8).
    pub(super) fn stalled(&mut self, now: Time) -> bool {
        self.host.next(now).is_none() && self.host.owes()
    }

    /// When it wants to run next.
    pub(super) fn next(&mut self, now: Time) -> Option<Time> {
        let kernel = self.host.next(now);
        let running = self.apps.iter().filter_map(|(_, app)| app.as_ref());
        let programs = running.filter_map(App::wake).min();
        [kernel, programs].into_iter().flatten().min()
    }
}
