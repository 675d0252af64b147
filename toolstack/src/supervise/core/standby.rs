// SPDX-License-Identifier: GPL-3.0-only
//! How a group gets its members: one is ordered when one is missing, boots, settles, and is told to the logger.

use fttcp::control::{GRANTED, GroupSpec};

use super::Core;
use super::types::Action;
use crate::error::Error;
use crate::ids::DomId;
use crate::supervise::care::{Care, Crew, Making, Purpose, Stage, UpgradeStage};
use crate::supervise::plan::StandbyMode;
use crate::supervise::proto::{EventKind, GroupState, Member};

/// How long a member that was restarted in a group that no file declares gets for its services to start, in ms.
const RETURN_SETTLE_MS: u64 = 5_000;
/// How long it may take to boot, in ms.
const RETURN_BOOT_MS: u64 = 120_000;
/// After so many members in a row that did not become ready no more are made.
const MOST_FAILURES: u32 = 5;
/// How long to wait after the first of them, in ms; twice as long after each other.
const FIRST_RETRY_MS: u64 = 5_000;

impl GroupState {
    /// How many members are missing.
    fn missing(&self, care: &Care, hung: bool) -> bool {
        let wanted = care.plan.standbys as usize;
        // While standbys are replaced, those of older versions do not count.
        let counts = |member: &&Member| {
            let one = care.one(member.domid);
            !care.renew || one.is_some_and(|one| one.version == care.version)
        };
        let there = self.standbys.iter().filter(counts).count();
        self.active.is_none() || there < wanted.max(usize::from(hung))
    }

    /// As its file says.
    pub(super) fn complete(&self) -> bool {
        let enough = |care: &Care| self.standbys.len() >= care.plan.standbys as usize;
        self.active.is_some() && self.care.as_deref().is_some_and(enough)
    }

    /// Domains that it has made and that are nothing to it any more: they were about to be destroyed.
    fn left_over(&self) -> Vec<DomId> {
        let members = self.active.iter().chain(&self.standbys);
        let upgrade = self.upgrade().into_iter();
        let both = upgrade.flat_map(|upgrade| upgrade.old.iter().chain(&upgrade.new));
        let stopping = self.orders.iter().filter_map(|order| order.old.as_ref());
        let used: Vec<DomId> = members
            .chain(stopping)
            .chain(both)
            .map(|member| member.domid)
            .chain(self.making.iter().filter_map(|making| making.domid))
            .collect();
        let crew = self.care.iter().flat_map(|care| &care.crew);
        crew.filter(|one| !one.kept && !used.contains(&one.domid))
            .map(|one| one.domid)
            .collect()
    }

    fn boot_ms(&self) -> u64 {
        self.care
            .as_ref()
            .map_or(RETURN_BOOT_MS, |care| care.plan.boot_timeout_ms)
    }

    fn settle_ms(&self) -> u64 {
        self.care
            .as_ref()
            .map_or(RETURN_SETTLE_MS, |care| care.plan.ready_after_ms)
    }

    /// The group as its logger is told of it, with `active` as its first member.
    fn spec(&self, active: &str) -> GroupSpec {
        let plan = self.care.as_deref().map(|care| &care.plan);
        let durable = self.services.iter().any(|service| service.durable);
        GroupSpec {
            name: self.name.clone(),
            north: self.north.clone(),
            active: active.to_owned(),
            services: self.services.clone(),
            wrap: plan.filter(|plan| plan.wrap).map(|_| GRANTED.to_owned()),
            commit: durable.then(|| GRANTED.to_owned()),
            outbound: plan.map(|plan| plan.outbound).unwrap_or_default(),
            ..GroupSpec::default()
        }
    }
}

impl Core {
    /// Goes on with the member that is being made, or orders one that is missing. Says when to look again.
    pub(super) fn tend_making(&mut self, name: &str, now_ms: u64) -> Option<u64> {
        let group = self.groups.get(name)?;
        if let Some(making) = &group.making {
            return match making.stage {
                Stage::Creating | Stage::Joining | Stage::Capturing => None,
                Stage::Booting => {
                    let end = making.since_ms + group.boot_ms();
                    if now_ms < end {
                        return Some(end);
                    }
                    let time = group.boot_ms();
                    let reason = format!("it was not up after {time} ms");
                    self.making_failed(name, &reason, now_ms);
                    None
                }
                Stage::Settling { until_ms } if now_ms < until_ms => Some(until_ms),
                Stage::Settling { .. } => {
                    if !self.capture(name) {
                        self.join(name);
                    }
                    None
                }
            };
        }
        let care = group.care.as_deref()?;
        if let Some(upgrade) = &care.upgrade {
            if upgrade.stage == UpgradeStage::Making {
                self.order(name, Purpose::Upgrade, now_ms);
            }
            return None;
        }
        let hung = self.senses(name).is_some_and(|it| it.suspect.is_some());
        if care.halted.is_some() || !group.missing(care, hung) {
            return None;
        }
        if now_ms < care.retry_ms {
            return Some(care.retry_ms);
        }
        let purpose = if care.in_logger {
            Purpose::Standby
        } else {
            Purpose::First
        };
        self.order(name, purpose, now_ms);
        None
    }

