// SPDX-License-Identifier: GPL-3.0-only
//! FTP: several data connections at one port of the server at the same time. A server that has accepted one may listen there
//! again, and a replacement does not know the ports of the dead server: with a small range of ports (`pasv_min_port`,
//! `PassivePorts`) that is usual.

use super::linked::{PASSIVE, Session, closes};
use super::moved_links::{DATA_ISN, LOGIN, MOVED, fetching};
use super::*;

impl Session {
    /// Another client, which comes to `at`.
    fn other(&mut self, at: PortId) {
        (self.said, self.ports, self.at) = ([0; 2], [40_010, 40_011], at);
        self.log_in();
    }

    /// It asks for a file, at the same port as the first, and has a part of it.
    fn fetches_there(&mut self) {
        self.client(b"TYPE I\r\n");
        self.server(b"200 binary\r\n");
        self.client(b"PASV\r\n");
        self.server(PASSIVE);
        self.client(b"RETR y\r\n");
        self.open_data();
        self.server(b"150 coming (12 bytes)\r\n");
        self.file(0, PUSH, b"other");
        self.has(5);
    }

    fn sees(&self, port: u16) -> bool {
        let group = self.bench.engine.groups[0].as_ref();
        group.is_some_and(|group| group.seen_ports().contains(&port))
    }
}

/// The first has been moved in the middle of its transfer.
fn moved() -> Session {
    let mut session = fetching();
    session.file(0, PUSH, b"contents");
    session.has(5);
    session.fail_over();
    let at = LOGIN.len();
    let passive = b"227 Passive (10,0,0,2,23,112)\r\n";
    session.replies(0, LOGIN);
    session.replies(at, passive);
    session.at_moved(DATA_ISN, SYN_ACK, b"");
    let begun = b"350 from there\r\n150 coming (7 bytes)\r\n";
    session.replies(at + passive.len(), begun);
    session.at_moved(DATA_ISN + 1, PUSH, b"nts");
    assert!(session.sees(MOVED));
    session
}

#[test]
fn port_of_a_replacement_is_seen_though_its_server_tells_another_client_of_the_first_one() {
    let mut session = moved();
    let first = (session.said, session.ports);
    session.other(STANDBY);
    session.fetches_there();
    assert!(session.sees(MOVED), "its segments would pass unchanged");
    (session.said, session.ports) = first;
    let seen = session.at_moved(DATA_ISN + 4, PUSH, b" and ");
    let told = seen.iter().find(|it| it.port == NORTH);
    assert_eq!(
        told.map(|it| (it.ports, it.data.as_slice())),
        Some(([5000, 40_001], &b" and "[..])),
        "{seen:?}"
    );
}

#[test]
fn end_of_one_is_not_the_end_of_the_other() {
    let mut session = moved();
    let ports = session.ports;
    session.other(STANDBY);
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    // It does not come there after all.
    session.client(b"PASV\r\n");
    session.server(b"227 Passive (10,0,0,2,19,137)\r\n");
    session.ports = ports;
    let seen = session.at_moved(DATA_ISN + 4, FIN, b"");
    assert!(!closes(&seen), "nobody said so: {seen:?}");
}

#[test]
fn both_go_on_with_the_next_server() {
    for restarts in [false, true] {
        let mut session = fetching();
        session.file(0, PUSH, b"contents");
        session.has(5);
        let first = (session.said, session.ports);
        session.other(ACTIVE);
        session.fetches_there();
        let other = (session.said, session.ports);
        if restarts {
            let config = EngineConfig::default();
            let bench = &mut session.bench;
            assert_eq!(bench.restart_all(ACTIVE, vec![STANDBY, SECOND], config), 4);
        }
        let sent = session.bench.fail_over();
        let opened = sent.iter().filter(|it| it.head.flags == Flags::SYN);
        let mut ports: Vec<[u16; 2]> = opened.map(|it| it.ports).collect();
        ports.sort_unstable();
        assert_eq!(ports, [[40_000, 80], [40_010, 80]], "{sent:?}");
        let says = |it: &Seen| it.port == NORTH && !it.data.is_empty();
        assert!(!sent.iter().any(says));
        for (which, port) in [(first, 6000_u16), (other, 6001)] {
            (session.said, session.ports) = which;
            let asked = session.asked();
            let asked = String::from_utf8_lossy(&asked);
            assert!(asked.contains("PASV\r\nREST 5\r\nRETR "), "{asked}");
            let [high, low] = port.to_be_bytes();
            let passive = format!("227 Passive (10,0,0,2,{high},{low})\r\n");
            let seen = session.replies(0, &[LOGIN, passive.as_bytes()].concat());
            let syn = seen.iter().find(|it| it.head.flags == Flags::SYN);
            assert_eq!(
                syn.map(|it| it.ports),
                Some([session.ports[1], port]),
                "{restarts}: {seen:?}"
            );
        }
    }
}
