// SPDX-License-Identifier: GPL-3.0-only
//! Services behind the logger beside the same services behind a Linux bridge, in turns: in namespaces, and on real Xen.
//!
//! Who lives here: the sections; `house`, namespaces with a web proxy and an FTP server; `overhead`, `memory`, `gap`,
//! `upgrade` (with `probe`) and `recovery`, which are measured in them; `wrap`, which needs none; `lab` and `lab_gap`, on real Xen.

mod gap;
mod house;
mod lab;
mod lab_gap;
mod memory;
mod overhead;
mod probe;
mod recovery;
mod upgrade;
mod wrap;

use clap::ValueEnum;

use super::{Options, Row, sections};

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// By how much a large transfer takes longer
    Bulk,
    /// By how much many small transfers take longer
    Small,
    /// What the logger needs beyond its start while a large file is transferred
    Memory,
    /// What a client sees of a failover
    Gap,
    /// Whether requests fail during an upgrade
    Upgrade,
    /// Whether a failover takes longer when much was transferred before
    Recovery,
    /// What the north side wrap costs a server
    Wrap,
    /// By how much transfers take longer, and what a client sees of a failover, on real Xen, in the lab
    Lab,
}

/// Measures all sections that are asked for.
#[must_use]
pub fn run(options: Options<Section>, say: &dyn Fn(&str)) -> Vec<Row> {
    let plan = options.plan();
    let measure = |section| match section {
        Section::Bulk => overhead::bulk(&plan),
        Section::Small => overhead::small(&plan),
        Section::Memory => memory::measure(&plan),
        Section::Gap => gap::measure(&plan),
        Section::Upgrade => upgrade::measure(options.quick),
        Section::Recovery => recovery::measure(&plan, options.quick),
        Section::Wrap => wrap::measure(options.quick),
        Section::Lab => lab::measure(options.quick, say),
    };
    sections::run(options, say, &measure)
}
