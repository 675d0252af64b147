// SPDX-License-Identifier: GPL-3.0-only
//! Keys and values of the kernel program's maps, as `bpf/fastpath.bpf.c` and `bpf/model.h` lay them out.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::flow::{FlowKey, FlowState, Side, WORDS};

/// `struct key` in words.
pub(super) const KEY: usize = 10;
/// `struct flow` in words: the state, and whose it is.
pub(super) const FLOW: usize = WORDS + KEY;
/// `bpf_map_lookup_elem` waits for the entry's lock.
pub(super) const LOCKED: u64 = 4;

/// `struct key`.
pub(super) fn key(key: &FlowKey) -> [u32; KEY] {
    let mut words = [0; KEY];
    words[0] = key.group;
    let ([a, b], [c, d]) = (
        key.client.port().to_ne_bytes(),
        key.server.port().to_ne_bytes(),
    );
    words[1] = u32::from_ne_bytes([a, b, c, d]);
    words[2..6].copy_from_slice(&address(key.client.ip()));
    words[6..].copy_from_slice(&address(key.server.ip()));
    words
}

/// The connection that a `struct key` names.
pub(super) fn flow_key(words: &[u32; KEY]) -> FlowKey {
    let [a, b, c, d] = words[1].to_ne_bytes();
    FlowKey {
        group: words[0],
        client: SocketAddr::new(ip(&words[2..6]), u16::from_ne_bytes([a, b])),
        server: SocketAddr::new(ip(&words[6..]), u16::from_ne_bytes([c, d])),
    }
}

/// The key's bytes in the place of a packet's, for `stop`: an Ethernet header goes before them.
pub(super) fn key_frame(key: &[u32; KEY]) -> [u8; 14 + 4 * KEY] {
    let mut frame = [0; 14 + 4 * KEY];
    // IEEE 802: the first experimental EtherType.
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    for (bytes, word) in frame[14..].chunks_exact_mut(4).zip(key) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    frame
}

/// `struct flow`.
pub(super) fn flow(key: &[u32; KEY], state: &FlowState) -> [u32; FLOW] {
    let mut words = [0; FLOW];
    words[..WORDS].copy_from_slice(&state.to_words());
    words[WORDS..].copy_from_slice(key);
    words
}

/// The state in a `struct flow`.
pub(super) fn state(words: &[u32; FLOW]) -> FlowState {
    let mut state = [0; WORDS];
    state.copy_from_slice(&words[..WORDS]);
    FlowState::from_words(&state)
}

/// `struct port` of a port whose frames are dropped.
pub(super) const CLOSED: [u32; 4] = [1, 0, 0, 0];

/// `struct port` of a port whose frames are all left to us.
pub(super) const WATCHED: [u32; 4] = [2, 0, 0, 0];

/// `struct port` of a port whose frames go to the interface `peer`.
pub(super) const fn forward(peer: u32, group: u32, side: Side) -> [u32; 4] {
    let side = match side {
        Side::North => 0,
        Side::South => 1,
    };
    [0, peer, group, side]
}

fn address(ip: IpAddr) -> [u32; 4] {
    let octets = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
    .octets();
    std::array::from_fn(|i| {
        u32::from_ne_bytes([
            octets[4 * i],
            octets[4 * i + 1],
            octets[4 * i + 2],
            octets[4 * i + 3],
        ])
    })
}

fn ip(words: &[u32]) -> IpAddr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Ipv6Addr::from(octets).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_the_way_through_words() {
        for (client, server) in [
            ("10.0.0.1:40000", "10.0.0.2:80"),
            ("[fd00::1]:40000", "[fd00::2]:443"),
        ] {
            let flow = FlowKey {
                group: 7,
                client: client.parse().unwrap(),
                server: server.parse().unwrap(),
            };
            assert_eq!(flow_key(&key(&flow)), flow);
        }
    }
}
