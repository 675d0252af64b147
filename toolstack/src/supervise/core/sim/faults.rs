// SPDX-License-Identifier: GPL-3.0-only
//! Every fault at every step of a group's life.

use super::*;

#[test]
fn group_is_made_from_its_file() {
    for mode in [StandbyMode::Booted, StandbyMode::Paused] {
        let mut sim = Sim::new(plan(2, mode), 1);
        sim.run_ms(20_000);
        sim.assert_whole("made");
        let asleep = sim.guests.values().filter(|guest| guest.pauses > 0);
        assert_eq!(
            asleep.count(),
            if mode == StandbyMode::Paused { 2 } else { 0 }
        );
        let names: Vec<&str> = sim
            .guests
            .values()
            .map(|guest| guest.name.as_str())
            .collect();
        assert_eq!(names, ["web-1", "web-2", "web-3"]);
    }
}

#[test]
fn member_with_a_wrap_is_ready_when_its_record_is_there() {
    let plan = GroupPlan {
        wrap: true,
        ..plan(1, StandbyMode::Booted)
    };
    let mut sim = Sim::new(plan, 1);
    sim.run_ms(15_000);
    assert!(sim.logged.is_none(), "a member serves without its record");
    sim.wrapped = true;
    sim.run_ms(20_000);
    sim.assert_whole("made");
}

/// No agent looks at it, and its kernel lives.
#[test]
fn service_that_answers_nobody_is_replaced_without_an_agent() {
    let looked_at = |request_ms| GroupPlan {
        heartbeat_ms: None,
        progress_ms: None,
        request_ms,
        ..plan(1, StandbyMode::Booted)
    };
    for (request_ms, failovers) in [(None, 0), (Some(4000), 1)] {
        let mut sim = Sim::new(looked_at(request_ms), 5);
        sim.run_ms(15_000);
        assert_eq!(sim.failovers, 0, "all is well");
        sim.inject(Fault::ActiveStuck);
        sim.run_ms(20_000);
        assert_eq!(sim.failovers, failovers, "{request_ms:?}");
    }
}

/// Members that are there are looked at every quarter of a minute, one that boots twice a second.
#[test]
fn new_member_is_found_ready_at_once_however_seldom_the_others_are_looked_at() {
    let minute = Some(60_000);
    let plan = GroupPlan {
        heartbeat_ms: minute,
        progress_ms: minute,
        ..tireless(1, StandbyMode::Booted)
    };
    for after in [20_000, 24_000, 31_000] {
        let mut sim = Sim::new(plan.clone(), 5);
        sim.run_ms(after);
        sim.inject(Fault::StandbyCrashes);
        sim.run_ms(5_000);
        sim.assert_whole("a standby is missing");
    }
}

/// Xen may not have let go of the name yet.
#[test]
fn new_member_does_not_take_the_number_of_the_one_that_went_last() {
    let mut sim = Sim::new(tireless(1, StandbyMode::Booted), 5);
    for names in [["web-1", "web-2"], ["web-2", "web-3"], ["web-1", "web-3"]] {
        sim.run_ms(20_000);
        let mut all: Vec<&str> = sim.guests.values().map(|it| it.name.as_str()).collect();
        all.sort_unstable();
        assert_eq!(all, names);
        sim.inject(Fault::ActiveVanishes);
    }
}

/// What an image is of is known by the standbys: the first one became it.
#[test]
fn prebuilt_standbys_are_made_of_the_first_one() {
    let mut sim = Sim::new(tireless(2, StandbyMode::Prebuilt), 1);
    for names in [["web-1", "web-3", "web-4"], ["web-3", "web-4", "web-5"]] {
        sim.run_ms(20_000);
        sim.assert_whole("made");
        let mut standbys = sim.group().standbys;
        standbys.insert(0, sim.group().active.unwrap());
        let found: Vec<_> = standbys.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(found, names);
        let copied = standbys
            .iter()
            .skip(1)
            .all(|it| sim.guests[&it.domid].copied);
        assert!(copied && sim.image == Some(true), "{:?}", sim.guests);
        let mut refreshed = standbys.iter().skip(1).map(|it| it.domid);
        assert!(refreshed.all(|id| sim.refreshed.contains(&id)));
        sim.inject(Fault::ActiveCrashes);
    }
    let told = |sim: &Sim| {
        let all = sim.core.events(0).0;
        let kinds = all.iter().map(|event| event.kind);
        kinds.filter(|it| *it == EventKind::ImageMade).count()
    };
    assert_eq!(told(&sim), 1);
    sim.core.handle(Input::Unprotected(NAME.into()), sim.now_ms);
    sim.collect();
    while !sim.orders[2].is_empty() {
        sim.step();
    }
    assert_eq!(sim.image, None, "an image of no group");
}

