// SPDX-License-Identifier: GPL-3.0-only
//! The declared group `www` in the lab: made, looked at, ended.

use rxl_tests::lab::project;

use crate::dom0::Dom0;

/// Its file in Dom0. Configurations that it names lie beside it.
const FILE: &str = "/root/demo/www.toml";

/// Dom0 with a logger and no group.
pub(crate) fn with_logger() -> Dom0 {
    let dom0 = Dom0::clean();
    dom0.ok("mkdir -p /root/demo; rm -f /var/log/xen/console/guest-*.log");
    for name in ["logger", "web"] {
        let file = project().join(format!("scripts/demo.d/{name}.cfg"));
        let to = format!("/root/demo/{name}.cfg");
        dom0.lab.put(&file, &to).unwrap_or_else(|e| panic!("{e}"));
    }
    dom0.ok("rxl create /root/demo/logger.cfg");
    dom0.wait_ready("logger");
    dom0
}

/// Applies a group file with this content; returns when the group is as it says.
pub(crate) fn apply(dom0: &Dom0, content: &str) {
    let text = format!("name = 'www'\nlogger = 'logger'\n{content}");
    dom0.ok(&format!("cat > {FILE} <<'END'\n{text}END\n"));
    wait_complete(dom0);
}

/// Waits until the group is as its file says.
pub(crate) fn wait_complete(dom0: &Dom0) {
    let ran = dom0.run(&format!("timeout 240 rxl ft apply {FILE}"));
    assert_eq!(ran.code, 0, "{}{}{}", ran.stdout, ran.stderr, story(dom0));
}

/// What helps to understand a failure.
pub(crate) fn story(dom0: &Dom0) -> String {
    let all = "rxl ft events | tail -n 40; rxl ft show; rxl ft status; rxl list; tail -n 20 /var/log/xen/rxld.log; \
               tail -n 60 /var/log/xen/console/guest-logger.log; tail -n 5 /var/log/xen/console/guest-web*.log";
    dom0.run(all).stdout
}

/// The member that serves.
pub(crate) fn active(dom0: &Dom0) -> String {
    let json = dom0.ok("rxl ft show www --json");
    let groups: serde_json::Value = serde_json::from_str(&json).expect("rxl ft show prints JSON");
    let name = groups[0]["state"]["active"]["name"].as_str();
    name.unwrap_or_else(|| panic!("nobody serves: {}", story(dom0)))
        .to_owned()
}

/// Waits for an event of the group that came after event `since`; prints it.
pub(crate) fn wait_event(dom0: &Dom0, since: u64, kind: &str) -> String {
    let ran = dom0.run(&format!(
        "exec {{fd}}< <(exec rxl ft events --follow --since {since}); pid=$!; \
         timeout 300 grep -m1 -- ' {kind} ' <&$fd; rc=$?; kill $pid; exit $rc"
    ));
    assert_eq!(ran.code, 0, "no {kind}: {}", story(dom0));
    ran.stdout
}

/// The number of the last event.
pub(crate) fn last_event(dom0: &Dom0) -> u64 {
    let events = dom0.ok("rxl ft events --json");
    let events: serde_json::Value = serde_json::from_str(&events).expect("JSON");
    let last = events.as_array().and_then(|all| all.last());
    last.and_then(|event| event["seq"].as_u64()).unwrap_or(0)
}

/// Ends the group and destroys all guests.
pub(crate) fn end(dom0: &Dom0) {
    dom0.ok("rxl ft unprotect www");
    Dom0::clean();
}
