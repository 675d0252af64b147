// SPDX-License-Identifier: GPL-3.0-only
//! `ftlogger`: the logger's daemon, and a few commands to look at one that runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fttcp::control::client::Client;
use fttcp::control::{
    self, GroupSpec, GroupStatus, Hello, Reply, Request, UpgradeEnd, UpgradeStatus, WrapStatus,
};
use fttcp::daemon::SpillOptions;
use fttcp::datapath::{Choice, FastSettings};
use fttcp::engine::EngineConfig;
use fttcp::{daemon, datapath};

const ABOUT: &str =
    "Keeps TCP connections alive while the server behind them is replaced (FT-TCP).";

const LONG: &str = "\
Keeps TCP connections alive while the server behind them is replaced (FT-TCP).

Run without a command, ftlogger is the logger: it joins the interface towards the clients with the one towards the \
active server, forwards every frame, and logs what clients send to the protected services. When it is told that the \
server has died, it moves the connections to the standby: clients notice a pause, nothing more.

    clients --- north [ ftlogger ] active --- server
                                   standby --- the same service, same IP and MAC, kept dark

It listens on a UNIX socket for requests, one JSON object a line; `rxl ft` speaks that protocol. Its log goes to \
standard error. It needs root (CAP_NET_RAW, CAP_NET_ADMIN), and the interfaces for itself: no addresses, no bridge.";

