// SPDX-License-Identifier: GPL-3.0-only
//! Service groups and events as text for people.

use fttcp::control::{
    ConnectionStatus, Counters, FailoverStatus, GroupStatus, ServiceSpec, WrapStatus,
};

use crate::supervise::proto::{Event, GroupReport, GroupState, Member};

/// One group of `rxl ft status`: a heading, and a line for each aspect.
pub(super) fn group(report: &GroupReport) -> String {
    let GroupState {
        name,
        logger,
        north,
        active,
        standbys,
        services,
        ..
    } = &report.state;
    let care = report.state.care.as_deref();
    let begun = care.is_none_or(|care| care.in_logger);
    let state = match (active, services.is_empty()) {
        (None, _) if !begun => "being set up; `rxl ft show` tells how far",
        (None, _) => "down: its server is gone and no standby is left",
        (Some(_), true) => "forwarded without protection",
        (Some(_), false) if standbys.is_empty() => "protected, but no standby is left",
        (Some(_), false) => "protected",
    };
    let mut text = format!("{name}: {state}\n");
    let mut line = |what: &str, value: &str| text += &format!("  {what:<11}{value}\n");
    line("logger", &format!("domain {logger}, clients at {north}"));
    line(
        "active",
        &active.as_ref().map_or_else(|| "none".to_owned(), member),
    );
    for standby in standbys {
        line("standby", &member(standby));
    }
    for spec in services {
        line("service", &service(spec));
    }
    match &report.logger {
        Some(status) => {
            for (what, value) in logger_lines(status) {
                line(what, &value);
            }
            text += &connections(&status.connections);
        }
        None if !begun => {}
        None => {
            let why = report
                .logger_error
                .as_deref()
                .unwrap_or("no reason was told");
            line("no answer", why);
        }
    }
    text
}

fn member(member: &Member) -> String {
    format!(
        "{} (domain {}) at {}",
        member.name, member.domid, member.interface
    )
}

pub(super) fn service(spec: &ServiceSpec) -> String {
    let mut text = format!("port {} {}", spec.port, spec.kind);
    if let Some(address) = spec.address {
        text += &format!(" at {address}");
    }
    if !spec.mask.is_empty() {
        text += &format!(", may differ in {}", spec.mask.join(", "));
    }
    if spec.durable {
        text += ", durable";
    }
    text
}

fn logger_lines(status: &GroupStatus) -> Vec<(&'static str, String)> {
    let Counters {
        protected,
        closed,
        unprotected,
        tls,
        recovered,
        diverged,
        lost,
        logged_bytes,
        frames,
        dropped,
        ..
    } = status.counters;
    let mut lines = vec![
        (
            "now",
            format!(
                "{} protected, {} logged",
                connections_of(protected),
                bytes(logged_bytes)
            ),
        ),
        (
            "so far",
            format!(
                "{closed} closed, {recovered} recovered, {diverged} diverged, {lost} lost, {unprotected} not protected ({tls} TLS)"
            ),
        ),
        ("frames", format!("{frames} forwarded, {dropped} dropped")),
    ];
    if let Some(text) = full(&status.counters) {
        lines.push(("full", text));
    }
    if status.spec.services.iter().any(|service| service.durable) {
        lines.push(("durable", durable(&status.counters)));
    }
    if let Some(status) = &status.wrap {
        lines.push(("wrap", wrap(status)));
    }
    if let Some(status) = &status.failover {
        lines.push(("failover", failover(status)));
    }
    lines
}

/// What came of logs that were full, if any was.
fn full(counters: &Counters) -> Option<String> {
    let Counters {
        full_buffers,
        full_memory,
        full_unprotected,
        full_reset,
        full_held,
        ..
    } = counters;
    (full_buffers + full_memory > 0).then(|| {
        format!(
            "a log {full_buffers} times, the logger's memory for logs {full_memory} times: {} not protected any more, {full_reset} reset, \
             {full_held} segments held",
            connections_of(*full_unprotected)
        )
    })
}

