// SPDX-License-Identifier: GPL-3.0-only
//! Ending a domain by force, and finishing what killed processes have begun.

use serde::Serialize;

use super::Host;
use super::journal::{self, Entry, OpenEntry, Operation};
use super::names::existing;
use super::teardown::{Doomed, locate, teardown};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{StoreExt, XsPath};

/// Ends the domain at once and frees all that it holds: memory, devices, nodes, name.
///
/// # Errors
/// `Code::NotFound`; otherwise the first thing that could not be freed, with the others as `leftovers`. The journal keeps
/// what is left to do for [`recover`]; destroying the domain again also does it.
pub fn destroy(host: &Host<'_>, id: DomId) -> Result<()> {
    let op = "destroy the domain";
    if id == DomId::DOM0 {
        let cause = "it is the control domain";
        return Err(
            Error::new(Code::Usage, op, "Domain-0", cause).hint("shut the host down instead")
        );
    }
    let info = existing(host.hv, op, id)?;
    let name = host
        .store
        .read_text(&XsPath::domain(id).join("name"))?
        .unwrap_or_default();
    let entry = OpenEntry::create(
        &host.places.journal,
        &Entry {
            operation: Operation::Destroy,
            owner: host.places.owner,
            name,
            uuid: info.uuid,
            domain: Some(id),
        },
    )?;
    let mut failures = teardown(
        host,
        &Doomed {
            id: Some(id),
            uuid: info.uuid,
        },
    )
    .into_iter();
    match failures.next() {
        None => entry.close(),
        Some(mut first) => {
            first
                .leftovers
                .extend(failures.map(|error| error.to_string()));
            Err(first)
        }
    }
}

/// What became of an operation whose process was gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// The operation: a create is undone, a destroy is finished.
    pub operation: Operation,
    /// The domain's name.
    pub name: String,
    /// The domain's number, if anything of it was left.
    pub domain: Option<DomId>,
    /// What could not be done; empty if nothing is left. The journal keeps the entry then.
    pub failures: Vec<Error>,
}

/// Undoes or finishes every operation whose process is gone. Operations of living processes are left alone.
///
/// # Errors
/// If the journal cannot be read. What cannot be done is told in each [`Recovered`].
pub fn recover(host: &Host<'_>) -> Result<Vec<Recovered>> {
    let orphans = journal::orphans(&host.places.journal)?;
    Ok(orphans
        .into_iter()
        .map(|(open, entry)| finish(host, open, entry))
        .collect())
}

fn finish(host: &Host<'_>, open: OpenEntry, entry: Entry) -> Recovered {
    let found = match entry.domain {
        Some(id) => Ok(Some(id)),
        None => locate(host, entry.uuid),
    };
    let (domain, mut failures) = match found {
        Ok(id) => {
            let doomed = Doomed {
                id,
                uuid: entry.uuid,
            };
            (id, teardown(host, &doomed))
        }
        Err(error) => (None, vec![error]),
    };
    if failures.is_empty() {
        failures.extend(open.close().err());
    }
    Recovered {
        operation: entry.operation,
        name: entry.name,
        domain,
        failures,
    }
}
