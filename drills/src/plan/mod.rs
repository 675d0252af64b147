// SPDX-License-Identifier: GPL-3.0-only
//! What a drill is: a service, what clients do with it, what happens to it and when, and what is expected then.
//!
//! Who lives here: the plan; `file`, which reads it from TOML; `units`, times and sizes in such a file. docs/drills.md
//! tells the form to operators.

mod file;
mod units;

use std::time::Duration;

use fttcp::control::Outbound;
use serde::Deserialize;

pub use file::PlanError;

/// A drill.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its name: a word.
    pub name: String,
    /// What it shows, a sentence or two.
    pub text: String,
    /// Where it runs.
    pub stage: StageKind,
    /// How long clients work.
    pub duration: Duration,
    /// What they are served.
    pub service: Service,
    /// What they do.
    pub loads: Vec<Load>,
    /// What happens, in the order in which the file has it.
    pub faults: Vec<Fault>,
    /// When the end of a server is noticed.
    pub detect: Detect,
    /// What must hold.
    pub expect: Expect,
}

/// Where a drill runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageKind {
    /// Network namespaces and processes of this machine.
    Netns,
    /// Domains on real Xen, in software emulation.
    Lab,
}

impl StageKind {
    /// As in a drill file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Netns => "netns",
            Self::Lab => "lab",
        }
    }

    /// Whether a supervisor notices there what fails, as in operation; elsewhere the drill stands for it.
    #[must_use]
    pub const fn supervised(self) -> bool {
        matches!(self, Self::Lab)
    }

    /// How long the effects of a fault may last beyond the work of the clients. A domain boots in tens of seconds.
    #[must_use]
    pub const fn patience(self) -> Duration {
        match self {
            Self::Netns => Duration::from_secs(15),
            Self::Lab => Duration::from_secs(300),
        }
    }

    /// How long a client waits for a byte before it gives up.
    #[must_use]
    pub const fn client_patience(self) -> Duration {
        match self {
            Self::Netns => Duration::from_secs(10),
            Self::Lab => Duration::from_secs(60),
        }
    }
}

/// What is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// By which kind of program.
    pub runs: Runs,
    /// The logger's plug-in for it.
    pub kind: String,
    /// What becomes of connections that it opens itself.
    pub outbound: Outbound,
    /// Whether the logger protects it; if not, it only moves the path: the control run.
    pub protected: bool,
    /// The clients' line, in Mbit/s; `None`: as fast as the machine.
    pub megabits: Option<u32>,
    /// What the servers' domains are, where they are domains.
    pub guests: Guests,
}

/// A kind of domain, as `type` in an xl.cfg(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guests {
    /// Paravirtualised.
    #[default]
    Pv,
    /// With the processor's help, and no emulated devices.
    Pvh,
}

impl Guests {
    /// As in a drill file, and in an xl.cfg(5).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pv => "pv",
            Self::Pvh => "pvh",
        }
    }
}

/// The kind of program that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// A web server: nginx.
    Web,
    /// A web proxy: tinyproxy, with an origin beside the clients.
    Proxy,
    /// An FTP server: vsftpd.
    Ftp,
}

/// What some clients do, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// What each does.
    pub work: Work,
    /// How many clients do it at the same time.
    pub connections: usize,
    /// Bytes of each file.
    pub size: u64,
    /// Whether a connection is used for more than one request.
    pub keep_alive: bool,
    /// How long a client rests between two requests.
    pub pause: Duration,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Downloads the file.
    Download,
    /// Uploads a file of its own, which is compared with what the server has then.
    Upload,
    /// Runs this command by the shell; `{url}` is where the file is. It must exit with 0.
    Command(String),
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub act: Act,
    /// When.
    pub when: When,
}

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long after the clients began.
    At(Duration),
    /// When they have transferred so many bytes, all together.
    Bytes(u64),
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The active server dies.
    Crash(How),
    /// The active server stands still; after that time, if there is one, it wakes up again.
    Hang(Still, Option<Duration>),
    /// The logger's process is killed and started again.
    RestartLogger,
    /// A new version takes over the service; connections that do not come to rest within this time are moved as they are.
    Upgrade(Duration),
    /// The old version takes the service back.
    Rollback,
    /// The old version goes away, which is then the new standby.
    Finish,
}

impl Act {
    /// In a few words.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Crash(_) => "crash",
            Self::Hang(..) => "hang",
            Self::RestartLogger => "logger restart",
            Self::Upgrade(_) => "upgrade",
            Self::Rollback => "rollback",
            Self::Finish => "finish",
        }
    }
}

/// How a server dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// As a whole, as a domain is destroyed.
    #[default]
    Destroy,
    /// Its programs are killed; its kernel lives on and closes their connections.
    Kill,
    /// Its network interface goes away.
    Unplug,
    /// Its kernel panics.
    Panic,
}

/// How a server stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    /// As a whole, as a domain is paused.
    Pause,
    /// Its programs are stopped; its kernel goes on acknowledging.
    Stop,
}

/// When the end of a server is noticed: the part that a supervisor has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detect {
    /// So long after a death.
    pub death: Duration,
    /// When no client has had a byte or an answer for so long; `None`: never.
    pub hang: Option<Duration>,
}

/// What must hold. What is `None` is not asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// At most so many requests fail.
    pub failed: u64,
    /// At most so many transfers are cut with an honest word, in a session that goes on.
    pub cut: u64,
    /// At most so many transfers have a wrong byte.
    pub corrupt: u64,
    /// At least so many requests are made.
    pub requests: Option<u64>,
    /// No client waits longer than this for its next byte at a fault, but one in a hundred.
    pub gap_p99: Option<Duration>,
    /// No client at all does.
    pub gap_max: Option<Duration>,
    /// All requests but one in a hundred take no longer.
    pub latency_p99: Option<Duration>,
    /// Bytes per second after the last fault, as a part of those before the first.
    pub throughput: Option<f64>,
    /// At least so many connections are moved to another server.
    pub recovered: Option<u64>,
}

impl Plan {
    /// Reads a drill file. `file` is its name, for errors.
    ///
    /// # Errors
    /// What is wrong, in which line, and what to do.
    pub fn parse(file: &str, text: &str) -> Result<Self, PlanError> {
        file::parse(file, text)
    }

    /// Whether the latencies of a load count: a large file takes long because it is large, so that beside smaller ones
    /// only those of the smallest do.
    #[must_use]
    pub fn times(&self, load: &Load) -> bool {
        self.loads.iter().all(|other| load.size <= other.size)
    }

    /// The same in a part of the time, and of the bytes before something happens. What is expected stays, but for the
    /// number of requests, and for the throughput: it cannot be told from so few buckets.
    #[must_use]
    pub fn shortened(mut self, part: f64) -> Self {
        self.duration = self.duration.mul_f64(part);
        for fault in &mut self.faults {
            fault.when = match fault.when {
                When::At(time) => When::At(time.mul_f64(part)),
                When::Bytes(bytes) => When::Bytes((bytes as f64 * part) as u64),
            };
            if let Act::Hang(_, Some(wakes)) = &mut fault.act {
                *wakes = wakes.mul_f64(part);
            }
        }
        self.expect.throughput = None;
        if let Some(requests) = &mut self.expect.requests {
            *requests = (*requests as f64 * part) as u64;
        }
        self
    }
}

#[cfg(test)]
mod tests;
