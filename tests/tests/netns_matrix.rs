// SPDX-License-Identifier: GPL-3.0-only
//! A storm over every kind of path: loss and overtaking, MTU, congestion control, IPv4 and IPv6, a VLAN tag.

mod storm_plan;

use std::error::Error;
use std::fmt::Debug;
use std::process::Command;
use std::sync::Mutex;
use std::{fs, io, thread};

use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::line::Fault;
use rxl_tests::netns::storm::driver::{Plan, Storm};
use storm_plan::plan;

type Outcome = Result<(), Box<dyn Error>>;

/// Environment variable: with any value, every combination is tried; without, the nine of which each value has met
/// each of another list.
const FULL: &str = "FT_MATRIX";

const LOSS: [u64; 3] = [0, 1, 5];
const MTU: [u32; 3] = [576, 1500, 9000];
const CONGESTION: [&str; 3] = ["reno", "cubic", "bbr"];

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    loss: u64,
    mtu: u32,
    congestion: String,
    v6: bool,
    vlan: bool,
}

/// The kernel must have all of [`CONGESTION`]; Debian's has some of them as modules.
fn need_congestion_controls() -> Outcome {
    let known = || fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    for name in CONGESTION {
        let there = || Ok::<_, io::Error>(known()?.split_whitespace().any(|word| word == name));
        if !there()? {
            let loaded = Command::new("modprobe").arg(format!("tcp_{name}")).output();
            if !there()? {
                return Err(
                    format!("this kernel has no congestion control {name}: {loaded:?}").into(),
                );
            }
        }
    }
    Ok(())
}

/// Every combination (`full`), or nine of them.
fn cells(full: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (l, loss) in LOSS.into_iter().enumerate() {
        for (m, mtu) in MTU.into_iter().enumerate() {
            for (c, congestion) in CONGESTION.into_iter().enumerate() {
                for v6 in [false, true] {
                    for vlan in [false, true] {
                        // Every loss with every MTU; the others change from one to the next, so that each of them meets
                        // every loss and every MTU, but IPv6 not the shortest.
                        let chosen = (l + m) % CONGESTION.len() == c
                            && (m > 0 && l + 1 != m) == v6
                            && (l == m) == vlan;
                        if full || chosen {
                            // There is no IPv6 below 1280.
                            let mtu = if v6 { mtu.max(1280) } else { mtu };
                            cells.push(Cell {
                                loss,
                                mtu,
                                congestion: congestion.to_owned(),
                                v6,
                                vlan,
                            });
                        }
                    }
                }
            }
        }
    }
    cells
}

/// The first values that no cell has together.
fn unmet<A: Copy + Debug, B: Copy + Debug>(
    (first, second): (&[A], &[B]),
    has: impl Fn(&Cell, A, B) -> bool,
) -> Option<(A, B)> {
    let cells = cells(false);
    let mut pairs = first
        .iter()
        .flat_map(|&a| second.iter().map(move |&b| (a, b)));
    pairs.find(|&(a, b)| !cells.iter().any(|cell| has(cell, a, b)))
}

#[test]
fn usual_paths_are_few_and_have_every_pair_of_values() {
    const BOTH: [bool; 2] = [false, true];
    const LONG: [u32; 2] = [MTU[1], MTU[2]];
    let loss = |cell: &Cell, loss| cell.loss == loss;
    let mtu = |cell: &Cell, mtu| cell.mtu == mtu;
    let congestion = |cell: &Cell, name: &str| cell.congestion == name;

    assert_eq!(cells(false).len(), 9);
    assert_eq!(
        unmet((&LOSS, &MTU), |it, a, b| loss(it, a) && mtu(it, b)),
        None
    );
    assert_eq!(
        unmet((&LOSS, &CONGESTION), |it, a, b| loss(it, a)
            && congestion(it, b)),
        None
    );
    assert_eq!(
        unmet((&MTU, &CONGESTION), |it, a, b| mtu(it, a)
            && congestion(it, b)),
        None
    );
    assert_eq!(
        unmet((&BOTH, &LOSS), |it, a, b| it.v6 == a && loss(it, b)),
        None
    );
    assert_eq!(
        unmet((&BOTH, &CONGESTION), |it, a, b| it.v6 == a
            && congestion(it, b)),
        None
    );
    assert_eq!(
        unmet((&[false], &MTU), |it, a, b| it.v6 == a && mtu(it, b)),
        None
    );
    assert_eq!(
        unmet((&[true], &LONG), |it, a, b| it.v6 == a && mtu(it, b)),
        None
    );
    assert_eq!(
        unmet((&BOTH, &LOSS), |it, a, b| it.vlan == a && loss(it, b)),
        None
    );
    assert_eq!(
        unmet((&BOTH, &MTU), |it, a, b| it.vlan == a && mtu(it, b)),
        None
    );
    assert_eq!(
        unmet((&BOTH, &CONGESTION), |it, a, b| it.vlan == a
            && congestion(it, b)),
        None
    );
    assert_eq!(
        unmet((&BOTH, &BOTH), |it, a, b| it.v6 == a && it.vlan == b),
        None
    );
}

/// Storms over one path; what is wrong with it, if anything is.
fn storm(cell: &Cell) -> Result<Option<String>, String> {
    let base = plan(&format!("{cell:?}"));
    let plan = Plan {
        layout: Layout {
            line: Some(Fault::of_percent(cell.loss, base.seed)),
            mtu: Some(cell.mtu),
            vlan: cell.vlan.then_some(77),
            congestion: Some(cell.congestion.clone()),
            ..base.layout
        },
        clients: 12,
        v6: cell.v6,
        failovers: 3,
        pause_ms: 400,
        ..base
    };
    let of_cell = |error: String| format!("{cell:?}: {error}");
    let storm = Storm::start(&plan).map_err(of_cell)?;
    let client = storm.topology().client();
    let sockets = client.run("ss", &["-tin"]).map_err(of_cell)?;
    if !sockets
        .split_whitespace()
        .any(|word| word == cell.congestion)
    {
        return Err(of_cell(sockets));
    }
    let tally = storm.run().map_err(of_cell)?;

    println!("{cell:?}\n{tally}");
    let line = tally.line.ok_or("no line")?;
    let happened = line.late > 0 && line.twice > 0 && (line.lost > 0) == (cell.loss > 0);
    if !happened || tally.moved < 20 {
        return Err(of_cell(format!("too little happened: {line:?}, {tally}")));
    }
    Ok((!tally.is_whole()).then(|| of_cell(tally.to_string())))
}

#[test]
fn every_kind_of_path_is_survived() -> Outcome {
    need_congestion_controls()?;
    let cells = Mutex::new(cells(std::env::var_os(FULL).is_some()).into_iter());
    let next = || cells.lock().map_or(None, |mut cells| cells.next());
    let bad = Mutex::new(Vec::new());
    // Storms on lossy lines mostly wait: two at a time.
    thread::scope(|scope| {
        let storms = || {
            while let Some(cell) = next() {
                let wrong = storm(&cell).unwrap_or_else(Some);
                if let Ok(mut bad) = bad.lock() {
                    bad.extend(wrong);
                }
            }
        };
        scope.spawn(storms);
        storms();
    });
    let bad = bad.into_inner()?;
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    Ok(())
}
