// SPDX-License-Identifier: GPL-3.0-only
//! A drill in network namespaces: processes instead of domains, and this file instead of the supervisor.

mod upgrade;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fttcp::control::{GroupSpec, GroupStatus, Outbound, Request, ServiceSpec};
use fttcp::service::KINDS;
use rustix::process::{Pid, Signal, kill_process};
use rxl_tests::netns::bpf_folder::BpfFolder;
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::logger::Logger;
use rxl_tests::netns::nginx::Nginx;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{CLIENT, GROUP, Middle, SERVER, Topology};

use super::{Clock, Stage, Task};
use crate::engine::Told;
use crate::load::{File, Target};
use crate::plan::{Act, How, Plan, Runs, Service, StageKind};

/// Most client bytes logged for one connection.
const BUFFER: u32 = 16 << 20;
/// A server that woke up is left alone for so long, to do what harm it can.
const AWAKE: Duration = Duration::from_millis(300);

/// See the module's text.
#[derive(Debug)]
pub struct Netns {
    // The origin ends before its namespace, the logger before the folder of its maps.
    _origin: Option<Nginx>,
    topology: Topology,
    _maps: Option<BpfFolder>,
    service: Service,
    /// What loggers said that were killed.
    killed: String,
    death: Duration,
    /// A death that the logger is to be told of: when, of whose, and why.
    untold: Option<(Duration, String, &'static str)>,
    /// The logger moves connections, since it was told then.
    moving: Option<Duration>,
    /// The number of the last failover that is over.
    done: u32,
    /// The active server has been left, and what is left of it is to be replaced.
    left: bool,
    /// Connections are being moved to a new version, or back, since that was told then.
    upgrading: Option<Duration>,
    /// The processes of the server that stands still, and whether it is to wake up.
    still: Vec<Pid>,
    sleeps: bool,
    /// When the one that woke up is replaced.
    awake: Option<Duration>,
}

impl Netns {
    /// Makes the namespaces, puts the files there, and starts everything but the clients.
    ///
    /// # Errors
    /// What could not be made or started.
    pub fn new(plan: &Plan, files: &[File]) -> Result<Self, String> {
        let service = plan.service.clone();
        let restarts = plan
            .faults
            .iter()
            .any(|fault| fault.act == Act::RestartLogger);
        let maps = if restarts {
            Some(BpfFolder::mount(&plan.name)?)
        } else {
            None
        };
        let mut topology = Topology::build(layout(&service, maps.as_ref()))?;
        for file in files {
            topology.put(&file.name, &file.content)?;
        }
        let uploads = uploads(&topology);
        fs::create_dir(&uploads)
            .and_then(|()| fs::set_permissions(&uploads, fs::Permissions::from_mode(0o777)))
            .map_err(|error| format!("cannot make {}: {error}", uploads.display()))?;
        let origin = match service.runs {
            Runs::Proxy => {
                let root = topology.folder().join("files");
                let prefix = topology.folder().join("origin");
                Some(Nginx::start(topology.client(), &root, &prefix, "")?)
            }
            Runs::Web | Runs::Ftp => None,
        };
        topology.serve()?;
        if let Some(megabits) = service.megabits {
            topology.shape(megabits)?;
        }
        Ok(Self {
            _origin: origin,
            topology,
            _maps: maps,
            service,
            killed: String::new(),
            death: plan.detect.death,
            untold: None,
            moving: None,
            done: 0,
            left: false,
            upgrading: None,
            still: Vec::new(),
            sleeps: false,
            awake: None,
        })
    }

    /// The folder in which everything is kept; it goes away with this.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.topology.folder()
    }

    /// The names of its namespaces; they go away with this, too.
    #[must_use]
    pub fn spaces(&self) -> Vec<String> {
        let [active, standby] = self.topology.servers();
        let all = [
            self.topology.client(),
            self.topology.middle(),
            active,
            standby,
        ];
        all.map(|space| space.name().to_owned()).to_vec()
    }

    fn status(&self) -> Result<GroupStatus, String> {
        self.topology.logger()?.totals(GROUP)
    }

