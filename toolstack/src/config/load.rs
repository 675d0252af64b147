// SPDX-License-Identifier: GPL-3.0-only
//! The way in: a file with overriding arguments, bytes, or the JSON form.

use std::fmt;
use std::path::{Path, PathBuf};

use super::fields::Fields;
use super::read::{self, name_fault};
use super::source::{Diagnostic, Findings, Source};
use super::{DomainConfig, grammar};
use crate::error::{Code, Error, Result};

/// What the arguments after the file are called in messages.
const ARGUMENTS: &str = "command line";

/// A configuration, and what in its text has no effect.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: DomainConfig,
    /// Warnings, in the order of the text.
    pub warnings: Vec<Diagnostic>,
}

/// Why there is no configuration: every error of the text.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// Errors (at most [`super::MOST_ERRORS`]) and warnings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// How many errors there were in all.
    pub errors: usize,
}

impl fmt::Display for Invalid {
    /// One diagnostic after the other, and how many more errors there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{diagnostic}")?;
        }
        match self.errors.saturating_sub(super::MOST_ERRORS) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more errors"),
        }
    }
}

impl std::error::Error for Invalid {}

/// Reads `text`, called `name` in messages, and then `overrides`, each a `key=value` as after `xl create FILE`.
///
/// # Errors
///
/// Everything that is wrong, told at once.
pub fn parse(name: &str, text: &[u8], overrides: &[String]) -> Result<Loaded, Invalid> {
    let arguments = overrides.join("\n");
    let mut sources = vec![Source { name, bytes: text }];
    if !overrides.is_empty() {
        sources.push(Source {
            name: ARGUMENTS,
            bytes: arguments.as_bytes(),
        });
    }
    let mut findings = Findings::new(&sources);
    let settings = grammar::read(&sources, &mut findings);
    let config = read::read(&mut Fields::new(&settings, &mut findings));
    let (diagnostics, errors) = findings.finish();
    match config {
        Some(config) if errors == 0 => Ok(Loaded {
            config,
            warnings: diagnostics,
        }),
        _ => Err(Invalid {
            diagnostics,
            errors,
        }),
    }
}

/// Reads the file at `path` and `overrides`. Relative paths in it are taken from the current directory, as xl takes
/// them, and made absolute, so that a later restart finds the same files.
///
/// # Errors
///
/// The outer error: the file cannot be read. The inner one: its content is wrong.
pub fn load(path: &Path, overrides: &[String]) -> Result<Result<Loaded, Invalid>> {
    let failed = |cause: std::io::Error| {
        let file = path.display().to_string();
        let error = Error::new(Code::Usage, "read the configuration", file, &cause);
        match cause.kind() {
            std::io::ErrorKind::NotFound => error.hint("check the path of the file"),
            _ => error,
        }
    };
    let text = std::fs::read(path).map_err(failed)?;
    let mut loaded = match parse(&path.display().to_string(), &text, overrides) {
        Ok(loaded) => loaded,
        Err(invalid) => return Ok(Err(invalid)),
    };
    let config = &mut loaded.config;
    absolute(&mut config.kernel).map_err(failed)?;
    if let Some(ramdisk) = &mut config.ramdisk {
        absolute(ramdisk).map_err(failed)?;
    }
    for disk in &mut config.disks {
        // A script's target may be anything: the name of an iSCSI unit or of a DRBD resource.
        if disk.script.is_none() {
            absolute(&mut disk.target).map_err(failed)?;
        }
    }
    Ok(Ok(loaded))
}

fn absolute(path: &mut PathBuf) -> std::io::Result<()> {
    *path = std::path::absolute(&*path)?;
    Ok(())
}

/// The JSON form, which [`from_json`] reads back: what a supervisor keeps for the day of a restart.
///
/// # Errors
///
/// A path that is not UTF-8 text.
pub fn to_json(config: &DomainConfig) -> Result<String> {
    serde_json::to_string_pretty(config).map_err(|e| {
        Error::new(
            Code::System,
            "write its configuration as JSON",
            &config.name,
            e,
        )
    })
}

/// Reads the JSON form back and checks what its types cannot express.
///
/// # Errors
///
/// It is not JSON of a configuration, or breaks a rule that `parse` would enforce.
pub fn from_json(name: &str, text: &str) -> Result<DomainConfig> {
    let failed = |cause: String| Error::new(Code::Usage, "read the configuration", name, cause);
    let config: DomainConfig = serde_json::from_str(text).map_err(|e| failed(e.to_string()))?;
    let fault = name_fault(&config.name).or({
        if config.memory.0 == 0 || config.max_memory < config.memory {
            Some("memory must be more than 0 and not more than max_memory")
        } else if config.vcpus == 0 || config.max_vcpus < config.vcpus {
            Some("vcpus must be more than 0 and not more than max_vcpus")
        } else {
            None
        }
    });
    match fault {
        Some(fault) => Err(failed(fault.to_owned())),
        None => Ok(config),
    }
}