const EXAMPLES: &str = "\
A group file, for --group:
  { \"name\": \"web\", \"north\": \"eth0\", \"active\": \"vif2.0\", \"standbys\": [\"vif3.0\"],
    \"services\": [ { \"port\": 80, \"kind\": \"opaque\", \"mask\": [\"Date\"] },
                  { \"port\": 7000, \"kind\": \"@kv.toml\" } ] }

The kind is opaque, http, redis, ftp, or @FILE.toml: a definition of a simple protocol, relative to the group file
(docs/service-designers.md).

Examples:
  ftlogger --group web.json           forward and protect the group from the start
  ftlogger status                     what is protected, and how the last failover went
  ftlogger failover web               move the connections of group web to its standby now

Exit codes: 0 done, 2 wrong usage, 3 failed.";

#[derive(Parser)]
#[command(name = "ftlogger", version, about = ABOUT, long_about = LONG, after_long_help = EXAMPLES)]
struct Cli {
    /// Where the logger listens for requests
    #[arg(long, value_name = "PATH", default_value = control::SOCKET, global = true)]
    socket: PathBuf,

    /// Protect the group that FILE describes, from the start (may be given several times)
    #[arg(long, value_name = "FILE.json")]
    group: Vec<PathBuf>,

    /// Memory for the bytes that all connections keep: a number of bytes, or with K, M or G. By default a 16th of memory, but at
    /// most 256M
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,

    /// Where to keep what another ftlogger needs to go on if this one dies, or none; default: beside the socket
    #[arg(long, value_name = "PATH|none")]
    journal: Option<PathBuf>,

    /// When told to end, forget the connections: without it they wait in the journal for the next start
    #[arg(long)]
    forget: bool,

    /// For how many microseconds after the last frame to look for more before sleeping, while no other process wants the
    /// processor; 0: sleep at once
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 200)]
    busy_poll: u32,

    #[command(flatten)]
    spill: SpillArgs,

    #[command(flatten)]
    datapath: DataPathArgs,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct SpillArgs {
    /// Keep a file without a name in DIR for logs that are too long for memory, of services with spill_bytes
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,

    /// Most bytes of that file: a number of bytes, or with K, M or G
    #[arg(long, value_name = "BYTES", default_value = "4G", value_parser = bytes, requires = "spill")]
    spill_bytes: u64,
}

impl SpillArgs {
    fn options(self) -> Option<SpillOptions> {
        let bytes = self.spill_bytes;
        self.spill
            .map(|directory| SpillOptions { directory, bytes })
    }
}

#[derive(Args)]
struct DataPathArgs {
    /// How frames are forwarded: bpf (in the kernel), packet (through this process), or auto (bpf if possible)
    #[arg(long, value_name = "KIND", default_value = "auto")]
    datapath: Choice,

    /// Where a BPF file system is, or may be mounted; what is kept there outlives a logger that crashes
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,

    /// Size of the ring through which the kernel hands over copied bytes; a power of two. By default a 32nd of memory, but
    /// at most 32M
    #[arg(long, value_name = "BYTES", value_parser = ring)]
    ring: Option<u32>,

    /// While no logger runs, let new connections, and bytes for which the ring has no room, pass unprotected instead of
    /// dropping them
    #[arg(long)]
    fail_open: bool,
}

impl DataPathArgs {
    fn settings(&self, socket: &Path) -> datapath::Settings {
        let usual = FastSettings::new(socket);
        datapath::Settings {
            choice: self.datapath,
            fast: FastSettings {
                bpffs: self.bpffs.clone(),
                ring: self.ring.unwrap_or(usual.ring),
                fail_open: self.fail_open,
                ..usual
            },
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Tell what the data path can do on this machine, and why it can or cannot
    Caps,
    /// Tell the state of the groups of a running logger
    Status {
        /// The logger's own words, as JSON, with each connection
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Planned(Planned),
    /// Move a group's connections to its first standby now; the active server is cut off for good
    Failover {
        /// The group's name
        group: String,
    },
}

#[derive(Subcommand)]
enum Planned {
    /// Move a group's connections to a standby while the active server lives
    Upgrade {
        /// The group's name
        group: String,
        /// The interface towards the new server, one of the group's standbys
        interface: String,
        /// After so many seconds, what is still under way is moved by replay or resume
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        drain: u32,
    },
    /// Move the connections of an upgrade back to where they were
    Rollback {
        /// The group's name
        group: String,
    },
    /// End an upgrade: the server that was left leaves the group
    Finish {
        /// The group's name
        group: String,
    },
}

impl Planned {
    fn run(self, socket: &Path) -> Result<(), String> {
        let (request, begun) = match self {
            Self::Upgrade {
                group,
                interface,
                drain,
            } => {
                let begun = format!("group {group}: upgrade begun");
                let drain_ms = drain.saturating_mul(1000);
                let request = Request::Upgrade {
                    group,
                    interface,
                    drain_ms,
                };
                (request, begun)
            }
            Self::Rollback { group } => {
                let begun = format!("group {group}: rollback begun");
                (Request::Rollback { group }, begun)
            }
            Self::Finish { group } => {
                let begun = format!("group {group}: finished");
                (Request::Finish { group }, begun)
            }
        };
        ask(socket, &request)?;
        println!("{begun}; ftlogger status tells how it goes");
        Ok(())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => {
            let limits = EngineConfig {
                memory_bytes: cli.memory.unwrap_or_else(daemon::usual_memory),
                ..EngineConfig::default()
            };
            let datapath = cli.datapath.settings(&cli.socket);
            let journal = cli
                .journal
                .unwrap_or_else(|| cli.socket.with_extension("journal"));
            let groups: Result<_, String> = cli.group.iter().map(|file| load(file)).collect();
            groups.and_then(|groups| {
                let options = daemon::Options {
                    socket: cli.socket,
                    groups,
                    limits,
                    spill: cli.spill.options(),
                    datapath,
                    journal: Some(journal).filter(|path| path.as_os_str() != "none"),
                    forget: cli.forget,
                    busy_poll: std::time::Duration::from_micros(cli.busy_poll.into()),
                };
                daemon::run(options).map_err(|error| error.to_string())
            })
        }
        Some(Command::Caps) => caps(&cli.datapath, &cli.socket),
        Some(Command::Status { json }) => status(&cli.socket, json),
        Some(Command::Planned(planned)) => planned.run(&cli.socket),
        Some(Command::Failover { group }) => failover(&cli.socket, &group),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ftlogger: {message}");
            ExitCode::from(3)
        }
    }
}

/// A number of bytes: `4096`, `256M`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "give a number of bytes, such as 4096, 64K, 256M or 1G".to_owned())
}

/// Size of a ring: the longest record must fit.
fn ring(text: &str) -> Result<u32, String> {
    let size = u32::try_from(bytes(text)?).unwrap_or(0);
    if size.is_power_of_two() && size >= FastSettings::MIN_RING {
        Ok(size)
    } else {
        Err("a ring's size is a power of two from 128K to 2G".to_owned())
    }
}

fn load(file: &Path) -> Result<GroupSpec, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read group file {}: {error}", file.display()))?;
    let wrong = |error: String| format!("group file {}: {error}", file.display());
    let mut group: GroupSpec = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("{error}; see ftlogger --help for an example")))?;
    let directory = file.parent().unwrap_or_else(|| Path::new("."));
    for service in &mut group.services {
        if let Some(definition) = service.kind.strip_prefix('@') {
            let definition = directory.join(definition);
            service.define_from(&definition).map_err(wrong)?;
        }
    }
    Ok(group)
}

