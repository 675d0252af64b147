// SPDX-License-Identifier: GPL-3.0-only
//! The whole house in namespaces: client, logger, and two servers with the same address, one of them dark.
//!
//! ```text
//! client eth0 --- north [ logger ] vif1 --- eth0 web 1
//!                                  vif2 --- eth0 web 2      same IP and MAC
//! ```

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fttcp::control::{GroupSpec, GroupStatus, Request, ServiceSpec};

use super::logger::Logger;
use super::nginx::Nginx;
use super::space::{Space, join};
use super::victim::Victim;

/// The client's address.
pub const CLIENT: &str = "10.77.0.1";
/// The address of both servers.
pub const SERVER: &str = "10.77.0.2";
/// The client's other address.
pub const CLIENT6: &str = "fd77::1";
/// The servers' other address.
pub const SERVER6: &str = "fd77::2";
/// The MAC address of both servers.
const SERVER_MAC: &str = "02:00:00:00:77:02";
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
    active: usize,
    logger: Option<Logger>,
    client: Space,
    middle: Space,
    folder: Folder,
}

/// One server: what a domain would be.
#[derive(Debug)]
struct Server {
    nginx: Option<Nginx>,
    space: Space,
    vif: &'static str,
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
}

impl Topology {
    /// Makes the namespaces and interfaces, and starts what stands in the middle. No server runs yet.
    ///
    /// # Errors
    /// What could not be made.
    pub fn new(middle: Middle) -> Result<Self, String> {
        let folder = Folder::new()?;
        let client = Space::new("client")?;
        let space = Space::new("logger")?;
        join((&client, "eth0"), (&space, NORTH))?;
        address(&client, CLIENT, CLIENT6)?;
        let servers = [Server::new(&space, "vif1")?, Server::new(&space, "vif2")?];
        let mut topology = Self {
            servers,
            active: 0,
            logger: None,
            client,
            middle: space,
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
            Middle::Protected | Middle::Forwarded => {
                let logger = Logger::start(&topology.middle, &topology.folder.0)?;
                logger.protect(topology.group(middle == Middle::Protected))?;
                topology.logger = Some(logger);
            }
        }
        Ok(topology)
    }

    fn group(&self, protected: bool) -> GroupSpec {
        let service = |port| ServiceSpec {
            mask: vec!["Date".to_owned()],
            buffer_bytes: BUFFER,
            ..ServiceSpec::new(port, "opaque")
        };
        GroupSpec {
            name: GROUP.to_owned(),
            north: NORTH.to_owned(),
            active: self.servers[0].vif.to_owned(),
            standbys: vec![self.servers[1].vif.to_owned()],
            services: if protected {
                vec![service(80), service(7)]
            } else {
                vec![]
            },
        }
    }

    /// Starts nginx on both servers, with the same files.
    ///
    /// # Errors
    /// nginx did not start: what it said.
    pub fn serve(&mut self) -> Result<(), String> {
        for index in 0..self.servers.len() {
            self.start_nginx(index)?;
        }
        Ok(())
    }

    fn start_nginx(&mut self, index: usize) -> Result<(), String> {
        let files = self.files();
        let server = &mut self.servers[index];
        let prefix = self.folder.0.join(server.space.name());
        server.nginx = Some(Nginx::start(&server.space, &files, &prefix)?);
        Ok(())
    }

    /// Puts a file where both servers find it.
    ///
    /// # Errors
    /// It could not be written.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<(), String> {
        let path = self.files().join(name);
        fs::write(&path, content)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn files(&self) -> PathBuf {
        self.folder.0.join("files")
    }

