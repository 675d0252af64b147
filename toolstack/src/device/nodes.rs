// SPDX-License-Identifier: GPL-3.0-only
//! The nodes of a device: front-end's directory, back-end's directory, the toolstack's record. As libxl 4.17 writes
//! them (`libxl__device_generic_add` and each kind's `set_xenstore`), so that `xl` and front-ends find what they know.
//!
//! Each function gives requests for the caller to send; all devices of a domain fit in one transaction.

use crate::config::{DiskConfig, VifConfig};
use crate::device::{Device, Kind, vdev};
use crate::error::Result;
use crate::hypervisor::GuestKind;
use crate::ids::{DomId, Gfn, Port};
use crate::store::util::refused;
use crate::store::{InTx, Permission, Reply, Request, Store, XsPath};

/// Bytes of console output that xenconsoled keeps while nobody reads it.
const CONSOLE_LIMIT: u32 = 1_048_576;
/// MTU that libxl tells a front-end unless the configuration does (`LIBXL_DEVICE_NIC_MTU_DEFAULT`).
const DEFAULT_MTU: u32 = 1492;
/// `XenbusStateInitialising`.
const INITIALISING: &str = "1";

/// Directory of hot-plug scripts, for scripts given without one.
pub const SCRIPT_DIR: &str = "/etc/xen/scripts";
/// libxl's default script for a vif. It names the native hot-plug: rxl does in process what it does.
pub const VIF_SCRIPT: &str = "/etc/xen/scripts/vif-bridge";
/// libxl's default script for a disk. It names the native hot-plug.
pub const BLOCK_SCRIPT: &str = "/etc/xen/scripts/block";

