// SPDX-License-Identifier: GPL-3.0-only
//! What goes wrong in the simulated host, and how.

use super::*;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    ActiveCrashes,
    ActiveVanishes,
    ActiveHangs,
    ActiveStuck,
    StandbyCrashes,
    StandbyHangs,
    StandbyStuck,
    AllCrash,
    NewOneCrashes,
    NewOneNeverBoots,
    CreationFails,
    LoggerRefuses,
    FenceFails,
    SupervisorRestarts,
    CaptureFails,
    ImageIsBad,
    ImageIsGone,
}

pub(super) const FAULTS: [Fault; 17] = [
    Fault::ActiveCrashes,
    Fault::ActiveVanishes,
    Fault::ActiveHangs,
    Fault::ActiveStuck,
    Fault::StandbyCrashes,
    Fault::StandbyHangs,
    Fault::StandbyStuck,
    Fault::AllCrash,
    Fault::NewOneCrashes,
    Fault::NewOneNeverBoots,
    Fault::CreationFails,
    Fault::LoggerRefuses,
    Fault::FenceFails,
    Fault::SupervisorRestarts,
    Fault::CaptureFails,
    Fault::ImageIsBad,
    Fault::ImageIsGone,
];

impl Sim {
    pub(super) fn crash(&mut self, domid: Option<DomId>) {
        if let Some(guest) = domid.and_then(|id| self.guests.get_mut(&id)) {
            guest.shutdown = Some(ShutdownReason::Crash);
            self.released = true;
        }
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        let group = self.group();
        let active = group.active.as_ref().map(|member| member.domid);
        let standby = group.standbys.first().map(|member| member.domid);
        let making = group.making.as_ref().and_then(|making| making.domid);
        let hang = |sim: &mut Self, id: Option<DomId>| {
            if let Some(guest) = id.and_then(|id| sim.guests.get_mut(&id)) {
                guest.hung = true;
            }
        };
        let stick = |sim: &mut Self, id: Option<DomId>| {
            if let Some(guest) = id.and_then(|id| sim.guests.get_mut(&id)) {
                guest.stuck = true;
            }
        };
        match fault {
            Fault::ActiveCrashes => self.crash(active),
            Fault::ActiveVanishes => active.into_iter().for_each(|id| self.remove(id)),
            Fault::ActiveHangs => hang(self, active),
            Fault::StandbyCrashes => self.crash(standby),
            Fault::StandbyHangs => hang(self, standby),
            Fault::ActiveStuck => stick(self, active),
            Fault::StandbyStuck => stick(self, standby),
            Fault::AllCrash => {
                for id in self.guests.keys().copied().collect::<Vec<_>>() {
                    self.crash(Some(id));
                }
            }
            Fault::NewOneCrashes => self.crash(making),
            Fault::NewOneNeverBoots => self.never_boots = true,
            Fault::CreationFails => self.creation_fails = 2,
            Fault::LoggerRefuses => self.logger_refuses = 2,
            Fault::FenceFails => {
                self.fence_fails = 2;
                hang(self, active);
            }
            Fault::CaptureFails => self.capture_fails = 1,
            Fault::ImageIsBad => self.image = self.image.map(|_| false),
            Fault::ImageIsGone => self.image = None,
            Fault::SupervisorRestarts => {
                let saved = self.core.saved();
                let text = serde_json::to_string(&saved).unwrap();
                self.orders = Default::default();
                // The daemon sweeps them when it starts.
                let kept = saved.groups[0].has_image();
                self.image = self.image.filter(|_| kept);
                self.core = Core::new(serde_json::from_str(&text).unwrap(), self.now_ms);
                self.collect();
                // As the watch does when it begins.
                self.released = true;
            }
        }
    }
}
