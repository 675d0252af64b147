// SPDX-License-Identifier: GPL-3.0-only
//! Verbs that change domains that exist: destroy, shutdown, reboot, pause, unpause, trigger, sysrq, recover.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::failure::Failure;
use super::verbs::{DestroyArgs, EndArgs, Options, SysrqArgs, TriggerArgs};
use crate::domain::{self, Host, Operation, PowerRequest, Recovered};
use crate::error::{Code, Error};
use crate::ids::DomId;
use crate::supervise::client;
use crate::supervise::proto::{Request, SOCKET};

/// `rxl destroy`: every domain named, also after one of them failed.
pub(super) fn destroy(host: &Host<'_>, args: &DestroyArgs) -> Result<(), Failure> {
    let mut errors = Vec::new();
    for name in &args.domains {
        let result = domain::resolve(host, name).and_then(|(id, _)| {
            forget(id)?;
            domain::destroy(host, id)
        });
        errors.extend(result.err());
    }
    Failure::unless_empty(errors)
}

/// Tells `rxld`, if it runs, that the domain's end is the operator's doing.
fn forget(id: DomId) -> Result<(), Error> {
    if UnixStream::connect(SOCKET).is_err() {
        return Ok(());
    }
    client::call(&Request::Unwatch { domid: id }).map(drop)
}

/// `rxl shutdown` and `rxl reboot`.
pub(super) fn end(host: &Host<'_>, args: &EndArgs, request: PowerRequest) -> Result<(), Failure> {
    let mut errors = Vec::new();
    let mut asked = Vec::new();
    for id in ends(host, args, &mut errors)? {
        let doing = match request {
            PowerRequest::Poweroff => "Shutting down",
            PowerRequest::Reboot => "Rebooting",
        };
        writeln!(io::stderr(), "{doing} domain {id}")?;
        match domain::power(host, id, request, args.force) {
            Ok(()) => asked.push(id),
            Err(error) => errors.push(error),
        }
    }
    if args.wait > 0 && !asked.is_empty() {
        errors.extend(domain::wait_end(host, &asked, None).err());
    }
    Failure::unless_empty(errors)
}

/// The domains that are meant.
fn ends(host: &Host<'_>, args: &EndArgs, errors: &mut Vec<Error>) -> Result<Vec<DomId>, Failure> {
    if args.all {
        let all = host.hv.domains()?.into_iter();
        return Ok(all
            .filter(|info| info.id != DomId::DOM0 && info.state.shutdown.is_none())
            .map(|info| info.id)
            .collect());
    }
    let mut ids = Vec::new();
    for name in &args.domains {
        match domain::resolve(host, name) {
            Ok((id, _)) => ids.push(id),
            Err(error) => errors.push(error),
        }
    }
    Ok(ids)
}

/// `rxl pause`.
pub(super) fn pause(host: &Host<'_>, name: &str) -> Result<(), Failure> {
    let (id, _) = domain::resolve(host, name)?;
    Ok(host.hv.pause(id)?)
}

/// `rxl unpause`.
pub(super) fn unpause(host: &Host<'_>, name: &str) -> Result<(), Failure> {
    let (id, _) = domain::resolve(host, name)?;
    Ok(host.hv.unpause(id)?)
}

/// `rxl trigger`.
pub(super) fn trigger(host: &Host<'_>, args: &TriggerArgs) -> Result<(), Failure> {
    let (id, _) = domain::resolve(host, &args.domain)?;
    let vcpus = host.hv.vcpus(id)?;
    if !vcpus.iter().any(|vcpu| vcpu.vcpu == args.vcpu) {
        let cause = format!("it has {} vCPUs, counted from 0", vcpus.len());
        let error = Error::new(
            Code::Usage,
            format!("send a trigger to vCPU {}", args.vcpu),
            &args.domain,
            cause,
        );
        return Err(error.domain(id).into());
    }
    Ok(host.hv.trigger(id, args.trigger.into(), args.vcpu)?)
}

/// `rxl sysrq`.
pub(super) fn sysrq(host: &Host<'_>, args: &SysrqArgs) -> Result<(), Failure> {
    let (id, _) = domain::resolve(host, &args.domain)?;
    Ok(domain::sysrq(host, id, args.letter)?)
}

/// `rxl recover`.
pub(super) fn recover(
    host: &Host<'_>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let recovered = domain::recover(host)?;
    if options.json {
        writeln!(out, "{}", json!(recovered))?;
    } else {
        for one in &recovered {
            writeln!(out, "{}", recovered_text(one))?;
        }
    }
    Failure::unless_empty(recovered.into_iter().flat_map(|one| one.failures).collect())
}

fn recovered_text(one: &Recovered) -> String {
    let what = match (one.operation, one.failures.is_empty()) {
        (Operation::Create, true) => "its unfinished creation was undone",
        (Operation::Create, false) => "its unfinished creation could not be undone wholly",
        (Operation::Destroy, true) => "its unfinished destruction was finished",
        (Operation::Destroy, false) => "its unfinished destruction could not be finished",
    };
    match one.domain {
        Some(id) => format!("{} (domain {id}): {what}", one.name),
        None => format!("{}: {what}", one.name),
    }
}
