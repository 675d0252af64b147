// SPDX-License-Identifier: GPL-3.0-only
//! The daemon's socket: one thread for each client, which reads a request, has it answered and writes what comes.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use fttcp::control;
use uuid::Uuid;

use super::backend::Backend;
use super::core::{Input, unknown_group};
use super::daemon::{Message, Question, Settings};
use super::plan::GroupPlan;
use super::proto::{GroupConfig, GroupReport, GroupState, Member, Reply, Request};
use super::work::{self, SharedBackend};
use crate::domain;
use crate::error::{Code, Error, Result};

/// Makes sure that this is the only daemon, for as long as the file is open.
pub(super) fn lock(settings: &Settings) -> Result<File> {
    let op = "become the supervisor";
    let object = settings.lock.display().to_string();
    let failed = |error: std::io::Error| {
        let code = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Code::Denied,
            _ => Code::System,
        };
        Error::new(code, op, &object, error).hint("run it as root in Dom0")
    };
    if let Some(directory) = settings.lock.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&settings.lock)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let cause = "another rxld runs already";
            Err(Error::new(Code::State, op, &object, cause)
                .hint("`rxl` uses that one; nothing is to be done"))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Listens, from now on, in a thread of its own. Only root may connect.
pub(super) fn listen(
    settings: &Settings,
    backend: &SharedBackend,
    to_core: &Sender<Message>,
) -> Result<()> {
    let listener = bind(&settings.socket).map_err(|error| {
        let object = settings.socket.display().to_string();
        Error::new(Code::System, "listen for requests", object, error)
    })?;
    let (backend, to_core) = (Arc::clone(backend), to_core.clone());
    thread::spawn(move || {
        for client in listener.incoming() {
            match client {
                Ok(client) => {
                    let (backend, to_core) = (Arc::clone(&backend), to_core.clone());
                    thread::spawn(move || serve(client, backend.as_ref(), &to_core));
                }
                Err(error) => eprintln!("rxld: cannot accept a client: {error}"),
            }
        }
    });
    Ok(())
}

/// The socket gets its name when it has its permissions, in place of one that a killed daemon has left.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

fn serve(client: UnixStream, backend: &dyn Backend, to_core: &Sender<Message>) {
    // A client that hangs up, or that talks nonsense and hangs up, is no concern of the daemon's.
    let _ = try_serve(client, backend, to_core);
}

fn try_serve(
    client: UnixStream,
    backend: &dyn Backend,
    to_core: &Sender<Message>,
) -> std::io::Result<()> {
    let mut output = client.try_clone()?;
    for line in BufReader::new(client).lines() {
        let replies = match serde_json::from_str(&line?) {
            Ok(request) => answer(request, backend, to_core),
            Err(error) => {
                let failure = Error::new(Code::Usage, "understand the request", "rxld", error);
                Replies::One(Reply::Error { error: failure })
            }
        };
        match replies {
            Replies::One(reply) => write(&mut output, &reply)?,
            Replies::Many(replies) => {
                for reply in replies {
                    write(&mut output, &reply)?;
                }
            }
        }
    }
    Ok(())
}

fn write(output: &mut UnixStream, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    output.write_all(&line)
}

enum Replies {
    One(Reply),
    Many(Receiver<Reply>),
}

fn answer(request: Request, backend: &dyn Backend, to_core: &Sender<Message>) -> Replies {
    let ask = |question| one(ask(to_core, question));
    match request {
        Request::Status => ask(Question::Status),
        Request::List => ask(Question::Domains),
        Request::Watch { domid, config } => {
            let watched = ask_done(to_core, Question::Watch(domid, config));
            // It may have ended before it was watched: nobody else would tell.
            one(watched
                .and_then(|()| look(backend, to_core))
                .map(|()| Reply::Done))
        }
        Request::Unwatch { domid } => ask(Question::Unwatch(domid)),
        Request::FtProtect { group } => one(protect(&group, backend, to_core)),
        Request::FtApply { plan } => one(apply(plan, backend, to_core)),
        Request::FtUpgrade { group, order } => ask(Question::Upgrade(group, order)),
        Request::FtRollback { group } => ask(Question::Rollback(group)),
        Request::FtUnprotect { group } => one(unprotect(&group, backend, to_core)),
        Request::FtFailover { group, reason } => ask(Question::Failover(group, reason)),
        Request::FtStatus { group, connections } => {
            one(status(group.as_deref(), connections, backend, to_core))
        }
        Request::Events { since, follow } => {
            let (to_client, replies) = channel();
            let question = Question::Events { since, follow };
            match to_core.send(Message::Ask(question, to_client)) {
                Ok(()) => Replies::Many(replies),
                Err(_) => one(Err(ending())),
            }
        }
    }
}

fn one(reply: Result<Reply>) -> Replies {
    Replies::One(reply.unwrap_or_else(|error| Reply::Error { error }))
}

fn ask(to_core: &Sender<Message>, question: Question) -> Result<Reply> {
    let (to_client, replies) = channel();
    to_core
        .send(Message::Ask(question, to_client))
        .map_err(|_| ending())?;
    replies.recv().map_err(|_| ending())
}

fn ask_done(to_core: &Sender<Message>, question: Question) -> Result<()> {
    match ask(to_core, question)? {
        Reply::Error { error } => Err(error),
        _ => Ok(()),
    }
}

fn ending() -> Error {
    Error::new(
        Code::State,
        "talk to the supervisor",
        "rxld",
        "it is about to end",
    )
}

