// SPDX-License-Identifier: GPL-3.0-only
//! The logger beside a plain Linux bridge: the same namespaces, the same programs, in turns.
//!
//! Who lives here: which figures are measured and how often; `load` makes the traffic, `gap` the failovers.

mod gap;
mod load;

use std::time::Duration;

use super::{Row, Runs, median, percentile};
use crate::netns::http::Connection;
use crate::netns::topology::{Middle, Topology};
use load::{Client, Echo};

/// Pairs of runs, ours and the peer's in turn.
const PAIRS: usize = 5;
/// How long one run transfers, connects or exchanges.
const RUN: Duration = Duration::from_millis(800);
/// Failovers measured.
const FAILOVERS: usize = 30;
/// Idle connections held for the memory figure.
const IDLE: usize = 100;

const BRIDGE: &str = "Linux bridge";

/// Measures everything.
///
/// # Errors
/// Something could not be made or started.
pub fn run() -> Result<Vec<Row>, String> {
    warn_if_busy();
    let ours = House::new(Middle::Protected)?;
    let peer = House::new(Middle::Bridge)?;
    let houses = [&ours, &peer];
    let mut rows = Vec::new();
    for (figure, unit, measure) in [
        (
            "bulk download, one stream",
            "Gbit/s",
            &(|client: &Client| client.download(RUN)) as &Measure<f64>,
        ),
        ("bulk upload, one stream", "Gbit/s", &|client| {
            client.upload(RUN)
        }),
        ("new connections, one after the other", "1/s", &|client| {
            client.connections(RUN)
        }),
    ] {
        let [ours, peer] = pairs(houses, measure)?;
        rows.push(Row::new(figure, unit, BRIDGE, Runs { ours, peer }));
    }
    let times = pairs(houses, &|client| client.exchange(RUN))?;
    for percent in [50.0, 99.0] {
        let [ours, peer] = times.each_ref().map(|runs| {
            let value = |run: &Vec<f64>| percentile(run, percent).unwrap_or(f64::NAN);
            runs.iter().map(value).collect()
        });
        let figure = format!("64-byte exchange, p{percent}");
        rows.push(Row::new(&figure, "us", BRIDGE, Runs { ours, peer }));
    }
    drop((ours, peer));
    rows.extend(memory()?);
    rows.extend(gaps()?);
    Ok(rows)
}

/// Says so if other programs run: then every time is too long, for both sides.
fn warn_if_busy() {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text
        .split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > 0.5) {
        eprintln!(
            "bench: the machine is busy (load {load}); times are upper bounds, ratios are blurred"
        );
    }
}

/// Namespaces with something in the middle, and the echo server behind it.
struct House {
    // Ends before its namespace.
    _echo: Echo,
    topology: Topology,
}

impl House {
    fn new(middle: Middle) -> Result<Self, String> {
        let topology = Topology::new(middle)?;
        let [server, _] = topology.servers();
        let echo = Echo::start(server)?;
        // Connections that were closed a second ago must not use up the ports.
        topology.client().sysctl("net.ipv4.tcp_tw_reuse", "1")?;
        topology
            .client()
            .sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
        Ok(Self {
            _echo: echo,
            topology,
        })
    }
}

type Measure<T> = dyn Fn(&Client) -> Result<T, String>;

/// Measures ours and the peer's in turn.
fn pairs<T>(houses: [&House; 2], measure: &Measure<T>) -> Result<[Vec<T>; 2], String> {
    let clients = houses.map(|house| Client::new(house.topology.client()));
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..PAIRS {
        for (runs, client) in runs.iter_mut().zip(&clients) {
            runs.push(measure(client)?);
        }
    }
    Ok(runs)
}

/// What idle connections cost the logger.
fn memory() -> Result<Vec<Row>, String> {
    let mut topology = Topology::new(Middle::Protected)?;
    topology.put("file", &[b'x'; 1024])?;
    topology.serve()?;
    let start = topology.logger()?.hello()?.memory_kib as f64;
    let mut connections = Vec::new();
    for _ in 0..IDLE {
        let mut connection = Connection::open(topology.client(), 80)?;
        connection.ask("file", &[])?;
        connection.answer()?;
        connections.push(connection);
    }
    let with = topology.logger()?.hello()?.memory_kib as f64;
    let row = |figure: &str, value| {
        let runs = Runs {
            ours: vec![value],
            peer: vec![],
        };
        Row::new(figure, "KiB", "-", runs)
    };
    Ok(vec![
        row("logger memory at its start", start),
        row(
            "logger memory above that, 100 idle connections",
            with - start,
        ),
    ])
}

/// What a client sees of a failover.
fn gaps() -> Result<Vec<Row>, String> {
    let gaps = gap::measure(FAILOVERS)?;
    let row = |figure: &str, value: Option<f64>, runs: &[f64]| {
        let runs = Runs {
            ours: runs.to_vec(),
            peer: vec![],
        };
        let mut row = Row::new(figure, "ms", "-", runs);
        row.ours = value.unwrap_or(f64::NAN);
        row
    };
    let clients: Vec<f64> = gaps.iter().map(|gap| gap.client_ms).collect();
    let loggers: Vec<f64> = gaps.iter().map(|gap| gap.logger_ms).collect();
    Ok(vec![
        row(
            "client's pause at failover, p50",
            median(&clients),
            &clients,
        ),
        row(
            "client's pause at failover, p99",
            percentile(&clients, 99.0),
            &clients,
        ),
        row(
            "of it, logger told to first new byte, p50",
            median(&loggers),
            &loggers,
        ),
    ])
}
