// SPDX-License-Identifier: GPL-3.0-only
//! What a stage cannot do is refused before anything of it is made.

use std::time::Duration;

use toml::Spanned;

use super::{ActName, FaultTable, File, HowName, Runs, StageKind, Wrong, at};

/// All files of a drill in the lab, together: they go through an emulated disk.
const MOST_LAB_BYTES: u64 = 256 << 20;
/// Below, a busy Dom0 looks like a server that stands still (docs/service-groups.md).
const LEAST_SILENCE: Duration = Duration::from_millis(500);

pub(super) fn check(file: &File) -> Result<(), Wrong> {
    match file.stage {
        StageKind::Netns => netns(file),
        StageKind::Lab => lab(file),
    }
}

fn netns(file: &File) -> Result<(), Wrong> {
    if let Some(guests) = &file.service.get_ref().guests {
        let what = "in namespaces a server is a process; take it away, or take stage = \"lab\"";
        return Err(at(guests, what));
    }
    for fault in &file.fault {
        let Some(how) = &fault.get_ref().how else {
            continue;
        };
        let instead = match how.get_ref() {
            HowName::Panic => "destroy",
            HowName::Pause => "stop",
            _ => continue,
        };
        let what = format!(
            "a process has no kernel of its own; take how = \"{instead}\", or stage = \"lab\""
        );
        return Err(at(how, what));
    }
    Ok(())
}

fn lab(file: &File) -> Result<(), Wrong> {
    let service = file.service.get_ref();
    if *service.runs.get_ref() != Runs::Web {
        let what = "the lab's servers have nginx only; take runs = \"web\", or stage = \"netns\"";
        return Err(at(&service.runs, what));
    }
    if let Some(megabits) = &service.megabits {
        let what = "the lab's line is as fast as the emulator; take it away";
        return Err(at(megabits, what));
    }
    let mut bytes = 0;
    for load in &file.load {
        let size = &load.get_ref().size;
        bytes += size.get_ref().0;
        if bytes > MOST_LAB_BYTES {
            let what = format!(
                "the files of all loads are more than the {} MiB of a server's disk in the lab; take smaller ones",
                MOST_LAB_BYTES >> 20
            );
            return Err(at(size, what));
        }
    }
    if let Some(death) = &file.detect.death {
        let what = "in the lab the supervisor notices a death, as soon as it can; take it away";
        return Err(at(death, what));
    }
    if let Some(hang) = &file.detect.hang
        && hang.get_ref().0 < LEAST_SILENCE
    {
        return Err(at(hang, "the supervisor takes 500ms or more"));
    }
    file.fault.iter().try_for_each(lab_fault)
}

fn lab_fault(table: &Spanned<FaultTable>) -> Result<(), Wrong> {
    let fault = table.get_ref();
    if let Some(how) = &fault.how
        && matches!(how.get_ref(), HowName::Kill | HowName::Unplug)
    {
        let what = "in the lab a server dies by how = \"destroy\" or how = \"panic\"";
        return Err(at(how, what));
    }
    if fault.act == ActName::Finish {
        let what =
            "in the lab the supervisor lets the old version go by itself; take the fault away";
        return Err(at(table, what));
    }
    Ok(())
}
