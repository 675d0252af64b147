// SPDX-License-Identifier: GPL-3.0-only
//! The last events, numbered.

use std::collections::VecDeque;

use super::proto::{Event, EventKind};
use crate::ids::DomId;

/// Events kept.
const KEPT: usize = 1000;

/// The last events; older ones fall out.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    events: VecDeque<Event>,
    last: u64,
}

impl EventLog {
    /// Adds an event and gives it its number.
    pub(super) fn add(
        &mut self,
        time_ms: u64,
        kind: EventKind,
        domain: Option<DomId>,
        group: Option<String>,
        detail: String,
    ) -> Event {
        self.last += 1;
        let event = Event {
            seq: self.last,
            time_ms,
            kind,
            domain,
            group,
            detail,
        };
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        event
    }

    /// The number of the last event; 0 if there was none.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// The events with a number above `since`, oldest first.
    pub(super) fn since(&self, since: u64) -> Vec<Event> {
        self.events
            .iter()
            .filter(|event| event.seq > since)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_keeps_the_last_thousand_and_numbers_go_on() {
        let mut log = EventLog::default();
        for time in 0..1005 {
            log.add(time, EventKind::Started, None, None, String::new());
        }
        assert_eq!(log.since(0).first().map(|event| event.seq), Some(6));
        assert_eq!(log.since(1003).len(), 2);
        assert_eq!(log.last(), 1005);
    }
}
