// SPDX-License-Identifier: GPL-3.0-only
//! An upgrade under wrk's load: requests that fail, the latency of a run with it beside a run without, and that of requests
//! during the switch, from its beginning until the old server is let go.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fttcp::control::Request;

use super::probe::Probe;
use crate::bench::{Better, Gate, Row, Runs};
use crate::netns::layout::Layout;
use crate::netns::topology::{GROUP, SERVER, Topology};

/// The file that is asked for.
const PAGE: &str = "page";
/// How long connections may take to come to rest.
const DRAIN_MS: u32 = 1000;
/// Requests in which none may fail.
const MANY: f64 = 100_000.0;

/// What wrk saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    requests: f64,
    failed: f64,
    p99_ms: f64,
}

pub(super) fn measure(quick: bool) -> Result<Vec<Row>, String> {
    let seconds = if quick { 2 } else { 20 };
    let mut topology = Topology::build(Layout {
        kind: "http",
        ..Layout::default()
    })?;
    topology.put(PAGE, &[b'x'; 1024])?;
    topology.serve()?;
    let plain = run(&mut topology, seconds, &mut |_| Ok(()))?;
    let probe = Probe::start(&topology, PAGE)?;
    let mut switch = None;
    let with = run(&mut topology, seconds, &mut |topology| {
        let start = Instant::now();
        upgrade(topology)?;
        switch = Some((start, Instant::now()));
        Ok(())
    })?;
    let (from, to) = switch.ok_or("there was no upgrade")?;
    let [within, others] = probe.end(from, to)?;
    let latency = Runs {
        ours: vec![with.p99_ms],
        peer: vec![plain.p99_ms],
    };
    let many = Gate::AtLeast(MANY);
    Ok(vec![
        Row::alone("upgrade under wrk", "requests", with.requests).gated(many),
        Row::alone("upgrade under wrk, failed", "requests", with.failed).gated(Gate::AtMost(0.0)),
        Row::paired(
            "upgrade under wrk, latency p99 of the run",
            "ms",
            "without upgrade",
            latency,
            Better::Less,
        ),
        Row::alone("the switch itself", "ms", (to - from).as_secs_f64() * 1e3),
        Row::percentile("latency during the switch, p50", "ms", 50.0, &within),
        Row::percentile("latency during the switch, p99", "ms", 99.0, &within),
        Row::percentile("latency before and after, p99", "ms", 99.0, &others),
    ])
}

/// wrk with 32 connections for so many seconds; `middle` is done when half of them are over.
fn run(
    topology: &mut Topology,
    seconds: u64,
    middle: &mut dyn FnMut(&mut Topology) -> Result<(), String>,
) -> Result<Seen, String> {
    let failed = |error| format!("cannot run wrk: {error}");
    let child = topology
        .client()
        .command("wrk")
        .args(["-t", "2", "-c", "32", "--latency", "-d"])
        .arg(format!("{seconds}s"))
        .arg(format!("http://{SERVER}/{PAGE}"))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // The moment of the upgrade, not a wait for something.
    std::thread::sleep(Duration::from_secs(seconds) / 2);
    let done = middle(topology);
    let output = child.wait_with_output().map_err(failed)?;
    done?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text).ok_or_else(|| format!("wrk printed {text}"))
}

/// Moves everything to the standby, and lets the old server go.
fn upgrade(topology: &mut Topology) -> Result<(), String> {
    let group = || GROUP.to_owned();
    let logger = topology.logger()?;
    let standbys = logger.totals(GROUP)?.spec.standbys;
    let interface = standbys.into_iter().next().ok_or("there is no standby")?;
    logger.request(&Request::Upgrade {
        group: group(),
        interface,
        drain_ms: DRAIN_MS,
    })?;
    topology.wait_drained()?;
    let logger = topology.logger()?;
    logger.request(&Request::Finish { group: group() })?;
    topology.take_over();
    Ok(())
}

/// What wrk's text tells.
fn read(text: &str) -> Option<Seen> {
    let words = |name: &str| {
        text.lines()
            .map(str::trim)
            .find_map(|line| line.strip_prefix(name))
    };
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let errors = words("Socket errors:").unwrap_or_default();
    let errors = errors
        .split(',')
        .filter_map(|part| part.trim().split(' ').nth(1)?.parse::<f64>().ok());
    let bad =
        words("Non-2xx or 3xx responses:").map_or(Some(0.0), |count| count.trim().parse().ok())?;
    Some(Seen {
        requests: line.split_whitespace().next()?.parse().ok()?,
        failed: errors.sum::<f64>() + bad,
        p99_ms: time(words("99%")?.trim())?,
    })
}

/// A time as wrk prints it, in ms.
fn time(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("m", 60e3), ("s", 1e3)];
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    digits.parse::<f64>().ok().map(|value| value * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_counts_every_kind_of_failure() {
        let good =
            "  Latency Distribution\n     99%   1.50ms\n  64 requests in 1.00s, 79.25KB read\n";
        let seen = read(good).unwrap();
        assert_eq!((seen.requests, seen.failed, seen.p99_ms), (64.0, 0.0, 1.5));
        let bad = format!(
            "{good}  Socket errors: connect 1, read 2, write 0, timeout 4\n  Non-2xx or 3xx responses: 8\n"
        );
        assert_eq!(read(&bad).unwrap().failed, 15.0);
        assert_eq!(read(""), None);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(
            ["250.00us", "3.00ms", "1.50s", "2.00m"].map(time),
            [Some(0.25), Some(3.0), Some(1500.0), Some(120_000.0)]
        );
    }
}
