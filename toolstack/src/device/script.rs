// SPDX-License-Identifier: GPL-3.0-only
//! Hot-plug scripts that a configuration asks for, run as libxl runs them (`libxl_linux.c`: environment and arguments).

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Device, Kind};
use crate::error::{Code, Error, Result};

/// Bytes of a script's complaints that an error repeats.
const COMPLAINT_MAX: usize = 2000;

/// Whether a device comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It comes.
    Add,
    /// It goes.
    Remove,
}

/// Arguments of the script for `device`.
fn arguments(device: &Device, direction: Direction) -> Vec<&'static str> {
    match (&device.backend_kind, direction) {
        (Kind::Vif, Direction::Add) => vec!["online", "type_if=vif"],
        (Kind::Vif, Direction::Remove) => vec!["offline", "type_if=vif"],
        (_, Direction::Add) => vec!["add"],
        (_, Direction::Remove) => vec!["remove"],
    }
}

/// Environment of the script for `device`.
fn environment(script: &str, device: &Device) -> Vec<(&'static str, String)> {
    let kind = &device.backend_kind;
    let mut env = vec![
        ("script", script.to_owned()),
        ("XENBUS_TYPE", kind.to_string()),
        (
            "XENBUS_PATH",
            format!("backend/{kind}/{}/{}", device.domain, device.devid),
        ),
        ("XENBUS_BASE_PATH", "backend".to_owned()),
    ];
    if *kind == Kind::Vif {
        env.push(("netdev", String::new()));
        env.push(("vif", device.interface()));
    }
    env
}

/// Runs `script` for `device` and waits until it has ended, at most until `deadline` or until a signal handler sets `cancel`;
/// then it is killed. The error repeats what the script
/// wrote to its standard error.
pub fn run(
    script: &str,
    device: &Device,
    direction: Direction,
    deadline: Instant,
    cancel: &AtomicBool,
) -> Result<()> {
    let op = format!(
        "run the hot-plug script for {} {}",
        device.kind, device.devid
    );
    let failed =
        |code, cause: String| Error::new(code, op.clone(), script, cause).domain(device.domain);
    let io = |e: std::io::Error| failed(Code::System, e.to_string());
    if !Path::new(script).is_file() {
        return Err(failed(Code::NotFound, "there is no such file".to_owned()));
    }
    let mut child = Command::new(script)
        .args(arguments(device, direction))
        .envs(environment(script, device))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let mut complaint = Vec::new();
    let ended = follow(&mut child, &mut complaint, deadline, cancel);
    if !matches!(ended, Ok(true)) {
        // It may have ended by itself at this very moment: then there is nothing to kill.
        let _ = child.kill();
    }
    let status = child.wait().map_err(io)?;
    if !ended.map_err(io)? {
        return Err(if cancel.load(Ordering::Relaxed) {
            failed(Code::Interrupted, "the operation was stopped".to_owned())
        } else {
            failed(
                Code::Timeout,
                "it did not end in time and was killed".to_owned(),
            )
        });
    }
    if status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&complaint).trim().to_owned();
    let cause = if text.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {text}")
    };
    Err(failed(Code::System, cause).hint("the scripts log to /var/log/xen/xen-hotplug.log"))
}

/// Reads the child's standard error until the child has ended (true) or the time is up (false). A grandchild may keep the
/// pipe open for longer: its end is not waited for.
fn follow(
    child: &mut std::process::Child,
    complaint: &mut Vec<u8>,
    deadline: Instant,
    cancel: &AtomicBool,
) -> std::io::Result<bool> {
    let pid = Pid::from_child(child);
    let ended: OwnedFd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut pipe = child
        .stderr
        .take()
        .ok_or_else(|| std::io::Error::other("no pipe"))?;
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(&pipe, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if cancel.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let done = !fds[0].revents().is_empty();
        if open {
            open = drain(&mut pipe, complaint);
        }
        if done {
            return Ok(true);
        }
    }
}

/// Reads what is there; false at the end of the pipe.
fn drain(pipe: &mut impl Read, complaint: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                let room = COMPLAINT_MAX.saturating_sub(complaint.len());
                complaint.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return e.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::ids::DomId;
    use crate::store::UNINTERRUPTED;

    struct Script(PathBuf);

    impl Script {
        fn new(name: &str, body: &str) -> Self {
            let name = format!("rxl-script-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // Written by another process: were the file open for writing here, a child that another test starts at that
            // moment would inherit it, and the kernel runs no program that somebody may write ("text file busy").
            let written = Command::new("sh")
                .args([
                    "-c",
                    "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"",
                    "sh",
                ])
                .arg(&path)
                .arg(body)
                .status();
            assert!(written.unwrap().success());
            Self(path)
        }

        fn text(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn vif() -> Device {
        Device::new(DomId(5), Kind::Vif, 0, DomId::DOM0)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn vif_script_gets_the_environment_of_libxl() {
        let body = r#"test "$1 $2" = "online type_if=vif" && test "$vif" = vif5.0 &&
            test "$XENBUS_PATH $XENBUS_TYPE $XENBUS_BASE_PATH" = "backend/vif/5/0 vif backend" &&
            test "$script" = "$0""#;
        let script = Script::new("env", body);
        run(
            script.text(),
            &vif(),
            Direction::Add,
            soon(),
            &UNINTERRUPTED,
        )
        .unwrap();
        run(
            script.text(),
            &vif(),
            Direction::Remove,
            soon(),
            &UNINTERRUPTED,
        )
        .unwrap_err();
    }

    #[test]
    fn disk_script_gets_add_and_remove() {
        let script = Script::new("disk", r#"test "$1 $2" = "remove " && test -z "$vif""#);
        let disk = Device::new(DomId(5), Kind::Vbd, 51712, DomId::DOM0);
        run(
            script.text(),
            &disk,
            Direction::Remove,
            soon(),
            &UNINTERRUPTED,
        )
        .unwrap();
        run(script.text(), &disk, Direction::Add, soon(), &UNINTERRUPTED).unwrap_err();
    }

    #[test]
    fn failure_repeats_what_the_script_said() {
        let script = Script::new("fail", "echo no such bridge >&2; exit 7");
        let error = run(
            script.text(),
            &vif(),
            Direction::Add,
            soon(),
            &UNINTERRUPTED,
        )
        .unwrap_err();
        assert!(error.cause.contains("no such bridge"), "{error}");
        assert!(error.cause.contains('7'), "{error}");
    }

    #[test]
    fn script_that_never_ends_is_killed_at_the_deadline() {
        let script = Script::new("hang", "exec tail -f /dev/null");
        let deadline = Instant::now() + Duration::from_millis(100);
        let error = run(
            script.text(),
            &vif(),
            Direction::Add,
            deadline,
            &UNINTERRUPTED,
        )
        .unwrap_err();
        assert_eq!(error.code, Code::Timeout);
    }

    #[test]
    fn missing_script_is_named() {
        let error = run("/none/such", &vif(), Direction::Add, soon(), &UNINTERRUPTED).unwrap_err();
        assert_eq!(
            (error.code, error.object.as_str()),
            (Code::NotFound, "/none/such")
        );
    }
}
