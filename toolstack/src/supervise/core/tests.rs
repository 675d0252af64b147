// SPDX-License-Identifier: GPL-3.0-only
//! Sequences of news and what must follow from them.

use std::path::PathBuf;

use super::*;
use crate::config::TscMode;
use crate::error::Code;
use crate::hypervisor::{GuestKind, RunState};
use crate::ids::KiB;
use crate::supervise::proto::Member;

const LOGGER: DomId = DomId(1);
const WEB: DomId = DomId(2);
const STANDBY: DomId = DomId(3);
const SPARE: DomId = DomId(4);

pub(super) fn config(name: &str, on_end: OnEnd) -> Box<DomainConfig> {
    Box::new(DomainConfig {
        name: name.to_owned(),
        uuid: Uuid::nil(),
        kind: GuestKind::Pv,
        kernel: PathBuf::from("/kernel"),
        ramdisk: None,
        cmdline: String::new(),
        memory: KiB::from_mib(64),
        max_memory: KiB::from_mib(64),
        vcpus: 1,
        max_vcpus: 1,
        vifs: Vec::new(),
        disks: Vec::new(),
        on_poweroff: on_end,
        on_reboot: on_end,
        on_crash: on_end,
        driver_domain: false,
        tsc_mode: TscMode::Default,
    })
}

pub(super) fn info(id: DomId, shutdown: Option<ShutdownReason>) -> DomainInfo {
    DomainInfo {
        id,
        uuid: Uuid::nil(),
        hvm_container: false,
        state: RunState {
            running: false,
            blocked: true,
            paused: false,
            shutdown,
            dying: false,
        },
        memory: KiB(0),
        max_memory: KiB(0),
        online_vcpus: 1,
        max_vcpu_id: 0,
        cpu_time_ns: 0,
    }
}

fn running(ids: &[DomId]) -> Input {
    Input::Domains(ids.iter().map(|id| info(*id, None)).collect())
}

pub(super) fn member(domid: DomId, name: &str) -> Member {
    Member {
        domid,
        name: name.to_owned(),
        interface: format!("vif{domid}.0"),
    }
}

fn group(standbys: &[DomId]) -> GroupState {
    GroupState {
        name: "web".into(),
        logger: LOGGER,
        north: "eth0".into(),
        active: Some(member(WEB, "web")),
        standbys: standbys
            .iter()
            .map(|domid| member(*domid, "standby"))
            .collect(),
        services: Vec::new(),
        failovers: 0,
        making: None,
        orders: Vec::new(),
        care: None,
    }
}

/// A core that watches a group, with all its domains alive, and nothing left to do.
fn protecting(standbys: &[DomId]) -> Core {
    let mut core = Core::new(Saved::default(), 0);
    core.handle(Input::Protected(group(standbys)), 1);
    core.handle(running(&[DomId::DOM0, LOGGER, WEB, STANDBY, SPARE]), 2);
    drain(&mut core);
    core
}

/// All that is to be done, events and saving aside, in order.
fn drain(core: &mut Core) -> Vec<Action> {
    std::iter::from_fn(|| core.poll())
        .filter(|action| !matches!(action, Action::Tell(_) | Action::Save))
        .collect()
}

fn kinds(core: &Core, since: u64) -> Vec<EventKind> {
    core.events(since)
        .0
        .iter()
        .map(|event| event.kind)
        .collect()
}

fn failover(to: DomId, reason: &str, check: bool) -> Action {
    Action::Failover {
        group: "web".into(),
        logger: LOGGER,
        reason: reason.into(),
        to: member(to, "").interface,
        check,
        fence: None,
        wake: None,
    }
}

#[test]
fn active_crash_orders_failover_first_and_then_destroys_the_corpse() {
    let mut core = protecting(&[STANDBY]);
    core.handle(
        Input::Watch {
            domid: WEB,
            config: config("web", OnEnd::Destroy),
        },
        3,
    );
    drain(&mut core);
    let since = core.events(0).1;
    let crash = Some(ShutdownReason::Crash);
    core.handle(
        Input::Domains(vec![
            info(LOGGER, None),
            info(WEB, crash),
            info(STANDBY, None),
        ]),
        9,
    );
    assert_eq!(
        core.poll(),
        Some(failover(STANDBY, "domain 2 (web) crashed", false))
    );
    assert_eq!(drain(&mut core), [Action::Destroy(WEB)]);
    core.handle(
        Input::Relayed {
            group: "web".into(),
            result: Ok(()),
        },
        11,
    );
    core.handle(
        Input::Destroyed {
            domid: WEB,
            result: Ok(()),
        },
        12,
    );
    let expected = [
        EventKind::DomainCrashed,
        EventKind::FailoverSent,
        EventKind::FailoverAcknowledged,
        EventKind::DomainDestroyed,
    ];
    assert_eq!(kinds(&core, since), expected);
    let times: Vec<u64> = core
        .events(since)
        .0
        .iter()
        .map(|event| event.time_ms)
        .collect();
    assert_eq!(times, [9, 9, 11, 12]);
    assert_eq!(core.groups()[0].active, Some(member(STANDBY, "standby")));
}