fn durable(counters: &Counters) -> String {
    let answers = counters.commits + counters.commits_not_durable;
    format!(
        "{answers} answers have waited for a disk, {} of them passed before it was done; {} ms in all",
        counters.commits_not_durable,
        counters.commits_waited_us / 1000
    )
}

fn wrap(status: &WrapStatus) -> String {
    let mut text = format!(
        "{} records copied, {} kept, {} handed over, {} missing",
        status.records,
        bytes(status.kept),
        status.handed,
        status.missing
    );
    if status.ended {
        text += "; the recording has ended, a replacement will begin anew";
    }
    text
}

fn failover(status: &FailoverStatus) -> String {
    let mut text = format!(
        "number {}, because {}: {} of {} moved",
        status.number,
        status.reason,
        status.recovered,
        connections_of(status.connections)
    );
    if status.lost > 0 {
        text += &format!(", {} lost", status.lost);
    }
    if status.waiting > 0 {
        text += &format!(", {} held up by slow clients", status.waiting);
    }
    for (what, us) in [
        ("standby answered", status.first_handshake_us),
        ("first new byte", status.first_new_byte_us),
        ("done", status.done_us),
    ] {
        if let Some(us) = us {
            text += &format!(", {what} after {}.{:01} ms", us / 1000, us % 1000 / 100);
        }
    }
    if status.done_us.is_none() {
        text += ", under way";
    }
    text
}

fn connections(connections: &[ConnectionStatus]) -> String {
    if connections.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "  {:<24} {:<24} {:<14} {:>10} {:>10} {:>10} {:>9}\n",
        "CLIENT", "SERVER", "STATE", "LOGGED", "SENT", "ACKED", "FAILOVERS"
    );
    for c in connections {
        text += &format!(
            "  {:<24} {:<24} {:<14} {:>10} {:>10} {:>10} {:>9}\n",
            c.client,
            c.server,
            c.state,
            bytes(c.logged_bytes),
            bytes(c.sent_bytes),
            bytes(c.acked_bytes),
            c.failovers
        );
    }
    text
}

fn connections_of(count: u64) -> String {
    match count {
        1 => "1 connection".to_owned(),
        n => format!("{n} connections"),
    }
}

/// Bytes, or KiB and MiB rounded down.
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

/// One line of `rxl ft events`.
pub(super) fn event(event: &Event) -> String {
    let mut text = format!("{} {:<22}", time(event.time_ms), event.kind.to_string());
    let about = [
        event.domain.map(|id| format!(" domain {id}")),
        event.group.as_ref().map(|group| format!(" group {group}")),
    ];
    for about in about.into_iter().flatten() {
        text += &about;
    }
    if !event.detail.is_empty() {
        text += ": ";
        text += &event.detail;
    }
    text.push('\n');
    text
}

