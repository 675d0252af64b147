// SPDX-License-Identifier: GPL-3.0-only
//! Standbys that are made of an image in Dom0's memory, on real Xen: the first one becomes it, the others take over from a server
//! that dies under a download.

use crate::declared::{self, active, end, last_event, story, wait_complete, wait_event};
use crate::dom0::Dom0;
use crate::download::{begin_download, end_download};
use crate::emulator::despite_emulator;

const IMAGE: &str = "/dev/shm/rxl/www.image";

/// From the order for each of the last members that became ready to that, in ms, with its name.
fn times(dom0: &Dom0, last: usize) -> Vec<(String, u64)> {
    let events = dom0.ok("rxl ft events --json");
    let events: serde_json::Value = serde_json::from_str(&events).expect("JSON");
    let mut ordered = 0;
    let mut times = Vec::new();
    for event in events.as_array().into_iter().flatten() {
        let at = event["time_ms"].as_u64().unwrap_or(0);
        match event["kind"].as_str() {
            Some("member-ordered") => ordered = at,
            Some("member-ready") => {
                let name = event["detail"].as_str().unwrap_or_default();
                times.push((name.to_owned(), at.saturating_sub(ordered)));
            }
            _ => {}
        }
    }
    times.split_off(times.len().saturating_sub(last))
}

fn copies_take_over(kind: &str, failovers: usize) {
    let dom0 = declared::with_logger();
    dom0.ok(&format!(
        "rm -f {IMAGE}; sed -i \"s/^type .*/type = '{kind}'/\" /root/demo/web.cfg"
    ));
    let since = last_event(&dom0);
    declared::apply(
        &dom0,
        "[[service]]\nport = 80\nkind = 'http'\n[member]\nconfig = 'web.cfg'\n\
         [standby]\nmode = 'prebuilt'\nready-after = '0s'\nboot-timeout = '4min'\n\
         [detection]\nheartbeat = '60s'\nprogress = '60s'\n",
    );
    let made = wait_event(&dom0, since, "image-made");
    print!("{made}");
    // Xen's own tool finds no fault with it.
    let verified = dom0.run(&format!(
        "tool=$(ls /usr/lib/xen-*/bin/verify-stream-v2) && PYTHONPATH=${{tool%/bin/*}}/lib/python $tool --format libxc --in {IMAGE}"
    ));
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);

    for _ in 0..failovers {
        let (server, since) = (active(&dom0), last_event(&dom0));
        begin_download(&dom0);
        dom0.ok(&format!("rxl destroy {server}"));
        print!("{}", wait_event(&dom0, since, "failover-acknowledged"));
        end_download(&dom0);
        wait_complete(&dom0);
    }
    println!(
        "{kind}: one that has booted, and copies: {:?} ms",
        times(&dom0, 2 + failovers)
    );
    // The standby has its own time and randomness before its turn comes.
    let show = dom0.ok("rxl ft show www");
    let standby = show.lines().find(|line| line.contains("stands by"));
    let standby = standby.and_then(|line| line.split_whitespace().nth(1));
    let standby = standby.unwrap_or_else(|| panic!("no standby: {show}"));
    dom0.ok(&format!(
        "log=/var/log/xen/console/guest-{standby}.log; exec {{fd}}< <(exec tail -n +1 -F $log 2>/dev/null); pid=$!; \
         timeout 60 grep -m2 -E 'order .* ok (off_ms|bytes)=' <&$fd; rc=$?; kill $pid; exit $rc"
    ));
    // The one that serves is a copy, and so is the standby; each has an agent that answers under its own number.
    let events = dom0.ok("rxl ft events");
    let copies = events.matches("from the image of").count();
    assert!(
        copies > failovers && !events.contains("image-failed"),
        "{events}"
    );
    let told = dom0.ok(&format!("rxl guest {} status", active(&dom0)));
    assert!(told.contains("lives"), "{told}{}", story(&dom0));
    end(&dom0);
    dom0.wait_no_dying();
    assert_ne!(dom0.run(&format!("[ -e {IMAGE} ]")).code, 0);
}

#[test]
fn lab_prebuilt_standbys_take_over_in_pv() {
    copies_take_over("pv", 2);
}

#[test]
fn lab_prebuilt_standbys_take_over_in_pvh() {
    despite_emulator(|| copies_take_over("pvh", 1));
}
