// SPDX-License-Identifier: GPL-3.0-only
//! A request of which real servers die is given to two of them, and to no third; its client hears so, and others live on.

use std::error::Error;
use std::time::Instant;

use fttcp::control::{GroupSpec, Outbound, ServiceSpec};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{PATIENCE, Topology};
use rxl_tests::netns::victim::Victim;
use rxl_tests::netns::web::REVERSE;
use rxl_tests::netns::web::origin::{DEADLY, Origin, SILENT, asked};
use rxl_tests::netns::web::talker::Talker;

type Outcome = Result<(), Box<dyn Error>>;

/// Of the file that a neighbour is fetching: more than waits in all buffers.
const FILE: usize = 24 << 20;
/// How long a dying server's close waits for news of its death: before the second is told, another standby has to be made.
const HOLD_MS: u32 = 20_000;
/// Of the other file.
const SMALL: &[u8] = b"small\n";

/// A house with two clients that do no harm: one idle, one fetching a file.
struct House {
    topology: Topology,
    content: Vec<u8>,
    idle: Talker,
    busy: Talker,
    got: Vec<u8>,
}

impl House {
    fn new(serves: Serves, nginx: &'static str) -> Result<Self, Box<dyn Error>> {
        let mut topology = Topology::build(Layout {
            serves,
            nginx,
            group: Some(GroupSpec {
                services: vec![ServiceSpec {
                    mask: vec!["Date".to_owned()],
                    fin_hold_ms: HOLD_MS,
                    ..ServiceSpec::new(80, "http")
                }],
                outbound: Outbound::ReIssue,
                ..GroupSpec::default()
            }),
            ..Layout::default()
        })?;
        let content = Random::new(1).bytes(FILE);
        topology.put("file", &content)?;
        topology.put("small", SMALL)?;
        if serves == Serves::Web {
            Origin::start(&topology)?;
        }
        topology.serve()?;
        let mut idle = Talker::connect(topology.client())?;
        idle.ask("GET", "/small", "")?;
        assert_eq!(idle.answer("GET")?.body, SMALL);
        let mut busy = Talker::connect(topology.client())?;
        busy.ask("GET", "/file", "")?;
        busy.head()?;
        let got = busy.hear(FILE / 4)?;
        Ok(Self {
            topology,
            content,
            idle,
            busy,
            got,
        })
    }

    /// How often a server or an origin got this request.
    fn times(&self, line: &str) -> usize {
        let asked = asked(&self.topology).unwrap_or_default();
        asked.iter().filter(|it| *it == line).count()
    }

    /// Asks for `path`. Two servers end as `ends` says when they have been asked; the third is not.
    fn poison(
        mut self,
        path: &str,
        ends: impl Fn(&Self, u32, &Victim) -> Result<(), String>,
    ) -> Outcome {
        let line = format!("GET {path}");
        let mut bad = Talker::connect(self.topology.client())?;
        let victim = self.topology.victim()?;
        bad.ask("GET", path, "")?;
        ends(&self, 1, &victim)?;
        victim.tell()?;
        // The next one has it, and is dead or dies.
        self.topology.renew_standby()?;
        let victim = self.topology.victim()?;
        ends(&self, 2, &victim)?;
        victim.tell()?;

        let answer = bad.answer("GET")?;
        assert_eq!(answer.status(), 502, "{}", answer.head);
        assert_eq!(bad.rest()?, (Vec::new(), true));
        self.got.extend(self.busy.hear(FILE - FILE / 4)?);
        assert!(self.got == self.content, "the file is another");
        for client in [&mut self.idle, &mut self.busy] {
            client.ask("GET", "/small", "")?;
            assert_eq!(client.answer("GET")?.body, SMALL);
        }
        self.topology.wait_moved()?;
        assert_eq!(self.times(&line), 2);
        let (counters, log) = self.topology.end_of_logger()?;
        let told = format!(
            "2 servers have died with this request under way, no other gets it: \"GET {path} HTTP/1.1\""
        );
        assert!(log.contains(&told), "{log}");
        assert_eq!(
            (counters.poisoned, counters.lost, counters.error_replies),
            (1, 1, 1),
            "{log}"
        );
        assert_eq!(counters.diverged, 0, "{log}");
        Ok(())
    }
}

#[test]
fn server_that_dies_of_a_request_is_followed_by_one_more_and_no_third() -> Outcome {
    let house = House::new(Serves::Own(env!("CARGO_BIN_EXE_http-server")), "")?;
    // It dies by itself.
    house.poison(DEADLY, |_, _, _| Ok(()))
}

#[test]
fn nginx_that_is_killed_while_its_origin_is_asked_is_followed_by_one_more_and_no_third() -> Outcome
{
    let house = House::new(Serves::Web, REVERSE)?;
    let line = format!("GET {SILENT}");
    house.poison(SILENT, |house, times, victim| {
        let start = Instant::now();
        while house.times(&line) < times as usize {
            if start.elapsed() > PATIENCE {
                return Err(format!("the origin was not asked {times} times"));
            }
        }
        victim.kill_untold()
    })
}
