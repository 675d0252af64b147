// SPDX-License-Identifier: GPL-3.0-only
//! The `rxl-guest` binary: the agent in a service VM.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rxl_guest::probe::Probe;
use rxl_guest::{Options, check, run};

/// Agent in a service VM: tells Dom0 that this guest and its service live, and carries out orders of `rxl guest`.
///
/// It talks through xenstore only. It needs root (CAP_SYS_ADMIN, CAP_SYS_TIME), writes one line per order to standard
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
    /// Only look whether the agent could run here.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        interval: Duration::from_millis(arguments.interval),
        probe: arguments.probe,
    };
    let outcome = if arguments.check {
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
