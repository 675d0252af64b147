// SPDX-License-Identifier: GPL-3.0-only
//! Hot-plug: what the back-end's domain does between "the nodes are there" and "the back-end may connect".
//!
//! For a back-end in the caller's own domain it is done here, in process (an interface onto its bridge, a file behind a loop
//! device), or by the script that the configuration names. For a back-end in another domain, that domain's daemon does
//! it (`rxl-devd`, `xl devd`) and [`plug`] waits for its word. Either way the word is `hotplug-status` in the back-end's
//! directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::loopdev::{self, Backing};
use super::netlink::{self, Change, Netlink};
use super::nodes::{BLOCK_SCRIPT, VIF_SCRIPT};
use super::script::{self, Direction};
use super::{Device, Kind};
use crate::config::{DiskConfig, VifConfig};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{Store, StoreExt, UNINTERRUPTED, XsPath};

/// How long the kernel's back-end may take to make an interface (`LIBXL_INIT_TIMEOUT`).
pub const BACKEND_TIME: Duration = Duration::from_secs(10);
/// How long a script, or another domain's daemon, may take (`LIBXL_HOTPLUG_TIMEOUT`).
pub const HOTPLUG_TIME: Duration = Duration::from_secs(40);

/// Hardware address of an interface that is a bridge's port: the highest, so that the bridge never takes it for its own.
const PORT_MAC: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];
/// Node by which the back-end's domain tells that it is done.
const STATUS: &str = "hotplug-status";
/// Node by which it tells why it could not.
const STATUS_ERROR: &str = "hotplug-error";

/// Checks a vif of a back-end in this domain before anything is made: its bridge exists, its MAC is one that an
/// interface may have.
pub fn check_vif(config: &VifConfig) -> Result<()> {
    let mac = config.mac;
    if mac[0] & 1 != 0 || mac == [0; 6] {
        let text = super::nodes::mac_text(mac);
        let why = "it is a group address or zero, not an interface's own";
        return Err(Error::new(Code::Usage, "use the MAC address", text, why)
            .hint("take one that starts with 00:16:3e"));
    }
    // Another domain's bridges, or those that a script knows, cannot be seen from here.
    let Some(bridge) = config
        .bridge
        .as_deref()
        .filter(|_| native(config.script.as_deref(), VIF_SCRIPT))
    else {
        return Ok(());
    };
    let mut netlink = Netlink::open()?;
    match netlink.link(bridge)? {
        Some(link) if link.bridge => Ok(()),
        found => {
            let why = if found.is_some() {
                "it is not a bridge"
            } else {
                "there is no such bridge"
            };
            Err(no_bridge(bridge, why, &netlink.bridges()?))
        }
    }
}

fn no_bridge(bridge: &str, why: &str, existing: &[String]) -> Error {
    let error = Error::new(
        Code::NotFound,
        "put the interface on the bridge",
        format!("bridge {bridge}"),
        why,
    );
    let near = existing
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, bridge).total_cmp(&strsim::jaro_winkler(b, bridge)));
    match near {
        None => error.hint(format!(
            "this domain has no bridge; make it: ip link add {bridge} type bridge, ip link set {bridge} up"
        )),
        Some(near) if strsim::jaro_winkler(near, bridge) > 0.8 => error.hint(format!(
            "did you mean {near}? Bridges here: {}",
            existing.join(", ")
        )),
        Some(_) => error.hint(format!("bridges here: {}", existing.join(", "))),
    }
}

/// Checks a disk of a back-end in this domain before anything is made: the file exists, is a file or block device, and can
/// be opened as asked.
pub fn check_disk(config: &DiskConfig) -> Result<()> {
    super::vdev::number(&config.vdev)?;
    if !native(config.script.as_deref(), BLOCK_SCRIPT) {
        return Ok(());
    }
    let object = config.target.display().to_string();
    let failed = |code, cause: String| {
        Error::new(
            code,
            format!("open the disk {}", config.vdev),
            object.clone(),
            cause,
        )
    };
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(config.writable)
        .open(&config.target)
        .and_then(|file| file.metadata());
    let meta = opened.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => failed(Code::NotFound, "there is no such file".to_owned()),
        std::io::ErrorKind::PermissionDenied => failed(Code::Denied, e.to_string()),
        _ => failed(Code::System, e.to_string()),
    })?;
    use std::os::unix::fs::FileTypeExt;
    if !meta.is_file() && !meta.file_type().is_block_device() {
        let why = "it is neither a regular file nor a block device";
        return Err(failed(Code::Usage, why.to_owned()));
    }
    if meta.is_file() && meta.len() < 512 {
        return Err(failed(
            Code::Usage,
            "the file is shorter than one sector".to_owned(),
        ));
    }
    Ok(())
}

