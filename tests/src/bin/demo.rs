// SPDX-License-Identifier: GPL-3.0-only
//! Runs the demo and writes its report; `scripts/demo` sets up what it needs and starts it.
#![deny(unsafe_code)]

use std::process::{Command, ExitCode};

use clap::Parser;
use rxl_tests::demo::lab::{self, Crash, Kind, LabDemo};
use rxl_tests::demo::report::Report;
use rxl_tests::lab::{Lab, project};
use rxl_tests::netns::{self, demo::NetnsDemo};

/// A service VM dies, and the client's download goes on.
#[derive(Parser)]
#[command(name = "scripts/demo")]
struct Args {
    /// In network namespaces with processes instead of VMs; no Xen.
    #[arg(long)]
    netns: bool,
    /// Only the run without FT-TCP.
    #[arg(long)]
    control_only: bool,
    /// Leave the lab running at the end.
    #[arg(long, conflicts_with = "netns")]
    keep: bool,
    /// How the service VMs are virtualised.
    #[arg(long = "type", value_enum, default_value_t = Kind::Pv, conflicts_with = "netns")]
    kind: Kind,
    /// How the service VM dies.
    #[arg(long, value_enum, default_value_t = Crash::Destroy, conflicts_with = "netns")]
    crash: Crash,
    /// Size of the downloaded file in MiB; the lab's own file unless given.
    #[arg(long)]
    size: Option<u32>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let say = |line: &str| println!("  {line}");
    let protections: &[bool] = if args.control_only {
        &[false]
    } else {
        &[false, true]
    };
    let report = if args.netns {
        in_namespaces(&args, protections)
    } else {
        on_xen(&args, protections, &say)
    };
    let outcome = report.and_then(|report| {
        let dir = project().join("out/demo");
        report.write(&dir)?;
        Ok(report)
    });
    match outcome {
        Ok(report) => {
            print!("{}", report.text());
            println!("\nreport: out/demo/report.html, out/demo/report.json");
            ExitCode::from(u8::from(!report.holds()))
        }
        Err(e) => {
            eprintln!("demo: {e}");
            ExitCode::from(3)
        }
    }
}

fn on_xen(args: &Args, protections: &[bool], say: &dyn Fn(&str)) -> Result<Report, String> {
    let lab = Lab::up()?;
    let demo = LabDemo {
        kind: args.kind,
        crash: args.crash,
    };
    let measure = || -> Result<Report, String> {
        let facts = lab::facts(&lab)?;
        let mut runs = Vec::new();
        for &protected in protections {
            println!(
                "{}",
                if protected {
                    "with FT-TCP"
                } else {
                    "control run, without FT-TCP"
                }
            );
            runs.push(demo.run(&lab, protected, say)?);
        }
        Ok(Report::new("lab", facts, runs))
    };
    let result = measure();
    let down = if args.keep { Ok(()) } else { lab.down() };
    let report = result?;
    down.map(|()| report)
}

fn in_namespaces(args: &Args, protections: &[bool]) -> Result<Report, String> {
    let mut demo = NetnsDemo::default();
    if let Some(mib) = args.size {
        demo.file_bytes = u64::from(mib) << 20;
    }
    let runs = protections
        .iter()
        .map(|&protected| netns::demo::run(&NetnsDemo { protected, ..demo }))
        .collect::<Result<Vec<_>, _>>()?;
    let facts = [["uname", "-sr"], ["nginx", "-v"], ["curl", "--version"]]
        .iter()
        .filter_map(|c| first_line(c));
    Ok(Report::new("netns", facts.collect(), runs))
}

/// Name and version from the first line that a program prints about itself.
fn first_line(command: &[&str]) -> Option<String> {
    let output = Command::new(command[0]).args(&command[1..]).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .map(str::to_owned)
}
