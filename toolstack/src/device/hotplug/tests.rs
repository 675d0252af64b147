// SPDX-License-Identifier: GPL-3.0-only
//! Plugging with real interfaces and loop devices, and with another domain's daemon played by the store.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::testing::{in_namespace, ip};
use super::super::{nodes, remove_nodes};
use super::*;
use crate::config::DiskBackend;
use crate::hypervisor::GuestKind;
use crate::store::Request;
use crate::store::memory::MemoryStore;

const GUEST: DomId = DomId(5);
/// Longest wait for what comes soon.
const PATIENCE: Duration = Duration::from_secs(10);

fn vif_config() -> VifConfig {
    VifConfig {
        mac: [0, 0x16, 0x3e, 0, 0, 1],
        bridge: Some("xenbr0".into()),
        backend: None,
        ip: None,
        script: None,
        vifname: None,
    }
}

fn with_vif(backend: DomId, config: &VifConfig) -> (MemoryStore, Device) {
    let store = MemoryStore::new();
    store
        .atomic(&nodes::vif(GUEST, backend, 0, config, true))
        .unwrap();
    (store, Device::new(GUEST, Kind::Vif, 0, backend))
}

#[test]
fn vif_goes_onto_its_bridge_and_off_again() {
    if !in_namespace("device::hotplug::tests::vif_goes_onto_its_bridge_and_off_again") {
        return;
    }
    ip("link add xenbr0 mtu 1450 type bridge");
    ip("link add vif5.0 type veth peer name far");
    let config = VifConfig {
        vifname: Some("web0".into()),
        ..vif_config()
    };
    check_vif(&config).unwrap();
    let (store, device) = with_vif(DomId::DOM0, &config);
    plug(&store, DomId::DOM0, &device, &UNINTERRUPTED).unwrap();

    let mut netlink = Netlink::open().unwrap();
    let bridge = netlink.link("xenbr0").unwrap().unwrap();
    let link = netlink.link("web0").unwrap().unwrap();
    assert_eq!(
        (link.master, link.up, link.mtu),
        (Some(bridge.index), true, 1450)
    );
    assert_eq!(link.mac, PORT_MAC);
    let status = "/local/domain/0/backend/vif/5/0/hotplug-status";
    assert_eq!(store.peek(status).as_deref(), Some("connected"));

    unplug(&store, DomId::DOM0, &device).unwrap();
    let link = netlink.link("web0").unwrap().unwrap();
    assert_eq!((link.master, link.up), (None, false));
    ip("link del web0");
    unplug(&store, DomId::DOM0, &device).unwrap();
}

#[test]
fn missing_bridge_is_named_with_the_nearest_one() {
    if !in_namespace("device::hotplug::tests::missing_bridge_is_named_with_the_nearest_one") {
        return;
    }
    let error = check_vif(&vif_config()).unwrap_err();
    assert!(
        error
            .hint
            .unwrap()
            .contains("ip link add xenbr0 type bridge")
    );
    ip("link add xenbr1 type bridge");
    ip("link add lan type bridge");
    ip("link add notone type veth peer name far");
    let error = check_vif(&vif_config()).unwrap_err();
    assert_eq!(
        (error.code, error.object.as_str()),
        (Code::NotFound, "bridge xenbr0")
    );
    assert!(
        error
            .hint
            .as_deref()
            .unwrap()
            .contains("did you mean xenbr1?"),
        "{error}"
    );
    let error = check_vif(&VifConfig {
        bridge: Some("notone".into()),
        ..vif_config()
    })
    .unwrap_err();
    assert!(error.cause.contains("not a bridge"), "{error}");
    // A script may mean something else by it.
    let scripted = VifConfig {
        script: Some("vif-route".into()),
        ..vif_config()
    };
    check_vif(&scripted).unwrap();
}

#[test]
fn group_address_is_no_mac() {
    for mac in [[1, 0, 0, 0, 0, 1], [0; 6]] {
        let error = check_vif(&VifConfig {
            mac,
            ..vif_config()
        })
        .unwrap_err();
        assert_eq!(error.code, Code::Usage);
    }
}

#[test]
fn other_domains_daemon_is_waited_for() {
    let (store, device) = with_vif(DomId(3), &vif_config());
    store.on_change(|path, _| {
        // The daemon has plugged it by the time that the toolstack writes anything else.
        if path.as_str() == "/vm/tick" {
            let status = "/local/domain/3/backend/vif/5/0/hotplug-status";
            return vec![Request::write(XsPath::new(status), "connected")];
        }
        Vec::new()
    });
    store
        .request(Request::write(XsPath::new("/vm/tick"), ""))
        .unwrap();
    plug(&store, DomId::DOM0, &device, &UNINTERRUPTED).unwrap();
    assert_eq!(store.watches(), 0);
}

