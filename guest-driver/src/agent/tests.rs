// SPDX-License-Identifier: GPL-3.0-only
//! The agent's promises: it beats, it answers each order once, and nothing stays frozen.

use super::*;

const BEAT: Duration = Duration::from_millis(500);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn mounts() -> Vec<String> {
    vec!["/srv/www".into(), "/".into()]
}

/// An agent whose first actions and first beat are done.
fn running(kept: Kept) -> Agent {
    let mut agent = started(kept);
    agent.handle_timeout(Duration::ZERO);
    take(&mut agent);
    agent.handle_probe(true);
    agent
}

fn started(kept: Kept) -> Agent {
    let settings = Settings {
        interval: BEAT,
        probe: "none".into(),
    };
    Agent::new(settings, kept)
}

/// The actions since the last call, words for people aside.
fn take(agent: &mut Agent) -> Vec<Action> {
    std::iter::from_fn(|| agent.poll_action())
        .filter(|action| !matches!(action, Action::Say(_)))
        .collect()
}

fn answer(text: &str) -> Action {
    Action::Write(ANSWER, text.to_owned())
}

fn thaw(asker: Asker) -> Action {
    Action::Start(asker, Job::Thaw(Vec::new()))
}

fn by(id: &str) -> Asker {
    Asker::Order(id.to_owned())
}

/// Orders a freeze of one second at time 0 and returns the job.
fn order_freeze(agent: &mut Agent) -> Job {
    agent.handle_order(ms(0), "q quiesce 1000 /", &mounts());
    let job = Job::Freeze(vec!["/".into()]);
    assert_eq!(
        take(agent),
        [
            Action::Write(FROZEN, "/".into()),
            Action::Start(by("q"), job.clone())
        ]
    );
    job
}

fn frozen() -> Agent {
    let mut agent = running(Kept::default());
    let job = order_freeze(&mut agent);
    agent.handle_done(ms(10), by("q"), &job, Ok("frozen=/".into()));
    assert_eq!(take(&mut agent), [answer("q ok frozen=/")]);
    agent
}

/// Lets time pass as the loop would, from one wanted time to the next, until `end`; returns all actions but beats.
fn pass(agent: &mut Agent, end: Duration) -> Vec<(Duration, Action)> {
    let mut done = Vec::new();
    loop {
        let now = agent.poll_timeout();
        if now > end {
            return done;
        }
        agent.handle_timeout(now);
        for action in take(agent) {
            match action {
                Action::Probe => agent.handle_probe(true),
                Action::Write(HEARTBEAT | PROGRESS, _) => {}
                other => done.push((now, other)),
            }
        }
    }
}

#[test]
fn start_tells_version_and_goes_on_counting() {
    let kept = Kept {
        heartbeat: 41,
        progress: 7,
        ..Kept::default()
    };
    let mut agent = started(kept);
    assert!(take(&mut agent).contains(&Action::Write(VERSION, AGENT_VERSION.into())));
    agent.handle_timeout(ms(0));
    assert_eq!(
        take(&mut agent),
        [Action::Write(HEARTBEAT, "42".into()), Action::Probe]
    );
}

#[test]
fn progress_stands_while_the_probe_gets_no_answer_and_the_heartbeat_goes_on() {
    let mut agent = running(Kept::default());
    agent.handle_timeout(ms(500));
    assert_eq!(
        take(&mut agent),
        [
            Action::Write(PROGRESS, "1".into()),
            Action::Write(HEARTBEAT, "2".into()),
            Action::Probe
        ]
    );
    // The probe hangs: beats go on, no second probe is started.
    agent.handle_timeout(ms(1000));
    assert_eq!(take(&mut agent), [Action::Write(HEARTBEAT, "3".into())]);
    agent.handle_probe(false);
    agent.handle_timeout(ms(1500));
    assert_eq!(
        take(&mut agent),
        [Action::Write(HEARTBEAT, "4".into()), Action::Probe]
    );
}

