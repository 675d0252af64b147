// SPDX-License-Identifier: GPL-3.0-only
//! Stock servers on real Xen that crash again and again under stock clients, which fetch and store files all the time: no
//! client hangs or hears of it, and every file is the same at both ends.
//!
//! `visitors`: who asks them; `clients`: how that goes on; `kernel`: a server's kernel is upgraded under them; `upgrade`: one
//! that ends before a transfer does. Usually it is one crash of vsftpd in a PV guest. `LAB_SERVERS` names others, with commas
//! between them, or `all`; `LAB_KINDS` likewise `pv` and `pvh`; `LAB_CRASHES` is how often the server of each pair crashes.

mod clients;
mod kernel;
mod upgrade;
mod visitors;

use std::time::Instant;

use rxl_tests::lab::Lab;
use rxl_tests::lab::servers::house::{self, House};
use rxl_tests::lab::servers::stock::Stock;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::SERVER;
use serde_json::Value;

use crate::declared::{self, active, end, last_event, wait_complete, wait_event, with_logger};
use crate::dom0::Dom0;
use crate::emulator::despite_emulator;
use clients::{Clients, Rounds};

/// A crash comes at one of so many segments with data.
const SPAN: u64 = 2000;

/// The words of this variable, or of `usually`.
fn words(variable: &str, usually: &str) -> Vec<String> {
    let given = std::env::var(variable).unwrap_or_else(|_| usually.to_owned());
    given.split(',').map(str::to_owned).collect()
}

/// The servers that are asked for.
fn servers() -> Vec<Stock> {
    let names = words("LAB_SERVERS", "vsftpd");
    if names == ["all"] {
        return Stock::ALL.to_vec();
    }
    let named = |name: &String| {
        let found = Stock::ALL.into_iter().find(|stock| stock.name() == name);
        found.unwrap_or_else(|| panic!("LAB_SERVERS: there is no {name}"))
    };
    names.iter().map(named).collect()
}

/// What Dom0 has for a server.
fn build(dom0: &Dom0, stock: Stock) -> House<'_> {
    House::build(&dom0.lab, stock).unwrap_or_else(|e| panic!("{e}"))
}

/// What clients were told that they had stored is whole on the disk of some member.
fn nothing_lost(house: &House<'_>, rounds: &Rounds) {
    let stored = rounds.iter().filter(|(visitor, _)| visitor.stores);
    let names = stored.flat_map(|(it, count)| (1..=*count).map(|n| format!("{}-{n}", it.name)));
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        let missing = house.missing(&names).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(missing, "", "stored, but on no disk");
        println!("{} files were stored", names.len());
    }
}

/// Destroys the server at this segment with data; returns when each client has got on without it.
fn crash(dom0: &Dom0, clients: &Clients<'_>, segment: u64) {
    let (server, since) = (active(dom0), last_event(dom0));
    // What tcpdump prints are no words for a test.
    dom0.ok(&format!(
        "timeout 300 tcpdump -i any -c {segment} -n -q 'host {SERVER} and tcp and greater 1000' >/dev/null 2>&1 && rxl destroy {server}"
    ));
    print!("{}", wait_event(dom0, since, "failover-acknowledged"));
    // The round in which it crashed; another one comes before their end.
    clients.go_on(1);
    assert_ne!(active(dom0), server);
}

/// What the logger has counted.
fn counters(dom0: &Dom0) -> Value {
    let text = dom0.ok("rxl ft status www --json");
    let groups: Value = serde_json::from_str(&text).expect("rxl ft status prints JSON");
    let counters = groups[0]["logger"]["counters"].clone();
    assert!(counters.is_object(), "without the logger's view: {text}");
    counters
}

