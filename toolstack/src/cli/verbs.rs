// SPDX-License-Identifier: GPL-3.0-only
//! The command line: verbs, options and the help that teaches them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::ft_verbs::FtVerb;
use super::guest::GuestArgs;
use crate::hypervisor::Trigger;

/// Manages Xen domains as xl does, and service groups that survive the death of a server.
#[derive(Debug, Parser)]
#[command(
    name = "rxl",
    version,
    infer_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Verbs may be abbreviated as long as they stay unambiguous: `rxl net` is `rxl network-list`.\n\
                  DOMAIN is a name or a number.\n\n\
                  Exit codes:\n  0  done\n  2  wrong usage, or a configuration with errors; nothing was touched\n  \
                  3  failed; what had been done was undone unless the message says otherwise\n\n\
                  First steps:\n  rxl create /etc/xen/web.cfg   make and start a domain\n  \
                  rxl list                      see what runs\n  rxl console web               use its console, leave with Ctrl-]\n  \
                  rxl shutdown -w web           end it in order"
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) options: Options,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Options that every verb takes.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Options {
    /// Say more: each step of an operation, or more columns
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
    /// Print JSON; a failure is then {"error": {...}} on standard output
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a domain from a configuration file and start it
    #[command(
        after_help = "Examples:\n  rxl create web.cfg\n  rxl create -p web.cfg memory=512 'name=\"web2\"'\n  \
                            rxl create -n web.cfg      only check it and show what it means"
    )]
    Create(CreateArgs),
    /// End domains at once, without asking them
    #[command(after_help = "Example:\n  rxl destroy web")]
    Destroy(DestroyArgs),
    /// Ask a domain to shut down
    #[command(
        after_help = "Examples:\n  rxl shutdown -w web     and wait until it has\n  rxl shutdown -a -w      all of them"
    )]
    Shutdown(EndArgs),
    /// Ask a domain to reboot
    #[command(after_help = "Example:\n  rxl reboot web")]
    Reboot(EndArgs),
    /// Stop scheduling a domain
    #[command(after_help = "Example:\n  rxl pause web")]
    Pause(OneDomain),
    /// Let a paused domain go on
    #[command(after_help = "Example:\n  rxl unpause web")]
    Unpause(OneDomain),
    /// List domains: number, memory, vCPUs, state, CPU time
    #[command(
        after_help = "Examples:\n  rxl list\n  rxl list --json web\n  rxl list -l web     its whole configuration\n\n\
                            State letters: r running, b blocked, p paused, s shut down, then why (r reboot, s suspend, \
                            c crash, w watchdog, S soft reset), d dying"
    )]
    List(ListArgs),
    /// Use a domain's console; leave with Ctrl-]
    #[command(
        after_help = "Examples:\n  rxl console web\n  rxl console -e '^A' web     leave with Ctrl-A"
    )]
    Console(ConsoleArgs),
    /// Show facts of the host: Xen, memory, processors
    #[command(after_help = "Examples:\n  rxl info\n  rxl info free_memory     only this one")]
    Info(InfoArgs),
    /// Print the number of the domain with this name
    #[command(after_help = "Example:\n  rxl domid web")]
    Domid(DomidArgs),
    /// Print the name of the domain with this number
    #[command(after_help = "Example:\n  rxl domname 3")]
    Domname(DomnameArgs),
    /// Send a trigger to a virtual processor of a domain
    #[command(after_help = "Example:\n  rxl trigger web nmi 0")]
    Trigger(TriggerArgs),
    /// Send a magic SysRq key to a Linux guest
    #[command(
        after_help = "Examples:\n  rxl sysrq web s     write its disks' buffers\n  rxl sysrq web c     crash it"
    )]
    Sysrq(SysrqArgs),
    /// Print Xen's own log
    #[command(after_help = "Example:\n  rxl dmesg")]
    Dmesg(DmesgArgs),
    /// List the network interfaces of domains
    #[command(after_help = "Example:\n  rxl network-list web")]
    NetworkList(Domains),
    /// List the disks of domains
    #[command(after_help = "Example:\n  rxl block-list web")]
    BlockList(Domains),
    /// List virtual processors, of all domains or of those named
    #[command(after_help = "Example:\n  rxl vcpu-list web")]
    VcpuList(AnyDomains),
    /// Show how long domains have been running
    #[command(after_help = "Example:\n  rxl uptime")]
    Uptime(AnyDomains),
    /// Bring operations whose rxl was killed to an end: creates are undone, destroys are finished
    #[command(after_help = "Example:\n  rxl recover")]
    Recover,
    /// Talk to the agent in a guest (rxl-guest): freeze, flush, reclaim, reseed, clock
    #[command(
        after_help = "Examples:\n  rxl guest web status            does it live, does its service answer?\n  \
                            rxl guest web quiesce --hold 30 /srv\n  rxl guest web thaw\n  rxl guest web reclaim 256"
    )]
    Guest(GuestArgs),
    /// Service groups: a service, its standbys, and the logger that keeps client connections alive
    #[command(subcommand, infer_subcommands = true)]
    Ft(FtVerb),
    /// Let a service fail on purpose while clients use it, and report what they saw
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  rxl drill list\n  rxl drill run web-repeated-crash\n  rxl drill --help"
    )]
    Drill(DrillArgs),
}

