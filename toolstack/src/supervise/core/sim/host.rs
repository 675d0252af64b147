// SPDX-License-Identifier: GPL-3.0-only
//! What host and logger do when they are asked.

use super::*;

impl Sim {
    /// As the logger does it, and as the worker does that asks it.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), Error> {
        if self.logger_refuses > 0 {
            self.logger_refuses -= 1;
            return Err(Self::refusal("it does not want to"));
        }
        let logged = self.logged.as_mut().expect("the group is there");
        let interface_of = |id: DomId| member(id, "").interface;
        match change {
            Change::Begin { interface, .. } => {
                if logged.moving.is_some() && interface_of(logged.active) == *interface {
                    return Ok(());
                }
                let mut standbys = logged.standbys.iter();
                let Some(place) = standbys.position(|id| interface_of(*id) == *interface) else {
                    return Err(Self::refusal("no such standby"));
                };
                let new = logged.standbys.remove(place);
                let old = std::mem::replace(&mut logged.active, new);
                logged.standbys.insert(0, old);
                logged.moving = Some((false, 5));
            }
            Change::Back => match &mut logged.moving {
                Some((false, _)) => {
                    std::mem::swap(&mut logged.active, &mut logged.standbys[0]);
                    logged.moving = Some((true, 5));
                }
                Some((true, _)) => {}
                None => return Err(Self::refusal("nothing to roll back")),
            },
            Change::Finish { .. } => {
                if logged.moving.take().is_some() {
                    logged.standbys.remove(0);
                }
            }
            Change::Died { interface, .. } => {
                logged.standbys.retain(|id| interface_of(*id) != *interface);
                logged.moving = None;
            }
        }
        Ok(())
    }

    pub(super) fn make(
        &mut self,
        config: &DomainConfig,
        of_image: bool,
    ) -> Result<(DomId, String), Error> {
        if let Some((id, _)) = self
            .guests
            .iter()
            .find(|(_, guest)| guest.uuid == config.uuid)
        {
            return Ok((*id, member(*id, "").interface));
        }
        if self.creation_fails > 0 {
            self.creation_fails -= 1;
            return Err(Self::refusal("no memory"));
        }
        if of_image && self.image.is_none() {
            return Err(Self::refusal("no such image"));
        }
        assert!(
            !of_image || self.image_of == config.memory,
            "{} is made of another one's image",
            config.name
        );
        assert!(
            self.guests.values().all(|guest| guest.name != config.name),
            "{} is there",
            config.name
        );
        let id = DomId(self.next_id);
        self.next_id += 1;
        let guest = Guest {
            name: config.name.clone(),
            uuid: config.uuid,
            born_ms: self.now_ms,
            pauses: 0,
            shutdown: None,
            hung: of_image && self.image == Some(false),
            beat: 0,
            stuck: false,
            progress: 0,
            copied: of_image,
            memory: config.memory,
        };
        self.guests.insert(id, guest);
        Ok((id, member(id, "").interface))
    }

    pub(super) fn capture(&mut self, group: String, domid: DomId) {
        let guest = self.guests.get_mut(&domid);
        let result = match guest.filter(|guest| guest.runs()) {
            None => Err(Self::refusal("it does not suspend itself")),
            Some(guest) => {
                guest.shutdown = Some(ShutdownReason::Suspend);
                self.released = true;
                if self.capture_fails > 0 {
                    self.capture_fails -= 1;
                    Err(Self::refusal("no room"))
                } else {
                    self.image = Some(true);
                    self.image_of = guest.memory;
                    self.remove(domid);
                    Ok(200 << 20)
                }
            }
        };
        self.give(Input::Captured {
            group,
            domid,
            result,
        });
    }

    pub(super) fn told(&mut self, what: impl FnOnce(&mut Self)) -> Result<(), Error> {
        if self.logger_refuses > 0 {
            self.logger_refuses -= 1;
            return Err(Self::refusal("it does not want to"));
        }
        what(self);
        Ok(())
    }

    pub(super) fn ask(&mut self) -> Result<Silence, Error> {
        let logged = self
            .logged
            .as_mut()
            .ok_or_else(|| Self::refusal("no group"))?;
        let active = self.guests.get(&logged.active);
        if active.is_some_and(Guest::runs) {
            (logged.heard_ms, logged.asked) = (self.now_ms, 0);
        }
        if active.is_some_and(|guest| guest.runs() && !guest.stuck) {
            logged.answered_ms = self.now_ms;
        }
        logged.asked += 1;
        Ok(Silence {
            heard_ms: self.now_ms - logged.heard_ms,
            asked: logged.asked,
            owed_ms: self.now_ms - logged.answered_ms,
        })
    }

    pub(super) fn fail_over(&mut self, group: String, fence: Option<DomId>, wake: Option<DomId>) {
        if let Some(guest) = fence.and_then(|id| self.guests.get_mut(&id)) {
            if self.fence_fails > 0 {
                self.fence_fails -= 1;
                let error = Self::refusal("Xen says no");
                self.give(Input::Unfenced { group, error });
                return;
            }
            guest.pauses += 1;
        }
        if let Some(guest) = wake.and_then(|id| self.guests.get_mut(&id)) {
            guest.pauses = guest.pauses.saturating_sub(1);
        }
        let logged = self.logged.as_mut().expect("the group is there");
        let result = if logged.standbys.is_empty() {
            Err(Self::refusal("no standby"))
        } else {
            let old = logged.active;
            if let Some(guest) = self.guests.get(&old) {
                assert!(!guest.may_speak(), "{old:?} may still speak: {guest:?}");
            }
            logged.active = logged.standbys.remove(0);
            logged.moving = None;
            (logged.heard_ms, logged.asked) = (self.now_ms, 0);
            logged.answered_ms = self.now_ms;
            self.failovers += 1;
            Ok(())
        };
        self.give(Input::Relayed { group, result });
    }

    pub(super) fn remove(&mut self, domid: DomId) {
        self.guests.remove(&domid);
        if let Some(logged) = &mut self.logged {
            // One that is being left stays until the logger is told.
            let left = usize::from(logged.moving.is_some());
            let first = logged.standbys.first().copied().filter(|_| left > 0);
            logged
                .standbys
                .retain(|id| *id != domid || Some(*id) == first);
        }
        self.released = true;
    }
}
