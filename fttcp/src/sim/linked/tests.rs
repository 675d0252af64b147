// SPDX-License-Identifier: GPL-3.0-only
//! Crash at every event while connections are open that the server opened.

mod ftp;

use super::apps::{App, Ftp, FtpClient, Proxy, ProxyClient, Transfer};
use super::*;

fn scenario(
    client: fn(&mut Host) -> Vec<Box<dyn App>>,
    server: fn(&mut Host, usize) -> Vec<Box<dyn App>>,
) -> Scenario {
    Scenario {
        crashes: Vec::new(),
        outbound: Outbound::Keep,
        control: "opaque",
        durable: false,
        client,
        server,
    }
}

/// One client, two requests on one connection.
fn proxied() -> Scenario {
    scenario(
        |host| {
            vec![Box::new(ProxyClient::new(
                host,
                30_000,
                vec![(1, 9000), (2, 5000)],
            ))]
        },
        |host, index| vec![Box::new(Proxy::new(host, 1, 40_000 + 1000 * index as u16))],
    )
}

/// Three clients at the same time.
fn busy_proxy() -> Scenario {
    scenario(
        |host| {
            let client = |n: usize| {
                ProxyClient::new(host, 30_000 + n as u16, vec![(n, 4000), (9 - n, 2000)])
            };
            let clients: Vec<ProxyClient> = [1, 2, 3].map(client).into();
            clients
                .into_iter()
                .map(|it| Box::new(it) as Box<dyn App>)
                .collect()
        },
        |host, index| vec![Box::new(Proxy::new(host, 3, 40_000 + 1000 * index as u16))],
    )
}

fn transfers() -> Scenario {
    scenario(
        |host| {
            let file = |up, id, len| Transfer { up, id, len };
            let files = vec![file(false, 1, 9000), file(true, 2, 7000), file(false, 3, 0)];
            vec![Box::new(FtpClient::new(host, 30_000, files))]
        },
        |host, _| vec![Box::new(Ftp::new(host, 1))],
    )
}

#[track_caller]
fn clean(scenario: &Scenario) -> Outcome {
    let outcome = run(scenario);
    assert!(outcome.results.iter().all(Option::is_some), "{outcome:#?}");
    assert!(outcome.events > 100, "only {} events", outcome.events);
    outcome
}

#[track_caller]
fn assert_same(base: &Scenario, clean: &Outcome, crashes: &[(u64, Death)]) {
    let faulty = Scenario {
        crashes: crashes.to_vec(),
        ..*base
    };
    let got = run(&faulty);
    assert!(
        got.results == clean.results,
        "crashes {crashes:?}: {got:#?}\nwithout: {:#?}",
        clean.results
    );
    assert_eq!(
        (got.counters.lost, got.counters.diverged),
        (0, 0),
        "crashes {crashes:?}: {got:#?}"
    );
}

#[track_caller]
fn crash_everywhere(base: &Scenario, death: Death) {
    let fault_free = clean(base);
    for at in 0..fault_free.events {
        assert_same(base, &fault_free, &[(at, death)]);
    }
}

#[test]
fn trap_35_proxy_that_crashes_at_any_event_asks_its_origin_once() {
    crash_everywhere(&proxied(), Death::Silent);
}

#[test]
fn trap_35_proxy_whose_kernel_closes_at_any_event_asks_its_origin_once() {
    crash_everywhere(&proxied(), Death::Closes);
}

#[test]
fn trap_35_proxy_whose_kernel_resets_at_any_event_asks_its_origin_once() {
    crash_everywhere(&proxied(), Death::Resets);
}

#[test]
fn trap_35_proxy_with_several_clients_crashes_at_any_event() {
    crash_everywhere(&busy_proxy(), Death::Silent);
}

#[test]
fn trap_35_ftp_server_in_active_mode_crashes_at_any_event() {
    crash_everywhere(&transfers(), Death::Silent);
}

#[test]
fn trap_35_ftp_server_in_active_mode_whose_kernel_closes_at_any_event() {
    crash_everywhere(&transfers(), Death::Closes);
}

#[test]
fn trap_35_crash_twice_at_some_pairs_of_events() {
    for base in [proxied(), transfers()] {
        crash_in_pairs(&base);
    }
}

/// Two servers die, at some pairs of events.
fn crash_in_pairs(base: &Scenario) {
    let fault_free = clean(base);
    for first in (0..fault_free.events).step_by(11) {
        for gap in [1, 5, 18, 60] {
            let crashes = [first, first + gap].map(|at| (at, Death::Silent));
            assert_same(base, &fault_free, &crashes);
        }
    }
}

/// The control: what the other tests forbid does happen under other policies.
#[test]
fn crash_in_the_middle_under_other_policies_is_seen_in_the_north() {
    for base in [proxied(), transfers()] {
        let fault_free = clean(&base);
        let mut changed = 0;
        for at in 0..fault_free.events {
            let faulty = Scenario {
                outbound: Outbound::Pass,
                crashes: vec![(at, Death::Silent)],
                ..base
            };
            changed += u64::from(run(&faulty).results != fault_free.results);
        }
        assert!(
            changed * 3 > fault_free.events,
            "{changed} of {}",
            fault_free.events
        );
    }
    let base = proxied();
    let fault_free = clean(&base);
    let faulty = Scenario {
        outbound: Outbound::ReIssue,
        crashes: vec![(fault_free.events / 2, Death::Silent)],
        ..base
    };
    let outcome = run(&faulty);
    let asked = |outcome: &Outcome| outcome.results.last().cloned().flatten().map(|it| it.len());
    assert!(asked(&outcome) > asked(&fault_free), "{outcome:#?}");
    assert_eq!(outcome.results[0], fault_free.results[0]);
}
