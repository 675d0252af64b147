// SPDX-License-Identifier: GPL-3.0-only
//! Group files and what is said about them.

use std::path::PathBuf;

use fttcp::control::{OnFull, Outbound, Verify};

use super::*;
use crate::supervise::plan::{OnFailure, StandbyMode};

/// A folder of a test's own with a member's configuration in it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rxl-group-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.write("web.cfg", "");
        folder
    }

    fn write(&self, name: &str, more: &str) {
        let text = format!(
            "name = 'web'\nkernel = '/k'\nmemory = 64\nvif = ['mac=00:16:3e:00:00:10,backend=logger']\n{more}"
        );
        fs::write(self.0.join(name), text).unwrap();
    }

    fn told(&self, text: &str) -> Vec<String> {
        let errors = parse("www.toml", text, &self.0).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LEAST: &str = "name = 'www'\nlogger = 'logger'\n[member]\nconfig = 'web.cfg'\n";

#[test]
fn least_file_gets_the_defaults() {
    let folder = Folder::new("least");
    let plan = parse("www.toml", LEAST, &folder.0).unwrap();
    assert_eq!((plan.north.as_str(), plan.standbys), ("eth0", 1));
    assert_eq!(plan.mode, StandbyMode::Booted);
    assert_eq!((plan.ready_after_ms, plan.boot_timeout_ms), (5000, 120_000));
    let looks = (plan.heartbeat_ms, plan.progress_ms, plan.silence_ms);
    assert_eq!(looks, (None, None, None));
    assert_eq!((plan.most_failovers, plan.within_ms), (3, 600_000));
    assert_eq!(plan.on_failure, OnFailure::Failover);
    assert_eq!(plan.member.config.name, "web");
    assert!(
        plan.member.source.ends_with("/web.cfg"),
        "{}",
        plan.member.source
    );
}

#[test]
fn same_file_gives_the_same_plan() {
    let folder = Folder::new("same");
    let read = || parse("www.toml", LEAST, &folder.0).unwrap();
    assert_eq!(read(), read());
}

#[test]
fn every_key_is_read() {
    let folder = Folder::new("every");
    folder.write("next.cfg", "vcpus = 2\n");
    let text = "name = 'www'\nlogger = 'logger'\nnorth = 'eth1'\noutbound = 'keep'\n\
        [[service]]\nport = 80\nkind = 'http'\nmask = ['Date']\naddress = '10.0.0.1'\nbuffer = 4096\nspill = 1\nhold = 9\n\
        mss = 1400\nverify = 'full'\nfull = 'reset'\n\
        [member]\nconfig = 'web.cfg'\nset = ['memory=96']\n\
        [standby]\ncount = 2\nmode = 'paused'\nconfig = 'next.cfg'\nset = []\nready-after = '250ms'\nboot-timeout = '2min'\n\
        [detection]\nheartbeat = '3s'\nprogress = '10s'\ntcp-silence = '4s'\n\
        request-progress = '30s'\n\
        [policy]\non-failure = 'notify'\nkeep-for-autopsy = true\nmost-failovers = 5\nwithin = '1h'\n";
    let plan = parse("www.toml", text, &folder.0).unwrap();
    assert_eq!(
        (plan.north.as_str(), plan.outbound),
        ("eth1", Outbound::Keep)
    );
    let service = &plan.services[0];
    assert_eq!((service.port, service.kind.as_str()), (80, "http"));
    assert_eq!((service.buffer_bytes, service.spill_bytes), (4096, 1));
    assert_eq!((service.fin_hold_ms, service.mss_clamp), (9, Some(1400)));
    assert_eq!(
        (service.verify, service.on_full),
        (Verify::Full, OnFull::Reset)
    );
    assert_eq!(plan.member.config.memory.0, 96 << 10);
    assert_eq!(plan.standby_image().config.vcpus, 2);
    assert_eq!((plan.standbys, plan.mode), (2, StandbyMode::Paused));
    assert_eq!((plan.ready_after_ms, plan.boot_timeout_ms), (250, 120_000));
    assert_eq!(
        (plan.heartbeat_ms, plan.progress_ms, plan.silence_ms),
        (Some(3000), Some(10_000), Some(4000))
    );
    assert_eq!(plan.request_ms, Some(30_000));
    assert_eq!(plan.on_failure, OnFailure::Notify);
    assert!(plan.keep_for_autopsy);
    assert_eq!((plan.most_failovers, plan.within_ms), (5, 3_600_000));
}

#[test]
fn durable_service_is_one_whose_kind_knows_of_changes() {
    let folder = Folder::new("durable");
    let file =
        |kind: &str| format!("{LEAST}[[service]]\nport = 21\nkind = '{kind}'\ndurable = true\n");
    let plan = parse("www.toml", &file("ftp"), &folder.0).unwrap();
    assert!(plan.services[0].durable);
    let told = folder.told(&file("http"));
    assert_eq!(
        told,
        [
            "www.toml:8: service.durable: cannot use the group file: \"http\" does not know which answers tell of a change\n  \
             hint: leave it out; kind = \"ftp\" knows"
        ]
    );
    let not = file("http").replace("true", "false");
    assert!(!parse("www.toml", &not, &folder.0).unwrap().services[0].durable);
}

#[test]
fn prebuilt_standbys_must_be_alike_in_all_that_is_copied() {
    let folder = Folder::new("prebuilt");
    let file = format!("{LEAST}[standby]\nmode = 'prebuilt'\n");
    let plan = parse("www.toml", &file, &folder.0).unwrap();
    assert_eq!(plan.mode, StandbyMode::Prebuilt);
    let member = |more: &str| {
        let path = folder.0.join("web.cfg");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}\n{more}\n")).unwrap();
    };
    member("disk = ['format=raw,vdev=xvda,access=ro,target=/disks/web.img']");
    parse("www.toml", &file, &folder.0).unwrap();
    member(
        "disk = ['format=raw,vdev=xvda,access=rw,target=/disks/web-{n}.img']\ncmdline = 'ip=10.0.0.{n}'",
    );
    let wrapped = format!("{file}[[service]]\nport = 7\nkind = 'opaque'\nwrap = true\n");
    let told = folder.told(&wrapped);
    let cause = |what: &str| {
        format!(
            "www.toml:6: standby.mode: cannot use the group file: {what}\n  hint: use \"booted\" or \"paused\""
        )
    };
    assert_eq!(
        told,
        [
            cause("members write to xvda: a copy of one's memory does not fit another one's disk"),
            cause("the kernel's command line has {n}, which would be the same for all"),
            cause("the memory for a wrap's record is granted by each member for itself"),
        ]
    );
}

