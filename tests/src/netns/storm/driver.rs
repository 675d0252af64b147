// SPDX-License-Identifier: GPL-3.0-only
//! Ends one server after the other under the hands of many clients, and counts what comes of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fttcp::control::GroupStatus;

use super::session::{Session, Target};
use super::shared::Shared;
use super::tally::{STALL, Tally};
use super::{PORT, evidence};
use crate::netns::layout::Layout;
use crate::netns::random::Random;
use crate::netns::topology::{GROUP, SERVER, SERVER6, Topology};
use crate::netns::victim::End;

pub use super::session::Mix;

/// How long a failover may take until all its connections are moved.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the logger is asked how far it is.
const LOOK: Duration = Duration::from_millis(2);
/// Files that nginx serves.
const FILES: u64 = 12;

/// What a storm is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The house.
    pub layout: Layout,
    /// Clients, each with one connection at a time.
    pub clients: usize,
    /// What they do.
    pub mix: Mix,
    /// They connect over IPv6.
    pub v6: bool,
    /// The storm ends when so many connections have been moved, counted once per failover ...
    pub moves: u64,
    /// ... and so many failovers are done.
    pub failovers: u64,
    /// The dead server comes back behind an interface of the same name; otherwise another comes, with another name.
    pub failback: bool,
    /// How servers end, one after the other by chance.
    pub ends: Vec<End>,
    /// There are two standbys, and the one that takes over ends too, so much later at most, in ms: its replacement has to move
    /// what it had, and what it had not yet.
    pub again_ms: Option<u64>,
    /// Least time from a new standby to the next end, in ms.
    pub lives_ms: u64,
    /// How much longer it may be, in ms.
    pub pause_ms: u64,
    /// What all chances come from.
    pub seed: u64,
}

/// Runs it with everything made for it and removed after it.
///
/// # Errors
/// Something could not be made or started, or a failover was not done in time. What goes wrong for clients is no error;
/// the tally tells of it.
pub fn run(plan: &Plan) -> Result<Tally, String> {
    Storm::start(plan)?.run()
}

/// A storm whose clients are at work.
#[derive(Debug)]
pub struct Storm {
    plan: Plan,
    topology: Topology,
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Result<(), String>>>,
    random: Random,
    start: Instant,
    /// Stalls of which evidence was gathered.
    shown: usize,
}

impl Storm {
    /// Makes the house and lets the clients begin.
    ///
    /// # Errors
    /// Something could not be made or started.
    pub fn start(plan: &Plan) -> Result<Self, String> {
        Ok(Self::start_after(plan, |_| Ok(()))?.0)
    }

    /// Makes the house, does what comes `first` in it, and lets the clients begin.
    ///
    /// # Errors
    /// Something could not be made or started, or done.
    pub fn start_after<T>(
        plan: &Plan,
        first: impl FnOnce(&Topology) -> Result<T, String>,
    ) -> Result<(Self, T), String> {
        let mut topology = Topology::build(plan.layout.clone())?;
        let mut random = Random::new(plan.seed);
        let files: Vec<Vec<u8>> = (0..FILES)
            .map(|file| {
                let length = 1 + random.below(1 << (8 + file)) as usize;
                random.bytes(length)
            })
            .collect();
        for (name, content) in files.iter().enumerate() {
            topology.put(&name.to_string(), content)?;
        }
        topology.serve()?;
        let address = if plan.v6 { SERVER6 } else { SERVER };
        let address = address.parse().map_err(|_| "no address")?;
        let target = Target {
            storm: SocketAddr::new(address, PORT),
            http: SocketAddr::new(address, 80),
            files: Arc::new(files),
        };
        let done = first(&topology)?;
        let shared = Arc::new(Shared::new(plan.clients));
        let clients = (0..plan.clients)
            .map(|client| {
                let session = Session {
                    client,
                    random: Random::new(random.number()),
                    target: target.clone(),
                    mix: plan.mix,
                    shared: Arc::clone(&shared),
                };
                topology.client().spawn(move || session.run())
            })
            .collect::<Result<_, _>>()?;
        let mut storm = Self {
            plan: plan.clone(),
            topology,
            shared,
            clients,
            random,
            start: Instant::now(),
            shown: 0,
        };
        let most = match plan.mix {
            Mix::All => plan.clients as u64 * 8 / 10,
            Mix::Still | Mix::Long(_) => plan.clients as u64,
        };
        storm.wait("clients to connect", |status| {
            status.counters.protected >= most
        })?;
        Ok((storm, done))
    }

    /// The house.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Ends servers until the plan is fulfilled, then the clients.
    ///
    /// # Errors
    /// What could not be done.
    pub fn run(mut self) -> Result<Tally, String> {
        let result = self.fail_over_and_over();
        if let Err(error) = result {
            let seen = evidence::gather(&self.topology, &self.shared, "failover");
            self.shared.stop();
            let log = self.topology.logger()?.log();
            return Err(format!("{error}\nevidence: {seen}\n{}", tail(&log)));
        }
        self.finish()
    }

