// SPDX-License-Identifier: GPL-3.0-only
//! A domain becomes an image in Dom0's memory, of which others are made without booting.
//!
//! The image is libxc's migration stream of a guest that has suspended itself, so it can be had of any guest whose kernel can
//! suspend, PV or PVH; its devices connect anew in the domain that is made of it. Disks are not in it: a guest that writes
//! to one must not be copied.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use super::Host;
use super::names::existing;
use super::power::wait_end;
use crate::error::{Code, Error, Result};
use crate::hypervisor::ShutdownReason;
use crate::ids::{DomId, KiB};
use crate::store::{Request, StoreExt, XsPath};

const OP: &str = "take the domain's image";
/// The word at `control/shutdown`.
const SUSPEND: &str = "suspend";
/// What an image takes beside the memory, in KiB: headers and page numbers, 16 bytes for each page at most, and the
/// processors' state.
const BESIDE: u64 = 1024;

/// Has the guest suspend itself and writes its image to `image`, which is there whole or not at all. Returns its length in
/// bytes. The domain stays suspended: whoever has asked for this destroys it.
///
/// # Errors
/// `Code::NotFound`; `Code::State` if the guest cannot suspend, has ended, or ends otherwise; `Code::Resources` if there is no
/// room for the image; `Code::Timeout` if the guest has not suspended itself by `deadline`, which it then is no longer asked
/// for. In all of these cases no image is left, nor a part of one.
pub fn capture(host: &Host<'_>, id: DomId, image: &Path, deadline: Instant) -> Result<u64> {
    let info = existing(host.hv, OP, id)?;
    let refuse =
        |code, cause: String| Error::new(code, OP, format!("domain {id}"), cause).domain(id);
    if info.state.dying || info.state.shutdown.is_some() {
        return Err(refuse(Code::State, "it has ended".into()));
    }
    let control = XsPath::domain(id).join("control");
    let feature = control.join("feature-suspend");
    if host.store.read_text(&feature)?.as_deref() != Some("1") {
        let cause = "its kernel does not say that it can suspend itself (control/feature-suspend)";
        return Err(refuse(Code::State, cause.into())
            .hint("Linux needs CONFIG_HIBERNATE_CALLBACKS, and to have booted so far"));
    }
    let about = |error: io::Error| failed(image, &error).domain(id);
    let folder = image.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(about)?;
    own_folder(folder).map_err(|error| error.domain(id))?;
    room(folder, info.memory).map_err(|error| error.domain(id))?;

    let request = control.join("shutdown");
    host.store
        .request(Request::write(request.clone(), SUSPEND))?;
    if let Err(error) = wait_end(host, &[id], Some(deadline)) {
        // A guest that has taken the request has emptied the node; then this changes nothing.
        let _ = host.store.request(Request::write(request, ""));
        return Err(error.domain(id));
    }
    match existing(host.hv, OP, id)?.state.shutdown {
        Some(ShutdownReason::Suspend) => {}
        other => {
            let how =
                other.map_or_else(|| "is dying".into(), |reason| format!("ended: {reason:?}"));
            return Err(refuse(
                Code::State,
                format!("it {how}, instead of suspending itself"),
            ));
        }
    }
    let unfinished = image.with_extension("new");
    let written = write(host, id, &unfinished).and_then(|bytes| {
        fs::rename(&unfinished, image)
            .map(|()| bytes)
            .map_err(about)
    });
    if written.is_err() {
        // What is left of it is in the way of the next one only, which overwrites it.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write(host: &Host<'_>, id: DomId, path: &Path) -> Result<u64> {
    let about = |error: io::Error| failed(path, &error).domain(id);
    // It has what the guest has in its memory: keys, say.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(about)?;
    host.hv.save(id, &file)?;
    Ok(file.metadata().map_err(about)?.len())
}

/// Whether an image of so much memory can be written there.
fn room(folder: &Path, memory: KiB) -> Result<()> {
    let about = |error: rustix::io::Errno| failed(folder, &error.into());
    let there = rustix::fs::statvfs(folder).map_err(about)?;
    let free = KiB(there.f_bavail.saturating_mul(there.f_frsize) / 1024);
    let needed = KiB(memory.0 + memory.0 / 256 + BESIDE);
    if needed <= free {
        return Ok(());
    }
    let cause = format!(
        "an image of {} MiB is to be written there, and {} MiB are free",
        needed.0.div_ceil(1024),
        free.mib()
    );
    let hint = "give Dom0 more memory, or its /dev/shm: mount -o remount,size=SIZE /dev/shm";
    Err(Error::new(Code::Resources, OP, folder.display().to_string(), cause).hint(hint))
}

/// Looks whether a directory of images is there and nobody else's. What it lies in anybody may write to (`/dev/shm`), so that
/// somebody may have made it before, or a link in its place.
///
/// # Errors
/// `Code::NotFound` if it is not there, `Code::Denied` if others may write there.
pub(crate) fn own_folder(folder: &Path) -> Result<()> {
    let op = "use the directory of images";
    let object = folder.display().to_string();
    let there = fs::symlink_metadata(folder).map_err(|error| unreadable(op, folder, error))?;
    let own = there.uid() == rustix::process::geteuid().as_raw();
    if there.is_dir() && own && there.mode() & 0o022 == 0 {
        return Ok(());
    }
    let cause = "it is no directory that rxl alone may write to; somebody else has made it";
    Err(Error::new(Code::Denied, op, object, cause).hint("look who, and remove it"))
}

/// Opens an image.
pub(super) fn open_image(path: &Path) -> Result<File> {
    own_folder(path.parent().unwrap_or(path)).or_else(|error| match error.code {
        // Then the image is not there either, which is what is to be told.
        Code::NotFound => Ok(()),
        _ => Err(error),
    })?;
    File::open(path).map_err(|error| unreadable("open the image", path, error))
}

fn unreadable(op: &str, path: &Path, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::System,
    };
    Error::new(code, op, path.display().to_string(), error)
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => Code::Resources,
        _ => Code::System,
    };
    Error::new(code, OP, path.display().to_string(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_not_there_is_asked_for_before_anything_is_done() {
        let folder = std::env::temp_dir();
        room(&folder, KiB(1)).unwrap();
        let refused = room(&folder, KiB(1 << 50)).unwrap_err();
        assert_eq!(refused.code, Code::Resources);
        assert!(refused.cause.contains("MiB are free"), "{refused}");
    }
}