/// Does a configuration's script name what this module does itself?
fn native(script: Option<&Path>, default: &str) -> bool {
    script.is_none_or(|s| Path::new(super::nodes::SCRIPT_DIR).join(s) == Path::new(default))
}

/// Plugs `device` in, seen from domain `here`, and returns when it is done. Devices that need no plugging (consoles) are
/// left alone. The times are [`BACKEND_TIME`] and [`HOTPLUG_TIME`]; a signal handler that sets `cancel` ends every wait.
pub fn plug<S: Store + ?Sized>(
    store: &S,
    here: DomId,
    device: &Device,
    cancel: &AtomicBool,
) -> Result<()> {
    if !matches!(device.backend_kind, Kind::Vif | Kind::Vbd) {
        return Ok(());
    }
    if device.backend != here {
        return wait_connected(store, device, Instant::now() + HOTPLUG_TIME, cancel);
    }
    let nodes = Nodes::read(store, device)?;
    if let Some(script) = nodes.foreign_script(device) {
        if device.backend_kind == Kind::Vif {
            appears(device, cancel)?;
        }
        let deadline = Instant::now() + HOTPLUG_TIME;
        script::run(script, device, Direction::Add, deadline, cancel)?;
        // The script writes the word itself, before it ends.
        return wait_connected(store, device, deadline, cancel);
    }
    match device.backend_kind {
        Kind::Vif => plug_vif(store, device, &nodes, cancel),
        _ => plug_vbd(store, device, &nodes),
    }
}

/// Undoes [`plug`] for a back-end in domain `here`. To be called before the device's nodes are removed. What is
/// unplugged already is no error.
pub fn unplug<S: Store + ?Sized>(store: &S, here: DomId, device: &Device) -> Result<()> {
    if device.backend != here || !matches!(device.backend_kind, Kind::Vif | Kind::Vbd) {
        return Ok(());
    }
    let nodes = Nodes::read(store, device)?;
    if let Some(script) = nodes.foreign_script(device) {
        // Never plugged: the script has nothing to undo, and complains when it is asked to.
        if nodes.status.as_deref().unwrap_or_default().is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + HOTPLUG_TIME;
        return script::run(script, device, Direction::Remove, deadline, &UNINTERRUPTED);
    }
    if device.backend_kind == Kind::Vif {
        let name = nodes.vifname.unwrap_or_else(|| device.interface());
        return Netlink::open()?.release(&name).map(drop);
    }
    match (&nodes.node, &nodes.params) {
        (Some(node), Some(params)) => loopdev::detach(Path::new(node), Path::new(params)).map(drop),
        _ => Ok(()),
    }
}

/// What the back-end's directory says about plugging.
#[derive(Debug, Default)]
struct Nodes {
    script: Option<String>,
    bridge: Option<String>,
    vifname: Option<String>,
    mtu: Option<String>,
    params: Option<String>,
    mode: Option<String>,
    node: Option<String>,
    status: Option<String>,
}

impl Nodes {
    /// Reads them in one flight.
    fn read<S: Store + ?Sized>(store: &S, device: &Device) -> Result<Self> {
        let names = [
            "script", "bridge", "vifname", "mtu", "params", "mode", "node", STATUS,
        ];
        let paths = names.map(|name| device.backend_path().join(name));
        let mut values = store.read_many(&paths)?.into_iter();
        let mut next = || values.next().flatten();
        Ok(Self {
            script: next(),
            bridge: next(),
            vifname: next(),
            mtu: next(),
            params: next(),
            mode: next(),
            node: next(),
            status: next(),
        })
    }

    /// The script, if it is not the one that this module replaces.
    fn foreign_script(&self, device: &Device) -> Option<&str> {
        let own = if device.backend_kind == Kind::Vif {
            VIF_SCRIPT
        } else {
            BLOCK_SCRIPT
        };
        self.script.as_deref().filter(|script| *script != own)
    }
}

fn appears(device: &Device, cancel: &AtomicBool) -> Result<netlink::Link> {
    let name = device.interface();
    let found = netlink::wait_for_link(&name, Instant::now() + BACKEND_TIME, cancel)?;
    let failed = |code, why: &str| {
        Error::new(code, "plug the network interface", name.clone(), why).domain(device.domain)
    };
    match found {
        Some(link) => Ok(link),
        None if cancel.load(Ordering::Relaxed) => {
            Err(failed(Code::Interrupted, "the operation was stopped"))
        }
        None => Err(failed(
            Code::Timeout,
            "the kernel's back-end did not make it in time",
        )
        .hint("is the module loaded? modprobe xen-netback")),
    }
}

