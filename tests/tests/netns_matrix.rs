// SPDX-License-Identifier: GPL-3.0-only
//! A storm over every kind of path: loss and overtaking, MTU, congestion control, IPv4 and IPv6, a VLAN tag.

mod storm_plan;

use std::error::Error;
use std::process::Command;
use std::{fs, io};

use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::line::Fault;
use rxl_tests::netns::storm::driver::{Plan, Storm};
use storm_plan::plan;

type Outcome = Result<(), Box<dyn Error>>;

/// Environment variable: with any value, every combination is tried; without, each pair of neighbours in the lists.
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

fn cells() -> Vec<Cell> {
    let full = std::env::var_os(FULL).is_some();
    let mut cells = Vec::new();
    for (l, loss) in LOSS.into_iter().enumerate() {
        for (m, mtu) in MTU.into_iter().enumerate() {
            for (c, congestion) in CONGESTION.into_iter().enumerate() {
                for (v, v6) in [false, true].into_iter().enumerate() {
                    for (t, vlan) in [false, true].into_iter().enumerate() {
                        // Every loss with every MTU; the others change from one to the next, so that each of them
                        // meets every loss and every MTU, but IPv6 not the shortest.
                        let chosen = (l + m) % CONGESTION.len() == c
                            && (l + m) % 2 == v
                            && (l * 2 + m).is_multiple_of(3) == (t == 1);
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

#[test]
fn every_kind_of_path_is_survived() -> Outcome {
    need_congestion_controls()?;
    let cells = cells();
    let mut bad = Vec::new();
    for (number, cell) in cells.iter().enumerate() {
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

        let storm = Storm::start(&plan).map_err(|error| format!("{cell:?}: {error}"))?;
        let sockets = storm.topology().client().run("ss", &["-tin"])?;
        let controls = sockets.split_whitespace();
        let controlled = controls.filter(|word| *word == cell.congestion).count();
        assert!(controlled > 0, "{cell:?}: {sockets}");
        let tally = storm.run().map_err(|error| format!("{cell:?}: {error}"))?;

        println!("{} of {}: {cell:?}\n{tally}", number + 1, cells.len());
        let line = tally.line.ok_or("no line")?;
        assert!(line.late > 0 && line.twice > 0, "{line:?}");
        assert_eq!(line.lost > 0, cell.loss > 0, "{line:?}");
        assert!(tally.moved >= 20, "{cell:?}: {tally}");
        if !tally.is_whole() {
            bad.push(format!("{cell:?}: {tally}"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    Ok(())
}
