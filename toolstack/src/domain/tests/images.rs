// SPDX-License-Identifier: GPL-3.0-only
//! A domain becomes an image, and others are made of it: what that leaves, and a failure at every step.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{CreateOptions, capture, create, destroy, recover};
use super::faults::{Point, cost, points};
use super::{World, files};
use crate::error::{Code, Result};
use crate::hypervisor::{Hypervisor, ShutdownReason};
use crate::ids::{DomId, KiB};
use crate::store::{Request, StoreExt, XsPath};

fn later() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

impl World {
    /// The domain is there and has not ended, nor suspended itself.
    fn goes_on(&self, id: DomId) -> bool {
        let info = self.hv.domain(id).unwrap().unwrap();
        info.state.shutdown.is_none()
    }

    fn image(&self) -> PathBuf {
        self.directory.join("images/www.image")
    }

    /// A domain whose kernel can suspend itself, and ends in this way when it is asked to.
    fn sleeper(&self, end: ShutdownReason) -> DomId {
        let id = self.create(&self.full_config("web")).unwrap();
        let feature = XsPath::domain(id).join("control/feature-suspend");
        self.store.request(Request::write(feature, "1")).unwrap();
        let (hv, request) = (
            Arc::clone(&self.hv),
            XsPath::domain(id).join("control/shutdown"),
        );
        self.store.on_change(move |path, value| {
            if *path != request || value != Some(b"suspend") {
                return Vec::new();
            }
            hv.end(id, end).unwrap();
            // As Linux does before it acts upon it.
            vec![Request::write(request.clone(), "")]
        });
        id
    }

    fn capture(&self, id: DomId) -> Result<u64> {
        capture(&self.host(), id, &self.image(), later())
    }

    fn create_of_image(&self, name: &str) -> Result<DomId> {
        let cancel = std::sync::atomic::AtomicBool::new(false);
        let image = self.image();
        let options = CreateOptions {
            paused: false,
            cancel: &cancel,
            progress: None,
            image: Some(&image),
        };
        create(&self.host(), &self.full_config(name), &options)
    }

    /// What is in the directory of images.
    fn images(&self) -> Vec<PathBuf> {
        let directory = self.directory.join("images");
        if directory.exists() {
            files(&directory)
        } else {
            Vec::new()
        }
    }
}

#[test]
fn domain_becomes_an_image_of_which_others_are_made_without_a_kernel() {
    let world = World::new();
    let id = world.sleeper(ShutdownReason::Suspend);
    let bytes = world.capture(id).unwrap();
    let image = world.image();
    assert_eq!(world.images(), std::slice::from_ref(&image));
    let there = fs::metadata(&image).unwrap();
    assert_eq!(
        (there.len(), there.permissions().mode() & 0o777),
        (bytes, 0o600)
    );
    destroy(&world.host(), id).unwrap();
    let before = world.snapshot();
    fs::remove_file(world.directory.join("kernel")).unwrap();
    let both = ["one", "two"].map(|name| world.create_of_image(name).unwrap());
    for (id, name) in both.into_iter().zip(["one", "two"]) {
        let info = world.hv.domain(id).unwrap().unwrap();
        assert_eq!(
            (info.memory, info.state.paused),
            (KiB::from_mib(128), false)
        );
        let path = format!("/local/domain/{id}/name");
        assert_eq!(world.store.peek(&path).as_deref(), Some(name));
        destroy(&world.host(), id).unwrap();
    }
    assert_eq!(world.snapshot(), before);
}

#[test]
fn guest_that_does_not_suspend_itself_is_no_longer_asked_to_and_leaves_no_image() {
    let world = World::new();
    let id = world.create(&world.config("web")).unwrap();
    let refused = world.capture(id).unwrap_err();
    assert_eq!(refused.code, Code::State);
    assert!(
        refused.cause.contains("control/feature-suspend"),
        "{refused}"
    );

    let control = XsPath::domain(id).join("control");
    let feature = Request::write(control.join("feature-suspend"), "1");
    world.store.request(feature).unwrap();
    let refused = capture(&world.host(), id, &world.image(), Instant::now()).unwrap_err();
    assert_eq!((refused.code, refused.domain), (Code::Timeout, Some(id)));
    let request = world.store.read_text(&control.join("shutdown")).unwrap();
    assert_eq!(request.as_deref(), Some(""));
    assert!(world.goes_on(id));

    let other = World::new();
    let id = other.sleeper(ShutdownReason::Poweroff);
    let refused = other.capture(id).unwrap_err();
    assert_eq!(refused.code, Code::State);
    assert!(refused.cause.contains("Poweroff"), "{refused}");
    assert_eq!(other.capture(id).unwrap_err().cause, "it has ended");
    assert_eq!(world.images().len() + other.images().len(), 0);
}