fn plug_vif<S: Store + ?Sized>(
    store: &S,
    device: &Device,
    nodes: &Nodes,
    cancel: &AtomicBool,
) -> Result<()> {
    let link = appears(device, cancel)?;
    let name = &link.name;
    let mut netlink = Netlink::open()?;
    let mut change = Change {
        name: nodes.vifname.clone().filter(|wanted| wanted != name),
        mtu: nodes.mtu.as_deref().and_then(|text| text.parse().ok()),
        ..Change::default()
    };
    if let Some(bridge) = &nodes.bridge {
        let Some(bridge_link) = netlink.link(bridge)?.filter(|l| l.bridge) else {
            let existing = netlink.bridges()?;
            let error = no_bridge(bridge, "there is no such bridge", &existing);
            return Err(error.domain(device.domain));
        };
        change.master = Some(bridge_link.index);
        change.mac = Some(PORT_MAC);
        change.arp = Some(false);
        // Frames as long as the bridge carries.
        change.mtu = change.mtu.or(Some(bridge_link.mtu));
    }
    netlink
        .change(&link, &change)
        .map_err(|e| e.domain(device.domain))?;
    // Up last: a port that is up forwards, and a new name needs it down.
    let up = Change {
        up: Some(true),
        ..Change::default()
    };
    netlink
        .change(&link, &up)
        .map_err(|e| e.domain(device.domain))?;
    connected(store, device)
}

fn plug_vbd<S: Store + ?Sized>(store: &S, device: &Device, nodes: &Nodes) -> Result<()> {
    let writable = nodes.mode.as_deref().is_some_and(|mode| mode.contains('w'));
    let target = PathBuf::from(nodes.params.as_deref().unwrap_or_default());
    let backing = loopdev::open(&target, writable).map_err(|e| e.domain(device.domain))?;
    let directory = device.backend_path();
    let (path, number, device_file) = match backing {
        Backing::Device(path, number) => (path, number, None),
        Backing::Loop(device) => (device.path().to_owned(), device.number(), Some(device)),
    };
    if let Some(device) = device_file {
        // First the note that unplugging reads, then the loop device stays: killed in between, nothing is left over.
        store.write_all(&[(directory.join("node"), path.display().to_string())])?;
        device.keep()?;
    }
    let written = store.write_all(&[
        (
            directory.join("physical-device-path"),
            path.display().to_string(),
        ),
        (directory.join("physical-device"), number.to_string()),
        (directory.join(STATUS), "connected".to_owned()),
    ]);
    if written.is_err() {
        // The store's error is the one to tell.
        let _ = loopdev::detach(&path, &target);
    }
    written
}

/// Tells the back-end and the toolstack that `device` is plugged.
pub fn connected<S: Store + ?Sized>(store: &S, device: &Device) -> Result<()> {
    store.write_all(&[(device.backend_path().join(STATUS), "connected".to_owned())])
}

/// Tells the toolstack, from the back-end's domain, why `device` could not be plugged.
pub fn report_failure<S: Store + ?Sized>(store: &S, device: &Device, error: &Error) -> Result<()> {
    let directory = device.backend_path();
    store.write_all(&[
        (directory.join(STATUS_ERROR), error.to_string()),
        (directory.join(STATUS), "error".to_owned()),
    ])
}

/// Waits until the back-end's domain says that `device` is plugged.
pub fn wait_connected<S: Store + ?Sized>(
    store: &S,
    device: &Device,
    deadline: Instant,
    cancel: &AtomicBool,
) -> Result<()> {
    let directory = device.backend_path();
    let paths: [XsPath; 2] = [directory.join(STATUS), directory.join(STATUS_ERROR)];
    let look = |store: &S| {
        let mut values = store.read_many(&paths)?.into_iter();
        let status = values.next().flatten();
        Ok(match status.as_deref() {
            Some("connected") => Some(Ok(())),
            Some("error") => Some(Err(values.next().flatten().unwrap_or_default())),
            _ => None,
        })
    };
    let failed = |code, cause: String| {
        let object = format!("{} {}", device.kind, device.devid);
        Error::new(code, "plug the device", object, cause).domain(device.domain)
    };
    match store.wait_for(&paths[0], deadline, cancel, look)? {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(failed(
            Code::System,
            format!("domain {} said: {why}", device.backend),
        )),
        None => Err(failed(
            Code::Timeout,
            format!(
                "domain {}, which runs its back-end, did not answer in time",
                device.backend
            ),
        )
        .hint(format!(
            "is rxl-devd (or xl devd) running in domain {}? It must have plugged {}",
            device.backend, directory
        ))),
    }
}

#[cfg(test)]
mod tests;
