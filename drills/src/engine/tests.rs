// SPDX-License-Identifier: GPL-3.0-only
//! Drills without a stage: what the engine orders, and what it says in the end.

use super::*;
use crate::plan::Still;

const PLAN: &str = r#"
name = "x"
text = "x"
duration = "4s"
[service]
runs = "web"
[[load]]
do = "download"
connections = 2
size = "1MiB"
[[fault]]
do = "crash"
at = "1s"
[[fault]]
do = "hang"
at_bytes = "30KB"
wakes_after = "300ms"
[detect]
hang = "200ms"
[expect]
gap_max = "300ms"
throughput = 0.5
recovered = 2
"#;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An engine, and the time of its ticks.
struct Drill {
    engine: Engine,
    now: u64,
    bytes: u64,
}

impl Drill {
    fn new() -> Self {
        Self::of(PLAN)
    }

    /// Where a supervisor does what is to be done.
    fn in_lab() -> Self {
        let plan = PLAN.replace("duration", "stage = \"lab\"\nduration");
        Self::of(&plan.replace("200ms", "500ms"))
    }

    fn of(plan: &str) -> Self {
        Self {
            engine: Engine::new(Plan::parse("x", plan).unwrap()),
            now: 0,
            bytes: 0,
        }
    }

    /// Lets clients transfer 100 bytes each 10 ms; what was ordered, and when.
    fn run(&mut self, until: u64, works: bool) -> Vec<(u64, Action)> {
        let mut actions = Vec::new();
        while self.now < until {
            self.now += 10;
            self.bytes += if works { 100 } else { 0 };
            self.engine.bytes(ms(self.now), self.bytes);
            self.engine.tick(ms(self.now));
            while let Some(action) = self.engine.action() {
                actions.push((self.now, action));
            }
        }
        actions
    }

    fn begun(&mut self, what: &'static str) {
        let (at, detail) = (ms(self.now), String::new());
        self.engine.told(Told::Begun { at, what, detail });
    }

    fn over(&mut self, recovered: u64) {
        self.engine.told(Told::Over {
            at: ms(self.now),
            detail: String::new(),
            recovered,
            lost: 0,
        });
    }

    /// A drill as it should go.
    fn whole() -> Self {
        let mut drill = Self::new();
        assert_eq!(
            drill.run(1000, true),
            [(1000, Action::Do(Act::Crash(crate::plan::How::Destroy)))]
        );
        drill.begun("crash");
        drill.run(1050, false);
        drill.over(2);
        let hang = Action::Do(Act::Hang(Still::Stop, Some(ms(300))));
        assert_eq!(drill.run(3050, true), [(3050, hang)]);
        drill.begun("hang");
        let silent = drill.run(3260, false);
        assert_eq!(
            silent,
            [(
                3250,
                Action::Replace("no client has got on for 200 ms".into())
            )]
        );
        drill.over(2);
        let rest = drill.run(4000, true);
        assert_eq!(rest, [(3350, Action::Wake), (4000, Action::StopLoad)]);
        drill
    }

    fn request(&mut self, outcome: Outcome) {
        let end = ms(self.now);
        self.engine.sample(Sample::Request {
            client: 0,
            start: end - ms(5),
            end,
            outcome,
        });
    }

    fn end(mut self) -> verdict::Findings {
        self.engine.sample(Sample::Ended);
        assert!(!self.engine.is_over(ms(self.now)));
        self.engine.sample(Sample::Ended);
        assert!(self.engine.is_over(ms(self.now)));
        self.engine.finish()
    }
}

