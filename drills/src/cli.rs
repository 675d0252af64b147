// SPDX-License-Identifier: GPL-3.0-only
//! The command line: `rxl drill run`, `list`, `show` and `compare`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::compare::{compare, table};
use crate::engine::Event;
use crate::plan::{Plan, StageKind};
use crate::report::{Record, Run};
use crate::run;
use crate::shipped::{SHIPPED, shipped};
use crate::stage::Stage;
use crate::stage::lab::Lab;
use crate::stage::netns::Netns;

/// A drill in short form takes this part of its time.
const SHORT: f64 = 0.4;

/// Lets a service fail on purpose while clients use it, and reports what they saw.
#[derive(Debug, Parser)]
#[command(
    name = "rxl drill",
    bin_name = "rxl drill",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes:\n  0  every expectation is met; for compare: B is not worse\n  1  one is not; B is worse\n  \
                  2  wrong usage, or a drill file with errors\n  3  the drill could not be set up, or was interrupted\n\n\
                  First steps:\n  rxl drill list\n  rxl drill run web-repeated-crash\n  \
                  rxl drill show web-repeated-crash > mine.toml     a start for one of your own"
)]
struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a drill and write its report
    #[command(after_help = "Example:\n  rxl drill run web-repeated-crash --out /tmp/report")]
    Run(RunArgs),
    /// List the drills that come with rxl
    List,
    /// Print the file of a drill that comes with rxl
    Show {
        /// Its name
        name: String,
    },
    /// Compare two reports: whether B is worse than A
    #[command(
        after_help = "Example:\n  rxl drill compare monday/report.json tuesday/report.json --tolerance 30"
    )]
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A drill file, or the name of a drill that comes with rxl
    #[arg(value_name = "FILE")]
    drill: String,
    /// Where report.json, report.xml and report.html go [default: out/drills/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// In short form: two fifths of the time and of the requests; throughput is not asked for
    #[arg(long)]
    quick: bool,
    /// Without FT-TCP: what clients see then
    #[arg(long)]
    control: bool,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The report.json to compare with
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The report.json that may be worse
    #[arg(value_name = "B")]
    b: PathBuf,
    /// By how many percent a figure may be worse
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0)]
    tolerance: f64,
}

/// Why there is no result.
enum Failure {
    /// Wrong usage.
    Usage(String),
    /// It could not be set up.
    Setup(String),
}

/// Carries out the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.verb {
        Verb::Run(args) => drill(args, cli.json),
        Verb::List => list(cli.json),
        Verb::Show { name } => show(name),
        Verb::Compare(args) => compared(args, cli.json),
    };
    let (text, code) = match result {
        Ok(good) => return ExitCode::from(u8::from(!good)),
        Err(Failure::Usage(text)) => (text, 2),
        Err(Failure::Setup(text)) => (text, 3),
    };
    eprintln!("rxl drill: {text}");
    ExitCode::from(code)
}

/// A drill's file: its name for messages, and its text.
fn file(drill: &str) -> Result<(String, String), Failure> {
    if let Some(text) = shipped(drill) {
        return Ok((format!("{drill}.toml"), text.to_owned()));
    }
    let text = fs::read_to_string(drill).map_err(|error| {
        Failure::Usage(format!(
            "cannot read {drill}: {error}; give a drill file, or one of the names that `rxl drill list` shows"
        ))
    })?;
    Ok((drill.to_owned(), text))
}

fn drill(args: &RunArgs, json: bool) -> Result<bool, Failure> {
    let (name, text) = file(&args.drill)?;
    let mut plan = Plan::parse(&name, &text).map_err(|error| Failure::Usage(error.to_string()))?;
    if args.quick {
        plan = plan.shortened(SHORT);
    }
    if args.control {
        plan.service.protected = false;
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let done = record(&plan, text, args.quick, &interrupted);
    // Ctrl-C reaches the programs that are being started, too: what they say of it is not the reason.
    let stopped = interrupted.load(Ordering::Relaxed);
    let (record, log) = done.map_err(|why| {
        Failure::Setup(if stopped {
            "it was interrupted; nothing is left behind".to_owned()
        } else {
            why
        })
    })?;
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| Path::new("out/drills").join(&record.drill));
    record.write(&out, &log).map_err(Failure::Setup)?;
    if json {
        print_json(&record)?;
    } else {
        print!("{}", record.summary());
        println!("report: {}", out.join("report.html").display());
    }
    Ok(record.met)
}

