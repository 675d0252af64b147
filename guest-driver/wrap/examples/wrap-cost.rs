// SPDX-License-Identifier: GPL-3.0-only
//! What the north side wrap costs: the kv server with one client that asks and waits, and with sixteen, in turns bare, under the
//! wrap by itself (`record`), and as the logger reads along (`ring`), which keeps what was read, too.
//!
//! `cargo run --release -p rxl-wrap --example wrap-cost [ROUNDS [REQUESTS]]`. Prints medians over the rounds: the server's
//! processor time and the time of the run, for each request; then the record's counts. With strace installed, the
//! server's system calls as the kernel counts them.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Requests before the clock starts.
const WARM: usize = 200;

struct Run {
    /// Per request, in us.
    cpu: f64,
    time: f64,
}

struct Bench {
    program: PathBuf,
    library: PathBuf,
    record: PathBuf,
    requests: usize,
}

/// Clients that ask at once.
const CROWD: usize = 16;

impl Bench {
    fn new(requests: usize) -> Outcome<Self> {
        // In memory, as /run is, where records are to be kept.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let folder = base.join(format!("rxl-wrap-cost-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let program = folder.join("kv");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/kv.c");
        let mut cc = Command::new("cc");
        let built = cc
            .args(["-O2", "-w", "-o"])
            .arg(&program)
            .arg(source)
            .status()?;
        if !built.success() {
            return Err("cc failed".into());
        }
        // This program is in target/PROFILE/examples, the library one above.
        let here = std::env::current_exe()?;
        let above = here.ancestors().nth(2).ok_or("no target folder")?;
        let record = folder.join("record");
        Ok(Self {
            program,
            library: above.join("librxl_wrap.so"),
            record,
            requests,
        })
    }

    fn command(&self, wrap: Option<&str>, under: &[&str]) -> Command {
        let mut words: Vec<&str> = under.to_vec();
        let program = self.program.to_string_lossy();
        words.push(&program);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        if let Some(how) = wrap {
            let record = format!("{how}:{}", self.record.display());
            command
                .env("LD_PRELOAD", &self.library)
                .env("RXL_WRAP", record);
        }
        command
    }

    fn run(&self, mut command: Command, clients: usize) -> Outcome<Run> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut server = command
            .arg(port.to_string())
            .stderr(Stdio::piped())
            .spawn()?;
        let measured = load(&mut server, port, clients, self.requests);
        server.kill()?;
        server.wait()?;
        measured
    }

    /// The server's system calls for so many requests, as strace counts them.
    fn calls(&self, wrapped: bool, requests: usize) -> Outcome<u64> {
        let counts = self.record.with_extension("strace");
        let file = counts.to_string_lossy();
        // Signals end the traced program, and strace then writes its table: the server is asked to end, not strace.
        let command = self.command(
            None,
            &["strace", "-f", "-c", "-U", "calls,name", "-o", &file],
        );
        let mut command = command;
        if wrapped {
            let record = format!("RXL_WRAP=ring:{}", self.record.display());
            command = Command::new("strace");
            command.args(["-c", "-U", "calls,name", "-o", &file, "-E", &record, "-E"]);
            command
                .arg(format!("LD_PRELOAD={}", self.library.display()))
                .arg(&self.program);
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut tracer = command
            .arg(port.to_string())
            .stderr(Stdio::piped())
            .spawn()?;
        let outcome = load(&mut tracer, port, 1, requests);
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", tracer.id()))?;
        for child in children.split_whitespace() {
            Command::new("kill").args(["-TERM", child]).status()?;
        }
        tracer.wait()?;
        outcome?;
        let table = fs::read_to_string(&counts)?;
        let total = table
            .lines()
            .find(|line| line.ends_with(" total"))
            .ok_or("no total")?;
        Ok(total
            .split_whitespace()
            .next()
            .ok_or("no number")?
            .parse()?)
    }
}

/// Each of so many clients asks and waits for its answer, all at the same time.
fn load(server: &mut Child, port: u16, clients: usize, requests: usize) -> Outcome<Run> {
    let mut lines = BufReader::new(server.stderr.take().ok_or("no stderr")?).lines();
    let first = lines.next().ok_or("it ended")??;
    if first != "listening" {
        return Err(first.into());
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
    let mut ask = |number: usize| -> Outcome<()> {
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
                return Err("the server closed".into());
            }
        }
        Ok(())
    };
    (0..WARM).try_for_each(&mut ask)?;
    let (cpu, began) = (cpu_us(server.id())?, Instant::now());
    (0..requests / clients).try_for_each(&mut ask)?;
    let time = began.elapsed().as_secs_f64() * 1e6;
    let per = |us: f64| us / (requests / clients * clients) as f64;
    Ok(Run {
        cpu: per(cpu_us(server.id())? - cpu),
        time: per(time),
    })
}

/// Processor time of a process in us: what its scheduler has counted, in ns.
fn cpu_us(pid: u32) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let ns: f64 = text.split_whitespace().next().ok_or("no number")?.parse()?;
    Ok(ns / 1e3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The ways to run it.
const WAYS: [Option<&str>; 3] = [None, Some("record"), Some("ring")];

fn compare(bench: &Bench, rounds: usize, clients: usize) -> Outcome<()> {
    let mut runs: [Vec<Run>; 3] = Default::default();
    for turn in 0..rounds * WAYS.len() {
        // In turns, and each first in every third round.
        let way = (turn + turn / WAYS.len()) % WAYS.len();
        runs[way].push(bench.run(bench.command(WAYS[way], &[]), clients)?);
    }
    println!(
        "{clients} client{}:",
        if clients == 1 { "" } else { "s at once" }
    );
    let each = |of: fn(&Run) -> f64| {
        runs.each_ref()
            .map(|runs| median(runs.iter().map(of).collect()))
    };
    for (what, [bare, record, ring]) in [
        ("server's processor time", each(|r| r.cpu)),
        ("time of the run", each(|r| r.time)),
    ] {
        let more = |wrapped: f64| (wrapped / bare - 1.0) * 100.0;
        println!(
            "  {what:<24} bare {bare:7.3} us, record {record:7.3} us ({:+.1} %), ring {ring:7.3} us ({:+.1} %) per request",
            more(record),
            more(ring)
        );
    }
    // The record that is looked at is that of the ring.
    bench.run(bench.command(Some("ring"), &[]), clients)?;
    let head = fs::read(&bench.record)?;
    let word = |at: usize| {
        head[at * 8..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let requests = (bench.requests / clients * clients + WARM * clients) as f64;
    println!(
        "  ring: {:.2} records and {:.1} bytes per request; {} system calls more in {requests} requests",
        word(2) as f64 / requests,
        word(1) as f64 / requests,
        word(3)
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let rounds = numbers.next().transpose()?.unwrap_or(15);
    let bench = Bench::new(numbers.next().transpose()?.unwrap_or(20_000))?;
    for clients in [1, CROWD] {
        compare(&bench, rounds, clients)?;
    }
    let few = 1000;
    match (
        bench.calls(false, few),
        bench.calls(true, few),
        bench.calls(true, 2 * few),
    ) {
        (Ok(bare), Ok(wrapped), Ok(twice)) => println!(
            "strace: {bare} system calls bare, {wrapped} wrapped for {few} requests; {:.3} for each further request",
            (twice - wrapped) as f64 / few as f64
        ),
        (bare, ..) => println!(
            "strace: not counted ({})",
            bare.err().map_or("wrapped".into(), |e| e.to_string())
        ),
    }
    fs::remove_dir_all(bench.record.parent().ok_or("no folder")?)?;
    Ok(())
}