#[test]
fn image_that_is_missing_or_damaged_makes_no_domain() {
    let world = World::new();
    let before = world.snapshot();
    let missing = world.create_of_image("one").unwrap_err();
    assert_eq!(missing.code, Code::NotFound);
    assert_eq!(missing.object, world.image().display().to_string());
    fs::create_dir(world.directory.join("images")).unwrap();
    fs::write(world.image(), "simulated 13").unwrap();
    let damaged = world.create_of_image("one").unwrap_err();
    assert!(damaged.cause.contains("damaged"), "{damaged}");
    assert_eq!(damaged.leftovers, Vec::<String>::new());
    assert_eq!(world.snapshot(), before);
}

/// Breaks what is at this point.
fn strike(world: &World, point: Point) {
    match point {
        Point::Hypercall(call) => world.hv.fail_call(call),
        Point::Flight(flight, how) => world.store.fail_at(flight, how.fault()),
    }
}

#[test]
fn capture_that_fails_at_any_point_leaves_no_part_of_an_image() {
    let made = cost(|world| {
        world.sleeper(ShutdownReason::Suspend);
    });
    let done = cost(|world| {
        let id = world.sleeper(ShutdownReason::Suspend);
        world.capture(id).unwrap();
    });
    let points = points(made, done);
    assert!(points.len() > 10, "{points:?}");
    for point in points {
        let world = World::new();
        let id = world.sleeper(ShutdownReason::Suspend);
        strike(&world, point);
        let error = world.capture(id).expect_err("the fault was not met");
        assert!(!error.cause.is_empty(), "{point:?}: {error}");
        assert_eq!(world.images(), Vec::<PathBuf>::new(), "{point:?}");
        world.hv.mend();
        world.store.mend();
        destroy(&world.host(), id).unwrap_or_else(|error| panic!("{point:?}: {error}"));
    }
}

#[test]
fn create_of_an_image_that_fails_at_any_point_leaves_no_trace() {
    let imaged = |world: &World| {
        let id = world.sleeper(ShutdownReason::Suspend);
        world.capture(id).unwrap();
        destroy(&world.host(), id).unwrap();
    };
    let before = cost(imaged);
    let after = cost(|world| {
        imaged(world);
        world.create_of_image("one").unwrap();
    });
    for point in points(before, after) {
        let world = World::new();
        imaged(&world);
        let before = world.snapshot();
        strike(&world, point);
        let error = world
            .create_of_image("one")
            .expect_err("the fault was not met");
        assert!(!error.object.is_empty(), "{point:?}: {error}");
        world.hv.mend();
        world.store.mend();
        recover(&world.host()).unwrap();
        assert_eq!(world.snapshot(), before, "{point:?}");
        world
            .create_of_image("one")
            .unwrap_or_else(|error| panic!("{point:?}, again: {error}"));
    }
}

#[test]
fn directory_that_somebody_else_may_write_to_is_not_used() {
    let world = World::new();
    let id = world.sleeper(ShutdownReason::Suspend);
    let directory = world.directory.join("images");
    let elsewhere = world.directory.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("www.image"), "simulated 131072").unwrap();
    let refused = || {
        let codes = [
            world.capture(id).unwrap_err().code,
            world.create_of_image("one").unwrap_err().code,
        ];
        assert_eq!(codes, [Code::Denied; 2]);
    };
    std::os::unix::fs::symlink(&elsewhere, &directory).unwrap();
    refused();
    fs::remove_file(&directory).unwrap();
    fs::rename(&elsewhere, &directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    refused();
    assert!(world.goes_on(id));
}
