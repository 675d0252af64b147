// SPDX-License-Identifier: GPL-3.0-only
//! The memory of this process with thousands of idle connections, and under a flood of SYNs. One test, so that nothing
//! else runs beside it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use fttcp::control::{ServiceSpec, Verify};
use fttcp::engine::{Engine, EngineConfig, GroupPorts};
use fttcp::frame::{Offload, Output, PortId, Time};
use fttcp::wire::{Address, Flags, MacAddr, OptionsRepr, SegmentRepr, SeqNumber, Timestamps};

const NORTH: PortId = PortId(1);
const SOUTH: PortId = PortId(2);

struct Nowhere;

impl Output for Nowhere {
    fn transmit(&mut self, _: PortId, _: &[u8], _: &Offload) {}
}

/// Memory that this process has for itself, in bytes (`RssAnon` of proc(5)). Pages of the program's file do not count: the kernel
/// maps sixteen of them at a time when the first is executed, which depends on what it has read before.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a number of KiB") * 1024
}

struct Bench {
    engine: Engine,
    now: Time,
    frame: Vec<u8>,
}

impl Bench {
    fn new(verify: Verify) -> Self {
        let mut engine = Engine::new(EngineConfig::default());
        let group = serde_json::json!({ "name": "web", "north": "n", "active": "a" });
        let mut group: fttcp::control::GroupSpec = serde_json::from_value(group).expect("a group");
        group.services = vec![ServiceSpec {
            mask: vec!["Date".to_owned()],
            verify,
            ..ServiceSpec::new(80, "opaque")
        }];
        let ports = GroupPorts {
            north: NORTH,
            active: SOUTH,
            standbys: vec![],
        };
        engine.add_group(group, ports).expect("a fresh engine");
        Self {
            engine,
            now: Time(1_000_000),
            frame: Vec::new(),
        }
    }

    fn say(&mut self, client: u32, to_server: bool, seq: u32, ack: u32, flags: Flags, data: &[u8]) {
        let ip = Ipv4Addr::from(0x0a00_0000 + (client >> 14));
        let end = |last, socket: SocketAddr| Address {
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            socket,
        };
        let client = end(
            1,
            SocketAddr::new(ip.into(), 1024 + (client & 0x3fff) as u16),
        );
        let server = end(2, SocketAddr::new(Ipv4Addr::new(10, 9, 9, 9).into(), 80));
        let syn = flags.has(Flags::SYN);
        let (src, dst) = if to_server {
            (client, server)
        } else {
            (server, client)
        };
        SegmentRepr {
            src,
            dst,
            tags: &[],
            seq: SeqNumber(seq),
            ack: SeqNumber(ack),
            flags,
            window: 60_000,
            urgent: 0,
            options: OptionsRepr {
                mss: syn.then_some(1460),
                window_scale: syn.then_some(7),
                sack_permitted: syn,
                timestamps: Some(Timestamps { value: 5, echo: 5 }),
            },
            payload: data,
        }
        .emit(&mut self.frame);
        let port = if to_server { NORTH } else { SOUTH };
        self.engine.handle_frame(
            self.now,
            port,
            &mut self.frame,
            Offload::default(),
            &mut Nowhere,
        );
    }

    /// One small exchange, acknowledged.
    fn exchange(&mut self, client: u32, request: &[u8], response: &[u8]) {
        let push = Flags::ACK.with(Flags::PSH);
        let (asked, answered) = (request.len() as u32, response.len() as u32);
        self.say(client, true, 99, 0, Flags::SYN, b"");
        self.say(
            client,
            false,
            4_000_000_000,
            100,
            Flags::SYN.with(Flags::ACK),
            b"",
        );
        self.say(client, true, 100, 4_000_000_001, push, request);
        self.say(client, false, 4_000_000_001, 100 + asked, push, response);
        self.say(
            client,
            true,
            100 + asked,
            4_000_000_001 + answered,
            Flags::ACK,
            b"",
        );
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.engine.handle_timeout(self.now, &mut Nowhere);
    }

    /// Bytes of memory for each of `count` further connections, opened a hundred a second, all idle at last.
    fn idle_cost(&mut self, from: u32, count: u32) -> u64 {
        let request = b"GET /index.html HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n\r\n";
        let mut response = b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Length: 200\r\n\r\n".to_vec();
        response.extend([b'x'; 200]);
        let before = resident();
        for client in from..from + count {
            self.exchange(client, request, &response);
            self.pass(Duration::from_millis(10));
        }
        self.pass(Duration::from_secs(10));
        resident().saturating_sub(before) / u64::from(count)
    }
}

#[test]
fn idle_connections_are_small_and_a_flood_of_syns_takes_a_bound() {
    let mut sampled = Bench::new(Verify::Sampled);
    let before = resident();
    sampled.idle_cost(0, 100);
    let hundred = resident() - before;
    let further = sampled.idle_cost(100, 10_000);
    let full = Bench::new(Verify::Full).idle_cost(0, 10_000);
    println!(
        "100 idle connections: {hundred} bytes; each further one: {further} (verify: full: {full})"
    );

    let floods = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let before = resident();
    let start = Instant::now();
    for client in 0..floods {
        sampled.say(1_000_000 + client, true, 7, 0, Flags::SYN, b"");
    }
    let each = start.elapsed() / floods;
    let flood = resident().saturating_sub(before);
    println!("{floods} SYNs: {flood} bytes, {each:?} each");
    let status = sampled.engine.status(Some("web"), false).remove(0);
    println!("protected {}", status.counters.protected);

    assert!(hundred <= 750 * 1024, "{hundred} bytes for 100 connections");
    assert!(
        further <= 512,
        "{further} bytes for each further connection"
    );
    assert!(full <= 1280, "{full} bytes with verify: full");
    assert!(flood <= 64 << 20, "{flood} bytes for a flood of SYNs");
    assert!(
        status.counters.protected >= 10_100,
        "the idle ones are unharmed"
    );
}
