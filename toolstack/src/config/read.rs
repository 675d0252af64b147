// SPDX-License-Identifier: GPL-3.0-only
//! Settings -> [`DomainConfig`]: xl's defaults, rxl's limits, and what must agree with what.

use std::path::PathBuf;

use uuid::Uuid;

use super::fields::{Fields, integer};
use super::keys::suggestion;
use super::{Action, DiskConfig, DomainConfig, TscMode, VifConfig, disk, vif};
use crate::hypervisor::GuestKind;
use crate::ids::KiB;

/// Most vCPUs of a guest (`HVM_MAX_VCPUS`; held for PV as well).
const MOST_VCPUS: u64 = 128;

/// Most memory of a guest in MiB: 16 TiB, what Xen can address on x86.
const MOST_MEMORY: u64 = 16 << 20;

/// Longest name, so that names fit into what tools of Xen print and xenstore keeps.
const MOST_NAME: usize = 127;

const ACTIONS: &[(&str, Action)] = &[
    ("destroy", Action::Destroy),
    ("restart", Action::Restart),
    ("rename-restart", Action::RenameRestart),
    ("preserve", Action::Preserve),
];

/// Actions of xl that rxl does not have.
const OTHER_ACTIONS: &[&str] = &["coredump-destroy", "coredump-restart", "soft-reset"];

/// The place in the list is xl's number of the mode.
const TSC_MODES: &[(&str, TscMode)] = &[
    ("default", TscMode::Default),
    ("always_emulate", TscMode::AlwaysEmulate),
    ("native", TscMode::Native),
];

/// xl still knows the word and the number, and libxl then refuses to make the domain.
const REMOVED_TSC_MODE: (&str, i64) = ("native_paravirt", 3);

/// The configuration, or `None` after something was told to be wrong.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<DomainConfig> {
    let name = name(fields);
    let uuid = uuid(fields);
    let kind = kind(fields);
    let kernel = path(fields, "kernel");
    fields.missing(
        "kernel",
        "give the kernel's file, as in kernel = \"/boot/vmlinuz\"",
    );
    let ramdisk = path(fields, "ramdisk");
    let cmdline = cmdline(fields);
    let (memory, max_memory) = memory(fields);
    let (vcpus, max_vcpus) = vcpus(fields);
    let vifs = vifs(fields);
    let disks = disks(fields);
    let on_poweroff = action(fields, "on_poweroff", Action::Destroy);
    let on_reboot = action(fields, "on_reboot", Action::Restart);
    let on_crash = action(fields, "on_crash", Action::Destroy);
    let driver_domain = fields.boolean("driver_domain").unwrap_or(false);
    let tsc_mode = tsc_mode(fields);
    Some(DomainConfig {
        name: name?,
        uuid: uuid?,
        kind: kind?,
        kernel: kernel?,
        ramdisk,
        cmdline,
        memory: memory?,
        max_memory: max_memory?,
        vcpus: vcpus?,
        max_vcpus: max_vcpus?,
        vifs: vifs?,
        disks: disks?,
        on_poweroff: on_poweroff?,
        on_reboot: on_reboot?,
        on_crash: on_crash?,
        driver_domain,
        tsc_mode: tsc_mode?,
    })
}

/// Why a name cannot be a domain's name.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    let count = name.chars().count();
    if count == 0 {
        Some("must not be empty")
    } else if count > MOST_NAME {
        Some("may have 127 characters at most")
    } else if name.contains('/') {
        Some("must not contain a slash")
    } else if name.contains(char::is_control) {
        Some("must not contain control characters")
    } else if name.trim() != name {
        Some("must not begin or end with a blank")
    } else if name == "Domain-0" {
        Some("Domain-0 is the control domain's name")
    } else {
        None
    }
}

fn name(fields: &mut Fields<'_, '_>) -> Option<String> {
    fields.missing("name", "give the domain a name, as in name = \"web\"");
    let text = fields.text("name")?;
    if let Some(fault) = name_fault(&text.value) {
        fields.findings.error(text.span, format!("name: {fault}"));
        return None;
    }
    if text.value.bytes().all(|b| b.is_ascii_digit()) {
        fields.findings.warning(
            text.span,
            "name: commands will take this name for a domain's number",
        );
    }
    Some(text.value.clone())
}

fn uuid(fields: &mut Fields<'_, '_>) -> Option<Uuid> {
    let Some(text) = fields.text("uuid") else {
        return Some(Uuid::new_v4());
    };
    let uuid = Uuid::try_parse(&text.value).ok();
    if uuid.is_none_or(|uuid| uuid.is_nil()) {
        let message = format!(
            "uuid: expected a UUID as in 3d1b6b4f-65b5-4ad5-8a2a-5a2a9c1c6a10, not \"{}\"",
            text.value.escape_debug()
        );
        fields.findings.error(text.span, message);
        return None;
    }
    uuid
}

/// `type` and the older `builder`; without either it is pv, as in xl.
fn kind(fields: &mut Fields<'_, '_>) -> Option<GuestKind> {
    let kind = word(
        fields,
        "type",
        &[("pv", GuestKind::Pv), ("pvh", GuestKind::Pvh)],
        &["hvm"],
        GuestKind::Pv,
    )?;
    let builder = word(
        fields,
        "builder",
        &[("generic", GuestKind::Pv)],
        &["hvm"],
        kind,
    )?;
    if builder != kind {
        let place = fields.place("builder")?;
        fields.findings.error(
            place,
            "builder: says another kind of guest than type; leave builder out",
        );
        return None;
    }
    Some(kind)
}

