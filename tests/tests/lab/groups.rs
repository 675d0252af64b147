// SPDX-License-Identifier: GPL-3.0-only
//! Declared groups on real Xen: members make themselves, die, hang, wake up, and are replaced.

use crate::declared::{
    self, active, end, last_event, story, wait_complete, wait_event, with_logger,
};
use crate::dom0::Dom0;
use crate::download::{URL, begin_download, downloading, end_download};

/// Counts the TCP segments that come from the service's address on Dom0's side of the logger, for some seconds in which a
/// command runs.
const LISTEN: &str = "
import socket, subprocess, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 0))
s.settimeout(0.5)
end, count = time.time() + float(sys.argv[2]), 0
command = subprocess.Popen(sys.argv[3], shell=True, stdout=subprocess.DEVNULL)
while time.time() < end:
    try:
        frame = s.recv(65536)
    except TimeoutError:
        continue
    count += frame[12:14] == b'\\x08\\x00' and frame[23] == 6 and frame[26:30] == bytes([10, 77, 0, 10])
command.wait()
print(count)
";

/// Applies a group file for web VMs, with one standby and `more`; returns when the group is as it says.
fn apply(dom0: &Dom0, more: &str) {
    let text =
        format!("[[service]]\nport = 80\nkind = 'http'\n[member]\nconfig = 'web.cfg'\n{more}");
    declared::apply(dom0, &text);
    dom0.wait_ready("web-1");
}

#[test]
fn lab_declared_group_survives_a_second_crash_with_a_standby_made_by_itself() {
    let dom0 = with_logger();
    apply(
        &dom0,
        "[standby]\nready-after = '5s'\nboot-timeout = '4min'\n",
    );
    begin_download(&dom0);
    dom0.ok("rxl sysrq web-1 c");
    wait_event(&dom0, 0, "failover-acknowledged");
    assert_eq!(active(&dom0), "web-2");
    wait_complete(&dom0);
    assert!(downloading(&dom0), "the download was too short");
    let since = last_event(&dom0);
    dom0.ok("rxl destroy web-2");
    let told = wait_event(&dom0, since, "failover-acknowledged");
    println!("second failover: {told}");
    let third = active(&dom0);
    assert_ne!(third, "web-2");
    assert!(downloading(&dom0), "the download was too short");
    end_download(&dom0);
    println!("{}", dom0.ok("rxl ft show www; rxl ft events | tail -n 25"));
    end(&dom0);
}

#[test]
fn lab_wedged_server_that_wakes_up_later_reaches_nobody() {
    let dom0 = with_logger();
    apply(
        &dom0,
        "[standby]\nready-after = '5s'\nboot-timeout = '4min'\n[detection]\ntcp-silence = '4s'\n[policy]\nkeep-for-autopsy = true\n",
    );
    begin_download(&dom0);
    let since = last_event(&dom0);
    dom0.ok("rxl pause web-1");
    println!("{}", wait_event(&dom0, since, "member-hung"));
    println!("{}", wait_event(&dom0, since, "failover-acknowledged"));
    println!("{}", wait_event(&dom0, since, "member-kept"));
    assert_eq!(active(&dom0), "web-2");
    end_download(&dom0);
    // Nobody asks the service anything now: whatever comes from its address comes from the old server.
    dom0.ok(&format!("cat > /root/listen.py <<'END'\n{LISTEN}END\n"));
    let vif = format!("vif{}.0", dom0.ok("rxl domid logger").trim());
    let time = "rxl list web-1 | awk 'NR == 2 {print $NF}'";
    let before = dom0.ok(time);
    let heard = dom0.ok(&format!(
        "python3 /root/listen.py {vif} 12 'rxl unpause web-1; rxl unpause web-1'"
    ));
    let after = dom0.ok(time);
    println!(
        "the old server ran from {} to {} ns",
        before.trim(),
        after.trim()
    );
    assert_ne!(before, after, "it did not wake up: {}", story(&dom0));
    assert_eq!(heard.trim(), "0", "segments of the old server");
    let control = dom0.ok(&format!(
        "python3 /root/listen.py {vif} 5 'curl -sS --max-time 4 -o /dev/null -r 0-99 {URL}'"
    ));
    assert_ne!(control.trim(), "0", "the listener hears the present server");
    end(&dom0);
}

