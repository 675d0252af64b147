// SPDX-License-Identifier: GPL-3.0-only
//! Upgrades from one living server to another, of another product, under load and in the middle of everything.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use fttcp::control::{Request, UpgradeEnd, UpgradeStatus};
use rustix::process::Signal;
use rxl_tests::netns::http::Connection;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// Requests that wrk makes at least while servers change.
const REQUESTS: u64 = 100_000;
const MIB: usize = 1 << 20;

/// nginx, and apache2 as the new version of it, with the same small file.
fn house() -> Result<Topology, String> {
    let mut topology = Topology::build(Layout {
        kind: "http",
        nginx: "etag off; access_log access.log;",
        second: Some(Serves::Apache),
        ..Layout::default()
    })?;
    topology.put("small", b"small")?;
    topology.serve()?;
    Ok(topology)
}

fn progress(topology: &Topology) -> Result<UpgradeStatus, String> {
    let status = topology.logger()?.status(GROUP)?;
    status.upgrade.ok_or_else(|| "no upgrade".to_owned())
}

/// Kills the first or the second server, and tells the logger.
fn kill(topology: &Topology, which: usize) -> Result<(), String> {
    for program in &topology.programs()[which] {
        program.signal(Signal::KILL)?;
    }
    let request = Request::ServerDied {
        group: GROUP.to_owned(),
        interface: format!("vif{}", which + 1),
        reason: "killed".to_owned(),
    };
    topology.logger()?.request(&request).map(drop)
}

fn get_small(connection: &mut Connection) -> Result<(), String> {
    connection.ask("small", &[])?;
    let answer = connection.answer()?;
    if (answer.status, answer.body.as_slice()) == (200, b"small") {
        Ok(())
    } else {
        Err(format!("{answer:?}"))
    }
}

/// wrk in the client's namespace, for so many seconds.
fn start_wrk(topology: &Topology, seconds: u32) -> Result<Child, String> {
    let mut command = topology.client().command("wrk");
    command.args(["-t1", "-c32", "--latency", "--timeout", "10s"]);
    command.args([format!("-d{seconds}s"), format!("http://{SERVER}/small")]);
    let child = command.stdout(Stdio::piped()).spawn();
    child.map_err(|error| format!("cannot run wrk: {error}"))
}

/// How many requests it made, none of which may have failed.
fn end_of_wrk(child: Child) -> Result<u64, String> {
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return Err(text);
    }
    let count = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "));
    count
        .and_then(|(count, _)| count.parse().ok())
        .ok_or_else(|| format!("wrk printed no count: {text}"))
}

/// What a fresh connection's server calls itself.
fn product(topology: &Topology) -> Result<String, String> {
    let url = format!("http://{SERVER}/small");
    let head = topology
        .client()
        .run("curl", &["-sSI", "--noproxy", "*", &url])?;
    let server = head.lines().find_map(|line| line.strip_prefix("Server: "));
    Ok(server.unwrap_or_default().to_owned())
}

#[test]
fn wrk_makes_a_hundred_thousand_requests_while_servers_change_and_none_fails() -> Outcome {
    const ROUND: u32 = 10;
    let topology = house()?;
    let (mut requests, mut round, mut moved) = (0, 0, 0);
    while requests < REQUESTS || round < 2 {
        topology.wait_idle()?;
        let wrk = start_wrk(&topology, ROUND)?;
        // In the middle of the round: when the load has begun.
        topology.wait_protected(32)?;
        match round {
            0 => topology.upgrade(60_000)?,
            1 => topology.rollback()?,
            _ => {}
        }
        if round < 2 {
            let progress = topology.wait_drained()?;
            println!("{progress:?}");
            assert_eq!((progress.lost, progress.moved_by_replay), (0, 0));
            moved += progress.moved_quiet;
        }
        requests += end_of_wrk(wrk)?;
        let expected = if round == 0 { "Apache" } else { "nginx" };
        assert!(product(&topology)?.starts_with(expected));
        round += 1;
    }
    println!("{requests} requests, none failed; {moved} connections moved");
    assert!(moved >= 64, "{moved}");
    topology.finish()?;
    let status = topology.logger()?.status(GROUP)?;
    let upgrade = status.upgrade.ok_or("no upgrade")?;
    assert_eq!(
        (upgrade.ended, upgrade.lost),
        (Some(UpgradeEnd::Finished), 0)
    );
    assert!(status.spec.standbys.is_empty());
    Ok(())
}

