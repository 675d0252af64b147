// SPDX-License-Identifier: GPL-3.0-only
//! By how many percent transfers take longer behind the logger than behind a bridge, pair by pair, over lines of 1 Gbit/s.

use std::time::Duration;

use fttcp::control::Outbound;

use super::house::{House, Way};
use crate::bench::fttcp::house::shape;
use crate::bench::fttcp::plan::Plan;
use crate::bench::{Gate, Row, Runs};
use crate::netns::topology::Middle;

/// Who the peer is.
const BRIDGE: &str = "(Linux bridge: 0)";

/// Small files of one run.
const SMALL: usize = 50;

/// The round trip to clients that are elsewhere.
const FAR: Duration = Duration::from_millis(10);

/// A large file.
pub(super) fn bulk(plan: &Plan) -> Result<Vec<Row>, String> {
    let houses = houses(plan.file, 1)?;
    let figure = |way: Way| {
        format!(
            "overhead, {}, {} MB, 1 Gbit/s",
            way.name(),
            plan.file / 1_000_000
        )
    };
    let row = |way| {
        Ok(percent(
            &figure(way),
            BRIDGE,
            &pairs(&houses, plan.rounds, way, false)?,
        )
        .gated(Gate::Below(2.0)))
    };
    [Way::Proxy, Way::Ftp].into_iter().map(row).collect()
}

/// Many small files: a connection for each through the proxy, a data connection for each by FTP. On a line of no length, where
/// nothing counts but what each frame costs; and as clients have them that are elsewhere.
///
/// tinyproxy closes after each answer and does not say so. Such a close may be that of a dying server, and is held back
/// (`fin_hold_ms`) until this habit is known. One that announces the close never waits.
pub(super) fn small(plan: &Plan) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (place, delay, rounds) in [
        ("", None, plan.rounds),
        (", 10 ms away", Some(FAR / 2), plan.rounds.min(3)),
    ] {
        let houses = houses_at(delay, 1, SMALL)?;
        for way in [Way::Proxy, Way::ProxyClosed, Way::Ftp] {
            let figure = format!("overhead, {}, {SMALL} files of 1 KiB{place}", way.name());
            let runs = pairs(&houses, rounds, way, true)?;
            rows.push(percent(&figure, BRIDGE, &runs).gated(Gate::Below(4.0)));
        }
    }
    Ok(rows)
}

/// The logger's house and the bridge's.
fn houses(file: usize, small: usize) -> Result<[House; 2], String> {
    houses_at(None, file, small)
}

/// The same, if `delay` is given so far away.
fn houses_at(delay: Option<Duration>, file: usize, small: usize) -> Result<[House; 2], String> {
    let house = |middle| -> Result<House, String> {
        let house = House::new(middle, Outbound::Keep, delay, file, small)?;
        shape(&house.topology)?;
        acknowledge_at_once(&house)?;
        Ok(house)
    };
    Ok([house(Middle::Protected)?, house(Middle::Bridge)?])
}

/// Lets both ends acknowledge without delay. Otherwise a reply in two small parts takes 40 ms or none (RFC 1122 section 4.2.3.2 with
/// RFC 896), by chance: a run of small files lasts one or twenty times as long, with a bridge as with the logger.
fn acknowledge_at_once(house: &House) -> Result<(), String> {
    let [server, _] = house.topology.servers();
    for space in [house.topology.client(), server] {
        let routes = space.ip(&["-4", "route", "show", "dev", "eth0"])?;
        for route in routes.lines() {
            let words: Vec<&str> = route.split_whitespace().collect();
            let change = [
                &["route", "replace"],
                words.as_slice(),
                &["dev", "eth0", "quickack", "1"],
            ];
            space.ip(&change.concat())?;
        }
    }
    Ok(())
}

/// The seconds of pairs of runs; one after the other is the first of its pair.
fn pairs(houses: &[House; 2], rounds: usize, way: Way, small: bool) -> Result<Runs, String> {
    let fetch = |house: &House| {
        let named = |error| format!("{}: {error}", way.name());
        house.fetch(way, small).map_err(named)
    };
    for house in houses {
        fetch(house)?;
    }
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for at in [round % 2, 1 - round % 2] {
            times[at].push(fetch(&houses[at])?);
        }
    }
    let [ours, peer] = times;
    Ok(Runs { ours, peer })
}

/// By how many percent ours took longer than the peer's.
pub(super) fn percent(figure: &str, peer: &str, times: &Runs) -> Row {
    let pairs = times.ours.iter().zip(&times.peer);
    let ours = pairs
        .map(|(ours, peer)| (ours / peer - 1.0) * 1e2)
        .collect();
    let runs = Runs {
        ours,
        peer: Vec::new(),
    };
    Row::new(figure, "%", peer, runs)
}
