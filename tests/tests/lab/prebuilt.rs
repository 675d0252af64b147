// SPDX-License-Identifier: GPL-3.0-only
//! Standbys that are made of an image in Dom0's memory, on real Xen: the first one becomes it, the others take over from a server
//! that dies under a download.

use crate::declared::{self, active, end, last_event, story, wait_complete, wait_event};
use crate::dom0::Dom0;
use crate::download::{begin_download, end_download};
use crate::emulator::despite_emulator;

const IMAGE: &str = "/dev/shm/rxl/www.image";

/// What has happened after event `since`.
fn events(dom0: &Dom0, since: u64) -> Vec<serde_json::Value> {
    let events = dom0.ok("rxl ft events --json");
    let events: Vec<serde_json::Value> = serde_json::from_str(&events).expect("JSON");
    let after = |event: &serde_json::Value| event["seq"].as_u64().is_some_and(|seq| seq > since);
    events.into_iter().filter(after).collect()
}

/// From the order for each member that became ready to that, in ms, with its name.
fn times(events: &[serde_json::Value]) -> Vec<(String, u64)> {
    let mut ordered = 0;
    let mut times = Vec::new();
    for event in events {
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
    times
}

fn copies_take_over(kind: &str, failovers: usize) {
    let dom0 = declared::with_logger();
    dom0.ok(&format!(
        "rm -f {IMAGE}; sed -i \"s/^type .*/type = '{kind}'/\" /root/demo/web.cfg"
    ));
    let begin = last_event(&dom0);
    declared::apply(
        &dom0,
        "[[service]]\nport = 80\nkind = 'http'\n[member]\nconfig = 'web.cfg'\n\
         [standby]\nmode = 'prebuilt'\nready-after = '0s'\nboot-timeout = '4min'\n\
         [detection]\nheartbeat = '60s'\nprogress = '60s'\n",
    );
    let made = wait_event(&dom0, begin, "image-made");
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
        times(&events(&dom0, begin))
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
    // What has happened since this began: one that the emulator broke has left its own events.
    let events = events(&dom0, begin);
    let of = |kind: &str, words: &str| {
        let is = |event: &&serde_json::Value| {
            let detail = event["detail"].as_str().unwrap_or_default();
            event["kind"].as_str() == Some(kind) && detail.contains(words)
        };
        events.iter().filter(is).count()
    };
    assert!(
        of("member-ordered", "from the image of") > failovers && of("image-failed", "") == 0,
        "{events:#?}"
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
