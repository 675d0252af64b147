// SPDX-License-Identifier: GPL-3.0-only
//! What a drill leaves behind: `report.json` for programs, `report.xml` (JUnit) for build servers, `report.html` for people.

mod chart;
mod html;
mod junit;
mod text;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::verdict::{Figure, Findings, Judged};
use crate::engine::{Bucket, Event, Incident};
use crate::plan::Plan;

/// Raised when readers of older reports would misunderstand a new one.
const FORMAT: u32 = 1;

/// A drill that was done, as `report.json` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The form of this file.
    pub format: u32,
    /// The drill's name.
    pub drill: String,
    /// What it shows.
    pub text: String,
    /// Where it ran.
    pub stage: String,
    /// Whether the service was protected.
    pub protected: bool,
    /// Whether it ran in short form.
    pub quick: bool,
    /// When the clients began, in ms since the UNIX epoch.
    pub started_ms: u64,
    /// The loads whose latencies count.
    pub timed: Vec<String>,
    /// How long they worked, in seconds.
    pub seconds: f64,
    /// What was in use.
    pub facts: Vec<String>,
    /// Whether every expectation was met.
    pub met: bool,
    /// The expectations.
    pub expectations: Vec<Judged>,
    /// The numbers.
    pub figures: Vec<Figure>,
    /// What each fault did.
    pub incidents: Vec<Incident>,
    /// What happened, in order of time.
    pub events: Vec<Event>,
    /// What clients saw, for each 100 ms.
    pub buckets: Vec<Bucket>,
    /// The drill file.
    pub file: String,
}

/// How a drill was run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// In short form.
    pub quick: bool,
    /// When, in ms since the UNIX epoch.
    pub started_ms: u64,
    /// What was in use.
    pub facts: Vec<String>,
    /// The drill file.
    pub file: String,
}

impl Record {
    /// A record of what was found.
    #[must_use]
    pub fn new(plan: &Plan, run: Run, findings: Findings) -> Self {
        Self {
            format: FORMAT,
            drill: plan.name.clone(),
            text: plan.text.trim().to_owned(),
            stage: plan.stage.name().to_owned(),
            protected: plan.service.protected,
            quick: run.quick,
            started_ms: run.started_ms,
            timed: plan
                .loads
                .iter()
                .filter(|load| plan.times(load))
                .map(|load| load.name.clone())
                .collect(),
            seconds: plan.duration.as_secs_f64(),
            facts: run.facts,
            met: findings.met(),
            expectations: findings.judged,
            figures: findings.figures,
            incidents: findings.incidents,
            events: findings.events,
            buckets: findings.buckets,
            file: run.file,
        }
    }

    /// The number of this name, if it was measured.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|it| it.name == name)?.value
    }

    /// Reads `report.json`.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text =
            fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let record: Self = serde_json::from_str(&text).map_err(|error| {
            format!("{name} is no report of a drill: {error}; give a report.json")
        })?;
        if record.format == FORMAT {
            return Ok(record);
        }
        let format = record.format;
        Err(format!(
            "{name} has form {format}, and this rxl-drill knows form {FORMAT}; take the one that wrote it"
        ))
    }

    /// Writes all three forms into `dir`, which is made if it is missing, and what the logger said beside them.
    ///
    /// # Errors
    /// The file that could not be written, and why.
    pub fn write(&self, dir: &Path, log: &str) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        let files = [
            ("ftlogger.log", log.to_owned()),
            ("report.json", json + "\n"),
            ("report.xml", junit::suite(self)),
            ("report.html", html::page(self)),
        ];
        let failed = |path: &Path, error| format!("cannot write {}: {error}", path.display());
        fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
        for (name, content) in files {
            let path = dir.join(name);
            fs::write(&path, content).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }

    /// For a terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        text::summary(self)
    }
}

/// Four significant digits at most, without zeros behind the point.
pub(crate) fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return format!("{value:.0}");
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 3.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
pub(crate) mod tests;
