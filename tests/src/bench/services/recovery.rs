// SPDX-License-Identifier: GPL-3.0-only
//! Whether a failover takes longer when the connection has transferred much before: 1 MB beside 1 GB, in turns.

use std::fs::File;

use crate::bench::fttcp::gap::{Asks, FILE_REQUEST, once};
use crate::bench::fttcp::plan::Plan;
use crate::bench::{Better, Gate, Row, Runs};
use crate::netns::layout::Layout;
use crate::netns::topology::Topology;

const MB: usize = 1_000_000;
/// What is left of the file: more than servers and queues are ahead.
const REST: usize = 250 * MB;

pub(super) fn measure(plan: &Plan, quick: bool) -> Result<Vec<Row>, String> {
    let much = if quick { 50 * MB } else { 1000 * MB };
    let bytes = much + REST;
    let mut topology = Topology::build(Layout {
        kind: "http",
        ..Layout::default()
    })?;
    let path = topology.folder().join("files/file");
    File::create(&path)
        .and_then(|file| file.set_len(bytes as u64))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    topology.serve()?;
    let mut runs = Runs::default();
    for round in 0..plan.rounds {
        for turn in 0..2 {
            let (done, to) = if round % 2 == turn {
                (much, &mut runs.ours)
            } else {
                (MB, &mut runs.peer)
            };
            to.push(once(&topology, Asks::Http(FILE_REQUEST), bytes, done)?.logger_ms);
            topology.wait_idle()?;
            topology.renew_standby()?;
        }
    }
    let figure = format!("logger told to first new byte, {} MB done", much / MB);
    let row = Row::paired(&figure, "ms", "1 MB done", runs, Better::Less);
    Ok(vec![row.gated(Gate::RatioAtMost(1.3))])
}
