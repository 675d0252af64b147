// SPDX-License-Identifier: GPL-3.0-only
//! What the operations do when nothing fails, what they cost, and how they refuse.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::{
    CreateOptions, PowerRequest, console_tty, create, destroy, list, power, rename, resolve, sysrq,
    wait_end,
};
use super::World;
use crate::config::TscMode;
use crate::error::Code;
use crate::hypervisor::{GuestKind, Hypervisor, ShutdownReason, Trigger};
use crate::ids::{DomId, KiB};
use crate::store::{Request, Store, StoreExt, XsPath};

#[test]
fn create_without_devices_takes_six_flights_however_many_domains_there_are() {
    let world = World::new();
    for number in 0..5 {
        let before = (world.store.flights(), world.hv.calls());
        world
            .create(&world.config(&format!("web{number}")))
            .unwrap();
        assert_eq!(
            world.store.flights() - before.0,
            6,
            "flights with {number} domains"
        );
        assert_eq!(
            world.hv.calls() - before.1,
            7,
            "hypercalls with {number} domains"
        );
    }
}

#[test]
fn destroy_without_devices_but_the_console_takes_fifteen_flights() {
    let world = World::new();
    let id = world.create(&world.config("web")).unwrap();
    let before = (world.store.flights(), world.hv.calls());
    destroy(&world.host(), id).unwrap();
    assert_eq!(world.store.flights() - before.0, 15);
    // Look at it, look again before the blow, the blow, look whether it is gone.
    assert_eq!(world.hv.calls() - before.1, 4);
}

#[test]
fn created_domain_runs_and_has_the_nodes_that_xl_reads() {
    let world = World::new();
    let config = world.full_config("web");
    let id = world.create(&config).unwrap();
    assert!(!world.hv.domain(id).unwrap().unwrap().state.paused);
    let vm = format!("/vm/{}", config.uuid);
    let expected = [
        ("/local/domain/1/name", "web"),
        ("/local/domain/1/vm", vm.as_str()),
        ("/local/domain/1/domid", "1"),
        ("/local/domain/1/memory/static-max", "131072"),
        ("/local/domain/1/memory/target", "131072"),
        ("/local/domain/1/cpu/0/availability", "online"),
        ("/local/domain/1/cpu/1/availability", "offline"),
        ("/local/domain/1/store/port", "1"),
        ("/local/domain/1/console/port", "2"),
        ("/local/domain/1/console/type", "xenconsoled"),
        ("/libxl/1/type", "pvh"),
        ("/libxl/1/dm-version", "qemu_xen"),
        (
            "/libxl/1/device/vif/0/backend",
            "/local/domain/0/backend/vif/1/0",
        ),
        (
            "/local/domain/0/backend/vbd/1/51712/hotplug-status",
            "connected",
        ),
    ];
    for (path, value) in expected {
        assert_eq!(world.store.peek(path).as_deref(), Some(value), "{path}");
    }
    assert_eq!(world.store.introduced(), [id]);
    let dump = world.store.dump();
    let permissions = [
        r#"/local/domain/1 = "" (n0,r1)"#,
        r#"/local/domain/1/control/shutdown = "" (n1)"#,
        r#"/local/domain/1/data = "" (n1)"#,
        r#"/libxl/1 = "" (n0)"#,
    ];
    for line in permissions {
        assert!(dump.iter().any(|other| other == line), "{line}");
    }
}

#[test]
fn create_then_destroy_leaves_no_trace() {
    let world = World::new();
    let before = world.snapshot();
    let id = world.create(&world.full_config("web")).unwrap();
    assert_ne!(world.snapshot(), before);
    destroy(&world.host(), id).unwrap();
    assert_eq!(world.snapshot(), before);
}

#[test]
fn driver_domain_may_keep_state_and_its_own_interface_copies() {
    let world = World::new();
    let mut config = world.full_config("logger");
    config.driver_domain = true;
    world.create(&config).unwrap();
    assert_eq!(
        world.store.peek("/local/domain/1/libxl").as_deref(),
        Some("")
    );
    let trusted = world.store.peek("/local/domain/1/device/vif/0/trusted");
    assert_eq!(trusted.as_deref(), Some("0"));
}

