// SPDX-License-Identifier: GPL-3.0-only
//! Measures beside a peer in the same run.
//!
//! Who lives here: the form of a result (`row`) and how it is shown, also in the documentation (`docs`); `sections`, of which
//! some benches consist; `toolstack` and `failover` (lab), `fttcp` and `services` (namespaces), `strace` (counts from a log). Who may call in: the `bench` binary.

use std::path::Path;

pub mod docs;
pub mod failover;
pub mod fttcp;
pub mod row;
mod sections;
pub mod services;
pub mod strace;
pub mod toolstack;

pub use row::{Better, Gate, Row, Runs, median, percentile};
pub use sections::Options;

/// The table for a terminal.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let width = |row: &Row| row.figure.chars().count() + row.unit.chars().count() + 3;
    let width = rows.iter().map(width).max().unwrap_or(0).max(20);
    let mut text = format!(
        "{:<width$} {:>9} {:>9} {:<22} {:>6} {:>6}  {:<24} {}\n",
        "figure", "ours", "peer", "(peer)", "ratio", "best", "spread of ours", "target"
    );
    for row in rows {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let ratio =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |r| format!("{r:.3}"));
        let ends = [0.0, 100.0].map(|percent| percentile(&row.runs.ours, percent));
        let spread = match ends {
            [Some(low), Some(high)] if row.runs.ours.len() > 1 => {
                let count = row.runs.ours.len();
                format!("{} .. {} of {count}", short(low), short(high))
            }
            [Some(_), _] => "1 run".to_owned(),
            _ => "no run".to_owned(),
        };
        let verdict = match (&row.target, row.met) {
            (Some(target), Some(true)) => format!("{target}: met"),
            (Some(target), _) => format!("{target}: NOT met"),
            (None, _) => "-".to_owned(),
        };
        text += &format!(
            "{:<width$} {:>9} {:>9} {:<22} {:>6} {:>6}  {spread:<24} {verdict}\n",
            format!("{} [{}]", row.figure, row.unit),
            short(row.ours),
            number(row.peer),
            row.peer_name,
            ratio(row.ratio),
            ratio(row.best),
        );
    }
    text
}

/// Three significant digits, or all of a whole number.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
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
    fn table_shows_spread_and_what_failed() {
        let runs = Runs {
            ours: vec![1.0, 9.0, 2.0],
            peer: vec![4.0, 4.0, 5.0],
        };
        let row = Row::new("x", "s", "peer", runs);
        let text = table(&[row, Row::failed("y", "no proxy")]);
        assert!(text.contains("1 .. 9 of 3"), "{text}");
        assert!(
            text.contains("to be measured (no proxy): NOT met"),
            "{text}"
        );
    }
}
