// SPDX-License-Identifier: GPL-3.0-only
//! Rates and latency through each peer, in turns.

use std::time::Duration;

use super::house::{BOUNDED, House, LOGGED, Peer, houses, shape};
use super::plan::Plan;
use super::web;
use crate::bench::{Better, Gate, Row, Runs, percentile};

/// A warm-up takes this part of a run.
const WARM_UP: f64 = 0.25;
/// More than clients say in the time of a run of exchanges.
const LITTLE: u64 = 64 << 20;

/// The peers, their houses, and what was measured in each: a list of rounds.
struct Turns<T> {
    peers: Vec<Peer>,
    runs: Vec<Vec<T>>,
}

/// Measures a house; the second argument says how much of a full run is wanted.
type Measure<'a, T> = dyn Fn(&House, f64) -> Result<T, String> + 'a;

/// Measures all houses in each round, another one first each time, after a short run that does not count.
fn turns<T>(houses: &[House], rounds: usize, measure: &Measure<'_, T>) -> Result<Turns<T>, String> {
    let named = |house: &House, part: f64| {
        measure(house, part).map_err(|error| format!("{}: {error}", house.peer.name()))
    };
    for house in houses {
        named(house, WARM_UP)?;
    }
    let mut runs: Vec<Vec<T>> = houses.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..houses.len() {
            let at = (round + turn) % houses.len();
            runs[at].push(named(&houses[at], 1.0)?);
        }
    }
    Ok(Turns {
        peers: houses.iter().map(|house| house.peer).collect(),
        runs,
    })
}

impl<T> Turns<T> {
    fn map<U>(&self, change: impl Fn(&T) -> U) -> Turns<U> {
        let runs = self.runs.iter().map(|runs| runs.iter().map(&change));
        Turns {
            peers: self.peers.clone(),
            runs: runs.map(Iterator::collect).collect(),
        }
    }
}

/// What one kind of figure is called and how it is judged.
struct Figure<'a> {
    name: &'a str,
    unit: &'a str,
    better: Better,
    /// What the logger with its fast path must reach beside the bridge.
    gate: Option<Gate>,
    /// Whether it must be faster than HAProxy.
    beats_proxy: bool,
}

