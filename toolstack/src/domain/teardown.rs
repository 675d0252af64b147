// SPDX-License-Identifier: GPL-3.0-only
//! Taking away whatever there is of a domain: the undo of every step of a create, the work of a destroy, and what a
//! recovery does. One routine, which does not care how far its victim was made.

use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Host, skeleton, userdata};
use crate::device::{self, nodes};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{StoreExt, XsPath};

/// How long the back-ends and daemons that map a dead domain's pages may take to let go of them.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// A domain that is to go.
#[derive(Clone, Debug)]
pub(super) struct Doomed {
    /// Its number, if it has got one.
    pub(super) id: Option<DomId>,
    /// Its handle. Nothing that belongs to another domain of the same number is touched.
    pub(super) uuid: Uuid,
}

/// Takes the domain away: first from Xen, which stops it and frees its memory, then its devices, its nodes and its
/// configuration. Goes on after a failure, as far as that leaves a domain that can be destroyed again. Returns all
/// failures.
pub(super) fn teardown(host: &Host<'_>, doomed: &Doomed) -> Vec<Error> {
    let mut failures = Vec::new();
    if let Some(id) = doomed.id {
        match from_xen(host, id, doomed.uuid) {
            Ok(ours) => {
                failures.extend(from_store(host, id, doomed.uuid, ours));
                failures.extend(released(host, id, doomed.uuid).err());
            }
            // Its nodes stay: without them it would be a domain without a name that still holds memory.
            Err(error) => return vec![error.domain(id)],
        }
    }
    failures.extend(userdata::remove(&host.places.userdata, doomed.uuid).err());
    failures
        .into_iter()
        .map(|error| Error {
            domain: error.domain.or(doomed.id),
            ..error
        })
        .collect()
}

/// Destroys the domain unless it is gone. True if the number was its own.
fn from_xen(host: &Host<'_>, id: DomId, uuid: Uuid) -> Result<bool> {
    match host.hv.domain(id)? {
        Some(info) if info.uuid == uuid => match host.hv.destroy(id) {
            Err(error) if error.code != Code::NotFound => Err(error),
            _ => Ok(true),
        },
        _ => Ok(false),
    }
}

/// Waits until nobody maps a page of the dead domain any more and Xen has forgotten it. Until then it would stand in
/// every list as a zombie without a name.
///
/// Xen announces the end of a domain by `VIRQ_DOM_EXC`, which only xenstored may bind, and xenstored has dropped the
/// domain by then and tells nobody. So this looks again and again; nearly always once or twice.
fn released(host: &Host<'_>, id: DomId, uuid: Uuid) -> Result<()> {
    let deadline = Instant::now() + RELEASE_LIMIT;
    let mut pause = Duration::from_millis(1);
    while host.hv.domain(id)?.is_some_and(|info| info.uuid == uuid) {
        if Instant::now() >= deadline {
            let cause = format!(
                "its pages are still mapped after {} s",
                RELEASE_LIMIT.as_secs()
            );
            return Err(Error::new(
                Code::Timeout,
                "free the domain's memory",
                format!("domain {id}"),
                cause,
            )
            .hint(
                "a back-end (a driver domain, qemu, a loop device in use) has not let go of it",
            ));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Ok(())
}

fn from_store(host: &Host<'_>, id: DomId, uuid: Uuid, ours: bool) -> Vec<Error> {
    let whose = match host.store.read_text(&skeleton::vm_pointer(id)) {
        Ok(whose) => whose,
        Err(error) => return vec![error],
    };
    if !ours && whose != Some(skeleton::vm_value(uuid)) {
        return Vec::new();
    }
    let devices = match device::of_domain(host.store, id) {
        Ok(devices) => devices,
        Err(error) => return vec![error],
    };
    let unplugged = if devices.is_empty() {
        Ok(())
    } else {
        host.plug.unplug(host.store, &devices)
    };
    let removed = host.store.transaction(|tx| {
        nodes::remove(tx, &devices)?;
        tx.remove_many(&skeleton::roots(id, uuid))
    });
    unplugged.err().into_iter().chain(removed.err()).collect()
}

/// The number of the domain with this handle, in Xen or, if it is gone from there, in the store.
pub(super) fn locate(host: &Host<'_>, uuid: Uuid) -> Result<Option<DomId>> {
    if let Some(info) = host
        .hv
        .domains()?
        .into_iter()
        .find(|info| info.uuid == uuid)
    {
        return Ok(Some(info.id));
    }
    let names = host.store.list(&XsPath::new("/local/domain"))?;
    let ids: Vec<DomId> = names
        .iter()
        .filter_map(|name| name.parse().ok().map(DomId))
        .collect();
    let pointers: Vec<XsPath> = ids.iter().copied().map(skeleton::vm_pointer).collect();
    let wanted = skeleton::vm_value(uuid);
    let values = host.store.read_many(&pointers)?;
    let found = ids
        .into_iter()
        .zip(values)
        .find(|(_, value)| value.as_ref() == Some(&wanted));
    Ok(found.map(|(id, _)| id))
}
