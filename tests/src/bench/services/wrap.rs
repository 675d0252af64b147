// SPDX-License-Identifier: GPL-3.0-only
//! What the north side wrap costs: the kv demo in C (guest-driver/wrap/tests/servers/kv.c) under the wrap as the logger reads it
//! along, beside the same program bare, in turns. Clients are at the loopback interface: the path is short, and what the
//! server itself needs is seen best.
//!
//! The program's own processor time is what the wrap adds to; what a client sees of it is printed, too. Server and clients share
//! one processor: two that wake each other now on one and now on two measure the scheduler.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::bench::{Better, Gate, Row, Runs};
use crate::netns::chain::{compiled, library};
use crate::netns::folder::Folder;

/// How many clients ask at once.
const CROWDS: [usize; 2] = [1, 16];
/// Requests of each client before the clock starts.
const WARM: usize = 200;
/// The most that the wrap may add to the program's processor time.
const MOST: f64 = 1.03;

/// Pairs of runs, and the requests of a run.
struct Extent {
    pairs: usize,
    requests: usize,
}

impl Extent {
    const FULL: Self = Self {
        pairs: 31,
        requests: 20_000,
    };
    const QUICK: Self = Self {
        pairs: 3,
        requests: 2_000,
    };
}

/// Per request, in us.
struct Run {
    processor: f64,
    time: f64,
}

pub(super) fn measure(quick: bool) -> Result<Vec<Row>, String> {
    let extent = if quick { Extent::QUICK } else { Extent::FULL };
    let folder = Folder::new()?;
    let bench = Bench {
        program: compiled(folder.path(), "kv")?,
        library: library()?,
        record: folder.path().join("record"),
        requests: extent.requests,
    };
    let _here = Pinned::to_one()?;
    let mut rows = Vec::new();
    for clients in CROWDS {
        let [mut processor, mut time] = [Runs::default(), Runs::default()];
        for pair in 0..extent.pairs {
            for turn in 0..2 {
                let wrapped = (pair + turn) % 2 == 0;
                let run = bench.run(wrapped, clients)?;
                let side = |runs: &mut Runs, value| {
                    let side = if wrapped {
                        &mut runs.ours
                    } else {
                        &mut runs.peer
                    };
                    side.push(value);
                };
                side(&mut processor, run.processor);
                side(&mut time, run.time);
            }
        }
        let plural = if clients == 1 { "" } else { "s at once" };
        let row = |what: &str, runs| {
            let figure = format!("kv demo under the wrap, {clients} client{plural}, {what}");
            Row::paired(&figure, "us", "bare", runs, Better::Less)
        };
        rows.push(row("processor time for a request", processor).gated(Gate::RatioAtMost(MOST)));
        rows.push(row("time between answers", time));
    }
    Ok(rows)
}

/// This thread, and what it starts, stays on one processor until this is dropped.
struct Pinned(CpuSet);

impl Pinned {
    fn to_one() -> Result<Self, String> {
        let failed = |error| format!("cannot stay on one processor: {error}");
        let all = sched_getaffinity(None).map_err(failed)?;
        let mut one = CpuSet::new();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu));
        one.set(first.unwrap_or(0));
        sched_setaffinity(None, &one).map_err(failed)?;
        Ok(Self(all))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}

struct Bench {
    program: PathBuf,
    library: PathBuf,
    record: PathBuf,
    requests: usize,
}

impl Bench {
    fn run(&self, wrapped: bool, clients: usize) -> Result<Run, String> {
        let failed = |error: std::io::Error| format!("the kv demo: {error}");
        let port = free_port().map_err(failed)?;
        let mut command = Command::new(&self.program);
        if wrapped {
            command
                .env("LD_PRELOAD", &self.library)
                .env("RXL_WRAP", format!("ring:{}", self.record.display()));
        }
        command.arg(port.to_string()).stderr(Stdio::piped());
        let mut server = command.spawn().map_err(failed)?;
        let measured = load(&mut server, port, clients, self.requests).map_err(failed);
        let _ = server.kill();
        server.wait().map_err(failed)?;
        let run = measured?;
        // A library that is not loaded costs nothing.
        if wrapped && !recorded(&self.record, self.requests) {
            return Err("the wrap has recorded less than was asked".to_owned());
        }
        Ok(run)
    }
}

/// Whether the header of this record counts at least so many records.
fn recorded(record: &Path, requests: usize) -> bool {
    let head = fs::read(record).unwrap_or_default();
    let word = head.get(16..).and_then(|rest| rest.first_chunk());
    // Each request is at least read and answered; several may have come after one wait.
    word.is_some_and(|word| u64::from_le_bytes(*word) >= 2 * requests as u64)
}

fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Each client asks and waits for its answer, all at the same time.
fn load(server: &mut Child, port: u16, clients: usize, requests: usize) -> std::io::Result<Run> {
    let said = server.stderr.take().expect("it is piped");
    let mut first = String::new();
    BufReader::new(said).read_line(&mut first)?;
    if first.trim_end() != "listening" {
        return Err(std::io::Error::other(first));
    }
    let connect = |_| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut streams = (0..clients)
        .map(connect)
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut answer = [0; 64];
    let mut ask = |number: usize| -> std::io::Result<()> {
        for (client, stream) in streams.iter_mut().enumerate() {
            let request = match (number + client) % 3 {
                0 => format!("SET k{} v{number}\n", number % 100),
                1 => format!("GET k{}\n", number % 100),
                _ => "ADD n 1\n".to_owned(),
            };
            stream.write_all(request.as_bytes())?;
        }
        for stream in &mut streams {
            if stream.read(&mut answer)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    };
    (0..WARM).try_for_each(&mut ask)?;
    let (before, began) = (processor_us(server.id())?, Instant::now());
    let rounds = requests / clients;
    (0..rounds).try_for_each(&mut ask)?;
    let time = began.elapsed().as_secs_f64() * 1e6;
    let processor = processor_us(server.id())? - before;
    let asked = (rounds * clients) as f64;
    Ok(Run {
        processor: processor / asked,
        time: time / asked,
    })
}

/// Processor time of a process in us: what its scheduler has counted, in ns.
fn processor_us(process: u32) -> std::io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let ns = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    ns.map(|ns| ns / 1e3)
        .ok_or_else(|| std::io::Error::other(format!("schedstat: {text}")))
}
