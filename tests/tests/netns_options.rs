// SPDX-License-Identifier: GPL-3.0-only
//! Kernels that do not agree to every TCP option, and servers that differ in that from the one that they replace: clients do
//! all that clients do, and every byte is compared.

mod storm_plan;

use std::error::Error;

use rxl_tests::netns::layout::{Layout, Parameters};
use rxl_tests::netns::storm::driver::{Mix, Plan, Storm};
use rxl_tests::netns::storm::tally::{Doing, Tally, Trouble};
use rxl_tests::netns::topology::Topology;
use rxl_tests::netns::victim::End;
use storm_plan::plan;

type Outcome = Result<(), Box<dyn Error>>;

const NONE: Parameters = &[];
const NO_STAMPS: Parameters = &[("net.ipv4.tcp_timestamps", "0")];
const NO_SACK: Parameters = &[("net.ipv4.tcp_sack", "0")];
const NO_SCALE: Parameters = &[("net.ipv4.tcp_window_scaling", "0")];
/// None of the three.
const BARE: Parameters = &[NO_STAMPS[0], NO_SACK[0], NO_SCALE[0]];
const ECN: Parameters = &[("net.ipv4.tcp_ecn", "1")];
const NO_ECN: Parameters = &[("net.ipv4.tcp_ecn", "0")];
/// Every SYN is answered with a cookie.
const COOKIES: Parameters = &[("net.ipv4.tcp_syncookies", "2")];

/// What `ss -oi` shows of a connection with timestamps, with SACK, with scaled windows, with ECN.
const SHOWN: [&str; 4] = ["ts", "sack", "wscale:", "ecn"];

/// Who has which parameters, and which of [`SHOWN`] the first server and a client agree on.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    client: Parameters,
    servers: [Parameters; 2],
    agreed: [bool; 4],
}

const fn case(
    name: &'static str,
    client: Parameters,
    servers: [Parameters; 2],
    agreed: [bool; 4],
) -> Case {
    Case {
        name,
        client,
        servers,
        agreed,
    }
}

const ALL: [bool; 4] = [true, true, true, false];
const BUT_STAMPS: [bool; 4] = [false, true, true, false];
const BUT_SACK: [bool; 4] = [true, false, true, false];
const BUT_SCALE: [bool; 4] = [true, true, false, false];
const WITH_ECN: [bool; 4] = [true; 4];
const NOTHING: [bool; 4] = [false; 4];

impl Case {
    fn plan(&self) -> Plan {
        let base = plan(self.name);
        Plan {
            layout: Layout {
                client_kernel: self.client,
                server_kernels: self.servers,
                ..base.layout
            },
            clients: 12,
            // Servers take turns: of a pair that differs, each replaces the other.
            failovers: 4,
            ..base
        }
    }

    fn storm(&self) -> Result<Tally, Box<dyn Error>> {
        let within = |error| format!("{}: {error}", self.name);
        let storm = Storm::start(&self.plan()).map_err(within)?;
        assert_eq!(agreed(storm.topology())?, self.agreed, "{}", self.name);
        let cookies = cookies(storm.topology())?;
        assert_eq!(cookies > 0, self.servers[0] == COOKIES, "{}", self.name);
        let tally = storm.run().map_err(within)?;
        println!("{}\n{tally}", self.name);
        assert!(tally.is_whole(), "{}: {tally}", self.name);
        assert!(tally.moved >= 20, "{}: {tally}", self.name);
        Ok(tally)
    }
}

/// Which of [`SHOWN`] the clients' connections have: each of them must have the same.
fn agreed(topology: &Topology) -> Result<[bool; 4], Box<dyn Error>> {
    let text = topology
        .client()
        .run("ss", &["-otinH", "state", "established"])?;
    // The second line of each.
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("mss:")).collect();
    let has = |line: &str, what: &str| {
        line.split_whitespace()
            .any(|word| word == what || what.ends_with(':') && word.starts_with(what))
    };
    let counts = SHOWN.map(|what| lines.iter().filter(|line| has(line, what)).count());
    let alike = counts
        .iter()
        .all(|&count| count == 0 || count == lines.len());
    assert!(alike && !lines.is_empty(), "{text}");
    Ok(counts.map(|count| count > 0))
}

/// How many SYNs the active server has answered with a cookie.
fn cookies(topology: &Topology) -> Result<u64, Box<dyn Error>> {
    let [active, _] = topology.servers();
    let text = active.run("cat", &["/proc/net/netstat"])?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = lines.next().zip(lines.next()).ok_or("no counters")?;
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    let sent = both.find(|(name, _)| *name == "SyncookiesSent");
    Ok(sent.ok_or("no counter of cookies")?.1.parse()?)
}

