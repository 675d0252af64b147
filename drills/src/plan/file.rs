// SPDX-License-Identifier: GPL-3.0-only
//! Reads a drill file, and says what is wrong with one: file, line, key, what to do.

mod faults;
mod stages;

use std::fmt;
use std::time::Duration;

use fttcp::control::Outbound;
use fttcp::service::KINDS;
use serde::Deserialize;
use toml::Spanned;

use super::units::{Size, Time};
use super::{Detect, Expect, Guests, Load, Plan, Runs, Service, StageKind, Work};

/// Clients are threads: more would measure the machine.
const MOST_CONNECTIONS: usize = 512;
/// Files are held in memory, to compare with.
const MOST_BYTES: u64 = 1 << 30;
/// More faults than anybody can tell apart.
const MOST_FAULTS: usize = 100;

/// Why a drill file is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key in that line, if there is one.
    pub key: Option<String>,
    /// What is wrong, and what to do.
    pub text: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for PlanError {}

/// Something wrong at a byte of the file.
type Wrong = (usize, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    text: String,
    #[serde(default = "netns")]
    stage: StageKind,
    duration: Spanned<Time>,
    service: Spanned<ServiceTable>,
    load: Vec<Spanned<LoadTable>>,
    #[serde(default)]
    fault: Vec<Spanned<FaultTable>>,
    #[serde(default)]
    detect: DetectTable,
    #[serde(default)]
    expect: Option<ExpectTable>,
}

