// SPDX-License-Identifier: GPL-3.0-only
//! The agent in a service VM, seen from Dom0: heartbeat, a service that hangs, freeze and thaw, and the orders that a restored
//! guest needs.

use serde_json::Value;

use crate::dom0::{Dom0, Guest};
use crate::emulator::despite_emulator;

/// A web VM whose disk may be written.
fn web(dom0: &Dom0, kind: &'static str) -> Guest {
    dom0.ok(
        "truncate -s 16M /root/web-rw.img && mke2fs -q -F -t ext4 -b 4096 /root/web-rw.img && sync",
    );
    Guest {
        // The last of two equal keys wins.
        more: "cmdline = \"console=hvc0 random.trust_cpu=on quiet rxl.role=web rxl.disk=rw\"\n\
               disk = ['format=raw,vdev=xvda,access=rw,target=/root/web-rw.img']\n",
        ..Guest::new("web", kind)
    }
}

fn type_line(dom0: &Dom0, line: &str) {
    dom0.type_line("web", line);
}

fn wait_console(dom0: &Dom0, text: &str) {
    dom0.lab
        .wait_console("web", text, 120)
        .unwrap_or_else(|e| panic!("{e}"));
}

fn console_has(dom0: &Dom0, text: &str) -> bool {
    let log = "/var/log/xen/console/guest-web.log";
    dom0.run(&format!("grep -q -- '{text}' {log}")).code == 0
}

/// `rxl guest web ...`, which must succeed, as JSON.
fn agent(dom0: &Dom0, verb: &str) -> Value {
    let text = dom0.ok(&format!("rxl guest web --json --timeout 90 {verb}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

/// Whether the agent lives, and whether it finds the service answering; the exit code says the same.
fn status(dom0: &Dom0) -> (bool, bool) {
    let ran = dom0.run("rxl guest web --json --timeout 90 status");
    let seen: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|e| panic!("{e} in {}{}", ran.stdout, ran.stderr));
    let told = |name: &str| {
        seen[name]
            .as_bool()
            .unwrap_or_else(|| panic!("{name} in {seen}"))
    };
    let (alive, serving) = (told("alive"), told("serving"));
    assert_eq!(ran.code == 0, alive && serving, "{seen}{}", ran.stderr);
    (alive, serving)
}

fn agent_serves_dom0(kind: &'static str) {
    let dom0 = Dom0::clean();
    let guest = web(&dom0, kind);
    dom0.boot(&guest);
    assert_eq!(status(&dom0), (true, true), "alive, serving");
    type_line(&dom0, "");

    // A service that hangs: its kernel still accepts connections, the agent still beats.
    type_line(&dom0, "kill -STOP $(pidof nginx); echo hangs-$((6*7))");
    wait_console(&dom0, "hangs-42");
    // One probe may have been answered just before.
    status(&dom0);
    assert_eq!(status(&dom0), (true, false), "alive, hanging");
    type_line(&dom0, "kill -CONT $(pidof nginx); echo goes-$((6*7))");
    wait_console(&dom0, "goes-42");
    status(&dom0);
    assert_eq!(status(&dom0), (true, true), "alive, serving again");

    // Frozen until thawed: a write waits, the agent does not.
    let frozen = agent(&dom0, "quiesce --hold 600");
    assert_eq!(frozen["answer"]["frozen"], "/srv/www", "{frozen}");
    type_line(
        &dom0,
        "(date >/srv/www/one && echo wrote-$((1+0))) & echo behind-$((1+0))",
    );
    wait_console(&dom0, "behind-1");
    let seen = agent(&dom0, "status");
    assert_eq!(
        (&seen["alive"], &seen["frozen"][0]),
        (&true.into(), &"/srv/www".into())
    );
    assert!(!console_has(&dom0, "wrote-1"), "the write did not wait");
    assert_eq!(agent(&dom0, "thaw")["answer"]["thawed"], 1);
    wait_console(&dom0, "wrote-1");

    // Frozen by a Dom0 that says nothing more: thawed when the time is up. The freezing itself takes seconds in an emulator
    // on a busy machine.
    agent(&dom0, "quiesce --hold 20 /srv/www");
    type_line(&dom0, "date >/srv/www/two && echo wrote-$((1+1))");
    wait_console(&dom0, "wrote-2");

    // Frozen by an agent that is killed: thawed by the next one.
    agent(&dom0, "quiesce --hold 600");
    type_line(
        &dom0,
        "kill -KILL $(pidof rxl-guest); date >/srv/www/three && echo wrote-$((1+2))",
    );
    wait_console(&dom0, "wrote-3");

    type_line(&dom0, "date -s 2020-01-01; echo set-$((6*7))");
    wait_console(&dom0, "set-42");
    let stepped = agent(&dom0, "clock");
    assert_eq!(stepped["answer"]["stepped"], "yes", "{stepped}");
    assert!(
        stepped["answer"]["off_ms"].as_i64() < Some(-1_000_000),
        "{stepped}"
    );
    let now: u64 = dom0.ok("date +%s").trim().parse().expect("a number");
    type_line(&dom0, "echo clock-$(($(date +%s)/60))");
    let near = [now / 60, now / 60 + 1].map(|minute| format!("clock-{minute}"));
    wait_console(&dom0, &format!("\\({}\\|{}\\)", near[0], near[1]));

    assert_eq!(agent(&dom0, "reseed")["answer"]["bytes"], 64);
    let hints = agent(&dom0, "hints");
    assert!(hints["answer"]["free_kib"].as_u64() > Some(0), "{hints}");

    // What was just written is on the disk that Dom0 has, long before the kernel would have brought it there by itself.
    type_line(
        &dom0,
        "echo on-the-disk-$((6*7)) >/srv/www/four; echo wrote-$((2+2))",
    );
    wait_console(&dom0, "wrote-4");
    agent(&dom0, "flush");
    dom0.ok("grep -q on-the-disk-42 /root/web-rw.img");

    // The whole disk is in the guest's cache.
    type_line(&dom0, "cat /dev/xvda >/dev/null; echo read-$((6*7))");
    wait_console(&dom0, "read-42");
    let reclaimed = agent(&dom0, "reclaim 8");
    assert!(
        reclaimed["answer"]["freed_kib"].as_u64() >= Some(8192),
        "{reclaimed}"
    );

    // A domain that is paused does not answer, and that is said.
    dom0.ok("rxl pause web");
    let silent = dom0.run("rxl guest web flush --timeout 2");
    assert_eq!(silent.code, 3);
    assert!(
        silent.stderr.contains("the agent has been silent for the"),
        "{}",
        silent.stderr
    );
    dom0.ok("rxl destroy web");
}

#[test]
fn lab_agent_serves_dom0_in_pv_guest() {
    agent_serves_dom0("pv");
}

#[test]
fn lab_agent_serves_dom0_in_pvh_guest() {
    despite_emulator(|| agent_serves_dom0("pvh"));
}
