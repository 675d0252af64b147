// SPDX-License-Identifier: GPL-3.0-only
//! A service group inside the engine, and the address resolution that its failover anticipates.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::commits::Commits;
use super::outbound::Opening;
use super::places::Links;
use super::probe::{Heard, Owed};
use super::upgrade::Upgrade;
use super::{EngineError, GroupPorts};
use crate::conn::{Context, Desk, Masks, Path, Progress, ProtectedService, Unsaid};
use crate::control::{Counters, GroupSpec, OnFull, Outbound, ServiceSpec};
use crate::frame::{Output, PortId, Time};
use crate::service::{Kinds, Maker, Unusable};
use crate::stable::Store;
use crate::wire::{self, ETHERTYPE_ARP, ETHERTYPE_IPV6, EthernetFrame, MacAddr};

/// What a port is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    North,
    Active,
    Standby,
    /// An upgrade moves connections away from it; it is the first standby.
    Leaving,
    Dead,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) spec: GroupSpec,
    pub(super) ports: GroupPorts,
    /// The number of the active server, and how many there have been. Connections name their server by it.
    pub(super) number: u32,
    pub(super) numbers: u32,
    pub(super) upgrade: Option<Upgrade>,
    /// Those of the spec, that of connections which the server opens (if they are seen), and those of connections that
    /// others announce.
    pub(super) services: Vec<ProtectedService>,
    /// For each service, that of the connections which its own announce.
    pub(super) linked: Vec<Option<usize>>,
    pub(super) links: Links,
    pub(super) counters: Counters,
    pub(super) progress: Option<Progress>,
    /// Connections whose move waits for that of others, and how many of them were begun because others were done.
    pub(super) queue: VecDeque<usize>,
    /// Some that were moved may have stepped aside until all are.
    pub(super) aside: bool,
    pub(super) settled: u64,
    pub(super) opening: Opening,
    /// In whose names the standby was asked for its address; the answers are not for them.
    pub(super) solicited: HashSet<(MacAddr, IpAddr)>,
    /// When the active server was heard.
    pub(super) heard: Heard,
    /// Since when its clients wait, when that was last looked at.
    pub(super) owed: Owed,
    /// The data path may forward connections by itself.
    pub(super) shortcut: bool,
    /// Where long logs go.
    pub(super) spill: Option<Store>,
    /// What servers are asked to bring to their disks.
    pub(super) commits: Commits,
}

/// The services of a group's spec; after those that it offers, that of connections which its server opens.
fn services(spec: &GroupSpec) -> impl Iterator<Item = &ServiceSpec> {
    let outbound = (spec.outbound != Outbound::Pass).then_some(&spec.outbound_service);
    spec.services.iter().chain(outbound)
}

/// Who makes the plug-ins of a group's services, in the order of [`services`].
pub(super) fn plugins(spec: &GroupSpec, kinds: &Kinds) -> Result<Vec<Maker>, EngineError> {
    let mut plugins = Vec::new();
    for service in services(spec) {
        let (group, port, kind) = (&spec.name, service.port, &service.kind);
        let make = kinds.maker(service).map_err(|unusable| match unusable {
            Unusable::Unknown(known) => EngineError::UnknownKind {
                group: group.clone(),
                port,
                kind: kind.clone(),
                known,
            },
            Unusable::Definition(message) => EngineError::Definition {
                group: group.clone(),
                port,
                kind: kind.clone(),
                message,
            },
        })?;
        if service.on_full == OnFull::Hold && !make.make().truncates() {
            return Err(EngineError::CannotHold {
                group: group.clone(),
                port,
                kind: kind.clone(),
            });
        }
        if service.durable && !make.make().knows_changes() {
            return Err(EngineError::CannotCommit {
                group: group.clone(),
                port,
                kind: kind.clone(),
            });
        }
        plugins.push(make);
    }
    Ok(plugins)
}

impl Group {
    /// `plugins`: as [`plugins`] gives them.
    pub(super) fn new(
        spec: GroupSpec,
        ports: GroupPorts,
        plugins: Vec<Maker>,
        shortcut: bool,
    ) -> Self {
        let mut services: Vec<ProtectedService> = services(&spec)
            .zip(plugins)
            .map(|(service, make)| ProtectedService {
                spec: service.clone(),
                masks: Masks::new(&service.mask),
                make,
                unsaid: Unsaid::default(),
                remembers: spec.wrap.is_some(),
            })
            .collect();
        let mut linked = Vec::new();
        for place in 0..services.len() {
            let announcing = &services[place];
            let announced = announcing.make.linked().map(|make| ProtectedService {
                spec: ServiceSpec {
                    kind: make.make().kind().to_owned(),
                    ..announcing.spec.clone()
                },
                masks: Masks::default(),
                make,
                unsaid: Unsaid::default(),
                remembers: spec.wrap.is_some(),
            });
            linked.push(announced.is_some().then_some(services.len()));
            services.extend(announced);
        }
        // What a server says must not pass before its record is looked at.
        let shortcut = shortcut && spec.wrap.is_none();
        Self {
            spec,
            ports,
            number: 0,
            numbers: 0,
            upgrade: None,
            services,
            linked,
            links: Links::default(),
            counters: Counters::default(),
            progress: None,
            queue: VecDeque::new(),
            aside: false,
            settled: 0,
            opening: Opening::default(),
            solicited: HashSet::new(),
            heard: Heard::default(),
            owed: Owed::default(),
            shortcut,
            spill: None,
            commits: Commits::default(),
        }
    }

