// SPDX-License-Identifier: GPL-3.0-only
//! A scripted client and scripted servers around the engine, with segments like Linux's, one at a time.

mod again;
mod attacks;
mod chaos;
mod closing;
mod crowd;
mod damaged;
mod durable;
mod farewell;
mod flood;
mod forwarding;
mod full;
mod handover;
mod hold;
mod hush;
mod inverse;
mod kernel;
mod linked;
mod moved_links;
mod moving;
mod one_place;
mod outbound;
mod plugins;
mod poison;
mod poison_transfers;
mod probe;
mod remembers;
mod resume;
mod spill;
mod traps_handshake;
mod traps_icmp;
mod traps_ip;
mod traps_options;
mod traps_streams;
mod unheard;
mod upgrade;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::control::{Counters, GroupStatus, ServiceSpec};
use crate::frame::Offload;
use crate::wire::{
    Address, Flags, Head, MacAddr, OptionsRepr, Segment, SegmentRepr, SeqNumber, Timestamps, locate,
};

const NORTH: PortId = PortId(10);
const ACTIVE: PortId = PortId(11);
const STANDBY: PortId = PortId(12);
const SECOND: PortId = PortId(13);

const ACK: Flags = Flags::ACK;
const PUSH: Flags = Flags::ACK.with(Flags::PSH);
const FIN: Flags = Flags::ACK.with(Flags::FIN);
const RST: Flags = Flags::ACK.with(Flags::RST);
const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);

/// A segment, taken apart.
#[derive(Debug)]
struct Seen {
    port: PortId,
    /// The source's and the destination's.
    ports: [u16; 2],
    head: Head,
    data: Vec<u8>,
}

impl Seen {
    fn stamps(&self) -> Timestamps {
        self.head.options.timestamps.expect("it is stamped")
    }
}

#[derive(Default)]
struct Sent(Vec<(PortId, Vec<u8>, Offload)>);

impl Output for Sent {
    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload) {
        self.0.push((port, frame.to_vec(), *offload));
    }
}

/// What a test says of a segment; the rest is usual.
#[derive(Clone, Copy)]
struct Say<'a> {
    seq: u32,
    ack: u32,
    flags: Flags,
    window: u16,
    options: OptionsRepr,
    data: &'a [u8],
}

impl Say<'_> {
    const fn new(seq: u32, ack: u32, flags: Flags) -> Self {
        Self {
            seq,
            ack,
            flags,
            window: 500,
            options: OptionsRepr {
                mss: None,
                window_scale: None,
                sack_permitted: false,
                timestamps: None,
            },
            data: &[],
        }
    }

    const fn stamp(mut self, value: u32, echo: u32) -> Self {
        self.options.timestamps = Some(Timestamps { value, echo });
        self
    }

    const fn offer(mut self, scale: u8) -> Self {
        self.options.mss = Some(1460);
        self.options.window_scale = Some(scale);
        self.options.sack_permitted = true;
        self
    }

    const fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }
}

impl<'a> Say<'a> {
    const fn data(mut self, data: &'a [u8]) -> Self {
        self.data = data;
        self
    }
}

struct Bench {
    engine: Engine,
    now: Time,
    v6: bool,
    /// Initial sequence numbers of the client and the first server.
    client_isn: u32,
    server_isn: u32,
    client_port: u16,
    server_port: u16,
}

fn service() -> ServiceSpec {
    ServiceSpec {
        mask: vec!["Date".to_owned()],
        buffer_bytes: 10_000,
        ..ServiceSpec::new(80, "opaque")
    }
}

impl Bench {
    fn with(services: Vec<ServiceSpec>) -> Self {
        Self::configured(EngineConfig::default(), services)
    }

    fn configured(config: EngineConfig, services: Vec<ServiceSpec>) -> Self {
        Self::over(Engine::new(config), services)
    }

    fn over(mut engine: Engine, services: Vec<ServiceSpec>) -> Self {
        let spec = GroupSpec {
            name: "web".to_owned(),
            north: "eth0".to_owned(),
            active: "vif1".to_owned(),
            standbys: vec!["vif2".to_owned(), "vif3".to_owned()],
            services,
            ..GroupSpec::default()
        };
        let ports = GroupPorts {
            north: NORTH,
            active: ACTIVE,
            standbys: vec![STANDBY, SECOND],
        };
        engine
            .add_group(spec, ports)
            .expect("a fresh engine takes it");
        Self {
            engine,
            now: Time(5_000_000),
            v6: false,
            client_isn: 1000,
            server_isn: 900_000,
            client_port: 40_000,
            server_port: 80,
        }
    }

    fn new() -> Self {
        Self::with(vec![service()])
    }

    /// Another process of the logger goes on with the one connection.
    fn restart(&mut self, active: PortId, standbys: Vec<PortId>, config: EngineConfig) {
        assert_eq!(self.restart_all(active, standbys, config), 1);
    }

