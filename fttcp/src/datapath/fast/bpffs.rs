// SPDX-License-Identifier: GPL-3.0-only
//! The folder in a BPF file system in which maps live on when their maker has died.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};

/// Where BPF file systems are mounted by custom.
pub(super) const DEFAULT: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const MAGIC: u32 = 0xcafe_4a11;

/// Makes sure that `base` is in a BPF file system, mounting one if there is none, and makes a folder in it for the
/// logger that listens at `socket`.
pub(super) fn prepare(base: &Path, socket: &Path) -> io::Result<PathBuf> {
    if statfs(base)?.f_type as u32 != MAGIC {
        mount(
            "bpf",
            base,
            "bpf",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            None,
        )?;
    }
    let dir = base.join("ftlogger").join(name(socket));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A folder's name for a socket's path: a BPF file system allows no dots in names.
fn name(socket: &Path) -> String {
    let plain = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(*byte)
        } else {
            '_'
        }
    };
    socket.as_os_str().as_bytes().iter().map(plain).collect()
}

/// Removes the folder and what is pinned in it.
pub(super) fn remove(dir: &Path) {
    // What cannot be removed costs memory, nothing else; the next logger at this place uses it again.
    let _ = fs::remove_dir_all(dir);
}
