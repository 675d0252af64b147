// SPDX-License-Identifier: GPL-3.0-only
//! Measures rxl beside its peers, prints a table and writes `out/bench/NAME.json`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rxl_tests::bench::{Options, Row, docs, failover, fttcp, services, table, toolstack, write};
use rxl_tests::lab::{Lab, project};

/// Measures rxl beside its peers, in one run and in turns; prints a table and writes out/bench/NAME.json.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// What to measure
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The logger beside a Linux bridge and HAProxy, in network namespaces (root; about ten minutes)
    Fttcp {
        /// Only see whether everything works: short runs, no verdicts (about a minute)
        #[arg(long)]
        quick: bool,
        /// Measure one section only
        #[arg(long, value_name = "SECTION")]
        only: Option<fttcp::Section>,
        /// Put the table into docs/specification.md
        #[arg(long, conflicts_with_all = ["quick", "only"])]
        docs: bool,
    },
    /// Services behind the logger beside the same services behind a Linux bridge, in network namespaces (root; about
    /// six minutes), and on real Xen in the lab
    Services {
        /// Only see whether everything works: short runs, no verdicts (about a minute)
        #[arg(long)]
        quick: bool,
        /// Measure one section only
        #[arg(long, value_name = "SECTION")]
        only: Option<services::Section>,
        /// Put the table into docs/specification.md
        #[arg(long, conflicts_with_all = ["quick", "only"])]
        docs: bool,
    },
    /// rxl beside xl, on real Xen in the lab
    Toolstack,
    /// What a client sees of a failover on real Xen in the lab
    Failover,
    /// Serve the idle connections of fttcp
    #[command(hide = true)]
    Hold,
}

impl What {
    /// The results' name, and the results.
    fn measure(&self, say: &dyn Fn(&str)) -> (String, Result<Vec<Row>, String>) {
        match *self {
            Self::Fttcp { quick, only, .. } => {
                let options = Options { quick, only };
                (options.name("fttcp"), Ok(fttcp::run(options, say)))
            }
            Self::Services { quick, only, .. } => {
                let options = Options { quick, only };
                (options.name("services"), Ok(services::run(options, say)))
            }
            Self::Toolstack => {
                let rows = Lab::up().and_then(|lab| toolstack::run(&lab, say));
                ("toolstack".to_owned(), rows)
            }
            Self::Failover => {
                let rows = Lab::up().and_then(|lab| failover::run(&lab, say));
                ("failover".to_owned(), rows)
            }
            Self::Hold => {
                let ended = fttcp::hold().map(|()| Vec::new());
                ("hold".to_owned(), ended.map_err(|error| error.to_string()))
            }
        }
    }
}

fn main() -> ExitCode {
    let what = Cli::parse().what;
    let (name, rows) = what.measure(&|text| eprintln!("bench: {text}"));
    let done = rows.and_then(|rows| {
        print!("{}", table(&rows));
        write(&project(), &name, &rows)?;
        if matches!(
            what,
            What::Fttcp { docs: true, .. } | What::Services { docs: true, .. }
        ) {
            docs::update(&project(), &name, &rows)?;
        }
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
