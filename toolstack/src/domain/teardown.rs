// SPDX-License-Identifier: GPL-3.0-only
//! Taking away whatever there is of a domain: the undo of every step of a create, the work of a destroy, and what a
//! recovery does. One routine, which does not care how far its victim was made.

use uuid::Uuid;

use super::{Host, skeleton, userdata};
use crate::device::{self, nodes};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{StoreExt, XsPath};

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
            Ok(ours) => failures.extend(from_store(host, id, doomed.uuid, ours)),
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
