// SPDX-License-Identifier: GPL-3.0-only
//! The peers: client and server in namespaces, and one of them in the middle.

use std::time::{Duration, Instant};

use fttcp::control::{GroupSpec, OnFull, ServiceSpec};

use super::daemons;
use super::load::{Client, Echo};
use crate::netns::layout::Layout;
use crate::netns::process::Running;
use crate::netns::topology::{GROUP, Middle, PROXY, SERVER, Topology};

/// The traffic server's port whose clients' bytes are all logged.
pub(super) const LOGGED: u16 = 7;
/// Its port where protection ends after the default number of bytes.
pub(super) const BOUNDED: u16 = 9;
/// The web server's port.
pub(super) const WEB: u16 = 80;
/// The small file's name and size.
pub(super) const PAGE: &str = "page";
const PAGE_BYTES: usize = 1024;
/// How long the logger may take to give back what a connection kept.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who stands in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Peer {
    /// A bridge of the Linux kernel.
    Bridge,
    /// The logger, whose kernel program forwards what needs no attention.
    Fast,
    /// The logger, through whose process every frame goes.
    Packet,
    /// HAProxy in `mode tcp`.
    HaProxy,
}

impl Peer {
    pub(super) const ALL: [Self; 4] = [Self::Bridge, Self::Fast, Self::Packet, Self::HaProxy];
    pub(super) const WITHOUT_PROXY: [Self; 3] = [Self::Bridge, Self::Fast, Self::Packet];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "Linux bridge",
            Self::Fast => "logger, bpf",
            Self::Packet => "logger, packet sockets",
            Self::HaProxy => "HAProxy",
        }
    }

    /// What `ftlogger` is told to use.
    pub(in crate::bench) fn options(self, memory: &str) -> Vec<String> {
        let kind = match self {
            Self::Fast => "bpf",
            _ => "packet",
        };
        ["--datapath", kind, "--memory", memory]
            .map(str::to_owned)
            .to_vec()
    }
}

/// A service with the defaults of the protocol.
pub(in crate::bench) fn service(port: u16) -> ServiceSpec {
    ServiceSpec {
        mask: vec!["Date".to_owned()],
        ..ServiceSpec::new(port, "opaque")
    }
}

/// Namespaces with somebody in the middle, and the servers behind.
#[derive(Debug)]
pub(super) struct House {
    pub(super) peer: Peer,
    // End before their namespaces.
    _echo: [Echo; 2],
    _proxy: Option<Running>,
    pub(super) topology: Topology,
}

impl House {
    /// Uploads are of `upload` bytes at most.
    pub(super) fn new(peer: Peer, upload: u64) -> Result<Self, String> {
        let logged = ServiceSpec {
            // And some room for the order in which they came.
            buffer_bytes: u32::try_from(upload + upload / 16 + (1 << 20))
                .map_err(|_| "an upload is too long")?,
            ..service(LOGGED)
        };
        let bounded = ServiceSpec {
            on_full: OnFull::Unprotect,
            ..service(BOUNDED)
        };
        let mut topology = Topology::build(Layout {
            middle: match peer {
                Peer::Bridge => Middle::Bridge,
                Peer::Fast | Peer::Packet => Middle::Protected,
                Peer::HaProxy => Middle::Proxy,
            },
            group: Some(GroupSpec {
                services: vec![service(WEB), logged, bounded],
                ..GroupSpec::default()
            }),
            logger: peer.options("3G"),
            ..Layout::default()
        })?;
        topology.put(PAGE, &[b'x'; PAGE_BYTES])?;
        topology.serve()?;
        for space in [topology.client(), topology.middle()] {
            // Connections that were closed a second ago must not use up the ports.
            space.sysctl("net.ipv4.tcp_tw_reuse", "1")?;
            space.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
        }
        let [server, _] = topology.servers();
        let echo = [Echo::start(server, LOGGED)?, Echo::start(server, BOUNDED)?];
        let proxy = match peer {
            Peer::HaProxy => Some(daemons::haproxy(&topology, &[LOGGED, BOUNDED, WEB])?),
            _ => None,
        };
        Ok(Self {
            peer,
            _echo: echo,
            _proxy: proxy,
            topology,
        })
    }

    /// The address that clients use.
    pub(super) const fn address(&self) -> &'static str {
        match self.peer {
            Peer::HaProxy => PROXY,
            _ => SERVER,
        }
    }

    /// A client of the traffic server.
    pub(super) const fn client(&self, port: u16) -> Client<'_> {
        Client::new(self.topology.client(), self.address(), port)
    }

    /// Makes sure that no connection has lost its protection because its buffer was full.
    pub(super) fn check_protected(&self) -> Result<(), String> {
        let Ok(logger) = self.topology.logger() else {
            return Ok(());
        };
        match logger.totals(GROUP)?.counters.full_unprotected {
            0 => Ok(()),
            lost => Err(format!(
                "{}: {lost} connections lost their protection while they were measured",
                self.peer.name()
            )),
        }
    }

    /// Gbit/s of an upload to `port`. If the logger is in the middle, it is made sure that it logged every byte, or
    /// did not, as `logged` says.
    pub(super) fn upload(&self, port: u16, bytes: u64) -> Result<f64, String> {
        let Ok(logger) = self.topology.logger() else {
            return self.client(port).upload(bytes).map(|(rate, _)| rate);
        };
        let before = logger.totals(GROUP)?.counters;
        let (rate, connection) = self.client(port).upload(bytes)?;
        let after = logger.totals(GROUP)?.counters;
        let unprotected = after.full_unprotected - before.full_unprotected;
        let logged = after.logged_bytes.saturating_sub(before.logged_bytes);
        let as_said = match port {
            BOUNDED => unprotected == 1,
            _ => unprotected == 0 && logged >= bytes,
        };
        drop(connection);
        if !as_said {
            return Err(format!(
                "{}: of an upload of {bytes} bytes to port {port}, {logged} were logged; {unprotected} lost protection",
                self.peer.name()
            ));
        }
        // The next run must find the memory free.
        let start = Instant::now();
        while logger.totals(GROUP)?.counters.logged_bytes >= before.logged_bytes + bytes / 2 {
            if start.elapsed() > PATIENCE {
                return Err("the log of a closed connection was not given back".to_owned());
            }
        }
        Ok(rate)
    }
}

/// A house for each of `peers`.
pub(super) fn houses(peers: &[Peer], upload: u64) -> Result<Vec<House>, String> {
    let house = |peer: &Peer| {
        House::new(*peer, upload).map_err(|error| format!("{}: {error}", peer.name()))
    };
    peers.iter().map(house).collect()
}

/// Gives client and server a line of 1 Gbit/s each, for what they send.
pub(in crate::bench) fn shape(topology: &Topology) -> Result<(), String> {
    let [server, _] = topology.servers();
    for space in [topology.client(), server] {
        // No frame is dropped: the queue holds a whole receive window.
        let add = ["qdisc", "add", "dev", "eth0", "root", "tbf"];
        let how = ["rate", "1gbit", "burst", "256kb", "limit", "16mb"];
        space.run("tc", &[add.as_slice(), &how].concat())?;
    }
    Ok(())
}
