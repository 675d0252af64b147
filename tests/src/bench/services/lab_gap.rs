// SPDX-License-Identifier: GPL-3.0-only
//! How long a client in Dom0 gets no byte when its server's domain is destroyed, on real Xen: a declared group replaces the server
//! and makes the next standby by itself, again and again.

use crate::bench::Row;
use crate::lab::Lab;
use crate::lab::servers::house::{FOLDER, group, guest};
use crate::lab::servers::stock::{DOWN, FILES, Stock};
use crate::netns::topology::{CLIENT, SERVER};
use crate::netns::web::origin::PORT;

/// The group's name.
const GROUP: &str = "bench";

/// Fetches a file again and again until that is enough. Of each it says how long, in ms, there came no byte at most.
const CLIENT_PROGRAM: &str = r#"
import ftplib, http.client, os, sys, time
kind, port, path, user, password = sys.argv[1:6]
last, longest = time.monotonic(), 0
def came(data):
    global last, longest
    now = time.monotonic()
    last, longest = now, max(longest, now - last)
if kind == "ftp":
    ftp = ftplib.FTP()
    ftp.connect("@SERVER", int(port), timeout=240)
    ftp.login(user, password)
else:
    web = http.client.HTTPConnection("@SERVER", int(port), timeout=240)
last = time.monotonic()
while not os.path.exists("enough"):
    if kind == "ftp":
        ftp.retrbinary("RETR " + path, came)
    else:
        web.request("GET", path)
        answer = web.getresponse()
        if answer.status != 200:
            sys.exit(f"status {answer.status}")
        while data := answer.read(16384):
            came(data)
    print(longest * 1e3, flush=True)
    longest = 0
"#;

/// Files that a client fetches before its server is destroyed, and after that.
const FETCHED: [u32; 2] = [3, 2];

/// One row of pauses at failovers, and one of the longest before them.
pub(super) fn rows(
    lab: &Lab,
    stock: Stock,
    logger: &str,
    failovers: usize,
    say: &dyn Fn(&str),
) -> Result<Vec<Row>, String> {
    let config = guest(stock, "pv").replace("backend=logger", &format!("backend={logger}"));
    let group = group(stock);
    let program = CLIENT_PROGRAM.replace("@SERVER", SERVER);
    lab.ok(&format!(
        "cd {FOLDER}; cat >server.cfg <<'END'\n{config}END\ncat >group.toml <<'END'\nname = '{GROUP}'\nlogger = '{logger}'\n{group}END\n\
         cat >gap.py <<'END'\n{program}END\n"
    ))?;
    let (mut usual, mut gaps) = (Vec::new(), Vec::new());
    for failover in 1..=failovers {
        lab.ok(&format!("timeout 400 rxl ft apply {FOLDER}/group.toml"))?;
        say(&format!(
            "{}: failover {failover} of {failovers}",
            stock.name()
        ));
        let [before, after] = one(lab, stock)?;
        usual.push(before);
        gaps.push(after);
    }
    let name = stock.name();
    let figure = |what: &str| format!("{what} on real Xen, {name}");
    Ok(vec![
        Row::percentile(
            &figure("longest pause without a failover"),
            "ms",
            50.0,
            &usual,
        ),
        Row::percentile(&figure("pause at failover"), "ms", 50.0, &gaps),
        Row::percentile(&figure("pause at failover, longest"), "ms", 100.0, &gaps),
    ])
}

/// A client's longest pause before its server is destroyed, and after that, in ms.
fn one(lab: &Lab, stock: Stock) -> Result<[f64; 2], String> {
    let port = stock.recipe().port;
    let words = match stock {
        Stock::Ftp(server) => {
            let (user, password) = server.login();
            format!("ftp {port} {} {user} {password}", DOWN.0)
        }
        _ if stock.has_origin() => format!("http {port} http://{CLIENT}:{PORT}/{} - -", FILES[2].0),
        _ => format!("http {port} /{} - -", FILES[2].0),
    };
    let [before, after] = FETCHED;
    let text = lab.ok(&format!(
        "cd {FOLDER}; rm -f enough; server=$(rxl ft show {GROUP} --json | python3 -c \
         'import json, sys; print(json.load(sys.stdin)[0][\"state\"][\"active\"][\"name\"])') || exit\n\
         python3 gap.py {words} >pauses 2>gap.log & pid=$!\n\
         fetched() {{ for i in $(seq 3000); do [ $(wc -l <pauses) -ge $1 ] && return; kill -0 $pid || return; sleep 0.1; done; return 1; }}\n\
         fetched {before} && n=$(wc -l <pauses) && rxl destroy $server && fetched $((n + {after}))\n\
         ended=$?; touch enough; wait $pid && [ $ended = 0 ] || {{ cat gap.log pauses >&2; exit 1; }}; echo $n; cat pauses"
    ))?;
    let numbers: Result<Vec<f64>, _> = text.lines().map(str::parse).collect();
    let numbers = numbers.map_err(|error| format!("pauses: {error}: {text}"))?;
    let longest = |pauses: &[f64]| pauses.iter().copied().fold(0.0, f64::max);
    match numbers.split_first() {
        Some((&n, pauses)) if pauses.len() > n as usize => {
            let (before, after) = pauses.split_at(n as usize);
            Ok([longest(before), longest(after)])
        }
        _ => Err(format!("pauses: {text}")),
    }
}
