// SPDX-License-Identifier: GPL-3.0-only
//! What the tests share: a server under the wrap, clients from ports of their choice, the record's header.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod agent;
pub(crate) mod chain;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn library() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let library = test.with_file_name("librxl_wrap.so");
    assert!(library.exists(), "{} was not built", library.display());
    library
}

/// A folder for one test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

pub(crate) fn wrapped(mut command: Command, wrap: Option<&str>) -> Command {
    if let Some(wrap) = wrap {
        command.env("LD_PRELOAD", library()).env("RXL_WRAP", wrap);
    }
    command
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/servers")
        .join(name)
}

pub(crate) fn compiled(name: &str, folder: &Path) -> PathBuf {
    let program = folder.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-D_FORTIFY_SOURCE=2", "-pthread", "-w", "-o"])
        .arg(&program);
    let done = cc
        .arg(source(&format!("{name}.c")))
        .status()
        .expect("cc runs");
    assert!(done.success(), "cc: {done}");
    program
}

/// The interpreter itself: `python3` may be a script that would be wrapped in its place.
pub(crate) fn python(server: &str) -> Command {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    let told = String::from_utf8(asked.expect("python3 runs").stdout).expect("text");
    let mut python = Command::new(told.trim());
    python.arg(source(server));
    python
}

/// A number that no other test of this process has got.
fn number() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A port to listen at, below those that the kernel gives to connections: nobody takes it before the server does.
pub(crate) fn free_port() -> u16 {
    let start = std::process::id() % 20_000;
    let mut ports = std::iter::repeat_with(|| (start + u32::from(number())) % 20_000 + 10_000);
    let free = ports.find_map(|port| {
        let port = u16::try_from(port).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some(port)
    });
    free.expect("there is always one more")
}

/// Where a client comes from, the same in each run: an address of this process's own, so that the port is free.
pub(crate) fn own_address() -> SocketAddrV4 {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, a | 64, b, c), 20_000 + number())
}

/// A server that is killed when the test is done with it.
pub(crate) struct Server {
    child: Child,
    port: u16,
    /// Gives what it says on standard error once it is ready, when it has ended.
    said: Option<JoinHandle<Vec<String>>>,
}

impl Server {
    /// Starts a server that takes its port as its last argument.
    pub(crate) fn start(mut command: Command, wrap: Option<&str>) -> Self {
        let port = free_port();
        command.arg(port.to_string());
        Self::start_at(port, command, wrap, "listening")
    }

    /// Starts a server that listens at `port` when it says a line with `ready` on standard error.
    pub(crate) fn start_at(port: u16, command: Command, wrap: Option<&str>, ready: &str) -> Self {
        let mut command = wrapped(command, wrap);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = lines.by_ref().map_while(Result::ok);
        assert!(
            said.any(|line| line.contains(ready)),
            "it ended before it was ready"
        );
        let said = std::thread::spawn(move || lines.map_while(Result::ok).collect());
        Self {
            child,
            port,
            said: Some(said),
        }
    }

    /// Starts a server that takes its port as its last argument and does not say when it is ready: asks `ready` every few
    /// milliseconds.
    pub(crate) fn start_unready(
        mut command: Command,
        wrap: Option<&str>,
        ready: impl Fn() -> bool,
    ) -> Self {
        let port = free_port();
        command.arg(port.to_string());
        let child = wrapped(command, wrap).spawn().expect("it starts");
        let mut server = Self {
            child,
            port,
            said: None,
        };
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < PATIENCE, "it is not ready");
            let ended = server.child.try_wait().expect("it is a child");
            assert_eq!(ended, None, "it ended before it was ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        server
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child");
    }

    /// A client that comes from this address: that is how the replay knows it again.
    pub(crate) fn connect(&self, from: SocketAddrV4) -> TcpStream {
        self.try_connect(from).expect("it listens")
    }

    /// As [`Self::connect`], again and again until somebody listens, as the logger does.
    pub(crate) fn connect_at_last(&self, from: SocketAddrV4) -> TcpStream {
        let start = Instant::now();
        loop {
            match self.try_connect(from) {
                Err(Errno::CONNREFUSED) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                connected => return connected.expect("it listens"),
            }
        }
    }

    fn try_connect(&self, from: SocketAddrV4) -> Result<TcpStream, Errno> {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("an option");
        bind(&socket, &from).expect("the port is free");
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port))?;
        Ok(socket.into())
    }
}

impl Server {
    /// Waits for its end; its exit code, and what it has said on standard error.
    pub(crate) fn wait(&mut self) -> (Option<i32>, Vec<String>) {
        let code = self.child.wait().expect("it is a child").code();
        let said = self.said.take().map(|said| said.join().expect("lines"));
        (code, said.unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let (_, said) = self.wait();
        said.iter().for_each(|line| eprintln!("{line}"));
    }
}

pub(crate) fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).expect("it answers");
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("text")
}

/// The words of the record's header: bytes, records, system calls, whether it was given up.
pub(crate) fn header(record: &Path) -> [u64; 4] {
    let bytes = fs::read(record).expect("a record");
    let word = |at: usize| u64::from_le_bytes(*bytes[at * 8..].first_chunk().expect("a header"));
    assert_eq!(&bytes[..8], b"rxlwrap2");
    [word(1), word(2), word(3), word(4)]
}
