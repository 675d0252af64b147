// SPDX-License-Identifier: GPL-3.0-only
//! A fault at every event of a small transfer.

use super::*;

pub(super) fn crash_everywhere(base: &Scenario, death: Death) {
    let fault_free = clean(base);
    assert!(fault_free.events > 50, "only {} events", fault_free.events);
    for at_event in 0..fault_free.events {
        let faulty = Scenario {
            crashes: vec![crash(at_event, death)],
            ..base.clone()
        };
        assert!(assert_same(&faulty), "an end stalled on a clean link");
    }
}

#[test]
fn crash_at_every_event_machine_stops() {
    crash_everywhere(&Scenario::default(), Death::Silent);
    crash_everywhere(&scripted(Scenario::default()), Death::Silent);
}

#[test]
fn trap_16_crash_at_every_event_kernel_closes() {
    crash_everywhere(&Scenario::default(), Death::Closes);
    crash_everywhere(&scripted(Scenario::default()), Death::Closes);
}

#[test]
fn trap_16_crash_at_every_event_kernel_resets() {
    crash_everywhere(&Scenario::default(), Death::Resets);
    crash_everywhere(&scripted(Scenario::default()), Death::Resets);
}

#[test]
fn replaced_at_every_event_while_its_kernel_goes_on() {
    crash_everywhere(&Scenario::default(), Death::Hangs);
    crash_everywhere(&scripted(Scenario::default()), Death::Hangs);
}

#[test]
fn crash_at_every_event_kept_alive_and_scaled_windows() {
    crash_everywhere(&keep_alive(), Death::Silent);
}

fn closing(closing: Closing, base: Scenario) -> Scenario {
    Scenario {
        script: Script {
            closing,
            ..base.script
        },
        ..base
    }
}

#[test]
fn trap_17_crash_at_every_event_half_closed() {
    let mut half_closed = closing(Closing::Half, Scenario::default());
    half_closed.client.timestamps = false;
    half_closed.servers[0].timestamps = false;
    crash_everywhere(&half_closed, Death::Closes);
    let half_closed = closing(Closing::Half, scripted(Scenario::default()));
    crash_everywhere(&half_closed, Death::Silent);
}

#[test]
fn trap_17_crash_at_every_event_server_closes_first() {
    for base in [Scenario::default(), scripted(Scenario::default())] {
        crash_everywhere(&closing(Closing::Server, base), Death::Silent);
    }
}

#[test]
fn trap_17_crash_at_every_event_both_close_at_once() {
    for base in [Scenario::default(), scripted(Scenario::default())] {
        crash_everywhere(&closing(Closing::Both, base), Death::Resets);
    }
}

/// A crash at each event, and another at each event that then follows: before, during and after the first failover.
fn crash_twice_everywhere(base: &Scenario, deaths: [Death; 2]) {
    let crash = |at_event, death| Crash {
        at_event,
        death,
        detect_us: 1500,
    };
    let mut runs = 0;
    for first in 0..clean(base).events {
        let once = Scenario {
            crashes: vec![crash(first, deaths[0])],
            ..base.clone()
        };
        for second in first..run(&once).events {
            let twice = Scenario {
                crashes: vec![crash(first, deaths[0]), crash(second, deaths[1])],
                ..base.clone()
            };
            assert!(assert_same(&twice), "an end stalled on a clean link");
            runs += 1;
        }
    }
    println!("{runs} pairs");
}

#[test]
fn crash_twice_at_every_pair_of_events_machine_stops() {
    crash_twice_everywhere(&keep_alive(), [Death::Silent; 2]);
    crash_twice_everywhere(&scripted(keep_alive()), [Death::Silent; 2]);
}

#[test]
fn trap_16_crash_twice_at_every_pair_of_events_kernel_speaks() {
    let base = scripted(keep_alive());
    crash_twice_everywhere(&base, [Death::Closes, Death::Resets]);
    crash_twice_everywhere(&base, [Death::Resets, Death::Hangs]);
}

#[test]
fn trap_17_crash_twice_at_every_pair_of_events_half_closed_and_truncated() {
    let base = Scenario {
        kind: "exchange",
        ..closing(Closing::Half, scripted(keep_alive()))
    };
    crash_twice_everywhere(&base, [Death::Closes, Death::Silent]);
}