#[test]
fn vif_of_a_driver_domain_is_written_below_that_domain() {
    let world = World::new();
    world.create(&world.config("logger")).unwrap();
    let mut config = world.full_config("web");
    config.vifs[0].backend = Some("logger".into());
    world.create(&config).unwrap();
    let online = world.store.peek("/local/domain/1/backend/vif/2/0/online");
    assert_eq!(online.as_deref(), Some("1"));
}

/// What `create` says of a changed configuration; the world must stay as it was.
fn refusal(world: &World, change: impl FnOnce(&mut crate::config::DomainConfig)) -> (Code, String) {
    let mut config = world.full_config("new");
    change(&mut config);
    let before = world.snapshot();
    let error = world.create(&config).unwrap_err();
    assert_eq!(world.snapshot(), before);
    assert!(error.hint.is_some(), "no hint: {error}");
    (error.code, error.object)
}

#[test]
fn bad_input_names_its_object_and_leaves_no_trace() {
    let world = World::new();
    let taken = world.config("taken");
    world.create(&taken).unwrap();
    let down = world.create(&world.config("down")).unwrap();
    world.hv.end(down, ShutdownReason::Crash).unwrap();
    let uuid = taken.uuid;
    let gone = world.directory.join("gone");

    let named = refusal(&world, |config| config.name = "taken".into());
    assert_eq!(named, (Code::Exists, "taken".into()));
    let handle = refusal(&world, |config| config.uuid = uuid);
    assert_eq!(handle, (Code::Exists, "new".into()));
    let kernel = refusal(&world, |config| config.kernel.clone_from(&gone));
    assert_eq!(kernel, (Code::NotFound, gone.display().to_string()));
    let memory = refusal(&world, |config| config.memory = KiB::from_mib(8192));
    assert_eq!(memory, (Code::Resources, "new".into()));
    let hvm = refusal(&world, |config| config.kind = GuestKind::Hvm);
    assert_eq!(hvm, (Code::Usage, "new".into()));
    let missing = refusal(&world, |config| {
        config.vifs[0].backend = Some("take".into());
    });
    assert_eq!(missing, (Code::NotFound, "take".into()));
    let dead = refusal(&world, |config| {
        config.vifs[0].backend = Some("down".into());
    });
    assert_eq!(dead, (Code::State, "down".into()));
}

#[test]
fn interrupted_create_stops_at_the_next_step_and_leaves_no_trace() {
    let world = World::new();
    let before = world.snapshot();
    for stop_at in [
        "checking",
        "naming",
        "building",
        "plugging devices",
        "starting",
    ] {
        let cancel = AtomicBool::new(false);
        // The operator's signal comes while the step before is under way.
        let steps = [
            "checking",
            "naming",
            "building",
            "plugging devices",
            "starting",
        ];
        let at = steps.iter().position(|step| *step == stop_at).unwrap();
        cancel.store(at == 0, Ordering::Relaxed);
        let progress = |step: &str| {
            cancel.store(at > 0 && step == steps[at - 1], Ordering::Relaxed);
        };
        let options = CreateOptions {
            paused: false,
            cancel: &cancel,
            progress: Some(&progress),
            image: None,
        };
        let error = create(&world.host(), &world.full_config("web"), &options).unwrap_err();
        assert_eq!(error.code, Code::Interrupted, "at {stop_at}");
        assert_eq!(world.snapshot(), before, "at {stop_at}");
    }
}

#[test]
fn names_resolve_by_name_by_number_and_suggest_the_nearest() {
    let world = World::new();
    let id = world.create(&world.config("web")).unwrap();
    let host = world.host();
    assert_eq!(resolve(&host, "web").unwrap(), (id, "web".into()));
    assert_eq!(resolve(&host, "1").unwrap(), (id, "web".into()));
    assert_eq!(
        resolve(&host, "wbe").unwrap_err().hint.unwrap(),
        "the nearest name is \"web\""
    );
    assert_eq!(resolve(&host, "77").unwrap_err().code, Code::NotFound);
    rename(&host, id, "www").unwrap();
    assert_eq!(resolve(&host, "www").unwrap().0, id);
    assert_eq!(
        rename(&host, id, "Domain-0").unwrap_err().code,
        Code::Exists
    );
}