    /// Another process of the logger goes on with all connections. How many they are.
    fn restart_all(
        &mut self,
        active: PortId,
        standbys: Vec<PortId>,
        config: EngineConfig,
    ) -> usize {
        let image = Image::parse(&self.engine.export(self.now)).expect("its own image");
        let ports = GroupPorts {
            north: NORTH,
            active,
            standbys,
        };
        self.engine = Engine::new(config);
        let open = |_: &mut GroupSpec| Some(ports.clone());
        let (engine, now) = (&mut self.engine, self.now);
        let taken = engine.import(now, image, open, &mut Sent::default());
        taken.expect("it fits").connections
    }

    fn end(&self, host: u8, port: u16) -> Address {
        let ip: IpAddr = if self.v6 {
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)).into()
        } else {
            Ipv4Addr::new(10, 0, 0, host).into()
        };
        Address {
            mac: MacAddr([2, 0, 0, 0, 0, host]),
            socket: SocketAddr::new(ip, port),
        }
    }

    fn frame(&self, from_client: bool, say: &Say<'_>) -> Vec<u8> {
        let (client, server) = (self.end(1, self.client_port), self.end(2, self.server_port));
        let (src, dst) = if from_client {
            (client, server)
        } else {
            (server, client)
        };
        let mut out = Vec::new();
        SegmentRepr {
            src,
            dst,
            tags: &[],
            seq: SeqNumber(say.seq),
            ack: SeqNumber(say.ack),
            flags: say.flags,
            window: say.window,
            urgent: 0,
            options: say.options,
            payload: say.data,
        }
        .emit(&mut out);
        out
    }

    fn raw(
        &mut self,
        port: PortId,
        mut frame: Vec<u8>,
        offload: Offload,
    ) -> Vec<(PortId, Vec<u8>)> {
        let mut sent = Sent::default();
        self.engine
            .handle_frame(self.now, port, &mut frame, offload, &mut sent);
        sent.0
            .into_iter()
            .map(|(port, frame, _)| (port, frame))
            .collect()
    }

    fn seen(sent: Sent) -> Vec<Seen> {
        sent.0
            .into_iter()
            .filter_map(|(port, frame, offload)| {
                let mut frame = frame;
                let layout = locate(&frame).ok()?;
                let segment =
                    Segment::parse(&mut frame, layout, &offload).expect("what leaves is right");
                let (head, data) = (*segment.head(), segment.payload().to_vec());
                let ports = [layout.src.port(), layout.dst.port()];
                Some(Seen {
                    port,
                    ports,
                    head,
                    data,
                })
            })
            .collect()
    }

    fn say(&mut self, port: PortId, say: &Say<'_>) -> Vec<Seen> {
        let mut frame = self.frame(port == NORTH, say);
        let mut sent = Sent::default();
        self.engine
            .handle_frame(self.now, port, &mut frame, Offload::default(), &mut sent);
        Self::seen(sent)
    }

    /// Time passes; what the timers send.
    fn wait(&mut self, time: Duration) -> Vec<Seen> {
        self.now = self.now.after(time);
        let mut sent = Sent::default();
        self.engine.handle_timeout(self.now, &mut sent);
        Self::seen(sent)
    }

    fn fail_over(&mut self) -> Vec<Seen> {
        let mut sent = Sent::default();
        self.engine
            .failover(self.now, 0, "web", "a test", &mut sent)
            .expect("there is a standby");
        Self::seen(sent)
    }

    /// The handshake, as Linux does it: window scales 7 at the client and `scale` at the server.
    fn open(&mut self, scale: u8) {
        self.open_at(ACTIVE, scale);
    }

    /// The same, of a server that is there.
    fn open_at(&mut self, at: PortId, scale: u8) {
        self.open_with(at, scale, 64_240);
    }

    /// The same; the server's first window, which is not scaled, is `window`.
    fn open_with(&mut self, at: PortId, scale: u8, window: u16) {
        let (client, server) = (self.client_isn, self.server_isn);
        self.say(
            NORTH,
            &Say::new(client, 0, Flags::SYN).offer(7).stamp(100, 0),
        );
        let ack = client.wrapping_add(1);
        let answer = Say::new(server, ack, SYN_ACK).offer(scale).stamp(7000, 100);
        self.say(at, &answer.window(window));
        self.say(
            NORTH,
            &Say::new(ack, server.wrapping_add(1), ACK).stamp(101, 7000),
        );
    }

    /// The client's byte `at`, as a sequence number.
    fn c(&self, at: u32) -> u32 {
        self.client_isn.wrapping_add(1).wrapping_add(at)
    }

    /// The server's byte `at`, as the client numbers it.
    fn s(&self, at: u32) -> u32 {
        self.server_isn.wrapping_add(1).wrapping_add(at)
    }

    fn status(&self) -> GroupStatus {
        self.engine.status(None, true).remove(0)
    }

    fn counters(&self) -> Counters {
        self.status().counters
    }

    fn state(&self) -> String {
        self.status().connections[0].state.clone()
    }
}
