// SPDX-License-Identifier: GPL-3.0-only
//! Drives the lab: real Xen and Dom0 in software emulation, through `scripts/lab`.
//!
//! Who lives here: `servers`, stock servers in guests. Who may call in: the demo, the benches and the tests of what touches Xen.

pub mod servers;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

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

/// What `scripts/lab exec` gives when its connection to Dom0 could not be made, or broke.
const BROKEN: i32 = 255;

/// How long a guest may take to boot in emulation on a busy machine, in seconds.
pub const BOOT_SECONDS: u32 = 400;

/// A script for Dom0's bash, which waits until the console log of guest `name` contains `text`. If that does not come
/// within `seconds`, it prints the end of the log, and fails.
#[must_use]
pub fn awaiting(name: &str, text: &str, seconds: u32) -> String {
    let log = format!("/var/log/xen/console/guest-{name}.log");
    // tail follows the file even if it does not exist yet; it is ended as soon as grep has decided.
    format!(
        "exec {{fd}}< <(exec tail -n +1 -F '{log}' 2>/dev/null); pid=$!; \
         timeout {seconds} grep -q -m1 -- '{text}' <&$fd; rc=$?; kill $pid; [ $rc = 0 ] && exit; \
         echo 'guest {name} did not print this within {seconds} s: {text}; the end of its console:'; \
         tail -n 25 '{log}'; exit 1"
    )
}

/// The project's root folder.
#[must_use]
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Lab {
    /// Whether a lab runs.
    ///
    /// # Errors
    /// What `scripts/lab status` said when it failed.
    pub fn runs() -> Result<bool, String> {
        let output = Self::here().call(["status", "--json"])?;
        let status: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
        let running = status.and_then(|status| status["running"].as_bool());
        running.ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("scripts/lab status failed: {}", said.trim())
        })
    }

    fn here() -> Self {
        Self {
            script: project().join("scripts/lab"),
        }
    }

    /// Boots the lab, or uses the one that runs.
    ///
    /// # Errors
    /// What `scripts/lab up` said when it failed.
    pub fn up() -> Result<Self, String> {
        let lab = Self::here();
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

    /// Makes these images, which only some need, if they are missing or out of date, and boots the lab with them on its disk
    /// `/lab`. One that runs with others, or without any, is started anew.
    ///
    /// # Errors
    /// What `scripts/lab` said when it failed.
    pub fn up_with(images: &[&str]) -> Result<Self, String> {
        let made = Self::here().call(["images"].iter().chain(images))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            return Err(format!("scripts/lab images failed: {}", said.trim()));
        }
        let lab = Self::up()?;
        for image in images {
            let key = project().join(format!("target/lab/images/{image}/.key"));
            let key = std::fs::read_to_string(&key)
                .map_err(|e| format!("cannot read {}: {e}", key.display()))?;
            if lab.run(&format!("cat /lab/{image}/key"))?.stdout != key {
                lab.down()?;
                return Self::up();
            }
        }
        Ok(lab)
    }

    /// Runs `script` by bash in Dom0.
    ///
    /// # Errors
    /// `scripts/lab` itself could not be started, or Dom0 was not reached or did not answer any more.
    pub fn run(&self, script: &str) -> Result<Ran, String> {
        let output = self.call(["exec", "--", "bash", "-c", script])?;
        let ran = Ran {
            code: output.status.code().unwrap_or(128),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if ran.code == BROKEN {
            let said = ran.stderr.trim();
            return Err(format!("Dom0 was not reached for `{script}`: {said}"));
        }
        Ok(ran)
    }

    /// What QEMU and Xen know of the machine, whether Dom0 answers or not.
    ///
    /// # Errors
    /// `scripts/lab` itself could not be started.
    pub fn examine(&self) -> Result<String, String> {
        let output = self.call(["examine"])?;
        let (told, said) = (&output.stdout, &output.stderr);
        Ok(String::from_utf8_lossy(told).into_owned() + &String::from_utf8_lossy(said))
    }

    /// Starts `script` by bash in Dom0, its output in pipes. A Ctrl-C at our terminal does not reach it.
    ///
    /// # Errors
    /// `scripts/lab` itself could not be started.
    pub fn start(&self, script: &str, stdin: Stdio) -> Result<Child, String> {
        Command::new(&self.script)
            .args(["exec", "--", "bash", "-c", script])
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", self.script.display()))
    }

    /// Opens a way for TCP to `to`, an address behind Dom0's bridge; returns the end of this machine.
    ///
    /// # Errors
    /// What `scripts/lab forward` said when it failed.
    pub fn forward(&self, to: SocketAddr) -> Result<SocketAddr, String> {
        let output = self.call_apart(["forward", &to.to_string()])?;
        let told = String::from_utf8_lossy(&output.stdout);
        told.trim().parse().map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("cannot reach {to} in the lab: {}", said.trim())
        })
    }

    /// Closes a way that [`Self::forward`] has opened.
    ///
    /// # Errors
    /// What `scripts/lab forward` said when it failed.
    pub fn close(&self, end: SocketAddr) -> Result<(), String> {
        let output = self.call_apart(["forward", "--close", &end.port().to_string()])?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
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
        self.ok(&awaiting(name, text, seconds)).map(drop)
    }

    /// Ends the lab. A Ctrl-C at our terminal does not stop it.
    ///
    /// # Errors
    /// What `scripts/lab down` said when it failed.
    pub fn down(&self) -> Result<(), String> {
        let output = self.call_apart(["down"])?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "scripts/lab down failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }

    fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output, String> {
        self.output(Command::new(&self.script).args(args))
    }

    /// The same out of reach of a Ctrl-C.
    fn call_apart<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Output, String> {
        self.output(Command::new(&self.script).args(args).process_group(0))
    }

    fn output(&self, command: &mut Command) -> Result<Output, String> {
        command
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot start {}: {e}", self.script.display()))
    }
}
