// SPDX-License-Identifier: GPL-3.0-only
//! Responses that are taken up in the middle, and servers that do not give their rest.

use super::*;

/// A long response between two short ones, in large segments.
fn long(ranges: Ranges, kind: Stack) -> Scenario {
    let base = Scenario::default();
    let end = |buffer| EndSpec {
        buffer,
        mtu: 9000,
        ..EndSpec::new(kind)
    };
    Scenario {
        kind: "http",
        script: Script {
            requests: vec![
                Request::new(10, 500),
                Request::new(0, 150_000),
                Request::new(0, 900),
            ],
            ranges,
            ..base.script
        },
        client: end(32 * 1024),
        servers: vec![end(64 * 1024)],
        ..base
    }
}

fn both(ranges: Ranges) -> [Scenario; 2] {
    [long(ranges, Stack::Smoltcp), long(ranges, Stack::Scripted)]
}

fn short(base: Scenario) -> Scenario {
    Scenario {
        shortcut: Some(64 * 1024),
        ..base
    }
}

/// Judges a run; gives how many connections were resumed, and how many were not though it was tried.
#[track_caller]
fn resumed(scenario: &Scenario) -> (u64, u64) {
    let got = run(scenario);
    let wrong = got.judge(scenario);
    let (log, status) = (&got.log, &got.status);
    assert_eq!(
        wrong,
        Ok(true),
        "log: {log:#?}\nstatus: {status:?}\nof sim::run(&{scenario:?})"
    );
    (status.counters.resumed, status.counters.resumes_refused)
}

/// A crash at every event; gives the sums.
#[track_caller]
fn resumed_everywhere(base: &Scenario, death: Death) -> (u64, u64) {
    let mut sums = (0, 0);
    for at_event in 0..clean(base).events {
        let faulty = Scenario {
            crashes: vec![crash(at_event, death)],
            ..base.clone()
        };
        let (resumed, refused) = resumed(&faulty);
        sums = (sums.0 + resumed, sums.1 + refused);
    }
    sums
}

#[test]
fn crash_at_every_event_of_a_response_that_is_resumed() {
    for base in both(Ranges::Given) {
        for base in [base.clone(), short(base)] {
            for death in [Death::Silent, Death::Closes, Death::Resets, Death::Hangs] {
                let (resumed, refused) = resumed_everywhere(&base, death);
                assert!(resumed > 10, "{resumed}");
                assert_eq!(refused, 0);
            }
        }
    }
}

#[test]
fn crash_at_every_event_of_a_response_whose_rest_is_refused() {
    for ranges in [
        Ranges::Ignored,
        Ranges::OtherVersion,
        Ranges::OtherPart,
        Ranges::Closed,
        Ranges::Silent,
    ] {
        for base in both(ranges) {
            let (resumed, refused) = resumed_everywhere(&base, Death::Silent);
            assert_eq!(resumed, 0);
            assert!(refused > 10, "{ranges:?}: {refused}");
            resumed_everywhere(&short(base), Death::Closes);
        }
    }
}

#[test]
fn trap_17_crash_at_every_event_of_a_resumed_response_that_is_closed() {
    for closing in [Closing::Half, Closing::Server, Closing::Both] {
        for mut base in both(Ranges::Given) {
            base.script.requests.truncate(2);
            base.script.closing = closing;
            let (resumed, _) = resumed_everywhere(&base, Death::Closes);
            assert!(resumed > 10, "{closing:?}: {resumed}");
        }
    }
}

#[test]
fn crash_twice_and_thrice_in_a_response_that_is_resumed() {
    for base in both(Ranges::Given) {
        let events = clean(&base).events;
        let mut sum = 0;
        for first in (events / 3..events).step_by(3) {
            for second in (first..events + 40).step_by(2) {
                let at = |event, death| Crash {
                    at_event: event,
                    death,
                    detect_us: 1500,
                };
                let crashes = vec![
                    at(first, Death::Silent),
                    at(second, Death::Resets),
                    at(second + 25, Death::Silent),
                ];
                let faulty = Scenario {
                    crashes,
                    ..base.clone()
                };
                sum += resumed(&faulty).0;
            }
        }
        assert!(sum > 300, "{sum}");
    }
}

#[test]
fn logger_killed_at_every_event_of_a_resumption() {
    for base in both(Ranges::Given) {
        for base in [base.clone(), short(base)] {
            let events = clean(&base).events;
            let mut sum = 0;
            for at_event in (events / 3..events).step_by(7) {
                for after in 0..40 {
                    let faulty = Scenario {
                        crashes: vec![crash(at_event, Death::Silent)],
                        restarts: vec![at_event + after],
                        journal: after % 2 == 0,
                        ..base.clone()
                    };
                    sum += resumed(&faulty).0;
                }
            }
            assert!(sum > 50, "{sum}");
        }
    }
}

#[test]
fn what_is_said_again_does_not_grow_with_what_was_done() {
    for mut base in both(Ranges::Given) {
        base.script.requests[1].download = 600_000;
        let mut said = Vec::new();
        for at_event in (0..clean(&base).events).step_by(3) {
            let faulty = Scenario {
                crashes: vec![crash(at_event, Death::Silent)],
                ..base.clone()
            };
            if resumed(&faulty) == (1, 0) {
                let progress = run(&faulty).status.failover.expect("there was one");
                assert!(progress.replayed_bytes < 200, "{progress:?}");
                said.push(progress.discarded_bytes);
            }
        }
        assert!(said.len() > 20, "{said:?}");
        // What lies between a border of the digest and the next byte, and what the client acknowledged meanwhile.
        assert!(said.iter().all(|&said| said < 34_000), "{said:?}");
    }
}
