// SPDX-License-Identifier: GPL-3.0-only
//! What the form of a group file cannot express.

use std::collections::BTreeSet;
use std::path::Path;

use fttcp::control::ServiceSpec;
use fttcp::service::{KINDS, Kinds};
use toml::Spanned;

use super::text::{File, ServiceText, Source, duration};
use super::{Findings, image};
use crate::config::DomainConfig;
use crate::supervise::plan::{GroupPlan, Image, NUMBER, StandbyMode};
use crate::supervise::proto::NORTH;

/// Standbys that a group may have.
const MOST_STANDBYS: u32 = 8;
/// Shortest time-out of a detection, in ms: below, a busy Dom0 looks like a hanging member.
const LEAST_TIMEOUT_MS: u64 = 500;

/// The plan, unless something is missing; what is wrong is in `findings`.
pub(super) fn plan(file: &File, folder: &Path, findings: &mut Findings<'_>) -> Option<GroupPlan> {
    for (key, name) in [("name", &file.name), ("logger", &file.logger)] {
        let text = name.get_ref();
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '/') {
            let cause = format!("{text:?} is not a name");
            findings.at(name, key, cause, "use letters, digits, - . and _");
        }
    }
    let services = services(file, folder, findings);
    let wrap = wrap(file, findings);
    let mode = mode(file, findings);
    let (count, most) = (&file.standby.count, &file.policy.most_failovers);
    if let Some(count) = count.as_ref().filter(|it| *it.get_ref() > MOST_STANDBYS) {
        let hint = format!("give a number from 0 to {MOST_STANDBYS}");
        findings.at(count, "standby.count", "so many are not supported", &hint);
    }
    if let Some(most) = most.as_ref().filter(|it| *it.get_ref() == 0) {
        let cause = "0 failovers would mean that no standby is ever made";
        findings.at(
            most,
            "policy.most-failovers",
            cause,
            "give 1 or more; 3 is the default",
        );
    }
    let least = LEAST_TIMEOUT_MS;
    let (detection, standby) = (&file.detection, &file.standby);
    let heartbeat_ms = time(
        detection.heartbeat.as_ref(),
        "detection.heartbeat",
        least,
        findings,
    );
    let progress_ms = time(
        detection.progress.as_ref(),
        "detection.progress",
        least,
        findings,
    );
    let silence_ms = time(
        detection.tcp_silence.as_ref(),
        "detection.tcp-silence",
        least,
        findings,
    );
    let request_ms = time(
        detection.request_progress.as_ref(),
        "detection.request-progress",
        least,
        findings,
    );
    if let Some(at) = &detection.request_progress
        && services.iter().all(|service| service.kind == KINDS[0])
    {
        let cause = "no service of the group has a protocol that tells what is a request";
        let hint = "give a service its kind, or leave this out; progress = \"...\" lets the guest's agent ask";
        findings.at(at, "detection.request-progress", cause, hint);
    }
    let ready = time(
        standby.ready_after.as_ref(),
        "standby.ready-after",
        0,
        findings,
    );
    let boot = time(
        standby.boot_timeout.as_ref(),
        "standby.boot-timeout",
        1000,
        findings,
    );
    let within = time(file.policy.within.as_ref(), "policy.within", 1000, findings);
    let logger = file.logger.get_ref();
    let source = Source {
        table: "member",
        config: &file.member.config,
        set: &file.member.set,
    };
    let member = image(&source, logger, folder, findings);
    let other = standby.config.as_ref().map(|config| Source {
        table: "standby",
        config,
        set: &standby.set,
    });
    if other.is_none() && !standby.set.is_empty() {
        let cause = "it overrides keys of standby.config, which is not there";
        let at = findings.text.find("[standby]").unwrap_or(0);
        findings.add(
            at,
            Some("standby.set"),
            cause,
            "give standby.config, or use member.set",
        );
    }
    let standby_image = match &other {
        None => None,
        Some(source) => Some(image(source, logger, folder, findings)?),
    };
    let member = member?;
    let several = count.as_ref().map_or(1, |it| *it.get_ref()) > 0;
    if several {
        share_nothing(
            &member,
            standby_image.as_ref(),
            &file.member.config,
            findings,
        );
    }
    if let Some(at) = standby
        .mode
        .as_ref()
        .filter(|_| mode == StandbyMode::Prebuilt)
    {
        let standby = standby_image.as_ref().unwrap_or(&member);
        let durable = services.iter().any(|service| service.durable);
        can_be_copied(at, standby, wrap, durable, findings);
    }
    if let (Some(image), Some(config)) = (&standby_image, &standby.config) {
        same_address(&member, image, config, findings);
    }
    Some(GroupPlan {
        name: file.name.get_ref().clone(),
        logger: logger.clone(),
        north: file.north.clone().unwrap_or_else(|| NORTH.to_owned()),
        services,
        wrap,
        outbound: file.outbound,
        member,
        standby: standby_image,
        standbys: count.as_ref().map_or(1, |it| *it.get_ref()),
        mode,
        ready_after_ms: ready.unwrap_or(5_000),
        boot_timeout_ms: boot.unwrap_or(120_000),
        heartbeat_ms,
        progress_ms,
        silence_ms,
        request_ms,
        on_failure: file.policy.on_failure,
        keep_for_autopsy: file.policy.keep_for_autopsy,
        most_failovers: most.as_ref().map_or(3, |it| *it.get_ref()),
        within_ms: within.unwrap_or(600_000),
    })
}

