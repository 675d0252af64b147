// SPDX-License-Identifier: GPL-3.0-only
//! The whole house in namespaces: client, logger, and two servers with the same address, one of them dark.
//!
//! ```text
//! client eth0 --- north [ logger ] vif1 --- eth0 web 1
//!                                  vif2 --- eth0 web 2      same IP and MAC
//! ```
//!
//! A [`Layout`] may put a bad line between client and logger, and change what the path is made of. `standbys`: servers
//! that come in the place of dead ones; `waits`: waiting for what the logger tells; `upgrades`: what an operator asks it for.

mod standbys;
mod upgrades;
mod waits;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fttcp::control::{Counters, GroupSpec, ServiceSpec};

use super::disk;
use super::folder::Folder;
use super::layout::Layout;
use super::line::Line;
use super::logger::Logger;
use super::process::Running;
use super::server::Server;
use super::space::{Space, join};
use super::victim::{End, Victim};

/// The client's address.
pub const CLIENT: &str = "10.77.0.1";
/// The address of both servers.
pub const SERVER: &str = "10.77.0.2";
/// The address of a proxy in the middle, if there is one.
pub const PROXY: &str = "10.77.0.3";
/// The address from which that proxy reaches the server.
const PROXY_SOUTH: &str = "10.77.0.4";
/// The client's other address.
pub const CLIENT6: &str = "fd77::1";
/// The servers' other address.
pub const SERVER6: &str = "fd77::2";
/// The group's name.
pub const GROUP: &str = "web";
/// The logger's interface towards the client.
pub const NORTH: &str = "north";
/// How long the logger may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Client bytes kept for one connection.
const BUFFER: u32 = 16 << 20;

/// Client, logger and servers.
#[derive(Debug)]
pub struct Topology {
    // Processes end before the namespaces that they run in, and those before the folder goes.
    servers: [Server; 2],
    /// Another standby, behind the first; or, once that is active, what is left of a dead server.
    spare: Option<Server>,
    active: usize,
    /// How many interfaces towards servers there have been.
    vifs: usize,
    logger: Option<Logger>,
    line: Option<Line>,
    client: Space,
    middle: Space,
    layout: Layout,
    folder: Folder,
}

/// What stands between client and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle {
    /// The logger, protecting port 80.
    Protected,
    /// The logger, forwarding only.
    Forwarded,
    /// A bridge of the Linux kernel, with the first server only.
    Bridge,
    /// Nothing yet, but addresses: clients reach [`PROXY`], from where the first server is reached. A proxy can be
    /// started in [`Topology::middle`].
    Proxy,
}

impl Topology {
    /// The plain house.
    ///
    /// # Errors
    /// What could not be made.
    pub fn new(middle: Middle) -> Result<Self, String> {
        Self::build(Layout {
            middle,
            ..Layout::default()
        })
    }

    /// Makes the namespaces and interfaces, and starts what stands in the middle. No server runs yet.
    ///
    /// # Errors
    /// What could not be made.
    pub fn build(layout: Layout) -> Result<Self, String> {
        let folder = Folder::new()?;
        fs::create_dir_all(folder.path().join("files"))
            .map_err(|error| format!("cannot make {}: {error}", folder.path().display()))?;
        let client = Space::new("client")?;
        client.sysctls(layout.client_kernel)?;
        let space = Space::new("logger")?;
        let line = match &layout.north_line() {
            Some(fault) => Some(Line::between((&client, "eth0"), (&space, NORTH), fault)?),
            None => join((&client, "eth0"), (&space, NORTH)).map(|()| None)?,
        };
        layout.prepare_path(&space, NORTH)?;
        layout.prepare_end(&client, None, [CLIENT, CLIENT6])?;
        let server = |vif| Server::new(&space, vif, &layout);
        let servers = [server("vif1")?, server("vif2")?];
        let middle = layout.middle;
        let mut topology = Self {
            servers,
            spare: None,
            active: 0,
            vifs: 2,
            logger: None,
            line,
            client,
            middle: space,
            layout,
            folder,
        };
        match middle {
            Middle::Bridge => {
                topology
                    .middle
                    .ip(&["link", "add", "br0", "type", "bridge"])?;
                topology.middle.ip(&["link", "set", "br0", "up"])?;
                for interface in [NORTH, "vif1"] {
                    topology
                        .middle
                        .ip(&["link", "set", interface, "master", "br0"])?;
                }
            }
            Middle::Proxy => {
                for (interface, own, other) in
                    [(NORTH, PROXY, CLIENT), ("vif1", PROXY_SOUTH, SERVER)]
                {
                    let address = ["address", "add", own, "peer", other, "dev", interface];
                    topology.middle.ip(&address)?;
                }
            }
            Middle::Protected | Middle::Forwarded => {
                let options = &topology.layout.logger;
                let logger = Logger::start(&topology.middle, topology.folder.path(), options)?;
                logger.protect(topology.group(middle == Middle::Protected))?;
                topology.logger = Some(logger);
            }
        }
        for space in [&topology.client, &topology.servers[0].space] {
            space.await_link("eth0")?;
        }
        Ok(topology)
    }

