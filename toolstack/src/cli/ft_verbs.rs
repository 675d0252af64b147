// SPDX-License-Identifier: GPL-3.0-only
//! The command line of `rxl ft`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fttcp::control::Outbound;

use super::ft::PortSpec;
use crate::supervise::group_file::duration;

/// What is to be done with service groups.
#[derive(Debug, Subcommand)]
pub(super) enum FtVerb {
    /// Set a service group up: from now on client connections survive the service's death
    #[command(
        after_help = "Example:\n  rxl ft protect www --service web --standby web-standby --logger logger \
                            --port 80,opaque,mask=Date\n\nThe service and its standbys must have their vif's \
                            back-end in the logger, and the same IP and MAC address."
    )]
    Protect(ProtectArgs),
    /// Take care of a group as a file declares it: make its members, replace those that fail
    #[command(
        after_help = "Examples:\n  rxl ft apply www.toml\n  rxl ft apply --no-wait www.toml     and look later: rxl ft show www\n\n\
                      A group that is there is changed. docs/service-groups.md tells what the file may say."
    )]
    Apply(ApplyArgs),
    /// Show declared groups: what is wanted, which members there are, what is being done
    #[command(after_help = "Example:\n  rxl ft show www")]
    Show(ShowArgs),
    /// Move a declared group to another version of its member, without losing a connection
    #[command(
        after_help = "Example:\n  rxl ft upgrade www --to web2.cfg --drain 10s --rollback-for 5min --health /root/check-web\n\n\
                      The new member is made beside the old one and stays dark until its health is known; then connections move, \
                      each when nothing is under way on it. The old member is kept for a rollback, and then destroyed.\n\
                      Ctrl-C leaves the upgrade to rxld: rxl ft show GROUP tells how far it is, rxl ft rollback GROUP undoes it."
    )]
    Upgrade(UpgradeArgs),
    /// Undo an upgrade: connections go back to the old member
    #[command(after_help = "Example:\n  rxl ft rollback www")]
    Rollback(RollbackArgs),
    /// Check a group file, and the configuration files that it names; touch nothing
    #[command(after_help = "Example:\n  rxl ft check www.toml")]
    Check(FileArg),
    /// End a service group; its domains keep running
    #[command(after_help = "Example:\n  rxl ft unprotect www")]
    Unprotect(GroupArg),
    /// Show service groups, and what their loggers say
    #[command(after_help = "Example:\n  rxl ft status www --connections")]
    Status(StatusArgs),
    /// Move a group's connections to its first standby now
    #[command(after_help = "Example:\n  rxl ft failover www --reason 'kernel update of web'")]
    Failover(FailoverArgs),
    /// Show what happened to domains and groups
    #[command(
        after_help = "Examples:\n  rxl ft events\n  rxl ft events --follow --json     one object a line"
    )]
    Events(EventsArgs),
}

impl FtVerb {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Protect(_) => "ft protect",
            Self::Unprotect(_) => "ft unprotect",
            Self::Status(_) => "ft status",
            Self::Failover(_) => "ft failover",
            Self::Events(_) => "ft events",
            Self::Check(_) => "ft check",
            Self::Upgrade(_) => "ft upgrade",
            Self::Rollback(_) => "ft rollback",
            Self::Apply(_) => "ft apply",
            Self::Show(_) => "ft show",
        }
    }
}

fn outbound(text: &str) -> Result<Outbound, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "expected pass, keep, re-issue or forbid".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct ProtectArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
    /// The domain that serves now
    #[arg(long, value_name = "DOMAIN")]
    pub(super) service: String,
    /// A domain that takes over; give it again for more, in their order
    #[arg(long = "standby", value_name = "DOMAIN")]
    pub(super) standbys: Vec<String>,
    /// The driver domain in which ftlogger runs
    #[arg(long, value_name = "DOMAIN")]
    pub(super) logger: String,
    /// The logger's interface towards the clients
    #[arg(long, value_name = "INTERFACE", default_value = crate::supervise::proto::NORTH)]
    pub(super) north: String,
    /// A TCP port to protect: NUMBER[,KIND][,address=IP][,mask=HEADER]...[,buffer=BYTES][,hold=MS][,mss=BYTES]
    /// [,verify=auto|full|sampled][,full=unprotect|hold|reset]; KIND is opaque, http, redis, ftp or @FILE.toml, a definition
    #[arg(long = "port", value_name = "PORT", required = true)]
    pub(super) ports: Vec<PortSpec>,
    /// What becomes of connections that the service itself opens: they pass unprotected, are kept over a failover, are
    /// reset so that the replacement asks again, or are forbidden
    #[arg(long, value_name = "pass|keep|re-issue|forbid", default_value = "pass", value_parser = outbound)]
    pub(super) outbound: Outbound,
    /// Only switch the path at a failover; connections break, as they do without FT-TCP
    #[arg(long)]
    pub(super) no_ft: bool,
}

#[derive(Debug, Args)]
pub(super) struct GroupArg {
    /// The group's name
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// Do not wait until the group is as the file says
    #[arg(long)]
    pub(super) no_wait: bool,
    /// The group file (docs/service-groups.md)
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

/// A time: a number of seconds, or a number with ms, s, min or h.
fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| duration(text))
        .ok_or_else(|| "expected a time, as in 10s or 5min".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
    /// The new member's configuration (xl.cfg(5))
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    /// A key that overrides one of the file, as in memory=512
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// After this time connections are moved in the middle of something, too
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(super) drain: Duration,
    /// How long the old member is kept once all have moved
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(super) rollback_for: Duration,
    /// A command in Dom0 that exits with 0 if the new member is healthy; it finds RXL_DOMAIN, RXL_DOMID, RXL_GROUP and
    /// RXL_INTERFACE in its environment
    #[arg(long, value_name = "COMMAND")]
    pub(super) health: Option<String>,
    /// Do not wait until it is over
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
    /// Do not wait until it is over
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Only this group
    #[arg(value_name = "GROUP")]
    pub(super) group: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct FileArg {
    /// The group file (docs/service-groups.md)
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only this group
    #[arg(value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// With a line for each connection
    #[arg(long)]
    pub(super) connections: bool,
}

#[derive(Debug, Args)]
pub(super) struct FailoverArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "asked for by the operator")]
    pub(super) reason: String,
}

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Go on with what comes, until interrupted
    #[arg(long)]
    pub(super) follow: bool,
    /// Only events with a higher number than this
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(super) since: u64,
}