    fn crash(&mut self, how: How, clock: Clock<'_>) -> Result<(), String> {
        let vif = self.status()?.spec.active;
        let unplug = || {
            self.topology
                .middle()
                .ip(&["link", "delete", &vif])
                .map(drop)
        };
        let at = clock.now();
        let (detail, reason) = match how {
            How::Destroy => {
                // A domain dies between two instructions. Processes die one by one: what the last ones say of the
                // death of the first must not be heard.
                unplug()?;
                self.topology.servers()[0].destroy()?;
                ("the active server is destroyed", "it was destroyed")
            }
            How::Kill => {
                self.topology.victim()?.kill_untold()?;
                (
                    "the active server's programs are killed",
                    "its programs were killed",
                )
            }
            How::Panic => return Err("a process has no kernel of its own to panic".to_owned()),
            How::Unplug => {
                unplug()?;
                (
                    "the active server's interface is gone",
                    "its interface was removed",
                )
            }
        };
        clock.begun(at, "crash", detail);
        if self.death.is_zero() {
            return self.failover(vif, reason, clock);
        }
        self.untold = Some((clock.now() + self.death, vif, reason));
        Ok(())
    }

    fn failover(
        &mut self,
        interface: String,
        reason: &str,
        clock: Clock<'_>,
    ) -> Result<(), String> {
        let request = Request::ServerDied {
            group: GROUP.to_owned(),
            interface,
            reason: reason.to_owned(),
        };
        // What the failover before this one has done is told now or never.
        if let Some(told) = self.moving {
            self.moved(told, clock)?;
        }
        self.moving = Some(clock.now());
        self.left = true;
        self.topology.logger()?.request(&request)?;
        clock.note("logger told", reason);
        Ok(())
    }

    /// Whether the logger has moved everything.
    fn moved(&mut self, told: Duration, clock: Clock<'_>) -> Result<bool, String> {
        let Some(failover) = self.status()?.failover else {
            return Ok(false);
        };
        let Some(took) = failover.done_us.filter(|_| failover.number > self.done) else {
            return Ok(false);
        };
        self.done = failover.number;
        let took = Duration::from_micros(took);
        let replayed = (failover.replayed_bytes + 512) >> 10;
        (clock.tell)(Told::Over {
            at: told + took,
            detail: format!(
                "{} connections moved, {} given up, {:.1} ms after the logger was told; {replayed} KiB replayed",
                failover.recovered,
                failover.lost,
                took.as_secs_f64() * 1e3
            ),
            recovered: failover.recovered,
            lost: failover.lost,
        });
        Ok(true)
    }

    /// Lets a new server take the place of the one that was left, which is then the standby.
    fn renew(&mut self, clock: Clock<'_>) -> Result<(), String> {
        self.left = false;
        self.still.clear();
        self.topology.new_standby()?;
        clock.note("standby", "a new one is ready");
        Ok(())
    }

    fn hang(&mut self, wakes: bool, clock: Clock<'_>) -> Result<(), String> {
        let at = clock.now();
        let inside = self.topology.servers()[0].processes()?;
        self.still = inside.into_iter().filter_map(Pid::from_raw).collect();
        self.sleeps = wakes;
        signal(&self.still, Signal::STOP);
        clock.begun(at, "hang", "the active server's processes stand still");
        Ok(())
    }

    fn restart_logger(&mut self, clock: Clock<'_>) -> Result<(), String> {
        let at = clock.now();
        self.killed += &format!("{}\n(killed)\n", self.topology.kill_logger()?);
        clock.begun(at, "logger restart", "the logger's process is killed");
        self.topology.start_logger()?;
        (clock.tell)(Told::Over {
            at: clock.now(),
            detail: "the logger is back".to_owned(),
            recovered: 0,
            lost: 0,
        });
        Ok(())
    }
}

/// To each of those that still live.
fn signal(processes: &[Pid], signal: Signal) {
    for &pid in processes {
        // Whoever has ended meanwhile needs none.
        let _ = kill_process(pid, signal);
    }
}

fn uploads(topology: &Topology) -> std::path::PathBuf {
    topology.folder().join("files/in")
}

fn layout(service: &Service, maps: Option<&BpfFolder>) -> Layout {
    let (port, serves) = match service.runs {
        Runs::Web => (80, Serves::Web),
        Runs::Proxy => (80, Serves::Proxy),
        Runs::Ftp => (21, Serves::Ftp(FtpServer::Vsftpd)),
    };
    let spec = ServiceSpec {
        mask: vec!["Date".to_owned()],
        buffer_bytes: BUFFER,
        ..ServiceSpec::new(port, &service.kind)
    };
    Layout {
        middle: Middle::Protected,
        serves,
        kind: KINDS
            .iter()
            .find(|kind| **kind == service.kind)
            .copied()
            .unwrap_or("opaque"),
        group: Some(GroupSpec {
            services: if service.protected {
                vec![spec]
            } else {
                Vec::new()
            },
            outbound: if service.protected {
                service.outbound
            } else {
                Outbound::Pass
            },
            ..GroupSpec::default()
        }),
        logger: maps.map(BpfFolder::options).unwrap_or_default(),
        ..Layout::default()
    }
}

