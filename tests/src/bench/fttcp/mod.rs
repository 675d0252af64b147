// SPDX-License-Identifier: GPL-3.0-only
//! The logger beside a plain Linux bridge and beside HAProxy: the same namespaces, the same programs, in turns.
//!
//! Who lives here: which sections there are and what a failed one means. `plan`: how often and how long; `house`:
//! namespaces with one of the peers in the middle; `paths`: rates and latency; `load`, `web`: their traffic; `memory`;
//! `gap`, `crowd`: failovers; `paper`: what the authors of FT-TCP measured; `daemons`: other people's programs.

mod crowd;
mod daemons;
mod gap;
mod house;
mod load;
mod memory;
mod paper;
mod paths;
mod plan;
mod web;

use clap::ValueEnum;
pub use memory::hold;

use super::Row;
use plan::Plan;

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Bulk transfers, unshaped
    Bulk,
    /// Bulk transfers at 1 Gbit/s
    Shaped,
    /// Requests and new connections per second
    Rates,
    /// The time of a 64-byte exchange
    Latency,
    /// What idle connections cost the logger
    Memory,
    /// What a client sees of a failover
    Gap,
    /// The same, many clients
    Crowd,
    /// Overhead of transfers through a proxy and by FTP
    Paper,
}

/// What to measure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only whether everything works: short runs, without verdicts.
    pub quick: bool,
    /// One section only.
    pub only: Option<Section>,
}

impl Options {
    /// What the results are called: only those of a whole run have the bench's own name.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = "fttcp".to_owned();
        if let Some(section) = self.only {
            name += &format!("-{section:?}").to_lowercase();
        }
        if self.quick {
            name += "-quick";
        }
        name
    }
}

/// Measures. A section that fails becomes a row that says so, and the others are measured all the same.
#[must_use]
pub fn run(options: Options, say: &dyn Fn(&str)) -> Vec<Row> {
    warn_if_busy(say);
    let plan = if options.quick {
        Plan::QUICK
    } else {
        Plan::FULL
    };
    let sections = Section::value_variants().iter();
    let sections = sections.filter(|section| options.only.is_none_or(|only| only == **section));
    let mut rows = Vec::new();
    for section in sections {
        let name = format!("{section:?}").to_lowercase();
        say(&name);
        match measure(*section, &plan) {
            Ok(measured) => rows.extend(measured),
            Err(why) => {
                say(&format!("{name} failed: {why}"));
                let line = why.lines().next().unwrap_or_default();
                rows.push(Row::failed(&name, line));
            }
        }
    }
    if options.quick {
        for row in &mut rows {
            let failed = row.runs.ours.is_empty();
            (row.target, row.met) = if failed {
                (row.target.take(), row.met)
            } else {
                (None, None)
            };
        }
    }
    rows
}

fn measure(section: Section, plan: &Plan) -> Result<Vec<Row>, String> {
    match section {
        Section::Bulk => paths::bulk(plan),
        Section::Shaped => paths::shaped(plan),
        Section::Rates => paths::rates(plan),
        Section::Latency => paths::latency(plan),
        Section::Memory => memory::measure(plan),
        Section::Gap => gap::measure(plan),
        Section::Crowd => crowd::measure(plan),
        Section::Paper => paper::measure(plan),
    }
}

/// Says so if other programs run: then every time is too long, for both sides.
fn warn_if_busy(say: &dyn Fn(&str)) {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text
        .split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > 0.5) {
        say(&format!(
            "the machine is busy (load {load}); times are upper bounds, ratios are blurred"
        ));
    }
}