#[test]
fn active_that_vanishes_or_is_dying_fails_over_once() {
    let mut core = protecting(&[STANDBY, SPARE]);
    let mut dying = info(WEB, None);
    dying.state.dying = true;
    let list = vec![
        info(LOGGER, None),
        dying,
        info(STANDBY, None),
        info(SPARE, None),
    ];
    core.handle(Input::Domains(list), 3);
    core.handle(running(&[LOGGER, STANDBY, SPARE]), 4);
    core.handle(running(&[LOGGER, STANDBY, SPARE]), 5);
    assert_eq!(
        drain(&mut core),
        [failover(STANDBY, "domain 2 (web) is gone", false)]
    );
    assert_eq!(core.groups()[0].failovers, 1);
}

#[test]
fn number_that_belongs_to_another_domain_now_counts_as_gone() {
    let mut core = protecting(&[STANDBY]);
    let mut other = info(WEB, None);
    other.uuid = Uuid::from_u128(7);
    core.handle(
        Input::Domains(vec![info(LOGGER, None), other, info(STANDBY, None)]),
        3,
    );
    assert_eq!(
        drain(&mut core),
        [failover(STANDBY, "domain 2 (web) is gone", false)]
    );
}

#[test]
fn standby_that_dies_with_the_active_is_not_chosen() {
    let mut core = protecting(&[STANDBY, SPARE]);
    core.handle(running(&[LOGGER, SPARE]), 3);
    let leave = Action::Leave {
        group: "web".into(),
        logger: LOGGER,
        interface: "vif3.0".into(),
    };
    assert_eq!(
        drain(&mut core),
        [leave, failover(SPARE, "domain 2 (web) is gone", false)]
    );
    assert_eq!(
        core.groups()[0].active.as_ref().map(|member| member.domid),
        Some(SPARE)
    );
    assert!(kinds(&core, 0).contains(&EventKind::StandbyLost));
}

#[test]
fn last_domain_of_a_group_leaves_nothing_to_order() {
    let mut core = protecting(&[]);
    core.handle(running(&[LOGGER]), 3);
    assert_eq!(drain(&mut core), []);
    assert!(kinds(&core, 0).contains(&EventKind::NoStandby));
    assert_eq!(core.groups()[0].active, None);
}

#[test]
fn second_failure_moves_on_to_the_second_standby() {
    let mut core = protecting(&[STANDBY, SPARE]);
    core.handle(running(&[LOGGER, STANDBY, SPARE]), 3);
    assert_eq!(
        drain(&mut core),
        [failover(STANDBY, "domain 2 (web) is gone", false)]
    );
    core.handle(running(&[LOGGER, SPARE]), 4);
    assert_eq!(
        drain(&mut core),
        [failover(SPARE, "domain 3 (standby) is gone", false)]
    );
    assert_eq!(
        core.groups()[0].active.as_ref().map(|member| member.domid),
        Some(SPARE)
    );
}

#[test]
fn loggers_death_is_told() {
    let mut core = protecting(&[STANDBY]);
    core.handle(running(&[WEB, STANDBY]), 3);
    assert_eq!(drain(&mut core), []);
    assert_eq!(kinds(&core, 0).last(), Some(&EventKind::LoggerLost));
}

#[test]
fn failover_by_hand_needs_a_group_and_a_standby() {
    let mut core = protecting(&[STANDBY]);
    assert_eq!(
        core.failover("mail", "drill", 3).unwrap_err().code,
        Code::NotFound
    );
    core.failover("web", "drill", 3).unwrap();
    // The old server lives: it is stopped before the logger is asked.
    let Action::Failover { fence, reason, .. } = &drain(&mut core)[0] else {
        panic!("no failover");
    };
    assert_eq!((*fence, reason.as_str()), (Some(WEB), "drill"));
    assert_eq!(
        core.failover("web", "drill", 4).unwrap_err().code,
        Code::State
    );
    assert_eq!(drain(&mut core), []);
}

/// What follows when a watched domain ends for `reason`, `after` ms after it was watched.
fn outcome(on_end: OnEnd, reason: ShutdownReason, after: u64) -> Vec<Action> {
    let mut core = Core::new(Saved::default(), 0);
    core.handle(
        Input::Watch {
            domid: WEB,
            config: config("web", on_end),
        },
        1000,
    );
    core.handle(running(&[WEB]), 1001);
    core.handle(Input::Domains(vec![info(WEB, Some(reason))]), 1000 + after);
    drain(&mut core)
}

