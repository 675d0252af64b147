// SPDX-License-Identifier: GPL-3.0-only
//! Standbys out of an image in Dom0's memory (`mode = "prebuilt"`): the first one boots, is suspended when it is ready, and
//! becomes the image; it and all later ones are made of that, in the time that it takes to copy memory.
//!
//! An image that cannot be taken, or of which no member becomes ready, is made anew; after a second one, standbys boot.

use super::Core;
use super::types::Action;
use crate::error::Error;
use crate::ids::DomId;
use crate::supervise::care::{Care, Making, Prebuilt, Purpose, Stage};
use crate::supervise::plan::StandbyMode;
use crate::supervise::proto::{EventKind, GroupState};

/// After so many images in a row that came to nothing, standbys boot.
const MOST_FAILURES: u32 = 2;

impl Care {
    /// Whether the next standby is made of the image.
    pub(super) fn image_is_there(&self) -> bool {
        let fits = |it: &Prebuilt| it.of == *self.plan.standby_image();
        self.plan.mode == StandbyMode::Prebuilt && self.prebuilt.as_ref().is_some_and(fits)
    }

    /// Whether a standby that has booted is to become the image.
    fn image_is_wanted(&self) -> bool {
        let wanted = self.plan.mode == StandbyMode::Prebuilt && !self.image_is_there();
        wanted && self.image_failures < MOST_FAILURES
    }

    /// Whether a member was made from what standbys are made from now; another one is not the image of those to come.
    fn is_up_to_date(&self, domid: DomId) -> bool {
        let one = self.one(domid);
        one.is_some_and(|one| one.version == self.version)
    }

    /// An image came to nothing. Says what follows.
    fn count_image_failure(&mut self) -> &'static str {
        self.prebuilt = None;
        self.image_failures += 1;
        if self.image_failures < MOST_FAILURES {
            "another one is made"
        } else {
            "from now on standbys boot; mend the cause, then `rxl ft apply` again"
        }
    }

    /// The plan has been given anew. Whether there is an image that nobody needs any more.
    pub(super) fn review_image(&mut self) -> bool {
        self.image_failures = 0;
        let keep = self.image_is_there();
        self.prebuilt.take_if(|_| !keep).is_some()
    }
}

impl GroupState {
    /// Whether there is an image that its standbys are made of.
    pub(in crate::supervise) fn has_image(&self) -> bool {
        self.care.as_deref().is_some_and(Care::image_is_there)
    }
}

impl Core {
    /// Has the standby that has just become ready turned into the image, if the group lacks one. The only member left is
    /// needed as it is.
    pub(super) fn capture(&mut self, name: &str) -> bool {
        let Some(group) = self.groups.get_mut(name) else {
            return false;
        };
        let (Some(making), Some(care)) = (&mut group.making, &group.care) else {
            return false;
        };
        let Some(domid) = making.domid.filter(|&domid| {
            let standby = making.purpose == Purpose::Standby && !making.of_image;
            let fits = care.image_is_wanted() && care.is_up_to_date(domid);
            standby && group.active.is_some() && fits
        }) else {
            return false;
        };
        making.stage = Stage::Capturing;
        let group = name.to_owned();
        self.actions.push_back(Action::Capture { group, domid });
        self.actions.push_back(Action::Save);
        true
    }

    /// The domain has become an image and is gone, or it could not.
    pub(super) fn captured(
        &mut self,
        name: &str,
        domid: DomId,
        result: Result<u64, Error>,
        now_ms: u64,
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let captured =
            |making: &&Making| making.domid == Some(domid) && making.stage == Stage::Capturing;
        let Some(member) = group.making.as_ref().filter(captured) else {
            return;
        };
        let member = member.name.clone();
        group.making = None;
        let Some(care) = group.care.as_deref_mut() else {
            return;
        };
        // The group file may have been applied anew meanwhile.
        let fits = care.image_is_wanted() && care.is_up_to_date(domid);
        if result.is_ok() {
            care.last_gone = care.one(domid).map(|one| one.number);
            care.crew.retain(|one| one.domid != domid);
        }
        let (kind, detail) = match result {
            Ok(_) if !fits => {
                self.actions.push_back(Action::DropImage(name.to_owned()));
                let detail = format!("{member}: standbys are now made from something else");
                (EventKind::ImageFailed, detail)
            }
            Ok(bytes) => {
                let of = care.plan.standby_image().clone();
                care.prebuilt = Some(Prebuilt { of, bytes });
                let mib = bytes.div_ceil(1024 * 1024);
                let detail = format!("{member}: {mib} MiB, of which standbys are made from now on");
                (EventKind::ImageMade, detail)
            }
            Err(error) => {
                let next = care.count_image_failure();
                self.actions.push_back(Action::Destroy(domid));
                let detail = format!("{member}: {error}; {next}");
                (EventKind::ImageFailed, detail)
            }
        };
        self.actions.push_back(Action::Save);
        self.tell(now_ms, kind, Some(domid), Some(name.to_owned()), detail);
    }

    /// A standby that was made of the image did not become ready: the image is not used again.
    pub(super) fn image_failed(&mut self, name: &str, now_ms: u64) {
        let Some(care) = self.care_mut(name) else {
            return;
        };
        let detail = format!(
            "no standby could be made of it; {}",
            care.count_image_failure()
        );
        let group = name.to_owned();
        self.actions.push_back(Action::DropImage(group.clone()));
        self.tell(now_ms, EventKind::ImageFailed, None, Some(group), detail);
    }
}
