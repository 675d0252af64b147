// SPDX-License-Identifier: GPL-3.0-only
//! Declared service groups as text for people.

use super::ft_text::service;
use crate::supervise::plan::{GroupPlan, Image, OnFailure, StandbyMode};
use crate::supervise::proto::{GroupState, Member};

/// What a group file means: a heading, and a line for each aspect.
pub(super) fn plan(plan: &GroupPlan) -> String {
    let standbys = match plan.standbys {
        0 => "no standby".to_owned(),
        1 => "1 standby".to_owned(),
        n => format!("{n} standbys"),
    };
    let mut text = format!("{}: {standbys}\n", plan.name);
    let mut line = |what: &str, value: &str| text += &format!("  {what:<11}{value}\n");
    line(
        "logger",
        &format!("{}, clients at {}", plan.logger, plan.north),
    );
    for spec in &plan.services {
        line("service", &service(spec));
        if spec.kind == "ftp" && !spec.durable {
            let note =
                "its clients are told that a file is stored when it is in the server's memory";
            line("note", &format!("{note} (durable = true: on its disk)"));
        }
    }
    if plan.wrap {
        line(
            "wrap",
            "a replacement goes through the record of the server before it",
        );
    }
    let image = |image: &Image| format!("{}-N, from {}", image.config.name, image.source);
    line("member", &image(&plan.member));
    let mode = match plan.mode {
        StandbyMode::Booted => "booted, kept dark",
        StandbyMode::Paused => "booted, then paused",
        StandbyMode::Prebuilt => "made of an image in memory, kept dark",
    };
    if plan.standbys > 0 {
        line(
            "standby",
            &format!("{mode}: {}", image(plan.standby_image())),
        );
    }
    line(
        "ready",
        &format!(
            "{} after its network is up, within {}",
            time(plan.ready_after_ms),
            time(plan.boot_timeout_ms)
        ),
    );
    let mut found = vec!["the domain's end".to_owned()];
    found.extend(
        plan.heartbeat_ms
            .map(|ms| format!("no heartbeat for {}", time(ms))),
    );
    found.extend(
        plan.progress_ms
            .map(|ms| format!("no progress of the service for {}", time(ms))),
    );
    found.extend(
        plan.silence_ms
            .map(|ms| format!("silence on the network for {}", time(ms))),
    );
    found.extend(
        plan.request_ms
            .map(|ms| format!("no answer to a client for {}", time(ms))),
    );
    line("failure", &found.join(", "));
    let policy = match plan.on_failure {
        OnFailure::Failover => "failover",
        OnFailure::Notify => "of a member that hangs, only tell",
    };
    let corpse = if plan.keep_for_autopsy {
        "kept for autopsy"
    } else {
        "destroyed"
    };
    line(
        "policy",
        &format!(
            "{policy}; who failed is {corpse}; no new standby after {} failovers within {}",
            plan.most_failovers,
            time(plan.within_ms)
        ),
    );
    text
}

/// One group of `rxl ft show`: what is wanted, who is there, what is being done.
pub(super) fn declared(state: &GroupState) -> String {
    let Some(care) = &state.care else {
        return format!(
            "{}: set up by `rxl ft protect`; no file declares it (rxl ft status shows it)\n",
            state.name
        );
    };
    let mut text = plan(&care.plan);
    let mut line = |what: &str, value: &str| text += &format!("  {what:<11}{value}\n");
    let role = |domid| {
        let is = |member: &Member| member.domid == domid;
        if state.active.as_ref().is_some_and(is) {
            "serves"
        } else if state.standbys.iter().any(is) {
            "stands by"
        } else {
            "is being taken away"
        }
    };
    if care.plan.mode == StandbyMode::Prebuilt {
        let image = match &care.prebuilt {
            Some(it) => format!(
                "{} MiB in Dom0's memory, of {}",
                it.bytes.div_ceil(1 << 20),
                it.of.source
            ),
            None if care.image_failures == 0 => {
                "none yet: the next standby that boots becomes it".to_owned()
            }
            None => "none: it failed, and `rxl ft events` says why".to_owned(),
        };
        line("image", &image);
    }
    for one in &care.crew {
        let doing = match &state.making {
            _ if one.kept => "is kept for autopsy",
            Some(making) if making.domid == Some(one.domid) => making.stage.words(),
            _ => role(one.domid),
        };
        let paused = if one.paused { ", paused" } else { "" };
        let old = if one.version < care.version {
            ", of an older configuration"
        } else {
            ""
        };
        line(
            "domain",
            &format!("{} ({}) {doing}{paused}{old}", one.name, one.domid),
        );
    }
    match &state.making {
        Some(making) if making.domid.is_none() => {
            line("next", &format!("{} {}", making.name, making.stage.words()));
        }
        _ => {}
    }
    if let Some(upgrade) = &care.upgrade {
        let mut how = upgrade.stage.words().to_owned();
        if let Some(waiting) = upgrade.waiting.filter(|_| upgrade.stage.two_servers()) {
            how += &format!(" ({waiting} connections are not moved yet)");
        }
        line(
            "upgrade",
            &format!("from {}: {how}", upgrade.order.to.source),
        );
    }
    if let Some(why) = &care.halted {
        line("stopped", &format!("no new member is made: {why}"));
    }
    text
}

