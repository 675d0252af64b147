// SPDX-License-Identifier: GPL-3.0-only
//! Asking a guest to end, waiting for its end, its magic keys, and its console.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Host;
use super::names::existing;
use crate::error::{Code, Error, Result};
use crate::hypervisor::Trigger;
use crate::ids::DomId;
use crate::store::{Request, StoreExt, UNINTERRUPTED, Watch, XsPath};

/// How long xenconsoled may take to offer a new domain's console.
const CONSOLE_LIMIT: Duration = Duration::from_secs(10);

/// What a guest is asked for through `control/shutdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    /// Shut down and power off.
    Poweroff,
    /// Shut down and start again.
    Reboot,
}

impl PowerRequest {
    /// The word that the guest reads, and that names its `control/feature-*` node.
    const fn word(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
        }
    }
}

/// Asks the guest to shut down or to reboot; returns at once.
///
/// The request is left in xenstore also when the guest has not (yet) said that it listens: a guest that is still
/// booting acts upon it once its driver is up. With `force`, such a guest is sent an ACPI power button
/// event instead.
///
/// # Errors
/// `Code::NotFound`; `Code::State` if the domain has ended already.
pub fn power(host: &Host<'_>, id: DomId, request: PowerRequest, force: bool) -> Result<()> {
    let word = request.word();
    let op = format!("ask the domain for a {word}");
    let info = existing(host.hv, &op, id)?;
    if info.state.dying || info.state.shutdown.is_some() {
        let error = Error::new(
            Code::State,
            &op,
            format!("domain {id}"),
            "it has shut down already",
        );
        return Err(error.domain(id).hint("`rxl destroy` frees what it holds"));
    }
    let control = XsPath::domain(id).join("control");
    if force {
        let feature = control.join(format!("feature-{word}"));
        if host.store.read_text(&feature)?.as_deref() != Some("1") {
            return host.hv.trigger(id, Trigger::Power, 0);
        }
    }
    write(host, id, Request::write(control.join("shutdown"), word))
}

/// Sends a magic SysRq key to the guest (`control/sysrq`); `'c'` crashes a Linux guest.
///
/// # Errors
/// `Code::NotFound`; `Code::Usage` if `key` is not a letter or a digit.
pub fn sysrq(host: &Host<'_>, id: DomId, key: char) -> Result<()> {
    let op = "send a SysRq key";
    if !key.is_ascii_alphanumeric() {
        let cause = format!("{key:?} is not a letter or a digit");
        return Err(Error::new(Code::Usage, op, format!("domain {id}"), cause).domain(id));
    }
    existing(host.hv, op, id)?;
    write(
        host,
        id,
        Request::write(XsPath::domain(id).join("control/sysrq"), key),
    )
}

fn write(host: &Host<'_>, id: DomId, request: Request) -> Result<()> {
    host.store
        .request(request)
        .map(drop)
        .map_err(|error| error.domain(id))
}

/// Waits until each of `ids` has ended: shut down for any reason, or gone. Sleeps on `@releaseDomain`, which
/// xenstored fires at each of these changes.
///
/// # Errors
/// `Code::Timeout` at `deadline`, naming the domains that still run.
pub fn wait_end(host: &Host<'_>, ids: &[DomId], deadline: Option<Instant>) -> Result<()> {
    let watch = Watch {
        path: XsPath::new("@releaseDomain"),
        token: format!("rxl-wait-{}", ids.first().copied().unwrap_or_default()),
    };
    host.store.watch(&watch)?;
    let ended = wait_watched(host, ids, deadline);
    let unwatched = host.store.unwatch(&watch);
    ended.and(unwatched)
}

fn wait_watched(host: &Host<'_>, ids: &[DomId], deadline: Option<Instant>) -> Result<()> {
    let mut waiting: Vec<(DomId, Uuid)> = running(host)?
        .into_iter()
        .filter(|(id, _)| ids.contains(id))
        .collect();
    while !waiting.is_empty() {
        if host.store.next_event(deadline)?.is_none() {
            let names: Vec<String> = waiting.iter().map(|(id, _)| id.to_string()).collect();
            return Err(Error::new(
                Code::Timeout,
                "wait for the end",
                format!("domain {}", names.join(", ")),
                "still running when the time was up",
            ));
        }
        let still = running(host)?;
        waiting.retain(|domain| still.contains(domain));
    }
    Ok(())
}

/// The domains that have not ended. The handle tells a domain from a later one with the same number.
fn running(host: &Host<'_>) -> Result<Vec<(DomId, Uuid)>> {
    let infos = host.hv.domains()?;
    Ok(infos
        .into_iter()
        .filter(|info| !info.state.dying && info.state.shutdown.is_none())
        .map(|info| (info.id, info.uuid))
        .collect())
}

/// The pseudo-terminal at which xenconsoled serves the domain's console. A domain that was made just now may have to
/// wait for it, at most 10 s.
///
/// # Errors
/// `Code::NotFound`; `Code::Timeout` if xenconsoled does not offer one.
pub fn console_tty(host: &Host<'_>, id: DomId) -> Result<PathBuf> {
    let op = "find the console";
    existing(host.hv, op, id)?;
    let path = XsPath::domain(id).join("console/tty");
    let deadline = Instant::now() + CONSOLE_LIMIT;
    let offered = |tty: Option<String>| tty.filter(|tty| !tty.is_empty()).map(PathBuf::from);
    let look = |store: &_| StoreExt::read_text(store, &path).map(offered);
    let tty = host.store.wait_for(&path, deadline, &UNINTERRUPTED, look)?;
    tty.ok_or_else(|| {
        let cause = "xenconsoled has not offered one within 10 s";
        Error::new(Code::Timeout, op, path.to_string(), cause)
            .domain(id)
            .hint("is xenconsoled running? see /var/log/xen")
    })
}
