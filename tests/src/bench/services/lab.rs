// SPDX-License-Identifier: GPL-3.0-only
//! What protection costs a transfer on real Xen: a web server, a web proxy and an FTP server in PV guests behind the logger VM,
//! with and without FT-TCP, and beside the two a guest on Dom0's bridge; and what a client sees of failovers there (`lab_gap`).
//! All of it shares the processors of an emulator, so nothing is gated.

use crate::bench::{Row, Runs};
use crate::lab::servers::house::{FOLDER, House, INSIDE, guest};
use crate::lab::servers::stock::{DOWN, FILES, Stock, TREE, UP};
use crate::lab::{BOOT_SECONDS, Lab, project};
use crate::netns::ftp::FtpServer;
use crate::netns::topology::{CLIENT, SERVER};
use crate::netns::web::client::Way as Files;
use crate::netns::web::origin::PORT;

/// Rounds of each command.
const ROUNDS: usize = 3;
/// Large files of one run.
const LARGE: u32 = 5;
/// Small files of one run, each over a connection of its own.
const SMALL: u32 = 20;
/// The servers.
const STOCK: [Stock; 3] = [Stock::Nginx, Stock::Squid, Stock::Ftp(FtpServer::Vsftpd)];
/// The guest behind the logger, and the one on the bridge: name, address, where its interface ends.
const PLACES: [(&str, &str, &str); 2] = [
    ("bench-web", SERVER, "backend=bench-logger"),
    ("bench-plain", "10.77.0.11", "bridge=xenbr0"),
];
const LOGGER: &str = "bench-logger";
/// Ends a run in which a connection was not protected to its end: it would have been measured for nothing.
const WERE_PROTECTED: &str = "import json, sys; counters = json.load(sys.stdin)[0][\"logger\"][\"counters\"]; \
     sys.exit(f\"not protected: {counters}\" if counters[\"unprotected\"] or not counters[\"closed\"] else 0)";

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
    let lab = Lab::up_with(&["servers"])?;
    let rounds = if quick { 1 } else { ROUNDS };
    let mut rows = Vec::new();
    for stock in STOCK {
        remove(&lab)?;
        say(&format!("{}: its guests boot", stock.name()));
        let house = House::build(&lab, stock)?;
        let measured = one(&lab, stock, rounds, say);
        let removed = remove(&lab).and_then(|()| house.clear());
        rows.extend(measured.and_then(|rows| removed.map(|()| rows))?);
    }
    Ok(rows)
}

fn one(lab: &Lab, stock: Stock, rounds: usize, say: &dyn Fn(&str)) -> Result<Vec<Row>, String> {
    create(lab, stock)?;
    let mut rows = overhead(lab, stock, rounds, say)?;
    for (name, ..) in PLACES {
        lab.ok(&format!("rxl destroy {name}"))?;
    }
    rows.extend(super::lab_gap::rows(lab, stock, LOGGER, rounds, say)?);
    Ok(rows)
}

fn create(lab: &Lab, stock: Stock) -> Result<(), String> {
    let make = |name: &str, file: &str| {
        lab.ok(&format!(
            "rm -f /var/log/xen/console/guest-{name}.log; rxl create {file} 'name=\"{name}\"'"
        ))
        .and_then(|_| lab.wait_console(name, "rxl-guest: ready", BOOT_SECONDS))
    };
    let logger = format!("{FOLDER}/logger.cfg");
    lab.put(&project().join("scripts/demo.d/logger.cfg"), &logger)?;
    make(LOGGER, &logger)?;
    for (at, (name, address, end)) in PLACES.iter().enumerate() {
        let config = guest(stock, "pv")
            .replace("{n}", &(at + 1).to_string())
            .replace("10,backend=logger", &format!("1{at},{end}"))
            .replace(&format!("rxl.ip={SERVER}/"), &format!("rxl.ip={address}/"));
        let file = format!("{FOLDER}/{name}.cfg");
        lab.ok(&format!("cat >{file} <<'END'\n{config}END\n"))?;
        make(name, &file)?;
        // Each look takes some seconds, in which the agent's probe must have been answered.
        lab.ok(&format!(
            "for i in $(seq 60); do rxl guest {name} status >/dev/null && exit; done; rxl guest {name} status"
        ))?;
    }
    Ok(())
}

