// SPDX-License-Identifier: GPL-3.0-only
//! What the logger's process needs beyond its start while a large file is transferred, at most.
//!
//! A proxy whose connections to origins are kept over a failover has the origin's bytes logged, which are the file. Where they
//! pass, its replacement asks the origin again.

use std::process::Stdio;
use std::time::Duration;

use fttcp::control::Outbound;

use super::house::{House, Way};
use crate::bench::fttcp::memory::{PAPER, own_bytes};
use crate::bench::fttcp::plan::Plan;
use crate::bench::{Gate, Row};
use crate::netns::topology::Middle;

/// How often memory is read.
const SAMPLE: Duration = Duration::from_millis(2);

pub(super) fn measure(plan: &Plan) -> Result<Vec<Row>, String> {
    let mega = plan.file / 1_000_000;
    let mut rows = Vec::new();
    for (outbound, what) in [(Outbound::Pass, "pass"), (Outbound::Keep, "keep")] {
        let house = House::new(Middle::Protected, outbound, None, plan.file, 1)?;
        let start = own_bytes(house.topology.logger()?.process_id())?;
        for way in [Way::Proxy, Way::Ftp] {
            let peak = peak(&house, way)?;
            let how = match way {
                Way::Proxy | Way::ProxyClosed => format!(", outbound = {what}"),
                Way::Ftp if outbound == Outbound::Keep => continue,
                Way::Ftp => String::new(),
            };
            let figure = format!("memory above start, {}, {mega} MB{how}", way.name());
            let row = Row::alone(&figure, "KB", (peak - start) / 1e3);
            rows.push(match outbound {
                Outbound::Pass => row.gated(Gate::AtMost(PAPER)),
                _ => row,
            });
        }
    }
    Ok(rows)
}

/// The most that the logger's process has alone during a transfer.
fn peak(house: &House, way: Way) -> Result<f64, String> {
    let process = house.topology.logger()?.process_id();
    let mut curl = house.curl(way, false);
    let failed = |error| format!("cannot run curl: {error}");
    let mut child = curl.stdout(Stdio::null()).spawn().map_err(failed)?;
    let mut peak: f64 = 0.0;
    loop {
        peak = peak.max(own_bytes(process)?);
        if let Some(status) = child.try_wait().map_err(failed)? {
            if status.success() {
                return Ok(peak.max(own_bytes(process)?));
            }
            return Err(format!("{}: curl ended with {status}", way.name()));
        }
        // Between two samples, not a wait for something.
        std::thread::sleep(SAMPLE);
    }
}
