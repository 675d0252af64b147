// SPDX-License-Identifier: GPL-3.0-only
//! The file in which an operator declares a service group: TOML, with the configuration files that it names.
//!
//! Who lives here: `text` (the form of the file), the checks, and what is said of its faults. Everything that is wrong is
//! told at once, with line, key and what to do.

mod check;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;
use uuid::Uuid;

use super::plan::{GroupPlan, Image};
use crate::config;
use crate::error::{Code, Error, Result};
pub(crate) use text::duration;
use text::{File, Source};

const OP: &str = "use the group file";

/// Reads the group file at `path` and the files that it names; their paths are taken from its folder.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<GroupPlan, Vec<Error>> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let failure = Error::new(Code::Usage, "read the group file", &name, error);
        vec![failure.hint("docs/service-groups.md has an example")]
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&name, &text, folder)
}

/// Reads `text`, called `name` in messages; files that it names are taken from `folder`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(name: &str, text: &str, folder: &Path) -> Result<GroupPlan, Vec<Error>> {
    let mut findings = Findings {
        name,
        text,
        errors: Vec::new(),
    };
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().trim().replace('\n', "; ");
            findings.add(at, None, message, "see docs/service-groups.md");
            return Err(findings.errors);
        }
    };
    let plan = check::plan(&file, folder, &mut findings);
    match plan {
        Some(plan) if findings.errors.is_empty() => Ok(plan),
        _ => Err(findings.errors),
    }
}

/// What is wrong with a file, in the order in which it was found.
struct Findings<'a> {
    name: &'a str,
    text: &'a str,
    errors: Vec<Error>,
}

impl Findings<'_> {
    /// Says what is wrong at byte `at`. Without a key, the one in its line is named.
    fn add(&mut self, at: usize, key: Option<&str>, cause: impl std::fmt::Display, hint: &str) {
        let before = self.text.get(..at).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        let here = self.text.lines().nth(line - 1).unwrap_or_default();
        let own = here.split_once('=').map(|(key, _)| key.trim());
        let place = match key.or(own) {
            Some(key) => format!("{}:{line}: {key}", self.name),
            None => format!("{}:{line}", self.name),
        };
        self.errors
            .push(Error::new(Code::Usage, OP, place, cause).hint(hint));
    }

    fn at<T>(&mut self, what: &Spanned<T>, key: &str, cause: impl std::fmt::Display, hint: &str) {
        self.add(what.span().start, Some(key), cause, hint);
    }
}

/// What members are made from; `key` is the table that says so.
fn image(
    source: &Source<'_>,
    logger: &str,
    folder: &Path,
    findings: &mut Findings<'_>,
) -> Option<Image> {
    let key = format!("{}.config", source.table);
    let path = folder.join(source.config.get_ref());
    let mut read = || match config::load(&path, source.set) {
        Ok(Ok(loaded)) => Some(loaded.config),
        Ok(Err(invalid)) => {
            let cause = format!("{} has errors:\n{invalid}", path.display());
            findings.at(
                source.config,
                &key,
                cause,
                "`rxl create -n FILE` checks it alone",
            );
            None
        }
        Err(error) => {
            let hint = "the path is taken from the folder of the group file";
            findings.at(
                source.config,
                &key,
                format!("{}: {}", error.object, error.cause),
                hint,
            );
            None
        }
    };
    let (mut config, again) = (read()?, read()?);
    // Each member gets its own; the file that was applied before is the same file.
    config.uuid = Uuid::nil();
    let Some(devid) = config
        .vifs
        .iter()
        .position(|vif| vif.backend.as_deref() == Some(logger))
    else {
        let cause = format!("none of its network interfaces has backend={logger}");
        let hint = format!(
            "give it vif=['mac=...,backend={logger}']: the way to it must lead through the logger"
        );
        findings.at(source.config, &key, cause, &hint);
        return None;
    };
    // Made at random if the file does not say.
    if config.vifs[devid].mac != again.vifs[devid].mac {
        let cause = "its network interface has no mac=";
        let hint = "give it one: all members answer under the same hardware address";
        findings.at(source.config, &key, cause, hint);
        return None;
    }
    Some(Image {
        source: std::path::absolute(&path)
            .unwrap_or_else(|_| PathBuf::from(&path))
            .display()
            .to_string(),
        config: Box::new(config),
        devid,
    })
}

/// The configuration that `rxl ft upgrade --to` names.
///
/// # Errors
/// What is wrong with it.
pub fn image_of(path: &Path, overrides: &[String], logger: &str) -> Result<Image, Vec<Error>> {
    let name = path.display().to_string();
    let config = Spanned::new(0..0, name.clone());
    let mut findings = Findings {
        name: &name,
        text: "",
        errors: Vec::new(),
    };
    let source = Source {
        table: "--to",
        config: &config,
        set: overrides,
    };
    image(&source, logger, Path::new(""), &mut findings).ok_or(findings.errors)
}

#[cfg(test)]
mod tests;
