// SPDX-License-Identifier: GPL-3.0-only
//! What the care of a declared group takes: making members, looking at them, and telling the logger of them.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender};

use fttcp::control;

use super::backend::{Backend, Connection};
use super::core::{Action, Input, Sight, Target};
use super::daemon::Message;
use super::images;
use super::upgrades;
use super::work::{ask_logger, gone, interface, with_connection};
use crate::config::DomainConfig;
use crate::domain::{self, CreateOptions};
use crate::error::{Code, Error, Result};
use crate::guest::{FROZEN, HEARTBEAT, PROGRESS, WRAP};
use crate::ids::DomId;
use crate::store::{StoreExt, XsPath};

/// Makes members, and images of them, one after the other.
pub(super) fn make_all(
    backend: &dyn Backend,
    orders: &Receiver<Action>,
    to_core: &Sender<Message>,
) {
    let mut connection = None;
    for order in orders {
        let input = match order {
            Action::Make {
                group,
                logger,
                config,
                of_image,
            } => {
                let result = with_connection(backend, &mut connection, |open| {
                    let image = of_image.then(|| images::path(&backend.host(open), &group));
                    make(backend, open, &config, logger, image.as_deref())
                });
                Input::Made {
                    group,
                    name: config.name,
                    result,
                }
            }
            Action::Capture { group, domid } => {
                let result = with_connection(backend, &mut connection, |open| {
                    images::capture(&backend.host(open), &group, domid)
                });
                Input::Captured {
                    group,
                    domid,
                    result,
                }
            }
            Action::DropImage(group) => {
                let result = with_connection(backend, &mut connection, |open| {
                    images::remove(&images::path(&backend.host(open), &group))
                });
                if let Err(error) = result {
                    eprintln!("rxld: {error}");
                }
                continue;
            }
            _ => continue,
        };
        if to_core.send(Message::Input(input)).is_err() {
            return;
        }
    }
}

fn make(
    backend: &dyn Backend,
    connection: &Connection,
    config: &DomainConfig,
    logger: DomId,
    image: Option<&Path>,
) -> Result<(DomId, String)> {
    // A supervisor that was killed may have made it: a creation that was cut off was undone, so this one is whole.
    let all = connection.hv.domains()?;
    let mut there = all.iter().filter(|info| info.uuid == config.uuid);
    let domid = match there.next() {
        Some(info) => info.id,
        None => {
            let cancel = AtomicBool::new(false);
            let options = CreateOptions {
                paused: false,
                cancel: &cancel,
                progress: None,
                image,
            };
            domain::create(&backend.host(connection), config, &options)?
        }
    };
    match interface(connection, domid, logger) {
        Ok(name) => Ok((domid, name)),
        Err(mut error) => {
            if let Err(left) = gone(domain::destroy(&backend.host(connection), domid)) {
                error.leftovers.push(left.to_string());
            }
            Err(error)
        }
    }
}

/// Looks at members, for one group after the other.
pub(super) fn look_all(
    backend: &dyn Backend,
    orders: &Receiver<Action>,
    to_core: &Sender<Message>,
) {
    let mut connection = None;
    for order in orders {
        let Action::Look { group, targets } = order else {
            continue;
        };
        // Without xenstore nothing is seen, which is no fault of the members.
        let sights = with_connection(backend, &mut connection, |open| look(open, &targets))
            .unwrap_or_else(|error| {
                eprintln!("rxld: group {group}: {error}");
                Vec::new()
            });
        let input = Input::Seen { group, sights };
        if to_core.send(Message::Input(input)).is_err() {
            return;
        }
    }
}

/// One flight for all of them.
fn look(connection: &Connection, targets: &[Target]) -> Result<Vec<Sight>> {
    const CONNECTED: &str = "4";
    let paths: Vec<XsPath> = targets
        .iter()
        .flat_map(|target| {
            let home = XsPath::domain(target.domid);
            let state = home.join(format!("device/vif/{}/state", target.devid));
            let [beat, progress, frozen, wrap] =
                [HEARTBEAT, PROGRESS, FROZEN, WRAP].map(|node| home.join(node));
            [beat, progress, frozen, state, wrap]
        })
        .collect();
    let values = connection.store.read_many(&paths)?;
    let sights = targets.iter().zip(values.chunks_exact(5));
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.trim().parse().ok());
    Ok(sights
        .map(|(target, values)| Sight {
            domid: target.domid,
            beat: number(&values[0]),
            // What is frozen may be what the service waits for.
            progress: number(&values[1]).filter(|_| values[2].is_none()),
            connected: values[3].as_deref() == Some(CONNECTED),
            wrapped: values[4].is_some(),
            // Not there yet, or not any more.
            interface: target
                .find
                .and_then(|logger| interface(connection, target.domid, logger).ok()),
        })
        .collect())
}

