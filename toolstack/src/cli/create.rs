// SPDX-License-Identifier: GPL-3.0-only
//! `rxl create`: a file becomes a domain, or nothing at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::console;
use super::failure::Failure;
use super::session::Session;
use super::verbs::{CreateArgs, Options};
use crate::config::{self, DomainConfig};
use crate::domain::{self, CreateOptions, Host};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::supervise::client;
use crate::supervise::proto::Request;

/// `rxl create -n`: checks the file and prints the configuration as JSON. Touches nothing.
pub(super) fn dry_run(
    args: &CreateArgs,
    _options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let config = read(args)?;
    writeln!(out, "{}", config::to_json(&config)?)?;
    Ok(())
}

/// `rxl create`.
pub(super) fn create(
    args: &CreateArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let config = read(args)?;
    let session = Session::open()?;
    let host = session.host();
    if !args.no_supervise {
        // Before the domain is made: if nobody can act on its end, nothing is to be undone.
        client::ensure_running()?;
    }
    // With -c it starts once the console is open, so that no line is missed.
    let start_later = args.console && !args.paused;
    let id = make(&host, &config, args.paused || start_later, options)?;
    let started = start(&host, args, &config, id, start_later);
    if started.is_ok() && options.json {
        writeln!(out, "{}", json!({ "domid": id, "name": config.name }))?;
    }
    started
}

/// The configuration, with warnings printed.
fn read(args: &CreateArgs) -> Result<DomainConfig, Failure> {
    let (path, overrides) = arguments(args)?;
    match config::load(&path, &overrides)? {
        Ok(loaded) => {
            if !args.quiet {
                for warning in &loaded.warnings {
                    writeln!(io::stderr(), "{warning}")?;
                }
            }
            Ok(loaded.config)
        }
        Err(invalid) => Err(Failure::Config {
            file: path.display().to_string(),
            invalid,
        }),
    }
}

/// The file and the keys that override it. With `-f FILE`, what stands in the file's place is a key.
fn arguments(args: &CreateArgs) -> Result<(PathBuf, Vec<String>)> {
    let mut overrides = args.overrides.clone();
    let path = match (&args.defconfig, &args.file) {
        (Some(path), Some(key)) => {
            overrides.insert(0, key.display().to_string());
            path
        }
        (Some(path), None) | (None, Some(path)) => path,
        (None, None) => Path::new(""),
    };
    match overrides.iter().find(|text| !text.contains('=')) {
        Some(word) => {
            let cause = "expected KEY=VALUE after the file";
            Err(Error::new(Code::Usage, "override a key", word, cause)
                .hint("one file makes one domain, as in rxl create web.cfg memory=512"))
        }
        None => Ok((path.to_owned(), overrides)),
    }
}

/// Makes the domain; Ctrl-C and its like make it stop at the next step and undo what was done.
fn make(host: &Host<'_>, config: &DomainConfig, paused: bool, options: &Options) -> Result<DomId> {
    let cancel = Arc::new(AtomicBool::new(false));
    let mut handlers = Vec::new();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let handler = signal_hook::flag::register(signal, Arc::clone(&cancel))
            .map_err(|e| Error::new(Code::System, "listen for signals", &config.name, e))?;
        handlers.push(handler);
    }
    let verbose = options.verbose;
    let say = |step: &str| {
        if verbose {
            // Progress is a courtesy; that it cannot be written must not stop a creation half way.
            drop(writeln!(io::stderr(), "{}: {step}", config.name));
        }
    };
    let result = domain::create(
        host,
        config,
        &CreateOptions {
            paused,
            cancel: &cancel,
            progress: Some(&say),
            image: None,
        },
    );
    for handler in handlers {
        signal_hook::low_level::unregister(handler);
    }
    result
}

/// What follows once the domain is there: supervision, console, the start.
fn start(
    host: &Host<'_>,
    args: &CreateArgs,
    config: &DomainConfig,
    id: DomId,
    start_later: bool,
) -> Result<(), Failure> {
    if !args.no_supervise {
        let watch = Request::Watch {
            domid: id,
            config: Box::new(config.clone()),
        };
        client::call(&watch).map_err(|mut error| {
            error.domain = Some(id);
            error.leftovers.push(format!(
                "domain {id}, {}, which runs without anybody acting on its end",
                config.name
            ));
            error
        })?;
    }
    if !args.console {
        return Ok(());
    }
    let tty = console::open(&domain::console_tty(host, id)?)?;
    if start_later {
        host.hv.unpause(id)?;
    }
    console::join(&tty, &config.name, console::ESCAPE)
}
