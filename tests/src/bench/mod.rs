// SPDX-License-Identifier: GPL-3.0-only
//! Measures beside a peer in the same run.
//!
//! Who lives here: the form of a result ([`Row`]) and how it is shown; `toolstack` (lab), `fttcp` (namespaces), `strace`
//! (counts from a log). Who may call in: the `bench` binary.

use std::path::Path;

use serde::Serialize;

pub mod failover;
pub mod fttcp;
pub mod strace;
pub mod toolstack;

/// One measured figure. All benches write arrays of this form.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// Our median.
    pub ours: f64,
    /// The peer's median, if there is a peer.
    pub peer: Option<f64>,
    /// Who the peer is.
    pub peer_name: String,
    /// Unit of both.
    pub unit: String,
    /// Ours divided by the peer's.
    pub ratio: Option<f64>,
    /// What must be reached, as a rule on the ratio or on ours: `">= 0.85"`; `None` while it is only printed.
    pub target: Option<String>,
    /// Whether it was reached.
    pub met: Option<bool>,
    /// The single measurements, ours and the peer's.
    pub runs: Runs,
}

/// The single measurements behind a [`Row`], in the order in which they were taken.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Runs {
    /// Ours.
    pub ours: Vec<f64>,
    /// The peer's; empty without a peer.
    pub peer: Vec<f64>,
}

impl Row {
    /// A figure from interleaved runs; the medians are compared.
    #[must_use]
    pub fn new(figure: &str, unit: &str, peer_name: &str, runs: Runs) -> Self {
        let ours = median(&runs.ours).unwrap_or(f64::NAN);
        let peer = median(&runs.peer);
        Self {
            figure: figure.to_owned(),
            ours,
            peer,
            peer_name: peer_name.to_owned(),
            unit: unit.to_owned(),
            ratio: peer.filter(|p| *p != 0.0).map(|p| ours / p),
            target: None,
            met: None,
            runs,
        }
    }
}

/// The median; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50.0)
}

/// The value below which `percent` of the values lie, by the nearest rank; `None` of nothing.
#[must_use]
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The table for a terminal.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<44} {:>12} {:>12} {:<16} {:>7}  {:<23} {}\n",
        "figure", "ours", "peer", "(peer)", "ratio", "spread of ours", "target"
    );
    for row in rows {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let spread = match (
            percentile(&row.runs.ours, 0.0),
            percentile(&row.runs.ours, 100.0),
        ) {
            (Some(low), Some(high)) if row.runs.ours.len() > 1 => {
                format!(
                    "{} .. {} of {}",
                    short(low),
                    short(high),
                    row.runs.ours.len()
                )
            }
            _ => "1 run".to_owned(),
        };
        let verdict = match (&row.target, row.met) {
            (Some(target), Some(true)) => format!("{target}: met"),
            (Some(target), _) => format!("{target}: NOT met"),
            (None, _) => "-".to_owned(),
        };
        text += &format!(
            "{:<44} {:>12} {:>12} {:<16} {:>7}  {spread:<23} {verdict}\n",
            format!("{} [{}]", row.figure, row.unit),
            short(row.ours),
            number(row.peer),
            row.peer_name,
            row.ratio
                .map_or_else(|| "-".to_owned(), |r| format!("{r:.3}")),
        );
    }
    text
}

/// Three significant digits, or all of a whole number.
fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return format!("{value:.0}");
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

/// Writes `out/bench/NAME.json` below `project`.
///
/// # Errors
/// The file that could not be written, and why.
pub fn write(project: &Path, name: &str, rows: &[Row]) -> Result<(), String> {
    let dir = project.join("out/bench");
    let path = dir.join(format!("{name}.json"));
    let json = serde_json::to_string_pretty(rows).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(&path, json + "\n"))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(percentile(&values, 50.0), Some(3.0));
        assert_eq!(percentile(&values, 99.0), Some(5.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn row_compares_medians() {
        let row = Row::new(
            "x",
            "s",
            "peer",
            Runs {
                ours: vec![1.0, 9.0, 2.0],
                peer: vec![4.0, 4.0, 5.0],
            },
        );
        assert_eq!((row.ours, row.peer, row.ratio), (2.0, Some(4.0), Some(0.5)));
        assert!(table(&[row]).contains("1 .. 9 of 3"));
    }
}