fn time(
    text: Option<&Spanned<String>>,
    key: &str,
    least_ms: u64,
    findings: &mut Findings<'_>,
) -> Option<u64> {
    let text = text?;
    let ms = duration(text.get_ref()).and_then(|time| u64::try_from(time.as_millis()).ok());
    match ms {
        None => {
            let cause = format!("{:?} is not a time", text.get_ref());
            findings.at(
                text,
                key,
                cause,
                "write a number and ms, s, min or h, as in \"5s\"",
            );
        }
        Some(ms) if ms < least_ms => {
            let cause = format!("{ms} ms are too short");
            findings.at(text, key, cause, &format!("give {least_ms}ms or more"));
        }
        ms => return ms,
    }
    None
}

fn mode(file: &File, findings: &mut Findings<'_>) -> StandbyMode {
    let Some(mode) = &file.standby.mode else {
        return StandbyMode::Booted;
    };
    match mode.get_ref().as_str() {
        "booted" => {}
        "paused" => return StandbyMode::Paused,
        "prebuilt" => return StandbyMode::Prebuilt,
        other => {
            let cause = format!("{other:?} is not a mode");
            findings.at(
                mode,
                "standby.mode",
                cause,
                "use \"booted\" (the default), \"paused\" or \"prebuilt\"",
            );
        }
    }
    StandbyMode::Booted
}

/// Standbys that are made of one image have one memory: what differs from one to the other must not be in it, and a disk that
/// one of them has written to is not the one that the others remember.
fn can_be_copied(
    at: &Spanned<String>,
    standby: &Image,
    wrap: bool,
    durable: bool,
    findings: &mut Findings<'_>,
) {
    let hint = "use \"booted\" or \"paused\"";
    let mut refuse = |cause: &str| findings.at(at, "standby.mode", cause, hint);
    let config = &standby.config;
    if let Some(disk) = config.disks.iter().find(|disk| disk.writable) {
        let cause = format!(
            "members write to {}: a copy of one's memory does not fit another one's disk",
            disk.vdev
        );
        refuse(&cause);
    }
    if config.cmdline.contains(NUMBER) {
        let cause =
            format!("the kernel's command line has {NUMBER}, which would be the same for all");
        refuse(&cause);
    }
    if wrap {
        refuse("the memory for a wrap's record is granted by each member for itself");
    }
    if durable {
        refuse("a durable service's agent is known to the logger from its start");
    }
}

fn services(file: &File, folder: &Path, findings: &mut Findings<'_>) -> Vec<ServiceSpec> {
    let mut seen = BTreeSet::new();
    let mut specs = Vec::new();
    for service in &file.services {
        let text = service.get_ref();
        let port = *text.port.get_ref();
        if port == 0 {
            findings.at(
                &text.port,
                "service.port",
                "0 is not a port",
                "give 1 to 65535",
            );
        }
        if !seen.insert((port, text.address)) {
            let cause = format!("port {port} is there twice");
            findings.at(&text.port, "service.port", cause, "remove one of them");
        }
        specs.push(spec(text, port, folder, findings));
    }
    specs
}

