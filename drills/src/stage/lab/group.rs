// SPDX-License-Identifier: GPL-3.0-only
//! What the supervisor says of the group, and what that means for a drill. No I/O in here.

use std::time::Duration;

use fttcp::control::GroupStatus;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::engine::Told;
use crate::plan::Act;

/// The part of an event of `rxl ft events --json` that matters here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct SupervisorEvent {
    /// Counted from 1.
    pub(super) seq: u64,
    /// When, in ms since the epoch, by Dom0's clock.
    pub(super) time_ms: u64,
    pub(super) kind: String,
    pub(super) group: Option<String>,
    #[serde(default)]
    pub(super) detail: String,
}

/// What an event means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something for the timeline, called so.
    Note(&'static str),
    /// The logger has been told to move connections, because a server failed.
    Sent,
    /// The logger moves them: how far it is must be asked.
    Moving,
    /// Those of an upgrade, or of its rollback, are moved: how many must be asked.
    Moved,
    /// The drill cannot go on.
    Lost,
    /// Nothing.
    Nothing,
}

impl SupervisorEvent {
    pub(super) fn meaning(&self) -> Meaning {
        match self.kind.as_str() {
            "domain-crashed" | "domain-gone" | "domain-poweroff" | "domain-reboot"
            | "domain-shutdown" | "member-hung" => Meaning::Note("noticed"),
            "failover-sent" => Meaning::Sent,
            "failover-acknowledged" => Meaning::Moving,
            "upgrade-moved" | "upgrade-undone" => Meaning::Moved,
            "upgrade-done" => Meaning::Note("upgrade done"),
            "member-ready" => Meaning::Note("member"),
            "member-kept" => Meaning::Note("kept"),
            "group-complete" => Meaning::Note("complete"),
            "failover-failed" | "fence-failed" | "action-failed" | "member-failed"
            | "no-standby" | "standby-lost" | "standbys-stopped" => Meaning::Note("trouble"),
            "logger-lost" => Meaning::Lost,
            _ => Meaning::Nothing,
        }
    }
}

/// The part of a group in `rxl ft status --json` that matters here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Report {
    pub(super) state: State,
    /// What the logger says; `None`: it does not answer.
    pub(super) logger: Option<GroupStatus>,
    /// Domains whose agents have found their services answering.
    #[serde(skip)]
    serving: Vec<u32>,
}

/// Prints what [`Report::parse`] reads: the group in one line, and in one line for each domain its number and its agent's
/// progress (docs/guest.md), if it has an agent.
pub(super) const ASK: &str = "rxl ft status drill --json && for d in $(xenstore-list /local/domain); do \
     echo \"$d $(xenstore-read /local/domain/$d/data/rxl/progress 2>/dev/null)\"; done";

