// SPDX-License-Identifier: GPL-3.0-only
//! The network back-ends of this domain: plug those that are new, clear away those that are closed.

use std::collections::{BTreeMap, BTreeSet};

use super::log;
use super::ports::{Plan, Ports};
use crate::device::{Device, Kind, hotplug};
use crate::error::Result;
use crate::ids::DomId;
use crate::store::{Store, StoreExt, XsPath};

/// `XenbusStateClosed`.
const CLOSED: &str = "6";

/// What is known of the back-ends.
#[derive(Debug, Default)]
pub(super) struct Vifs {
    /// Plugged, or reported as impossible: done until their directory goes.
    settled: BTreeSet<Device>,
    /// The names of each domain's interfaces.
    interfaces: BTreeMap<DomId, Vec<String>>,
}

/// A back-end's directory, as far as it matters here.
struct Found {
    device: Device,
    state: Option<String>,
    online: Option<String>,
    status: Option<String>,
    bridge: Option<String>,
    vifname: Option<String>,
}

impl Found {
    /// Its front-end is closed, and the toolstack wants it to go.
    fn closed(&self) -> bool {
        self.state.as_deref() == Some(CLOSED) && self.online.as_deref() == Some("0")
    }

    /// The name that its interface has, or will have.
    fn name(&self) -> String {
        let own = self.vifname.clone();
        own.unwrap_or_else(|| self.device.interface())
    }
}

impl Vifs {
    /// The names of the interfaces of each domain that has some here, as of the last look.
    pub(super) const fn interfaces(&self) -> &BTreeMap<DomId, Vec<String>> {
        &self.interfaces
    }

    /// Looks at all back-ends and does what is to be done, in few flights whatever their number.
    pub(super) fn look<S: Store + ?Sized>(
        &mut self,
        store: &S,
        here: DomId,
        ports: &mut impl Ports,
    ) -> Result<()> {
        let found = find(store, here)?;
        self.settled
            .retain(|known| found.iter().any(|f| f.device == *known));
        self.interfaces.clear();
        for back_end in found.iter().filter(|it| !it.closed()) {
            let names = self.interfaces.entry(back_end.device.domain);
            names.or_default().push(back_end.name());
        }
        for back_end in found {
            if back_end.closed() {
                self.clear(store, &back_end.device)?;
            } else if !self.settled.contains(&back_end.device) {
                self.plug(store, here, ports, back_end)?;
            }
        }
        Ok(())
    }

    fn clear<S: Store + ?Sized>(&mut self, store: &S, device: &Device) -> Result<()> {
        store.remove_all(&[device.backend_path()])?;
        self.settled.remove(device);
        log(&format!(
            "{}: closed, its back-end's nodes are removed",
            device.interface()
        ));
        Ok(())
    }

    fn plug<S: Store + ?Sized>(
        &mut self,
        store: &S,
        here: DomId,
        ports: &mut impl Ports,
        back_end: Found,
    ) -> Result<()> {
        let device = back_end.device;
        // Plugged by this daemon before it was started again.
        if back_end.status.as_deref() == Some("connected") {
            self.settled.insert(device);
            return Ok(());
        }
        // A directory without its state is still being written.
        if back_end.state.is_none() {
            return Ok(());
        }
        let interface = device.interface();
        // Not yet: the news of it will come.
        if !ports.exists(&interface)? {
            return Ok(());
        }
        let plan = Plan {
            rename: back_end.vifname.filter(|name| *name != interface),
            bridge: back_end.bridge,
            mac: own_mac(here, &device),
            interface,
        };
        let name = plan.rename.as_ref().unwrap_or(&plan.interface);
        match ports.set_up(&plan) {
            Ok(bridge) => {
                hotplug::connected(store, &device)?;
                let place = bridge.map_or_else(String::new, |b| format!(" on bridge {b}"));
                log(&format!("{name}: up{place}, for domain {}", device.domain));
            }
            Err(error) => {
                hotplug::report_failure(store, &device, &error)?;
                log(&format!("{name}: {error}"));
            }
        }
        self.settled.insert(device);
        Ok(())
    }
}

/// A locally administered address that no other interface of this host has: from this domain's, the guest's and
/// the device's numbers.
fn own_mac(here: DomId, device: &Device) -> [u8; 6] {
    let [here_high, here_low] = here.0.to_be_bytes();
    let [guest_high, guest_low] = device.domain.0.to_be_bytes();
    let [.., devid] = device.devid.to_be_bytes();
    [0xfe, here_high, here_low, guest_high, guest_low, devid]
}

/// All network back-ends of this domain.
fn find<S: Store + ?Sized>(store: &S, here: DomId) -> Result<Vec<Found>> {
    let root = XsPath::domain(here).join("backend/vif");
    let guests: Vec<DomId> = store
        .list(&root)?
        .iter()
        .filter_map(|name| name.parse().ok())
        .map(DomId)
        .collect();
    let directories: Vec<XsPath> = guests.iter().map(|guest| root.join(guest)).collect();
    let lists = if directories.is_empty() {
        Vec::new()
    } else {
        store.list_many(&directories)?
    };
    let devices: Vec<Device> = guests
        .iter()
        .zip(lists)
        .flat_map(|(guest, names)| {
            let devids: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
            devids
                .into_iter()
                .map(|devid| Device::new(*guest, Kind::Vif, devid, here))
        })
        .collect();
    let names = ["state", "online", "hotplug-status", "bridge", "vifname"];
    let paths: Vec<XsPath> = devices
        .iter()
        .flat_map(|device| names.map(|name| device.backend_path().join(name)))
        .collect();
    let values = if paths.is_empty() {
        Vec::new()
    } else {
        store.read_many(&paths)?
    };
    let mut values = values.into_iter();
    let mut next = || values.next().flatten();
    Ok(devices
        .into_iter()
        .map(|device| Found {
            device,
            state: next(),
            online: next(),
            status: next(),
            bridge: next(),
            vifname: next(),
        })
        .collect())
}
