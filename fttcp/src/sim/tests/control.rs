// SPDX-License-Identifier: GPL-3.0-only
//! What the simulation itself must show: that it breaks without protection, and repeats itself.

use super::seeds::{Family, chance};
use super::*;

#[test]
fn without_protection_a_crash_breaks_the_connection() {
    for base in [Scenario::default(), scripted(Scenario::default())] {
        let control = Scenario {
            protect: false,
            crashes: vec![crash(60, Death::Silent)],
            ..base
        };
        let outcome = run(&control);
        assert_eq!(outcome.complete, 0);
        assert!(outcome.streams[0].len() < 41_000);
    }
}

#[test]
fn different_output_of_a_standby_is_found_wherever_it_was_sent() {
    for lie_at in [0, 120, 5000, 10_000] {
        let lying = Scenario {
            lie_at: Some(lie_at),
            crashes: vec![crash(70, Death::Silent)],
            ..Scenario::default()
        };
        let outcome = run(&lying);
        assert_eq!(outcome.status.counters.diverged, 1, "byte {lie_at}");
        assert_eq!(outcome.complete, 0);
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    for family in Family::ALL {
        let (first, second) = (run(&chance(family, 5)), run(&chance(family, 5)));
        assert_eq!(
            (first.events, first.took_us),
            (second.events, second.took_us)
        );
        assert_eq!(first.log, second.log);
    }
}

#[test]
fn trap_34_corrupt_segments_are_neither_logged_nor_delivered() {
    let corrupt = Link {
        corrupt: 300,
        ..Link::clean(1000)
    };
    let base = scripted(Scenario::default());
    let fault_free = clean(&base);
    let scenario = Scenario {
        client_link: Wire::same(corrupt),
        server_link: Wire::same(Link {
            delay_us: 50,
            ..corrupt
        }),
        crashes: vec![crash(fault_free.events / 2, Death::Silent)],
        ..base
    };
    assert!(assert_same(&scenario));
    let events = run(&scenario).events;
    assert!(events > fault_free.events + 20, "nothing was corrupted");
}