    /// The client's namespace.
    #[must_use]
    pub const fn client(&self) -> &Space {
        &self.client
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

    /// The logger.
    ///
    /// # Errors
    /// There is a bridge instead.
    pub fn logger(&self) -> Result<&Logger, String> {
        self.logger
            .as_ref()
            .ok_or_else(|| "no logger here".to_owned())
    }

    /// Ends the logger as an operator would; its log.
    ///
    /// # Errors
    /// It did not end with success.
    pub fn stop_logger(&mut self) -> Result<String, String> {
        self.logger.take().ok_or("no logger here")?.stop()
    }

    /// Waits until the logger has closed `interface`, which it does when the kernel tells it that it is gone.
    ///
    /// # Errors
    /// It is still open after [`PATIENCE`].
    pub fn wait_closed(&self, interface: &str) -> Result<(), String> {
        self.wait(&format!("{interface} to be closed"), |logger| {
            let ports = logger.hello()?.ports;
            Ok(ports
                .iter()
                .all(|port| port.interface != interface)
                .then_some(()))
        })
    }

    /// Waits until the last connection of the failover under way is moved or given up. Clients may be content before:
    /// what they wanted had been sent by the dead server.
    ///
    /// # Errors
    /// It is not done after [`PATIENCE`], or there is none.
    pub fn wait_moved(&self) -> Result<GroupStatus, String> {
        self.wait("the failover to be done", |logger| {
            let status = logger.status(GROUP)?;
            let failover = status.failover.as_ref().ok_or("no failover was begun")?;
            Ok(failover.done_us.is_some().then_some(status))
        })
    }

    /// Waits until no connection is protected any more: all are closed at both ends.
    ///
    /// # Errors
    /// One is still open after [`PATIENCE`].
    pub fn wait_idle(&self) -> Result<(), String> {
        self.wait("all connections to be closed", |logger| {
            let counters = logger.status(GROUP)?.counters;
            Ok((counters.protected == 0).then_some(()))
        })
    }

    /// Waits until the logger holds at least `bytes` of its clients.
    ///
    /// # Errors
    /// It holds less after [`PATIENCE`].
    pub fn wait_logged(&self, bytes: u64) -> Result<(), String> {
        self.wait(&format!("{bytes} bytes to be logged"), |logger| {
            let counters = logger.status(GROUP)?.counters;
            Ok((counters.logged_bytes >= bytes).then_some(()))
        })
    }

    /// Asks the logger again and again; each answer lets its event loop go round.
    fn wait<T>(
        &self,
        what: &str,
        ask: impl Fn(&Logger) -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        let logger = self.logger()?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(found) = ask(logger)? {
                return Ok(found);
            }
        }
        Err(format!("waited {PATIENCE:?} for {what}:\n{}", logger.log()))
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
        let nginx = self.servers[self.active].nginx.as_ref();
        let process = nginx.ok_or("the active server does not run")?.process();
        Victim::new(process, self.logger()?)
    }

    /// After a failover: the standby is active now, and the dead server comes back as the new standby, as a domain
    /// would: its old interface goes away, and a new one comes.
    ///
    /// # Errors
    /// What could not be made.
    pub fn renew_standby(&mut self) -> Result<(), String> {
        self.active = 1 - self.active;
        self.restart_standby()
    }

    /// Ends the standby with its interface, and starts it anew.
    ///
    /// # Errors
    /// What could not be made.
    pub fn restart_standby(&mut self) -> Result<(), String> {
        let standby = 1 - self.active;
        let vif = self.servers[standby].vif;
        self.servers[standby].nginx = None;
        self.middle.ip(&["link", "delete", vif])?;
        self.wait_closed(vif)?;
        self.servers[standby] = Server::new(&self.middle, vif)?;
        self.start_nginx(standby)?;
        let request = Request::AddStandby {
            group: GROUP.to_owned(),
            interface: vif.to_owned(),
        };
        self.logger()?.request(&request).map(drop)
    }
}

impl Server {
    fn new(middle: &Space, vif: &'static str) -> Result<Self, String> {
        let space = Space::new(vif)?;
        join((&space, "eth0"), (middle, vif))?;
        space.ip(&["link", "set", "eth0", "address", SERVER_MAC])?;
        address(&space, SERVER, SERVER6)?;
        Ok(Self {
            nginx: None,
            space,
            vif,
        })
    }
}

/// Gives `eth0` its addresses, without asking around whether another has them: the standby does.
fn address(space: &Space, v4: &str, v6: &str) -> Result<(), String> {
    space.ip(&["address", "add", &format!("{v4}/24"), "dev", "eth0"])?;
    space.ip(&[
        "address",
        "add",
        &format!("{v6}/64"),
        "dev",
        "eth0",
        "nodad",
    ])?;
    Ok(())
}

/// A folder of this process's own below the one for temporary files.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rxl-netns-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("files"))
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
