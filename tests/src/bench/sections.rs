// SPDX-License-Identifier: GPL-3.0-only
//! Benches of several sections: which are measured, how the results are called, and what a failed one means.

use std::fmt::Debug;

use clap::ValueEnum;

use super::Row;
use super::fttcp::plan::Plan;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options<S> {
    /// Only whether everything works: short runs, without verdicts.
    pub quick: bool,
    /// One section only.
    pub only: Option<S>,
}

impl<S: Debug> Options<S> {
    /// What the results of this bench are called: only those of a whole run have its own name.
    #[must_use]
    pub fn name(&self, bench: &str) -> String {
        let mut name = bench.to_owned();
        if let Some(section) = &self.only {
            name += &format!("-{section:?}").to_lowercase();
        }
        if self.quick {
            name += "-quick";
        }
        name
    }

    /// How much is measured.
    pub(super) const fn plan(&self) -> Plan {
        if self.quick { Plan::QUICK } else { Plan::FULL }
    }
}

/// Measures. A section that fails becomes a row that says so, and the others are measured all the same. Short runs give
/// no verdicts.
pub(super) fn run<S: ValueEnum + PartialEq + Copy + Debug>(
    Options { quick, only }: Options<S>,
    say: &dyn Fn(&str),
    measure: &dyn Fn(S) -> Result<Vec<Row>, String>,
) -> Vec<Row> {
    warn_if_busy(say);
    let sections = S::value_variants().iter().copied();
    let sections = sections.filter(|section| only.is_none_or(|only| only == *section));
    let mut rows = Vec::new();
    for section in sections {
        let name = format!("{section:?}").to_lowercase();
        say(&name);
        match measure(section) {
            Ok(measured) => rows.extend(measured),
            Err(why) => {
                say(&format!("{name} failed: {why}"));
                let line = why.lines().next().unwrap_or_default();
                rows.push(Row::failed(&name, line));
            }
        }
    }
    if quick {
        for row in &mut rows {
            let failed = row.runs.ours.is_empty();
            (row.target, row.met) = if failed {
                (row.target.take(), row.met)
            } else {
                (None, None)
            };
        }
    }
    rows
}

/// Says so if other programs run: then every time is too long, for both sides.
fn warn_if_busy(say: &dyn Fn(&str)) {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text
        .split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > 0.5) {
        say(&format!(
            "the machine is busy (load {load}); times are upper bounds, ratios are blurred"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Gate;

    #[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
    enum Section {
        Good,
        Bad,
    }

    fn rows(quick: bool) -> Vec<Row> {
        let options = Options { quick, only: None };
        run(options, &|_| {}, &|section| match section {
            Section::Good => Ok(vec![Row::alone("x", "s", 3.0).gated(Gate::AtMost(2.0))]),
            Section::Bad => Err("no proxy\nits log".to_owned()),
        })
    }

    #[test]
    fn failed_section_is_a_row_that_is_not_met() {
        let met: Vec<Option<bool>> = rows(false).iter().map(|row| row.met).collect();
        assert_eq!(met, [Some(false), Some(false)]);
        assert_eq!(
            rows(false)[1].target.as_deref(),
            Some("to be measured (no proxy)")
        );
    }

    #[test]
    fn short_run_judges_only_whether_it_worked() {
        let met: Vec<Option<bool>> = rows(true).iter().map(|row| row.met).collect();
        assert_eq!(met, [None, Some(false)]);
    }

    #[test]
    fn names_tell_what_was_run() {
        let name = |only, quick| Options::<Section> { quick, only }.name("x");
        assert_eq!(name(None, false), "x");
        assert_eq!(name(Some(Section::Bad), true), "x-bad-quick");
    }
}
