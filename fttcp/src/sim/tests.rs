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

#[track_caller]
fn assert_same(faulty: &Scenario, clean: &Outcome) {
    let got = run(faulty);
    let mut wrong = got.violations.clone();
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
}

fn clean(scenario: &Scenario) -> Outcome {
    let outcome = run(scenario);
    assert_eq!(outcome.violations, Vec::<String>::new());
    assert_eq!(outcome.complete, scenario.connections, "{:?}", outcome.log);
    outcome
}

const DEATHS: [Death; 3] = [Death::Silent, Death::Closes, Death::Resets];

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
        assert_same(&faulty, &fault_free);
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
