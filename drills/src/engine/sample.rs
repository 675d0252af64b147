// SPDX-License-Identifier: GPL-3.0-only
//! What clients see, and what the stage tells. Times count from the moment when the clients began.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Good,
    /// Not at all: broken connection, an error, no byte for too long.
    Failed(String),
    /// A transfer was cut, the server said so, and the session went on.
    Cut(String),
    /// With a wrong byte, or too few that were said to be all.
    Corrupt(String),
}

/// Something that a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A request has ended.
    Request {
        /// Which client.
        client: usize,
        /// When it began.
        start: Duration,
        /// When it ended.
        end: Duration,
        /// How.
        outcome: Outcome,
    },
    /// A client wanted bytes, or wanted to send some, and could not for a while.
    Pause {
        /// Which client.
        client: usize,
        /// When the last byte had moved.
        start: Duration,
        /// When the next one did, or the client gave up.
        end: Duration,
    },
    /// A client does no more.
    Ended,
}

/// Something that the stage tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What was ordered is happening.
    Begun {
        /// When.
        at: Duration,
        /// `crash`, `upgrade` ...
        what: &'static str,
        /// A line for the reader.
        detail: String,
    },
    /// Something else to put on the timeline.
    Note {
        /// When.
        at: Duration,
        /// In a word or two.
        what: &'static str,
        /// A line for the reader.
        detail: String,
    },
    /// What happened last is over: all connections are moved, or the logger is back.
    Over {
        /// When.
        at: Duration,
        /// A line for the reader.
        detail: String,
        /// Connections that were moved.
        recovered: u64,
        /// Connections that were given up.
        lost: u64,
    },
    /// The stage cannot go on.
    Broken(String),
}

/// One mark on the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the clients began.
    pub at: f64,
    /// Which sort of event.
    pub kind: Kind,
    /// `crash`, `recovered` ...
    pub name: String,
    /// A line for the reader.
    pub detail: String,
}

/// Sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Something was done to the service.
    Fault,
    /// Its effects are over.
    Recovery,
    /// Anything else.
    Note,
}