#[test]
fn silent_driver_domain_is_named_with_what_to_do() {
    let (store, device) = with_vif(DomId(3), &vif_config());
    let error = wait_connected(&store, &device, Instant::now(), &UNINTERRUPTED).unwrap_err();
    assert_eq!((error.code, error.domain), (Code::Timeout, Some(GUEST)));
    assert!(
        error.hint.as_deref().unwrap().contains("rxl-devd"),
        "{error}"
    );
    assert_eq!(store.watches(), 0);
}

#[test]
fn failure_in_the_driver_domain_is_repeated() {
    let (store, device) = with_vif(DomId(3), &vif_config());
    let cause = Error::new(
        Code::System,
        "set up the network interface",
        "vif5.0",
        "no memory",
    );
    report_failure(&store, &device, &cause).unwrap();
    let error = plug(&store, DomId::DOM0, &device, &UNINTERRUPTED).unwrap_err();
    assert!(
        error.cause.contains("domain 3 said: vif5.0: cannot set up"),
        "{error}"
    );
}

/// A disk image that is removed at the end.
struct Image(PathBuf);

impl Image {
    fn new(name: &str, sectors: u64) -> Self {
        let name = format!("rxl-{name}-{}.img", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::File::create(&path)
            .unwrap()
            .set_len(sectors * 512)
            .unwrap();
        Self(path)
    }

    fn disk(&self, writable: bool) -> DiskConfig {
        DiskConfig {
            target: self.0.clone(),
            vdev: "xvda".into(),
            writable,
            backend: DiskBackend::Phy,
            script: None,
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A test that failed half-way leaves its loop device to this.
        for number in 0..256 {
            let _ = loopdev::detach(Path::new(&format!("/dev/loop{number}")), &self.0);
        }
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn file_goes_behind_a_loop_device_until_unplugged() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("needs root, not run");
        return;
    }
    let image = Image::new("plug", 2048);
    let config = image.disk(false);
    check_disk(&config).unwrap();
    let store = MemoryStore::new();
    let requests = nodes::vbd(GUEST, DomId::DOM0, GuestKind::Pv, &config).unwrap();
    store.atomic(&requests).unwrap();
    let device = Device::new(GUEST, Kind::Vbd, 51712, DomId::DOM0);
    plug(&store, DomId::DOM0, &device, &UNINTERRUPTED).unwrap();

    let at = |name: &str| store.peek(&format!("{}/{name}", device.backend_path()));
    let node = PathBuf::from(at("physical-device-path").unwrap());
    assert_eq!(
        loopdev::backing_file(&node).as_deref(),
        Some(image.0.as_path())
    );
    let number = loopdev::block_number(&node).unwrap();
    assert_eq!(
        at("physical-device"),
        Some(format!("{:x}:{:x}", number.major, number.minor))
    );
    assert_eq!(at("hotplug-status").as_deref(), Some("connected"));
    let name = node.file_name().unwrap().to_str().unwrap();
    let read_only = std::fs::read_to_string(format!("/sys/block/{name}/ro")).unwrap();
    assert_eq!(read_only.trim(), "1");

    unplug(&store, DomId::DOM0, &device).unwrap();
    // The kernel takes it down when its last user has closed it (LOOP_CLR_FD): a process that another test is just starting
    // has a copy of the descriptor until it runs its program.
    let begun = Instant::now();
    while loopdev::backing_file(&node).is_some() && begun.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(loopdev::backing_file(&node), None);
    unplug(&store, DomId::DOM0, &device).unwrap();
    remove_nodes(&store, &[device]).unwrap();
}

#[test]
fn loop_device_goes_with_a_process_that_does_not_keep_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("needs root, not run");
        return;
    }
    let image = Image::new("autoclear", 2048);
    let device = loopdev::LoopDevice::attach(&image.0, true).unwrap();
    let node = device.path().to_owned();
    assert_eq!(
        loopdev::backing_file(&node).as_deref(),
        Some(image.0.as_path())
    );
    drop(device);
    assert_eq!(loopdev::backing_file(&node), None);
}

#[test]
fn loop_device_of_another_file_is_left_alone() {
    let detached = loopdev::detach(Path::new("/dev/loop0"), Path::new("/none/such")).unwrap();
    assert!(!detached);
}

#[test]
fn bad_disks_are_refused_before_anything_is_made() {
    let image = Image::new("short", 0);
    let error = check_disk(&image.disk(true)).unwrap_err();
    assert!(error.cause.contains("shorter than one sector"), "{error}");
    let missing = DiskConfig {
        target: "/none/such.img".into(),
        ..image.disk(true)
    };
    let error = check_disk(&missing).unwrap_err();
    assert_eq!(
        (error.code, error.object.as_str()),
        (Code::NotFound, "/none/such.img")
    );
    let directory = DiskConfig {
        target: std::env::temp_dir(),
        ..image.disk(false)
    };
    assert_eq!(check_disk(&directory).unwrap_err().code, Code::Usage);
    let unnamed = DiskConfig {
        vdev: "vda".into(),
        ..image.disk(false)
    };
    assert!(check_disk(&unnamed).unwrap_err().object.contains("vda"));
}
