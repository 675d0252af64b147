// SPDX-License-Identifier: GPL-3.0-only
//! A host at an end, whichever TCP it has.

use std::net::{IpAddr, SocketAddr};

use super::app::{App, Client, Program};
use super::peer::Peer;
use super::smol::Smol;
use super::{Death, EndSpec, Stack};
use crate::frame::Time;
use crate::wire::MacAddr;

/// Who a host is on the wire. Servers that replace each other are the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) mac: MacAddr,
    pub(super) ip: IpAddr,
}

/// See the module's text.
pub(super) enum End {
    Smoltcp(Box<Smol>),
    Scripted(Box<Peer>),
}

impl End {
    fn new(spec: &EndSpec, identity: Identity, seed: u64, now: Time) -> Self {
        match spec.stack {
            Stack::Smoltcp => Self::Smoltcp(Box::new(Smol::new(spec, identity, seed, now))),
            Stack::Scripted => Self::Scripted(Box::new(Peer::new(spec, identity, seed))),
        }
    }

    /// A host that connects once for each program.
    pub(super) fn client(
        spec: &EndSpec,
        identity: Identity,
        to: (SocketAddr, MacAddr),
        apps: impl Iterator<Item = App>,
        seed: u64,
        now: Time,
    ) -> Self {
        let mut end = Self::new(spec, identity, seed, now);
        for (port, app) in (20_000..).zip(apps) {
            match &mut end {
                Self::Smoltcp(host) => host.connect(to.0, port, app),
                Self::Scripted(peer) => peer.connect(to, port, app, now),
            }
        }
        end
    }

    /// A host that serves so many connections.
    pub(super) fn server(
        spec: &EndSpec,
        identity: Identity,
        port: u16,
        (program, connections): (&Program, usize),
        seed: u64,
        now: Time,
    ) -> Self {
        let mut end = Self::new(spec, identity, seed, now);
        match &mut end {
            Self::Smoltcp(host) => host.listen(port, program, connections),
            Self::Scripted(peer) => peer.listen(port, program),
        }
        end
    }

    pub(super) fn deliver(&mut self, frame: Vec<u8>) {
        match self {
            Self::Smoltcp(host) => host.deliver(frame),
            Self::Scripted(peer) => peer.deliver(frame),
        }
    }

    pub(super) fn run(&mut self, now: Time) {
        match self {
            Self::Smoltcp(host) => host.run(now),
            Self::Scripted(peer) => peer.run(now),
        }
    }

    pub(super) fn sent(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Smoltcp(host) => host.sent(),
            Self::Scripted(peer) => peer.sent(),
        }
    }

    pub(super) fn die(&mut self, death: Death) {
        match self {
            Self::Smoltcp(host) => host.die(death),
            Self::Scripted(peer) => peer.die(death),
        }
    }

    pub(super) fn next(&mut self, now: Time) -> Option<Time> {
        match self {
            Self::Smoltcp(host) => host.next(now),
            Self::Scripted(peer) => peer.next(),
        }
    }

    /// Cannot go on, by a defect of its own.
    pub(super) fn stalled(&mut self, now: Time) -> bool {
        match self {
            Self::Smoltcp(host) => host.stalled(now),
            Self::Scripted(_) => false,
        }
    }

    /// How many clients are done, of those that are not known to be.
    pub(super) fn done(&self, index: usize) -> bool {
        match self {
            Self::Smoltcp(host) => {
                let complete =
                    matches!(host.apps().nth(index), Some(App::Client(it)) if it.complete);
                complete && host.closed(index)
            }
            Self::Scripted(peer) => peer.done(index),
        }
    }

    /// The clients on this host, in order.
    pub(super) fn clients(&self) -> Vec<&Client> {
        fn client(app: &App) -> Option<&Client> {
            match app {
                App::Client(client) => Some(client),
                App::Server(_) => None,
            }
        }
        match self {
            Self::Smoltcp(host) => host.apps().filter_map(client).collect(),
            Self::Scripted(peer) => peer.apps().filter_map(client).collect(),
        }
    }

    /// What its TCP and its programs had to object to.
    pub(super) fn violations(&mut self) -> Vec<String> {
        let program = |app: &App| match app {
            App::Client(_) => None,
            App::Server(server) => server.violation.clone(),
        };
        match self {
            Self::Smoltcp(host) => host.apps().filter_map(program).collect(),
            Self::Scripted(peer) => {
                let mut all = std::mem::take(&mut peer.violations);
                all.extend(peer.apps().filter_map(program));
                all
            }
        }
    }
}