#[test]
fn kept_connection_goes_on_with_another_product_and_back() -> Outcome {
    let topology = house()?;
    let mut used = Connection::open(topology.client(), 80)?;
    let mut fresh = Connection::open(topology.client(), 80)?;
    get_small(&mut used)?;
    topology.upgrade(60_000)?;
    assert_eq!(topology.wait_drained()?.moved_quiet, 2);
    for _ in 0..3 {
        get_small(&mut used)?;
        get_small(&mut fresh)?;
    }
    topology.rollback()?;
    assert_eq!(topology.wait_drained()?.moved_quiet, 2);
    get_small(&mut used)?;
    get_small(&mut fresh)?;
    let log = topology.logger()?.log();
    assert!(log.contains("rollback began, from vif2 to vif1"), "{log}");
    Ok(())
}

#[test]
fn long_download_is_resumed_by_another_product_when_time_is_up() -> Outcome {
    let mut topology = house()?;
    let content = Random::new(3).bytes(24 * MIB);
    topology.put("file", &content)?;
    let file = File::options()
        .write(true)
        .open(topology.folder().join("files/file"))?;
    file.set_modified(SystemTime::now() - Duration::from_secs(3600))?;
    topology.shape(200)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    connection.ask("file", &[])?;
    let mut got = vec![0; 2 * MIB];
    connection.stream().read_exact(&mut got)?;
    topology.upgrade(50)?;
    let mut buffer = vec![0; 64 << 10];
    let head = got
        .windows(4)
        .position(|at| at == b"\r\n\r\n")
        .ok_or("no head")?
        + 4;
    while got.len() - head < content.len() {
        let count = connection.stream().read(&mut buffer)?;
        assert!(
            count > 0,
            "ended after {}: {}",
            got.len(),
            topology.logger()?.log()
        );
        got.extend_from_slice(&buffer[..count]);
    }
    assert!(got[head..] == content, "the file is another");
    let progress = topology.wait_drained()?;
    let log = topology.logger()?.log();
    assert_eq!(
        (progress.moved_by_replay, progress.returned),
        (1, 0),
        "{log}"
    );
    assert!(log.contains("resumed at byte"), "{log}");
    get_small(&mut connection)?;
    topology.stop_logger()?;
    Ok(())
}

#[test]
fn post_under_way_is_made_once_of_the_old_server() -> Outcome {
    let topology = house()?;
    let mut connection = Connection::open(topology.client(), 80)?;
    connection.send(b"POST /small HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n01234")?;
    topology.wait_logged(50)?;
    topology.upgrade(0)?;
    get_small(&mut Connection::open(topology.client(), 80)?)?;
    assert_eq!(progress(&topology)?.waiting, 1);
    connection.send(b"56789")?;
    let answer = connection.answer()?;
    // nginx, not Apache, which has no such rule: 405.
    assert_eq!(answer.status, 405);
    let progress = topology.wait_drained()?;
    assert_eq!((progress.moved_by_replay, progress.lost), (0, 0));
    Ok(())
}

#[test]
fn upgrade_goes_on_when_the_logger_is_killed_in_the_middle() -> Outcome {
    let mut topology = house()?;
    let mut idle = Connection::open(topology.client(), 80)?;
    get_small(&mut idle)?;
    let mut busy = Connection::open(topology.client(), 80)?;
    busy.send(b"POST /small HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\n01")?;
    topology.wait_logged(50)?;
    topology.upgrade(0)?;
    topology.kill_logger()?;
    topology.start_logger()?;
    get_small(&mut idle)?;
    busy.send(b"23")?;
    assert_eq!(busy.answer()?.status, 405);
    let progress = topology.wait_drained()?;
    assert_eq!(progress.lost, 0, "{progress:?}");
    get_small(&mut busy)?;
    assert!(product(&topology)?.starts_with("Apache"));
    topology.stop_logger()?;
    Ok(())
}

#[test]
fn either_server_may_be_killed_in_the_middle() -> Outcome {
    for (which, end, product_left) in [
        (0, UpgradeEnd::LeftDied, "Apache"),
        (1, UpgradeEnd::ActiveDied, "nginx"),
    ] {
        let topology = house()?;
        let mut moved = Connection::open(topology.client(), 80)?;
        get_small(&mut moved)?;
        // Half a request: it stays, and can be told to another server.
        let mut stays = Connection::open(topology.client(), 80)?;
        stays.send(b"GET /small HTTP/1.1\r\n")?;
        topology.wait_logged(20)?;
        topology.upgrade(60_000)?;
        get_small(&mut moved)?;
        // An answer that its client has not acknowledged, another product cannot say again.
        topology.wait_answered(22)?;
        kill(&topology, which)?;
        get_small(&mut moved)?;
        topology.wait_moved()?;
        stays.send(b"Host: web\r\n\r\n")?;
        assert_eq!(stays.answer()?.body, b"small");
        let progress = progress(&topology)?;
        assert_eq!((progress.ended, progress.lost), (Some(end), 0));
        assert!(product(&topology)?.starts_with(product_left));
    }
    Ok(())
}
