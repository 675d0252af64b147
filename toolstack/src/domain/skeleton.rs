// SPDX-License-Identifier: GPL-3.0-only
//! A domain's nodes in xenstore, its devices' aside: what libxl 4.17 writes (`libxl__domain_make`,
//! `libxl__build_post`), so that `xl`, the guest's kernel and xenconsoled find what they know.
//!
//! Each function gives requests for the caller to send.

use std::time::SystemTime;

use uuid::Uuid;

use crate::config::DomainConfig;
use crate::hypervisor::{Built, GuestKind};
use crate::ids::{DomId, KiB, Port};
use crate::store::{Permission, Request, XsPath};

/// Directories that the guest may read.
const READABLE: [&str; 4] = ["cpu", "memory", "device", "control"];

/// Nodes that belong to the guest.
const GUEST_OWNED: [&str; 11] = [
    "device/suspend/event-channel",
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
];

/// Nodes that belong to a guest which runs back-ends: its own daemons keep their state there.
const DRIVER_OWNED: [&str; 2] = ["libxl", "device-model"];

/// The toolstack's own directory of a domain.
fn libxl_path(id: DomId) -> XsPath {
    XsPath::new(format!("/libxl/{id}"))
}

/// The directory that outlives a domain's number.
fn vm_path(uuid: Uuid) -> XsPath {
    XsPath::new(format!("/vm/{}", uuid.hyphenated()))
}

/// All that belongs to one domain alone, its back-ends' directories aside.
pub(super) fn roots(id: DomId, uuid: Uuid) -> [XsPath; 3] {
    [XsPath::domain(id), vm_path(uuid), libxl_path(id)]
}

/// The node that tells whose number this is: it holds [`vm_value`].
pub(super) fn vm_pointer(id: DomId) -> XsPath {
    XsPath::domain(id).join("vm")
}

/// What [`vm_pointer`] holds for a domain with this handle.
pub(super) fn vm_value(uuid: Uuid) -> String {
    vm_path(uuid).to_string()
}

/// The nodes of a domain that was made just now. They replace whatever a former domain of that number left.
pub(super) fn first(id: DomId, config: &DomainConfig) -> Vec<Request> {
    let [domain, vm, libxl] = roots(id, config.uuid);
    let toolstack = vec![Permission::owner(DomId::DOM0)];
    let readable = vec![Permission::owner(DomId::DOM0), Permission::read(id)];
    let guests = vec![Permission::owner(id)];
    let mut requests = Vec::new();
    let mut node = |path: XsPath, permissions: &Vec<Permission>| {
        requests.push(Request::Write(path.clone(), Vec::new()));
        requests.push(Request::SetPerms(path, permissions.clone()));
    };

    node(domain.clone(), &readable);
    node(vm.clone(), &readable);
    node(libxl.clone(), &toolstack);
    node(libxl.join("device"), &toolstack);
    for name in READABLE {
        node(domain.join(name), &readable);
    }
    for name in GUEST_OWNED {
        node(domain.join(name), &guests);
    }
    if config.driver_domain {
        for name in DRIVER_OWNED {
            node(domain.join(name), &guests);
        }
    }

    let values = [
        (vm_pointer(id), vm.to_string()),
        (domain.join("name"), config.name.clone()),
        (
            domain.join("control/platform-feature-multiprocessor-suspend"),
            "1".into(),
        ),
        (
            domain.join("control/platform-feature-xs_reset_watches"),
            "1".into(),
        ),
        (vm.join("uuid"), config.uuid.hyphenated().to_string()),
        (vm.join("name"), config.name.clone()),
        (libxl.join("type"), kind_word(config.kind).into()),
        (libxl.join("dm-version"), "qemu_xen".into()),
    ];
    requests.extend(
        values
            .into_iter()
            .map(|(path, value)| Request::write(path, value)),
    );
    let stale = [domain, vm, libxl].into_iter().flat_map(|path| {
        // Removing a missing node succeeds only below an existing parent.
        let parent = path.parent().map(Request::Mkdir);
        parent.into_iter().chain([Request::Rm(path)])
    });
    stale.chain(requests).collect()
}

/// The nodes that say what the build has made. [`Request::Introduce`] is to follow: it tells xenstored and xenconsoled to
/// look.
pub(super) fn second(id: DomId, config: &DomainConfig, port: Port, built: &Built) -> Vec<Request> {
    let domain = XsPath::domain(id);
    let vm = vm_path(config.uuid);
    let mut values = vec![
        (
            domain.join("memory/static-max"),
            config.max_memory.to_string(),
        ),
        (domain.join("memory/target"), config.memory.to_string()),
        (domain.join("memory/videoram"), KiB(0).to_string()),
        (domain.join("domid"), id.to_string()),
        (domain.join("store/port"), port.to_string()),
        (domain.join("store/ring-ref"), built.store_frame.to_string()),
        (vm.join("start_time"), start_time()),
    ];
    for vcpu in 0..config.max_vcpus {
        let state = if vcpu < config.vcpus {
            "online"
        } else {
            "offline"
        };
        values.push((
            domain.join(format_args!("cpu/{vcpu}/availability")),
            state.into(),
        ));
    }
    if config.kind == GuestKind::Pv {
        values.push((vm.join("image/ostype"), "linux".into()));
        values.push((vm.join("image/kernel"), config.kernel.display().to_string()));
        if let Some(ramdisk) = &config.ramdisk {
            values.push((vm.join("image/ramdisk"), ramdisk.display().to_string()));
        }
        values.push((vm.join("image/cmdline"), config.cmdline.clone()));
    }
    values
        .into_iter()
        .map(|(path, value)| Request::write(path, value))
        .collect()
}

/// The word in `/libxl/ID/type`.
pub(super) const fn kind_word(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Pv => "pv",
        GuestKind::Pvh => "pvh",
        GuestKind::Hvm => "hvm",
    }
}

/// Now, in s since the UNIX epoch with two decimals, as `xl uptime` reads it.
fn start_time() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}.{:02}", now.as_secs(), now.subsec_millis() / 10)
}