    fn group(&self, protected: bool) -> GroupSpec {
        let service = |port| ServiceSpec {
            mask: vec!["Date".to_owned()],
            buffer_bytes: BUFFER,
            verify: self.layout.verify,
            ..ServiceSpec::new(
                port,
                if port == 80 {
                    self.layout.kind
                } else {
                    "opaque"
                },
            )
        };
        let plain = || GroupSpec {
            services: if protected {
                vec![service(80), service(7), service(21)]
            } else {
                vec![]
            },
            outbound: self.layout.outbound,
            ..GroupSpec::default()
        };
        GroupSpec {
            name: GROUP.to_owned(),
            north: NORTH.to_owned(),
            active: self.servers[0].vif.clone(),
            standbys: vec![self.servers[1].vif.clone()],
            wrap: self
                .layout
                .chain
                .as_ref()
                .and_then(|chain| chain.records(self.folder.path())),
            commit: self
                .layout
                .disks
                .then(|| self.folder.path().join(disk::PLACE).display().to_string()),
            ..self.layout.group.clone().unwrap_or_else(plain)
        }
    }

    /// Starts the programs on both servers, with the same files.
    ///
    /// # Errors
    /// One did not start: what it said.
    pub fn serve(&mut self) -> Result<(), String> {
        let second = Layout {
            serves: self.layout.second.unwrap_or(self.layout.serves),
            ..self.layout.clone()
        };
        let [first, other] = &mut self.servers;
        first.start(&self.layout, &self.folder)?;
        other.start(&second, &self.folder)?;
        Ok(())
    }

    /// Puts a file where both servers find it.
    ///
    /// # Errors
    /// It could not be written.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<(), String> {
        let path = self.folder.path().join("files").join(name);
        fs::write(&path, content)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Dates a file back: of one that has just changed, apache gives another entity tag than later.
    ///
    /// # Errors
    /// It is not there.
    pub fn age(&self, name: &str) -> Result<(), String> {
        let path = self.folder.path().join("files").join(name);
        let before = SystemTime::now() - Duration::from_secs(3600);
        let file = fs::File::options().write(true).open(&path);
        file.and_then(|file| file.set_modified(before))
            .map_err(|error| format!("cannot date {} back: {error}", path.display()))
    }

    /// The client's namespace.
    #[must_use]
    pub const fn client(&self) -> &Space {
        &self.client
    }

    /// A folder for what programs in this house need; it goes away with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The namespace in the middle.
    #[must_use]
    pub const fn middle(&self) -> &Space {
        &self.middle
    }

    /// The namespaces of the servers: the active one first.
    #[must_use]
    pub fn servers(&self) -> [&Space; 2] {
        [
            &self.servers[self.active].space,
            &self.servers[1 - self.active].space,
        ]
    }

    /// What nginx of the standby has written into `access.log`, if the layout lets it.
    ///
    /// # Errors
    /// There is none.
    pub fn standby_access_log(&self) -> Result<String, String> {
        let standby = self.servers[1 - self.active].space.name();
        let path = self.folder.path().join(standby).join("access.log");
        fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    }

    /// The line between client and logger, if the layout has one.
    #[must_use]
    pub const fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    /// The logger.
    ///
    /// # Errors
    /// There is a bridge instead.
    pub fn logger(&self) -> Result<&Logger, String> {
        self.logger
            .as_ref()
            .ok_or_else(|| "no logger here".to_owned())
    }

    /// Kills the logger's process; its log.
    ///
    /// # Errors
    /// There is none.
    pub fn kill_logger(&mut self) -> Result<String, String> {
        self.logger.take().ok_or("no logger here")?.kill()
    }