    /// Orders the next member.
    fn order(&mut self, name: &str, purpose: Purpose, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(care) = group.care.as_deref_mut() else {
            return;
        };
        let number = care.free_number();
        let making = Making {
            name: care.image(purpose).name(number),
            number,
            serial: care.ordered,
            purpose,
            domid: None,
            interface: None,
            since_ms: now_ms,
            stage: Stage::Creating,
            of_image: purpose == Purpose::Standby && care.image_is_there(),
            version: care.version + u32::from(purpose == Purpose::Upgrade),
        };
        care.ordered += 1;
        let (member, source) = (&making.name, &care.image(purpose).source);
        let image = if making.of_image { "the image of " } else { "" };
        let detail = format!("{member}, from {image}{source}");
        let action = make(name, group.logger, care, &making);
        group.making = Some(making);
        self.actions.push_back(action);
        self.actions.push_back(Action::Save);
        let group = Some(name.to_owned());
        self.tell(now_ms, EventKind::MemberOrdered, None, group, detail);
    }

    /// After a restart of the supervisor: what was under way is done again, or found done.
    pub(super) fn resume_making(&mut self, now_ms: u64) {
        for name in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.resume_upgrade(&name);
        }
        for (name, group) in &mut self.groups {
            // Whether it is whole is not known; its domain is left over.
            let capturing = |making: &mut Making| making.stage == Stage::Capturing;
            group.making.take_if(capturing);
            let orders = group.orders.iter().map(|order| order.action(group, true));
            self.actions.extend(orders);
            let left = group.left_over().into_iter().map(Action::Destroy);
            self.actions.extend(left);
            let (Some(making), Some(care)) = (&mut group.making, &group.care) else {
                continue;
            };
            match making.stage {
                Stage::Creating => {
                    let action = make(name, group.logger, care, making);
                    self.actions.push_back(action);
                }
                Stage::Joining => making.stage = Stage::Settling { until_ms: now_ms },
                Stage::Booting | Stage::Settling { .. } | Stage::Capturing => {}
            }
        }
    }

    /// The domain is there, or cannot be made.
    pub(super) fn made(
        &mut self,
        name: &str,
        member: &str,
        result: Result<(DomId, String), Error>,
        now_ms: u64,
    ) {
        let expected = self.groups.get_mut(name).filter(|group| {
            let making = group.making.as_ref();
            making.is_some_and(|it| it.name == member && it.stage == Stage::Creating)
        });
        match (expected, result) {
            // The group was ended meanwhile.
            (None, Ok((domid, _))) => self.actions.push_back(Action::Destroy(domid)),
            (None, Err(_)) => {}
            (Some(_), Err(error)) => self.making_failed(name, &error.to_string(), now_ms),
            (Some(group), Ok((domid, interface))) => {
                let Some(making) = &mut group.making else {
                    return;
                };
                making.domid = Some(domid);
                making.interface = Some(interface);
                making.stage = Stage::Booting;
                let (handle, version) = (making.serial, making.version);
                if let Some(care) = group.care.as_deref_mut() {
                    let devid = care.image(making.purpose).devid;
                    care.crew.push(Crew {
                        domid,
                        name: member.to_owned(),
                        number: making.number,
                        version,
                        devid,
                        paused: false,
                        kept: false,
                    });
                    let handle = care.seed.as_u128() ^ u128::from(handle);
                    self.alive.insert(domid, uuid::Uuid::from_u128(handle));
                }
                self.actions.push_back(Action::Save);
            }
        }
    }

    /// The member that is being made has been seen alive.
    pub(super) fn booted(&mut self, name: &str, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let until_ms = now_ms + group.settle_ms();
        if let Some(making) = group.making.as_mut()
            && making.stage == Stage::Booting
        {
            making.stage = Stage::Settling { until_ms };
        }
    }

    fn join(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(making) = &mut group.making else {
            return;
        };
        let (Some(domid), Some(interface)) = (making.domid, making.interface.clone()) else {
            return;
        };
        making.stage = Stage::Joining;
        let (member, logger) = (making.name.clone(), group.logger);
        let care = group.care.as_deref();
        let action = match care {
            Some(care) if !care.in_logger => Action::Serve {
                logger,
                domid,
                spec: Box::new(group.spec(&interface)),
            },
            care => Action::Join {
                group: name.to_owned(),
                logger,
                member: Member {
                    domid,
                    name: member,
                    interface,
                },
                // The only one left is not sent to sleep first.
                pause: group.active.is_some()
                    && making.purpose != Purpose::Upgrade
                    && care.is_some_and(|care| care.plan.mode == StandbyMode::Paused),
            },
        };
        self.actions.push_back(action);
    }

    /// The logger has taken the member, or not.
    pub(super) fn joined(
        &mut self,
        name: &str,
        domid: DomId,
        result: Result<(), Error>,
        now_ms: u64,
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let joining = |making: &&mut Making| making.domid == Some(domid);
        if group.making.as_mut().filter(joining).is_none() {
            return;
        }
        if let Err(error) = result {
            self.making_failed(name, &error.to_string(), now_ms);
            return;
        }
        let Some(making) = group.making.take() else {
            return;
        };
        let member = Member {
            domid,
            name: making.name,
            interface: making.interface.unwrap_or_default(),
        };
        if making.of_image {
            // Not before: it has introduced itself by now, if there is one.
            self.actions.push_back(Action::Refresh(domid));
        }
        let mut detail = member.name.clone();
        let mut first = false;
        if let Some(care) = group.care.as_deref_mut() {
            care.failures = 0;
            if making.of_image {
                care.image_failures = 0;
            }
            first = !care.in_logger;
            let paused = group.active.is_some()
                && making.purpose != Purpose::Upgrade
                && care.plan.mode == StandbyMode::Paused;
            care.in_logger = true;
            if let Some(one) = care.one_mut(domid) {
                one.paused = paused;
            }
        }
        if making.purpose == Purpose::Upgrade {
            detail += " is ready";
            let told = Some(name.to_owned());
            self.tell(now_ms, EventKind::MemberReady, Some(domid), told, detail);
            self.upgrade_ready(name, member, now_ms);
            return;
        }
        if first {
            self.senses.entry(name.to_owned()).or_default().confirmed = true;
            detail += " serves";
            group.active = Some(member);
        } else {
            detail += " stands by";
            group.standbys.push(member);
        }
        let alone = group.active.is_none();
        self.actions.push_back(Action::Save);
        let told = Some(name.to_owned());
        self.tell(now_ms, EventKind::MemberReady, Some(domid), told, detail);
        self.dismiss_older(name, now_ms);
        let suspect = self.senses.get(name).and_then(|it| it.suspect.clone());
        match suspect {
            Some(reason) => self.replace_active(name, &reason, now_ms),
            None if alone => self.replace_active(name, "nobody serves", now_ms),
            None => {}
        }
    }

    /// While standbys are replaced: one of an older version is not needed any more.
    fn dismiss_older(&mut self, name: &str, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(care) = group.care.as_deref_mut().filter(|care| care.renew) else {
            return;
        };
        let is_older = |member: &&Member| {
            let one = care.one(member.domid);
            one.is_none_or(|one| one.version < care.version)
        };
        let mut older = group.standbys.iter().filter(is_older);
        let first = older.next().map(|member| member.domid);
        let last = older.next().is_none();
        care.renew = !last;
        if let Some(domid) = first {
            self.dismiss_standby(name, domid, "it is of the older version", now_ms);
        }
    }

    /// The member that is being made will not be ready.
    pub(super) fn making_failed(&mut self, name: &str, reason: &str, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(making) = group.making.take() else {
            return;
        };
        let detail = format!("{}: {reason}", making.name);
        let mut halted = None;
        let upgrades = making.purpose == Purpose::Upgrade;
        if let Some(care) = group.care.as_deref_mut().filter(|_| !upgrades) {
            care.failures += 1;
            let wait = FIRST_RETRY_MS << (care.failures - 1).min(6);
            care.retry_ms = now_ms + wait;
            if care.failures >= MOST_FAILURES {
                let why = format!(
                    "{} members in a row did not become ready; mend the cause, then `rxl ft apply` again",
                    care.failures
                );
                halted = Some(why);
                care.halted.clone_from(&halted);
            }
        }
        let declared = group.care.is_some();
        if let Some(domid) = making.domid.filter(|_| declared) {
            self.actions.push_back(Action::Destroy(domid));
        }
        self.actions.push_back(Action::Save);
        if making.of_image && making.stage != Stage::Joining {
            self.image_failed(name, now_ms);
        }
        let group = || Some(name.to_owned());
        self.tell(
            now_ms,
            EventKind::MemberFailed,
            making.domid,
            group(),
            detail.clone(),
        );
        if upgrades {
            self.undone(name, &detail, now_ms);
        }
        if let Some(why) = halted {
            self.tell(now_ms, EventKind::StandbysStopped, None, group(), why);
        }
    }

    /// A member that had ended runs again under a new number.
    pub(super) fn returned(&mut self, name: &str, domid: DomId, member: &str, now_ms: u64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        if group.making.is_some() {
            return;
        }
        group.making = Some(Making {
            name: member.to_owned(),
            number: 0,
            serial: 0,
            purpose: Purpose::Return,
            domid: Some(domid),
            interface: None,
            since_ms: now_ms,
            stage: Stage::Booting,
            of_image: false,
            version: 0,
        });
        self.actions.push_back(Action::Save);
    }
}

fn make(group: &str, logger: DomId, care: &Care, making: &Making) -> Action {
    Action::Make {
        group: group.to_owned(),
        logger,
        config: Box::new(care.config(making)),
        of_image: making.of_image,
    }
}
