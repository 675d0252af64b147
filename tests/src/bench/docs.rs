// SPDX-License-Identifier: GPL-3.0-only
//! The table in docs/specification.md: what is between two marks is replaced by what was measured.

use std::fs;
use std::path::Path;

use super::{Row, short};

const FILE: &str = "docs/specification.md";

/// Puts the rows of bench `name` into the documentation of `project`.
///
/// # Errors
/// The file cannot be read or written, or has no marks for this bench.
pub fn update(project: &Path, name: &str, rows: &[Row]) -> Result<(), String> {
    let path = project.join(FILE);
    let failed = |error| format!("cannot rewrite {}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(failed)?;
    let marks = marks(name);
    let new = replace(&text, &marks, &markdown(rows))
        .ok_or_else(|| format!("{FILE} has no lines {} and {}", marks[0], marks[1]))?;
    fs::write(&path, new).map_err(failed)
}

fn marks(name: &str) -> [String; 2] {
    ["begin", "end"].map(|end| format!("<!-- {end}: scripts/bench {name} -->"))
}

fn replace(text: &str, [begin, end]: &[String; 2], new: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{new}{end}{after}"))
}

fn markdown(rows: &[Row]) -> String {
    let mut text =
        "| figure | ours | peer | ratio (best) | must reach |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let number = |value: Option<f64>| value.filter(|v| v.is_finite()).map(short);
        let unit = &row.unit;
        let ours = number(Some(row.ours)).map_or_else(String::new, |ours| format!("{ours} {unit}"));
        let peer = number(row.peer).unwrap_or_default();
        let ratio = row.ratio.map_or_else(String::new, |ratio| {
            let best = row.best.map(|best| format!(" ({best:.3})"));
            format!("{ratio:.3}{}", best.unwrap_or_default())
        });
        let target = match (&row.target, row.met) {
            (Some(target), Some(true)) => format!("{target}: met"),
            (Some(target), _) => format!("{target}: **not met**"),
            (None, _) => String::new(),
        };
        let peer = match row.peer_name.as_str() {
            "-" => peer,
            name => format!("{peer} {name}").trim().to_owned(),
        };
        text += &format!(
            "| {} | {ours} | {peer} | {ratio} | {target} |\n",
            row.figure
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Gate, Runs};

    #[test]
    fn replace_keeps_what_is_around_the_marks() {
        let marks = marks("fttcp");
        let text = format!("a\n{}\nold\n{}\nb\n", marks[0], marks[1]);
        let new = replace(&text, &marks, "new\n").unwrap();
        assert_eq!(new, format!("a\n{}\nnew\n{}\nb\n", marks[0], marks[1]));
        assert_eq!(replace("none", &marks, "new"), None);
    }

    #[test]
    fn markdown_shows_value_peer_ratio_and_verdict() {
        let runs = Runs {
            ours: vec![3.0],
            peer: vec![4.0],
        };
        let row = Row::new("x", "s", "Linux bridge", runs).gated(Gate::RatioAtLeast(0.85));
        let line = "| x | 3 s | 4 Linux bridge | 0.750 | ratio >= 0.85: **not met** |\n";
        assert!(markdown(&[row]).ends_with(line), "{}", markdown(&[]));
    }
}
