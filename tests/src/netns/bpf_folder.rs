// SPDX-License-Identifier: GPL-3.0-only
//! A BPF file system that outlives a process in a namespace: `ip netns exec` gives each its own /sys. A logger that is
//! started again finds there what the fast path has copied out.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// See the module's text. It goes away when dropped, after the logger.
#[derive(Debug)]
pub struct BpfFolder(PathBuf);

impl BpfFolder {
    /// Mounts one; `name` tells it from others of this process.
    ///
    /// # Errors
    /// It cannot be made or mounted.
    pub fn mount(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("rxl-bpf-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        let folder = Self(path);
        let mounted = Command::new("mount")
            .args(["-t", "bpf", "bpf"])
            .arg(&folder.0)
            .status();
        match mounted {
            Ok(status) if status.success() => Ok(folder),
            other => Err(format!("cannot mount {}: {other:?}", folder.0.display())),
        }
    }

    /// Options for `ftlogger`, by which it keeps its maps here.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        vec!["--bpffs".to_owned(), self.0.display().to_string()]
    }
}

impl Drop for BpfFolder {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
