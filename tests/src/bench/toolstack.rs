// SPDX-License-Identifier: GPL-3.0-only
//! `rxl` against stock `xl` in one lab: what each asks of xenstored and of Xen, and how long it takes.

use crate::lab::Lab;

use super::strace::{Counts, STRACE, count};
use super::{Row, Runs};

/// Rounds of each pair; counts are the same in each, times are not.
const ROUNDS: usize = 3;

/// Domains that exist in the runs that show how cost grows with them.
const CROWD: usize = 10;

/// A command in both tools' words, and what has to be there before it and undone after it.
struct Figure {
    name: &'static str,
    before: &'static str,
    command: &'static str,
    after: &'static str,
}

/// TOOL stands for the tool that is measured; with `-e` because strace would wait for the process that xl leaves behind
/// to watch the domain. What is around a measured command is always done by `xl`.
const FIGURES: [Figure; 4] = [
    Figure {
        name: "create PV, no devices",
        before: "",
        command: "TOOL create -e -p /root/pv.cfg",
        after: "xl destroy bench-pv",
    },
    Figure {
        name: "create PVH, no devices",
        before: "",
        command: "TOOL create -e -p /root/pvh.cfg",
        after: "xl destroy bench-pvh",
    },
    Figure {
        name: "list",
        before: "",
        command: "TOOL list",
        after: "",
    },
    Figure {
        name: "destroy PV, no devices",
        before: "xl create -q -p /root/pv.cfg",
        command: "TOOL destroy bench-pv",
        after: "",
    },
];

/// Runs all figures with no and with [`CROWD`] other domains.
///
/// # Errors
/// What failed in Dom0.
pub fn run(lab: &Lab, say: &dyn Fn(&str)) -> Result<Vec<Row>, String> {
    for kind in ["pv", "pvh"] {
        lab.ok(&format!(
            "cat > /root/{kind}.cfg <<'END'\nname = \"bench-{kind}\"\ntype = \"{kind}\"\nkernel = \"/lab/guest/vmlinux\"\n\
             ramdisk = \"/lab/guest/initrd.img\"\ncmdline = \"console=hvc0\"\nmemory = 128\nvcpus = 1\nEND\n"
        ))?;
    }
    let mut rows = Vec::new();
    for crowd in [0, CROWD] {
        for index in 0..crowd {
            lab.ok(&format!(
                "sed 's/bench-pv/crowd-{index}/; s/memory = 128/memory = 96/' /root/pv.cfg > /root/crowd.cfg; \
                 xl create -q -p /root/crowd.cfg"
            ))?;
        }
        for figure in &FIGURES {
            say(&format!("{}, {crowd} other domains", figure.name));
            rows.extend(pair(lab, figure, crowd)?);
        }
        for index in 0..crowd {
            lab.ok(&format!("xl destroy crowd-{index}"))?;
        }
    }
    Ok(rows)
}

/// The rows of one figure: flights, hypercalls, seconds.
fn pair(lab: &Lab, figure: &Figure, crowd: usize) -> Result<Vec<Row>, String> {
    let mut ours = (Runs::default(), Runs::default(), Runs::default());
    for _ in 0..ROUNDS {
        for tool in ["rxl", "xl"] {
            let (counts, seconds) = (counted(lab, figure, tool)?, timed(lab, figure, tool)?);
            let side = |runs: &mut Runs, value: f64| {
                if tool == "rxl" {
                    runs.ours.push(value);
                } else {
                    runs.peer.push(value);
                }
            };
            side(&mut ours.0, counts.flights as f64);
            side(&mut ours.1, counts.hypercalls as f64);
            side(&mut ours.2, seconds);
        }
    }
    let name = |what: &str| format!("{}, N={crowd}: {what}", figure.name);
    Ok(vec![
        Row::new(&name("xenstore flights"), "count", "xl 4.17", ours.0),
        Row::new(&name("hypercalls"), "count", "xl 4.17", ours.1),
        Row::new(&name("wall time"), "s", "xl 4.17", ours.2),
    ])
}

fn counted(lab: &Lab, figure: &Figure, tool: &str) -> Result<Counts, String> {
    let command = figure.command.replace("TOOL", tool);
    around(
        lab,
        figure,
        &format!("{STRACE} -o /tmp/strace.log {command} >/dev/null; cat /tmp/strace.log"),
    )
    .map(|log| count(&log))
}

/// Seconds by Dom0's own clock, so that the way into the lab does not count.
fn timed(lab: &Lab, figure: &Figure, tool: &str) -> Result<f64, String> {
    let command = figure.command.replace("TOOL", tool);
    let text = around(
        lab,
        figure,
        &format!("t=$EPOCHREALTIME; {command} >/dev/null || exit; echo $t $EPOCHREALTIME"),
    )?;
    let times: Vec<f64> = text
        .split_whitespace()
        .filter_map(|t| t.parse().ok())
        .collect();
    match times[..] {
        [start, end] => Ok(end - start),
        _ => Err(format!("`{command}` printed no times: {text}")),
    }
}

fn around(lab: &Lab, figure: &Figure, script: &str) -> Result<String, String> {
    if !figure.before.is_empty() {
        lab.ok(figure.before)?;
    }
    let text = lab.ok(script)?;
    if !figure.after.is_empty() {
        lab.ok(figure.after)?;
    }
    Ok(text)
}
