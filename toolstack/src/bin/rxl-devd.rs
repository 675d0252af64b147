// SPDX-License-Identifier: GPL-3.0-only
//! The `rxl-devd` binary: the daemon of a driver domain.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use toolstack::devd;

/// Daemon of a driver domain: plugs network back-ends, carries Dom0's requests to ftlogger.
///
/// It runs in the domain that serves other domains' network interfaces (backend= in their configuration). It also tells ftlogger
/// where these domains keep the records of wrapped programs (data/rxl/wrap in their xenstore directories). It writes one line per
/// event to standard error, and stops at SIGTERM or SIGINT.
///
/// Exit codes: 0 stopped as asked, 2 wrong usage, 3 failure.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where ftlogger listens in this domain.
    #[arg(long, value_name = "PATH", default_value = fttcp::control::SOCKET)]
    socket: PathBuf,
    /// Only look whether the daemon could run here.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.check {
        devd::check(&options.socket).map(|text| println!("{text}"))
    } else {
        devd::run(&options.socket)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rxl-devd: {error}");
            ExitCode::from(error.code.exit())
        }
    }
}
