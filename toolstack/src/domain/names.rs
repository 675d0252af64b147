// SPDX-License-Identifier: GPL-3.0-only
//! Names and numbers: which domains there are, which one the operator means, whether a name is free.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::Host;
use crate::error::{Code, Error, Result};
use crate::hypervisor::{DomainInfo, GuestKind, Hypervisor, RunState};
use crate::ids::{DomId, KiB};
use crate::store::util::InTx;
use crate::store::{Request, Store, StoreExt, XsPath};

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
    let paths: Vec<XsPath> = infos
        .iter()
        .flat_map(|info| {
            [
                name_path(info.id),
                XsPath::new(format!("/libxl/{}/type", info.id)),
            ]
        })
        .collect();
    let mut values = host.store.read_many(&paths)?.into_iter();
    let mut next = || values.next().flatten();
    Ok(infos
        .iter()
        .map(|info| summary(info, next(), next().as_deref()))
        .collect())
}

fn summary(info: &DomainInfo, name: Option<String>, kind: Option<&str>) -> DomainSummary {
    let noted = match kind {
        Some("pv") => Some(GuestKind::Pv),
        Some("pvh") => Some(GuestKind::Pvh),
        Some("hvm") => Some(GuestKind::Hvm),
        _ => None,
    };
    DomainSummary {
        id: info.id,
        name,
        uuid: info.uuid,
        kind: noted.or((!info.hvm_container).then_some(GuestKind::Pv)),
        state: info.state,
        memory: info.memory,
        max_memory: info.max_memory,
        vcpus: info.online_vcpus,
        cpu_time_ns: info.cpu_time_ns,
    }
}

/// The domain that `name_or_id` means: a number if it consists of digits, a name otherwise, as for `xl`. Returns its
/// number and its name (empty if it has none).
///
/// # Errors
/// `Code::NotFound`, with the nearest name if one is near.
pub fn resolve(host: &Host<'_>, name_or_id: &str) -> Result<(DomId, String)> {
    let ids: Vec<DomId> = host.hv.domains()?.iter().map(|info| info.id).collect();
    let paths: Vec<XsPath> = ids.iter().copied().map(name_path).collect();
    let values = host.store.read_many(&paths)?;
    let names = ids
        .into_iter()
        .zip(values)
        .map(|(id, name)| (id, name.unwrap_or_default()));
    pick(&names.collect(), "find the domain", name_or_id)
}

/// The entry of `names` that `name_or_id` means.
fn pick(names: &BTreeMap<DomId, String>, op: &str, name_or_id: &str) -> Result<(DomId, String)> {
    let missing = |why| Error::new(Code::NotFound, op, name_or_id, why);
    if let Ok(number) = name_or_id.parse::<u16>() {
        let id = DomId(number);
        let name = names
            .get(&id)
            .ok_or_else(|| missing("there is no domain with this number"))?;
        return Ok((id, name.clone()));
    }
    if let Some((id, name)) = names.iter().find(|(_, name)| *name == name_or_id) {
        return Ok((*id, name.clone()));
    }
    let nearest = names
        .values()
        .map(|name| (strsim::damerau_levenshtein(name, name_or_id), name))
        .min()
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len());
    Err(
        missing("there is no domain of this name").hint(match nearest {
            Some((_, name)) => format!("the nearest name is {name:?}"),
            None => "`rxl list` shows all domains".to_owned(),
        }),
    )
}

fn name_path(id: DomId) -> XsPath {
    XsPath::domain(id).join("name")
}

/// The domain `id`, which must exist.
pub(super) fn existing(hv: &dyn Hypervisor, op: &str, id: DomId) -> Result<DomainInfo> {
    hv.domain(id)?.ok_or_else(|| {
        let cause = "there is no domain with this number";
        Error::new(Code::NotFound, op, format!("domain {id}"), cause).domain(id)
    })
}

/// Gives the domain another name, atomically with the check that nobody has it.
///
/// # Errors
/// `Code::NotFound`; `Code::Exists` if the name is taken.
pub fn rename(host: &Host<'_>, id: DomId, name: &str) -> Result<()> {
    let info = existing(host.hv, "rename the domain", id)?;
    host.store.transaction(|tx| {
        Survey::take(host.hv, tx)?.free_name("rename the domain", name)?;
        let vm = XsPath::new(format!("/vm/{}", info.uuid.hyphenated()));
        let requests = [name_path(id), vm.join("name")].map(|path| Request::write(path, name));
        tx.all(&requests).map(drop)
    })
}