fn caps(datapath: &DataPathArgs, socket: &Path) -> Result<(), String> {
    // Maps of its own: a logger that runs here is not to notice.
    let name = format!("{} caps {}", socket.display(), std::process::id());
    let capabilities = datapath::capabilities(&datapath.settings(Path::new(&name)).fast);
    print!("{capabilities}");
    match &capabilities.packet {
        None => Ok(()),
        Some(error) => Err(format!(
            "no data path is usable here: {error}; packet sockets need Linux 4.20 or later, and root \
             (CAP_NET_RAW and CAP_NET_ADMIN)"
        )),
    }
}

fn ask(socket: &Path, request: &Request) -> Result<Reply, String> {
    let mut client = Client::connect(socket).map_err(|error| error.to_string())?;
    client.request(request).map_err(|error| error.to_string())
}

fn status(socket: &Path, json: bool) -> Result<(), String> {
    let request = Request::Status {
        group: None,
        connections: json,
    };
    let Reply::Status { groups } = ask(socket, &request)? else {
        return Err("the logger answered something else than its status".to_owned());
    };
    if json {
        let text = serde_json::to_string_pretty(&groups).map_err(|error| error.to_string())?;
        println!("{text}");
        return Ok(());
    }
    let Reply::Hello(hello) = ask(socket, &Request::Hello)? else {
        return Err("the logger answered something else than its name".to_owned());
    };
    show_logger(&hello);
    if groups.is_empty() {
        println!("no groups");
    }
    groups.iter().for_each(show);
    Ok(())
}

/// The process, and the frames that were lost at its interfaces.
fn show_logger(hello: &Hello) {
    let journal = match hello.journal_kib {
        Some(kib) => format!("journal {kib} KiB"),
        None => "no journal".to_owned(),
    };
    println!(
        "{}: data path {}, {} KiB of memory, {journal}",
        hello.software, hello.datapath, hello.memory_kib
    );
    for port in &hello.ports {
        let (lost, late) = (port.receive_drops, port.send_drops);
        if lost + late > 0 {
            println!(
                "  {}: {lost} frames lost on the way in, {late} on the way out",
                port.interface
            );
        }
    }
}

