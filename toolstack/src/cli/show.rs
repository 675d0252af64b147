// SPDX-License-Identifier: GPL-3.0-only
//! Verbs that only look: list, info, domid, domname, dmesg, network-list, block-list, vcpu-list, uptime.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::info;
use super::tables::{self, Row, Uptime};
use super::verbs::{
    AnyDomains, DmesgArgs, Domains, DomidArgs, DomnameArgs, InfoArgs, ListArgs, Options,
};
use crate::device::list;
use crate::domain::{self, DomainSummary, Host};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{StoreExt, XsPath};

/// Prints `text`, or `value` as JSON.
fn print(
    out: &mut dyn Write,
    options: &Options,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if options.json {
        let json = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
        writeln!(out, "{json}")?;
    } else {
        out.write_all(text().as_bytes())?;
    }
    Ok(())
}

/// `rxl list`.
pub(super) fn list(
    host: &Host<'_>,
    args: &ListArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut rows = domain::list(host)?;
    if let Some(name) = &args.domain {
        let (id, _) = domain::resolve(host, name)?;
        rows.retain(|row| row.id == id);
    }
    if args.long {
        let configs: Vec<_> = rows
            .iter()
            .map(|row| Ok(json!({ "domid": row.id, "config": stored_config(host, row)? })))
            .collect::<Result<_>>()?;
        let always = Options {
            json: true,
            ..*options
        };
        return print(out, &always, &configs, String::new);
    }
    print(out, options, &rows, || {
        tables::domains(&rows, options.verbose)
    })
}

/// The configuration that the toolstack which made the domain has left, in libxl's JSON; `null` if there is none. Unlike
/// xl, which passes over a domain whose configuration cannot be read, this says so.
fn stored_config(host: &Host<'_>, row: &DomainSummary) -> Result<Value> {
    let file = format!("userdata-d.{}.{}.libxl-json", row.id, row.uuid.hyphenated());
    let path = host.places.userdata.join(file);
    let failed = |cause: String| {
        let object = path.display().to_string();
        Error::new(
            Code::System,
            "read the domain's configuration",
            object,
            cause,
        )
        .domain(row.id)
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(text.trim_end_matches(['\0', '\n']))
            .map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// `rxl info`.
pub(super) fn info(
    host: &Host<'_>,
    args: &InfoArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let facts = info::facts(&host.hv.host()?, &rustix::system::uname());
    let values: Map<String, Value> = facts
        .iter()
        .filter(|(name, _)| args.fact.as_ref().is_none_or(|only| name.starts_with(only)))
        .map(|(name, value)| ((*name).to_owned(), info::json_value(value)))
        .collect();
    if let (Some(fact), true) = (&args.fact, values.is_empty()) {
        let error = Error::new(
            Code::Usage,
            "show the fact",
            fact,
            "there is no fact of this name",
        );
        return Err(error.hint("`rxl info` shows all of them").into());
    }
    print(out, options, &values, || {
        info::text(&facts, args.fact.as_deref())
    })
}

/// `rxl domid`.
pub(super) fn domid(
    host: &Host<'_>,
    args: &DomidArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (id, name) = domain::resolve(host, &args.name)?;
    print(out, options, &json!({ "id": id, "name": name }), || {
        format!("{id}\n")
    })
}

/// `rxl domname`.
pub(super) fn domname(
    host: &Host<'_>,
    args: &DomnameArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (id, name) = domain::resolve(host, &args.id.to_string())?;
    print(out, options, &json!({ "id": id, "name": name }), || {
        format!("{name}\n")
    })
}

/// `rxl dmesg`: the bytes as Xen has them; in JSON, what of them is no text is replaced.
pub(super) fn dmesg(
    host: &Host<'_>,
    args: &DmesgArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let log = host.hv.console_ring(args.clear)?;
    if options.json {
        writeln!(out, "{}", json!({ "log": String::from_utf8_lossy(&log) }))?;
    } else {
        out.write_all(&log)?;
    }
    Ok(())
}

/// `rxl network-list`.
pub(super) fn networks(
    host: &Host<'_>,
    args: &Domains,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let rows = devices(host, args, |id| list::vifs(host.store, id))?;
    print(out, options, &rows, || tables::networks(&rows))
}

/// `rxl block-list`.
pub(super) fn blocks(
    host: &Host<'_>,
    args: &Domains,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let rows = devices(host, args, |id| list::vbds(host.store, id))?;
    print(out, options, &rows, || tables::blocks(&rows))
}

/// What `read` finds for each domain that is named.
fn devices<T>(
    host: &Host<'_>,
    args: &Domains,
    read: impl Fn(DomId) -> Result<Vec<T>>,
) -> Result<Vec<Row<T>>> {
    let mut rows = Vec::new();
    for name in &args.domains {
        let (domid, name) = domain::resolve(host, name)?;
        rows.extend(read(domid)?.into_iter().map(|item| Row {
            domid,
            name: name.clone(),
            item,
        }));
    }
    Ok(rows)
}

/// The domains named, or all.
fn chosen(host: &Host<'_>, names: &[String]) -> Result<Vec<DomainSummary>> {
    let all = domain::list(host)?;
    if names.is_empty() {
        return Ok(all);
    }
    let mut rows = Vec::new();
    for name in names {
        let (id, _) = domain::resolve(host, name)?;
        rows.extend(all.iter().find(|row| row.id == id).cloned());
    }
    Ok(rows)
}

/// `rxl vcpu-list`.
pub(super) fn vcpus(
    host: &Host<'_>,
    args: &AnyDomains,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let cpus = host.hv.host()?.max_cpu_id + 1;
    let mut rows = Vec::new();
    for DomainSummary { id, name, .. } in chosen(host, &args.domains)? {
        let name = name.unwrap_or_else(|| tables::NO_NAME.to_owned());
        rows.extend(host.hv.vcpus(id)?.into_iter().map(|item| Row {
            domid: id,
            name: name.clone(),
            item,
        }));
    }
    print(out, options, &rows, || tables::vcpus(&rows, cpus))
}

/// `rxl uptime`: Dom0's from its kernel, the others' from when they were started, as xenstore has it. A domain that no
/// start was noted for is left out, as xl leaves it out.
pub(super) fn uptime(
    host: &Host<'_>,
    args: &AnyDomains,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let domains = chosen(host, &args.domains)?;
    let paths: Vec<_> = domains
        .iter()
        .map(|row| XsPath::new(format!("/vm/{}/start_time", row.uuid.hyphenated())))
        .collect();
    let starts = host.store.read_many(&paths)?;
    let mut rows = Vec::new();
    for (domain, start) in domains.into_iter().zip(starts) {
        let seconds = if domain.id == DomId::DOM0 {
            u64::try_from(rustix::system::sysinfo().uptime).ok()
        } else {
            start
                .and_then(|start| started(&start))
                .map(|start| now.saturating_sub(start))
        };
        rows.extend(seconds.map(|seconds| Row {
            domid: domain.id,
            name: domain.name.unwrap_or_else(|| tables::NO_NAME.to_owned()),
            item: Uptime { seconds },
        }));
    }
    print(out, options, &rows, || tables::uptimes(&rows))
}

/// Seconds since the epoch: libxl writes them with hundredths.
fn started(text: &str) -> Option<u64> {
    text.split('.').next()?.trim().parse().ok()
}