#[derive(Clone, Debug, Deserialize)]
pub(super) struct State {
    pub(super) active: Option<Member>,
    #[serde(default)]
    pub(super) standbys: Vec<Member>,
    making: Option<IgnoredAny>,
    #[serde(default)]
    orders: Vec<IgnoredAny>,
    care: Option<Care>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Member {
    pub(super) name: String,
    domid: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct Care {
    upgrade: Option<Upgrade>,
}

#[derive(Clone, Debug, Deserialize)]
struct Upgrade {
    stage: Stage,
}

#[derive(Clone, Debug, Deserialize)]
struct Stage {
    at: String,
}

impl Report {
    /// The group out of what [`ASK`] prints.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (json, domains) = text.split_once('\n').unwrap_or((text, ""));
        let groups: Vec<Self> = serde_json::from_str(json)
            .map_err(|error| format!("rxl ft status --json: {error}: {json}"))?;
        let first = groups.into_iter().next();
        let mut report = first.ok_or("rxl ft status --json: there is no such group")?;
        let serves = |line: &str| {
            let (domid, progress) = line.split_once(' ')?;
            let progress: u64 = progress.trim().parse().ok()?;
            domid.parse().ok().filter(|_| progress > 0)
        };
        report.serving = domains.lines().filter_map(serves).collect();
        Ok(report)
    }

    /// How far an upgrade is.
    fn upgrade(&self) -> Option<&str> {
        let upgrade = self.state.care.as_ref()?.upgrade.as_ref()?;
        Some(&upgrade.stage.at)
    }

    /// Whether the time for `act` has come. Domains boot in tens of seconds: a server dies when another one stands by, as in
    /// operation, or when an upgrade is under way.
    pub(super) fn may(&self, act: Act) -> bool {
        let state = &self.state;
        let ready = |it: &Member| self.serving.contains(&it.domid);
        let stands_by = state.active.is_some()
            && !state.standbys.is_empty()
            && state.standbys.iter().all(ready)
            && state.making.is_none()
            && state.orders.is_empty();
        match act {
            Act::Crash(_) | Act::Hang(..) => {
                state.active.is_some() && (stands_by || self.upgrade().is_some())
            }
            Act::Upgrade(_) => stands_by && self.upgrade().is_none(),
            // Without an upgrade the supervisor refuses it, and says why.
            Act::Rollback => self.upgrade().is_none_or(|at| at == "holding"),
            Act::RestartLogger | Act::Finish => true,
        }
    }

    /// The result of the failover that was sent at `sent`, once it is over; the last one known had number `done`.
    pub(super) fn failover(&self, sent: Duration, done: u32) -> Option<(u32, Told)> {
        let failover = self.logger.as_ref()?.failover.as_ref()?;
        let took = failover.done_us.filter(|_| failover.number > done)?;
        let took = Duration::from_micros(took);
        let told = Told::Over {
            at: sent + took,
            detail: format!(
                "{} connections moved, {} given up, {:.1} ms after the logger was told; {} KiB replayed",
                failover.recovered,
                failover.lost,
                took.as_secs_f64() * 1e3,
                (failover.replayed_bytes + 512) >> 10
            ),
            recovered: failover.recovered,
            lost: failover.lost,
        };
        Some((failover.number, told))
    }

    /// The result of the upgrade, or of its rollback, that was over at `at`.
    pub(super) fn upgraded(&self, at: Duration, detail: &str) -> Option<Told> {
        // What follows is for who sits at the prompt.
        let how = detail.split(';').next().unwrap_or_default();
        let moves = self.logger.as_ref()?.upgrade.as_ref();
        let moved = moves.map_or((0, 0, 0, 0), |it| {
            (it.moved_quiet, it.moved_by_replay, it.lost, it.returned)
        });
        let (quiet, replay, lost, returned) = moved;
        Some(Told::Over {
            at,
            detail: format!(
                "{quiet} connections moved at rest, {replay} in the middle of something, {lost} ended, {returned} tries failed: {how}"
            ),
            recovered: quiet + replay,
            lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::How;

    fn report(state: &str) -> Report {
        let json = format!("[{{\"state\": {state}, \"logger\": null}}]");
        Report::parse(&format!("{json}\n0 \n1 \n3 9\n4 2\n")).unwrap()
    }

    const COMPLETE: &str = r#"{"name": "drill", "active": {"name": "drill-v1-1", "domid": 3}, "standbys": [{"name": "drill-v1-2", "domid": 4}]}"#;
    const CRASH: Act = Act::Crash(How::Destroy);
    const UPGRADE: Act = Act::Upgrade(Duration::ZERO);

    #[test]
    fn server_dies_when_another_stands_by() {
        assert!(report(COMPLETE).may(CRASH));
        let alone =
            r#"{"active": {"name": "a", "domid": 3}, "standbys": [], "making": {"name": "b"}}"#;
        assert!(!report(alone).may(CRASH));
        // Its network is up, and its agent has not found nginx yet.
        assert!(!report(&COMPLETE.replace("4}", "5}")).may(CRASH));
        let ordered = COMPLETE.replace("}]}", "}], \"orders\": [{}]}");
        assert!(!report(&ordered).may(CRASH));
        assert!(report(&ordered).may(Act::RestartLogger));
    }

    #[test]
    fn upgrade_goes_on_before_it_is_rolled_back_and_may_be_disturbed() {
        let during = |at: &str| {
            let care = format!(
                "}}], \"making\": null, \"care\": {{\"upgrade\": {{\"stage\": {{\"at\": \"{at}\"}}}}}}}}"
            );
            report(&COMPLETE.replace("}]}", &care))
        };
        assert!(report(COMPLETE).may(UPGRADE) && !during("moving").may(UPGRADE));
        assert!(during("moving").may(CRASH));
        assert!(!during("making").may(Act::Rollback) && during("holding").may(Act::Rollback));
    }

    fn with_logger(logger: &str) -> Report {
        let logger = logger.replace('\n', " ");
        let spec = serde_json::to_string(&fttcp::control::GroupSpec::default()).unwrap();
        Report::parse(&format!(
            "[{{\"state\": {COMPLETE}, \"logger\": {{\"spec\": {spec}, \"counters\": {{}}, {logger}}}}}]"
        ))
        .unwrap()
    }

    #[test]
    fn failover_is_over_when_the_logger_says_so_and_is_told_once() {
        let failover = |done| {
            with_logger(&format!(
                r#""failover": {{"number": 2, "reason": "", "told_at_ms": 0, "connections": 5, "recovered": 4, "lost": 1,
                "first_handshake_us": null, "first_new_byte_us": null, "done_us": {done}, "discarded_bytes": 0,
                "replayed_bytes": 2048}}"#
            ))
        };
        let sent = Duration::from_secs(3);
        assert_eq!(failover("null").failover(sent, 1), None);
        assert_eq!(failover("250000").failover(sent, 2), None);
        let (number, told) = failover("250000").failover(sent, 1).unwrap();
        assert_eq!(number, 2);
        let Told::Over {
            at,
            recovered,
            lost,
            ..
        } = told
        else {
            panic!("{told:?}");
        };
        assert_eq!((at, recovered, lost), (Duration::from_millis(3250), 4, 1));
    }

    #[test]
    fn upgrade_is_told_with_what_the_logger_counted() {
        let upgrade = r#""upgrade": {"from": "vif2.0", "to": "vif4.0", "rolled_back": false, "waiting": 0, "moved_quiet": 3,
            "moved_by_replay": 1, "lost": 0, "returned": 2, "drained_us": 5, "ended": null}"#;
        let at = Duration::from_secs(9);
        let detail = "drill-v2-3 serves; for 2 s `rxl ft rollback drill` moves back";
        let Some(Told::Over {
            detail,
            recovered,
            lost,
            ..
        }) = with_logger(upgrade).upgraded(at, detail)
        else {
            panic!("nothing is told");
        };
        assert_eq!((recovered, lost), (4, 0));
        assert_eq!(
            detail,
            "3 connections moved at rest, 1 in the middle of something, 0 ended, 2 tries failed: drill-v2-3 serves"
        );
        assert_eq!(report(COMPLETE).upgraded(at, ""), None);
    }

    #[test]
    fn events_of_the_supervisor_mean_something() {
        let event = |kind: &str| {
            let line = format!(
                r#"{{"seq": 7, "time_ms": 5, "kind": "{kind}", "domain": null, "group": "drill", "detail": "x"}}"#
            );
            let event: SupervisorEvent = serde_json::from_str(&line).unwrap();
            event.meaning()
        };
        assert_eq!(event("failover-acknowledged"), Meaning::Moving);
        assert_eq!(event("upgrade-undone"), Meaning::Moved);
        assert_eq!(event("logger-lost"), Meaning::Lost);
        assert_eq!(event("member-ordered"), Meaning::Nothing);
    }
}