#[test]
fn lab_paused_standby_takes_over_from_a_server_without_heartbeat() {
    let dom0 = with_logger();
    apply(
        &dom0,
        "[standby]\nready-after = '5s'\nboot-timeout = '4min'\nmode = 'paused'\n[detection]\nheartbeat = '6s'\n",
    );
    let states = dom0.ok("rxl list");
    let state = |name: &str| {
        let line = states.lines().find(|line| line.starts_with(name));
        line.map(|line| {
            line.split_whitespace()
                .nth(4)
                .is_some_and(|it| it.contains('p'))
        })
    };
    assert_eq!((state("web-1"), state("web-2")), (Some(false), Some(true)));
    let since = last_event(&dom0);
    dom0.ok("rxl pause web-1");
    println!("{}", wait_event(&dom0, since, "member-hung"));
    println!("{}", wait_event(&dom0, since, "failover-acknowledged"));
    dom0.ok(&format!(
        "curl -sS --max-time 60 -o /dev/null -r 0-999 {URL}"
    ));
    wait_complete(&dom0);
    let states = dom0.ok("rxl list");
    assert!(
        !states.contains("web-1"),
        "the old server is destroyed: {states}"
    );
    end(&dom0);
}

#[test]
fn lab_service_that_hangs_in_a_guest_that_lives_is_replaced() {
    let dom0 = with_logger();
    // A member is ready when its service has answered its agent, not after some time.
    apply(
        &dom0,
        "[standby]\nready-after = '0s'\nboot-timeout = '4min'\n[detection]\nheartbeat = '30s'\nprogress = '10s'\n",
    );
    dom0.type_line("web-1", "");
    begin_download(&dom0);
    let since = last_event(&dom0);
    dom0.type_line("web-1", "kill -STOP $(pidof nginx)");
    let hung = wait_event(&dom0, since, "member-hung");
    println!("{hung}");
    assert!(hung.contains("no progress of its service for"), "{hung}");
    println!("{}", wait_event(&dom0, since, "failover-acknowledged"));
    assert!(downloading(&dom0), "the download was too short");
    assert_eq!(active(&dom0), "web-2");
    end_download(&dom0);
    // Its agent was given the time, and then randomness.
    let answer = "/local/domain/$(rxl domid web-2)/data/rxl/answer";
    let told = dom0.ok(&format!("timeout 60 sh -c 'until xenstore-read {answer} | grep bytes=; do xenstore-watch -n 2 {answer} >/dev/null; done'"));
    assert!(told.contains(" ok "), "{told}");
    end(&dom0);
}

#[test]
fn lab_upgrade_to_another_configuration_under_a_download() {
    let dom0 = with_logger();
    apply(
        &dom0,
        "[standby]\ncount = 0\nready-after = '5s'\nboot-timeout = '4min'\n",
    );
    dom0.ok("sed 's/\"web\"/\"web2\"/; s/^memory .*/memory = 176/' /root/demo/web.cfg > /root/demo/web2.cfg");
    dom0.ok("rm -f /root/blob");
    let since = last_event(&dom0);
    // The new member is healthy when its agent says that nginx answers there; the download must have begun by then.
    let health = "until [ -s /root/blob ]; do sleep 0.2; done; \
                  for i in $(seq 50); do rxl guest $RXL_DOMAIN status && exit 0; sleep 1; done; exit 1";
    dom0.ok(&format!(
        "rxl ft upgrade www --to /root/demo/web2.cfg --drain 3s --rollback-for 2s --no-wait --health '{health}'"
    ));
    wait_event(&dom0, since, "member-ready");
    begin_download(&dom0);
    println!("{}", wait_event(&dom0, since, "upgrade-moved"));
    assert!(downloading(&dom0), "the download was too short");
    println!("{}", wait_event(&dom0, since, "upgrade-done"));
    assert_eq!(active(&dom0), "web2-2");
    end_download(&dom0);
    let list = dom0.ok("rxl list");
    assert!(!list.contains("web-1"), "the old member is gone: {list}");
    let status = dom0.ok("rxl ft status www --json");
    let groups: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let (logger, failovers) = (&groups[0]["logger"], &groups[0]["state"]["failovers"]);
    assert_eq!(
        (logger["counters"]["lost"].as_u64(), failovers.as_u64()),
        (Some(0), Some(0)),
        "{status}"
    );
    let moved = |how: &str| logger["upgrade"][how].as_u64().unwrap_or(0);
    println!("{}", logger["upgrade"]);
    assert_eq!(
        moved("moved_quiet") + moved("moved_by_replay"),
        1,
        "{status}"
    );
    end(&dom0);
}