impl Stage for Netns {
    fn facts(&self) -> Vec<String> {
        let program = match self.service.runs {
            Runs::Web => ["nginx", "-v"],
            Runs::Proxy => ["tinyproxy", "-v"],
            Runs::Ftp => ["vsftpd", "-v"],
        };
        let logger = self.topology.logger().and_then(Logger::hello);
        let logger =
            logger.map(|hello| format!("{}, data path {}", hello.software, hello.datapath));
        let programs = [["uname", "-sr"], program];
        let mut facts: Vec<String> = programs.iter().filter_map(|it| first_line(it)).collect();
        facts.extend(logger.ok());
        facts
    }

    fn log(&self) -> String {
        let log = self.topology.logger().map(Logger::log).unwrap_or_default();
        format!("{}{log}\n", self.killed)
    }

    fn target(&self) -> Target {
        let port = if self.service.runs == Runs::Ftp {
            21
        } else {
            80
        };
        let ip = SERVER.parse().unwrap_or(std::net::Ipv4Addr::LOCALHOST);
        let url = match self.service.runs {
            Runs::Web => format!("http://{SERVER}/"),
            Runs::Proxy => format!("http://{CLIENT}/"),
            Runs::Ftp => format!("ftp://{SERVER}/"),
        };
        Target {
            runs: self.service.runs,
            address: SocketAddr::from((ip, port)),
            url,
            uploads: uploads(&self.topology),
            patience: StageKind::Netns.client_patience(),
        }
    }

    fn spawn(&self, client: Task) -> Result<(), String> {
        self.topology.client().spawn(client).map(drop)
    }

    fn act(&mut self, act: Act, clock: Clock<'_>) -> Result<(), String> {
        // A server that dies before there is a new standby finds one all the same.
        if self.left && !matches!(act, Act::RestartLogger) {
            self.renew(clock)?;
        }
        match act {
            Act::Crash(how) => self.crash(how, clock),
            Act::Hang(_, wakes) => self.hang(wakes.is_some(), clock),
            Act::RestartLogger => self.restart_logger(clock),
            Act::Upgrade(drain) => self.upgrade(drain, clock),
            Act::Rollback => self.roll_back(clock),
            Act::Finish => self.finish(clock),
        }
    }

    fn replace(&mut self, reason: &str, clock: Clock<'_>) -> Result<(), String> {
        let active = self.status()?.spec.active;
        self.failover(active, reason, clock)
    }

    fn wake(&mut self, clock: Clock<'_>) -> Result<(), String> {
        signal(&self.still, Signal::CONT);
        self.sleeps = false;
        self.awake = Some(clock.now() + AWAKE);
        clock.note(
            "awake",
            "the server that stood still goes on, and must not be heard",
        );
        Ok(())
    }

    fn poll(&mut self, clock: Clock<'_>) -> Result<(), String> {
        let now = clock.now();
        if let Some((_, vif, reason)) = self.untold.take_if(|(at, ..)| now >= *at) {
            self.failover(vif, reason, clock)?;
        }
        if let Some(told) = self.moving
            && self.moved(told, clock)?
        {
            self.moving = None;
            // An upgrade in which a server dies is over.
            self.upgrading = None;
        }
        if let Some(told) = self.upgrading.filter(|_| self.moving.is_none()) {
            self.drained(told, clock)?;
        }
        if self.awake.is_some_and(|at| now >= at) {
            self.awake = None;
        }
        let rests = self.moving.is_none() && !self.sleeps && self.awake.is_none();
        if self.left && rests {
            self.renew(clock)?;
        }
        Ok(())
    }
}

/// Name and version from the first line that a program prints about itself.
fn first_line(command: &[&str]) -> Option<String> {
    let output = Command::new(command[0]).args(&command[1..]).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text)
        .lines()
        .next()?
        .trim()
        .to_owned();
    (!line.is_empty()).then_some(line)
}
