// SPDX-License-Identifier: GPL-3.0-only
//! How long clients get no byte when their server is killed: many downloads at the same time, over one line.
//!
//! Each client's share of the line is small, so that it waits between bytes at all times. How long it does so without a
//! failover is shown beside the pause. The logger understands HTTP: each client's replacement is asked only for the rest.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::plan::Plan;
use crate::bench::{Gate, Row};
use crate::netns::layout::Layout;
use crate::netns::topology::{SERVER, Topology};

/// Size of the file, whose download takes seconds.
const FILE: usize = 1 << 20;
/// The line that all share, in Mbit/s.
const LINE: u32 = 1000;
/// Each client's window in bytes, about.
const WINDOW: usize = 16 << 10;
/// How long no client gets a byte before this is an error.
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

/// The longest pauses of each client, in ms.
#[derive(Debug, Default)]
struct Pauses {
    before: Vec<f64>,
    after: Vec<f64>,
}

/// Kills the server in the middle of the downloads. The data path is the default one.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Row>, String> {
    let mut topology = Topology::build(Layout {
        kind: "http",
        ..Layout::default()
    })?;
    topology.put("file", &vec![b'x'; FILE])?;
    topology.serve()?;
    topology.shape(LINE)?;
    let mut all = Pauses::default();
    for _ in 0..plan.crowd_failovers {
        let pauses = once(&topology, plan.crowd)?;
        all.before.extend(pauses.before);
        all.after.extend(pauses.after);
        topology.wait_moved()?;
        topology.wait_idle()?;
        topology.renew_standby()?;
    }
    let count = plan.crowd;
    let row = |what: &str, percent: f64, runs: &[f64]| {
        Row::percentile(
            &format!("{what}, {count} downloads resumed (http), p{percent}"),
            "ms",
            percent,
            runs,
        )
    };
    Ok(vec![
        row("pause at failover", 50.0, &all.after),
        row("pause at failover", 99.0, &all.after).gated(Gate::AtMost(500.0)),
        row("longest pause before it", 50.0, &all.before),
        row("longest pause before it", 99.0, &all.before),
    ])
}

fn once(topology: &Topology, count: usize) -> Result<Pauses, String> {
    let (killed, kill) = mpsc::channel();
    let clients = topology.client().spawn(move || {
        let mut crowd = Crowd::open(count)?;
        crowd.read(count * FILE * 3 / 10)?;
        // Nobody listens when the other side failed, which says so itself.
        let _ = killed.send(());
        crowd.killed = Some(Instant::now());
        crowd.read(count * FILE)?;
        Ok::<_, io::Error>(crowd)
    })?;
    let victim = topology.victim()?;
    // An error of the clients is told below.
    if kill.recv().is_ok() {
        let teller = victim.kill()?;
        teller
            .join()
            .map_err(|_| "the watching thread panicked")??;
    }
    let crowd = clients
        .join()
        .map_err(|_| "the clients' thread panicked")??;
    let crowd = crowd.map_err(|error| format!("a download broke off: {error}"))?;
    let pauses = |which: fn(&One) -> Duration| {
        let each = crowd.clients.iter();
        each.map(|one| which(one).as_secs_f64() * 1e3).collect()
    };
    Ok(Pauses {
        before: pauses(|one| one.before),
        after: pauses(|one| one.after),
    })
}

/// The clients.
#[derive(Debug)]
struct Crowd {
    clients: Vec<One>,
    /// Tells which of them can read, at a cost that does not grow with their number: with poll(2) the clients need one
    /// processor for themselves.
    ready: OwnedFd,
    received: usize,
    killed: Option<Instant>,
}

/// One client.
#[derive(Debug)]
struct One {
    stream: TcpStream,
    received: usize,
    last: Instant,
    /// The longest pause that ended before the crash, not counting the first.
    before: Duration,
    /// The longest pause that ended after the crash.
    after: Duration,
}

impl Crowd {
    /// Lets everybody ask for the file.
    fn open(count: usize) -> io::Result<Self> {
        let open = |_| {
            let mut stream = TcpStream::connect((SERVER, 80))?;
            set_socket_recv_buffer_size(&stream, WINDOW)?;
            stream.write_all(b"GET /file HTTP/1.1\r\nHost: web\r\n\r\n")?;
            stream.set_nonblocking(true)?;
            Ok(One {
                stream,
                received: 0,
                last: Instant::now(),
                before: Duration::ZERO,
                after: Duration::ZERO,
            })
        };
        let clients: Vec<One> = (0..count).map(open).collect::<io::Result<_>>()?;
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (at, one) in clients.iter().enumerate() {
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(&ready, &one.stream, data, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            clients,
            ready,
            received: 0,
            killed: None,
        })
    }

    /// Reads until all together have `bytes`; a client that has its file rests.
    fn read(&mut self, bytes: usize) -> io::Result<()> {
        let mut ready = Vec::with_capacity(self.clients.len());
        while self.received < bytes {
            if epoll::wait(&self.ready, spare_capacity(&mut ready), Some(&PATIENCE))? == 0 {
                let text = "no byte came to anybody for 20 s";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            for event in ready.drain(..) {
                let one = &mut self.clients[event.data.u64() as usize];
                let before = one.received.min(FILE);
                one.read(self.killed)?;
                self.received += one.received.min(FILE) - before;
                if one.received >= FILE {
                    epoll::delete(&self.ready, &one.stream)?;
                }
            }
        }
        Ok(())
    }
}

impl One {
    fn read(&mut self, killed: Option<Instant>) -> io::Result<()> {
        let mut buffer = [0; 32 * 1024];
        let count = self.stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = Instant::now();
        let pause = now - self.last;
        if killed.is_some() {
            self.after = self.after.max(pause);
        } else if self.received > 0 {
            self.before = self.before.max(pause);
        }
        (self.received, self.last) = (self.received + count, now);
        Ok(())
    }
}