/// Who is there, as one transaction sees it: two flights and one hypercall, however many domains there are.
#[derive(Debug)]
pub(super) struct Survey {
    names: BTreeMap<DomId, String>,
    infos: BTreeMap<DomId, DomainInfo>,
    /// The domain that runs xenstored.
    pub(super) store_domain: DomId,
    /// The domain that runs xenconsoled.
    pub(super) console_domain: DomId,
}

impl Survey {
    /// Reads the names inside `tx`: if somebody takes a name meanwhile, the transaction will not commit.
    pub(super) fn take(hv: &dyn Hypervisor, tx: &InTx<'_, dyn Store + '_>) -> Result<Self> {
        let mut answers = tx
            .batch(&[
                Request::Directory(XsPath::new("/local/domain")),
                Request::Read(XsPath::new("/tool/xenstored/domid")),
                Request::Read(XsPath::new("/tool/xenconsoled/domid")),
            ])?
            .into_iter();
        let listed: Vec<DomId> = match answers.next() {
            Some(Ok(crate::store::Reply::Names(names))) => names
                .iter()
                .filter_map(|name| name.parse().ok().map(DomId))
                .collect(),
            Some(Err(errno)) if !errno.is_missing() => {
                let cause = format!("xenstored refused: {errno}");
                return Err(Error::new(
                    Code::Store,
                    "list the domains",
                    "/local/domain",
                    cause,
                ));
            }
            _ => Vec::new(),
        };
        let mut daemon = || match answers.next() {
            Some(Ok(crate::store::Reply::Value(value))) => String::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .map(DomId),
            _ => None,
        };
        let store_domain = daemon().unwrap_or(DomId::DOM0);
        let console_domain = daemon().unwrap_or(DomId::DOM0);
        let paths: Vec<XsPath> = listed.iter().copied().map(name_path).collect();
        let values = tx.read_many(&paths)?;
        // Xen is asked last: a domain that is in none of its answers is not there, whatever xenstore says.
        let infos: BTreeMap<DomId, DomainInfo> = hv
            .domains()?
            .into_iter()
            .map(|info| (info.id, info))
            .collect();
        let names = listed
            .into_iter()
            .zip(values)
            .filter(|(id, _)| infos.contains_key(id))
            .filter_map(|(id, name)| Some((id, name?)))
            .collect();
        Ok(Self {
            names,
            infos,
            store_domain,
            console_domain,
        })
    }

    /// Fails if a living domain has this name.
    pub(super) fn free_name(&self, op: &str, name: &str) -> Result<()> {
        let Some((id, _)) = self.names.iter().find(|(_, taken)| *taken == name) else {
            return Ok(());
        };
        let cause = format!("domain {id} has this name");
        Err(Error::new(Code::Exists, op, name, cause)
            .domain(*id)
            .hint("give it another `name`, or end that one with `rxl destroy`"))
    }

    /// Fails if a living domain has this handle.
    pub(super) fn free_uuid(&self, op: &str, name: &str, uuid: Uuid) -> Result<()> {
        let Some(taken) = self.infos.values().find(|info| info.uuid == uuid) else {
            return Ok(());
        };
        let cause = format!("domain {} has its uuid {uuid}", taken.id);
        Err(Error::new(Code::Exists, op, name, cause)
            .domain(taken.id)
            .hint("leave `uuid` out: one is then made at random"))
    }

    /// The domain that is to run a back-end: it must exist and run.
    pub(super) fn backend(&self, name_or_id: &str) -> Result<DomId> {
        let op = "find the back-end's domain";
        let mut names = self.names.clone();
        for id in self.infos.keys() {
            names.entry(*id).or_default();
        }
        let (id, _) = pick(&names, op, name_or_id)?;
        let state = self.infos.get(&id).map(|info| info.state);
        let (cause, hint) = match state {
            Some(state) if state.dying || state.shutdown.is_some() => {
                ("it has shut down", "start it again first")
            }
            Some(state) if state.paused => ("it is paused", "`rxl unpause` it first"),
            _ => return Ok(id),
        };
        Err(Error::new(Code::State, op, name_or_id, cause)
            .domain(id)
            .hint(hint))
    }
}
