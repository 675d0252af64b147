// SPDX-License-Identifier: GPL-3.0-only
//! `rxl guest`: orders to the agent in a guest, and a look at its heartbeat.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::verbs::Options;
use crate::domain::{self, Host};
use crate::error::{Code, Error};
use crate::guest::{Pulse, Verb, ask, clock, mount_word, pulse, seed};
use crate::ids::DomId;

#[derive(Debug, Args)]
pub(super) struct GuestArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    pub(super) domain: String,
    /// How long the agent may take, in s
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) timeout: u64,
    /// What it is to do
    #[command(subcommand)]
    pub(super) verb: GuestVerb,
}

/// What the agent can do.
#[derive(Debug, Subcommand)]
pub(super) enum GuestVerb {
    /// Look whether the agent lives and its service answers
    Status,
    /// Write file systems out and freeze them; the agent thaws them by itself when --hold is over
    Quiesce {
        /// Longest time that they stay frozen, in s
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        hold: u64,
        /// Only these mount points; without any, all that can be frozen
        #[arg(value_name = "MOUNT")]
        mounts: Vec<String>,
    },
    /// Thaw what was frozen
    Thaw,
    /// Write dirty pages to the disks
    Flush,
    /// Make memory free, out of caches
    Reclaim {
        /// How much, in MiB
        #[arg(value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
        mib: u64,
    },
    /// Give its kernel fresh randomness from this host, after a restore or a failover
    Reseed,
    /// Set its clock to this host's if it is off by more than 100 ms
    Clock,
    /// Show how its memory is used: what is free, what are caches
    Hints,
}

/// `rxl guest DOMAIN VERB`.
pub(super) fn run(
    host: &Host<'_>,
    args: &GuestArgs,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (id, _) = domain::resolve(host, &args.domain)?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let verb = match &args.verb {
        GuestVerb::Status => {
            let pulse = pulse(host.store, id, deadline)?;
            status(&pulse, options, out)?;
            let verdict = verdict(&pulse);
            return match verdict {
                Err(error) if options.json => Err(Failure::Printed(error.code)),
                verdict => Ok(verdict?),
            };
        }
        verb => order(verb, id)?,
    };
    let now = || match &verb {
        // The clock is read when the order goes out, however long it had to wait for another one.
        Verb::Clock { .. } => Verb::Clock { unix: clock() },
        verb => verb.clone(),
    };
    let text = ask(host.store, id, now, deadline)?;
    if options.json {
        let facts: Map<String, Value> = facts(&text).map(|(k, v)| (k.into(), value(v))).collect();
        let line = json!({ "domain": id, "verb": verb.name(), "answer": facts });
        writeln!(out, "{line}")?;
    } else {
        for (key, value) in facts(&text) {
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            writeln!(out, "{key:<24} {value}")?;
        }
    }
    Ok(())
}

fn order(verb: &GuestVerb, id: DomId) -> Result<Verb, Error> {
    Ok(match verb {
        GuestVerb::Quiesce { hold, mounts } => Verb::Quiesce {
            hold: Duration::from_secs(*hold),
            mounts: mounts.iter().map(|mount| mount_word(mount)).collect(),
        },
        GuestVerb::Thaw => Verb::Thaw,
        GuestVerb::Flush => Verb::Flush,
        GuestVerb::Reclaim { mib } => Verb::Reclaim { bytes: mib << 20 },
        GuestVerb::Reseed => Verb::Reseed(seed(id)?),
        GuestVerb::Clock => Verb::Clock { unix: clock() },
        GuestVerb::Status | GuestVerb::Hints => Verb::Hints,
    })
}

/// The `KEY=VALUE` words of an answer.
fn facts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_ascii_whitespace()
        .filter_map(|word| word.split_once('='))
}

fn value(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| json!(text), Value::from)
}

/// An error if the agent is silent, or finds its service silent: a script need not read the text.
fn verdict(pulse: &Pulse) -> Result<(), Error> {
    let (cause, hint) = match (pulse.alive, pulse.serving || !pulse.frozen.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => ("it does not answer", "look at it: rxl console"),
        (false, _) => (
            "its agent is silent",
            "is the domain paused (rxl list), or has its kernel stopped (rxl console)?",
        ),
    };
    let object = format!("domain {}", pulse.domain);
    let error = Error::new(Code::State, "find its service well", object, cause);
    Err(error.domain(pulse.domain).hint(hint))
}

fn status(pulse: &Pulse, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    if options.json {
        return Ok(writeln!(out, "{}", json!(pulse))?);
    }
    let version = pulse.version.as_deref().unwrap_or("(it has said goodbye)");
    let version: String = version.chars().filter(|c| !c.is_control()).collect();
    let seconds = Duration::from_millis(pulse.watched_ms).as_secs_f64();
    let agent = if pulse.alive {
        "lives".to_owned()
    } else {
        format!("silent for the {seconds:.1} s of watching")
    };
    let service = match (pulse.serving, pulse.alive, pulse.frozen.is_empty()) {
        (true, ..) => "answers".to_owned(),
        (false, false, _) => "unknown".to_owned(),
        (false, true, false) => "unknown: its file systems are frozen".to_owned(),
        (false, true, true) => format!("no answer for the {seconds:.1} s of watching"),
    };
    let frozen = match pulse.frozen.as_slice() {
        [] => "none".to_owned(),
        mounts => mounts.join(" "),
    };
    for (key, value) in [
        ("agent", agent),
        ("service", service),
        ("frozen", frozen),
        ("heartbeat", pulse.heartbeat.to_string()),
        ("progress", pulse.progress.to_string()),
        ("version", version),
    ] {
        writeln!(out, "{key:<10} {value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pulse: &Pulse) -> String {
        let mut out = Vec::new();
        status(pulse, &Options::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn status_tells_a_dead_agent_a_hanging_service_and_a_frozen_one_apart() {
        let mut pulse = Pulse {
            domain: DomId(3),
            version: Some("0.1.0".into()),
            heartbeat: 9,
            progress: 4,
            alive: true,
            serving: true,
            watched_ms: 3000,
            frozen: Vec::new(),
        };
        assert!(
            told(&pulse).starts_with("agent      lives\nservice    answers\nfrozen     none\n")
        );
        assert!(verdict(&pulse).is_ok());
        pulse.serving = false;
        assert!(
            verdict(&pulse)
                .unwrap_err()
                .to_string()
                .contains("it does not answer")
        );
        assert!(told(&pulse).contains("service    no answer for the 3.0 s of watching\n"));
        pulse.frozen = vec!["/srv".into()];
        assert!(told(&pulse).contains("service    unknown: its file systems are frozen\n"));
        assert!(verdict(&pulse).is_ok(), "a service that waits for its disk");
        pulse.alive = false;
        assert!(
            verdict(&pulse)
                .unwrap_err()
                .to_string()
                .contains("its agent is silent")
        );
        assert!(told(&pulse).starts_with(
            "agent      silent for the 3.0 s of watching\nservice    unknown\nfrozen     /srv\n"
        ));
    }

    #[test]
    fn answers_become_facts() {
        let all: Vec<_> = facts("off_ms=-5 stepped=no odd").collect();
        assert_eq!(all, [("off_ms", "-5"), ("stepped", "no")]);
        assert_eq!((value("-5"), value("no")), (json!(-5), json!("no")));
    }
}
