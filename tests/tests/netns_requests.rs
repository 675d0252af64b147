// SPDX-License-Identifier: GPL-3.0-only
//! Failover between and within the requests of connections that live long.

use std::error::Error;
use std::time::Duration;

use rxl_tests::netns::http::Connection;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{GROUP, Middle, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// A running house that serves `files` files of random length; their contents.
fn house(files: u64) -> Result<(Topology, Vec<Vec<u8>>), String> {
    let mut topology = Topology::new(Middle::Protected)?;
    let mut random = Random::new(files);
    let mut contents = Vec::new();
    for index in 0..files {
        let length = 1 + random.below(100_000);
        let content = random.bytes(length as usize);
        topology.put(&index.to_string(), &content)?;
        contents.push(content);
    }
    topology.serve()?;
    Ok((topology, contents))
}

/// Kills the active server and waits until the logger knows.
fn crash(topology: &Topology) -> Result<(), String> {
    let teller = topology.victim()?.kill()?;
    teller
        .join()
        .map_err(|_| "the watching thread panicked")??;
    Ok(())
}

#[test]
fn kill_between_requests_of_a_kept_connection() -> Outcome {
    let (mut topology, contents) = house(6)?;
    let mut connection = Connection::open(topology.client(), 80)?;

    for (index, content) in contents.iter().enumerate() {
        connection.ask(&index.to_string(), &[])?;
        let response = connection.answer()?;
        assert_eq!(response.status, 200, "file {index}");
        assert!(response.body == *content, "file {index}");
        if index % 2 == 1 {
            crash(&topology)?;
            topology.wait_moved()?;
            topology.renew_standby()?;
        }
    }

    let counters = topology.logger()?.status(GROUP)?.counters;
    let log = topology.stop_logger()?;
    assert_eq!(
        (counters.recovered, counters.diverged, counters.lost),
        (3, 0, 0),
        "{log}"
    );
    Ok(())
}

#[test]
fn kill_of_an_idle_connection_leaves_it_usable() -> Outcome {
    let (topology, contents) = house(1)?;
    // Connected, and not a byte sent yet.
    let mut connection = Connection::open(topology.client(), 80)?;
    crash(&topology)?;
    connection.ask("0", &[])?;
    assert!(connection.answer()?.body == contents[0]);
    Ok(())
}

#[test]
fn close_of_the_dying_server_is_swallowed() -> Outcome {
    let (topology, contents) = house(2)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    connection.ask("0", &[])?;
    assert!(connection.answer()?.body == contents[0]);
    // The dying kernel closes the idle connection at once, before anyone knows of the death.
    let victim = topology.victim()?;
    victim.kill_untold()?;

    assert!(
        connection.is_silent_for(Duration::from_millis(100))?,
        "the close got through"
    );
    victim.tell()?;
    connection.ask("1", &[])?;

    assert!(connection.answer()?.body == contents[1]);
    let counters = topology.logger()?.status(GROUP)?.counters;
    assert!(counters.swallowed_closes >= 1, "{counters:?}");
    Ok(())
}

#[test]
fn standby_that_died_meanwhile_is_not_failed_over_to() -> Outcome {
    let (mut topology, contents) = house(1)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    topology.restart_standby()?;
    let standbys = topology.logger()?.status(GROUP)?.spec.standbys;
    assert_eq!(standbys, ["vif2"]);

    crash(&topology)?;
    connection.ask("0", &[])?;

    assert!(connection.answer()?.body == contents[0]);
    Ok(())
}

#[test]
fn kill_with_a_large_request_half_sent() -> Outcome {
    let (topology, contents) = house(1)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    let filling = String::from_utf8(vec![b'x'; 50_000])?;
    let lines: Vec<String> = (0..3)
        .map(|n| format!("X-Filling-{n}: {filling}"))
        .collect();
    // The server has these and waits for the rest, which comes when it is dead.
    connection.send(format!("GET /0 HTTP/1.1\r\n{}\r\n", lines.join("\r\n")).as_bytes())?;
    topology.wait_logged(150_000)?;
    crash(&topology)?;
    connection.send(b"Host: web\r\n\r\n")?;

    let response = connection.answer()?;

    assert_eq!(response.status, 200);
    assert!(response.body == contents[0]);
    let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
    assert!(failover.replayed_bytes >= 150_000, "{failover:?}");
    Ok(())
}

#[test]
fn kill_with_pipelined_requests_unanswered() -> Outcome {
    let (topology, contents) = house(4)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    for index in 0..contents.len() {
        connection.ask(&index.to_string(), &[])?;
    }
    crash(&topology)?;
    for (index, content) in contents.iter().enumerate() {
        assert!(connection.answer()?.body == *content, "file {index}");
    }
    Ok(())
}

#[test]
fn kill_with_many_connections_open() -> Outcome {
    let (topology, contents) = house(8)?;
    let mut connections = Vec::new();
    for index in 0..64 {
        let mut connection = Connection::open(topology.client(), 80)?;
        connection.ask(&(index % contents.len()).to_string(), &[])?;
        connections.push(connection);
    }
    crash(&topology)?;
    for (index, connection) in connections.iter_mut().enumerate() {
        let response = connection.answer()?;
        assert!(
            response.body == contents[index % contents.len()],
            "connection {index}"
        );
    }
    let counters = topology.wait_moved()?.counters;
    assert_eq!(
        (counters.recovered, counters.diverged, counters.lost),
        (64, 0, 0)
    );
    Ok(())
}

#[test]
fn connection_closed_by_the_client_is_forgotten() -> Outcome {
    let (topology, _) = house(1)?;
    for _ in 0..10 {
        let mut connection = Connection::open(topology.client(), 80)?;
        connection.ask("0", &["Connection: close".to_owned()])?;
        connection.answer()?;
    }
    let counters = topology.logger()?.status(GROUP)?.counters;
    assert!(counters.frames > 0);
    crash(&topology)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    connection.ask("0", &[])?;
    assert_eq!(connection.answer()?.status, 200);
    assert_eq!(topology.logger()?.status(GROUP)?.counters.lost, 0);
    Ok(())
}

/// A running house whose logger understands HTTP, with one file.
fn http_house(content: &[u8]) -> Result<Topology, String> {
    let mut topology = Topology::build(Layout {
        middle: Middle::Protected,
        kind: "http",
        ..Layout::default()
    })?;
    topology.put("0", content)?;
    topology.serve()?;
    Ok(topology)
}

#[test]
fn of_a_thousand_requests_the_last_is_replayed() -> Outcome {
    let content = Random::new(1).bytes(1000);
    let mut topology = http_house(&content)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    for _ in 0..1000 {
        connection.ask("0", &[])?;
        assert!(connection.answer()?.body == content);
    }
    // The last response may still be unacknowledged; one request is some 60 bytes.
    crash(&topology)?;
    topology.wait_moved()?;
    connection.ask("0", &[])?;
    assert!(connection.answer()?.body == content);

    let status = topology.logger()?.status(GROUP)?;
    let failover = status.failover.ok_or("no failover")?;
    let log = topology.stop_logger()?;
    assert_eq!((failover.recovered, failover.lost), (1, 0), "{log}");
    assert!(failover.replayed_bytes < 200, "{failover:?}");
    assert!(failover.discarded_bytes < 3000, "{failover:?}");
    assert!(status.connections[0].logged_bytes < 200, "{log}");
    Ok(())
}

#[test]
fn request_that_must_not_be_made_twice_is_not() -> Outcome {
    let mut topology = http_house(b"x")?;
    let mut connection = Connection::open(topology.client(), 80)?;
    // A server that stands still answers nothing.
    let victim = topology.victim()?;
    victim.stop()?;
    connection.send(b"POST /0 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789")?;
    topology.wait_logged(1)?;
    victim.tell_end(End::Stopped)?;

    let answer = connection.answer()?;
    assert_eq!(answer.status, 502, "{answer:?}");
    let after = connection.answer();
    assert!(after.is_err_and(|it| it.contains("closed the connection")));
    let counters = topology.logger()?.status(GROUP)?.counters;
    let log = topology.stop_logger()?;
    assert_eq!((counters.lost, counters.recovered), (1, 0), "{log}");
    assert_eq!(counters.error_replies, 1, "{log}");
    let why = "ended with an error reply: a request that must not be made twice";
    assert!(log.contains(why), "{log}");
    Ok(())
}
