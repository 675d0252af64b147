// SPDX-License-Identifier: GPL-3.0-only
//! The images of groups whose standbys are made of one: a file for each group, in a file system that lives in memory, so that
//! they outlive `rxld` but not the host.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::proto::GroupState;
use super::work::gone;
use crate::domain::{self, Host};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;

/// How long a guest may take to suspend itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a group's image is.
pub(super) fn path(host: &Host<'_>, group: &str) -> PathBuf {
    host.places.images.join(format!("{group}.image"))
}

/// Turns a domain into the group's image; it is gone then. If that fails, it is for the caller to destroy.
pub(super) fn capture(host: &Host<'_>, group: &str, domid: DomId) -> Result<u64> {
    let path = path(host, group);
    let bytes = domain::capture(host, domid, &path, Instant::now() + PATIENCE)?;
    match gone(domain::destroy(host, domid)) {
        Ok(()) => Ok(bytes),
        Err(mut error) => {
            if let Err(left) = remove(&path) {
                error.leftovers.push(left.to_string());
            }
            Err(error)
        }
    }
}

/// Removes the images of all groups but these that have one; what a supervisor that was killed has not finished goes, too.
pub(super) fn sweep(backend: &dyn Backend, groups: &[GroupState]) -> Result<()> {
    let connection = backend.open()?;
    let host = backend.host(&connection);
    let folder = &host.places.images;
    let failed = |error: io::Error| failed(folder, &error);
    if !is_there(folder)? {
        return Ok(());
    }
    let all = fs::read_dir(folder).map_err(failed)?;
    let keep = groups.iter().filter(|group| group.has_image());
    let keep: BTreeSet<PathBuf> = keep.map(|group| path(&host, &group.name)).collect();
    for entry in all {
        let path = entry.map_err(failed)?.path();
        let ours = ["image", "new"].map(OsStr::new);
        if path.extension().is_some_and(|it| ours.contains(&it)) && !keep.contains(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes an image, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    if !is_there(path.parent().unwrap_or(path))? {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

/// Whether the directory of images is there; one of somebody else's is an error.
fn is_there(folder: &Path) -> Result<bool> {
    match domain::own_folder(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.code == Code::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let object = path.display().to_string();
    Error::new(
        Code::System,
        "remove an image that is not needed",
        object,
        error,
    )
}
