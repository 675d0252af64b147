// SPDX-License-Identifier: GPL-3.0-only
//! Two reports side by side: whether the second one is worse.

use std::fmt::Write;

use serde::Serialize;

use crate::engine::verdict::Better;
use crate::report::{Record, short};

/// Differences of times below this are the machine's, in ms.
const LEAST_MS: f64 = 5.0;

/// One figure of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What it is.
    pub figure: String,
    /// Its unit; empty for counts.
    pub unit: String,
    /// The first report's.
    pub a: Option<f64>,
    /// The second's.
    pub b: Option<f64>,
    /// By how many percent the second is the higher one.
    pub change: Option<f64>,
    /// Whether the second is worse by more than is tolerated.
    pub worse: bool,
}

/// Compares all figures. `tolerance` is in percent.
#[must_use]
pub fn compare(a: &Record, b: &Record, tolerance: f64) -> Vec<Line> {
    let line = |figure: &crate::engine::verdict::Figure| {
        let (before, after) = (figure.value, b.figure(&figure.name));
        let change = before.zip(after).filter(|(before, _)| *before != 0.0);
        let part = tolerance / 100.0;
        let worse = match (before, after) {
            (Some(before), Some(after)) => match figure.better {
                Better::Never => after > before,
                Better::Less => after > before * (1.0 + part) && after - before > LEAST_MS,
                Better::More => after < before * (1.0 - part),
                Better::Same => false,
            },
            // What could be measured and no longer can.
            (Some(_), None) => figure.better != Better::Same,
            (None, _) => false,
        };
        Line {
            figure: figure.name.clone(),
            unit: figure.unit.clone(),
            a: before,
            b: after,
            change: change.map(|(before, after)| (after / before - 1.0) * 100.0),
            worse,
        }
    };
    let mut lines: Vec<Line> = a.figures.iter().map(line).collect();
    let unmet = |record: &Record| record.expectations.iter().filter(|it| !it.met).count() as f64;
    lines.push(Line {
        figure: "expectations that are not met".to_owned(),
        unit: String::new(),
        a: Some(unmet(a)),
        b: Some(unmet(b)),
        change: None,
        worse: unmet(b) > unmet(a),
    });
    lines
}

/// For a terminal.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let wide = lines
        .iter()
        .map(|line| line.figure.chars().count() + line.unit.len() + 3);
    let wide = wide.max().unwrap_or(0);
    let mut text = format!(
        "{:<wide$} {:>10} {:>10} {:>9}\n",
        "figure", "A", "B", "change"
    );
    for line in lines {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let name = match line.unit.as_str() {
            "" => line.figure.clone(),
            unit => format!("{} [{unit}]", line.figure),
        };
        let change = line
            .change
            .map_or_else(String::new, |change| format!("{change:+.1} %"));
        let worse = if line.worse { "  WORSE" } else { "" };
        let _ = writeln!(
            text,
            "{name:<wide$} {:>10} {:>10} {change:>9}{worse}",
            number(line.a),
            number(line.b)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;

    fn worse(change: impl Fn(&mut Record)) -> Vec<String> {
        let (a, mut b) = (record(), record());
        change(&mut b);
        let lines = compare(&a, &b, 20.0).into_iter();
        lines
            .filter(|line| line.worse)
            .map(|line| line.figure)
            .collect()
    }

    #[test]
    fn same_report_is_not_worse() {
        assert!(worse(|_| {}).is_empty());
    }

    #[test]
    fn more_failures_and_much_longer_gaps_are_worse() {
        assert_eq!(
            worse(|b| b.figures[0].value = Some(4.0)),
            ["failed requests"]
        );
        assert!(worse(|b| b.figures[0].value = Some(2.0)).is_empty());
        assert!(
            worse(|b| b.figures[1].value = Some(49.0)).is_empty(),
            "within the tolerance"
        );
        assert_eq!(worse(|b| b.figures[1].value = Some(50.0)), ["gap, longest"]);
        assert_eq!(worse(|b| b.figures[1].value = None), ["gap, longest"]);
        let unmet = worse(|b| b.expectations[1].met = false);
        assert_eq!(unmet, ["expectations that are not met"]);
    }

    #[test]
    fn table_shows_the_change() {
        let (a, mut b) = (record(), record());
        b.figures[1].value = Some(83.0);
        let text = table(&compare(&a, &b, 20.0));
        assert!(
            text.contains("gap, longest [ms]") && text.contains("+100.0 %  WORSE"),
            "{text}"
        );
    }
}
