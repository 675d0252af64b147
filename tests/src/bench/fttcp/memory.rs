// SPDX-License-Identifier: GPL-3.0-only
//! What idle connections cost the logger. Each has asked for a page of 1 KiB and got it, and then nothing is said.
//!
//! Counted are the pages that the process alone has: anonymous and shared memory (RssAnon and RssShmem of proc(5), read
//! as sums from smaps_rollup, which is exact). Pages of the program's file are shared with every other process that
//! runs it, and can be dropped. What the kernel keeps for the fast path is not the process's and is told apart.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use fttcp::control::GroupSpec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::house::{Peer, WEB, service};
use super::plan::Plan;
use crate::bench::{Gate, Row};
use crate::netns::layout::Layout;
use crate::netns::process::Running;
use crate::netns::space::Space;
use crate::netns::topology::{GROUP, Middle, SERVER, Topology};

/// Nothing has been said for so long when memory is read: twice as long as it takes until the logger counts a connection
/// as idle.
const QUIET: Duration = Duration::from_secs(10);
/// Connections of the second figure.
const FEW: usize = 100;
/// The paper's bound for the logger, in KB.
pub(in crate::bench) const PAPER: f64 = 750.0;

/// What the server says when it listens.
const HOLDING: &str = "holding";
const REQUEST: &[u8] = b"GET /page HTTP/1.1\r\nHost: web\r\nUser-Agent: bench\r\n\r\n";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n";
const BODY: [u8; 1024] = [b'x'; 1024];

/// Measures both data paths.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Row>, String> {
    let _files = Files::allow_all();
    let mut rows = Vec::new();
    for peer in [Peer::Fast, Peer::Packet] {
        let measured = once(peer, plan.idle);
        rows.extend(measured.map_err(|error| format!("{}: {error}", peer.name()))?);
    }
    Ok(rows)
}

fn once(peer: Peer, idle: usize) -> Result<Vec<Row>, String> {
    let topology = Topology::build(Layout {
        middle: Middle::Protected,
        group: Some(GroupSpec {
            services: vec![service(WEB)],
            ..GroupSpec::default()
        }),
        logger: peer.options("256M"),
        ..Layout::default()
    })?;
    topology
        .client()
        .sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
    let _holder = holder(topology.servers()[0])?;
    let mut clients = Vec::new();
    let mut own = |count: usize| -> Result<f64, String> {
        let more = count - clients.len();
        let opened = topology.client().enter(move || open(more))?;
        clients.extend(opened.map_err(|error| format!("a client broke off: {error}"))?);
        std::thread::sleep(QUIET);
        let logger = topology.logger()?;
        let protected = logger.totals(GROUP)?.counters.protected;
        if protected != count as u64 {
            return Err(format!(
                "{protected} of {count} idle connections are protected"
            ));
        }
        own_bytes(logger.process_id())
    };
    let start = own(0)?;
    let [one, few, many] = [own(1)?, own(FEW)?, own(idle)?];
    let kernel = map_bytes(topology.logger()?.process_id())?;
    let name = peer.name();
    let gated = |row: Row, gate| {
        // The promise is the default data path's.
        if peer == Peer::Fast {
            row.gated(gate)
        } else {
            row
        }
    };
    let above = |count: usize, bytes: f64| {
        let figure = format!("memory above start, {count} idle: {name}");
        gated(
            Row::alone(&figure, "KB", (bytes - start) / 1e3),
            Gate::AtMost(PAPER),
        )
    };
    let each = (many - few) / (idle - FEW) as f64;
    let figure = format!("memory, each further idle to {idle}: {name}");
    let mut rows = vec![
        Row::alone(&format!("memory at start: {name}"), "KB", start / 1e3),
        above(1, one),
        above(FEW, few),
        gated(Row::alone(&figure, "B", each), Gate::AtMost(512.0)),
    ];
    if kernel > 0.0 {
        let figure = format!("kernel memory of its maps, {idle} idle: {name}");
        rows.push(Row::alone(&figure, "KB", kernel / 1e3));
    }
    Ok(rows)
}

/// Bytes that the process has alone.
pub(in crate::bench) fn own_bytes(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let field = |name: &str| field(&text, name).ok_or_else(|| format!("{path} has no {name}"));
    Ok((field("Pss_Anon:")? + field("Pss_Shmem:")?) * 1024.0)
}

/// Bytes of the kernel's memory in the BPF maps that the process has open.
fn map_bytes(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/fdinfo");
    let entries = fs::read_dir(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut maps = std::collections::BTreeMap::new();
    for entry in entries.flatten() {
        // A descriptor may be closed before it is read.
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if let (Some(id), Some(bytes)) = (field(&text, "map_id:"), field(&text, "memlock:")) {
            maps.insert(id as u64, bytes);
        }
    }
    Ok(maps.values().sum())
}

/// The number behind `name` in one of the kernel's tables.
fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Connections that have asked for the page and got it.
fn open(count: usize) -> io::Result<Vec<TcpStream>> {
    let mut answer = vec![0; HEAD.len() + BODY.len()];
    let open = |_| {
        let mut stream = TcpStream::connect((SERVER, WEB))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(REQUEST)?;
        stream.read_exact(&mut answer)?;
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// A server that answers each connection once and then keeps it, until it is killed. It is a process of its own, because
/// client and server together have more files open than one process may.
///
/// # Errors
/// It cannot listen, or a connection broke.
pub fn hold() -> io::Result<()> {
    let listener = TcpListener::bind((SERVER, WEB))?;
    let _files = Files::allow_all();
    eprintln!("{HOLDING}");
    let mut held = Vec::new();
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.read_exact(&mut [0; REQUEST.len()])?;
        stream.write_all(&[HEAD, &BODY].concat())?;
        held.push(stream);
    }
}

fn holder(server: &Space) -> Result<Running, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = server.command(&own.display().to_string());
    command.arg("hold");
    Running::start("bench hold", command, HOLDING)
}

/// How many files this process may have open, until this is dropped.
#[derive(Debug)]
struct Files(Rlimit);

impl Files {
    /// As many as an ordinary process can have.
    fn allow_all() -> Self {
        let before = getrlimit(Resource::Nofile);
        let all = Rlimit {
            current: before.maximum,
            ..before
        };
        // If even that is refused, opening too many says so.
        let _ = setrlimit(Resource::Nofile, all);
        Self(before)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // With fewer files open than before, nobody misses it.
        let _ = setrlimit(Resource::Nofile, self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_bytes_grow_with_what_is_allocated() {
        let before = own_bytes(std::process::id()).unwrap();
        // Opaque to the compiler, which would leave out what only its length is asked of.
        let more = std::hint::black_box(vec![1_u8; 16 << 20]);
        let after = own_bytes(std::process::id()).unwrap();
        assert!(after - before > 15e6, "{before} {after} {}", more.len());
    }

    #[test]
    fn field_takes_the_number_of_its_own_line() {
        let text = "Pss:  3 kB\nPss_Anon:       112 kB\n";
        assert_eq!(field(text, "Pss_Anon:"), Some(112.0));
        assert_eq!(field(text, "Pss_Shmem:"), None);
    }
}