/// Nodes below one directory, in order.
type Nodes = Vec<(&'static str, String)>;

/// A MAC address in the form that xenstore has it.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    let parts: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

/// Console 0 of `domain`, served by xenconsoled in `backend`.
#[must_use]
pub fn console(domain: DomId, backend: DomId, port: Port, ring: Gfn) -> Vec<Request> {
    let device = Device::new(domain, Kind::Console, 0, backend);
    let back = vec![
        ("frontend-id", domain.to_string()),
        ("online", "1".into()),
        ("state", INITIALISING.into()),
        ("protocol", "vt100".into()),
    ];
    let front = vec![("backend-id", backend.to_string())];
    let front_fixed = vec![
        ("limit", CONSOLE_LIMIT.to_string()),
        ("type", "xenconsoled".into()),
        ("output", "pty".into()),
        ("tty", String::new()),
        ("port", port.to_string()),
        ("ring-ref", ring.to_string()),
    ];
    generic(&device, &back, &front, &front_fixed)
}

/// Network interface `devid` of `domain`. With `trusted` false the front-end copies what it sends instead of granting
/// foreign pages a second time, which a driver domain's front-end needs.
#[must_use]
pub fn vif(
    domain: DomId,
    backend: DomId,
    devid: u32,
    config: &VifConfig,
    trusted: bool,
) -> Vec<Request> {
    let device = Device::new(domain, Kind::Vif, devid, backend);
    let script = script_path(config.script.as_deref(), VIF_SCRIPT);
    let mut back: Nodes = vec![
        ("frontend-id", domain.to_string()),
        ("online", "1".into()),
        ("state", INITIALISING.into()),
        ("script", script),
    ];
    if let Some(name) = &config.vifname {
        back.push(("vifname", name.clone()));
    }
    back.push(("mac", mac_text(config.mac)));
    if let Some(ip) = &config.ip {
        back.push(("ip", ip.clone()));
    }
    if let Some(bridge) = &config.bridge {
        back.push(("bridge", bridge.clone()));
    }
    back.push(("handle", devid.to_string()));
    back.push(("type", "vif".into()));
    // Empty: the back-end waits for the hot-plug before it connects.
    back.push(("hotplug-status", String::new()));
    let front = vec![
        ("backend-id", backend.to_string()),
        ("state", INITIALISING.into()),
        ("handle", devid.to_string()),
        ("mac", mac_text(config.mac)),
        ("trusted", flag(trusted)),
    ];
    let front_fixed = vec![("mtu", DEFAULT_MTU.to_string())];
    generic(&device, &back, &front, &front_fixed)
}

/// A disk of `domain`; its number comes from its name. An unknown name is an error.
pub fn vbd(
    domain: DomId,
    backend: DomId,
    kind: GuestKind,
    config: &DiskConfig,
) -> Result<Vec<Request>> {
    let devid = vdev::number(&config.vdev)?;
    let device = Device::new(domain, Kind::Vbd, devid, backend);
    let back = vec![
        ("params", config.target.display().to_string()),
        (
            "script",
            script_path(config.script.as_deref(), BLOCK_SCRIPT),
        ),
        ("frontend-id", domain.to_string()),
        ("online", "1".into()),
        ("removable", "0".into()),
        ("bootable", "1".into()),
        ("state", INITIALISING.into()),
        ("dev", config.vdev.clone()),
        ("type", "phy".into()),
        ("mode", if config.writable { "w" } else { "r" }.into()),
        ("device-type", "disk".into()),
        ("discard-enable", flag(config.writable)),
        ("specification", "xen".into()),
    ];
    let mut front: Nodes = vec![
        ("backend-id", backend.to_string()),
        ("state", INITIALISING.into()),
        ("virtual-device", devid.to_string()),
        ("device-type", "disk".into()),
        ("trusted", flag(true)),
    ];
    if kind == GuestKind::Pv {
        front.push(("protocol", "x86_64-abi".into()));
    }
    Ok(generic(&device, &back, &front, &[]))
}

/// Removes the nodes of `devices` and the directories above them that are empty then.
pub fn remove<S: Store + ?Sized>(tx: &InTx<'_, S>, devices: &[Device]) -> Result<()> {
    let leaves: Vec<XsPath> = devices
        .iter()
        .flat_map(|d| [d.frontend_path(), d.backend_path(), d.libxl_path()])
        .collect();
    tx.remove_many(&leaves)?;
    // From the leaves up: each round looks at the parents of what the last round removed.
    let mut removed = leaves;
    while !removed.is_empty() {
        let mut above: Vec<XsPath> = removed.iter().filter_map(prunable_parent).collect();
        above.sort();
        above.dedup();
        let lists: Vec<Request> = above.iter().cloned().map(Request::Directory).collect();
        let answers = if lists.is_empty() {
            Vec::new()
        } else {
            tx.batch(&lists)?
        };
        removed = Vec::new();
        for ((path, request), answer) in above.into_iter().zip(&lists).zip(answers) {
            match answer {
                Ok(Reply::Names(names)) if names.is_empty() => removed.push(path),
                Err(errno) if !errno.is_missing() => return Err(refused(request, &errno)),
                _ => {}
            }
        }
        if !removed.is_empty() {
            tx.remove_many(&removed)?;
        }
    }
    Ok(())
}

/// The directory above `path`, if it exists for the sake of devices only.
fn prunable_parent(path: &XsPath) -> Option<XsPath> {
    let parent = path.parent()?;
    let parts: Vec<&str> = parent.as_str().split('/').skip(1).collect();
    let of_devices = matches!(
        parts.as_slice(),
        ["local", "domain", _, "backend" | "device", ..] | ["libxl", _, "device", _, ..]
    );
    of_devices.then_some(parent)
}

/// The path that a script of the configuration stands for: absolute, or a name in [`SCRIPT_DIR`].
fn script_path(script: Option<&std::path::Path>, default: &str) -> String {
    let Some(script) = script else {
        return default.to_owned();
    };
    // An absolute path replaces the directory.
    std::path::Path::new(SCRIPT_DIR)
        .join(script)
        .display()
        .to_string()
}

fn flag(on: bool) -> String {
    if on { "1" } else { "0" }.to_owned()
}

/// The requests for one device: a clean directory on each side with its permissions, pointers to each other, the
/// nodes, and the toolstack's copy.
fn generic(
    device: &Device,
    back: &[(&str, String)],
    front: &[(&str, String)],
    front_fixed: &[(&str, String)],
) -> Vec<Request> {
    let frontend = device.frontend_path();
    let backend = device.backend_path();
    let record = device.libxl_path();
    let guest_owns = vec![
        Permission::owner(device.domain),
        Permission::read(device.backend),
    ];
    let backend_owns = vec![
        Permission::owner(device.backend),
        Permission::read(device.domain),
    ];
    // The first console's directory holds what the guest must not change.
    let first_console = device.kind == Kind::Console && device.devid == 0;
    let front_perms = if first_console {
        &backend_owns
    } else {
        &guest_owns
    };

    let mut requests = Vec::new();
    fresh(&mut requests, &record);
    requests.push(Request::write(record.join("frontend"), &frontend));
    requests.push(Request::write(record.join("backend"), &backend));

    fresh(&mut requests, &frontend);
    requests.push(Request::SetPerms(frontend.clone(), front_perms.clone()));
    requests.push(Request::write(frontend.join("backend"), &backend));
    for (nodes, perms) in [(front, &guest_owns), (front_fixed, &backend_owns)] {
        for (name, value) in nodes {
            requests.push(Request::write(frontend.join(name), value));
            requests.push(Request::SetPerms(frontend.join(name), perms.clone()));
        }
    }

    fresh(&mut requests, &backend);
    requests.push(Request::SetPerms(backend.clone(), backend_owns));
    requests.push(Request::write(backend.join("frontend"), &frontend));
    for (name, value) in back {
        requests.push(Request::write(backend.join(name), value));
        requests.push(Request::write(record.join(name), value));
    }
    requests
}

/// An empty directory at `path`, whatever a former domain of the same number left there.
fn fresh(requests: &mut Vec<Request>, path: &XsPath) {
    // Removing a missing node succeeds only below an existing parent.
    if let Some(parent) = path.parent() {
        requests.push(Request::Mkdir(parent));
    }
    requests.push(Request::Rm(path.clone()));
    requests.push(Request::Mkdir(path.clone()));
}
