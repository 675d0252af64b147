// SPDX-License-Identifier: GPL-3.0-only
//! Names and numbers: which domains there are, and which one the operator means.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::{Host, reply};
use crate::error::{Code, Error, Result};
use crate::hypervisor::{DomainInfo, GuestKind, RunState};
use crate::ids::{DomId, KiB};
use crate::store::{Request, XsPath};

/// One domain, as Xen and xenstore tell of it together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DomainSummary {
    /// Its number.
    pub id: DomId,
    /// Its name; `None` for a domain that no toolstack has named (yet).
    pub name: Option<String>,
    /// Its handle.
    pub uuid: Uuid,
    /// How it is virtualised, as the toolstack that made it has noted.
    pub kind: Option<GuestKind>,
    /// What it is doing.
    pub state: RunState,
    /// Memory that it has now.
    pub memory: KiB,
    /// Memory that it may have.
    pub max_memory: KiB,
    /// vCPUs on line.
    pub vcpus: u32,
    /// CPU time used so far, in ns.
    pub cpu_time_ns: u64,
}

/// All domains, in order of their numbers: one hypercall and one flight, however many there are.
///
/// # Errors
/// If Xen or xenstored cannot be asked.
pub fn list(host: &Host<'_>) -> Result<Vec<DomainSummary>> {
    let infos = host.hv.domains()?;
    let requests: Vec<Request> = infos
        .iter()
        .flat_map(|info| {
            [
                Request::Read(XsPath::domain(info.id).join("name")),
                Request::Read(XsPath::new(format!("/libxl/{}/type", info.id))),
            ]
        })
        .collect();
    let mut answers = host.store.batch(&requests)?.into_iter();
    let mut next = || answers.next().and_then(reply::text);
    Ok(infos
        .into_iter()
        .map(|info| {
            let name = next();
            let kind = next().and_then(|word| kind_of(&word));
            summary(info, name, kind)
        })
        .collect())
}

fn summary(info: DomainInfo, name: Option<String>, kind: Option<GuestKind>) -> DomainSummary {
    DomainSummary {
        id: info.id,
        name,
        uuid: info.uuid,
        kind: kind.or((!info.hvm_container).then_some(GuestKind::Pv)),
        state: info.state,
        memory: info.memory,
        max_memory: info.max_memory,
        vcpus: info.online_vcpus,
        cpu_time_ns: info.cpu_time_ns,
    }
}

fn kind_of(word: &str) -> Option<GuestKind> {
    match word {
        "pv" => Some(GuestKind::Pv),
        "pvh" => Some(GuestKind::Pvh),
        "hvm" => Some(GuestKind::Hvm),
        _ => None,
    }
}

/// The domain that `name_or_id` means: a number if it consists of digits, a name otherwise, as for `xl`. Returns its
/// number and its name (empty if it has none).
///
/// # Errors
/// `Code::NotFound`, with the nearest name if one is near.
pub fn resolve(host: &Host<'_>, name_or_id: &str) -> Result<(DomId, String)> {
    let names = names(host)?;
    if let Ok(number) = name_or_id.parse::<u16>() {
        let id = DomId(number);
        return match names.get(&id) {
            Some(name) => Ok((id, name.clone())),
            None => Err(not_found(name_or_id, "there is no domain with this number")),
        };
    }
    if let Some((id, name)) = names.iter().find(|(_, name)| *name == name_or_id) {
        return Ok((*id, name.clone()));
    }
    let error = not_found(name_or_id, "there is no domain of this name");
    let nearest = names
        .values()
        .map(|name| (strsim::damerau_levenshtein(name, name_or_id), name))
        .min()
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len());
    Err(match nearest {
        Some((_, name)) => error.hint(format!("the nearest name is {name:?}")),
        None => error.hint("`rxl list` shows all domains"),
    })
}

fn not_found(what: &str, why: &str) -> Error {
    Error::new(Code::NotFound, "find the domain", what, why)
}

/// The names of all domains that Xen knows: one hypercall and one flight.
fn names(host: &Host<'_>) -> Result<BTreeMap<DomId, String>> {
    let ids: Vec<DomId> = host.hv.domains()?.iter().map(|info| info.id).collect();
    let requests: Vec<Request> = ids
        .iter()
        .map(|id| Request::Read(XsPath::domain(*id).join("name")))
        .collect();
    let answers = host.store.batch(&requests)?;
    Ok(ids
        .into_iter()
        .zip(answers)
        .map(|(id, answer)| (id, reply::text(answer).unwrap_or_default()))
        .collect())
}

/// The domain `id`, which must exist.
pub(super) fn existing(host: &Host<'_>, op: &str, id: DomId) -> Result<DomainInfo> {
    host.hv.domain(id)?.ok_or_else(|| {
        Error::new(
            Code::NotFound,
            op,
            format!("domain {id}"),
            "there is no domain with this number",
        )
        .domain(id)
    })
}
