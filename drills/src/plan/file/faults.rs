// SPDX-License-Identifier: GPL-3.0-only
//! What happens, and when: the `[[fault]]` tables.

use std::time::Duration;

use toml::Spanned;

use super::super::{Act, Detect, Fault, How, StageKind, Still, When};
use super::{ActName, FaultTable, HowName, MOST_FAULTS, Wrong, at};

/// How long connections may take to come to rest unless a drill says otherwise.
const DRAIN: Duration = Duration::from_secs(2);

/// The faults of one table: one, or several if it happens again.
pub(super) fn of(
    table: &Spanned<FaultTable>,
    stage: StageKind,
    duration: Duration,
    detect: Detect,
) -> Result<Vec<Fault>, Wrong> {
    let fault = table.get_ref();
    let act = act(table, stage, detect)?;
    let first = match (&fault.at, &fault.at_bytes) {
        (Some(time), None) => When::At(time.get_ref().0),
        (None, Some(bytes)) => When::Bytes(bytes.get_ref().0),
        (None, None) => {
            let what = "when? Add at = \"3s\" or at_bytes = \"20MiB\"";
            return Err(at(table, what));
        }
        (Some(_), Some(bytes)) => {
            return Err(at(bytes, "a fault has at or at_bytes, not both"));
        }
    };
    let times = fault.times.as_ref().map_or(1, |times| *times.get_ref());
    let every = match (&fault.every, first) {
        (Some(every), When::Bytes(_)) => {
            return Err(at(every, "only a fault with at happens again"));
        }
        (Some(every), When::At(_)) => every.get_ref().0,
        (None, _) if times > 1 => {
            return Err(at(
                table,
                "how often? Add every = \"1s\", or take times away",
            ));
        }
        (None, _) => Duration::ZERO,
    };
    if let Some(times) = fault
        .times
        .as_ref()
        .filter(|it| !(1..=MOST_FAULTS).contains(it.get_ref()))
    {
        let what = format!("a fault happens from 1 to {MOST_FAULTS} times");
        return Err(at(times, what));
    }
    let mut all = Vec::new();
    for time in 0..times as u32 {
        let when = match first {
            When::At(at) => When::At(at + every * time),
            bytes @ When::Bytes(_) => bytes,
        };
        if let When::At(moment) = when
            && moment >= duration
        {
            let what = format!(
                "the drill is over after {duration:?}; let it happen before, or last longer"
            );
            return Err(fault
                .at
                .as_ref()
                .map_or_else(|| at(table, what.clone()), |it| at(it, what.clone())));
        }
        all.push(Fault { act, when });
    }
    Ok(all)
}

fn act(table: &Spanned<FaultTable>, stage: StageKind, detect: Detect) -> Result<Act, Wrong> {
    let fault = table.get_ref();
    if let Some(how) = &fault.how
        && !matches!(fault.act, ActName::Crash | ActName::Hang)
    {
        return Err(at(how, "only a crash or a hang has a how; take it away"));
    }
    if let Some(wakes) = &fault.wakes_after
        && fault.act != ActName::Hang
    {
        return Err(at(wakes, "only a hang ends so; take it away"));
    }
    if let Some(drain) = &fault.drain
        && fault.act != ActName::Upgrade
    {
        return Err(at(drain, "only an upgrade drains; take it away"));
    }
    Ok(match fault.act {
        ActName::Crash => Act::Crash(fault.how.as_ref().map_or(Ok(How::default()), dies)?),
        ActName::Hang if detect.hang.is_none() => {
            let what = "nobody would notice; add [detect] with hang = \"500ms\"";
            return Err(at(table, what));
        }
        ActName::Hang => {
            let still = match (&fault.how, stage) {
                (Some(how), _) => stands_still(how)?,
                (None, StageKind::Netns) => Still::Stop,
                (None, StageKind::Lab) => Still::Pause,
            };
            let wakes = fault.wakes_after.as_ref().map(|time| time.get_ref().0);
            Act::Hang(still, wakes)
        }
        ActName::RestartLogger => Act::RestartLogger,
        ActName::Upgrade => {
            Act::Upgrade(fault.drain.as_ref().map_or(DRAIN, |time| time.get_ref().0))
        }
        ActName::Rollback => Act::Rollback,
        ActName::Finish => Act::Finish,
    })
}

fn dies(how: &Spanned<HowName>) -> Result<How, Wrong> {
    Ok(match how.get_ref() {
        HowName::Destroy => How::Destroy,
        HowName::Kill => How::Kill,
        HowName::Unplug => How::Unplug,
        HowName::Panic => How::Panic,
        HowName::Pause | HowName::Stop => {
            let what = "that is how a server stands still; take do = \"hang\"";
            return Err(at(how, what));
        }
    })
}

fn stands_still(how: &Spanned<HowName>) -> Result<Still, Wrong> {
    match how.get_ref() {
        HowName::Pause => Ok(Still::Pause),
        HowName::Stop => Ok(Still::Stop),
        _ => {
            let what = "a server stands still by how = \"pause\" or how = \"stop\"";
            Err(at(how, what))
        }
    }
}
