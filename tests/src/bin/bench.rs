// SPDX-License-Identifier: GPL-3.0-only
//! Measures rxl beside its peers, prints a table and writes `out/bench/NAME.json`.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rxl_tests::bench::{failover, fttcp, table, toolstack, write};
use rxl_tests::lab::{Lab, project};

/// Measures rxl beside its peers, in one run and in turns; prints a table and writes out/bench/NAME.json.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// What to measure
    name: Name,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// The logger beside a Linux bridge, in network namespaces (root; about a minute)
    Fttcp,
    /// rxl beside xl, on real Xen in the lab
    Toolstack,
    /// What a client sees of a failover on real Xen in the lab
    Failover,
}

fn main() -> ExitCode {
    let (name, rows) = match Cli::parse().name {
        Name::Fttcp => ("fttcp", fttcp::run()),
        Name::Toolstack => {
            let rows = Lab::up().and_then(|lab| toolstack::run(&lab, &|text| eprintln!("{text}")));
            ("toolstack", rows)
        }
        Name::Failover => {
            let rows = Lab::up().and_then(|lab| failover::run(&lab, &|text| eprintln!("{text}")));
            ("failover", rows)
        }
    };
    let done = rows.and_then(|rows| {
        print!("{}", table(&rows));
        write(&project(), name, &rows)?;
        // A figure without a target is only printed.
        Ok(rows.iter().all(|row| row.met != Some(false)))
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("bench {name}: {message}");
            ExitCode::from(3)
        }
    }
}