/// A time in the largest unit that shows it exactly.
pub(super) fn time(ms: u64) -> String {
    match ms {
        ms if ms > 0 && ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms > 0 && ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::parse;
    use crate::ids::DomId;
    use crate::supervise::care::{Care, Crew, Prebuilt};

    pub(in crate::cli) fn example() -> GroupPlan {
        let text = "name = 'web'\nkernel = '/k'\nmemory = 64\n";
        let config = parse("web.cfg", text.as_bytes(), &[]).unwrap().config;
        GroupPlan {
            name: "www".into(),
            logger: "logger".into(),
            north: "eth0".into(),
            services: vec![fttcp::control::ServiceSpec::new(80, "http")],
            wrap: false,
            outbound: fttcp::control::Outbound::Pass,
            member: Image {
                source: "/etc/xen/web.cfg".into(),
                config: Box::new(config),
                devid: 0,
            },
            standby: None,
            standbys: 1,
            mode: StandbyMode::Paused,
            ready_after_ms: 500,
            boot_timeout_ms: 120_000,
            heartbeat_ms: Some(3000),
            progress_ms: Some(10_000),
            silence_ms: None,
            request_ms: None,
            on_failure: OnFailure::Failover,
            keep_for_autopsy: true,
            most_failovers: 3,
            within_ms: 600_000,
        }
    }

    #[test]
    fn declared_group_with_its_domains() {
        let mut care = Care::new(example(), uuid::Uuid::nil());
        let crew = |domid: u16, number: u32, paused| Crew {
            domid: DomId(domid),
            name: format!("web-{number}"),
            number,
            version: 1,
            devid: 0,
            paused,
            kept: number == 3,
        };
        care.crew = vec![crew(4, 1, false), crew(5, 2, true), crew(9, 3, false)];
        care.version = 2;
        care.halted = Some("3 failovers".into());
        let member =
            |domid: u16| serde_json::json!({"domid": domid, "name": "x", "interface": "vif"});
        let state: GroupState = serde_json::from_value(serde_json::json!({
            "name": "www", "logger": 1, "north": "eth0", "active": member(4), "standbys": [member(5)],
            "services": [], "failovers": 0, "care": care,
        }))
        .unwrap();
        let text = declared(&state);
        let tail: Vec<&str> = text.lines().skip(8).collect();
        assert_eq!(
            tail,
            [
                "  domain     web-1 (4) serves, of an older configuration",
                "  domain     web-2 (5) stands by, paused, of an older configuration",
                "  domain     web-3 (9) is kept for autopsy, of an older configuration",
                "  stopped    no new member is made: 3 failovers",
            ]
        );
    }

    #[test]
    fn image_of_standbys_is_told() {
        let mut wanted = example();
        wanted.mode = StandbyMode::Prebuilt;
        let of = wanted.member.clone();
        let mut state = GroupState {
            name: "www".into(),
            logger: DomId(1),
            north: "eth0".into(),
            active: None,
            standbys: Vec::new(),
            services: Vec::new(),
            failovers: 0,
            making: None,
            orders: Vec::new(),
            care: Some(Box::new(Care::new(wanted, uuid::Uuid::nil()))),
        };
        let mut image = |change: &dyn Fn(&mut Care)| {
            let care = state.care.as_deref_mut().expect("it is declared");
            change(care);
            let text = declared(&state);
            let line = text.lines().find_map(|line| line.strip_prefix("  image "));
            line.map(|line| line.trim().to_owned())
        };
        assert_eq!(
            image(&|_| ()).as_deref(),
            Some("none yet: the next standby that boots becomes it")
        );
        let made = image(&|care| {
            care.prebuilt = Some(Prebuilt {
                of: of.clone(),
                bytes: (160 << 20) + 1,
            });
        });
        assert_eq!(
            made.as_deref(),
            Some("161 MiB in Dom0's memory, of /etc/xen/web.cfg")
        );
        let failed = image(&|care| (care.prebuilt, care.image_failures) = (None, 2));
        assert_eq!(
            failed.as_deref(),
            Some("none: it failed, and `rxl ft events` says why")
        );
        let booted = image(&|care| care.plan.mode = StandbyMode::Booted);
        assert_eq!(booted, None);
    }

    #[test]
    fn wrap_is_told() {
        let plain = example();
        let wrapped = GroupPlan {
            wrap: true,
            ..plain.clone()
        };
        let line = "  wrap       a replacement goes through the record of the server before it\n";
        assert_eq!(plan(&wrapped).replace(line, ""), plan(&plain));
        assert!(plan(&wrapped).contains(line));
    }

    #[test]
    fn ftp_that_is_not_durable_is_noted() {
        let mut ftp = example();
        ftp.services[0].kind = "ftp".to_owned();
        assert!(
            plan(&ftp).contains("\n  note       its clients are told that a file is stored when")
        );
        ftp.services[0].durable = true;
        assert!(!plan(&ftp).contains("  note "));
    }

    #[test]
    fn plan_in_words() {
        assert_eq!(
            plan(&example()),
            "www: 1 standby\n  \
             logger     logger, clients at eth0\n  \
             service    port 80 http\n  \
             member     web-N, from /etc/xen/web.cfg\n  \
             standby    booted, then paused: web-N, from /etc/xen/web.cfg\n  \
             ready      500 ms after its network is up, within 2 min\n  \
             failure    the domain's end, no heartbeat for 3 s, no progress of the service for 10 s\n  \
             policy     failover; who failed is kept for autopsy; no new standby after 3 failovers within 10 min\n"
        );
    }
}
