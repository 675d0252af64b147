// SPDX-License-Identifier: GPL-3.0-only
//! `rxl ft check` and the verbs of groups that a file declares.

use std::io::Write;
use std::path::Path;

use super::failure::Failure;
use super::ft::{done, json_line, unexpected};
use super::ft_verbs::ApplyArgs;
use super::verbs::Options;
use super::{ft_text, group_text};
use crate::error::{Code, Error, Result};
use crate::supervise::plan::GroupPlan;
use crate::supervise::proto::{Event, EventKind, GroupReport, Reply, Request};
use crate::supervise::{client, group_file};

/// Reads a group file; all that is wrong with it is one failure.
fn read(file: &Path) -> Result<GroupPlan, Failure> {
    group_file::load(file).map_err(Failure::Errors)
}

/// `rxl ft check`: what the file means.
pub(super) fn check(file: &Path, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let plan = read(file)?;
    if options.json {
        return json_line(out, &plan);
    }
    Ok(out.write_all(group_text::plan(&plan).as_bytes())?)
}

/// `rxl ft apply`: has `rxld` take care of the group; waits until it is as the file says.
pub(super) fn apply(
    args: &ApplyArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let plan = read(&args.file)?;
    let name = plan.name.clone();
    let since = last_event()?;
    done(&Request::FtApply {
        plan: Box::new(plan),
    })?;
    if !args.no_wait {
        follow(&name, since, options, out, |event| match event.kind {
            EventKind::GroupComplete => Some(Ok(())),
            EventKind::StandbysStopped => Some(Err(stopped(event))),
            EventKind::GroupUnprotected => Some(Err(ended(event))),
            _ => None,
        })?;
    }
    if options.json {
        return json_line(out, &reports(Some(&name))?);
    }
    Ok(())
}

fn stopped(event: &Event) -> Error {
    let name = event.group.clone().unwrap_or_default();
    let hint = format!("`rxl ft show {name}` and `rxl ft events` tell more");
    Error::new(
        Code::State,
        "bring the group to what its file says",
        name,
        &event.detail,
    )
    .hint(hint)
}

fn ended(event: &Event) -> Error {
    let name = event.group.clone().unwrap_or_default();
    let cause = "it was ended meanwhile";
    Error::new(
        Code::State,
        "bring the group to what its file says",
        name,
        cause,
    )
}

/// `rxl ft show`.
pub(super) fn show(
    group: Option<&str>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let reports = reports(group)?;
    if options.json {
        return json_line(out, &reports);
    }
    for report in &reports {
        out.write_all(group_text::declared(&report.state).as_bytes())?;
    }
    Ok(())
}

pub(super) fn reports(group: Option<&str>) -> Result<Vec<GroupReport>, Failure> {
    let request = Request::FtStatus {
        group: group.map(str::to_owned),
        connections: false,
    };
    match client::call(&request)? {
        Reply::Groups { groups } => Ok(groups),
        other => Err(unexpected(&other).into()),
    }
}

/// The number of the last event, so that only later ones are followed.
pub(super) fn last_event() -> Result<u64, Failure> {
    match client::call(&Request::Status)? {
        Reply::Status { status } => Ok(status.last_event),
        other => Err(unexpected(&other).into()),
    }
}

/// Prints what happens to a group until `end` has decided. With JSON nothing is printed: the result follows.
pub(super) fn follow(
    group: &str,
    since: u64,
    options: &Options,
    out: &mut dyn Write,
    end: impl Fn(&Event) -> Option<Result<()>>,
) -> Result<(), Failure> {
    let request = Request::Events {
        since,
        follow: true,
    };
    for reply in client::stream(&request)? {
        let events = match reply? {
            Reply::Events { events } => events,
            other => return Err(unexpected(&other).into()),
        };
        for event in events
            .iter()
            .filter(|event| event.group.as_deref() == Some(group))
        {
            if !options.json {
                out.write_all(ft_text::event(event).as_bytes())?;
                out.flush()?;
            }
            if let Some(result) = end(event) {
                return Ok(result?);
            }
        }
    }
    let cause = "the supervisor has ended";
    let hint = format!("it goes on when it is started again: rxl ft show {group}");
    Err(Error::new(Code::State, "follow what happens", group, cause)
        .hint(hint)
        .into())
}
