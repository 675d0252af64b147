// SPDX-License-Identifier: GPL-3.0-only
//! `rxl ft`: service groups. The work is `rxld`'s; here are the questions and the printing.

use std::io::Write;
use std::net::IpAddr;
use std::str::FromStr;

use fttcp::control::ServiceSpec;
use fttcp::service::KINDS;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::failure::Failure;
use super::{ft_group, ft_text, ft_upgrade};

use super::ft_verbs::{EventsArgs, FtVerb, ProtectArgs, StatusArgs};
use super::verbs::Options;
use crate::error::{Code, Error, Result};
use crate::supervise::client;
use crate::supervise::proto::{GroupConfig, Reply, Request};

/// A service plug-in that fits any deterministic byte stream.
const DEFAULT_KIND: &str = KINDS[0];

/// The value of `--port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortSpec(pub(super) ServiceSpec);

impl FromStr for PortSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let port: u16 = parts
            .next()
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0)
            .ok_or("expected a port number from 1 to 65535 first, as in 80,opaque,mask=Date")?;
        let spec = json!({ "port": port, "kind": DEFAULT_KIND });
        let mut spec: ServiceSpec = serde_json::from_value(spec).map_err(|e| e.to_string())?;
        for part in parts {
            option(&mut spec, part)?;
        }
        Ok(Self(spec))
    }
}

/// A value of the control protocol, by its name there.
fn named<T: DeserializeOwned>(part: &str, name: &str) -> Result<T, String> {
    serde_json::from_value(json!(name)).map_err(|error| format!("{part}: {error}"))
}

fn option(spec: &mut ServiceSpec, part: &str) -> Result<(), String> {
    let number = |value: &str| {
        value
            .parse()
            .map_err(|_| format!("expected a number in {part}"))
    };
    match part.split_once('=') {
        Some(("mask", header)) if !header.is_empty() => spec.mask.push(header.to_owned()),
        Some(("address", address)) => {
            let address: IpAddr = address
                .parse()
                .map_err(|_| format!("expected an IP address in {part}"))?;
            spec.address = Some(address);
        }
        Some(("buffer", bytes)) => spec.buffer_bytes = number(bytes)?,
        Some(("hold", ms)) => spec.fin_hold_ms = number(ms)?,
        Some(("mss", bytes)) => {
            let bytes = number(bytes)?;
            let most = u16::try_from(bytes).ok().filter(|&most| most >= 64);
            spec.mss_clamp =
                Some(most.ok_or_else(|| format!("expected 64 to 65535 bytes in {part}"))?);
        }
        Some(("verify", manner)) => spec.verify = named(part, manner)?,
        Some(("full", policy)) => spec.on_full = named(part, policy)?,
        None if part.starts_with('@') => spec.define_from(part[1..].as_ref())?,
        None if KINDS.contains(&part) => part.clone_into(&mut spec.kind),
        None => {
            return Err(format!(
                "unknown kind of service \"{part}\", expected {} or @FILE.toml, a definition",
                KINDS.join(", ")
            ));
        }
        Some(_) => {
            return Err(format!(
                "unknown option \"{part}\", expected mask=HEADER, address=IP, buffer=BYTES, hold=MS, mss=BYTES, verify=MANNER or full=POLICY"
            ));
        }
    }
    Ok(())
}

/// Carries out one of the verbs.
pub(super) fn run(verb: &FtVerb, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    // Needs no supervisor, and no Xen.
    if let FtVerb::Check(args) = verb {
        return ft_group::check(&args.file, options, out);
    }
    client::ensure_running()?;
    match verb {
        FtVerb::Check(_) => Ok(()),
        FtVerb::Apply(args) => ft_group::apply(args, options, out),
        FtVerb::Upgrade(args) => ft_upgrade::upgrade(args, options, out),
        FtVerb::Rollback(args) => ft_upgrade::rollback(args, options, out),
        FtVerb::Show(args) => ft_group::show(args.group.as_deref(), options, out),
        FtVerb::Protect(args) => done(&Request::FtProtect { group: group(args) }),
        FtVerb::Unprotect(args) => done(&Request::FtUnprotect {
            group: args.group.clone(),
        }),
        FtVerb::Failover(args) => done(&Request::FtFailover {
            group: args.group.clone(),
            reason: args.reason.clone(),
        }),
        FtVerb::Status(args) => status(args, options, out),
        FtVerb::Events(args) => events(args, options, out),
    }
}

fn group(args: &ProtectArgs) -> GroupConfig {
    GroupConfig {
        name: args.group.clone(),
        service: args.service.clone(),
        standbys: args.standbys.clone(),
        logger: args.logger.clone(),
        north: args.north.clone(),
        services: args.ports.iter().map(|port| port.0.clone()).collect(),
        ft: !args.no_ft,
        outbound: args.outbound,
    }
}