#[test]
fn beats_missed_are_not_made_up_for() {
    let mut agent = running(Kept::default());
    agent.handle_timeout(ms(60_000));
    assert_eq!(agent.poll_timeout(), ms(60_500));
}

#[test]
fn frozen_and_dom0_silent_is_thawed_when_the_time_is_up() {
    let mut agent = frozen();
    assert_eq!(
        pass(&mut agent, ms(5000)),
        [(ms(1000), thaw(Asker::TimeOut))]
    );
    assert!(agent.is_frozen());
    agent.handle_done(
        ms(1001),
        Asker::TimeOut,
        &Job::Thaw(vec![]),
        Ok("thawed=1".into()),
    );
    assert_eq!(take(&mut agent), [Action::Remove(FROZEN)]);
    assert!(!agent.is_frozen());
}

#[test]
fn thaw_that_fails_is_tried_again_every_second() {
    let mut agent = frozen();
    for second in 1..4 {
        assert_eq!(
            pass(&mut agent, ms(second * 1000)),
            [(ms(second * 1000), thaw(Asker::TimeOut))]
        );
        agent.handle_done(
            ms(second * 1000),
            Asker::TimeOut,
            &Job::Thaw(vec![]),
            Err("no".into()),
        );
        assert_eq!(take(&mut agent), []);
    }
}

#[test]
fn freezing_that_waits_for_a_disk_is_thawed_in_time_and_again_when_it_ends() {
    let mut agent = running(Kept::default());
    let job = order_freeze(&mut agent);
    assert_eq!(
        pass(&mut agent, ms(1200)),
        [(ms(1000), thaw(Asker::TimeOut))]
    );
    let thawed = Ok("thawed=0".to_owned());
    agent.handle_done(ms(1201), Asker::TimeOut, &Job::Thaw(vec![]), thawed);
    assert_eq!(take(&mut agent), []);
    agent.handle_done(ms(9000), by("q"), &job, Ok("frozen=/".into()));
    assert_eq!(
        take(&mut agent),
        [
            thaw(Asker::TimeOut),
            answer("q error it was to be thawed before all of it was frozen; it is thawed")
        ]
    );
    agent.handle_done(
        ms(9001),
        Asker::TimeOut,
        &Job::Thaw(vec![]),
        Ok("thawed=1".into()),
    );
    assert_eq!(take(&mut agent), [Action::Remove(FROZEN)]);
}

#[test]
fn thaw_is_carried_out_while_the_freezing_still_waits() {
    let mut agent = running(Kept::default());
    let job = order_freeze(&mut agent);
    agent.handle_order(ms(100), "t thaw", &mounts());
    assert_eq!(take(&mut agent), [thaw(by("t"))]);
    agent.handle_done(ms(101), by("t"), &Job::Thaw(vec![]), Ok("thawed=0".into()));
    assert_eq!(take(&mut agent), [answer("t ok thawed=0")]);
    agent.handle_done(ms(102), by("q"), &job, Ok("frozen=/".into()));
    assert_eq!(take(&mut agent)[0], thaw(Asker::TimeOut));
}

#[test]
fn thaw_on_order_opens_and_no_time_out_follows() {
    let mut agent = frozen();
    agent.handle_order(ms(100), "t thaw", &mounts());
    agent.handle_done(ms(110), by("t"), &Job::Thaw(vec![]), Ok("thawed=1".into()));
    assert_eq!(
        take(&mut agent),
        [
            thaw(by("t")),
            Action::Remove(FROZEN),
            answer("t ok thawed=1")
        ]
    );
    assert_eq!(pass(&mut agent, ms(3000)), []);
}

