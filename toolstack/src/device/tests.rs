// SPDX-License-Identifier: GPL-3.0-only
//! The nodes are those of libxl, and go without a trace.

use std::path::PathBuf;

use super::{Device, Kind, nodes, of_domain, remove_nodes};
use crate::config::{DiskBackend, DiskConfig, VifConfig};
use crate::hypervisor::GuestKind;
use crate::ids::{DomId, Gfn, Port};
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreExt};

const GUEST: DomId = DomId(5);
const LOGGER: DomId = DomId(3);

fn vif_config() -> VifConfig {
    VifConfig {
        mac: [0, 0x16, 0x3e, 1, 2, 0xff],
        bridge: Some("xenbr0".into()),
        backend: None,
        ip: None,
        script: None,
        vifname: None,
    }
}

fn disk_config() -> DiskConfig {
    DiskConfig {
        target: PathBuf::from("/srv/web.img"),
        vdev: "xvda1".into(),
        writable: false,
        backend: DiskBackend::Phy,
        script: None,
    }
}

fn plugged() -> MemoryStore {
    let store = MemoryStore::new();
    let mut requests = nodes::console(GUEST, DomId::DOM0, Port(2), Gfn(0xfefff));
    requests.extend(nodes::vif(GUEST, LOGGER, 0, &vif_config(), true));
    requests.extend(nodes::vbd(GUEST, DomId::DOM0, GuestKind::Pv, &disk_config()).unwrap());
    store.atomic(&requests).unwrap();
    store
}

#[test]
fn all_devices_take_one_transaction_of_three_flights() {
    assert_eq!(plugged().flights(), 3);
}

#[test]
fn vif_nodes_and_permissions_are_those_of_libxl() {
    let store = plugged();
    let dump = store.dump();
    let expected = [
        r#"/libxl/5/device/vif/0/backend = "/local/domain/3/backend/vif/5/0" (n0)"#,
        r#"/libxl/5/device/vif/0/frontend = "/local/domain/5/device/vif/0" (n0)"#,
        r#"/libxl/5/device/vif/0/mac = "00:16:3e:01:02:ff" (n0)"#,
        r#"/local/domain/3/backend/vif/5/0 = "" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/bridge = "xenbr0" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/frontend = "/local/domain/5/device/vif/0" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/frontend-id = "5" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/handle = "0" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/hotplug-status = "" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/online = "1" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/script = "/etc/xen/scripts/vif-bridge" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/state = "1" (n3,r5)"#,
        r#"/local/domain/3/backend/vif/5/0/type = "vif" (n3,r5)"#,
        r#"/local/domain/5/device/vif/0 = "" (n5,r3)"#,
        r#"/local/domain/5/device/vif/0/backend = "/local/domain/3/backend/vif/5/0" (n5,r3)"#,
        r#"/local/domain/5/device/vif/0/backend-id = "3" (n5,r3)"#,
        r#"/local/domain/5/device/vif/0/handle = "0" (n5,r3)"#,
        r#"/local/domain/5/device/vif/0/mac = "00:16:3e:01:02:ff" (n5,r3)"#,
        r#"/local/domain/5/device/vif/0/mtu = "1492" (n3,r5)"#,
        r#"/local/domain/5/device/vif/0/state = "1" (n5,r3)"#,
        r#"/local/domain/5/device/vif/0/trusted = "1" (n5,r3)"#,
    ];
    for line in expected {
        assert!(
            dump.iter().any(|l| l == line),
            "{line} is not in\n{}",
            dump.join("\n")
        );
    }
}

#[test]
fn console_directory_is_not_the_guests_to_write() {
    let store = plugged();
    let dump = store.dump();
    let expected = [
        r#"/local/domain/5/console = "" (n0,r5)"#,
        r#"/local/domain/5/console/backend-id = "0" (n5,r0)"#,
        r#"/local/domain/5/console/ring-ref = "1044479" (n0,r5)"#,
        r#"/local/domain/5/console/type = "xenconsoled" (n0,r5)"#,
        r#"/local/domain/0/backend/console/5/0/protocol = "vt100" (n0,r5)"#,
    ];
    for line in expected {
        assert!(
            dump.iter().any(|l| l == line),
            "{line} is not in\n{}",
            dump.join("\n")
        );
    }
}

#[test]
fn vbd_nodes_name_disk_mode_and_number() {
    let store = plugged();
    let back = "/local/domain/0/backend/vbd/5/51713";
    let at = |name: &str| store.peek(&format!("{back}/{name}")).unwrap();
    assert_eq!(at("params"), "/srv/web.img");
    assert_eq!(at("mode"), "r");
    assert_eq!(at("discard-enable"), "0");
    let front = "/local/domain/5/device/vbd/51713";
    assert_eq!(
        store.peek(&format!("{front}/virtual-device")).as_deref(),
        Some("51713")
    );
    assert_eq!(
        store.peek(&format!("{front}/protocol")).as_deref(),
        Some("x86_64-abi")
    );
}

#[test]
fn stale_nodes_of_a_former_domain_do_not_survive() {
    let store = MemoryStore::new();
    let stale = "/local/domain/3/backend/vif/5/0/feature-old";
    store
        .request(crate::store::Request::write(
            crate::store::XsPath::new(stale),
            "1",
        ))
        .unwrap();
    store
        .atomic(&nodes::vif(GUEST, LOGGER, 0, &vif_config(), false))
        .unwrap();
    assert_eq!(store.peek(stale), None);
    assert_eq!(
        store
            .peek("/local/domain/5/device/vif/0/trusted")
            .as_deref(),
        Some("0")
    );
}

#[test]
fn devices_of_a_domain_are_found_in_three_flights() {
    let store = plugged();
    let before = store.flights();
    let devices = of_domain(&store, GUEST).unwrap();
    assert_eq!(store.flights() - before, 3);
    let expected = [
        Device::new(GUEST, Kind::Console, 0, DomId::DOM0),
        Device::new(GUEST, Kind::Vif, 0, LOGGER),
        Device::new(GUEST, Kind::Vbd, 51713, DomId::DOM0),
    ];
    assert_eq!(devices, expected);
}

#[test]
fn removal_leaves_no_empty_directory() {
    let store = plugged();
    let other = Device::new(DomId(9), Kind::Vif, 0, DomId::DOM0);
    store
        .atomic(&nodes::vif(DomId(9), DomId::DOM0, 0, &vif_config(), true))
        .unwrap();
    let devices = of_domain(&store, GUEST).unwrap();
    remove_nodes(&store, &devices).unwrap();
    let dump = store.dump().join("\n");
    assert!(!dump.contains("/domain/3/backend"), "{dump}");
    assert!(!dump.contains("/domain/0/backend/vbd"), "{dump}");
    assert!(!dump.contains("/domain/5/device"), "{dump}");
    assert!(!dump.contains("/libxl/5/device/"), "{dump}");
    assert!(dump.contains(other.backend_path().as_str()), "{dump}");
    // Again: nothing left to do is no error.
    remove_nodes(&store, &devices).unwrap();
}

#[test]
fn backend_paths_are_parsed_strictly() {
    let device = Device::new(GUEST, Kind::Vif, 1, LOGGER);
    let path = device.backend_path();
    assert_eq!(Device::from_backend_path(path.as_str()), Some(device));
    for bad in [
        "",
        "/local/domain/3/backend/vif/5",
        "/local/domain/x/backend/vif/5/0",
        "/vm/3/backend/vif/5/0",
    ] {
        assert_eq!(Device::from_backend_path(bad), None, "{bad}");
    }
}