/// Asks loggers whether their active servers are silent.
pub(super) fn ask_all(backend: &dyn Backend, orders: &Receiver<Action>, to_core: &Sender<Message>) {
    let mut connection = None;
    for order in orders {
        let (group, logger) = match order {
            Action::Ask { group, logger } => (group, logger),
            Action::Progress { group, logger } => {
                let input = upgrades::ask_progress(backend, &mut connection, group, logger);
                if to_core.send(Message::Input(input)).is_err() {
                    return;
                }
                continue;
            }
            _ => continue,
        };
        let request = control::Request::Probe {
            group: group.clone(),
        };
        let result = with_connection(backend, &mut connection, |open| {
            match ask_logger(backend, open, logger, &request)? {
                control::Reply::Silence(silence) => Ok(silence),
                other => Err(Error::new(
                    Code::State,
                    "ask for a sign of life",
                    format!("the logger in domain {logger}"),
                    format!("unexpected answer: {other:?}"),
                )),
            }
        });
        let input = Input::Heard { group, result };
        if to_core.send(Message::Input(input)).is_err() {
            return;
        }
    }
}

/// The interface towards the server that the logger has for active; `None`: it does not know the group.
pub(super) fn serves(
    backend: &dyn Backend,
    connection: &Connection,
    logger: DomId,
    group: &str,
) -> Result<Option<String>> {
    let request = control::Request::Status {
        group: Some(group.to_owned()),
        connections: false,
    };
    match ask_logger(backend, connection, logger, &request)? {
        control::Reply::Status { groups } => {
            let mut ours = groups.into_iter().filter(|one| one.spec.name == group);
            Ok(ours.next().map(|one| one.spec.active))
        }
        _ => Ok(None),
    }
}

/// Stops a domain that may still write or answer. One that is gone does neither.
pub(super) fn stop(connection: &Connection, domid: DomId) -> Result<()> {
    gone(connection.hv.pause(domid))
}

/// Carries out an order about the members of a group in the logger.
pub(super) fn tell_logger(
    backend: &dyn Backend,
    connection: &Connection,
    order: &Action,
) -> Result<()> {
    let ask = |logger: DomId, request: &control::Request| {
        ask_logger(backend, connection, logger, request).map(drop)
    };
    match order {
        Action::Serve { logger, spec, .. } => {
            // Left from a supervisor that has lost its memory.
            let end = control::Request::Unprotect {
                group: spec.name.clone(),
            };
            // Refused if there is none, which is the rule.
            let _ = ask(*logger, &end);
            let group = (**spec).clone();
            ask(*logger, &control::Request::Protect { group })
        }
        Action::Join {
            group,
            logger,
            member,
            pause,
        } => {
            if *pause {
                connection.hv.pause(member.domid)?;
            }
            // A supervisor that was killed may have told it already.
            leave(&ask, group, *logger, &member.interface)?;
            let join = control::Request::AddStandby {
                group: group.clone(),
                interface: member.interface.clone(),
            };
            ask(*logger, &join)
        }
        Action::Leave {
            group,
            logger,
            interface,
        } => leave(&ask, group, *logger, interface),
        Action::Change {
            group,
            logger,
            change,
        } => upgrades::change(backend, connection, group, *logger, change),
        _ => Ok(()),
    }
}

fn leave(
    ask: &dyn Fn(DomId, &control::Request) -> Result<()>,
    group: &str,
    logger: DomId,
    interface: &str,
) -> Result<()> {
    let request = control::Request::RemoveStandby {
        group: group.to_owned(),
        interface: interface.to_owned(),
    };
    ask(logger, &request)
}

/// What the core is told of it.
pub(super) fn told(order: &Action, result: Result<()>) -> Option<Input> {
    let (group, domid) = match order {
        Action::Change { group, change, .. } => {
            return Some(Input::Changed {
                group: group.clone(),
                change: change.clone(),
                result,
            });
        }
        Action::Serve { spec, domid, .. } => (&spec.name, *domid),
        Action::Join { group, member, .. } => (group, member.domid),
        _ => {
            // The interface goes with its domain in any case.
            if let Err(error) = result {
                eprintln!("rxld: {error}");
            }
            return None;
        }
    };
    Some(Input::Joined {
        group: group.clone(),
        domid,
        result,
    })
}