/// One of `valid`; `others` are words that xl takes and rxl does not.
fn word<T: Copy>(
    fields: &mut Fields<'_, '_>,
    key: &str,
    valid: &[(&str, T)],
    others: &[&str],
    default: T,
) -> Option<T> {
    if fields.place(key).is_none() {
        return Some(default);
    }
    let text = fields.text(key)?;
    let word = text.value.as_str();
    if let Some((_, value)) = valid.iter().find(|(name, _)| *name == word) {
        return Some(*value);
    }
    let names: Vec<_> = valid.iter().map(|(name, _)| *name).collect();
    let expected = names.join(", ");
    let message = if others.contains(&word) {
        format!("{key}: \"{word}\" is known to xl, not supported by rxl yet; expected {expected}")
    } else {
        let near = suggestion(word, names.iter().chain(others).copied());
        let word = word.escape_debug();
        format!("{key}: expected {expected}, not \"{word}\"{near}")
    };
    fields.findings.error(text.span, message);
    None
}

fn action(fields: &mut Fields<'_, '_>, key: &str, default: Action) -> Option<Action> {
    word(fields, key, ACTIONS, OTHER_ACTIONS, default)
}

/// A word, or as older files have it a number, which xl takes with a warning.
fn tsc_mode(fields: &mut Fields<'_, '_>) -> Option<TscMode> {
    let key = "tsc_mode";
    if fields.place(key).is_none() {
        return Some(TscMode::default());
    }
    let text = fields.text(key)?;
    let number = integer(&text.value);
    if text.value == REMOVED_TSC_MODE.0 || number == Some(REMOVED_TSC_MODE.1) {
        let message = format!(
            "{key}: {} ({}) was removed from Xen; expected default, always_emulate, native",
            REMOVED_TSC_MODE.0, REMOVED_TSC_MODE.1
        );
        fields.findings.error(text.span, message);
        return None;
    }
    let numbered = number
        .and_then(|n| usize::try_from(n).ok())
        .and_then(|n| TSC_MODES.get(n));
    if let Some((name, mode)) = numbered {
        let message = format!("{key}: a number is the old form; write {key} = \"{name}\"");
        fields.findings.warning(text.span, message);
        return Some(*mode);
    }
    word(fields, key, TSC_MODES, &[], TscMode::default())
}

fn path(fields: &mut Fields<'_, '_>, key: &str) -> Option<PathBuf> {
    let text = fields.filled(key)?;
    if text.value.contains('\0') {
        fields
            .findings
            .error(text.span, format!("{key}: a path has no zero byte"));
        return None;
    }
    Some(PathBuf::from(&text.value))
}

/// `cmdline`, or `root=ROOT EXTRA` as xl joins them.
fn cmdline(fields: &mut Fields<'_, '_>) -> String {
    let root = fields.text("root").map(|text| text.value.as_str());
    let extra = fields.text("extra").map(|text| text.value.as_str());
    if let Some(text) = fields.text("cmdline") {
        for key in ["root", "extra"] {
            if let Some(place) = fields.place(key) {
                fields
                    .findings
                    .warning(place, format!("{key}: not used, because cmdline is given"));
            }
        }
        return text.value.clone();
    }
    match (root, extra) {
        (Some(root), Some(extra)) => format!("root={root} {extra}"),
        (Some(root), None) => format!("root={root}"),
        (None, extra) => extra.unwrap_or_default().to_owned(),
    }
}

fn memory(fields: &mut Fields<'_, '_>) -> (Option<KiB>, Option<KiB>) {
    let range = 1..=MOST_MEMORY;
    fields.missing("memory", "give it in MiB, as in memory = 256");
    let memory = fields.number("memory", "memory in MiB", &range);
    let max = match fields.place("maxmem") {
        None => memory,
        Some(_) => fields.number("maxmem", "memory in MiB", &range),
    };
    if let (Some(memory), Some(max), Some(place)) = (memory, max, fields.place("maxmem"))
        && max < memory
    {
        fields.findings.error(
            place,
            format!("maxmem: {max} is less than memory, {memory}"),
        );
        return (None, None);
    }
    (memory.map(KiB::from_mib), max.map(KiB::from_mib))
}

fn vcpus(fields: &mut Fields<'_, '_>) -> (Option<u32>, Option<u32>) {
    let range = 1..=MOST_VCPUS;
    let mut count = |key, default| match fields.place(key) {
        None => default,
        Some(_) => fields
            .number(key, "a number of vCPUs", &range)
            .and_then(|n| u32::try_from(n).ok()),
    };
    let vcpus = count("vcpus", Some(1));
    let max = count("maxvcpus", vcpus);
    if let (Some(vcpus), Some(max), Some(place)) = (vcpus, max, fields.place("maxvcpus"))
        && max < vcpus
    {
        fields.findings.error(
            place,
            format!("maxvcpus: {max} is less than vcpus, {vcpus}"),
        );
        return (None, None);
    }
    (vcpus, max)
}

fn vifs(fields: &mut Fields<'_, '_>) -> Option<Vec<VifConfig>> {
    let texts = fields.list("vif");
    let read: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| vif::read(text, index, fields.findings))
        .collect();
    read.into_iter().collect()
}

fn disks(fields: &mut Fields<'_, '_>) -> Option<Vec<DiskConfig>> {
    let texts = fields.list("disk");
    let mut disks: Vec<Option<DiskConfig>> = Vec::new();
    for text in texts {
        let disk = disk::read(text, fields.findings);
        let taken = |other: &DiskConfig| disk.as_ref().is_some_and(|d| d.vdev == other.vdev);
        if disks.iter().flatten().any(taken) {
            fields
                .findings
                .error(text.span, "disk: another disk has the same vdev");
        }
        disks.push(disk);
    }
    disks.into_iter().collect()
}