impl Figure<'_> {
    const fn rate<'a>(name: &'a str, unit: &'a str, gate: Option<Gate>) -> Figure<'a> {
        Figure {
            name,
            unit,
            better: Better::More,
            gate,
            beats_proxy: true,
        }
    }

    /// Every peer beside the bridge, and the logger's fast path beside HAProxy.
    fn rows(&self, turns: &Turns<f64>) -> Vec<Row> {
        let of = |peer: Peer| {
            let at = turns.peers.iter().position(|it| *it == peer)?;
            Some(turns.runs[at].clone())
        };
        let row = |ours: Peer, peer: Peer| {
            let runs = Runs {
                ours: of(ours)?,
                peer: of(peer)?,
            };
            let figure = format!("{}: {}", self.name, ours.name());
            Some(Row::paired(
                &figure,
                self.unit,
                peer.name(),
                runs,
                self.better,
            ))
        };
        let fast = row(Peer::Fast, Peer::Bridge).map(|row| match self.gate {
            Some(gate) => row.gated(gate),
            None => row,
        });
        let beside = row(Peer::Fast, Peer::HaProxy).map(|row| {
            if self.beats_proxy {
                row.gated(Gate::Faster(self.better))
            } else {
                row
            }
        });
        let packet = row(Peer::Packet, Peer::Bridge);
        let proxy = row(Peer::HaProxy, Peer::Bridge);
        [fast, beside, packet, proxy]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Bytes of a part of an upload.
fn part_of(bytes: u64, part: f64) -> u64 {
    ((bytes as f64 * part) as u64).max(4 << 20)
}

/// Bulk transfers over virtual interfaces with super-segments.
pub(super) fn bulk(plan: &Plan) -> Result<Vec<Row>, String> {
    let all = houses(&Peer::ALL, plan.upload)?;
    let mut rows = transfers(plan, &all, plan.upload, "bulk", [1.0, 0.85])?;
    drop(all);
    let houses = houses(&Peer::WITHOUT_PROXY, plan.upload)?;
    let measured = turns(&houses, plan.rounds, &|house, part| {
        house.upload(BOUNDED, part_of(plan.upload, part))
    })?;
    let name = format!(
        "bulk upload {} MiB, default bound: unprotected after 1 MiB",
        plan.upload >> 20
    );
    rows.extend(Figure::rate(&name, "Gbit/s", None).rows(&measured));
    Ok(rows)
}

/// The same over lines of 1 Gbit/s.
pub(super) fn shaped(plan: &Plan) -> Result<Vec<Row>, String> {
    let houses = houses(&Peer::ALL, plan.shaped_upload)?;
    houses.iter().try_for_each(|house| shape(&house.topology))?;
    transfers(
        plan,
        &houses,
        plan.shaped_upload,
        "1 Gbit/s line,",
        [0.99, 0.99],
    )
}

/// A download and an upload, one stream each. `bounds`: what their ratios must reach.
fn transfers(
    plan: &Plan,
    houses: &[House],
    bytes: u64,
    what: &str,
    bounds: [f64; 2],
) -> Result<Vec<Row>, String> {
    let measured = turns(houses, plan.rounds, &|house, part| {
        house.client(LOGGED).download(scaled(plan.run, part))
    })?;
    let name = format!("{what} download");
    let gate = Some(Gate::RatioAtLeast(bounds[0]));
    let mut rows = Figure::rate(&name, "Gbit/s", gate).rows(&measured);
    let measured = turns(houses, plan.rounds, &|house, part| {
        house.upload(LOGGED, part_of(bytes, part))
    })?;
    let name = format!("{what} upload {} MiB, every byte logged", bytes >> 20);
    let gate = Some(Gate::RatioAtLeast(bounds[1]));
    rows.extend(Figure::rate(&name, "Gbit/s", gate).rows(&measured));
    Ok(rows)
}

fn scaled(time: Duration, part: f64) -> Duration {
    time.mul_f64(part)
}

/// Requests and new connections.
pub(super) fn rates(plan: &Plan) -> Result<Vec<Row>, String> {
    let houses = houses(&Peer::ALL, LITTLE)?;
    let mut rows = Vec::new();
    let measured = turns(&houses, plan.rounds, &|house, part| {
        web::requests(house, web_seconds(plan, part), true)
    })?;
    let gate = Some(Gate::RatioAtLeast(0.96));
    rows.extend(
        Figure::rate("HTTP keep-alive, 1 KiB, 32 connections", "1/s", gate).rows(&measured),
    );
    let measured = turns(&houses, plan.rounds, &|house, part| {
        web::requests(house, web_seconds(plan, part), false)
    })?;
    let gate = Some(Gate::RatioAtLeast(0.85));
    rows.extend(
        Figure::rate("new connections, 1 KiB each, 32 at once", "1/s", gate).rows(&measured),
    );
    let measured = turns(&houses, plan.rounds, &|house, part| {
        house.client(LOGGED).connections(scaled(plan.run, part))
    })?;
    rows.extend(
        Figure::rate("new connections, 64 bytes each, one at once", "1/s", gate).rows(&measured),
    );
    houses.iter().try_for_each(House::check_protected)?;
    Ok(rows)
}

/// wrk knows whole seconds only.
fn web_seconds(plan: &Plan, part: f64) -> u32 {
    ((f64::from(plan.web) * part) as u32).max(1)
}

/// The time from sending 64 bytes to having them back.
pub(super) fn latency(plan: &Plan) -> Result<Vec<Row>, String> {
    let houses = houses(&Peer::ALL, LITTLE)?;
    let measured = turns(&houses, plan.rounds, &|house, part| {
        house.client(LOGGED).exchange(scaled(plan.run, part))
    })?;
    houses.iter().try_for_each(House::check_protected)?;
    let mut rows = Vec::new();
    for (percent, gate) in [(50.0, Some(Gate::ExcessAtMost(5.0))), (99.0, None)] {
        let figure = Figure {
            name: &format!("64-byte exchange, p{percent}"),
            unit: "us",
            better: Better::Less,
            gate,
            beats_proxy: gate.is_some(),
        };
        let value = |times: &Vec<f64>| percentile(times, percent).unwrap_or(f64::NAN);
        rows.extend(figure.rows(&measured.map(value)));
    }
    Ok(rows)
}