fn storms(cases: &[Case]) -> Outcome {
    let mut caught = Vec::new();
    for case in cases {
        caught.extend(case.storm()?.caught.into_keys());
    }
    for doing in [Doing::Download, Doing::Upload] {
        assert!(caught.contains(&doing), "no {doing:?} in {caught:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_or_corrupted_whatever_a_client_does_not_offer() -> Outcome {
    storms(&[
        case(
            "client without timestamps",
            NO_STAMPS,
            [NONE; 2],
            BUT_STAMPS,
        ),
        case("client without SACK", NO_SACK, [NONE; 2], BUT_SACK),
        case("client without scaling", NO_SCALE, [NONE; 2], BUT_SCALE),
        case("client without any of them", BARE, [NONE; 2], NOTHING),
    ])
}

#[test]
fn nothing_is_lost_or_corrupted_whatever_the_servers_do_not_agree_to() -> Outcome {
    storms(&[
        case(
            "servers without timestamps",
            NONE,
            [NO_STAMPS; 2],
            BUT_STAMPS,
        ),
        case("servers without SACK", NONE, [NO_SACK; 2], BUT_SACK),
        case("servers without scaling", NONE, [NO_SCALE; 2], BUT_SCALE),
        case("servers without any of them", NONE, [BARE; 2], NOTHING),
        case("ECN at both ends", ECN, [ECN; 2], WITH_ECN),
        case("servers with cookies", NONE, [COOKIES; 2], ALL),
        case(
            "cookies without timestamps",
            NO_STAMPS,
            [COOKIES; 2],
            NOTHING,
        ),
    ])
}

#[test]
fn nothing_is_lost_or_corrupted_when_servers_differ() -> Outcome {
    storms(&[
        case("SACK of the second", NONE, [NO_SACK, NONE], BUT_SACK),
        case("SACK of the first", NONE, [NONE, NO_SACK], ALL),
        case("scaling of the second", NONE, [NO_SCALE, NONE], BUT_SCALE),
        case("scaling of the first", NONE, [NONE, NO_SCALE], ALL),
        case("ECN of the second", ECN, [NO_ECN, ECN], ALL),
        case("ECN of the first", ECN, [ECN, NO_ECN], WITH_ECN),
        case("cookies of the second", NONE, [NONE, COOKIES], ALL),
        case("cookies of the first", NONE, [COOKIES, NONE], ALL),
    ])
}

/// One failover of six clients that stay; so many of them are told that the second server does not do.
fn one_failover(case: &Case, lost: usize) -> Result<Tally, Box<dyn Error>> {
    const WHY: &str = "the replacement did not agree to its TCP options";
    let plan = Plan {
        clients: 6,
        mix: Mix::Still,
        ..case.plan()
    };
    let mut storm = Storm::start(&plan)?;
    assert_eq!(agreed(storm.topology())?, case.agreed, "{}", case.name);
    storm.fail_over(End::Destroyed)?;
    let told = |log: &str| log.matches(WHY).count() == lost;
    storm
        .topology()
        .wait_told("what was lost to be logged", told)?;
    let tally = storm.finish()?;
    println!("{}\n{tally}", case.name);
    Ok(tally)
}

#[test]
fn timestamps_that_only_the_second_server_has_are_not_missed() -> Outcome {
    let servers = [NO_STAMPS, NONE];
    let case = case("timestamps of the second", NONE, servers, BUT_STAMPS);
    let tally = one_failover(&case, 0)?;
    assert!(tally.is_whole() && tally.moved == 6, "{tally}");
    Ok(())
}

/// Every segment of a connection with timestamps must have them, and the second server does not agree to that: its connections
/// are ended and counted.
#[test]
fn timestamps_that_only_the_first_server_has_end_the_connection() -> Outcome {
    let servers = [NONE, NO_STAMPS];
    let case = case("timestamps of the first", NONE, servers, ALL);
    let tally = one_failover(&case, 6)?;
    let counts = (tally.moved, tally.lost, tally.diverged);
    assert_eq!(counts, (0, 6, 0), "{tally}");
    let broken = |trouble: &Trouble| matches!(trouble, Trouble::Broken(_));
    let ended = tally.troubles.iter().filter(|it| broken(it)).count();
    assert_eq!((ended, tally.troubles.len()), (6, 6), "{tally}");
    Ok(())
}
