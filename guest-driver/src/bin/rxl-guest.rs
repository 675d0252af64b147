// SPDX-License-Identifier: GPL-3.0-only
//! The `rxl-guest` binary: the agent in a service VM.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rxl_guest::probe::Probe;
use rxl_guest::{Options, check, run, serve_commits, wrap};

/// Agent in a service VM: tells Dom0 that this guest and its service live, and carries out orders of `rxl guest`.
///
/// It talks to Dom0 through xenstore only. It needs root (CAP_SYS_ADMIN, CAP_SYS_TIME), writes one line per order to standard
/// error, and stops at SIGTERM or SIGINT; file systems that it has frozen are thawed then.
///
/// Exit codes: 0 stopped as asked, 2 wrong usage, 3 failure.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// From one heartbeat to the next, in ms.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    interval: u64,
    /// How the service is asked whether it works: none, file:/PATH, greet:PORT or http:PORT[/PATH].
    #[arg(long, value_name = "PROBE", default_value = "none")]
    probe: Probe,
    /// Socket for a program under the north side wrap (RXL_WRAP=agent:PATH).
    ///
    /// Whoever connects, one program at a time, gets memory for its record that is granted to the logger's domain. This needs
    /// the modules xen-gntalloc and xen-evtchn; without them the program is refused and says why. Only root may
    /// connect: a service under the wrap is started as root.
    #[arg(long, value_name = "PATH", default_value = "/run/rxl/wrap.sock")]
    wrap_socket: PathBuf,
    /// Network interface of this guest whose back-end's domain has the logger: N as in device/vif/N.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wrap_vif: u32,
    /// Only bring data to disk when a logger on this host asks for it at this socket; without Xen.
    ///
    /// For services in containers and namespaces: "commit" of an ftlogger group names the socket. Only root may connect.
    #[arg(long, value_name = "PATH", conflicts_with = "check")]
    commit_socket: Option<PathBuf>,
    /// Only look whether the agent could run here.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let commits = arguments.commit_socket;
    let options = Options {
        interval: Duration::from_millis(arguments.interval),
        probe: arguments.probe,
        wrap: wrap::Options {
            socket: arguments.wrap_socket,
            vif: arguments.wrap_vif,
        },
    };
    let outcome = if let Some(path) = commits {
        serve_commits(&path)
    } else if arguments.check {
        check(&options).map(|text| println!("{text}"))
    } else {
        run(&options)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rxl-guest: {error}");
            ExitCode::from(error.code.exit())
        }
    }
}
