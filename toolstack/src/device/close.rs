// SPDX-License-Identifier: GPL-3.0-only
//! Orderly removal of devices from a living domain: ask the back-ends to close, wait until they have.

use std::time::{Duration, Instant};

use super::{Device, hotplug, remove_nodes};
use crate::error::Result;
use crate::ids::DomId;
use crate::store::{Request, Store, StoreExt, Watch, XsPath};

/// How long a back-end may take to close (`LIBXL_DESTROY_TIMEOUT`).
pub const CLOSE_TIME: Duration = Duration::from_secs(10);

/// `XenbusStateClosing`.
const CLOSING: &str = "5";
/// `XenbusStateClosed`.
const CLOSED: &str = "6";

/// Asks the back-ends of all `devices` to close and waits until they have, at most until `deadline`. Gives those that
/// have not: their removal is then forced by removing their nodes.
pub fn close<S: Store + ?Sized>(
    store: &S,
    devices: &[Device],
    deadline: Instant,
) -> Result<Vec<Device>> {
    let states: Vec<XsPath> = devices
        .iter()
        .map(|d| d.backend_path().join("state"))
        .collect();
    let found = store.read_many(&states)?;
    let mut open: Vec<(&Device, &XsPath)> = devices
        .iter()
        .zip(&states)
        .zip(found)
        .filter(|(_, state)| is_open(state.as_deref()))
        .map(|(pair, _)| pair)
        .collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let watches: Vec<Watch> = open
        .iter()
        .map(|(_, path)| Watch {
            path: (*path).clone(),
            token: format!("rxl-close:{path}"),
        })
        .collect();
    let asked = watches
        .iter()
        .try_for_each(|watch| store.watch(watch))
        .and_then(|()| {
            let requests: Vec<Request> = open
                .iter()
                .flat_map(|(device, state)| {
                    let online = device.backend_path().join("online");
                    [
                        Request::write(online, "0"),
                        Request::write((*state).clone(), CLOSING),
                    ]
                })
                .collect();
            store.all(&requests)?;
            wait_closed(store, &mut open, deadline)
        });
    let left = open.into_iter().map(|(device, _)| device.clone()).collect();
    for watch in &watches {
        // A watch that was never set is refused; a broken connection is told by `asked`.
        let _ = store.unwatch(watch);
    }
    asked.map(|()| left)
}

fn wait_closed<S: Store + ?Sized>(
    store: &S,
    open: &mut Vec<(&Device, &XsPath)>,
    deadline: Instant,
) -> Result<()> {
    loop {
        let paths: Vec<XsPath> = open.iter().map(|(_, path)| (*path).clone()).collect();
        let mut states = store.read_many(&paths)?.into_iter();
        open.retain(|_| is_open(states.next().flatten().as_deref()));
        if open.is_empty() || store.next_event(Some(deadline))?.is_none() {
            return Ok(());
        }
    }
}

fn is_open(state: Option<&str>) -> bool {
    state.is_some_and(|state| state != CLOSED)
}

/// Removes `devices` of a domain that is gone or dying, seen from domain `here`: unplugs what is plugged here, then removes
/// all nodes. Nobody is waited for: a front-end that no longer runs cannot answer. Every step is tried; what failed is
/// told in the answer.
pub fn force<S: Store + ?Sized>(store: &S, here: DomId, devices: &[Device]) -> Vec<String> {
    let mut failures = Vec::new();
    for device in devices {
        if let Err(error) = hotplug::unplug(store, here, device) {
            failures.push(format!("{} {}: {error}", device.kind, device.devid));
        }
    }
    if let Err(error) = remove_nodes(store, devices) {
        failures.push(error.to_string());
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Kind;
    use crate::store::memory::MemoryStore;

    fn device(devid: u32) -> Device {
        Device::new(DomId(5), Kind::Vif, devid, DomId(3))
    }

    fn with_states(states: &[&str]) -> (MemoryStore, Vec<Device>) {
        let store = MemoryStore::new();
        let devices: Vec<Device> = (0..).take(states.len()).map(device).collect();
        for (device, state) in devices.iter().zip(states) {
            store
                .request(Request::write(device.backend_path().join("state"), state))
                .unwrap();
        }
        (store, devices)
    }

    fn soon() -> Instant {
        Instant::now() + CLOSE_TIME
    }

    #[test]
    fn backends_that_close_are_waited_for_and_none_is_left() {
        let (store, devices) = with_states(&["4", "4"]);
        store.on_change(|path, value| {
            if path.name() == "state" && value == Some(b"5") {
                return vec![Request::write(path.clone(), "6")];
            }
            Vec::new()
        });
        assert_eq!(close(&store, &devices, soon()).unwrap(), []);
        assert_eq!(
            store
                .peek("/local/domain/3/backend/vif/5/1/online")
                .as_deref(),
            Some("0")
        );
        assert_eq!(store.watches(), 0);
    }

    #[test]
    fn backend_that_does_not_answer_is_given_back() {
        let (store, devices) = with_states(&["4", "6"]);
        assert_eq!(close(&store, &devices, soon()).unwrap(), devices[..1]);
        assert_eq!(store.watches(), 0);
    }

    #[test]
    fn closed_and_missing_backends_cost_one_flight() {
        let (store, mut devices) = with_states(&["6"]);
        devices.push(device(9));
        let before = store.flights();
        assert_eq!(close(&store, &devices, soon()).unwrap(), []);
        assert_eq!(store.flights() - before, 1);
    }

    #[test]
    fn forced_removal_takes_the_nodes_and_tells_what_failed() {
        let (store, devices) = with_states(&["4"]);
        assert_eq!(force(&store, DomId::DOM0, &devices), Vec::<String>::new());
        assert!(!store.dump().join("\n").contains("/backend/"));
        store.fail_at(
            store.flights() + 1,
            crate::store::memory::Fault::BrokenBefore,
        );
        assert_eq!(force(&store, DomId::DOM0, &devices).len(), 1);
    }
}
