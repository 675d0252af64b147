// SPDX-License-Identifier: GPL-3.0-only
//! Drives the lab: real Xen and Dom0 in software emulation, through `scripts/lab`.
//!
//! Who may call in: the demo, the benches and the tests of what touches Xen.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A running lab. Dropping it leaves it running; [`Lab::down`] ends it.
#[derive(Debug)]
pub struct Lab {
    script: PathBuf,
}

/// What a command in Dom0 gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; 128 + signal if it was killed.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// The project's root folder.
#[must_use]
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Lab {
    /// Boots the lab, or uses the one that runs.
    ///
    /// # Errors
    /// What `scripts/lab up` said when it failed.
    pub fn up() -> Result<Self, String> {
        let lab = Self {
            script: project().join("scripts/lab"),
        };
        let status = Command::new(&lab.script)
            .arg("up")
            .stdin(Stdio::null())
            .status()
            .map_err(|e| format!("cannot start {}: {e}", lab.script.display()))?;
        if status.success() {
            Ok(lab)
        } else {
            Err(format!("scripts/lab up failed: {status}"))
        }
    }

    /// Runs `script` by bash in Dom0; a failure to reach Dom0 and a failing command look the same here.
    ///
    /// # Errors
    /// `scripts/lab` itself could not be started.
    pub fn run(&self, script: &str) -> Result<Ran, String> {
        let output = self.call(["exec", "--", "bash", "-c", script])?;
        Ok(Ran {
            code: output.status.code().unwrap_or(128),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs `script` by bash in Dom0 and returns its standard output.
    ///
    /// # Errors
    /// The script, its exit code and its standard error, if it did not exit with 0.
    pub fn ok(&self, script: &str) -> Result<String, String> {
        let ran = self.run(script)?;
        if ran.code == 0 {
            return Ok(ran.stdout);
        }
        Err(format!(
            "in Dom0: `{script}` exited with {}: {}{}",
            ran.code,
            ran.stderr.trim(),
            ran.stdout.trim()
        ))
    }

    /// Copies `local` to `remote` in Dom0.
    ///
    /// # Errors
    /// What `scripts/lab put` said when it failed.
    pub fn put(&self, local: &Path, remote: &str) -> Result<(), String> {
        let output = self.call([OsStr::new("put"), local.as_os_str(), OsStr::new(remote)])?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "cannot copy {} to Dom0: {}",
            local.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }

    /// Waits until the console log of guest `name` contains `text`.
    ///
    /// # Errors
    /// The end of the log, if the text did not come within `seconds`.
    pub fn wait_console(&self, name: &str, text: &str, seconds: u32) -> Result<(), String> {
        let log = format!("/var/log/xen/console/guest-{name}.log");
        // tail follows the file even if it does not exist yet; it is ended as soon as grep has decided.
        let script = format!(
            "exec {{fd}}< <(exec tail -n +1 -F '{log}' 2>/dev/null); pid=$!; \
             timeout {seconds} grep -q -m1 -- '{text}' <&$fd; rc=$?; kill $pid; exit $rc"
        );
        if self.run(&script)?.code == 0 {
            return Ok(());
        }
        let end = self.run(&format!("tail -n 25 '{log}'"))?.stdout;
        Err(format!(
            "guest {name} did not print \"{text}\" within {seconds} s; the end of its console:\n{end}"
        ))
    }

    /// Ends the lab.
    ///
    /// # Errors
    /// What `scripts/lab down` said when it failed.
    pub fn down(&self) -> Result<(), String> {
        let output = self.call(["down"])?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "scripts/lab down failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }

    fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output, String> {
        Command::new(&self.script)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot start {}: {e}", self.script.display()))
    }
}