    /// The service at this address and port of the server.
    pub(super) fn service(&self, server: std::net::SocketAddr) -> Option<usize> {
        self.spec.services.iter().position(|service| {
            service.port == server.port()
                && service.address.is_none_or(|address| address == server.ip())
        })
    }

    /// Whether a service is at this address of the server.
    pub(super) fn serves(&self, server: IpAddr) -> bool {
        let mut addresses = self.services.iter().map(|service| service.spec.address);
        addresses.any(|address| address.is_none_or(|address| address == server))
    }

    /// The TCP ports of its services.
    pub(super) fn service_ports(&self) -> impl Iterator<Item = u16> {
        self.spec.services.iter().map(|service| service.port)
    }

    /// The service of connections that the server opens, unless they pass.
    pub(super) fn outbound_service(&self) -> usize {
        self.spec.services.len()
    }

    /// The number and the port of the server that is being left.
    pub(super) fn leaving(&self) -> Option<(u32, PortId)> {
        let leaving = self.upgrade.as_ref()?.leaving?;
        Some((leaving, *self.ports.standbys.first()?))
    }

    /// The port of the server with this number: the active one's, unless it is being left.
    pub(super) fn port_of(&self, number: u32) -> PortId {
        let leaving = self.leaving().filter(|&(left, _)| left == number);
        leaving.map_or(self.ports.active, |(_, port)| port)
    }

    /// The interface of the server with this number, if it lives; and the other way round.
    pub(super) fn interface_of(&self, number: u32) -> Option<&str> {
        if number == self.number {
            return Some(&self.spec.active);
        }
        let leaves = self.leaving().is_some_and(|(left, _)| left == number);
        let first = self.spec.standbys.first().filter(|_| leaves);
        first.map(String::as_str)
    }

    pub(super) fn number_of(&self, interface: &str) -> Option<u32> {
        let leaving = self.leaving().map(|(left, _)| left);
        let mut living = [Some(self.number), leaving].into_iter().flatten();
        living.find(|&number| self.interface_of(number) == Some(interface))
    }

    /// A new server's number.
    pub(super) const fn next_number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// For a connection of this service with the server of this number.
    pub(super) fn context<'a>(
        &'a mut self,
        service: usize,
        number: u32,
        now: Time,
        out: &'a mut dyn Output,
        desk: &'a mut Desk,
    ) -> Context<'a> {
        Context {
            now,
            out,
            north: self.ports.north,
            south: self.port_of(number),
            leaving: self.leaving().is_some_and(|(left, _)| left == number),
            pair: self.leaving().is_some(),
            upgrade: self.upgrade.as_mut().map(|upgrade| &mut upgrade.status),
            service: &self.services[service],
            counters: &mut self.counters,
            progress: self.progress.as_mut(),
            number,
            commits: &mut self.commits,
            events: &mut desk.events,
            scratch: &mut desk.scratch,
            shortcut: self.shortcut,
            spill: self.spill.as_ref(),
        }
    }

    /// Lets the standby learn a client's hardware address, by a question in the client's name.
    pub(super) fn solicit(&mut self, path: &Path, out: &mut dyn Output, scratch: &mut Vec<u8>) {
        let (mac, ip) = (path.client.mac, path.client.socket.ip());
        if self.solicited.contains(&(mac, ip)) {
            return;
        }
        match (ip, path.server.socket.ip()) {
            (IpAddr::V4(ip), IpAddr::V4(server)) => {
                wire::arp_request(scratch, mac, ip, server, path.tags());
            }
            (IpAddr::V6(ip), IpAddr::V6(server)) => {
                wire::neighbour_solicitation(scratch, mac, ip, server, path.tags());
            }
            _ => return,
        }
        self.solicited.insert((mac, ip));
        out.transmit(
            self.ports.active,
            scratch,
            &crate::frame::Offload::default(),
        );
    }

    pub(super) fn forget_solicited(&mut self) {
        self.solicited.clear();
    }

    /// Whether the frame answers a question that only the logger asked. One answer is swallowed for each: later the
    /// client asks itself.
    pub(super) fn answers_solicitation(&mut self, frame: &[u8]) -> bool {
        const ARP_REPLY: [u8; 2] = [0, 2];
        const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
        let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
            return false;
        };
        let payload = ethernet.payload();
        let octets = |from: usize, len: usize| payload.get(from..from + len);
        let asker: Option<IpAddr> = match ethernet.ethertype() {
            ETHERTYPE_ARP if octets(6, 2) == Some(&ARP_REPLY) => octets(24, 4)
                .and_then(|ip| <[u8; 4]>::try_from(ip).ok())
                .map(|ip| Ipv4Addr::from(ip).into()),
            ETHERTYPE_IPV6 if payload.get(40) == Some(&NEIGHBOUR_ADVERTISEMENT) => octets(24, 16)
                .and_then(|ip| <[u8; 16]>::try_from(ip).ok())
                .map(|ip| Ipv6Addr::from(ip).into()),
            _ => None,
        };
        asker.is_some_and(|ip| self.solicited.remove(&(ethernet.dst(), ip)))
    }

    pub(super) fn has_solicited(&self) -> bool {
        !self.solicited.is_empty()
    }
}