pub(super) fn done(request: &Request) -> Result<(), Failure> {
    match client::call(request)? {
        Reply::Done => Ok(()),
        other => Err(unexpected(&other).into()),
    }
}

fn status(args: &StatusArgs, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let request = Request::FtStatus {
        group: args.group.clone(),
        connections: args.connections,
    };
    let groups = match client::call(&request)? {
        Reply::Groups { groups } => groups,
        other => return Err(unexpected(&other).into()),
    };
    if options.json {
        return json_line(out, &groups);
    }
    for group in &groups {
        out.write_all(ft_text::group(group).as_bytes())?;
    }
    Ok(())
}

/// Without `--follow` one JSON array, with it one object a line: an array that never ends is of no use.
fn events(args: &EventsArgs, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let request = Request::Events {
        since: args.since,
        follow: args.follow,
    };
    if !args.follow {
        return match client::call(&request)? {
            Reply::Events { events } if options.json => json_line(out, &events),
            Reply::Events { events } => {
                let text: String = events.iter().map(ft_text::event).collect();
                Ok(out.write_all(text.as_bytes())?)
            }
            other => Err(unexpected(&other).into()),
        };
    }
    for reply in client::stream(&request)? {
        let events = match reply? {
            Reply::Events { events } => events,
            other => return Err(unexpected(&other).into()),
        };
        for event in &events {
            if options.json {
                json_line(out, event)?;
            } else {
                out.write_all(ft_text::event(event).as_bytes())?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

pub(super) fn json_line(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(std::io::Error::from)?;
    Ok(writeln!(out, "{text}")?)
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    if let Reply::Error { error } = reply {
        return error.clone();
    }
    Error::new(
        Code::System,
        "understand the answer",
        "rxld",
        "it answers another question than was asked",
    )
    .hint("rxl and rxld may be of different versions: restart rxld")
}

#[cfg(test)]
mod tests {
    use fttcp::control::{OnFull, Verify};

    use super::*;

    #[test]
    fn port_forms() {
        let PortSpec(spec) =
            "80,opaque,mask=Date,mask=ETag,address=10.0.0.1,buffer=4096,hold=9,mss=1400,verify=full,full=reset"
                .parse()
                .unwrap();
        assert_eq!((spec.port, spec.kind.as_str()), (80, "opaque"));
        assert_eq!(spec.mask, ["Date", "ETag"]);
        assert_eq!(spec.address, Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!((spec.buffer_bytes, spec.fin_hold_ms), (4096, 9));
        assert_eq!(spec.mss_clamp, Some(1400));
        assert_eq!((spec.verify, spec.on_full), (Verify::Full, OnFull::Reset));
        let PortSpec(least) = "8080".parse().unwrap();
        assert_eq!((least.port, least.kind.as_str()), (8080, "opaque"));
        // 0: as is usual for the kind.
        assert_eq!((least.mask.len(), least.buffer_bytes), (0, 0));
    }

    #[test]
    fn port_of_a_service_that_a_file_defines() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../fttcp/examples/kv.toml");
        let PortSpec(spec) = format!("7000,@{file},hold=9").parse().unwrap();
        assert_eq!((spec.kind.as_str(), spec.fin_hold_ms), ("kv", 9));
        assert!(
            spec.definition
                .is_some_and(|text| text.contains("[[command]]"))
        );
        let missing = "7000,@/none.toml".parse::<PortSpec>().unwrap_err();
        assert!(
            missing.starts_with("cannot read definition /none.toml: "),
            "{missing}"
        );
        let not = format!("7000,@{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        let not = not.parse::<PortSpec>().unwrap_err();
        assert!(not.contains("Cargo.toml, line "), "{not}");
    }

    #[test]
    fn port_errors_say_what_was_expected() {
        let told = |text: &str| text.parse::<PortSpec>().unwrap_err();
        assert_eq!(
            told("http"),
            "expected a port number from 1 to 65535 first, as in 80,opaque,mask=Date"
        );
        assert_eq!(told("0"), told("70000"));
        assert_eq!(
            told("80,smtp"),
            format!(
                "unknown kind of service \"smtp\", expected {} or @FILE.toml, a definition",
                KINDS.join(", ")
            )
        );
        assert_eq!(
            told("80,mask="),
            "unknown option \"mask=\", expected mask=HEADER, address=IP, buffer=BYTES, hold=MS, mss=BYTES, verify=MANNER or full=POLICY"
        );
        assert_eq!(
            told("80,verify=some"),
            "verify=some: unknown variant `some`, expected one of `auto`, `full`, `sampled`"
        );
        assert_eq!(told("80,hold=x"), "expected a number in hold=x");
        assert_eq!(told("80,mss=10"), "expected 64 to 65535 bytes in mss=10");
        assert_eq!(told("80,address=x"), "expected an IP address in address=x");
    }
}