#[test]
fn drill_that_goes_well_meets_its_expectations() {
    let mut drill = Drill::whole();
    drill.request(Outcome::Good);
    drill.engine.sample(Sample::Pause {
        client: 1,
        start: ms(3050),
        end: ms(3270),
    });

    let findings = drill.end();

    assert!(findings.met(), "{:#?}", findings.judged);
    let value = |name: &str| {
        findings
            .figures
            .iter()
            .find(|it| it.name == name)
            .unwrap()
            .value
    };
    assert_eq!(value("connections moved"), Some(4.0));
    assert_eq!(value("gap, longest"), Some(220.0));
    assert_eq!(value("gap, p50"), Some(0.0));
    assert_eq!(value("throughput after : before"), Some(1.0));
    let names: Vec<&str> = findings.events.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["crash", "recovered", "hang", "recovered"]);
}

#[test]
fn each_thing_that_goes_wrong_is_found() {
    let met = |spoil: fn(&mut Drill)| {
        let mut drill = Drill::whole();
        drill.request(Outcome::Good);
        spoil(&mut drill);
        drill.end().met()
    };
    assert!(met(|_| {}));
    assert!(!met(|drill| drill.request(Outcome::Failed("x".into()))));
    assert!(!met(|drill| drill.request(Outcome::Cut("x".into()))));
    assert!(!met(|drill| drill.request(Outcome::Corrupt("x".into()))));
    assert!(!met(|drill| {
        let (start, end) = (ms(990), ms(1300));
        drill.engine.sample(Sample::Pause {
            client: 0,
            start,
            end,
        });
    }));
}

#[test]
fn nothing_done_is_nothing_shown() {
    let findings = Drill::whole().end();
    assert!(!findings.met());
    let unmet: Vec<&str> = findings
        .judged
        .iter()
        .filter(|it| !it.met)
        .map(|it| it.what.as_str())
        .collect();
    assert_eq!(unmet, ["requests that end well"]);
}

#[test]
fn fault_that_never_happened_is_told() {
    let mut drill = Drill::new();
    // The bytes of the second fault do not come together.
    drill.run(1000, true);
    drill.begun("crash");
    drill.run(1010, false);
    drill.over(1);
    for _ in 0..15 {
        drill.run(drill.now + 100, true);
        drill.run(drill.now + 100, false);
    }
    drill.run(4010, true);
    drill.request(Outcome::Good);

    let findings = drill.end();

    let first = &findings.judged[0];
    assert_eq!((first.seen.as_str(), first.met), ("1", false));
}

#[test]
fn effects_that_do_not_end_are_not_waited_for_without_end() {
    let mut drill = Drill::new();
    drill.run(1000, true);
    drill.begun("crash");
    drill.run(4000, false);
    drill.engine.sample(Sample::Ended);
    drill.engine.sample(Sample::Ended);
    assert!(!drill.engine.is_over(ms(18_000)));
    assert!(drill.engine.is_over(ms(19_010)));
    assert!(!drill.engine.finish().judged[1].met);
}

#[test]
fn interrupted_drill_is_over_at_once() {
    let mut drill = Drill::new();
    drill.run(500, true);
    drill.engine.interrupt(ms(500));
    assert_eq!(drill.engine.action(), Some(Action::StopLoad));
    assert!(drill.engine.is_over(ms(500)));
    assert_eq!(drill.engine.broken(), Some("it was interrupted"));
}

#[test]
fn supervisor_replaces_servers_itself_and_clients_go_on_until_it_has() {
    let mut drill = Drill::in_lab();
    let crash = Action::Do(Act::Crash(crate::plan::How::Destroy));
    assert_eq!(drill.run(1000, true), [(1000, crash)]);
    // It begins late, and takes longer than the drill.
    assert_eq!(drill.run(4500, false), []);
    drill.begun("crash");
    assert_eq!(drill.run(20_000, false), []);
    drill.over(2);
    assert_eq!(drill.run(20_010, false), [(20_010, Action::StopLoad)]);
}

#[test]
fn supervisor_that_never_acts_is_not_waited_for_without_end() {
    let mut drill = Drill::in_lab();
    drill.run(1000, true);
    drill.begun("crash");
    let stopped = drill.run(700_000, false);
    assert_eq!(stopped, [(304_000, Action::StopLoad)]);
    assert!(drill.engine.is_over(ms(drill.now)));
}