const fn netns() -> StageKind {
    StageKind::Netns
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTable {
    runs: Spanned<Runs>,
    kind: Option<Spanned<String>>,
    outbound: Option<Outbound>,
    #[serde(default = "yes")]
    protected: bool,
    megabits: Option<Spanned<u32>>,
    guests: Option<Spanned<Guests>>,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadTable {
    name: Option<String>,
    #[serde(rename = "do")]
    work: Spanned<WorkName>,
    command: Option<Spanned<String>>,
    connections: Spanned<usize>,
    size: Spanned<Size>,
    #[serde(default = "yes")]
    keep_alive: bool,
    pause: Option<Time>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WorkName {
    Download,
    Upload,
    Command,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultTable {
    #[serde(rename = "do")]
    act: ActName,
    at: Option<Spanned<Time>>,
    at_bytes: Option<Spanned<Size>>,
    times: Option<Spanned<usize>>,
    every: Option<Spanned<Time>>,
    how: Option<Spanned<HowName>>,
    wakes_after: Option<Spanned<Time>>,
    drain: Option<Spanned<Time>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ActName {
    Crash,
    Hang,
    RestartLogger,
    Upgrade,
    Rollback,
    Finish,
}

/// How a server dies, or stands still.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HowName {
    Destroy,
    Kill,
    Unplug,
    Panic,
    Pause,
    Stop,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DetectTable {
    death: Option<Spanned<Time>>,
    hang: Option<Spanned<Time>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectTable {
    #[serde(default)]
    failed: u64,
    #[serde(default)]
    cut: u64,
    #[serde(default)]
    corrupt: u64,
    requests: Option<u64>,
    gap_p99: Option<Time>,
    gap_max: Option<Time>,
    latency_p99: Option<Time>,
    throughput: Option<Spanned<f64>>,
    recovered: Option<u64>,
}

pub(super) fn parse(file: &str, text: &str) -> Result<Plan, PlanError> {
    let read: Result<File, toml::de::Error> = toml::from_str(text);
    let plan = match read {
        Ok(table) => plan(table),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            Err((at, error.message().to_owned()))
        }
    };
    plan.map_err(|(at, wrong)| {
        let before = &text.as_bytes()[..at.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let key = text.lines().nth(line - 1).and_then(|line| {
            let (key, _) = line.split_once('=')?;
            Some(key.trim().to_owned())
        });
        // What is missing stands in no line: the table's first is told.
        let missing = wrong.strip_prefix("missing field ");
        let key = key.filter(|_| missing.is_none());
        let wrong = missing.map_or_else(
            || wrong.clone(),
            |field| format!("{field} is missing; add a line for it"),
        );
        PlanError {
            file: file.to_owned(),
            line,
            key,
            text: wrong,
        }
    })
}

/// An error at what is spanned.
fn at<T>(spanned: &Spanned<T>, text: impl Into<String>) -> Wrong {
    (spanned.span().start, text.into())
}

fn plan(file: File) -> Result<Plan, Wrong> {
    let duration = file.duration.get_ref().0;
    let is_word = |name: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !name.is_empty() && name.chars().all(good)
    };
    if !is_word(file.name.get_ref()) {
        let what = "a name is made of letters, digits, - and _: reports are named after it";
        return Err(at(&file.name, what));
    }
    if duration < Duration::from_millis(500) || duration > Duration::from_secs(3600) {
        return Err(at(&file.duration, "a drill lasts from 500ms to 60min"));
    }
    stages::check(&file)?;
    let start = file.service.span().start;
    let service = service(file.service.into_inner())?;
    if file.load.is_empty() {
        let what = "nobody uses the service; add a [[load]] table";
        return Err((start, what.to_owned()));
    }
    let mut loads: Vec<Load> = Vec::new();
    for table in file.load {
        let start = table.span().start;
        let load = load(table, service.runs, loads.len())?;
        if loads.iter().any(|other| other.name == load.name) {
            let what = format!("two loads are called {}; give each a name", load.name);
            return Err((start, what));
        }
        loads.push(load);
    }
    let detect = Detect {
        death: file
            .detect
            .death
            .map_or(Duration::ZERO, |time| time.get_ref().0),
        hang: file.detect.hang.map(|time| time.get_ref().0),
    };
    let mut all = Vec::new();
    for table in &file.fault {
        all.extend(faults::of(table, file.stage, duration, detect)?);
        if all.len() > MOST_FAULTS {
            let what = format!("there are more than {MOST_FAULTS} faults; take fewer");
            return Err(at(table, what));
        }
    }
    Ok(Plan {
        name: file.name.into_inner(),
        text: file.text,
        stage: file.stage,
        duration,
        service,
        loads,
        faults: all,
        detect,
        expect: file.expect.map_or(Ok(Expect::default()), expect)?,
    })
}

fn service(table: ServiceTable) -> Result<Service, Wrong> {
    if let Some(kind) = &table.kind
        && !KINDS.contains(&kind.get_ref().as_str())
    {
        let what = format!("the logger has no such plug-in; take {}", KINDS.join(", "));
        return Err(at(kind, what));
    }
    if let Some(megabits) = &table.megabits
        && *megabits.get_ref() == 0
    {
        return Err(at(megabits, "nothing goes over a line of 0 Mbit/s"));
    }
    let runs = *table.runs.get_ref();
    let usual = match runs {
        Runs::Web => "http",
        Runs::Proxy => "opaque",
        Runs::Ftp => "ftp",
    };
    Ok(Service {
        runs,
        kind: table.kind.map_or(usual.to_owned(), Spanned::into_inner),
        outbound: table.outbound.unwrap_or(match runs {
            Runs::Proxy => Outbound::Keep,
            Runs::Web | Runs::Ftp => Outbound::Pass,
        }),
        protected: table.protected,
        megabits: table.megabits.map(Spanned::into_inner),
        guests: table.guests.map(Spanned::into_inner).unwrap_or_default(),
    })
}

fn load(table: Spanned<LoadTable>, runs: Runs, index: usize) -> Result<Load, Wrong> {
    let table = table.into_inner();
    let size = table.size.get_ref().0;
    if size == 0 || size > MOST_BYTES {
        return Err(at(&table.size, "a file has 1B to 1GiB"));
    }
    let connections = *table.connections.get_ref();
    if connections == 0 || connections > MOST_CONNECTIONS {
        let what = format!("from 1 to {MOST_CONNECTIONS} clients can work at the same time");
        return Err(at(&table.connections, what));
    }
    let work = match (table.work.get_ref(), table.command) {
        (WorkName::Command, Some(command)) => Work::Command(command.into_inner()),
        (WorkName::Command, None) => {
            let what = "which command? Add command = \"curl -sf -o /dev/null {url}\" or another";
            return Err(at(&table.work, what));
        }
        (_, Some(command)) => {
            return Err(at(&command, "only loads with do = \"command\" have one"));
        }
        (WorkName::Download, None) => Work::Download,
        (WorkName::Upload, None) if runs == Runs::Ftp => Work::Upload,
        (WorkName::Upload, None) => {
            let what = "only services with runs = \"ftp\" take uploads";
            return Err(at(&table.work, what));
        }
    };
    let usual = match work {
        Work::Download => "downloads",
        Work::Upload => "uploads",
        Work::Command(_) => "commands",
    };
    let numbered = || match index {
        0 => usual.to_owned(),
        _ => format!("{usual} {}", index + 1),
    };
    Ok(Load {
        name: table.name.unwrap_or_else(numbered),
        work,
        connections,
        size,
        keep_alive: table.keep_alive,
        pause: table.pause.map_or(Duration::ZERO, |time| time.0),
    })
}

fn expect(table: ExpectTable) -> Result<Expect, Wrong> {
    if let Some(part) = &table.throughput
        && !(0.0..=10.0).contains(part.get_ref())
    {
        let what = "a part of the throughput before the first fault, such as 0.8";
        return Err(at(part, what));
    }
    let time = |time: Option<Time>| time.map(|time| time.0);
    Ok(Expect {
        failed: table.failed,
        cut: table.cut,
        corrupt: table.corrupt,
        requests: table.requests,
        gap_p99: time(table.gap_p99),
        gap_max: time(table.gap_max),
        latency_p99: time(table.latency_p99),
        throughput: table.throughput.map(Spanned::into_inner),
        recovered: table.recovered,
    })
}
