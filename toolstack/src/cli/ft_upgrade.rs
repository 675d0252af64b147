// SPDX-License-Identifier: GPL-3.0-only
//! `rxl ft upgrade` and `rxl ft rollback`. The work is `rxld`'s, and goes on without us.

use std::io::{self, Write};
use std::process;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::Failure;
use super::ft::{done, json_line};
use super::ft_group::{follow, last_event, reports};
use super::ft_verbs::{RollbackArgs, UpgradeArgs};
use super::verbs::Options;
use crate::error::{Code, Error, Result};
use crate::supervise::care::UpgradeOrder;
use crate::supervise::group_file;
use crate::supervise::proto::{Event, EventKind, Request};

/// `rxl ft upgrade`: begins, and tells how it goes until it is over.
pub(super) fn upgrade(
    args: &UpgradeArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let name = &args.group;
    let report = reports(Some(name))?;
    let care = report.into_iter().find_map(|report| report.state.care);
    let care = care.ok_or_else(|| {
        Error::new(
            Code::State,
            "upgrade the group",
            name,
            "no file declares it",
        )
        .hint("docs/service-groups.md tells how to declare it")
    })?;
    let to =
        group_file::image_of(&args.to, &args.set, &care.plan.logger).map_err(Failure::Errors)?;
    let order = UpgradeOrder {
        to,
        drain_ms: u32::try_from(args.drain.as_millis()).unwrap_or(u32::MAX),
        rollback_ms: ms(args.rollback_for),
        health: args.health.clone(),
    };
    let since = last_event()?;
    done(&Request::FtUpgrade {
        group: name.clone(),
        order: Box::new(order),
    })?;
    let wanted = EventKind::UpgradeDone;
    wait(name, since, wanted, args.no_wait, options, out)
}

/// `rxl ft rollback`.
pub(super) fn rollback(
    args: &RollbackArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let since = last_event()?;
    done(&Request::FtRollback {
        group: args.group.clone(),
    })?;
    let wanted = EventKind::UpgradeUndone;
    wait(&args.group, since, wanted, args.no_wait, options, out)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Follows an upgrade to its end.
fn wait(
    group: &str,
    since: u64,
    wanted: EventKind,
    no_wait: bool,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if !no_wait {
        say_at_interrupt(group)?;
        follow(group, since, options, out, |event| {
            decide(event, wanted).map(|over| over.map_err(|cause| failed(group, wanted, &cause)))
        })?;
    }
    if options.json {
        return json_line(out, &reports(Some(group))?);
    }
    Ok(())
}

/// Whether an event is the end, and a bad one.
fn decide(event: &Event, wanted: EventKind) -> Option<Result<(), String>> {
    match event.kind {
        kind if kind == wanted => Some(Ok(())),
        EventKind::UpgradeDone => Some(Err(format!("it was completed: {}", event.detail))),
        EventKind::UpgradeUndone => Some(Err(format!("it was undone: {}", event.detail))),
        EventKind::GroupUnprotected => Some(Err("the group was ended".to_owned())),
        _ => None,
    }
}

fn failed(group: &str, wanted: EventKind, cause: &str) -> Error {
    let op = if wanted == EventKind::UpgradeDone {
        "upgrade the group"
    } else {
        "roll the group back"
    };
    Error::new(Code::State, op, group, cause).hint(format!("rxl ft show {group}; rxl ft events"))
}

/// Says, when the operator has had enough, that the upgrade has not.
fn say_at_interrupt(group: &str) -> Result<()> {
    let cannot = |error| Error::new(Code::System, "catch signals", "rxl", error);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(cannot)?;
    let text = format!(
        "rxl: the upgrade goes on in rxld\n  see it:  rxl ft show {group}\n  undo it: rxl ft rollback {group}"
    );
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "{text}");
            process::exit(i32::from(Code::Interrupted.exit()));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_end_is_a_good_one() {
        let over = |kind, wanted| {
            let event = Event {
                seq: 1,
                time_ms: 0,
                kind,
                domain: None,
                group: Some("www".into()),
                detail: "why".into(),
            };
            decide(&event, wanted)
        };
        let (done, undone) = (EventKind::UpgradeDone, EventKind::UpgradeUndone);
        assert_eq!(over(done, done), Some(Ok(())));
        assert_eq!(over(undone, undone), Some(Ok(())));
        assert_eq!(over(undone, done), Some(Err("it was undone: why".into())));
        assert_eq!(over(EventKind::UpgradeMoved, done), None);
    }
}
