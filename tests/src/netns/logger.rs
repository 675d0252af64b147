// SPDX-License-Identifier: GPL-3.0-only
//! The logger's daemon in a namespace, and requests to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use fttcp::control::client::Client;
use fttcp::control::{GroupSpec, GroupStatus, Hello, Reply, Request};
use rustix::process::Signal;

use super::process::Running;
use super::space::Space;

/// Environment variable that names the `ftlogger` to use.
pub const FTLOGGER: &str = "RXL_FTLOGGER";

/// Environment variable that chooses the data path, as `ftlogger --datapath` does; without it `ftlogger` chooses.
const DATAPATH: &str = "RXL_DATAPATH";

/// `ftlogger` logs this when it takes requests.
const LISTENING: &str = "listening at";

/// A running `ftlogger`.
#[derive(Debug)]
pub struct Logger {
    process: Running,
    socket: PathBuf,
}

impl Logger {
    /// Starts `ftlogger` in `space`, with more options; its control socket is made in `dir`.
    ///
    /// # Errors
    /// It is not built, or did not start: what it said.
    pub fn start(space: &Space, dir: &Path, options: &[String]) -> Result<Self, String> {
        let socket = dir.join("ftlogger.sock");
        let mut command: Command = space.command(&binary()?.display().to_string());
        command.arg("--socket").arg(&socket).args(options);
        if let Some(kind) = std::env::var_os(DATAPATH) {
            command.arg("--datapath").arg(kind);
        }
        let process = Running::start("ftlogger", command, LISTENING)?;
        Ok(Self { process, socket })
    }

    /// Its process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks it.
    ///
    /// # Errors
    /// It refused, or does not answer.
    pub fn request(&self, request: &Request) -> Result<Reply, String> {
        ask(&self.socket, request)
    }

    /// Starts a group.
    ///
    /// # Errors
    /// It refused, or does not answer.
    pub fn protect(&self, group: GroupSpec) -> Result<(), String> {
        self.request(&Request::Protect { group }).map(drop)
    }

    /// The state of its group `name`.
    ///
    /// # Errors
    /// There is no such group, or it does not answer.
    pub fn status(&self, name: &str) -> Result<GroupStatus, String> {
        self.status_of(name, true)
    }

    fn status_of(&self, name: &str, connections: bool) -> Result<GroupStatus, String> {
        let request = Request::Status {
            group: Some(name.to_owned()),
            connections,
        };
        match self.request(&request)? {
            Reply::Status { mut groups } if groups.len() == 1 => Ok(groups.remove(0)),
            other => Err(format!("no status of {name}: {other:?}")),
        }
    }

    /// The state of its group `name`, without its connections: cheap, however many there are.
    ///
    /// # Errors
    /// There is no such group, or it does not answer.
    pub fn totals(&self, name: &str) -> Result<GroupStatus, String> {
        self.status_of(name, false)
    }

    /// Its introduction.
    ///
    /// # Errors
    /// It does not answer.
    pub fn hello(&self) -> Result<Hello, String> {
        match self.request(&Request::Hello)? {
            Reply::Hello(hello) => Ok(hello),
            other => Err(format!("no hello: {other:?}")),
        }
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills its process as the kernel would; its log up to then.
    ///
    /// # Errors
    /// It has ended already.
    pub fn kill(mut self) -> Result<String, String> {
        self.process.signal(Signal::KILL)?;
        self.process.wait()?;
        Ok(self.log())
    }

    /// Ends it as an operator would; its log after that.
    ///
    /// # Errors
    /// It did not end with success.
    pub fn stop(mut self) -> Result<String, String> {
        self.process.signal(Signal::TERM)?;
        let status = self.process.wait()?;
        if status.success() {
            Ok(self.log())
        } else {
            Err(format!("ftlogger ended with {status}:\n{}", self.log()))
        }
    }
}

/// Asks the logger that listens at `socket`.
///
/// # Errors
/// It refused, or does not answer.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, String> {
    Client::connect(socket)
        .and_then(|mut client| client.request(request))
        .map_err(|error| error.to_string())
}

/// The `ftlogger` to test: the one that the environment names, or the release build in the target folder of this test, or
/// the one beside this program, where both are installed.
///
/// # Errors
/// There is none; how to build it.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(FTLOGGER) {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    // target/PROFILE/NAME, or target/PROFILE/deps/NAME for a test.
    let targets = own.ancestors().skip(2).take(2);
    let mut candidates = targets
        .map(|target| target.join("release/ftlogger"))
        .chain([own.with_file_name("ftlogger")]);
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "no release/ftlogger in the target folder of {}, nor one beside it; build it: cargo build --release -p fttcp \
             (or name one in {FTLOGGER})",
            own.display()
        )
    })
}
