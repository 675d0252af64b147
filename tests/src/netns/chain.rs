// SPDX-License-Identifier: GPL-3.0-only
//! Servers whose every answer depends on the time, on randomness, on their pid and on all that they have ever said (sources:
//! guest-driver/wrap/tests/servers/chain.*), under the north side wrap or without it; and what clients of them collect.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Running;
use super::service::listens;
use super::space::Space;
use super::topology::SERVER;

/// Where it listens.
pub const PORT: u16 = 7100;

/// What a first answer is about: FNV-1a of nothing.
const BEGIN: u64 = 0xcbf2_9ce4_8422_2325;

/// Environment variable that names the wrap's library to use.
const WRAP: &str = "RXL_WRAP_LIBRARY";

/// The language in which the server is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C: epoll, connections that block.
    C,
    /// Python: asyncio.
    Python,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Written in which language.
    pub language: Language,
    /// Under the wrap.
    pub wrapped: bool,
    /// Longest record in bytes, if it is to be shorter than usual.
    pub limit: Option<u32>,
}

impl Chain {
    /// Where the servers' records are, as the logger is told; `None`: they have none.
    #[must_use]
    pub fn records(&self, folder: &Path) -> Option<String> {
        let path = || folder.join("{}.record").display().to_string();
        self.wrapped.then(path)
    }

    /// Starts it in `space`, behind the interface `vif`: the first server at once, another as a standby that waits.
    pub(super) fn start(&self, space: &Space, folder: &Path, vif: &str) -> Result<Running, String> {
        let first = vif == "vif1";
        let record = folder.join(format!("{vif}.record"));
        let mut command = space.command("env");
        if self.wrapped {
            let how = if first { "ring" } else { "standby" };
            // `ip netns exec` is not to be wrapped.
            command
                .arg(format!("LD_PRELOAD={}", library()?.display()))
                .arg(format!("RXL_WRAP={how}:{}", record.display()));
        }
        if let Some(limit) = self.limit {
            command.arg(format!("RXL_WRAP_MAX={limit}"));
        }
        match self.language {
            Language::C => command.arg(compiled(folder, "chain")?),
            Language::Python => command.arg(interpreter()?).arg(source("chain.py")),
        };
        command.arg(PORT.to_string());
        let _ = fs::remove_file(&record);
        Running::probe("chain", command, || {
            if self.wrapped && !first {
                waits(&record)
            } else {
                listens(space, PORT)
            }
        })
    }
}

/// Whether a standby waits for its record: the word of its header that says so.
fn waits(record: &Path) -> bool {
    let header = fs::read(record).unwrap_or_default();
    header.starts_with(b"rxlwrap2") && header.get(56) == Some(&1)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guest-driver/wrap/tests/servers")
        .join(name)
}

/// The server of this name, compiled into `folder`.
pub(crate) fn compiled(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let program = folder.join(name);
    if !program.exists() {
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-w", "-o"]).arg(&program);
        let done = cc.arg(source(&format!("{name}.c"))).status();
        if !done
            .map_err(|error| format!("cannot run cc: {error}"))?
            .success()
        {
            return Err("cc failed".to_owned());
        }
    }
    Ok(program)
}

/// The interpreter itself: `python3` may be a script that would be wrapped in its place.
fn interpreter() -> Result<String, String> {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .map_err(|error| format!("cannot run python3: {error}"))?;
    Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

/// The wrap's library: the one that the environment names, or the one in the target folder of this test.
pub(crate) fn library() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(WRAP) {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    // A test's build renews only the latter.
    let names = ["release/deps/librxl_wrap.so", "release/librxl_wrap.so"];
    let targets = own.ancestors().skip(2).take(2);
    let mut candidates = targets.flat_map(|target| names.map(|name| target.join(name)));
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "no release/librxl_wrap.so in the target folder of {}; build it: cargo build --release -p rxl-wrap (or name \
             one in {WRAP})",
            own.display()
        )
    })
}

/// A client's connection.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects from the namespace `space`.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn connect(space: &Space) -> Result<Self, String> {
        let stream = space
            .enter(|| TcpStream::connect((SERVER, PORT)))?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| format!("cannot connect: {error}"))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a line.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn say(&mut self, line: &str) -> Result<(), String> {
        let line = format!("{line}\n");
        let said = self.0.get_mut().write_all(line.as_bytes());
        said.map_err(|error| format!("cannot send: {error}"))
    }

    /// Ends the connection by a reset.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn reset(self) -> Result<(), String> {
        let lingers =
            rustix::net::sockopt::set_socket_linger(self.0.get_ref(), Some(Duration::ZERO));
        lingers.map_err(|error| format!("cannot reset: {error}"))
    }

    /// Takes the next answer.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => Ok(line),
            Ok(_) => Err(format!("the connection ended after {line:?}")),
            Err(error) => Err(format!("cannot read: {error}")),
        }
    }
}

/// All answers that clients have got, of all connections.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<u64, String>);

impl Answers {
    /// Takes one in.
    ///
    /// # Errors
    /// It is not an answer, or has the number of another.
    pub fn add(&mut self, line: String) -> Result<(), String> {
        let number = line
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| format!("not an answer: {line:?}"))?;
        match self.0.insert(number, line) {
            None => Ok(()),
            Some(old) => Err(format!("number {number} came twice: {old:?}")),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many processes have answered.
    #[must_use]
    pub fn processes(&self) -> usize {
        let pids = self.0.values().filter_map(|line| {
            let pid = line.split(" pid=").nth(1)?;
            pid.split(' ').next()
        });
        pids.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Whether each answer was given by somebody who remembers having given all those before it, byte for byte.
    ///
    /// # Errors
    /// The first that was not, or that is missing.
    pub fn check(&self) -> Result<(), String> {
        let mut chain = BEGIN;
        for (expected, (number, line)) in (0..).zip(&self.0) {
            if *number != expected {
                return Err(format!("answer {expected} is missing"));
            }
            if !line.contains(&format!(" chain={chain:016x} ")) {
                return Err(format!("{chain:016x} was said before this: {line:?}"));
            }
            for byte in line.bytes() {
                chain = (chain ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Ok(())
    }
}
