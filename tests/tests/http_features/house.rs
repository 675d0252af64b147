// SPDX-License-Identifier: GPL-3.0-only
//! A house in which one exchange is made again and again, and the server dies at another point of it each time.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;

use fttcp::control::Outbound;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{GROUP, Topology};
use rxl_tests::netns::web::origin::Origin;
use rxl_tests::netns::web::talker::{Talker, has_ended};

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Of the files that a server or its origin has.
pub(crate) const SMALL: usize = 900;
pub(crate) const LARGE: usize = 400_000;

/// The client's line, in Mbit/s: a large file is some 60 ms on its way.
const LINE: u32 = 50;

/// What becomes of an exchange whose server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on, and is whole.
    GoesOn,
    /// It goes on, or its connection ends; it does not hang, and nothing that comes is wrong.
    MayEnd,
    /// The same; or its client finds chunks that are none before it ends: another server's, of which a sample tells only behind
    /// them. It is never taken for whole.
    MayBreak,
}

/// See the module's text.
pub(crate) struct House {
    pub(crate) topology: Topology,
    pub(crate) origin: Origin,
    pub(crate) small: Vec<u8>,
    pub(crate) large: Vec<u8>,
    pub(crate) random: Random,
    /// The exchange's connection, as the logger names it.
    client: String,
    /// The server dies at this point of the exchange, and is at this one.
    dies_at: Option<u32>,
    at: u32,
}

impl House {
    pub(crate) fn new(
        serves: Serves,
        nginx: &'static str,
        outbound: Outbound,
    ) -> Result<Self, Box<dyn Error>> {
        Self::of(Layout {
            serves,
            nginx,
            kind: "http",
            outbound,
            ..Layout::default()
        })
    }

    pub(crate) fn of(layout: Layout) -> Result<Self, Box<dyn Error>> {
        let (serves, outbound) = (layout.serves, layout.outbound);
        let mut topology = Topology::build(layout)?;
        let mut random = Random::announced(&format!("{serves:?} {outbound:?}"));
        let (small, large) = (random.bytes(SMALL), random.bytes(LARGE));
        topology.put("small", &small)?;
        topology.put("large", &large)?;
        topology.age("small")?;
        topology.age("large")?;
        let origin = Origin::start(&topology)?;
        topology.serve()?;
        topology.shape(LINE)?;
        Ok(Self {
            topology,
            origin,
            small,
            large,
            random,
            client: String::new(),
            dies_at: None,
            at: 0,
        })
    }

    /// A connection, which is the one of this exchange.
    pub(crate) fn client(&mut self) -> io::Result<Talker> {
        let client = Talker::connect(self.topology.client())?;
        self.client = client.name()?;
        Ok(client)
    }

    /// Whether the logger says that it has ended the exchange's connection, and why.
    fn was_ended(&self, log: &str) -> bool {
        let name = format!("{} -> ", self.client);
        let ended = |line: &str| {
            line.contains(": reset: ") || line.contains(": ended with an error reply: ")
        };
        log.lines().any(|line| line.contains(&name) && ended(line))
    }

    /// A point of an exchange, at which the server dies if this was chosen. The logger knows it behind this.
    pub(crate) fn point(&mut self) -> io::Result<()> {
        self.at += 1;
        if self.dies_at == Some(self.at) {
            self.kill().map_err(io::Error::other)?;
        }
        Ok(())
    }

    pub(crate) fn kill(&self) -> Result<(), String> {
        let teller = self.topology.victim()?.kill()?;
        let told = teller.join().map_err(|_| "the teller panicked")?;
        told.map(drop)
    }

    /// Makes the exchange, first undisturbed, then with a server that dies at some of its points (`FT_CRASHES`). Says how
    /// often it ended early.
    pub(crate) fn disturb(
        &mut self,
        fate: Fate,
        exchange: impl Fn(&mut Self) -> io::Result<()>,
    ) -> Result<u32, Box<dyn Error>> {
        (self.dies_at, self.at) = (None, 0);
        exchange(self).map_err(|error| format!("undisturbed: {error}"))?;
        let points = self.at;
        let mut chosen = BTreeSet::new();
        while chosen.len() < crashes().min(points as usize) {
            chosen.insert(1 + self.random.below(u64::from(points)) as u32);
        }
        let (mut ended, crashes) = (0, chosen.len());
        for point in chosen {
            (self.dies_at, self.at) = (Some(point), 0);
            let before = self.topology.logger()?.totals(GROUP)?.counters;
            let done = exchange(self);
            let log = self.topology.logger()?.log();
            match (done, fate) {
                (Ok(()), Fate::MayEnd | Fate::MayBreak) => {}
                (Err(error), Fate::MayBreak) if error.kind() == io::ErrorKind::InvalidData => {
                    ended += 1;
                }
                (Ok(()), Fate::GoesOn) => {
                    self.topology.wait_recovered(before.recovered + 1)?;
                    assert!(!self.was_ended(&log), "{point}: {log}");
                }
                (Err(error), Fate::MayEnd | Fate::MayBreak) if has_ended(&error) => {
                    let told = |log: &str| self.was_ended(log);
                    self.topology
                        .wait_told(&format!("{point}: {error}"), told)?;
                    ended += 1;
                }
                (Err(error), _) => {
                    return Err(format!("at {point} of {points}: {error}\n{log}").into());
                }
            }
            self.topology.renew_standby()?;
        }
        println!("{points} points, {crashes} crashes, {ended} ended");
        Ok(ended)
    }
}

/// At how many points of each exchange its server dies.
pub(crate) fn crashes() -> usize {
    let number = std::env::var("FT_CRASHES").ok();
    number.and_then(|it| it.parse().ok()).unwrap_or(2)
}

/// What must be so, as an error of the exchange.
pub(crate) fn check(holds: bool, what: impl FnOnce() -> String) -> io::Result<()> {
    if holds {
        Ok(())
    } else {
        Err(io::Error::other(what()))
    }
}