    /// Starts the logger again where one has been.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_logger(&mut self) -> Result<(), String> {
        self.logger = Some(Logger::start(
            &self.middle,
            self.folder.path(),
            &self.layout.logger,
        )?);
        Ok(())
    }

    /// The folder in which the logger keeps its socket and its journal.
    #[must_use]
    pub fn logger_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the logger as an operator would; its log.
    ///
    /// # Errors
    /// It did not end with success.
    pub fn stop_logger(&mut self) -> Result<String, String> {
        self.logger.take().ok_or("no logger here")?.stop()
    }

    /// Ends the logger as an operator would; its last counters and its log.
    ///
    /// # Errors
    /// It did not end with success.
    pub fn end_of_logger(&mut self) -> Result<(Counters, String), String> {
        let counters = self.logger()?.status(GROUP)?.counters;
        Ok((counters, self.stop_logger()?))
    }

    /// Frames for the client that the kernel threw away behind the logger's back.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn kernel_drops(&self) -> Result<u64, String> {
        let text = self.middle.ip(&["-s", "-j", "link", "show", NORTH])?;
        let links: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        links[0]["stats64"]["tx"]["dropped"]
            .as_u64()
            .ok_or_else(|| format!("no drops told: {text}"))
    }

    /// The processes of both servers: of the first, of the second.
    #[must_use]
    pub fn programs(&self) -> [Vec<&Running>; 2] {
        [self.servers[0].programs(), self.servers[1].programs()]
    }

    /// The processes of both servers: of the active one, of the standby.
    #[must_use]
    pub fn active_first(&self) -> [Vec<&Running>; 2] {
        [self.active, 1 - self.active].map(|server| self.servers[server].programs())
    }

    /// Shapes what goes to the client, so that a download lasts.
    ///
    /// # Errors
    /// What `tc` said.
    pub fn shape(&self, megabits: u32) -> Result<(), String> {
        let rate = format!("{megabits}mbit");
        let add = ["qdisc", "add", "dev", NORTH, "root", "tbf", "rate", &rate];
        // No frame is dropped: the queue holds a whole receive window.
        let queue = ["burst", "256kb", "limit", "16mb"];
        self.middle
            .run("tc", &[add.as_slice(), &queue].concat())
            .map(drop)
    }

    /// Loses each frame (a super-segment counts as one) with a probability of `percent`, at its receiver.
    ///
    /// # Errors
    /// What `nft` said.
    pub fn lose(&self, percent: u32) -> Result<(), String> {
        let drop = format!("numgen random mod 100 < {percent} drop");
        for space in [&self.client, &self.servers[0].space, &self.servers[1].space] {
            let rules = format!(
                "table ip loss {{ chain input {{ type filter hook input priority 0; meta l4proto tcp {drop}; }}; }}"
            );
            space.run("nft", &[&rules])?;
        }
        Ok(())
    }

    /// The active server's fate, to be decided from another thread too.
    ///
    /// # Errors
    /// It does not run.
    pub fn victim(&self) -> Result<Victim, String> {
        Victim::new(&self.servers[self.active].programs(), self.logger()?)
    }

    /// Ends the active server in one of the ways in which servers end, and tells the logger.
    ///
    /// # Errors
    /// It does not run, or the logger refused.
    pub fn end(&self, end: End) -> Result<(), String> {
        let victim = self.victim()?;
        let server = &self.servers[self.active];
        match end {
            End::Killed => victim.kill_untold()?,
            End::Unplugged => self.middle.ip(&["link", "delete", &server.vif]).map(drop)?,
            End::Destroyed => server.space.destroy()?,
            End::Stopped => victim.stop()?,
            End::Alive => {}
        }
        victim.tell_end(end).map(drop)
    }

    /// Ends the active server as a domain ends that crashes, and tells the logger: nothing of it is heard any more, and when
    /// the logger is told, nothing of it writes to a file any more.
    ///
    /// # Errors
    /// It does not run, or the logger refused.
    pub fn crash(&self) -> Result<(), String> {
        self.crash_losing(|| Ok(()))
    }

    /// The same; before the logger is told, `lose` takes away what the server had not brought to its disk.
    ///
    /// # Errors
    /// As [`Self::crash`], and what `lose` says.
    pub fn crash_losing(&self, lose: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let victim = self.victim()?;
        let server = &self.servers[self.active];
        self.middle.ip(&["link", "delete", &server.vif])?;
        server.space.destroy()?;
        lose()?;
        victim.tell_end(End::Destroyed).map(drop)
    }
}
