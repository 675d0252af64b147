// SPDX-License-Identifier: GPL-3.0-only
//! What an upgrade takes: looking at the new member's health, and the logger's part.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use fttcp::control;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::backend::{Backend, Connection};
use super::core::{Action, Change, Input, Moves};
use super::daemon::Message;
use super::members;
use super::proto::Member;
use super::work::{ask_logger, with_connection};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;

/// How long a health command may take.
const HEALTH_TIME: Duration = Duration::from_secs(60);

/// Looks whether new members are healthy, one after the other.
pub(super) fn check_all(
    _backend: &dyn Backend,
    orders: &Receiver<Action>,
    to_core: &Sender<Message>,
) {
    for order in orders {
        let Action::Check {
            group,
            member,
            command,
        } = order
        else {
            continue;
        };
        let result = check(&group, &member, &command, HEALTH_TIME);
        let input = Input::Checked { group, result };
        if to_core.send(Message::Input(input)).is_err() {
            return;
        }
    }
}

/// Runs the command in a shell of Dom0, in a process group of its own.
fn check(group: &str, member: &Member, command: &str, limit: Duration) -> Result<()> {
    let failed = |code, cause: String| {
        Error::new(code, "look at the new member's health", &member.name, cause)
            .domain(member.domid)
            .hint(format!(
                "the command is: {command}; it must exit with 0 within {} s",
                limit.as_secs()
            ))
    };
    let system = |error: io::Error| failed(Code::System, format!("the command: {error}"));
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("RXL_GROUP", group)
        .env("RXL_DOMAIN", &member.name)
        .env("RXL_DOMID", member.domid.to_string())
        .env("RXL_INTERFACE", &member.interface)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(system)?;
    if !ends_within(&child, limit).map_err(system)? {
        stop(&mut child).map_err(system)?;
        let cause = format!("the command did not end within {} s", limit.as_secs());
        return Err(failed(Code::Timeout, cause));
    }
    let status = child.wait().map_err(system)?;
    if status.success() {
        return Ok(());
    }
    let cause = format!("the command ended with {status}");
    Err(failed(Code::State, cause))
}

/// Waits until it has ended (true) or the time is up (false).
fn ends_within(child: &Child, limit: Duration) -> io::Result<bool> {
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Ends it and what it has started.
fn stop(child: &mut Child) -> io::Result<()> {
    kill_process_group(Pid::from_child(child), Signal::KILL)?;
    child.wait().map(drop)
}

/// How far the logger is.
fn progress(
    backend: &dyn Backend,
    connection: &Connection,
    logger: DomId,
    group: &str,
) -> Result<Option<control::UpgradeStatus>> {
    let request = control::Request::Status {
        group: Some(group.to_owned()),
        connections: false,
    };
    match ask_logger(backend, connection, logger, &request)? {
        control::Reply::Status { groups } => {
            let mut ours = groups.into_iter().filter(|one| one.spec.name == group);
            Ok(ours.next().and_then(|one| one.upgrade))
        }
        _ => Ok(None),
    }
}

/// Asks how far it is, for the core.
pub(super) fn ask_progress(
    backend: &dyn Backend,
    connection: &mut Option<Connection>,
    group: String,
    logger: DomId,
) -> Input {
    let result = with_connection(backend, connection, |open| {
        let status = progress(backend, open, logger, &group)?;
        Ok(status.map(|status| Moves {
            back: status.rolled_back,
            waiting: status.waiting,
        }))
    });
    Input::Progressed { group, result }
}

/// Tells the logger. What it has done already, for a supervisor that was killed, is not asked again.
pub(super) fn change(
    backend: &dyn Backend,
    connection: &Connection,
    group: &str,
    logger: DomId,
    change: &Change,
) -> Result<()> {
    let name = group.to_owned();
    let request = match change.clone() {
        Change::Begin {
            interface,
            drain_ms,
        } => control::Request::Upgrade {
            group: name,
            interface,
            drain_ms,
        },
        Change::Back => control::Request::Rollback { group: name },
        Change::Finish { left } => {
            let left = left.as_ref();
            // What it would yet write could not be taken back from one who goes on in its place.
            left.map_or(Ok(()), |it| members::stop(connection, it.domid))?;
            let waits =
                progress(backend, connection, logger, group)?.is_some_and(|it| it.waiting > 0);
            match left.filter(|_| waits) {
                Some(left) => control::Request::ServerDied {
                    group: name,
                    interface: left.interface.clone(),
                    reason: format!("the upgrade is over, and {} is stopped", left.name),
                },
                None => control::Request::Finish { group: name },
            }
        }
        Change::Died { interface, reason } => control::Request::ServerDied {
            group: name,
            interface,
            reason,
        },
    };
    let Err(error) = ask_logger(backend, connection, logger, &request) else {
        return Ok(());
    };
    let status = progress(backend, connection, logger, group)?;
    let done = match (change, &status) {
        (Change::Begin { interface, .. }, Some(status)) => {
            status.ended.is_none() && !status.rolled_back && status.to == *interface
        }
        (Change::Back, Some(status)) => status.ended.is_none() && status.rolled_back,
        (Change::Finish { .. }, status) => status.as_ref().is_none_or(|it| it.ended.is_some()),
        _ => false,
    };
    if done { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, limit: Duration) -> Result<()> {
        let member = Member {
            domid: DomId(7),
            name: "web-2".into(),
            interface: "vif7.0".into(),
        };
        check("www", &member, command, limit)
    }

    #[test]
    fn health_is_the_exit_code_of_a_command_that_knows_the_member() {
        let long = Duration::from_secs(20);
        run(
            "test $RXL_GROUP.$RXL_DOMAIN.$RXL_DOMID.$RXL_INTERFACE = www.web-2.7.vif7.0",
            long,
        )
        .unwrap();
        let sick = run("exit 3", long).unwrap_err();
        assert_eq!(sick.code, Code::State);
        assert!(sick.cause.contains("exit status: 3"), "{sick}");
    }

    #[test]
    fn health_command_that_hangs_is_ended_with_its_children() {
        let began = Instant::now();
        let slow = run("sleep 1000 & sleep 1000", Duration::from_millis(100)).unwrap_err();
        assert_eq!(slow.code, Code::Timeout);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