#[test]
fn image_that_comes_to_nothing_twice_is_done_without_until_the_file_is_applied_again() {
    let mut sim = Sim::new(tireless(1, StandbyMode::Prebuilt), 1);
    sim.capture_fails = 2;
    sim.run_ms(60_000);
    sim.assert_whole("booted");
    assert!(sim.guests.values().all(|guest| !guest.copied));
    let again = tireless(1, StandbyMode::Prebuilt);
    sim.core
        .apply(again, LOGGER, Uuid::nil(), sim.now_ms)
        .unwrap();
    sim.collect();
    sim.inject(Fault::StandbyCrashes);
    sim.run_ms(30_000);
    sim.assert_whole("of an image");
    assert_eq!(sim.guests.values().filter(|guest| guest.copied).count(), 1);
    // A group that boots its standbys needs no image.
    let booted = tireless(1, StandbyMode::Booted);
    sim.core
        .apply(booted, LOGGER, Uuid::nil(), sim.now_ms)
        .unwrap();
    sim.collect();
    sim.run_ms(1000);
    assert_eq!(sim.image, None);
}

/// At every step of a group's life, also while a member becomes the image, its members are made from something else.
#[test]
fn image_is_never_of_another_configuration() {
    for at in 0..80 {
        let mut sim = Sim::new(tireless(2, StandbyMode::Prebuilt), at + 7);
        for _ in 0..at {
            sim.step();
        }
        let mut other = tireless(2, StandbyMode::Prebuilt);
        other.member.config.memory = KiB(4321);
        sim.core
            .apply(other, LOGGER, Uuid::nil(), sim.now_ms)
            .unwrap();
        sim.collect();
        for _ in 0..2 {
            sim.run_ms(30_000);
            sim.assert_whole(&format!("at {at}"));
            sim.inject(Fault::StandbyCrashes);
        }
        sim.run_ms(30_000);
        let copies = sim.guests.values().filter(|guest| guest.copied);
        assert!(copies.count() > 0 && sim.image_of == KiB(4321), "at {at}");
    }
}

/// Every fault at every step, twice after each other, in several orders of the workers.
#[test]
fn every_fault_at_every_step_leaves_a_whole_group_and_never_two_servers() {
    for (standbys, mode) in [
        (0, StandbyMode::Booted),
        (1, StandbyMode::Booted),
        (2, StandbyMode::Booted),
        (1, StandbyMode::Paused),
        (1, StandbyMode::Prebuilt),
        (2, StandbyMode::Prebuilt),
    ] {
        for fault in FAULTS {
            for at in 0..80 {
                let mut sim = Sim::new(tireless(standbys, mode), at + 7);
                for _ in 0..at {
                    sim.step();
                }
                sim.inject(fault);
                sim.run_ms(23_000);
                sim.never_boots = false;
                sim.run_ms(30_000);
                let what = format!("{fault:?} at {at}, {standbys} standbys, {mode:?}");
                sim.assert_whole(&what);
            }
        }
    }
}

#[test]
fn two_faults_in_any_order_leave_a_whole_group() {
    for (first, second) in FAULTS
        .iter()
        .flat_map(|it| FAULTS.map(|other| (*it, other)))
    {
        for mode in [StandbyMode::Booted, StandbyMode::Prebuilt] {
            for between in [0, 1, 2, 7] {
                let mut sim = Sim::new(tireless(2, mode), between + 3);
                sim.run_ms(15_000);
                sim.inject(first);
                for _ in 0..between {
                    sim.step();
                }
                sim.inject(second);
                sim.run_ms(23_000);
                sim.never_boots = false;
                sim.run_ms(60_000);
                sim.assert_whole(&format!("{first:?}, {between} steps, {second:?}, {mode:?}"));
            }
        }
    }
}