fn spec(text: &ServiceText, port: u16, folder: &Path, findings: &mut Findings<'_>) -> ServiceSpec {
    let mut spec = ServiceSpec::new(port, KINDS[0]);
    spec.address = text.address;
    spec.mask.clone_from(&text.mask);
    spec.buffer_bytes = text.buffer.unwrap_or(spec.buffer_bytes);
    spec.spill_bytes = text.spill.unwrap_or(spec.spill_bytes);
    spec.fin_hold_ms = text.hold.unwrap_or(spec.fin_hold_ms);
    (spec.verify, spec.on_full) = (text.verify, text.full);
    if let Some(mss) = &text.mss {
        if *mss.get_ref() < 64 {
            findings.at(
                mss,
                "service.mss",
                "it is too small",
                "give 64 to 65535 bytes",
            );
        }
        spec.mss_clamp = Some(*mss.get_ref());
    }
    match (&text.kind, &text.definition) {
        (Some(kind), Some(_)) => {
            let cause = "a service has a kind or a definition, not both";
            findings.at(kind, "service.kind", cause, "remove one of them");
        }
        (Some(kind), None) if !KINDS.contains(&kind.get_ref().as_str()) => {
            let cause = format!("{:?} is not a kind of service", kind.get_ref());
            let hint = format!("use {}, or definition = \"FILE.toml\"", KINDS.join(", "));
            findings.at(kind, "service.kind", cause, &hint);
        }
        (Some(kind), None) => kind.get_ref().clone_into(&mut spec.kind),
        (None, Some(file)) => {
            if let Err(cause) = spec.define_from(&folder.join(file.get_ref())) {
                let hint = "docs/service-designers.md tells what a definition is";
                findings.at(file, "service.definition", cause, hint);
            }
        }
        (None, None) => {}
    }
    if let Some(durable) = text.durable.as_ref().filter(|durable| *durable.get_ref()) {
        let plugin = Kinds::default().plugin(&spec.kind);
        if !plugin.is_some_and(|plugin| plugin.knows_changes()) {
            let cause = format!(
                "{:?} does not know which answers tell of a change",
                spec.kind
            );
            let hint = "leave it out; kind = \"ftp\" knows";
            findings.at(durable, "service.durable", cause, hint);
        }
        spec.durable = true;
    }
    spec
}

/// Whether the servers are wrapped. Then what they say depends on all that they were told, so nothing may be left out of a
/// replay; and one that waits for its turn does nothing at all.
fn wrap(file: &File, findings: &mut Findings<'_>) -> bool {
    let texts = || file.services.iter().map(Spanned::get_ref);
    let asked = |text: &ServiceText| text.wrap.as_ref().is_some_and(|wrap| *wrap.get_ref());
    if !texts().any(asked) {
        return false;
    }
    let opaque = KINDS[0];
    let other = texts().find_map(|text| match (&text.kind, &text.definition) {
        (_, Some(definition)) => Some((definition, "service.definition")),
        (Some(kind), None) if kind.get_ref() != opaque => Some((kind, "service.kind")),
        _ => None,
    });
    if let Some((what, key)) = other {
        let cause = format!(
            "the group has wrap = true, so its servers are replayed from their beginning, which {:?} is not",
            what.get_ref()
        );
        let hint = format!("use kind = \"{opaque}\" in all its services, or leave wrap out");
        findings.at(what, key, cause, &hint);
    }
    if let Some(progress) = &file.detection.progress {
        let cause = "the group has wrap = true: a standby answers nobody before its turn, so it would never be ready";
        let hint = "leave it out; heartbeat and tcp-silence find members that hang";
        findings.at(progress, "detection.progress", cause, hint);
    }
    true
}

/// Two members run at the same time: what they write must not be the same.
fn share_nothing(
    member: &Image,
    standby: Option<&Image>,
    at: &Spanned<String>,
    findings: &mut Findings<'_>,
) {
    let written = |config: &DomainConfig| -> Vec<String> {
        let disks = config.disks.iter().filter(|disk| disk.writable);
        disks
            .map(|disk| disk.target.display().to_string())
            .filter(|target| !target.contains(NUMBER))
            .collect()
    };
    let mut shared = written(&member.config);
    if let Some(standby) = standby {
        let others = written(&standby.config);
        // Standbys are made one after the other, and the next while the last serves.
        shared.extend(others);
    }
    shared.dedup();
    for target in shared {
        let cause =
            format!("all members would write to the disk {target}, which would destroy its data");
        let hint = format!(
            "make it access=ro, or give each member its own: target=.../web-{NUMBER}.img, {NUMBER} being the member's number"
        );
        findings.at(at, "member.config", cause, &hint);
    }
}

fn same_address(
    member: &Image,
    standby: &Image,
    at: &Spanned<String>,
    findings: &mut Findings<'_>,
) {
    let mac = |image: &Image| {
        image
            .config
            .vifs
            .get(image.devid)
            .map(|vif| vif.mac.map(|byte| format!("{byte:02x}")).join(":"))
            .unwrap_or_default()
    };
    let (own, other) = (mac(member), mac(standby));
    if own != other {
        let cause = format!("its interface has the address {other}, that of member.config {own}");
        let hint = "give both the same mac=: clients know the service by it";
        findings.at(at, "standby.config", cause, hint);
    }
}