/// Milliseconds since the UNIX epoch as `YYYY-MM-DDTHH:MM:SS.mmmZ`.
fn time(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let mut text = format!("{year:04}-{month:02}-{day:02}T");
    text += &format!(
        "{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    text
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from March, so
/// that the leap day is the last of its year; 400 years have 146097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::DomId;
    use crate::supervise::proto::EventKind;

    fn report(logger: &serde_json::Value) -> GroupReport {
        let spec = json!({ "port": 80, "kind": "opaque", "mask": ["Date"] });
        serde_json::from_value(json!({
            "state": {
                "name": "www", "logger": 1, "north": "eth0",
                "active": { "domid": 2, "name": "web", "interface": "vif2.0" },
                "standbys": [{ "domid": 3, "name": "web-standby", "interface": "vif3.0" }],
                "services": [spec], "failovers": 0,
            },
            "logger": logger,
            "logger_error": "it is too old",
        }))
        .unwrap()
    }

    #[test]
    fn group_without_answer_of_logger() {
        assert_eq!(
            group(&report(&json!(null))),
            "www: protected\n  \
             logger     domain 1, clients at eth0\n  \
             active     web (domain 2) at vif2.0\n  \
             standby    web-standby (domain 3) at vif3.0\n  \
             service    port 80 opaque, may differ in Date\n  \
             no answer  it is too old\n"
        );
    }

    #[test]
    fn group_that_the_logger_does_not_know_yet() {
        let mut report = report(&json!(null));
        (report.state.active, report.state.standbys) = (None, Vec::new());
        let plan = crate::cli::group_text::tests::example();
        let care = crate::supervise::care::Care::new(plan, uuid::Uuid::nil());
        report.state.care = Some(Box::new(care));
        assert_eq!(
            group(&report),
            "www: being set up; `rxl ft show` tells how far\n  \
             logger     domain 1, clients at eth0\n  \
             active     none\n  \
             service    port 80 opaque, may differ in Date\n"
        );
    }

    #[test]
    fn group_with_failover_and_connection() {
        let status = json!({
            "spec": { "name": "www", "north": "eth0", "active": "vif3.0" },
            "counters": {
                "protected": 1, "closed": 4, "unprotected": 0, "recovered": 1, "diverged": 0, "lost": 0,
                "logged_bytes": 2048, "frames": 900, "dropped": 2, "swallowed_closes": 0,
                "full_buffers": 2, "full_memory": 3, "full_unprotected": 4, "full_reset": 1, "full_held": 5,
            },
            "wrap": { "records": 700, "kept": 3000, "handed": 1, "missing": 2, "ended": true },
            "failover": {
                "number": 1, "reason": "domain 2 died", "told_at_ms": 0, "connections": 1, "recovered": 1, "lost": 0,
                "first_handshake_us": 1250, "first_new_byte_us": null, "done_us": 99999,
                "discarded_bytes": 0, "replayed_bytes": 0,
            },
            "connections": [{
                "client": "10.0.0.9:5000", "server": "10.0.0.1:80", "state": "established", "delta_seq": 7,
                "logged_bytes": 100, "sent_bytes": 5000000, "acked_bytes": 4096, "failovers": 1,
            }],
        });
        let text = group(&report(&status));
        let lines: Vec<_> = text.lines().skip(5).collect();
        assert_eq!(
            lines,
            [
                "  now        1 connection protected, 2 KiB logged",
                "  so far     4 closed, 1 recovered, 0 diverged, 0 lost, 0 not protected (0 TLS)",
                "  frames     900 forwarded, 2 dropped",
                "  full       a log 2 times, the logger's memory for logs 3 times: 4 connections not protected any more, 1 reset, 5 \
                 segments held",
                "  wrap       700 records copied, 2 KiB kept, 1 handed over, 2 missing; the recording has ended, a \
                 replacement will begin anew",
                "  failover   number 1, because domain 2 died: 1 of 1 connection moved, standby answered after 1.2 ms, \
                 done after 99.9 ms",
                "  CLIENT                   SERVER                   STATE              LOGGED       SENT      ACKED \
                 FAILOVERS",
                "  10.0.0.9:5000            10.0.0.1:80              established         100 B      4 MiB      4 KiB \
                 \u{20}       1",
            ]
        );
    }

    #[test]
    fn event_line() {
        let mut one = Event {
            seq: 1,
            time_ms: 1_709_210_096_007,
            kind: EventKind::FailoverSent,
            domain: Some(DomId(3)),
            group: Some("www".to_owned()),
            detail: "web died".to_owned(),
        };
        assert_eq!(
            event(&one),
            "2024-02-29T12:34:56.007Z failover-sent          domain 3 group www: web died\n"
        );
        one.domain = None;
        one.group = None;
        one.detail.clear();
        assert_eq!(
            event(&one),
            "2024-02-29T12:34:56.007Z failover-sent         \n"
        );
    }

    #[test]
    fn dates_at_the_edges() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_818), (2026, 12, 31));
        assert_eq!(date(47_541), (2100, 3, 1));
    }
}
