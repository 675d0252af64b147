// SPDX-License-Identifier: GPL-3.0-only
//! Crash at every event, lossy links, repeated crashes.

use super::*;

/// The stream with every `Date` value made the same; a value that no server sent whole is an error.
fn canonical(stream: &[u8]) -> Result<Vec<u8>, String> {
    const FIELD: &[u8] = b"\r\nDate: Sat, 21 Nov 2026 04:0";
    let mut out = stream.to_vec();
    for at in 0..out.len().saturating_sub(FIELD.len() + 8) {
        if &out[at..at + FIELD.len()] == FIELD {
            let rest = &out[at + FIELD.len() + 1..at + FIELD.len() + 8];
            if rest != b":00 GMT" {
                return Err(format!("mixed date {:?}", rest.escape_ascii().to_string()));
            }
            out[at + FIELD.len()] = b'0';
        }
    }
    Ok(out)
}

/// Compares a run with the fault-free one. False: it was cut short by a defect of smoltcp.
#[track_caller]
fn assert_same(faulty: &Scenario, clean: &Outcome) -> bool {
    let got = run(faulty);
    let mut wrong = got.violations.clone();
    if got.end_stalled && wrong.is_empty() {
        return false;
    }
    if got.complete != faulty.connections {
        wrong.push(format!(
            "{} of {} clients done",
            got.complete, faulty.connections
        ));
    }
    for (got, want) in got.streams.iter().zip(&clean.streams) {
        match (canonical(got), canonical(want)) {
            (Ok(got), Ok(want)) if got == want => {}
            (Err(error), _) => wrong.push(error),
            (Ok(got), want) => {
                let want = want.unwrap_or_default();
                let first = got.iter().zip(&want).position(|(a, b)| a != b);
                wrong.push(format!(
                    "stream differs at {first:?}; lengths {} and {}",
                    got.len(),
                    want.len()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong:?}\nlog: {:#?}\nstatus: {:?}\nreplay with sim::run(&{faulty:?})",
        got.log,
        got.status
    );
    true
}

fn clean(scenario: &Scenario) -> Outcome {
    let outcome = run(scenario);
    assert_eq!(outcome.violations, Vec::<String>::new());
    assert_eq!(outcome.complete, scenario.connections, "{:?}", outcome.log);
    outcome
}

fn crash_everywhere(base: &Scenario, death: Death) {
    let fault_free = clean(base);
    assert!(fault_free.events > 50, "only {} events", fault_free.events);
    for at_event in 0..fault_free.events {
        let faulty = Scenario {
            crashes: vec![Crash {
                at_event,
                death,
                detect_us: 2000,
            }],
            ..base.clone()
        };
        assert!(
            assert_same(&faulty, &fault_free),
            "an end stalled on a clean link"
        );
    }
}

#[test]
fn crash_at_every_event_machine_stops() {
    crash_everywhere(&Scenario::default(), Death::Silent);
}

#[test]
fn trap_16_crash_at_every_event_kernel_closes() {
    crash_everywhere(&Scenario::default(), Death::Closes);
}

#[test]
fn trap_16_crash_at_every_event_kernel_resets() {
    crash_everywhere(&Scenario::default(), Death::Resets);
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
}

#[test]
fn shortcut_crash_at_every_event_kernel_closes() {
    crash_everywhere(&short(keep_alive()), Death::Closes);
}

fn keep_alive() -> Scenario {
    Scenario {
        script: Script {
            requests: vec![
                Request {
                    upload: 10,
                    download: 5000,
                },
                Request {
                    upload: 6000,
                    download: 300,
                },
                Request {
                    upload: 0,
                    download: 9000,
                },
            ],
            chunk: 700,
            half_close: false,
        },
        client_buffer: 128 * 1024,
        server_buffers: vec![256 * 1024, 64 * 1024, 4096],
        ..Scenario::default()
    }
}

#[test]
fn crash_at_every_event_kept_alive_and_scaled_windows() {
    crash_everywhere(&keep_alive(), Death::Silent);
}

/// A replay begins with the request whose response is not acknowledged: what comes before is not even kept.
#[test]
fn crash_at_every_event_of_a_service_that_truncates() {
    let base = Scenario {
        kind: "exchange",
        ..keep_alive()
    };
    assert!(clean(&base).status.counters.truncations >= 2);
    crash_everywhere(&base, Death::Silent);
    crash_everywhere(&base, Death::Resets);
}

#[test]
fn crash_at_every_event_with_held_windows() {
    let base = Scenario {
        kind: "exchange",
        on_full: OnFull::Hold,
        buffer_bytes: 8000,
        ..keep_alive()
    };
    let fault_free = clean(&base);
    let counters = fault_free.status.counters;
    assert_eq!((counters.windows_held > 0, counters.full_held), (true, 0));
    crash_everywhere(&base, Death::Silent);
}

#[test]
fn replay_of_a_service_that_truncates_does_not_grow_with_age() {
    let requests = |count| Scenario {
        kind: "exchange",
        script: Script {
            requests: vec![
                Request {
                    upload: 100,
                    download: 1000,
                };
                count
            ],
            chunk: 1000,
            half_close: false,
        },
        ..Scenario::default()
    };
    for count in [5, 200] {
        let base = requests(count);
        let fault_free = clean(&base);
        let crash = Crash {
            at_event: fault_free.events * 9 / 10,
            death: Death::Silent,
            detect_us: 2000,
        };
        let faulty = Scenario {
            crashes: vec![crash],
            ..base
        };
        assert!(assert_same(&faulty, &fault_free));
        let progress = run(&faulty).status.failover.expect("there was one");
        assert_eq!(progress.recovered, 1);
        assert!(progress.replayed_bytes < 200, "{progress:?}");
        assert!(progress.discarded_bytes <= 1100, "{progress:?}");
    }
}

#[test]
fn trap_17_crash_at_every_event_half_closed() {
    let half_closed = Scenario {
        script: Script {
            half_close: true,
            ..Scenario::default().script
        },
        timestamps: false,
        ..Scenario::default()
    };
    crash_everywhere(&half_closed, Death::Closes);
}

#[test]
fn crash_twice_at_every_pair_of_some_events() {
    let fault_free = clean(&keep_alive());
    for first in (0..fault_free.events).step_by(9) {
        for gap in [0, 1, 3, 7, 20, 45] {
            let crash = |at_event| Crash {
                at_event,
                death: Death::Silent,
                detect_us: 1500,
            };
            let faulty = Scenario {
                crashes: vec![crash(first), crash(first + gap)],
                ..keep_alive()
            };
            assert!(
                assert_same(&faulty, &fault_free),
                "an end stalled on a clean link"
            );
        }
    }
}

#[test]
fn logger_restarted_at_every_event_changes_nothing() {
    for base in [Scenario::default(), keep_alive()] {
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
    let base = keep_alive();
    let fault_free = clean(&base);
    for at_event in (0..fault_free.events).step_by(11) {
        let crash = Crash {
            at_event,
            death: Death::Silent,
            detect_us: 1500,
        };
        for after in 0..40 {
            let faulty = Scenario {
                crashes: vec![crash],
                restarts: vec![at_event + after],
                ..base.clone()
            };
            assert!(
                assert_same(&faulty, &fault_free),
                "an end stalled on a clean link"
            );
        }
    }
}

#[test]
fn hundred_connections_are_moved_at_once() {
    let base = Scenario {
        connections: 100,
        ..Scenario::default()
    };
    let fault_free = clean(&base);
    let crash = Crash {
        at_event: fault_free.events / 2,
        death: Death::Silent,
        detect_us: 2000,
    };
    let faulty = Scenario {
        crashes: vec![crash],
        ..base
    };
    assert!(assert_same(&faulty, &fault_free));
    let progress = run(&faulty).status.failover.expect("there was one");
    assert_eq!(
        (progress.connections, progress.recovered, progress.lost),
        (100, 100, 0)
    );
    assert!(progress.done_us.is_some());
}

#[test]
fn without_protection_a_crash_breaks_the_connection() {
    let control = Scenario {
        protect: false,
        crashes: vec![Crash {
            at_event: 60,
            death: Death::Silent,
            detect_us: 2000,
        }],
        ..Scenario::default()
    };
    let outcome = run(&control);
    assert_eq!(outcome.complete, 0);
    assert!(outcome.streams[0].len() < 41_000);
}

#[test]
fn different_output_of_a_standby_is_found_wherever_it_was_sent() {
    for lie_at in [0, 120, 5000, 10_000] {
        let lying = Scenario {
            lie_at: Some(lie_at),
            crashes: vec![Crash {
                at_event: 70,
                death: Death::Silent,
                detect_us: 2000,
            }],
            ..Scenario::default()
        };
        let outcome = run(&lying);
        assert_eq!(outcome.status.counters.diverged, 1, "byte {lie_at}");
        assert_eq!(outcome.complete, 0);
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    let (first, second) = (run(&chance(5)), run(&chance(5)));
    assert_eq!(
        (first.events, first.took_us),
        (second.events, second.took_us)
    );
    assert_eq!(first.log, second.log);
}

/// A scenario that differs with the seed in everything.
fn chance(seed: u64) -> Scenario {
    const DEATHS: [Death; 3] = [Death::Silent, Death::Closes, Death::Resets];
    const KINDS: [&str; 2] = ["opaque", "exchange"];
    const BUFFERS: [usize; 4] = [4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024];
    let mut rng = Rng::new(seed);
    let lossy = |rng: &mut Rng, delay_us| Link {
        delay_us,
        loss: rng.below(50),
        duplicate: rng.below(20),
        reorder: rng.below(100),
    };
    let requests = (0..=rng.below(4))
        .map(|_| Request {
            upload: rng.below(30_000) as usize * rng.below(2) as usize,
            download: rng.below(60_000) as usize,
        })
        .collect();
    let mut at_event = 0;
    let crashes = (0..=rng.below(3))
        .map(|_| {
            at_event += rng.below(200);
            Crash {
                at_event,
                death: DEATHS[rng.below(3) as usize],
                detect_us: rng.below(20_000),
            }
        })
        .collect();
    let client_delay = 200 + rng.below(20_000);
    let held = rng.permille(250);
    Scenario {
        seed,
        connections: 1 + rng.below(3) as usize,
        script: Script {
            requests,
            chunk: 100 + rng.below(5000) as usize,
            half_close: rng.permille(200),
        },
        client_link: lossy(&mut rng, client_delay),
        server_link: if rng.permille(500) {
            Link::clean(50)
        } else {
            lossy(&mut rng, 100)
        },
        crashes,
        restarts: Vec::new(),
        timestamps: rng.permille(700),
        client_buffer: BUFFERS[rng.below(4) as usize],
        server_buffers: (0..3).map(|_| BUFFERS[rng.below(4) as usize]).collect(),
        lie_at: None,
        protect: true,
        kind: if held {
            "exchange"
        } else {
            KINDS[rng.below(2) as usize]
        },
        // A request and an answer in one, at least.
        buffer_bytes: if held { 40_000 } else { 1 << 20 },
        on_full: if held {
            OnFull::Hold
        } else {
            OnFull::Unprotect
        },
        // A pause of a round trip is long enough in half of the runs.
        doze_us: if rng.permille(500) { 3000 } else { 5_000_000 },
        shortcut: rng.permille(500).then_some(20_000),
    }
}

/// One scenario by its seed: `FTTCP_SEED=17 cargo test -p fttcp lossy`.
#[test]
fn lossy_links_and_repeated_crashes_by_seed() {
    let only: Option<u64> = std::env::var("FTTCP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let last = std::env::var("FTTCP_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    let seeds = only.map_or(0..last.unwrap_or(300), |seed| seed..seed + 1);
    let (mut whole, mut cut_short) = (0, 0);
    for seed in seeds {
        let faulty = chance(seed);
        let fault_free = Scenario {
            crashes: Vec::new(),
            client_link: Link::clean(1000),
            server_link: Link::clean(50),
            ..faulty.clone()
        };
        println!("seed {seed}");
        if assert_same(&faulty, &clean(&fault_free)) {
            whole += 1;
        } else {
            cut_short += 1;
        }
    }
    println!("{whole} runs compared, {cut_short} cut short by smoltcp");
    assert!(
        cut_short * 50 <= whole,
        "{cut_short} of {whole} runs cut short"
    );
}
