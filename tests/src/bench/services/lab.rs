// SPDX-License-Identifier: GPL-3.0-only
//! What protection costs a transfer on real Xen: nginx in a PV guest behind the logger VM, with and without FT-TCP, and
//! beside the two a guest on Dom0's bridge. All of it shares the processors of an emulator, so nothing is gated.

use crate::bench::{Row, Runs};
use crate::lab::{BOOT_SECONDS, Lab, project};

/// Rounds of pairs.
const ROUNDS: usize = 5;
/// Small files of one run, each over a connection of its own.
const SMALL: u32 = 20;
/// What is taken away in the end.
const DOMAINS: [&str; 3] = ["bench-plain", "bench-web", "bench-logger"];
/// The guest behind the logger, and the one on the bridge.
const PLACES: [(&str, &str); 2] = [("bench-web", "10.77.0.10"), ("bench-plain", "10.77.0.11")];

/// Who stands in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Protected,
    Forwarded,
    Bridge,
}

impl Way {
    const ALL: [Self; 3] = [Self::Protected, Self::Forwarded, Self::Bridge];

    const fn address(self) -> &'static str {
        match self {
            Self::Protected | Self::Forwarded => PLACES[0].1,
            Self::Bridge => PLACES[1].1,
        }
    }
}

/// Measures; the domains are removed again, also after a failure.
pub(super) fn measure(quick: bool, say: &dyn Fn(&str)) -> Result<Vec<Row>, String> {
    let lab = Lab::up()?;
    remove(&lab)?;
    let rows = create(&lab).and_then(|()| rows(&lab, if quick { 1 } else { ROUNDS }, say));
    let removed = remove(&lab);
    rows.and_then(|rows| removed.map(|()| rows))
}

fn create(lab: &Lab) -> Result<(), String> {
    lab.ok("mkdir -p /root/bench")?;
    for file in ["logger", "web"] {
        let local = project().join(format!("scripts/demo.d/{file}.cfg"));
        lab.put(&local, &format!("/root/bench/{file}.cfg"))?;
    }
    let make = |name: &str, words: &str| {
        lab.ok(&format!(
            "rm -f /var/log/xen/console/guest-{name}.log; rxl create {words} 'name=\"{name}\"'"
        ))
        .and_then(|_| lab.wait_console(name, "rxl-guest: ready", BOOT_SECONDS))
    };
    make("bench-logger", "/root/bench/logger.cfg")?;
    for (at, (name, address)) in PLACES.iter().enumerate() {
        let vif = if at == 0 {
            "backend=bench-logger"
        } else {
            "bridge=xenbr0"
        };
        make(
            name,
            &format!(
                "/root/bench/web.cfg 'vif=[\"mac=00:16:3e:77:01:0{at},{vif}\"]' \
                 'cmdline=\"console=hvc0 random.trust_cpu=on quiet rxl.role=web rxl.ip={address}/24\"'"
            ),
        )?;
    }
    Ok(())
}

fn rows(lab: &Lab, rounds: usize, say: &dyn Fn(&str)) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (what, command) in [
        (
            "40 MB".to_owned(),
            "curl -sS --max-time 120 -o /dev/null http://$address/blob.bin".to_owned(),
        ),
        (
            format!("{SMALL} files of 1 KiB"),
            format!(
                "for i in $(seq {SMALL}); do \
                 curl -sS --max-time 60 -o /dev/null -r 0-1023 http://$address/blob.bin || exit; done"
            ),
        ),
    ] {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..=rounds {
            say(&format!("{what}, {round} of {rounds}"));
            for turn in 0..Way::ALL.len() {
                let at = (round + turn) % Way::ALL.len();
                let seconds = fetch(lab, Way::ALL[at], &command)?;
                // The first warms what there is to be warmed.
                if round > 0 {
                    times[at].push(seconds);
                }
            }
        }
        let [protected, forwarded, bridge] = times;
        for (peer, runs) in [
            ("the same path without FT-TCP: 0", forwarded),
            ("bridge of Dom0: 0", bridge),
        ] {
            rows.push(super::overhead::percent(
                &format!("overhead on real Xen, http, {what}"),
                &format!("({peer})"),
                &Runs {
                    ours: protected.clone(),
                    peer: runs,
                },
            ));
        }
    }
    Ok(rows)
}

/// Seconds of a run, by Dom0's clock.
fn fetch(lab: &Lab, way: Way, command: &str) -> Result<f64, String> {
    let (before, after) = match way {
        Way::Bridge => (String::new(), ""),
        Way::Protected | Way::Forwarded => {
            let without = if way == Way::Forwarded {
                " --no-ft"
            } else {
                ""
            };
            let protect = "rxl ft protect bench --service bench-web --logger bench-logger \
                           --port 80,http";
            (
                format!("{protect}{without} >/dev/null || exit;"),
                "rxl ft unprotect bench >/dev/null || exit;",
            )
        }
    };
    let text = lab.ok(&format!(
        "address={}; {before} begin=$(date +%s%N); {command} || exit; end=$(date +%s%N); {after} echo $((end - begin))",
        way.address()
    ))?;
    let nanoseconds: f64 = text
        .trim()
        .parse()
        .map_err(|error| format!("a time: {error}: {text}"))?;
    Ok(nanoseconds / 1e9)
}

fn remove(lab: &Lab) -> Result<(), String> {
    let names = DOMAINS.join(" ");
    lab.ok(&format!(
        "rxl ft unprotect bench >/dev/null 2>&1; \
         for d in {names}; do if rxl domid $d >/dev/null 2>&1; then rxl destroy $d || exit; fi; done"
    ))
    .map(drop)
}
