// SPDX-License-Identifier: GPL-3.0-only
//! What takes time: each kind of work has a thread and connections of its own, so that it delays nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender};

use fttcp::control;
use uuid::Uuid;

use super::backend::{Backend, Connection};
use super::core::{Action, Input};
use super::daemon::Message;
use super::members;
use crate::config::DomainConfig;
use crate::domain::{self, CreateOptions};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{StoreExt, Watch, XsPath};

/// Follows the ends of domains: one event of xenstore, one list of Xen, one message to the core.
pub(super) fn watch_domains(backend: &dyn Backend, to_core: &Sender<Message>, stop: &AtomicBool) {
    if let Err(error) = try_watch(backend, to_core, stop) {
        // Without its eyes the daemon is of no use; the core ends it. If the core has ended already, nobody listens.
        let _ = to_core.send(Message::Blind(error));
    }
}

fn try_watch(backend: &dyn Backend, to_core: &Sender<Message>, stop: &AtomicBool) -> Result<()> {
    let connection = backend.open()?;
    connection.store.watch(&Watch {
        path: XsPath::new("@releaseDomain"),
        token: "rxld".into(),
    })?;
    // The first event comes at once: what ended before is noticed too.
    while connection.store.next_event(None)?.is_some() {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        let input = Input::Domains(connection.hv.domains()?);
        if to_core.send(Message::Input(input)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Gives orders to loggers, one after the other.
pub(super) fn relay(backend: &dyn Backend, orders: &Receiver<Action>, to_core: &Sender<Message>) {
    // Open beforehand: a failover must not wait for it. If this fails now, the first order tells why.
    let mut connection = backend.open().ok();
    for order in orders {
        let input = match order {
            Action::Failover {
                group,
                logger,
                reason,
                to,
                check,
                fence,
                wake,
            } => {
                // Whoever may still write or answer is stopped before another may.
                let fenced = with_connection(backend, &mut connection, |open| {
                    fence.map_or(Ok(()), |domid| members::stop(open, domid))
                });
                if let Err(error) = fenced {
                    Input::Unfenced { group, error }
                } else {
                    let request = control::Request::Failover {
                        group: group.clone(),
                        reason,
                    };
                    let result = with_connection(backend, &mut connection, |open| {
                        if check && members::serves(backend, open, logger, &group)? == Some(to) {
                            return Ok(());
                        }
                        let woken = wake.map_or(Ok(()), |domid| open.hv.unpause(domid));
                        ask_logger(backend, open, logger, &request).map(drop)?;
                        woken
                    });
                    Input::Relayed { group, result }
                }
            }
            other => {
                let done = with_connection(backend, &mut connection, |open| {
                    members::tell_logger(backend, open, &other)
                });
                match members::told(&other, done) {
                    Some(input) => input,
                    None => continue,
                }
            }
        };
        if to_core.send(Message::Input(input)).is_err() {
            return;
        }
    }
}

/// Sends a request to a logger; its refusal is an error.
pub(super) fn ask_logger(
    backend: &dyn Backend,
    connection: &Connection,
    logger: DomId,
    request: &control::Request,
) -> Result<control::Reply> {
    match backend.logger(connection.store.as_ref(), logger, request)? {
        control::Reply::Error { message } => {
            let object = format!("the logger in domain {logger}");
            Err(Error::new(Code::State, "give it an order", object, message).domain(logger))
        }
        reply => Ok(reply),
    }
}

/// Destroys and restarts, one after the other.
pub(super) fn chores(backend: &dyn Backend, orders: &Receiver<Action>, to_core: &Sender<Message>) {
    let mut connection = None;
    for order in orders {
        let input = match order {
            Action::Destroy(domid) => {
                let result = with_connection(backend, &mut connection, |open| {
                    gone(domain::destroy(&backend.host(open), domid))
                });
                Input::Destroyed { domid, result }
            }
            Action::Restart { old, config, keep } => {
                let result = with_connection(backend, &mut connection, |open| {
                    restart(backend, open, old, &config, keep)
                });
                Input::Restarted { old, result }
            }
            _ => continue,
        };
        if to_core.send(Message::Input(input)).is_err() {
            return;
        }
    }
}

/// Finishes or undoes what killed processes have left, and says so in the log.
pub(super) fn recover(backend: &dyn Backend) -> Result<()> {
    let connection = backend.open()?;
    for done in domain::recover(&backend.host(&connection))? {
        let verb = match done.operation {
            domain::Operation::Create => "undid the killed creation of",
            domain::Operation::Destroy => "finished the killed destruction of",
        };
        eprintln!("rxld: {verb} {}", done.name);
        for failure in done.failures {
            eprintln!("rxld: {failure}");
        }
    }
    Ok(())
}

/// A domain that somebody else has destroyed is as good as destroyed.
pub(super) fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.code == Code::NotFound => Ok(()),
        other => other,
    }
}

fn restart(
    backend: &dyn Backend,
    connection: &Connection,
    old: DomId,
    config: &DomainConfig,
    keep: bool,
) -> Result<(DomId, Box<DomainConfig>)> {
    let host = backend.host(connection);
    let mut config = config.clone();
    if keep {
        domain::rename(&host, old, &format!("{}-preserved-{old}", config.name))?;
        // The handle stays with the one that is kept.
        config.uuid = Uuid::new_v4();
    } else {
        gone(domain::destroy(&host, old))?;
    }
    let cancel = AtomicBool::new(false);
    let options = CreateOptions {
        paused: false,
        cancel: &cancel,
        progress: None,
        image: None,
    };
    let new = domain::create(&host, &config, &options)?;
    Ok((new, Box::new(config)))
}

/// Runs `work` on a connection that stays open from one order to the next; opens it, or a new one after a failure.
pub(super) fn with_connection<T>(
    backend: &dyn Backend,
    connection: &mut Option<Connection>,
    work: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let open = match connection.take() {
        Some(open) => open,
        None => backend.open()?,
    };
    let result = work(&open);
    let broken = result
        .as_ref()
        .is_err_and(|error| error.code == Code::Store);
    if !broken {
        *connection = Some(open);
    }
    result
}

/// The logger's interface towards a domain: its first vif that the logger serves.
pub(super) fn interface(connection: &Connection, domid: DomId, logger: DomId) -> Result<String> {
    let devices = crate::device::of_domain(connection.store.as_ref(), domid)?;
    let vif = devices
        .iter()
        .find(|device| device.kind == crate::device::Kind::Vif && device.backend == logger)
        .ok_or_else(|| {
            let cause = format!("none of its vifs has domain {logger} as its back-end");
            Error::new(
                Code::State,
                "find the way to the domain",
                format!("domain {domid}"),
                cause,
            )
            .domain(domid)
            .hint("give it vif=['backend=LOGGER'], LOGGER being the logger's domain")
        })?;
    let name = connection
        .store
        .read_text(&vif.backend_path().join("vifname"))?;
    Ok(name.unwrap_or_else(|| vif.interface()))
}

/// Writes what is to outlive the daemon; the file is whole at any moment.
pub(super) fn save(path: &Path, saved: &super::core::Saved) -> Result<()> {
    let failed = |cause: String| {
        Error::new(
            Code::System,
            "keep the supervisor's state",
            path.display().to_string(),
            cause,
        )
    };
    let text = serde_json::to_vec_pretty(saved).map_err(|error| failed(error.to_string()))?;
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| failed(error.to_string()))
}

/// Reads it back; nothing is kept if there is no file.
pub(super) fn load(path: &Path) -> Result<super::core::Saved> {
    let failed = |cause: String| {
        Error::new(
            Code::System,
            "read the supervisor's state",
            path.display().to_string(),
            cause,
        )
        .hint("remove the file: domains and groups must then be given again")
    };
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Default::default()),
        Err(error) => Err(failed(error.to_string())),
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.to_string())),
    }
}

/// A backend that several threads share.
pub(super) type SharedBackend = Arc<dyn Backend>;