#[test]
fn shortcut_crash_twice_at_every_pair_of_events() {
    crash_twice_everywhere(&short(keep_alive()), [Death::Silent, Death::Closes]);
}

/// With a fast path whose ring is small enough to be full now and then.
fn short(base: Scenario) -> Scenario {
    Scenario {
        shortcut: Some(6000),
        ..base
    }
}

#[test]
fn shortcut_crash_at_every_event_machine_stops() {
    crash_everywhere(&short(Scenario::default()), Death::Silent);
    crash_everywhere(&short(scripted(Scenario::default())), Death::Silent);
}

#[test]
fn shortcut_crash_at_every_event_kernel_closes() {
    crash_everywhere(&short(keep_alive()), Death::Closes);
    crash_everywhere(&short(scripted(keep_alive())), Death::Closes);
}

/// A keep-alive may carry one byte of garbage in the place of the last acknowledged (RFC 1122 section 4.2.3.6).
#[test]
fn trap_26_crash_at_every_event_of_a_connection_kept_alive_with_garbage() {
    let mut base = scripted(keep_alive());
    for request in &mut base.script.requests {
        request.pause_us = 600_000;
    }
    base.client.habits.keep_alive_us = Some(100_000);
    base.servers[0].habits.keep_alive_us = Some(70_000);
    crash_everywhere(&base, Death::Silent);
    crash_everywhere(&short(base), Death::Closes);
}

/// A replay begins with the request whose response is not acknowledged: what comes before is not even kept.
#[test]
fn crash_at_every_event_of_a_service_that_truncates() {
    for base in [keep_alive(), scripted(keep_alive())] {
        let base = Scenario {
            kind: "exchange",
            ..base
        };
        assert!(clean(&base).status.counters.truncations >= 2);
        crash_everywhere(&base, Death::Silent);
        crash_everywhere(&base, Death::Resets);
    }
}

#[test]
fn replay_of_a_service_that_truncates_does_not_grow_with_age() {
    let requests = |count| Scenario {
        kind: "exchange",
        script: Script {
            requests: vec![Request::new(100, 1000); count],
            ..Scenario::default().script
        },
        ..Scenario::default()
    };
    for count in [5, 200] {
        let base = requests(count);
        let fault_free = clean(&base);
        let faulty = Scenario {
            crashes: vec![crash(fault_free.events * 9 / 10, Death::Silent)],
            ..base
        };
        assert!(assert_same(&faulty));
        let progress = run(&faulty).status.failover.expect("there was one");
        assert_eq!(progress.recovered, 1);
        assert!(progress.replayed_bytes < 200, "{progress:?}");
        assert!(progress.discarded_bytes <= 1100, "{progress:?}");
    }
}

#[test]
fn logger_restarted_at_every_event_changes_nothing() {
    for base in [Scenario::default(), keep_alive(), scripted(keep_alive())] {
        let fault_free = clean(&base);
        let at_each = Scenario {
            restarts: (0..fault_free.events).collect(),
            ..base.clone()
        };
        let restarted = clean(&at_each);
        assert_eq!(
            (restarted.events, &restarted.streams, restarted.took_us),
            (fault_free.events, &fault_free.streams, fault_free.took_us)
        );
    }
}

#[test]
fn logger_restarted_at_every_event_of_a_failover() {
    for base in [keep_alive(), scripted(keep_alive()), short(keep_alive())] {
        let fault_free = clean(&base);
        for at_event in 0..fault_free.events {
            for after in 0..40 {
                let faulty = Scenario {
                    crashes: vec![crash(at_event, Death::Silent)],
                    restarts: vec![at_event + after],
                    ..base.clone()
                };
                assert!(assert_same(&faulty), "an end stalled on a clean link");
            }
        }
    }
}

#[test]
fn crash_at_every_event_with_held_windows() {
    for base in [keep_alive(), scripted(keep_alive())] {
        let base = Scenario {
            kind: "exchange",
            on_full: OnFull::Hold,
            buffer_bytes: 8000,
            ..base
        };
        let fault_free = clean(&base);
        let counters = fault_free.status.counters;
        assert_eq!((counters.windows_held > 0, counters.full_held), (true, 0));
        crash_everywhere(&base, Death::Silent);
    }
}