fn show(group: &GroupStatus) {
    let (spec, counters) = (&group.spec, &group.counters);
    println!("group {}", spec.name);
    println!("  north        {}", spec.north);
    println!("  active       {}", spec.active);
    println!("  standbys     {}", or_none(&spec.standbys.join(", ")));
    let services: Vec<String> = spec
        .services
        .iter()
        .map(|s| format!("{} ({})", s.port, s.kind))
        .collect();
    println!("  protects     {}", or_none(&services.join(", ")));
    println!(
        "  connections  {} protected now, {} closed, {} could not be protected ({} of them TLS)",
        counters.protected, counters.closed, counters.unprotected, counters.tls
    );
    println!(
        "  failovers    {} connections moved, {} diverged, {} lost ({} with an error reply, {} suspected of killing servers), {} closes of dead servers held back",
        counters.recovered,
        counters.diverged,
        counters.lost,
        counters.error_replies,
        counters.poisoned,
        counters.swallowed_closes
    );
    println!(
        "  logged       {} bytes now, in {} bytes of memory; {} logs cut, {} conflicting repetitions",
        counters.logged_bytes, counters.memory_bytes, counters.truncations, counters.conflicts
    );
    println!(
        "  full         {} buffers, {} times all memory: {} connections unprotected, {} reset, {} segments held, {} windows held",
        counters.full_buffers,
        counters.full_memory,
        counters.full_unprotected,
        counters.full_reset,
        counters.full_held,
        counters.windows_held
    );
    println!(
        "  spilled      {} bytes now; {} times the file took no more, {} connections whose bytes could not be read",
        counters.spilled_bytes, counters.spill_full, counters.spill_unreadable
    );
    println!(
        "  frames       {} forwarded, {} dropped",
        counters.frames, counters.dropped
    );
    if spec.services.iter().any(|service| service.durable) {
        println!(
            "  durable      {} answers waited for a disk, {} us in all; {} passed before it was done",
            counters.commits, counters.commits_waited_us, counters.commits_not_durable
        );
    }
    if let Some(wrap) = &group.wrap {
        show_wrap(wrap);
    }
    if let Some(upgrade) = &group.upgrade {
        show_upgrade(upgrade);
    }
    if let Some(last) = &group.failover {
        let took = last
            .done_us
            .map_or("under way".to_owned(), |us| format!("done in {us} us"));
        let waiting = match last.waiting {
            0 => String::new(),
            waiting => format!(", {waiting} held up by slow clients"),
        };
        println!(
            "  last         number {} ({}): {} of {} connections moved, {} lost{waiting}, {took}",
            last.number, last.reason, last.recovered, last.connections, last.lost
        );
    }
}

fn show_wrap(wrap: &WrapStatus) {
    let ended = if wrap.ended {
        "; the active server's record has ended"
    } else {
        ""
    };
    println!(
        "  wrap         {} records of {} bytes copied in {} of {} looks; {} handed over, {} missing{ended}",
        wrap.records, wrap.bytes, wrap.copies, wrap.looks, wrap.handed, wrap.missing
    );
}

fn show_upgrade(upgrade: &UpgradeStatus) {
    let (way, from, to) = match upgrade.rolled_back {
        false => ("", &upgrade.from, &upgrade.to),
        true => ("back ", &upgrade.to, &upgrade.from),
    };
    let state = match (upgrade.ended, upgrade.drained_us) {
        (Some(UpgradeEnd::Finished), _) => "finished".to_owned(),
        (Some(UpgradeEnd::ActiveDied), _) => "over, the server moved to died".to_owned(),
        (Some(UpgradeEnd::LeftDied), _) => "over, the server moved from died".to_owned(),
        (None, Some(us)) => format!("all moved after {us} us"),
        (None, None) => "under way".to_owned(),
    };
    println!(
        "  upgrade      {way}from {from} to {to}: {} waiting, {} moved at rest, {} by replay or resume, {} not moved, {} lost, {state}",
        upgrade.waiting,
        upgrade.moved_quiet,
        upgrade.moved_by_replay,
        upgrade.returned,
        upgrade.lost
    );
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn failover(socket: &Path, group: &str) -> Result<(), String> {
    let reason = "asked for by ftlogger failover".to_owned();
    ask(
        socket,
        &Request::Failover {
            group: group.to_owned(),
            reason,
        },
    )?;
    println!("group {group}: failover begun; ftlogger status tells how it goes");
    Ok(())
}