#[test]
fn list_takes_one_call_and_one_flight() {
    let world = World::new();
    for number in 0..3 {
        world
            .create(&world.config(&format!("web{number}")))
            .unwrap();
    }
    let before = (world.store.flights(), world.hv.calls());
    let all = list(&world.host()).unwrap();
    assert_eq!(
        (
            world.store.flights() - before.0,
            world.hv.calls() - before.1
        ),
        (1, 1)
    );
    let names: Vec<_> = all.iter().map(|domain| domain.name.as_deref()).collect();
    assert_eq!(
        names,
        [Some("Domain-0"), Some("web0"), Some("web1"), Some("web2")]
    );
    assert_eq!(all[3].kind, Some(GuestKind::Pvh));
}

#[test]
fn power_writes_the_request_and_force_presses_the_button_of_a_deaf_guest() {
    let world = World::new();
    let id = world.create(&world.config("web")).unwrap();
    let host = world.host();
    power(&host, id, PowerRequest::Reboot, false).unwrap();
    let request = world.store.peek("/local/domain/1/control/shutdown");
    assert_eq!(request.as_deref(), Some("reboot"));
    power(&host, id, PowerRequest::Poweroff, true).unwrap();
    assert_eq!(world.hv.triggers(id).unwrap(), [(Trigger::Power, 0)]);
    world.hv.end(id, ShutdownReason::Poweroff).unwrap();
    assert_eq!(
        power(&host, id, PowerRequest::Poweroff, false)
            .unwrap_err()
            .code,
        Code::State
    );
}

#[test]
fn sysrq_writes_one_key_and_refuses_others() {
    let world = World::new();
    let id = world.create(&world.config("web")).unwrap();
    sysrq(&world.host(), id, 'c').unwrap();
    assert_eq!(
        world.store.peek("/local/domain/1/control/sysrq").as_deref(),
        Some("c")
    );
    assert_eq!(sysrq(&world.host(), id, '/').unwrap_err().code, Code::Usage);
}

#[test]
fn wait_end_returns_on_the_event_and_names_who_still_runs_at_the_deadline() {
    let world = World::new();
    let id = world.create(&world.config("web")).unwrap();
    let error = wait_end(&world.host(), &[id], Some(Instant::now())).unwrap_err();
    assert_eq!(
        (error.code, error.object),
        (Code::Timeout, "domain 1".into())
    );
    world.hv.end(id, ShutdownReason::Poweroff).unwrap();
    world.store.fire_release();
    wait_end(&world.host(), &[id], None).unwrap();
    assert_eq!(world.store.watches(), 0);
}

#[test]
fn console_tty_waits_for_xenconsoled() {
    let world = World::new();
    let id = world.create(&world.config("web")).unwrap();
    let xenconsoled = world.store.connect(DomId::DOM0);
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || {
            let tty = XsPath::domain(id).join("console/tty");
            xenconsoled
                .request(Request::write(tty, "/dev/pts/3"))
                .unwrap();
        });
        let deadline = Instant::now() + Duration::from_secs(5);
        let tty = console_tty(&world.host(), id).unwrap();
        assert_eq!(tty.to_str(), Some("/dev/pts/3"));
        assert!(Instant::now() < deadline);
        asked.join().unwrap();
    });
}

#[test]
fn configuration_for_xl_is_json_with_a_terminator() {
    let world = World::new();
    let mut config = world.full_config("web");
    config.tsc_mode = TscMode::AlwaysEmulate;
    world.create(&config).unwrap();
    let path = world
        .directory
        .join(format!("userdata/userdata-d.1.{}.libxl-json", config.uuid));
    let bytes = std::fs::read(path).unwrap();
    let (end, text) = bytes.split_last().unwrap();
    assert_eq!(*end, 0);
    let json: serde_json::Value = serde_json::from_slice(text).unwrap();
    assert_eq!(json["c_info"]["type"], "pvh");
    assert_eq!(json["b_info"]["tsc_mode"], "always_emulate");
    assert_eq!(json["b_info"]["type.pvh"], serde_json::json!({}));
    assert_eq!(json["nics"][0]["mac"], "00:16:3e:00:00:01");
    assert_eq!(json["disks"][0]["vdev"], "xvda");
}
