// SPDX-License-Identifier: GPL-3.0-only
//! A start for whoever wants to protect a service of their own: a plug-in for a toy protocol, and a run of it against the
//! simulated network in which the server crashes. `cargo run -p fttcp --example new-service`
//!
//! The protocol is the one that the simulation's ends speak: a message is a head of lines, which an empty line ends, and a
//! body, whose length a line of the head tells. Each request is answered by one message. To make this your own, change
//! [`Messages`]: it says where messages end. docs/service-designers.md goes on from here.

use std::process::ExitCode;

use fttcp::service::dialogue::{Dialogue, Lost, Protocol, Request, Talk};
use fttcp::service::{Kinds, Restart};
use fttcp::sim::{Crash, Death, Outcome, Scenario, run_with};

/// Longest head that is understood, in bytes.
const MAX_HEAD: usize = 4096;

/// Finds the messages of one stream. Bytes come in pieces of any size.
#[derive(Debug, Default)]
struct Messages {
    /// Where the message begins, and what is known of its head.
    start: u64,
    head: Vec<u8>,
    /// Where it ends, once its head is known.
    end: Option<u64>,
}

impl Messages {
    fn take(
        &mut self,
        at: u64,
        bytes: &[u8],
        mut whole: impl FnMut(u64, u64) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        for (at, byte) in (at..).zip(bytes) {
            // Of a body, bytes may be left out; then the next byte shows that it has ended.
            self.end_before(at, &mut whole)?;
            let known = self.start + self.head.len() as u64;
            if self.end.is_none() && at > known {
                return Err(Lost("bytes of a head were left out"));
            }
            if self.end.is_none() && at == known {
                self.head.push(*byte);
                if self.head.ends_with(b"\r\n\r\n") {
                    self.end = Some(at + 1 + body_length(&self.head)?);
                } else if self.head.len() == MAX_HEAD {
                    return Err(Lost("a head without an end"));
                }
            }
            self.end_before(at + 1, &mut whole)?;
        }
        Ok(())
    }

    fn end_before(
        &mut self,
        at: u64,
        whole: &mut impl FnMut(u64, u64) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        if let Some(end) = self.end.filter(|end| *end <= at) {
            whole(self.start, end)?;
            *self = Self {
                start: end,
                ..Self::default()
            };
        }
        Ok(())
    }
}

fn body_length(head: &[u8]) -> Result<u64, Lost> {
    let head = String::from_utf8_lossy(head);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    length
        .and_then(|length| length.parse().ok())
        .ok_or(Lost("a head that does not tell the body's length"))
}

/// The protocol: requests, and their answers.
#[derive(Debug, Default)]
struct Toy {
    requests: Messages,
    answers: Messages,
}

impl Protocol for Toy {
    fn client_bytes(&mut self, at: u64, bytes: &[u8], dialogue: &mut Dialogue) -> Result<(), Lost> {
        self.requests.take(at, bytes, |start, end| {
            dialogue.asked(Request {
                start,
                end,
                // Whether a request may be issued twice would be told by its head.
                once: false,
                ..Request::default()
            })
        })
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8], dialogue: &mut Dialogue) -> Result<(), Lost> {
        self.answers
            .take(at, bytes, |_, end| dialogue.answered(end))
    }

    fn rewind(&mut self, to: Restart, _: &mut Dialogue) {
        let at = |start| Messages {
            start,
            ..Messages::default()
        };
        (self.requests, self.answers) = (at(to.client), at(to.server));
    }

    fn kind(&self) -> &'static str {
        "toy"
    }

    // A plug-in that is to survive a restart of the logger, or the sleep of its connection, saves where it stands.
    fn save(&self) -> Vec<u8> {
        let stands = [&self.requests, &self.answers].map(|it| (it.start, &it.head, it.end));
        postcard::to_allocvec(&stands).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        type Stands = (u64, Vec<u8>, Option<u64>);
        let Ok(stands) = postcard::from_bytes::<[Stands; 2]>(saved) else {
            return false;
        };
        [self.requests, self.answers] =
            stands.map(|(start, head, end)| Messages { start, head, end });
        true
    }
}

/// How many bytes of the client were replayed in a run whose outcome is right; `None`: it is not.
fn tell(kind: &str, scenario: &Scenario, outcome: &Outcome) -> Option<u64> {
    let failover = outcome.status.failover.clone().unwrap_or_default();
    let (moved, all) = (failover.recovered, failover.connections);
    let (replayed, discarded) = (failover.replayed_bytes, failover.discarded_bytes);
    let right = outcome.judge(scenario);
    match &right {
        Ok(_) => println!("{kind}: the client got what it gets without the crash"),
        Err(wrong) => println!("{kind}: WRONG: {}", wrong.join("; ")),
    }
    println!("  {moved} of {all} connections moved");
    println!("  {replayed} bytes of the client replayed");
    println!("  {discarded} bytes of the server said again, and not passed on a second time");
    for line in &outcome.log {
        println!("  log: {line}");
    }
    right.ok().map(|_| replayed)
}

/// One connection with ten requests of 500 bytes and ten answers of 20 KB; the server's process dies in the ninth.
fn scenario(kind: &'static str, kinds: &Kinds) -> Scenario {
    use fttcp::sim::Request;
    let mut scenario = Scenario {
        kind,
        ..Scenario::default()
    };
    scenario.script.requests = vec![Request::new(500, 20_000); 10];
    let events = run_with(&scenario, kinds).events;
    scenario.crashes = vec![Crash {
        at_event: events * 9 / 10,
        death: Death::Closes,
        detect_us: 2000,
    }];
    scenario
}

/// The same crash without and with a plug-in that knows the protocol: bytes replayed.
pub(crate) fn compare() -> [Option<u64>; 2] {
    let mut kinds = Kinds::default();
    kinds.add("toy", || Talk::new(Toy::default()));
    ["opaque", "toy"].map(|kind| {
        let scenario = scenario(kind, &kinds);
        tell(kind, &scenario, &run_with(&scenario, &kinds))
    })
}

fn main() -> ExitCode {
    match compare() {
        [Some(_), Some(_)] => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
