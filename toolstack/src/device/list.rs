// SPDX-License-Identifier: GPL-3.0-only
//! The interfaces and disks of a domain, with the columns of `xl network-list` and `xl block-list`.

use serde::Serialize;

use super::{Device, Kind};
use crate::error::Result;
use crate::ids::{DomId, Port};
use crate::store::{Store, StoreExt, XsPath};

/// One network interface. Numbers that the front-end has not written yet are `None` (`xl` prints -1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VifInfo {
    /// Its number: `Idx`, and `handle`.
    pub devid: u32,
    /// The domain that runs the back-end: `BE`.
    pub backend: DomId,
    /// Hardware address in the guest.
    pub mac: String,
    /// The front-end's state (`enum xenbus_state`; 4 is connected).
    pub state: Option<u32>,
    /// Event channel, as the guest counts; `None` also if it uses one for each direction.
    pub event_channel: Option<Port>,
    /// Event channel of the transmit ring, if it has one of its own. `xl` does not know it.
    pub tx_event_channel: Option<Port>,
    /// Grant of the transmit ring.
    pub tx_ring_ref: Option<u32>,
    /// Grant of the receive ring.
    pub rx_ring_ref: Option<u32>,
    /// The back-end's directory: `BE-path`.
    pub backend_path: String,
    /// The bridge that it is on, if one was asked for.
    pub bridge: Option<String>,
}

/// One disk. Numbers that the front-end has not written yet are `None` (`xl` prints -1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VbdInfo {
    /// Its number: `Vdev`.
    pub devid: u32,
    /// Its name in the guest: `xvda`.
    pub vdev: Option<String>,
    /// The domain that runs the back-end: `BE`.
    pub backend: DomId,
    /// The domain that has it: `handle` (as `xl` prints it).
    pub frontend: DomId,
    /// The front-end's state (`enum xenbus_state`; 4 is connected).
    pub state: Option<u32>,
    /// Event channel, as the guest counts.
    pub event_channel: Option<Port>,
    /// Grant of the ring.
    pub ring_ref: Option<u32>,
    /// The back-end's directory: `BE-path`.
    pub backend_path: String,
    /// What serves it: file or block device in the back-end's domain.
    pub target: Option<String>,
    /// Writable by the guest.
    pub writable: bool,
}

/// The network interfaces of `domain`, in two flights.
pub fn vifs<S: Store + ?Sized>(store: &S, domain: DomId) -> Result<Vec<VifInfo>> {
    let names = [
        Side::Record("backend"),
        Side::Record("mac"),
        Side::Record("bridge"),
        Side::Front("state"),
        Side::Front("event-channel"),
        Side::Front("event-channel-tx"),
        Side::Front("tx-ring-ref"),
        Side::Front("rx-ring-ref"),
    ];
    let rows = read(store, domain, &Kind::Vif, &names)?;
    Ok(rows
        .into_iter()
        .map(|(device, mut values)| VifInfo {
            devid: device.devid,
            backend: device.backend,
            mac: values[1].take().unwrap_or_default(),
            bridge: values[2].take(),
            state: number(&values[3]),
            event_channel: number(&values[4]).map(Port),
            tx_event_channel: number(&values[5]).map(Port),
            tx_ring_ref: number(&values[6]),
            rx_ring_ref: number(&values[7]),
            backend_path: values[0].take().unwrap_or_default(),
        })
        .collect())
}

/// The disks of `domain`, in two flights.
pub fn vbds<S: Store + ?Sized>(store: &S, domain: DomId) -> Result<Vec<VbdInfo>> {
    let names = [
        Side::Record("backend"),
        Side::Record("dev"),
        Side::Record("params"),
        Side::Record("mode"),
        Side::Front("state"),
        Side::Front("event-channel"),
        Side::Front("ring-ref"),
    ];
    let rows = read(store, domain, &Kind::Vbd, &names)?;
    Ok(rows
        .into_iter()
        .map(|(device, mut values)| VbdInfo {
            devid: device.devid,
            vdev: values[1].take(),
            backend: device.backend,
            frontend: domain,
            state: number(&values[4]),
            event_channel: number(&values[5]).map(Port),
            ring_ref: number(&values[6]),
            backend_path: values[0].take().unwrap_or_default(),
            target: values[2].take(),
            writable: values[3].take().is_some_and(|mode| mode.contains('w')),
        })
        .collect())
}

