// SPDX-License-Identifier: GPL-3.0-only
//! A declared group in a simulated host: every kind of failure at every step, workers in any order.
//!
//! What must hold: when the logger moves a group, the old server is stopped, destroyed or dead; and whatever has failed,
//! the group is soon as its file says, with no domain too many.

mod faults;
mod host;
mod inject;
mod upgrades;

use std::collections::{BTreeMap, VecDeque};

use fttcp::control::Silence;

use super::tests::{config, info, member};
use super::*;
use crate::error::{Code, Error};
use crate::ids::KiB;
use crate::supervise::plan::{GroupPlan, Image, OnFailure, StandbyMode};
use crate::supervise::proto::Member;
use inject::{FAULTS, Fault};

const LOGGER: DomId = DomId(1);
const NAME: &str = "www";

pub(super) fn plan(standbys: u32, mode: StandbyMode) -> GroupPlan {
    GroupPlan {
        name: NAME.into(),
        logger: "logger".into(),
        north: "eth0".into(),
        services: Vec::new(),
        wrap: false,
        outbound: fttcp::control::Outbound::Pass,
        member: Image {
            source: "web.cfg".into(),
            config: config("web", OnEnd::Restart),
            devid: 0,
        },
        standby: None,
        standbys,
        mode,
        ready_after_ms: 1000,
        boot_timeout_ms: 20_000,
        heartbeat_ms: Some(2000),
        progress_ms: Some(2500),
        silence_ms: Some(3000),
        request_ms: Some(3500),
        on_failure: OnFailure::Failover,
        keep_for_autopsy: false,
        most_failovers: 3,
        within_ms: 600_000,
    }
}

/// The same, however often it has to be moved.
fn tireless(standbys: u32, mode: StandbyMode) -> GroupPlan {
    GroupPlan {
        most_failovers: 100,
        ..plan(standbys, mode)
    }
}

#[derive(Clone, Debug)]
struct Guest {
    name: String,
    uuid: Uuid,
    born_ms: u64,
    pauses: u32,
    shutdown: Option<ShutdownReason>,
    hung: bool,
    beat: u64,
    /// Its service stands still, its kernel and agent do not.
    stuck: bool,
    progress: u64,
    /// It was made of the image.
    copied: bool,
    /// Tells what it was made from.
    memory: KiB,
}

impl Guest {
    const fn runs(&self) -> bool {
        self.pauses == 0 && self.shutdown.is_none() && !self.hung
    }

    /// It may say something, now or when it wakes up.
    const fn may_speak(&self) -> bool {
        self.pauses == 0 && self.shutdown.is_none()
    }
}

/// The logger's group.
#[derive(Debug)]
struct Logged {
    active: DomId,
    standbys: Vec<DomId>,
    heard_ms: u64,
    asked: u32,
    /// Clients wait at any time; then one was answered last.
    answered_ms: u64,
    /// The upgrade under way: whether it goes back, and the connections to be moved. The member that is left is the first
    /// standby.
    moving: Option<(bool, u64)>,
}

/// Workers: relay, chores, makers, eyes, ears, doctor.
const WORKERS: usize = 6;

pub(super) struct Sim {
    core: Core,
    now_ms: u64,
    guests: BTreeMap<DomId, Guest>,
    next_id: u16,
    logged: Option<Logged>,
    orders: [VecDeque<Action>; WORKERS],
    /// Something has ended since the supervisor last looked.
    released: bool,
    random: u64,
    creation_fails: u32,
    logger_refuses: u32,
    fence_fails: u32,
    capture_fails: u32,
    /// In Dom0's memory, and whether what is made of it runs.
    image: Option<bool>,
    /// [`Guest::memory`] of the one that became it.
    image_of: KiB,
    never_boots: bool,
    /// Programs of new members use the memory for their wrap's record.
    wrapped: bool,
    sick: bool,
    failovers: u32,
    /// Who was told to set its clock and to take fresh randomness.
    refreshed: Vec<DomId>,
}

