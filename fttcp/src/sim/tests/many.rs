// SPDX-License-Identifier: GPL-3.0-only
//! Many connections at once, and many failovers of one.

use super::*;

#[test]
fn hundred_connections_are_moved_at_once() {
    let base = Scenario {
        connections: 100,
        ..Scenario::default()
    };
    let fault_free = clean(&base);
    let faulty = Scenario {
        crashes: vec![crash(fault_free.events / 2, Death::Silent)],
        ..base
    };
    assert!(assert_same(&faulty));
    let progress = run(&faulty).status.failover.expect("there was one");
    assert_eq!(
        (progress.connections, progress.recovered, progress.lost),
        (100, 100, 0)
    );
    assert!(progress.done_us.is_some());
}

#[test]
fn five_thousand_connections_are_moved_at_once() {
    let connections = if cfg!(debug_assertions) { 200 } else { 5000 };
    let mut base = scripted(Scenario {
        connections,
        ..Scenario::default()
    });
    base.script.requests = vec![Request::new(200, 6000)];
    let fault_free = clean(&base);
    let faulty = Scenario {
        crashes: vec![crash(fault_free.events / 2, Death::Silent)],
        ..base
    };
    assert!(assert_same(&faulty));
    let progress = run(&faulty).status.failover.expect("there was one");
    assert!(
        progress.connections as usize > connections / 2,
        "{progress:?}"
    );
    assert_eq!(
        (progress.recovered, progress.lost),
        (progress.connections, 0)
    );
}

/// One connection lives through a hundred servers; each dead one is made anew and is the standby of the next.
#[test]
fn hundred_failovers_in_a_row_of_one_connection() {
    for base in [Scenario::default(), scripted(Scenario::default())] {
        let mut base = base;
        base.script.requests = vec![
            Request {
                pause_us: 100_000,
                ..Request::new(100, 500)
            };
            150
        ];
        base.rejoin_us = Some(5000);
        let death = |n: usize| [Death::Silent, Death::Closes, Death::Hangs][n % 3];
        base.crashes = (0..100).map(|n| crash(15 * n as u64, death(n))).collect();
        let outcome = run(&base);
        assert_eq!(outcome.judge(&base), Ok(true), "{:#?}", outcome.log);
        let last = outcome.status.failover.expect("there were some");
        assert_eq!((last.number, last.lost), (100, 0));
        assert_eq!(outcome.status.counters.lost, 0);
    }
}
