// SPDX-License-Identifier: GPL-3.0-only
//! Requests that must not be made twice: whatever dies, each is carried out at most once, and its client has the true
//! answer, an honest error reply, or a broken connection in the middle of an answer.

use super::*;
use crate::sim::truth::Truth;

/// Two short requests, of which each must not be made twice.
fn posts(base: Scenario) -> Scenario {
    Scenario {
        kind: "http",
        may_end: true,
        script: Script {
            requests: vec![Request::new(3000, 9000), Request::new(20, 300)],
            method: "POST",
            ..base.script
        },
        ..base
    }
}

/// How a client's story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    Whole,
    Replied,
    Broken,
}

#[track_caller]
fn story(scenario: &Scenario) -> Story {
    let got = run(scenario);
    let whole = (&got.log, &got.status);
    let of = || format!("{whole:#?} of sim::run(&{scenario:?})");
    let reset = |what: &&String| !what.ends_with("the connection was reset");
    let wrong: Vec<&String> = got.violations.iter().filter(reset).collect();
    assert!(wrong.is_empty(), "{wrong:?} {}", of());
    let truth = Truth::new(&scenario.script);
    assert!(
        got.carried_out <= truth.request_ends.len() as u64,
        "{}",
        of()
    );
    let stream = &got.streams[0];
    let counters = got.status.counters;
    if let Some(at) = memchr::memmem::find(stream, b"HTTP/1.1 502 ") {
        let ends = at == 0 || truth.response_ends.contains(&at);
        assert!(ends, "a reply at {at}: {}", of());
        assert_eq!(truth.wrong_response(0, &stream[..at]), None, "{}", of());
        assert!(stream.ends_with(b"this request.\n"), "{}", of());
        assert_eq!((counters.lost, counters.error_replies), (1, 1), "{}", of());
        assert!(got.violations.is_empty(), "{}", of());
        return Story::Replied;
    }
    assert_eq!(truth.wrong_response(0, stream), None, "{}", of());
    if got.complete == 1 {
        return Story::Whole;
    }
    assert_eq!((counters.lost, counters.error_replies), (1, 0), "{}", of());
    // Within a response, or behind one whose end the client had not acknowledged.
    assert!(!stream.is_empty(), "{}", of());
    Story::Broken
}

#[test]
fn crash_at_every_event_of_requests_that_must_not_be_made_twice() {
    for base in [
        posts(Scenario::default()),
        posts(scripted(Scenario::default())),
    ] {
        for base in [
            base.clone(),
            Scenario {
                shortcut: Some(64 * 1024),
                ..base
            },
        ] {
            for death in [Death::Silent, Death::Closes, Death::Resets, Death::Hangs] {
                let mut stories = Vec::new();
                for at_event in 0..run(&base).events {
                    stories.push(story(&Scenario {
                        crashes: vec![crash(at_event, death)],
                        ..base.clone()
                    }));
                }
                let count = |story| stories.iter().filter(|it| **it == story).count();
                assert!(count(Story::Whole) > 5, "{death:?} {stories:?}");
                assert!(count(Story::Replied) > 10, "{death:?} {stories:?}");
            }
        }
    }
}

#[test]
fn logger_is_killed_while_it_says_that_there_is_no_answer() {
    for base in [
        posts(Scenario::default()),
        posts(scripted(Scenario::default())),
    ] {
        let events = run(&base).events;
        let mut replied = 0;
        for at_event in (10..events).step_by(9) {
            for after in 0..24 {
                let story = story(&Scenario {
                    crashes: vec![crash(at_event, Death::Silent)],
                    restarts: vec![at_event + after],
                    journal: after % 2 == 0,
                    ..base.clone()
                });
                replied += u32::from(story == Story::Replied);
            }
        }
        assert!(replied > 20, "{replied}");
    }
}

#[test]
fn crash_twice_with_the_poison_rule_ends_only_what_got_nowhere() {
    for base in [Scenario::default(), scripted(Scenario::default())] {
        let base = Scenario {
            poison_deaths: 2,
            script: Script {
                method: "GET",
                ..posts(base.clone()).script
            },
            ..posts(base)
        };
        let events = run(&base).events;
        let (mut ended, mut whole) = (0, 0);
        for first in 5..events {
            for second in (first..events + 60).step_by(2) {
                let faulty = Scenario {
                    crashes: vec![crash(first, Death::Silent), crash(second, Death::Closes)],
                    ..base.clone()
                };
                let got = run(&faulty);
                let poisoned = got.status.counters.poisoned;
                assert_eq!(
                    got.status.counters.lost, poisoned,
                    "{:#?} {faulty:?}",
                    got.log
                );
                let truth = Truth::new(&faulty.script);
                let stream = &got.streams[0];
                let said = memchr::memmem::find(stream, b"HTTP/1.1 502 ").unwrap_or(stream.len());
                assert_eq!(truth.wrong_response(0, &stream[..said]), None);
                if poisoned == 0 {
                    assert_eq!(got.judge(&faulty), Ok(true), "{:#?} {faulty:?}", got.log);
                    whole += 1;
                } else {
                    ended += 1;
                }
            }
        }
        assert!(ended > 3 && whole > 100, "{ended} {whole}");
    }
}