/// What is fetched or stored, and how, in the shell's words; `$address` is the server's.
fn errands(stock: Stock) -> Vec<(String, String)> {
    let curl = format!("{INSIDE} curl -sS --fail --max-time 240 -o /dev/null");
    let times = |length: u32| f64::from(length * LARGE) / 1e6;
    if let Stock::Ftp(server) = stock {
        let (user, password) = server.login();
        let url = format!("ftp://{user}:{password}@$address");
        let (small, length) = TREE[2];
        let sets = |name: &str, count: u32| vec![name; count as usize].join(",");
        // One after the other: a data connection for each.
        return vec![
            (
                format!("{} MB", times(DOWN.1)),
                format!("{curl} \"{url}/{{{}}}\"", sets(DOWN.0, LARGE)),
            ),
            (
                format!("{SMALL} files of {} kB", length / 1000),
                format!("{curl} \"{url}/{{{}}}\"", sets(small, SMALL)),
            ),
            (
                format!("{} MB stored", times(UP)),
                format!(
                    "{curl} -T '{{{}}}' \"{url}/in/\"",
                    sets("/data/sent", LARGE)
                ),
            ),
        ];
    }
    let (via, host) = match stock.way() {
        Files::Proxy | Files::ClosingProxy => (
            format!(
                "--noproxy '' --proxy http://$address:{}",
                stock.recipe().port
            ),
            format!("{CLIENT}:{PORT}"),
        ),
        Files::Server | Files::Reverse => (String::new(), "$address".to_owned()),
    };
    let [_, _, (large, length)] = FILES;
    vec![
        (
            format!("{} MB", times(length)),
            format!("{curl} {via} \"http://{host}/{large}?[1-{LARGE}]\""),
        ),
        (
            format!("{SMALL} files of 1 KiB"),
            format!(
                "{curl} {via} -H 'Connection: close' -r 0-1023 \"http://{host}/{large}?[1-{SMALL}]\""
            ),
        ),
    ]
}

fn overhead(
    lab: &Lab,
    stock: Stock,
    rounds: usize,
    say: &dyn Fn(&str),
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (what, command) in errands(stock) {
        let what = format!("{}, {what}", stock.name());
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..=rounds {
            say(&format!("{what}: {round} of {rounds}"));
            for turn in 0..Way::ALL.len() {
                let at = (round + turn) % Way::ALL.len();
                let seconds = run(lab, stock, Way::ALL[at], &command)?;
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
                &format!("overhead on real Xen, {what}"),
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
fn run(lab: &Lab, stock: Stock, way: Way, command: &str) -> Result<f64, String> {
    let kind = if stock.stores() { "ftp" } else { "http" };
    let protect = format!(
        "rxl ft protect bench --service {} --logger {LOGGER} --outbound re-issue --port {},{kind}",
        PLACES[0].0,
        stock.recipe().port
    );
    let unprotect = "rxl ft unprotect bench >/dev/null || exit;";
    let (before, after) = match way {
        Way::Bridge => (String::new(), String::new()),
        Way::Forwarded => (
            format!("{protect} --no-ft >/dev/null || exit;"),
            unprotect.to_owned(),
        ),
        Way::Protected => (
            format!("{protect} >/dev/null || exit;"),
            format!(
                "rxl ft status bench --json | python3 -c '{WERE_PROTECTED}' || exit; {unprotect}"
            ),
        ),
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

/// Takes away the group and all that this makes, in turn: its members, too, have the name of their configuration. Some may be going.
fn remove(lab: &Lab) -> Result<(), String> {
    lab.ok(
        "rxl ft unprotect bench >/dev/null 2>&1; \
         for d in $(rxl list | awk '$1 ~ /^(bench|server)-/ {print $1}' | sort -r); do rxl destroy $d || ! rxl domid $d >/dev/null 2>&1 || exit; done",
    )
    .map(drop)
}
