// SPDX-License-Identifier: GPL-3.0-only
//! The logger's process is killed and another goes on from the journal, alone and with servers that die.

use super::*;

#[test]
fn logger_killed_at_every_event_changes_nothing() {
    for base in [Scenario::default(), keep_alive()] {
        let fault_free = clean(&base);
        let at_each = Scenario {
            restarts: (0..fault_free.events).collect(),
            journal: true,
            ..base.clone()
        };
        assert_eq!(clean(&at_each).streams, fault_free.streams);
    }
}

#[test]
fn crash_at_every_event_after_the_logger_was_killed() {
    let base = keep_alive();
    for at_event in 1..clean(&base).events {
        let faulty = Scenario {
            crashes: vec![crash(at_event, Death::Silent)],
            restarts: (at_event.saturating_sub(2)..=at_event).collect(),
            journal: true,
            ..base.clone()
        };
        assert!(assert_same(&faulty), "an end stalled on a clean link");
    }
}

#[test]
fn logger_killed_at_every_event_of_a_failover() {
    let base = keep_alive();
    for at_event in 0..clean(&base).events {
        for after in 0..40 {
            let faulty = Scenario {
                crashes: vec![crash(at_event, Death::Silent)],
                restarts: vec![at_event + after],
                journal: true,
                ..base.clone()
            };
            assert!(assert_same(&faulty), "an end stalled on a clean link");
        }
    }
}
