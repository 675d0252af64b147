// SPDX-License-Identifier: GPL-3.0-only
//! Each verb on a PV and on a PVH guest, beside stock `xl` on the same domains.

use std::path::Path;

use crate::dom0::{Dom0, Guest, assert_same};
use crate::emulator::despite_emulator;

const DEVICES: &str = "vif = ['mac=00:16:3e:77:00:31,bridge=xenbr0', 'bridge=xenbr0,vifname=second']\n\
                       disk = ['format=raw,vdev=xvda,access=ro,target=/lab/data/web.img']\n";

/// The state letters that `xl list` and `rxl list` show for a domain.
fn state(dom0: &Dom0, tool: &str, name: &str) -> String {
    dom0.ok(&format!("{tool} list {name} | awk 'NR == 2 {{print $5}}'"))
        .trim()
        .to_owned()
}

fn create_pause_destroy(kind: &'static str) {
    let dom0 = Dom0::clean();
    let before = dom0.traces();
    let path = dom0.write(&Guest {
        more: DEVICES,
        ..Guest::new("alpha", kind)
    });

    dom0.ok(&format!("rxl create -p {path}"));
    for tool in ["rxl", "xl"] {
        assert_eq!(state(&dom0, tool, "alpha"), "--p---", "{tool}");
    }
    dom0.ok("rxl unpause alpha");
    dom0.wait_ready("alpha");
    dom0.ok("rxl pause alpha");
    for tool in ["rxl", "xl"] {
        assert_eq!(state(&dom0, tool, "alpha").as_bytes()[2], b'p', "{tool}");
    }

    // A paused domain does not change: the tables must be equal to the byte.
    for verb in [
        "list",
        "list alpha",
        "vcpu-list alpha",
        "network-list alpha",
        "block-list alpha",
        "domid alpha",
    ] {
        let (ours, theirs) = (
            dom0.ok(&format!("rxl {verb}")),
            dom0.ok(&format!("xl {verb}")),
        );
        let still = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|l| !l.starts_with("Domain-0"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(still(&ours), still(&theirs), "rxl {verb} and xl {verb}");
    }
    let id = dom0.ok("rxl domid alpha").trim().to_owned();
    assert_eq!(dom0.ok(&format!("rxl domname {id}")).trim(), "alpha");
    assert!(
        dom0.ok("ls /sys/class/net/xenbr0/brif").contains("second"),
        "vifname is the interface's name"
    );

    let json = dom0.ok("rxl list --json alpha");
    let list: serde_json::Value = serde_json::from_str(&json).expect("rxl list --json is JSON");
    let entry = list
        .as_array()
        .and_then(|a| a.first())
        .unwrap_or_else(|| panic!("no entry in {json}"));
    assert_eq!(
        (entry["name"].as_str(), entry["kind"].as_str()),
        (Some("alpha"), Some(kind)),
        "{json}"
    );

    dom0.ok("rxl destroy alpha");
    assert_same(
        &before,
        &dom0.traces(),
        "rxl destroy left or took something",
    );
}

#[test]
fn lab_create_pause_list_destroy_pv() {
    create_pause_destroy("pv");
}

#[test]
fn lab_create_pause_list_destroy_pvh() {
    despite_emulator(|| create_pause_destroy("pvh"));
}

fn shutdown_reboot(kind: &'static str) {
    let dom0 = Dom0::clean();
    let before = dom0.traces();
    dom0.boot(&Guest {
        more: "on_reboot = 'restart'\n",
        vcpus: 2,
        ..Guest::new("beta", kind)
    });
    let online = dom0.ok("rxl vcpu-list beta | awk 'NR > 1 && $5 !~ /p/ {n++} END {print n}'");
    assert_eq!(
        online.trim(),
        "2",
        "both vCPUs are up: {}",
        dom0.ok("rxl vcpu-list beta")
    );
    let first = dom0.ok("rxl domid beta").trim().to_owned();

    dom0.ok("rm /var/log/xen/console/guest-beta.log; rxl reboot -w beta");
    dom0.wait_ready("beta");
    let second = dom0.ok("rxl domid beta").trim().to_owned();
    assert_ne!(first, second, "a reboot makes a new domain");

    dom0.ok("rxl shutdown -w beta");
    dom0.wait_gone("beta");
    assert_same(
        &before,
        &dom0.traces(),
        "a clean shutdown left or took something",
    );
}

#[test]
fn lab_shutdown_reboot_pv() {
    shutdown_reboot("pv");
}

#[test]
fn lab_shutdown_reboot_pvh() {
    despite_emulator(|| shutdown_reboot("pvh"));
}

fn console_trigger_sysrq(kind: &'static str) {
    let dom0 = Dom0::clean();
    let before = dom0.traces();
    dom0.boot(&Guest {
        more: "on_crash = 'destroy'\n",
        ..Guest::new("gamma", kind)
    });

    let person = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/console.py");
    dom0.lab
        .put(&person, "/root/console.py")
        .unwrap_or_else(|e| panic!("{e}"));
    let typed = dom0.ok("timeout 120 python3 /root/console.py gamma");
    assert_eq!(typed.trim(), "left with 0");

    dom0.ok("rxl trigger gamma nmi");
    dom0.lab
        .wait_console("gamma", "NMI", 60)
        .unwrap_or_else(|e| panic!("rxl trigger gamma nmi: {e}"));
    dom0.ok("rxl sysrq gamma c");
    dom0.wait_gone("gamma");
    let end = dom0.ok("tail -n 60 /var/log/xen/console/guest-gamma.log");
    assert!(
        end.contains("sysrq triggered crash"),
        "the guest's last words: {end}"
    );
    assert_same(
        &before,
        &dom0.traces(),
        "a crash with on_crash=destroy left or took something",
    );
}

#[test]
fn lab_console_trigger_sysrq_pv() {
    console_trigger_sysrq("pv");
}

#[test]
fn lab_console_trigger_sysrq_pvh() {
    despite_emulator(|| console_trigger_sysrq("pvh"));
}

fn domains_of_xl_are_rxls_too() {
    let dom0 = Dom0::clean();
    let before = dom0.traces();
    let path = dom0.write(&Guest::new("delta", "pv"));
    dom0.ok(&format!("xl create -p -q {path}"));
    assert!(dom0.ok("rxl list").lines().any(|l| l.starts_with("delta ")));
    dom0.ok("rxl unpause delta");
    dom0.wait_ready("delta");
    dom0.ok("rxl destroy delta");
    assert_same(
        &before,
        &dom0.traces(),
        "rxl destroy of a domain of xl left or took something",
    );

    let path = dom0.write(&Guest {
        more: DEVICES,
        ..Guest::new("delta", "pvh")
    });
    dom0.ok(&format!("rxl create {path}"));
    dom0.wait_ready("delta");
    dom0.ok("xl destroy delta");
    dom0.wait_gone("delta");
    assert_same(
        &before,
        &dom0.traces(),
        "xl destroy of a domain of rxl left or took something",
    );
}

#[test]
fn lab_domains_of_xl_are_rxls_too() {
    despite_emulator(domains_of_xl_are_rxls_too);
}

#[test]
fn lab_info_and_dmesg_agree_with_xl() {
    let dom0 = Dom0::clean();
    // Free memory and the like move between two calls; what does not move must be equal.
    for field in [
        "xen_version",
        "xen_caps",
        "total_memory",
        "nr_cpus",
        "virt_caps",
        "xen_scheduler",
        "release",
        "hw_caps",
    ] {
        let line = |tool: &str| dom0.ok(&format!("{tool} info | grep '^{field} *:'"));
        assert_eq!(line("rxl"), line("xl"), "{field}");
    }
    let json = dom0.ok("rxl info --json");
    let info: serde_json::Value = serde_json::from_str(&json).expect("rxl info --json is JSON");
    assert!(info.is_object(), "{json}");
    assert_eq!(dom0.ok("rxl dmesg"), dom0.ok("xl dmesg"));
}