impl Verb {
    /// The verb as it is typed, for messages.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Destroy(_) => "destroy",
            Self::Shutdown(_) => "shutdown",
            Self::Reboot(_) => "reboot",
            Self::Pause(_) => "pause",
            Self::Unpause(_) => "unpause",
            Self::List(_) => "list",
            Self::Console(_) => "console",
            Self::Info(_) => "info",
            Self::Domid(_) => "domid",
            Self::Domname(_) => "domname",
            Self::Trigger(_) => "trigger",
            Self::Sysrq(_) => "sysrq",
            Self::Dmesg(_) => "dmesg",
            Self::NetworkList(_) => "network-list",
            Self::BlockList(_) => "block-list",
            Self::VcpuList(_) => "vcpu-list",
            Self::Uptime(_) => "uptime",
            Self::Recover => "recover",
            Self::Guest(_) => "guest",
            Self::Ft(verb) => verb.name(),
            Self::Drill(_) => "drill",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct DrillArgs {
    /// What rxl-drill is told
    #[arg(
        value_name = "WORD",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) words: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Leave the domain paused
    #[arg(short, long)]
    pub(super) paused: bool,
    /// Attach to its console, from the first line on
    #[arg(short, long)]
    pub(super) console: bool,
    /// Check the file, print what it means as JSON, touch nothing
    #[arg(short = 'n', long)]
    pub(super) dryrun: bool,
    /// Do not have rxld act on the domain's end (on_poweroff, on_reboot, on_crash)
    #[arg(short = 'e', long)]
    pub(super) no_supervise: bool,
    /// Do not print warnings about the file
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// The configuration file, another way to give it
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(super) defconfig: Option<PathBuf>,
    /// The configuration file (xl.cfg(5))
    #[arg(value_name = "FILE", required_unless_present = "defconfig")]
    pub(super) file: Option<PathBuf>,
    /// Keys that override those of the file, as in memory=512
    #[arg(value_name = "KEY=VALUE")]
    pub(super) overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct DestroyArgs {
    /// The domains to end
    #[arg(value_name = "DOMAIN", required = true)]
    pub(super) domains: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct EndArgs {
    /// All domains but Domain-0
    #[arg(short, long)]
    pub(super) all: bool,
    /// Wait until they have ended
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) wait: u8,
    /// Press the ACPI power button of a guest that does not listen to Xen's request
    #[arg(short = 'F')]
    pub(super) force: bool,
    /// The domains
    #[arg(
        value_name = "DOMAIN",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(super) domains: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct OneDomain {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    pub(super) domain: String,
}

#[derive(Debug, Args)]
pub(super) struct Domains {
    /// The domains
    #[arg(value_name = "DOMAIN", required = true)]
    pub(super) domains: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct AnyDomains {
    /// Only these domains
    #[arg(value_name = "DOMAIN")]
    pub(super) domains: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print the whole configuration of each domain, as JSON
    #[arg(short, long)]
    pub(super) long: bool,
    /// Only this domain
    #[arg(value_name = "DOMAIN")]
    pub(super) domain: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ConsoleArgs {
    /// The character that leaves the console: a letter after ^ for Ctrl, or a character by itself
    #[arg(short, long, value_name = "ESC", default_value = "^]", value_parser = super::console::parse_escape)]
    pub(super) escape: u8,
    /// The domain
    #[arg(value_name = "DOMAIN")]
    pub(super) domain: String,
}

#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// Only the facts whose name begins with this, without their names
    #[arg(value_name = "FACT")]
    pub(super) fact: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DomidArgs {
    /// The domain's name
    #[arg(value_name = "NAME")]
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct DomnameArgs {
    /// The domain's number
    #[arg(value_name = "DOMID")]
    pub(super) id: u16,
}

#[derive(Debug, Args)]
pub(super) struct TriggerArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    pub(super) domain: String,
    /// What to send
    #[arg(value_name = "TRIGGER", value_enum)]
    pub(super) trigger: TriggerName,
    /// The virtual processor
    #[arg(value_name = "VCPU", default_value_t = 0)]
    pub(super) vcpu: u32,
}

/// The triggers by xl's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TriggerName {
    Nmi,
    Reset,
    Init,
    Power,
    Sleep,
    #[value(name = "s3resume")]
    S3Resume,
}

impl From<TriggerName> for Trigger {
    fn from(name: TriggerName) -> Self {
        match name {
            TriggerName::Nmi => Self::Nmi,
            TriggerName::Reset => Self::Reset,
            TriggerName::Init => Self::Init,
            TriggerName::Power => Self::Power,
            TriggerName::Sleep => Self::Sleep,
            TriggerName::S3Resume => Self::S3Resume,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct SysrqArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    pub(super) domain: String,
    /// The key
    #[arg(value_name = "LETTER")]
    pub(super) letter: char,
}

#[derive(Debug, Args)]
pub(super) struct DmesgArgs {
    /// Empty the log after printing it
    #[arg(short, long)]
    pub(super) clear: bool,
}