#[test]
fn each_action_of_the_configuration_is_carried_out() {
    let restart = |keep| {
        vec![Action::Restart {
            old: WEB,
            config: config(
                "web",
                if keep {
                    OnEnd::RenameRestart
                } else {
                    OnEnd::Restart
                },
            ),
            keep,
        }]
    };
    assert_eq!(
        outcome(OnEnd::Destroy, ShutdownReason::Poweroff, 5),
        [Action::Destroy(WEB)]
    );
    assert_eq!(outcome(OnEnd::Preserve, ShutdownReason::Crash, 5), []);
    assert_eq!(
        outcome(OnEnd::Restart, ShutdownReason::Reboot, 5),
        restart(false)
    );
    assert_eq!(
        outcome(OnEnd::RenameRestart, ShutdownReason::Watchdog, 20_000),
        restart(true)
    );
    assert_eq!(outcome(OnEnd::Destroy, ShutdownReason::Suspend, 5), []);
}

#[test]
fn domain_that_crashes_at_once_is_not_restarted_for_ever() {
    assert_eq!(
        outcome(OnEnd::Restart, ShutdownReason::Crash, 9_999),
        [Action::Destroy(WEB)]
    );
    assert!(matches!(
        outcome(OnEnd::Restart, ShutdownReason::Crash, 10_000)[..],
        [Action::Restart { .. }]
    ));
}

#[test]
fn restarted_domain_is_watched_under_its_new_number() {
    let mut core = Core::new(Saved::default(), 0);
    let restarted = (SPARE, config("web", OnEnd::Destroy));
    core.handle(
        Input::Restarted {
            old: WEB,
            result: Ok(restarted),
        },
        1,
    );
    assert_eq!(core.domains()[0].domid, SPARE);
    core.handle(
        Input::Domains(vec![info(SPARE, Some(ShutdownReason::Poweroff))]),
        2,
    );
    assert_eq!(drain(&mut core), [Action::Destroy(SPARE)]);
}

#[test]
fn unwatched_domain_is_left_alone() {
    let mut core = Core::new(Saved::default(), 0);
    core.handle(
        Input::Watch {
            domid: WEB,
            config: config("web", OnEnd::Restart),
        },
        1,
    );
    core.handle(Input::Unwatch(WEB), 2);
    core.handle(
        Input::Domains(vec![info(WEB, Some(ShutdownReason::Poweroff))]),
        3,
    );
    assert_eq!(drain(&mut core), []);
}

#[test]
fn restarted_supervisor_acts_on_what_ended_meanwhile() {
    let mut before = protecting(&[STANDBY]);
    before.handle(
        Input::Watch {
            domid: WEB,
            config: config("web", OnEnd::Restart),
        },
        5,
    );
    let mut core = Core::new(before.saved(), 6);
    assert_eq!(core.groups(), before.groups());
    let crash = Some(ShutdownReason::Crash);
    core.handle(
        Input::Domains(vec![
            info(LOGGER, None),
            info(WEB, crash),
            info(STANDBY, None),
        ]),
        1_000_000,
    );
    let actions = drain(&mut core);
    // Whether the order was given before is not known.
    assert_eq!(
        actions[0],
        failover(STANDBY, "domain 2 (web) crashed", true)
    );
    assert!(matches!(actions[1], Action::Restart { .. }));
}

#[test]
fn member_that_restarts_stands_by_again() {
    let mut core = protecting(&[STANDBY]);
    let web = config("web", OnEnd::Restart);
    core.handle(
        Input::Watch {
            domid: WEB,
            config: web.clone(),
        },
        3,
    );
    drain(&mut core);
    let reboot = info(WEB, Some(ShutdownReason::Reboot));
    let infos = vec![info(LOGGER, None), reboot, info(STANDBY, None)];
    core.handle(Input::Domains(infos), 4);
    let actions = drain(&mut core);
    assert_eq!(
        actions[0],
        failover(STANDBY, "domain 2 (web) rebooted", false)
    );
    assert!(matches!(actions[1], Action::Restart { .. }));
    let result = Ok((SPARE, web));
    core.handle(Input::Restarted { old: WEB, result }, 5);
    let target = Target {
        domid: SPARE,
        devid: 0,
        find: Some(LOGGER),
    };
    let look = Action::Look {
        group: "web".into(),
        targets: vec![target],
    };
    assert_eq!(drain(&mut core), [look]);
    let sights = vec![Sight {
        domid: SPARE,
        beat: None,
        progress: None,
        connected: true,
        wrapped: false,
        interface: Some("vif4.0".into()),
    }];
    let group = || "web".to_owned();
    core.handle(
        Input::Seen {
            group: group(),
            sights,
        },
        6,
    );
    assert_eq!(drain(&mut core), []);
    // Its services get time to start.
    let due = core.deadline().unwrap();
    core.tick(due);
    let member = member(SPARE, "web");
    let join = Action::Join {
        group: group(),
        logger: LOGGER,
        member: member.clone(),
        pause: false,
    };
    assert_eq!(drain(&mut core), [join]);
    core.handle(
        Input::Joined {
            group: group(),
            domid: SPARE,
            result: Ok(()),
        },
        due,
    );
    assert_eq!(core.groups()[0].standbys, [member]);
}
