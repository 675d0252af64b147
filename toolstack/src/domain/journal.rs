// SPDX-License-Identifier: GPL-3.0-only
//! The journal: one small file for each operation under way, so that whoever comes after a killed process can bring
//! its operation to done or undone.
//!
//! An entry is written before the first effect and removed after the last. It names the domain by its handle
//! (unique among living domains, and known before the number is), so one write is enough. The
//! directory lies on a tmpfs: a reboot of Dom0 ends every domain, and every entry with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Code, Error, Result};
use crate::ids::DomId;

/// A process, told from a later one with the same number by the time at which it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process number.
    pub pid: u32,
    /// Start time in clock ticks since the boot (`/proc/PID/stat`, field 22).
    pub started: u64,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: start_time(pid).unwrap_or(0),
        }
    }

    /// Whether the process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name, field 2, is in parentheses and may itself contain blanks and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Making a domain. A killed one is undone.
    Create,
    /// Taking a domain away. A killed one is finished.
    Destroy,
}

impl Operation {
    const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Destroy => "destroy",
        }
    }
}

/// One operation under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it does.
    pub operation: Operation,
    /// Who does it.
    pub owner: Owner,
    /// The domain's name.
    pub name: String,
    /// The domain's handle.
    pub uuid: Uuid,
    /// The domain's number, if it was known when the entry was written.
    pub domain: Option<DomId>,
}

/// An open entry. Dropping it leaves the file: only [`OpenEntry::close`] says that nothing is left to do.
#[derive(Debug)]
pub(super) struct OpenEntry {
    path: PathBuf,
}

/// Tells entries of one process apart.
static SERIAL: AtomicU32 = AtomicU32::new(0);

impl OpenEntry {
    /// Writes the entry under `directory`, which is made if it is missing. The file appears whole or not at all.
    pub(super) fn create(directory: &Path, entry: &Entry) -> Result<Self> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "{}-{}-{serial}.json",
            entry.operation.word(),
            entry.owner.pid
        );
        let path = directory.join(&name);
        let temporary = directory.join(format!(".{name}"));
        let text =
            serde_json::to_vec(entry).map_err(|error| failed("write the journal", &path, error))?;
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&temporary, text))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|error| failed("write the journal", &path, error))?;
        Ok(Self { path })
    }

    /// Removes the entry: the operation is done or undone.
    pub(super) fn close(self) -> Result<()> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("close the journal entry", path, error))
        }
        _ => Ok(()),
    }
}

fn failed(op: &str, path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(Code::System, op, path.display().to_string(), cause)
}

/// The entries whose process is gone, each with its file.
pub(super) fn orphans(directory: &Path) -> Result<Vec<(OpenEntry, Entry)>> {
    let files = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| failed("read the journal", directory, error))?,
    };
    let mut found = Vec::new();
    for file in files {
        let path = file
            .map_err(|error| failed("read the journal", directory, error))?
            .path();
        if path.extension().is_none_or(|extension| extension != "json") || hidden(&path) {
            continue;
        }
        let text = match fs::read(&path) {
            // Its operation has just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|error| failed("read the journal entry", &path, error))?,
        };
        let entry: Entry = serde_json::from_slice(&text)
            .map_err(|error| failed("understand the journal entry", &path, error))?;
        if !entry.owner.is_alive() {
            found.push((OpenEntry { path }, entry));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    Ok(found)
}

/// A temporary file of a process that was killed before its entry appeared; it has had no effect.
fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_this_process_is_alive_and_one_started_at_another_time_is_not() {
        let owner = Owner::this_process();
        assert!(owner.is_alive());
        assert!(
            !Owner {
                started: owner.started + 1,
                ..owner
            }
            .is_alive()
        );
    }
}