    fn fail_over_and_over(&mut self) -> Result<(), String> {
        loop {
            let pause = self.random.below(1 + self.plan.pause_ms);
            self.pass(Duration::from_millis(self.plan.lives_ms + pause));
            if let Some(most) = self.plan.again_ms {
                self.fail_over_again(most)?;
            }
            let end = self.end();
            self.fail_over(end)?;
            let (moved, failovers) = {
                let tally = self.shared.tally();
                (tally.moved, tally.failovers)
            };
            if moved >= self.plan.moves && failovers >= self.plan.failovers {
                return Ok(());
            }
            if self.plan.failback {
                self.topology.renew_standby()?;
            } else {
                self.topology.new_standby()?;
            }
        }
    }

    /// How the next server ends.
    fn end(&mut self) -> End {
        let choice = self.random.below(self.plan.ends.len() as u64) as usize;
        self.plan.ends[choice]
    }

    /// A failover that another is to follow before it is done.
    fn fail_over_again(&mut self, most: u64) -> Result<(), String> {
        self.topology.add_spare()?;
        let end = self.end();
        self.end_active(end)?;
        self.topology.take_over_with_spare();
        // The moment of the fault is what is tried out.
        thread::sleep(Duration::from_micros(self.random.below(1000 * most)));
        let status = self.topology.logger()?.totals(GROUP)?;
        let failover = status.failover.ok_or("no failover was begun")?;
        let mut tally = self.shared.tally();
        tally.failovers += 1;
        tally.moved += failover.recovered;
        tally.interrupted += u64::from(failover.done_us.is_none());
        Ok(())
    }

    fn end_active(&self, end: End) -> Result<(), String> {
        let mut tally = self.shared.tally();
        for board in self.shared.boards() {
            *tally.caught.entry(board.doing()).or_default() += 1;
        }
        drop(tally);
        let begun = Instant::now();
        self.topology.end(end)?;
        if end == End::Killed {
            let mut tally = self.shared.tally();
            tally.told_after = tally.told_after.max(begun.elapsed());
        }
        Ok(())
    }

    /// One failover, until its last connection is moved or given up.
    ///
    /// # Errors
    /// It was not done in time.
    pub fn fail_over(&mut self, end: End) -> Result<(), String> {
        self.end_active(end)?;
        let status = self.wait("the failover to be done", |status| {
            let failover = status.failover.as_ref();
            failover.is_some_and(|failover| failover.done_us.is_some())
        })?;
        let failover = status.failover.ok_or("no failover was begun")?;
        {
            let mut tally = self.shared.tally();
            tally.failovers += 1;
            tally.moved += failover.recovered;
            let took = failover.done_us.unwrap_or_default();
            tally.took.push(Duration::from_micros(took));
            let memory = self.topology.logger()?.hello()?.memory_kib;
            tally.memory_kib = tally.memory_kib.max(memory);
        }
        self.shared.moved();
        Ok(())
    }

    /// Lets the clients end, and counts.
    ///
    /// # Errors
    /// A client's thread could not work.
    pub fn finish(mut self) -> Result<Tally, String> {
        self.shared.stop();
        while self.clients.iter().any(|client| !client.is_finished()) {
            self.pass(LOOK);
        }
        for client in std::mem::take(&mut self.clients) {
            client.join().map_err(|_| "a client panicked")??;
        }
        let counters = self.topology.logger()?.totals(GROUP)?.counters;
        let mut tally = self.shared.tally().clone();
        tally.diverged = counters.diverged;
        tally.lost = counters.lost;
        tally.unprotected = counters.unprotected;
        tally.line = self.topology.line().map(super::super::line::Line::done);
        tally.duration = self.start.elapsed();
        if !tally.is_clean() {
            println!("{}", tail(&self.topology.logger()?.log()));
        }
        Ok(tally)
    }

    /// Lets time pass, with an eye on clients that wait for too long.
    fn pass(&mut self, time: Duration) {
        thread::sleep(time);
        let stalled = self.shared.stalled(STALL);
        if stalled.len() > self.shown {
            let seen = evidence::gather(&self.topology, &self.shared, "stall");
            println!("clients {stalled:?} wait for more than {STALL:?}; evidence: {seen}");
        }
        self.shown = stalled.len();
    }

    fn wait(
        &mut self,
        what: &str,
        is_so: impl Fn(&GroupStatus) -> bool,
    ) -> Result<GroupStatus, String> {
        let start = Instant::now();
        let mut shown = false;
        while start.elapsed() < PATIENCE {
            let status = self.topology.logger()?.totals(GROUP)?;
            if is_so(&status) {
                return Ok(status);
            }
            if start.elapsed() > STALL && !shown {
                shown = true;
                let seen = evidence::gather(&self.topology, &self.shared, "slow");
                println!("{what} takes more than {STALL:?}; evidence: {seen}");
            }
            self.pass(LOOK);
        }
        let status = self.topology.logger()?.totals(GROUP)?;
        Err(format!("waited {PATIENCE:?} for {what}: {status:?}"))
    }
}

/// The last lines of a log, without those of connections that went well.
fn tail(log: &str) -> String {
    let told: Vec<&str> = log
        .lines()
        .filter(|line| !line.contains("moved in"))
        .collect();
    told[told.len().saturating_sub(60)..].join("\n")
}
