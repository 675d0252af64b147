// SPDX-License-Identifier: GPL-3.0-only
//! A kept-alive connection on which a real nginx has said long answers, forwarded by the kernel: what is done is not told again
//! to a replacement, however the end of an answer is told.

use std::error::Error;
use std::time::{Duration, Instant};

use fttcp::control::{FailoverStatus, Reply, Request};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{GROUP, Topology};
use rxl_tests::netns::web::talker::Talker;

type Outcome = Result<(), Box<dyn Error>>;

/// Of the file.
const LENGTH: usize = 60_000;
/// So many requests are made before a crash.
const ASKED: usize = 8;
/// Nothing is owed for so long.
const QUIET: Duration = Duration::from_millis(50);
const SAID: &str = "GET /file HTTP/1.1\r\nHost: web\r\n";

/// A house whose server has a file, which it codes for a client that says so, and says in chunks then.
fn house() -> Result<(Topology, Vec<u8>), String> {
    let mut topology = Topology::build(Layout {
        kind: "http",
        // The whole file is read at once, so that only the buffers say where a chunk ends.
        nginx: "gzip on; gzip_types *; sendfile off; output_buffers 1 1m;",
        ..Layout::default()
    })?;
    let content = Random::new(11).bytes(LENGTH);
    topology.put("file", &content)?;
    topology.age("file")?;
    topology.serve()?;
    Ok((topology, content))
}

/// Asks again and again with these fields, and hears the same each time. After each, the logger holds at most `left` bytes, and
/// the client waits for nothing.
fn fetch(topology: &Topology, client: &mut Talker, fields: &str, left: usize) -> Outcome {
    let logger = topology.logger()?;
    let forwarded = || -> Result<_, String> { Ok(logger.hello()?.fast.map(|it| it.forwarded)) };
    let before = forwarded()?;
    let mut first = None;
    for _ in 0..ASKED {
        client.ask("GET", "/file", fields)?;
        let answer = client.answer("GET")?;
        assert!(answer.body.len() >= LENGTH, "{}", answer.head);
        let body = first.get_or_insert_with(|| answer.body.clone());
        assert!(answer.body == *body, "another file");
        topology.wait_answered(left as u64)?;
    }
    let after = forwarded()?;
    println!("forwarded by the kernel: {before:?} {after:?}");
    assert!(after.is_none() || after > before);
    let group = GROUP.to_owned();
    let start = Instant::now();
    while start.elapsed() < QUIET {
        let group = group.clone();
        match logger.request(&Request::Probe { group })? {
            Reply::Silence(silence) => assert_eq!(silence.owed_ms, 0),
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

/// The server dies, and another goes on: what it was told.
fn crash(topology: &mut Topology) -> Result<FailoverStatus, String> {
    let teller = topology.victim()?.kill()?;
    let told = teller.join().map_err(|_| "the watching thread panicked")?;
    told?;
    let status = topology.wait_moved()?;
    let counters = status.counters;
    assert_eq!((counters.lost, counters.diverged), (0, 0));
    topology.renew_standby()?;
    status.failover.ok_or_else(|| "no failover".to_owned())
}

#[test]
fn of_answers_that_the_client_has_nothing_is_told_again() -> Outcome {
    let (mut topology, content) = house()?;
    let mut client = Talker::connect(topology.client())?;
    for _ in 0..2 {
        fetch(&topology, &mut client, "", 0)?;
        let failover = crash(&mut topology)?;
        assert_eq!(failover.recovered, 1);
        let told = (failover.replayed_bytes, failover.discarded_bytes);
        assert_eq!(told, (0, 0), "{failover:?}");
    }
    client.ask("GET", "/file", "")?;
    assert!(client.answer("GET")?.body == content, "another file");
    Ok(())
}

#[test]
fn of_answers_in_chunks_the_last_is_told_again() -> Outcome {
    const CODED: &str = "Accept-Encoding: gzip\r\n";
    let (mut topology, _) = house()?;
    let request = SAID.len() + CODED.len() + 2;
    let mut client = Talker::connect(topology.client())?;
    for _ in 0..2 {
        fetch(&topology, &mut client, CODED, request)?;
        let failover = crash(&mut topology)?;
        assert_eq!(failover.recovered, 1);
        assert_eq!(failover.replayed_bytes, request as u64, "{failover:?}");
    }
    client.ask("GET", "/file", CODED)?;
    let answer = client.answer("GET")?;
    assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
    assert!(answer.body.len() >= LENGTH);
    Ok(())
}