/// Runs it; progress goes to standard error.
fn record(
    plan: &Plan,
    file: String,
    quick: bool,
    interrupted: &Arc<AtomicBool>,
) -> Result<(Record, String), String> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))
            .map_err(|error| format!("cannot wait for Ctrl-C: {error}"))?;
    }
    eprintln!("{}: setting up", plan.name);
    let files = run::files(plan);
    let stage: Box<dyn Stage> = match plan.stage {
        StageKind::Netns => Box::new(Netns::new(plan, &files)?),
        StageKind::Lab => Box::new(Lab::new(plan, &files, interrupted)?),
    };
    let facts = stage.facts();
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let clients: usize = plan.loads.iter().map(|load| load.connections).sum();
    eprintln!("{}: {clients} clients for {:?}", plan.name, plan.duration);
    let say =
        |event: &Event| eprintln!("  {:8.3} s  {:<15} {}", event.at, event.name, event.detail);
    let (findings, log) = run::run(plan, stage, &files, &say, interrupted)?;
    let how = Run {
        quick,
        started_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
        facts,
        file,
    };
    Ok((Record::new(plan, how, findings), log))
}

fn list(json: bool) -> Result<bool, Failure> {
    let plans = SHIPPED.iter().map(|(name, text)| Plan::parse(name, text));
    let plans: Result<Vec<Plan>, _> = plans.collect();
    let plans = plans.map_err(|error| Failure::Usage(error.to_string()))?;
    if json {
        let entry = |plan: &Plan| {
            serde_json::json!({
                "name": plan.name, "stage": plan.stage.name(), "seconds": plan.duration.as_secs_f64(), "text": plan.text.trim()
            })
        };
        return print_json(&plans.iter().map(entry).collect::<Vec<_>>()).map(|()| true);
    }
    let wide = plans.iter().map(|plan| plan.name.len()).max().unwrap_or(0);
    for plan in &plans {
        let text = plan.text.trim().replace('\n', " ");
        let first = text
            .split(". ")
            .next()
            .unwrap_or_default()
            .trim_end_matches('.');
        println!(
            "{:<wide$}  {:<5}  {:>3} s  {first}",
            plan.name,
            plan.stage.name(),
            plan.duration.as_secs()
        );
    }
    Ok(true)
}

fn show(name: &str) -> Result<bool, Failure> {
    let text = shipped(name).ok_or_else(|| {
        Failure::Usage(format!(
            "no drill is called {name}; `rxl drill list` shows all"
        ))
    })?;
    print!("{text}");
    Ok(true)
}

fn compared(args: &CompareArgs, json: bool) -> Result<bool, Failure> {
    if !args.tolerance.is_finite() || args.tolerance < 0.0 {
        return Err(Failure::Usage(
            "--tolerance: a percentage from 0 on".to_owned(),
        ));
    }
    let read = |path: &Path| Record::read(path).map_err(Failure::Usage);
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    if (&a.drill, a.quick, &a.stage) != (&b.drill, b.quick, &b.stage) {
        eprintln!(
            "rxl drill: these are reports of different drills ({} and {}), forms or stages",
            a.drill, b.drill
        );
    }
    let lines = compare(&a, &b, args.tolerance);
    let worse = lines.iter().any(|line| line.worse);
    if json {
        print_json(&serde_json::json!({ "worse": worse, "figures": lines }))?;
    } else {
        print!("{}", table(&lines));
    }
    Ok(!worse)
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Setup(error.to_string()))?;
    println!("{text}");
    Ok(())
}