#[test]
fn freeze_that_failed_leaves_nothing_frozen() {
    let mut agent = running(Kept::default());
    let job = order_freeze(&mut agent);
    agent.handle_done(ms(5), by("q"), &job, Err("/: EIO".into()));
    assert_eq!(
        take(&mut agent),
        [Action::Remove(FROZEN), answer("q error /: EIO")]
    );
    assert_eq!(pass(&mut agent, ms(3000)), []);
}

#[test]
fn an_agent_that_was_killed_while_frozen_is_followed_by_a_thaw() {
    let kept = Kept {
        frozen: mounts(),
        answer: Some("q ok frozen=/".parse().unwrap()),
        order: Some("q quiesce 1000 /".into()),
        ..Kept::default()
    };
    let mut agent = started(kept);
    let actions = take(&mut agent);
    let job = Job::Thaw(mounts());
    assert_eq!(
        actions.last(),
        Some(&Action::Start(Asker::TimeOut, job.clone()))
    );
    agent.handle_done(ms(1), Asker::TimeOut, &job, Ok("thawed=2".into()));
    assert_eq!(take(&mut agent), [Action::Remove(FROZEN)]);
}

#[test]
fn an_order_older_than_the_agent_is_refused() {
    let kept = Kept {
        order: Some("c clock 1000".into()),
        ..Kept::default()
    };
    let mut agent = started(kept);
    agent.handle_order(ms(0), "c clock 1000", &mounts());
    let actions = take(&mut agent);
    assert!(
        actions.contains(&answer(
            "c error the agent was started after this order was given; give it again"
        )),
        "{actions:?}"
    );
    assert!(!actions.iter().any(|a| matches!(a, Action::Start(..))));
}

#[test]
fn an_order_is_carried_out_once_and_only_one_at_a_time() {
    let mut agent = running(Kept::default());
    let flush = Action::Start(by("1"), Job::Other(Verb::Flush));
    for _ in 0..2 {
        agent.handle_order(ms(0), "1 flush", &mounts());
    }
    assert_eq!(take(&mut agent), [flush]);
    agent.handle_order(ms(1), "2 hints", &mounts());
    assert_eq!(
        take(&mut agent),
        [answer(
            "2 error the agent is still busy with another order: flush"
        )]
    );
    agent.handle_done(
        ms(2),
        by("1"),
        &Job::Other(Verb::Flush),
        Ok("took_ms=2".into()),
    );
    assert_eq!(take(&mut agent), [answer("1 ok took_ms=2")]);
    agent.handle_order(ms(3), "3 hints", &mounts());
    assert_eq!(take(&mut agent).len(), 1);
}

#[test]
fn orders_that_cannot_be_are_answered_with_the_reason() {
    let mut agent = running(Kept::default());
    for (order, said) in [
        (
            "1 quiesce 1000 /none",
            "1 error /none is not a mount that can be frozen; these are: /srv/www /",
        ),
        (
            "2 jump",
            "2 error this agent does not know the verb \"jump\"",
        ),
    ] {
        agent.handle_order(ms(0), order, &mounts());
        assert_eq!(take(&mut agent), [answer(said)]);
    }
    agent.handle_order(ms(0), "3 quiesce 1000", &[]);
    assert_eq!(
        take(&mut agent),
        [answer("3 error no file system here can be frozen")]
    );
    agent.handle_order(ms(0), "", &mounts());
    assert_eq!(take(&mut agent), []);
    let mut agent = frozen();
    agent.handle_order(ms(20), "4 quiesce 1000", &mounts());
    assert_eq!(
        take(&mut agent),
        [answer(
            "4 error file systems are frozen already; thaw them first"
        )]
    );
}

#[test]
fn mounts_are_frozen_in_the_order_given_by_the_kernel_not_by_dom0() {
    let mut agent = running(Kept::default());
    agent.handle_order(ms(0), "1 quiesce 1000 / /srv/www", &mounts());
    assert_eq!(
        take(&mut agent)[1],
        Action::Start(by("1"), Job::Freeze(mounts()))
    );
}