/// Has the core look at the domains as they are now.
fn look(backend: &dyn Backend, to_core: &Sender<Message>) -> Result<()> {
    let infos = backend.open()?.hv.domains()?;
    to_core
        .send(Message::Input(Input::Domains(infos)))
        .map_err(|_| ending())
}

fn groups(to_core: &Sender<Message>) -> Result<Vec<GroupState>> {
    match ask(to_core, Question::Groups)? {
        Reply::Groups { groups } => Ok(groups.into_iter().map(|report| report.state).collect()),
        _ => Err(ending()),
    }
}

/// A group without its logger's view.
pub(super) const fn report(state: GroupState) -> GroupReport {
    GroupReport {
        state,
        logger: None,
        logger_error: None,
    }
}

fn protect(
    config: &GroupConfig,
    backend: &dyn Backend,
    to_core: &Sender<Message>,
) -> Result<Reply> {
    let connection = backend.open()?;
    let host = backend.host(&connection);
    let (logger, _) = domain::resolve(&host, &config.logger)?;
    let member = |name: &String| -> Result<Member> {
        let (domid, name) = domain::resolve(&host, name)?;
        let interface = work::interface(&connection, domid, logger)?;
        Ok(Member {
            domid,
            name,
            interface,
        })
    };
    let active = member(&config.service)?;
    let standbys = config
        .standbys
        .iter()
        .map(member)
        .collect::<Result<Vec<Member>>>()?;
    let mut all: Vec<_> = standbys
        .iter()
        .chain([&active])
        .map(|member| member.domid)
        .collect();
    all.sort_unstable();
    all.dedup();
    if all.len() != standbys.len() + 1 {
        let cause = "a domain is named twice";
        return Err(
            Error::new(Code::Usage, "protect the group", &config.name, cause)
                .hint("service and standbys must be different domains"),
        );
    }
    let services = if config.ft {
        config.services.clone()
    } else {
        Vec::new()
    };
    let spec = control::GroupSpec {
        name: config.name.clone(),
        north: config.north.clone(),
        active: active.interface.clone(),
        standbys: standbys
            .iter()
            .map(|member| member.interface.clone())
            .collect(),
        services: services.clone(),
        outbound: config.outbound,
        ..control::GroupSpec::default()
    };
    let all = groups(to_core)?;
    if all
        .iter()
        .any(|group| group.name == config.name && group.care.is_some())
    {
        let cause = "a group file declares a group of this name";
        return Err(
            Error::new(Code::Exists, "protect the group", &config.name, cause)
                .hint("end it first: rxl ft unprotect"),
        );
    }
    // A group of this name that the logger has is replaced.
    if all
        .iter()
        .any(|group| group.name == config.name && group.logger == logger)
    {
        let end = control::Request::Unprotect {
            group: config.name.clone(),
        };
        work::ask_logger(backend, &connection, logger, &end)?;
    }
    work::ask_logger(
        backend,
        &connection,
        logger,
        &control::Request::Protect { group: spec },
    )?;
    let state = GroupState {
        name: config.name.clone(),
        logger,
        north: config.north.clone(),
        active: Some(active),
        standbys,
        services,
        failovers: 0,
        making: None,
        orders: Vec::new(),
        care: None,
    };
    ask_done(to_core, Question::Protected(Box::new(state)))?;
    // A member may have ended while the logger was told.
    look(backend, to_core)?;
    Ok(Reply::Done)
}

fn apply(plan: Box<GroupPlan>, backend: &dyn Backend, to_core: &Sender<Message>) -> Result<Reply> {
    let connection = backend.open()?;
    let (logger, _) = domain::resolve(&backend.host(&connection), &plan.logger)?;
    ask_done(to_core, Question::Apply(plan, logger, Uuid::new_v4()))?;
    Ok(Reply::Done)
}

fn unprotect(name: &str, backend: &dyn Backend, to_core: &Sender<Message>) -> Result<Reply> {
    let all = groups(to_core)?;
    let group = all
        .iter()
        .find(|group| group.name == name)
        .ok_or_else(|| unknown_group("end the group", name))?;
    let connection = backend.open()?;
    let end = control::Request::Unprotect {
        group: name.to_owned(),
    };
    // A logger that is gone forwards nothing any more; the group ends all the same.
    let known = group.care.as_ref().is_none_or(|care| care.in_logger);
    if known && connection.hv.domain(group.logger)?.is_some() {
        work::ask_logger(backend, &connection, group.logger, &end)?;
    }
    ask_done(to_core, Question::Unprotected(name.to_owned()))?;
    Ok(Reply::Done)
}

fn status(
    name: Option<&str>,
    connections: bool,
    backend: &dyn Backend,
    to_core: &Sender<Message>,
) -> Result<Reply> {
    let mut all = groups(to_core)?;
    if let Some(name) = name {
        all.retain(|group| group.name == name);
        if all.is_empty() {
            return Err(unknown_group("tell the group's state", name));
        }
    }
    if all.is_empty() {
        return Ok(Reply::Groups { groups: Vec::new() });
    }
    let connection = backend.open()?;
    let mut reports = Vec::new();
    for group in all {
        let request = control::Request::Status {
            group: Some(group.name.clone()),
            connections,
        };
        let answer = work::ask_logger(backend, &connection, group.logger, &request);
        let mut report = report(group);
        match answer {
            Ok(control::Reply::Status { groups }) => {
                report.logger = groups
                    .into_iter()
                    .find(|other| other.spec.name == report.state.name);
            }
            Ok(other) => report.logger_error = Some(format!("unexpected answer: {other:?}")),
            Err(error) => report.logger_error = Some(error.to_string()),
        }
        reports.push(report);
    }
    Ok(Reply::Groups { groups: reports })
}