/// A node in the toolstack's record or in the front-end's directory.
#[derive(Clone, Copy)]
enum Side {
    Record(&'static str),
    Front(&'static str),
}

/// The wanted nodes of all devices of a kind; the first name must be the record's `backend`. Devices without a valid
/// back-end are left out.
fn read<S: Store + ?Sized>(
    store: &S,
    domain: DomId,
    kind: &Kind,
    names: &[Side],
) -> Result<Vec<(Device, Vec<Option<String>>)>> {
    let records = XsPath::new(format!("/libxl/{domain}/device/{kind}"));
    let fronts = XsPath::domain(domain).join("device").join(kind);
    let mut devids: Vec<u32> = store
        .list(&records)?
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    devids.sort_unstable();
    if devids.is_empty() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::with_capacity(devids.len() * names.len());
    for devid in &devids {
        paths.extend(names.iter().map(|name| match name {
            Side::Record(name) => records.join(devid).join(name),
            Side::Front(name) => fronts.join(devid).join(name),
        }));
    }
    let values = store.read_many(&paths)?;
    let rows = values.chunks(names.len()).filter_map(|row| {
        let device = Device::from_backend_path(row.first()?.as_deref()?)?;
        Some((device, row.to_vec()))
    });
    Ok(rows.collect())
}

fn number(value: &Option<String>) -> Option<u32> {
    value.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{DiskBackend, DiskConfig, VifConfig};
    use crate::device::nodes;
    use crate::hypervisor::GuestKind;
    use crate::store::Request;
    use crate::store::memory::MemoryStore;

    fn store() -> MemoryStore {
        let store = MemoryStore::new();
        let vif = VifConfig {
            mac: [0, 0x16, 0x3e, 0, 0, 1],
            bridge: None,
            backend: None,
            ip: None,
            script: None,
            vifname: None,
        };
        let disk = DiskConfig {
            target: PathBuf::from("/srv/a.img"),
            vdev: "xvda".into(),
            writable: true,
            backend: DiskBackend::Phy,
            script: None,
        };
        let mut requests = nodes::vif(DomId(5), DomId(3), 0, &vif, true);
        requests.extend(nodes::vif(DomId(5), DomId(3), 10, &vif, true));
        requests.extend(nodes::vif(DomId(5), DomId(3), 9, &vif, true));
        requests.extend(nodes::vbd(DomId(5), DomId(0), GuestKind::Pvh, &disk).unwrap());
        let front = XsPath::new("/local/domain/5/device/vif/0");
        for (name, value) in [
            ("state", "4"),
            ("event-channel", "17"),
            ("tx-ring-ref", "768"),
        ] {
            requests.push(Request::write(front.join(name), value));
        }
        store.atomic(&requests).unwrap();
        store
    }

    #[test]
    fn vifs_are_listed_by_number_in_two_flights() {
        let store = store();
        let before = store.flights();
        let vifs = vifs(&store, DomId(5)).unwrap();
        assert_eq!(store.flights() - before, 2);
        let devids: Vec<u32> = vifs.iter().map(|v| v.devid).collect();
        assert_eq!(devids, [0, 9, 10]);
        let first = &vifs[0];
        assert_eq!(first.backend, DomId(3));
        assert_eq!(first.mac, "00:16:3e:00:00:01");
        assert_eq!(
            (first.state, first.event_channel),
            (Some(4), Some(Port(17)))
        );
        assert_eq!((first.tx_ring_ref, first.rx_ring_ref), (Some(768), None));
        assert_eq!(first.backend_path, "/local/domain/3/backend/vif/5/0");
    }

    #[test]
    fn disks_are_listed_in_two_flights() {
        let store = store();
        let before = store.flights();
        let disks = vbds(&store, DomId(5)).unwrap();
        assert_eq!(store.flights() - before, 2);
        assert_eq!(disks.len(), 1);
        let disk = &disks[0];
        assert_eq!((disk.devid, disk.vdev.as_deref()), (51712, Some("xvda")));
        assert_eq!(
            (disk.target.as_deref(), disk.writable),
            (Some("/srv/a.img"), true)
        );
        assert_eq!(disk.state, Some(1));
    }

    #[test]
    fn domain_without_devices_has_none() {
        let store = MemoryStore::new();
        assert_eq!(vifs(&store, DomId(1)).unwrap(), []);
        assert_eq!(vbds(&store, DomId(1)).unwrap(), []);
    }
}
