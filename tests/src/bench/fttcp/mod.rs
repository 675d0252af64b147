// SPDX-License-Identifier: GPL-3.0-only
//! The logger beside a plain Linux bridge and beside HAProxy: the same namespaces, the same programs, in turns.
//!
//! Who lives here: which sections there are and what a failed one means. `plan`: how often and how long; `house`:
//! namespaces with one of the peers in the middle; `paths`: rates and latency; `load`, `web`: their traffic; `memory`;
//! `gap`, `crowd`: failovers; `paper`: what the authors of FT-TCP measured; `daemons`: other people's programs.

mod crowd;
pub(super) mod daemons;
pub(super) mod gap;
pub(super) mod house;
mod load;
pub(super) mod memory;
pub(super) mod paper;
mod paths;
pub(super) mod plan;
mod web;

use clap::ValueEnum;
pub use memory::hold;

use super::{Options, Row, sections};
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

/// Measures. A section that fails becomes a row that says so, and the others are measured all the same.
#[must_use]
pub fn run(options: Options<Section>, say: &dyn Fn(&str)) -> Vec<Row> {
    let plan = options.plan();
    let measure = |section| measure(section, &plan);
    sections::run(options, say, &measure)
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
