// SPDX-License-Identifier: GPL-3.0-only
//! Which connections of a record come again in a replay, and which are over.
//!
//! The logger opens those again that live, and tells whose they are. What was heard on the others is in the record;
//! what is said on them goes nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::record::{Record, decode};

/// See the module's text.
#[derive(Debug, Default)]
pub struct Again {
    /// Whose connections live.
    clients: BTreeSet<SocketAddr>,
    /// For each peer, the number of the last record in which a connection of it was accepted: of several from one address, only
    /// the last can live.
    last: BTreeMap<SocketAddr, u64>,
    /// Connections of the replay that are real, by descriptor.
    real: BTreeMap<i32, SocketAddr>,
    /// Connections that are over, by descriptor, with their peers' `struct sockaddr`.
    over: BTreeMap<i32, Vec<u8>>,
}

impl Again {
    /// For a replay of `records`.
    #[must_use]
    pub fn new(records: &[u8]) -> Self {
        let mut again = Self::default();
        let (mut rest, mut number) = (records, 0);
        while let Some((record, length)) = decode(rest) {
            number += 1;
            rest = &rest[length..];
            if let Record::Accept { result, peer, .. } = record
                && result >= 0
                && let Some(peer) = address(peer)
            {
                again.last.insert(peer, number);
            }
        }
        again
    }

    /// The logger tells which clients there are: an address and port in each line.
    pub fn told(&mut self, clients: &str) {
        let all = clients.lines().filter_map(|line| line.parse().ok());
        self.clients = all.map(canonical).collect();
    }

    /// Whether the connection that record `number` accepted from `peer` comes again.
    #[must_use]
    pub fn comes(&self, number: u64, peer: &[u8]) -> bool {
        address(peer).is_some_and(|peer| {
            self.last.get(&peer) == Some(&number) && self.clients.contains(&peer)
        })
    }

    /// Whether the record has accepted a connection from this peer: another one of this name that comes in the replay is no new
    /// one, but was begun anew by a logger, or left by its client.
    #[must_use]
    pub fn knows(&self, peer: &[u8]) -> bool {
        address(peer).is_some_and(|peer| self.last.contains_key(&peer))
    }

    /// Whether the connection at `fd` is one that came again.
    #[must_use]
    pub fn real(&self, fd: i32) -> bool {
        self.real.contains_key(&fd)
    }

    /// Whether the connection at `fd` is there still.
    #[must_use]
    pub fn lives(&self, fd: i32) -> bool {
        self.real
            .get(&fd)
            .is_some_and(|peer| self.clients.contains(peer))
    }

    /// A connection that came again has this descriptor.
    pub fn came(&mut self, fd: i32, peer: &[u8]) {
        if let Some(peer) = address(peer) {
            self.real.insert(fd, peer);
        }
    }

    /// A connection that is over has this descriptor.
    pub fn note_over(&mut self, fd: i32, peer: &[u8]) {
        self.over.insert(fd, peer.to_vec());
    }

    /// The connection at `fd` has ended before the replay was through with it.
    pub fn ends(&mut self, fd: i32) {
        self.real.remove(&fd);
        self.over.entry(fd).or_default();
    }

    /// Whether the connection at `fd` is over, and who was its peer, if it was over from the start.
    #[must_use]
    #[inline]
    pub fn over(&self, fd: i32) -> Option<&[u8]> {
        self.over.get(&fd).map(Vec::as_slice)
    }

    /// Whether no descriptor is one of the replay any more.
    #[must_use]
    pub fn is_past(&self) -> bool {
        self.real.is_empty() && self.over.is_empty()
    }

    /// The program has closed `fd`.
    pub fn closed(&mut self, fd: i32) {
        self.over.remove(&fd);
        self.real.remove(&fd);
    }
}

/// An IPv4 address in the form of IPv6 is the same client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The address in a `struct sockaddr_in` or `sockaddr_in6`.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(ip: [u8; 4], port: u16) -> Vec<u8> {
        let family = (libc::AF_INET as u16).to_ne_bytes();
        [&family[..], &port.to_be_bytes(), &ip, &[0; 8]].concat()
    }

    fn accepted(peers: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for (fd, peer) in (5..).zip(peers) {
            let record = Record::Accept {
                listener: 3,
                result: fd,
                peer,
            };
            let mut out = vec![0; record.room()];
            let length = record.encode(&mut out);
            all.extend_from_slice(&out[..length]);
        }
        all
    }

    #[test]
    fn of_two_connections_from_one_address_only_the_last_comes_again() {
        let (a, b) = (v4([10, 0, 0, 1], 999), v4([10, 0, 0, 2], 999));
        let mut again = Again::new(&accepted(&[&a, &b, &a]));
        assert!(!again.comes(3, &a), "nobody told that it lives");
        again.told("10.0.0.1:999\n10.0.0.9:1\n");
        assert_eq!(
            [again.comes(1, &a), again.comes(2, &b), again.comes(3, &a)],
            [false, false, true]
        );
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_is_known_again() {
        let family = (libc::AF_INET6 as u16).to_ne_bytes();
        let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        let peer = [
            &family[..],
            &999_u16.to_be_bytes(),
            &[0; 4],
            &mapped,
            &[0; 4],
        ]
        .concat();
        let mut again = Again::new(&accepted(&[&peer]));
        again.told("10.0.0.1:999");
        assert!(again.comes(1, &peer));
    }

    #[test]
    fn a_connection_that_ends_meanwhile_is_over_until_it_is_closed() {
        let peer = v4([10, 0, 0, 1], 999);
        let mut again = Again::new(&accepted(&[&peer]));
        again.told("10.0.0.1:999");
        again.came(5, &peer);
        assert!(again.lives(5));
        again.told("");
        assert!(!again.lives(5));
        again.ends(5);
        assert_eq!(again.over(5), Some(&[][..]));
        again.closed(5);
        assert_eq!(again.over(5), None);
    }
}
