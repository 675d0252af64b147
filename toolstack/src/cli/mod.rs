// SPDX-License-Identifier: GPL-3.0-only
//! The `rxl` command: the verbs of `xl`, and those of the service groups.
//!
//! Who lives here: `verbs` (the command line), one file per group of verbs (`create`, `lifecycle`, `show`, `console`,
//! `ft`, `ft_group`, `guest`), `tables`, `ft_text` and `group_text` (pure: data to text), `parity` (what is done of xl). Nothing else of the project calls
//! in; everything here calls down.

mod console;
mod create;
mod drill;
mod failure;
mod ft;
mod ft_group;
mod ft_text;
mod ft_upgrade;
mod ft_verbs;
mod group_text;
mod guest;
mod info;
mod lifecycle;
mod parity;
mod session;
mod show;
mod tables;
#[cfg(test)]
mod tests;
mod verbs;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use failure::Failure;
use session::Session;
use verbs::{Cli, Verb};

use crate::domain::{Host, PowerRequest};

/// Runs the command line `args` (the program's name first) and returns the exit code: 0 done, 2 wrong usage or
/// configuration, 3 failed.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let mut out = io::stdout().lock();
    let result = carry_out(&cli, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            // The reader has seen enough: `rxl list | head -1`.
            ExitCode::SUCCESS
        }
        Err(failure @ Failure::Printed(_)) => ExitCode::from(failure.exit()),
        Err(failure) => {
            let told = if cli.options.json {
                writeln!(out, "{}", failure.json())
            } else {
                let told = failure.prose(cli.verb.name());
                writeln!(io::stderr(), "{told}")
            };
            // If even that cannot be written, the exit code is all that is left to say it.
            drop(told);
            ExitCode::from(failure.exit())
        }
    }
}

/// The command line is wrong, or asks for help. A verb that xl has and rxl has not yet is told as that.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(verb) = parity::later(word)
    {
        let note = format!("rxl {}: known to xl, not supported by rxl yet", verb.name);
        drop(writeln!(io::stderr(), "{note}"));
        return ExitCode::from(2);
    }
    drop(error.print());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Carries out one verb. Verbs that need neither Xen nor xenstore open neither.
fn carry_out(cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let options = &cli.options;
    match &cli.verb {
        Verb::Create(args) if args.dryrun => create::dry_run(args, options, out),
        Verb::Create(args) => create::create(args, options, out),
        Verb::Destroy(args) => on_host(|host| lifecycle::destroy(host, args)),
        Verb::Shutdown(args) => on_host(|host| lifecycle::end(host, args, PowerRequest::Poweroff)),
        Verb::Reboot(args) => on_host(|host| lifecycle::end(host, args, PowerRequest::Reboot)),
        Verb::Pause(args) => on_host(|host| lifecycle::pause(host, &args.domain)),
        Verb::Unpause(args) => on_host(|host| lifecycle::unpause(host, &args.domain)),
        Verb::Trigger(args) => on_host(|host| lifecycle::trigger(host, args)),
        Verb::Sysrq(args) => on_host(|host| lifecycle::sysrq(host, args)),
        Verb::Recover => on_host(|host| lifecycle::recover(host, options, out)),
        Verb::Console(args) => on_host(|host| console::attach(host, args)),
        Verb::List(args) => on_host(|host| show::list(host, args, options, out)),
        Verb::Info(args) => on_host(|host| show::info(host, args, options, out)),
        Verb::Domid(args) => on_host(|host| show::domid(host, args, options, out)),
        Verb::Domname(args) => on_host(|host| show::domname(host, args, options, out)),
        Verb::Dmesg(args) => on_host(|host| show::dmesg(host, args, options, out)),
        Verb::NetworkList(args) => on_host(|host| show::networks(host, args, options, out)),
        Verb::BlockList(args) => on_host(|host| show::blocks(host, args, options, out)),
        Verb::VcpuList(args) => on_host(|host| show::vcpus(host, args, options, out)),
        Verb::Uptime(args) => on_host(|host| show::uptime(host, args, options, out)),
        Verb::Guest(args) => on_host(|host| guest::run(host, args, options, out)),
        Verb::Drill(args) => drill::run(&args.words, options),
        Verb::Ft(verb) => ft::run(verb, options, out),
    }
}

fn on_host(verb: impl FnOnce(&Host<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
    let session = Session::open()?;
    verb(&session.host())
}