#[test]
fn all_faults_are_told_at_once_with_line_and_key() {
    let folder = Folder::new("faults");
    let told = folder.told(&format!(
        "{LEAST}[standby]\ncount = 9\nready-after = '5'\n[detection]\nheartbeat = '10ms'\n\
         [policy]\nmost-failovers = 0\n[[service]]\nport = 80\nkind = 'htp'\n[[service]]\nport = 80\n"
    ));
    let places: Vec<&str> = told
        .iter()
        .filter_map(|text| text.split(": cannot").next())
        .collect();
    assert_eq!(
        places,
        [
            "www.toml:14: service.kind",
            "www.toml:16: service.port",
            "www.toml:6: standby.count",
            "www.toml:11: policy.most-failovers",
            "www.toml:9: detection.heartbeat",
            "www.toml:7: standby.ready-after",
        ]
    );
    assert!(
        told.iter().all(|text| text.contains("\n  hint: ")),
        "{told:?}"
    );
}

#[test]
fn wrap_is_for_opaque_services_whose_progress_nobody_asks_for() {
    let folder = Folder::new("wrap");
    let read = |text: &str| parse("www.toml", &format!("{LEAST}{text}"), &folder.0);
    let two = "[[service]]\nport = 7\nwrap = true\n[[service]]\nport = 8\n";
    assert!(read(two).unwrap().wrap);
    assert!(!read(&two.replace("true", "false")).unwrap().wrap);
    assert!(
        !read("[[service]]\nport = 80\nkind = 'http'\n")
            .unwrap()
            .wrap
    );
    let told = folder.told(&format!("{LEAST}{two}kind = 'http'\n"));
    assert_eq!(
        told,
        [
            "www.toml:10: service.kind: cannot use the group file: the group has wrap = true, so its servers are replayed \
             from their beginning, which \"http\" is not\n  hint: use kind = \"opaque\" in all its services, or leave wrap \
             out"
        ]
    );
    let told = folder.told(&format!("{LEAST}{two}[detection]\nprogress = '5s'\n"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("www.toml:11: detection.progress: "),
        "{told:?}"
    );
}

#[test]
fn unknown_key_and_wrong_type_name_their_line() {
    let folder = Folder::new("unknown");
    let told = folder.told(&format!("{LEAST}conifg = 'x'\n"));
    assert!(
        told[0]
            .starts_with("www.toml:5: conifg: cannot use the group file: unknown field `conifg`"),
        "{told:?}"
    );
    let told = folder.told("name = 7\n");
    assert!(told[0].starts_with("www.toml:1: name: cannot"), "{told:?}");
}

#[test]
fn member_configuration_must_fit_a_group() {
    let folder = Folder::new("member");
    let missing = folder.told("name = 'www'\nlogger = 'logger'\n[member]\nconfig = 'none.cfg'\n");
    assert!(
        missing[0].starts_with("www.toml:4: member.config: ") && missing[0].contains("none.cfg"),
        "{missing:?}"
    );
    fs::write(
        folder.0.join("bad.cfg"),
        "name = 'web'\nkernel = '/k'\nmemroy = 64\n",
    )
    .unwrap();
    let bad = folder.told("name = 'www'\nlogger = 'logger'\n[member]\nconfig = 'bad.cfg'\n");
    assert!(bad[0].contains("bad.cfg:3:1: unknown key"), "{bad:?}");
    let other = folder.told("name = 'www'\nlogger = 'log2'\n[member]\nconfig = 'web.cfg'\n");
    assert!(other[0].contains("has backend=log2"), "{other:?}");
    folder.write("random.cfg", "vif = ['backend=logger']\n");
    let random = folder.told("name = 'www'\nlogger = 'logger'\n[member]\nconfig = 'random.cfg'\n");
    assert!(random[0].contains("has no mac="), "{random:?}");
}

#[test]
fn members_may_not_write_to_the_same_disk_nor_have_two_addresses() {
    let folder = Folder::new("disk");
    folder.write(
        "rw.cfg",
        "disk = ['format=raw,vdev=xvda,access=rw,target=/d/a.img']\n",
    );
    let member = "name = 'www'\nlogger = 'logger'\n[member]\nconfig = 'rw.cfg'\n";
    let told = folder.told(member);
    assert!(
        told[0].contains("would write to the disk /d/a.img"),
        "{told:?}"
    );
    let own = format!(
        "{member}set = [\"disk=['format=raw,vdev=xvda,access=rw,target=/d/a-{{n}}.img']\"]\n"
    );
    parse("www.toml", &own, &folder.0).unwrap();
    let alone = format!("{member}[standby]\ncount = 0\n");
    parse("www.toml", &alone, &folder.0).unwrap();
    folder.write(
        "mac.cfg",
        "vif = ['mac=00:16:3e:00:00:11,backend=logger']\n",
    );
    let told = folder.told(&format!("{LEAST}[standby]\nconfig = 'mac.cfg'\n"));
    assert!(told[0].contains("00:16:3e:00:00:11"), "{told:?}");
}

#[test]
fn requests_are_not_looked_at_where_nobody_knows_them() {
    let folder = Folder::new("requests");
    let of = |kind| {
        format!(
            "{LEAST}[detection]\nrequest-progress = '30s'\n[[service]]\nport = 80\nkind = '{kind}'\n"
        )
    };
    assert!(parse("www.toml", &of("http"), &folder.0).is_ok());
    let told = folder.told(&of("opaque"));
    assert!(told[0].contains("detection.request-progress"), "{told:?}");
    assert!(told[0].contains("what is a request"), "{told:?}");
}

#[test]
fn times_have_units() {
    let ms = |text| text::duration(text).map(|time| time.as_millis());
    assert_eq!(ms("5s"), Some(5000));
    assert_eq!(ms("20 ms"), Some(20));
    assert_eq!(ms("2min"), Some(120_000));
    assert_eq!(ms("1h"), Some(3_600_000));
    for wrong in ["", "5", "s", "-1s", "5 days", "99999999999999999999s"] {
        assert_eq!(ms(wrong), None, "{wrong}");
    }
}

#[test]
fn example_of_the_documentation_is_valid() {
    let folder = Folder::new("docs");
    let text = include_str!("../../../../docs/service-groups.md");
    let (_, example) = text.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let plan = parse("www.toml", example, &folder.0).unwrap();
    assert_eq!(plan.silence_ms, Some(5000));
}
