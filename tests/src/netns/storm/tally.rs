// SPDX-License-Identifier: GPL-3.0-only
//! What came of a storm.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::netns::line::Done;

/// A wait for the server that is longer than this is a stall.
pub const STALL: Duration = Duration::from_secs(5);

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Doing {
    /// Nothing yet, or between two connections.
    Nothing,
    /// It connects.
    Connecting,
    /// It takes a long answer.
    Download,
    /// It sends.
    Upload,
    /// It sends to a server that does not read yet: the server's window is closed.
    ServerWindow,
    /// It asked for a long answer and does not read it: its own window is closed.
    ClientWindow,
    /// What it says is said again.
    Echo,
    /// It has closed its direction and waits for the answer.
    HalfClose,
    /// It waits for the server to close.
    ServerCloses,
    /// Connected, and nothing to say.
    Idle,
    /// One small request after the other.
    KeepAlive,
    /// It asks nginx.
    Http,
}

impl Doing {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Nothing,
        Self::Connecting,
        Self::Download,
        Self::Upload,
        Self::ServerWindow,
        Self::ClientWindow,
        Self::Echo,
        Self::HalfClose,
        Self::ServerCloses,
        Self::Idle,
        Self::KeepAlive,
        Self::Http,
    ];
}

/// What went wrong for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It got bytes that it should not have got.
    Corrupted(String),
    /// Its connection was reset, refused, or closed too early.
    Broken(String),
    /// Nothing came for too long.
    Hung(String),
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Failovers ordered and done.
    pub failovers: u64,
    /// Of these, still under way when the replacement ended too.
    pub interrupted: u64,
    /// Connections moved, counted once per failover.
    pub moved: u64,
    /// Connections that the logger gave up because the replacement's output differed.
    pub diverged: u64,
    /// Connections that the logger gave up for another reason.
    pub lost: u64,
    /// Connections that were not protected.
    pub unprotected: u64,
    /// Connections that clients have made.
    pub connections: u64,
    /// Requests answered, whole and right.
    pub answers: u64,
    /// Bytes that were compared.
    pub bytes: u64,
    /// What clients were doing when a server ended, in client-failovers.
    pub caught: BTreeMap<Doing, u64>,
    /// What went wrong for clients.
    pub troubles: Vec<Trouble>,
    /// Longest time that a client waited for its server.
    pub longest_wait: Duration,
    /// Who that was.
    pub longest_waiter: String,
    /// Waits longer than [`STALL`].
    pub stalls: u64,
    /// From telling the logger to the last connection moved, of each failover.
    pub took: Vec<Duration>,
    /// Longest time from killing a server's programs to the logger's having been told. Their kernel closes their connections, and
    /// a close that is held for less than this (`fin_hold_ms`) counts as the service's own.
    pub told_after: Duration,
    /// What the line did.
    pub line: Option<Done>,
    /// Largest resident set of the logger seen, in KiB.
    pub memory_kib: u64,
    /// The whole run.
    pub duration: Duration,
}

impl Tally {
    /// Whether every client got what it asked for, from connections that were all moved.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_whole() && self.stalls == 0
    }

    /// Whether no client was harmed, however long it waited: on a bad line TCP's timers double.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.troubles.is_empty() && self.diverged + self.lost == 0
    }

    /// Counts the troubles of a kind.
    fn count(&self, kind: fn(&Trouble) -> bool) -> usize {
        self.troubles.iter().filter(|trouble| kind(trouble)).count()
    }

    /// The time that a percentage of the failovers did not exceed.
    #[must_use]
    pub fn took_percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted
            .get(last * percent / 100)
            .copied()
            .unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let corrupted = self.count(|trouble| matches!(trouble, Trouble::Corrupted(_)));
        let broken = self.count(|trouble| matches!(trouble, Trouble::Broken(_)));
        let hung = self.count(|trouble| matches!(trouble, Trouble::Hung(_)));
        writeln!(
            f,
            "{} failovers, {} of them interrupted, {} connections moved: {corrupted} corrupted, {} lost, {} diverged, {broken} broken, \
             {hung} hung, {} stalled",
            self.failovers, self.interrupted, self.moved, self.lost, self.diverged, self.stalls
        )?;
        writeln!(
            f,
            "{} connections, {} answers, {} MiB compared in {:.1} s; longest wait {:.2} s ({}); \
             failover median {} ms, 99 % {} ms; kills told after {} ms at most; unprotected {}; logger {} MiB",
            self.connections,
            self.answers,
            self.bytes >> 20,
            self.duration.as_secs_f64(),
            self.longest_wait.as_secs_f64(),
            self.longest_waiter,
            self.took_percentile(50).as_millis(),
            self.took_percentile(99).as_millis(),
            self.told_after.as_millis(),
            self.unprotected,
            self.memory_kib >> 10,
        )?;
        if let Some(line) = self.line {
            writeln!(
                f,
                "line: {} frames, {} lost, {} overtaken, {} doubled",
                line.came, line.lost, line.late, line.twice
            )?;
        }
        let caught: Vec<String> = self
            .caught
            .iter()
            .map(|(doing, times)| format!("{doing:?} {times}"))
            .collect();
        write!(f, "caught by a server's end: {}", caught.join(", "))?;
        for trouble in self.troubles.iter().take(20) {
            write!(f, "\n{trouble:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_doings_are_their_places() {
        for (place, doing) in Doing::ALL.into_iter().enumerate() {
            assert_eq!(doing as usize, place);
        }
    }

    #[test]
    fn one_trouble_is_not_clean_and_is_told() {
        let mut tally = Tally::default();
        assert!(tally.is_clean());
        tally.troubles.push(Trouble::Hung("client 3".to_owned()));
        assert!(!tally.is_clean());
        let text = tally.to_string();
        assert!(
            text.contains("1 hung") && text.contains("client 3"),
            "{text}"
        );
    }
}