#[test]
fn hung_server_that_is_kept_stays_stopped_and_only_the_last_one_is_kept() {
    let mut plan = plan(1, StandbyMode::Booted);
    plan.keep_for_autopsy = true;
    let mut sim = Sim::new(plan, 5);
    sim.run_ms(15_000);
    let first = sim.group().active.unwrap().domid;
    sim.inject(Fault::ActiveHangs);
    sim.run_ms(20_000);
    assert_eq!(sim.guests[&first].pauses, 1);
    let second = sim.group().active.unwrap().domid;
    sim.inject(Fault::ActiveHangs);
    sim.run_ms(20_000);
    assert!(!sim.guests.contains_key(&first), "{:?}", sim.guests);
    assert_eq!((sim.guests[&second].pauses, sim.failovers), (1, 2));
}

#[test]
fn notify_only_tells_of_a_hang_and_still_replaces_the_dead() {
    let mut plan = plan(1, StandbyMode::Booted);
    plan.on_failure = OnFailure::Notify;
    let mut sim = Sim::new(plan, 5);
    sim.run_ms(15_000);
    let since = sim.core.events(0).1;
    sim.inject(Fault::ActiveHangs);
    sim.run_ms(20_000);
    let told: Vec<EventKind> = sim.core.events(since).0.iter().map(|it| it.kind).collect();
    assert_eq!((told, sim.failovers), (vec![EventKind::MemberHung], 0));
    sim.inject(Fault::ActiveCrashes);
    sim.run_ms(20_000);
    sim.assert_whole("dead");
}

#[test]
fn too_many_failovers_end_the_making_of_standbys_until_the_file_is_applied_again() {
    let mut sim = Sim::new(plan(1, StandbyMode::Booted), 5);
    for round in 0..3 {
        sim.run_ms(20_000);
        sim.assert_whole(&format!("round {round}"));
        sim.inject(Fault::ActiveCrashes);
    }
    sim.run_ms(60_000);
    let group = sim.group();
    assert!(
        group.active.is_some() && group.standbys.is_empty(),
        "{group:?}"
    );
    let halted = group.care.unwrap().halted.unwrap();
    assert!(halted.starts_with("3 failovers within 600 s"), "{halted}");
    let (again, now) = (plan(1, StandbyMode::Booted), sim.now_ms);
    sim.core.apply(again, LOGGER, Uuid::nil(), now).unwrap();
    sim.collect();
    sim.run_ms(20_000);
    sim.assert_whole("applied again");
}

#[test]
fn members_that_never_become_ready_are_given_up() {
    let mut sim = Sim::new(plan(1, StandbyMode::Booted), 5);
    sim.run_ms(15_000);
    sim.never_boots = true;
    sim.inject(Fault::StandbyCrashes);
    sim.run_ms(600_000);
    let group = sim.group();
    let halted = group.care.unwrap().halted.unwrap();
    assert!(halted.starts_with("5 members in a row"), "{halted}");
    assert_eq!(sim.guests.len(), 1);
}

#[test]
fn fewer_standbys_are_taken_away_and_another_service_is_refused() {
    let mut sim = Sim::new(plan(2, StandbyMode::Booted), 5);
    sim.run_ms(15_000);
    let now = sim.now_ms;
    let fewer = plan(1, StandbyMode::Booted);
    sim.core.apply(fewer, LOGGER, Uuid::nil(), now).unwrap();
    sim.collect();
    sim.run_ms(5_000);
    sim.assert_whole("fewer");
    let mut other = plan(1, StandbyMode::Booted);
    other.north = "eth9".into();
    let refused = sim.core.apply(other, LOGGER, Uuid::nil(), now).unwrap_err();
    assert_eq!(refused.code, Code::State);
}