impl Sim {
    fn new(plan: GroupPlan, seed: u64) -> Self {
        let mut sim = Self {
            core: Core::new(Saved::default(), 1000),
            now_ms: 1000,
            guests: BTreeMap::new(),
            next_id: 2,
            logged: None,
            orders: Default::default(),
            released: false,
            random: seed,
            creation_fails: 0,
            logger_refuses: 0,
            fence_fails: 0,
            capture_fails: 0,
            image: None,
            image_of: KiB(0),
            never_boots: false,
            wrapped: false,
            sick: false,
            failovers: 0,
            refreshed: Vec::new(),
        };
        sim.core
            .apply(plan, LOGGER, Uuid::from_u128(1 << 64), 1000)
            .unwrap();
        sim.collect();
        sim
    }

    fn pick(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005) + 1;
        (self.random >> 33) as usize % below
    }

    fn group(&self) -> GroupState {
        self.core.groups().remove(0)
    }

    fn collect(&mut self) {
        while let Some(action) = self.core.poll() {
            let worker = match &action {
                Action::Failover { .. }
                | Action::Join { .. }
                | Action::Serve { .. }
                | Action::Change { .. }
                | Action::Leave { .. } => 0,
                Action::Destroy(_) | Action::Restart { .. } => 1,
                Action::Make { .. } | Action::Capture { .. } | Action::DropImage(_) => 2,
                Action::Look { .. } => 3,
                Action::Ask { .. } | Action::Progress { .. } => 4,
                Action::Check { .. } => 5,
                Action::Refresh(domid) => {
                    self.refreshed.push(*domid);
                    continue;
                }
                Action::Save | Action::Tell(_) => continue,
            };
            self.orders[worker].push_back(action);
        }
    }

    fn give(&mut self, input: Input) {
        self.core.handle(input, self.now_ms);
        self.collect();
    }

    /// One worker does one thing, or the supervisor hears of ends, or time passes.
    fn step(&mut self) {
        let ready: Vec<usize> = (0..WORKERS)
            .filter(|worker| !self.orders[*worker].is_empty())
            .collect();
        let choices = ready.len() + usize::from(self.released);
        if choices > 0 {
            let choice = self.pick(choices);
            match ready.get(choice) {
                Some(worker) => {
                    if let Some(action) = self.orders[*worker].pop_front() {
                        self.perform(action);
                    }
                }
                None => self.notice(),
            }
            return;
        }
        let next = self.core.deadline().unwrap_or(self.now_ms + 1000);
        let passes = next.saturating_sub(self.now_ms).clamp(1, 1000);
        self.now_ms += passes;
        for guest in self.guests.values_mut().filter(|guest| guest.runs()) {
            guest.beat += 1;
            guest.progress += u64::from(!guest.stuck);
        }
        self.core.tick(self.now_ms);
        self.collect();
    }

    fn notice(&mut self) {
        self.released = false;
        let mut infos = vec![info(DomId::DOM0, None), info(LOGGER, None)];
        infos.extend(self.guests.iter().map(|(id, guest)| DomainInfo {
            uuid: guest.uuid,
            ..info(*id, guest.shutdown)
        }));
        self.give(Input::Domains(infos));
    }

    fn refusal(why: &str) -> Error {
        Error::new(Code::State, "do it", "the host", why)
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Capture { group, domid } => self.capture(group, domid),
            Action::DropImage(_) => self.image = None,
            Action::Make {
                group,
                config,
                of_image,
                ..
            } => {
                let result = self.make(&config, of_image);
                let name = config.name;
                self.give(Input::Made {
                    group,
                    name,
                    result,
                });
            }
            Action::Look { group, targets } => {
                let sights = targets.iter().filter_map(|target| {
                    let guest = self.guests.get(&target.domid)?;
                    let up = !self.never_boots && self.now_ms >= guest.born_ms + 1500;
                    Some(Sight {
                        domid: target.domid,
                        beat: up.then_some(guest.beat),
                        progress: up.then_some(guest.progress),
                        connected: up,
                        wrapped: up && self.wrapped,
                        interface: None,
                    })
                });
                let sights = sights.collect();
                self.give(Input::Seen { group, sights });
            }
            Action::Ask { group, .. } => {
                let result = self.ask();
                self.give(Input::Heard { group, result });
            }
            Action::Serve { domid, spec, .. } => {
                assert_eq!(spec.wrap.as_deref(), self.wrapped.then_some("xen"));
                let result = self.told(|sim| {
                    sim.logged = Some(Logged {
                        active: domid,
                        standbys: Vec::new(),
                        heard_ms: sim.now_ms,
                        answered_ms: sim.now_ms,
                        asked: 0,
                        moving: None,
                    });
                });
                let group = NAME.to_owned();
                self.give(Input::Joined {
                    group,
                    domid,
                    result,
                });
            }
            Action::Join {
                group,
                member,
                pause,
                ..
            } => {
                let domid = member.domid;
                let result = self.told(|sim| {
                    if let Some(guest) = sim.guests.get_mut(&domid).filter(|_| pause) {
                        guest.pauses += 1;
                    }
                    let logged = sim.logged.as_mut().expect("the group is there");
                    logged.standbys.retain(|other| *other != domid);
                    if sim.guests.contains_key(&domid) {
                        logged.standbys.push(domid);
                    }
                });
                self.give(Input::Joined {
                    group,
                    domid,
                    result,
                });
            }
            Action::Leave { interface, .. } => {
                if let Some(logged) = &mut self.logged {
                    logged
                        .standbys
                        .retain(|id| member(*id, "").interface != interface);
                }
            }
            Action::Failover {
                group,
                to,
                check,
                fence,
                wake,
                ..
            } => {
                let serves = self
                    .logged
                    .as_ref()
                    .map(|it| member(it.active, "").interface);
                if check && serves == Some(to) {
                    let result = Ok(());
                    self.give(Input::Relayed { group, result });
                    return;
                }
                self.fail_over(group, fence, wake);
            }
            Action::Check { group, .. } => {
                let result = if std::mem::take(&mut self.sick) {
                    Err(Self::refusal("it does not answer"))
                } else {
                    Ok(())
                };
                self.give(Input::Checked { group, result });
            }
            Action::Change { group, change, .. } => {
                let result = self.change(&change);
                self.give(Input::Changed {
                    group,
                    change,
                    result,
                });
            }
            Action::Progress { group, .. } => {
                let moving = self.logged.as_mut().and_then(|it| it.moving.as_mut());
                let moves = moving.map(|(back, waiting)| {
                    *waiting = waiting.saturating_sub(1);
                    Moves {
                        back: *back,
                        waiting: *waiting,
                    }
                });
                let result = Ok(moves);
                self.give(Input::Progressed { group, result });
            }
            Action::Destroy(domid) => {
                self.remove(domid);
                self.give(Input::Destroyed {
                    domid,
                    result: Ok(()),
                });
            }
            Action::Restart { .. } | Action::Refresh(_) | Action::Save | Action::Tell(_) => {
                unreachable!("not of a declared group")
            }
        }
    }

    /// Goes on for so long.
    fn run_ms(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.step();
        }
    }

    #[track_caller]
    fn assert_whole(&self, what: &str) {
        let group = self.group();
        let events = self.core.events(0).0;
        let story: Vec<String> = events
            .iter()
            .map(|event| {
                format!(
                    "{} {} {:?} {}",
                    event.time_ms, event.kind, event.domain, event.detail
                )
            })
            .collect();
        assert!(group.complete(), "{what}: {group:?}\n{story:#?}");
        let logged = self.logged.as_ref().expect("the logger has it");
        let ids = |members: &[Member]| members.iter().map(|it| it.domid).collect::<Vec<_>>();
        let active: Vec<Member> = group.active.iter().cloned().collect();
        assert_eq!(ids(&active), [logged.active], "{what}\n{story:#?}");
        assert_eq!(ids(&group.standbys), logged.standbys, "{what}\n{story:#?}");
        let serves = |guest: &Guest| guest.runs() && !guest.stuck;
        assert!(serves(&self.guests[&logged.active]), "{what}\n{story:#?}");
        assert_eq!(
            self.guests.len(),
            1 + group.standbys.len(),
            "{what}: a domain too many: {:?}\n{story:#?}",
            self.guests
        );
    }
}
