// SPDX-License-Identifier: GPL-3.0-only
//! The `rxld` binary: the supervisor of a host.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use toolstack::error::{Code, Error, Result};
use toolstack::supervise::backend::{Backend, XenBackend};
use toolstack::supervise::daemon::{Daemon, Settings};

/// Where the detached daemon writes what it does.
const LOG: &str = "/var/log/xen/rxld.log";

/// What the detached daemon says on its standard output when it serves.
const READY: &str = "ready";

/// Supervisor of a Xen host: acts on the end of domains, fails service groups over.
///
/// One runs per host; `rxl` starts it when it needs it. It goes to the background and returns when it serves; it then
/// writes to /var/log/xen/rxld.log and stops at SIGTERM. Domains and groups survive its restart.
///
/// Exit codes: 0 it serves (or, with --foreground, it was stopped), 2 wrong usage, 3 failure.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Stay in the foreground and log to standard error.
    #[arg(long)]
    foreground: bool,
    /// The detached daemon itself: says on standard output when it serves.
    #[arg(long, hide = true, conflicts_with = "foreground")]
    detached: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.foreground {
        run(|| Ok(()))
    } else if options.detached {
        detached()
    } else {
        launch()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rxld: {error}");
            ExitCode::from(error.code.exit())
        }
    }
}

/// Serves until a signal says stop; calls `ready` once clients can connect.
fn run(ready: impl FnOnce() -> io::Result<()>) -> Result<()> {
    let cannot = |error| Error::new(Code::System, "start the supervisor", "rxld", error);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(cannot)?;
    let backend: Arc<dyn Backend> = Arc::new(XenBackend);
    let daemon = Daemon::start(Settings::default(), &backend)?;
    let stopper = daemon.stopper();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });
    ready().map_err(cannot)?;
    daemon.join()
}

/// The daemon in the background: a session of its own, so that no terminal's end reaches it.
fn detached() -> Result<()> {
    let outcome = rustix::process::setsid()
        .map_err(|error| Error::new(Code::System, "leave the session", "rxld", error))
        .and_then(|_| run(|| writeln!(io::stdout(), "{READY}")));
    if let Err(Ok(words)) = outcome.as_ref().map_err(serde_json::to_string) {
        // For the launcher, if it still waits; the log has it too.
        let _ = writeln!(io::stdout(), "{words}");
    }
    outcome
}

/// Starts the daemon in the background and returns when it serves, or says why it does not.
fn launch() -> Result<()> {
    let op = "start the supervisor";
    let cannot = |error: io::Error| Error::new(Code::System, op, "rxld", error);
    let program = std::env::current_exe().map_err(cannot)?;
    let mut child = Command::new(program)
        .arg("--detached")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(
            log(Path::new(LOG))
                .map_err(|error| Error::new(Code::System, "write the log", LOG, error))?,
        )
        .spawn()
        .map_err(cannot)?;
    let pipe = child
        .stdout
        .take()
        .into_iter()
        .flat_map(|pipe| BufReader::new(pipe).lines());
    for line in pipe {
        let line = line.map_err(cannot)?;
        if line == READY {
            return Ok(());
        }
        if let Ok(error) = serde_json::from_str(&line) {
            return Err(error);
        }
    }
    let status = child.wait().map_err(cannot)?;
    let cause = format!("it ended with {status}");
    Err(Error::new(Code::System, op, "rxld", cause).hint(format!("see {LOG}")))
}

fn log(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
