// SPDX-License-Identifier: GPL-3.0-only
//! A report for a terminal: expectations and the main numbers.

use std::fmt::Write;

use super::{Record, short};

/// What is told there; the other numbers are in the files.
const TOLD: [&str; 5] = [
    "requests that ended well",
    "connections moved",
    "gap, longest",
    "latency, p99",
    "throughput after : before",
];

pub(super) fn summary(record: &Record) -> String {
    let mut text = String::new();
    let wide = |of: fn(&crate::engine::verdict::Judged) -> &str| {
        let lengths = record.expectations.iter().map(|it| of(it).chars().count());
        lengths.max().unwrap_or(0)
    };
    let (what, wanted) = (wide(|it| &it.what), wide(|it| &it.wanted));
    for it in &record.expectations {
        let verdict = if it.met { "ok  " } else { "FAIL" };
        let _ = writeln!(
            text,
            "{verdict}  {:<what$}  {:<wanted$}  {}",
            it.what, it.wanted, it.seen
        );
    }
    let figures = record
        .figures
        .iter()
        .filter(|it| TOLD.contains(&it.name.as_str()));
    let told: Vec<String> = figures
        .filter_map(|it| {
            Some(
                format!("{}: {} {}", it.name, short(it.value?), it.unit)
                    .trim_end()
                    .to_owned(),
            )
        })
        .collect();
    let verdict = if record.met {
        "every expectation is met"
    } else {
        "NOT every expectation is met"
    };
    let _ = writeln!(text, "\n{}: {verdict}", record.drill);
    let _ = writeln!(text, "{}", told.join("; "));
    text
}