/// What a client was told that it has posted, the origin got once; whatever a client heard, not twice.
fn nothing_twice(house: &House<'_>, heard: &[(String, String)]) {
    let paths: Vec<_> = heard.iter().map(|(path, _)| path.as_str()).collect();
    let posts = house.posts(&paths).unwrap_or_else(|e| panic!("{e}"));
    for ((path, heard), count) in heard.iter().zip(posts) {
        match heard.as_str() {
            "200" => assert_eq!(count, 1, "{path}"),
            "502" | "broken" => assert!(count <= 1, "{path}: {count}"),
            other => panic!("{path}: {other}"),
        }
    }
    let answered = heard.iter().filter(|(_, heard)| heard == "200").count();
    println!("{} posts, {answered} of them answered", heard.len());
}

/// A server of this kind of guest crashes so many times.
fn outlive(stock: Stock, kind: &str, crashes: u32) {
    let name = stock.name();
    Lab::up_with(&["servers"]).unwrap_or_else(|error| panic!("{error}"));
    let dom0 = with_logger();
    let house = build(&dom0, stock);
    dom0.ok(&format!(
        "cat > /root/demo/server.cfg <<'END'\n{}END\n",
        house::guest(stock, kind)
    ));
    declared::apply(&dom0, &house::group(stock));
    let mut random = Random::announced(&format!("lab {name} {kind}"));
    let clients = Clients::begin(&dom0, stock);
    let moved = || counters(&dom0)["recovered"].as_u64().expect("a number");
    let (mut hits, mut known) = (0, 0);
    // A crash in a moment when nobody had a connection shows nothing, and is not counted.
    for tried in 0..3 * crashes {
        if tried > 0 {
            wait_complete(&dom0);
        }
        crash(&dom0, &clients, 1 + random.below(SPAN));
        let now = moved();
        hits += u32::from(now > known);
        known = now;
        if hits == crashes {
            break;
        }
    }
    assert_eq!(hits, crashes, "crashes that hit a connection");
    let rounds = clients.end();
    let counters = counters(&dom0);
    let counts: Vec<_> = rounds.iter().map(|(it, count)| (it.name, count)).collect();
    println!("{name} {kind}: rounds: {counts:?}; {counters}");
    let count = |name: &str| counters[name].as_u64();
    let heard = clients.heard();
    let cut_off = heard.iter().filter(|(_, heard)| heard != "200").count() as u64;
    assert_eq!(
        (count("lost"), count("diverged"), count("resumes_refused")),
        (Some(cut_off), Some(0), Some(0)),
        "{heard:?}\n{counters}\n{}",
        clients.story()
    );
    nothing_twice(&house, &heard);
    // What was stored last is in nobody's memory but the server's, unless it is on its disk.
    dom0.ok(&format!("rxl destroy {}", active(&dom0)));
    if stock.stores() {
        let stored = rounds.iter().filter(|(it, _)| it.stores);
        let stored: u32 = stored.map(|(_, count)| count).sum();
        assert!(
            count("commits") >= Some(stored.into()),
            "{stored}: {counters}"
        );
        assert_eq!(count("commits_not_durable"), Some(0));
    }
    dom0.wait_no_dying();
    end(&dom0);
    dom0.wait_no_dying();
    nothing_lost(&house, &rounds);
    house.clear().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn lab_servers_crash_under_stock_clients() {
    let crashes = words("LAB_CRASHES", "1")[0]
        .parse()
        .expect("LAB_CRASHES: a number");
    let mut failed = Vec::new();
    for stock in servers() {
        for kind in words("LAB_KINDS", "pv") {
            let name = format!("{} {kind}", stock.name());
            let start = Instant::now();
            // One that fails does not keep others from being tried.
            let test = move || match kind.as_str() {
                "pvh" => despite_emulator(|| outlive(stock, &kind, crashes)),
                _ => outlive(stock, &kind, crashes),
            };
            let ended = std::thread::spawn(test).join();
            let how = if ended.is_ok() { "passed" } else { "failed" };
            println!("{name}: {how}, {crashes} crashes, {:?}", start.elapsed());
            if ended.is_err() {
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
