// SPDX-License-Identifier: GPL-3.0-only
//! Downloads that are resumed by a real nginx, which says only what the client lacks; and such that cannot be.

use std::error::Error;
use std::fs;
use std::io::Read;

use fttcp::control::Counters;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rxl_tests::demo::{DemoRun, client};
use rxl_tests::netns::demo::{Served, hex};
use rxl_tests::netns::http::{Connection, curl};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::Topology;
use sha2::{Digest, Sha256};

type Outcome = Result<(), Box<dyn Error>>;

const MIB: u64 = 1 << 20;
/// The client's line, in Mbit/s: a download must last.
const LINE: u32 = 400;

/// A house whose logger understands HTTP, and whose servers write down what they were asked.
fn house() -> Result<Topology, String> {
    Topology::build(Layout {
        kind: "http",
        nginx: "access_log access.log; gzip on; gzip_types *;",
        ..Layout::default()
    })
}

/// Kills the active server and waits until the logger knows.
fn crash(topology: &Topology) -> Result<(), String> {
    let teller = topology.victim()?.kill()?;
    let told = teller.join().map_err(|_| "the watching thread panicked")?;
    told.map(drop)
}

/// Of the last request in an access log: status, and bytes of the answer's body.
fn last_answer(log: &str) -> Option<(u16, u64)> {
    let behind = log.lines().last()?.split("HTTP/1.1\" ").nth(1)?;
    let mut words = behind.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Waits until the standby has written down an answer.
fn wait_answer(topology: &Topology) -> Result<(u16, u64), String> {
    let start = std::time::Instant::now();
    loop {
        let log = topology.standby_access_log()?;
        if let Some(answer) = last_answer(&log) {
            return Ok(answer);
        }
        if start.elapsed() > rxl_tests::netns::topology::PATIENCE {
            return Err(format!("no answer in the access log: {log}"));
        }
    }
}

#[test]
fn curl_gets_its_file_and_the_replacement_says_only_the_rest() -> Outcome {
    let mut topology = house()?;
    let file = Served::new(&topology, "file", 24 * MIB, 5)?;
    topology.serve()?;
    topology.shape(LINE)?;
    let mut received = 0;
    for done in [2 * MIB, 12 * MIB, 20 * MIB] {
        let (run, _) = client::run(&file.download(&topology, Some(done)), &mut || {
            crash(&topology).map(|()| String::new())
        })?;
        assert_eq!((run.curl_exit, run.sha256_ok), (0, true));
        received += 1;

        let status = topology.wait_moved()?;
        assert_eq!(status.counters.resumed, received, "{:?}", status.counters);
        let failover = status.failover.ok_or("no failover")?;
        let (code, sent) = wait_answer(&topology)?;
        println!("{done} done: {code}, {sent} bytes, {failover:?}");
        assert_eq!(code, 206);
        assert!(sent <= file.bytes - done, "{sent}");
        assert!(failover.discarded_bytes < 1 << 20, "{failover:?}");
        topology.wait_idle()?;
        topology.renew_standby()?;
    }
    let log = topology.stop_logger()?;
    assert_eq!(log.matches("resumed at byte ").count(), 3, "{log}");
    Ok(())
}

#[test]
fn one_download_is_resumed_again_and_again_and_its_connection_lives_on() -> Outcome {
    const FILE: u64 = 40 * MIB;
    let mut topology = house()?;
    let content = Random::new(8).bytes(FILE as usize);
    topology.put("file", &content)?;
    topology.put("small", b"small")?;
    topology.serve()?;
    topology.shape(LINE)?;
    let mut connection = Connection::open(topology.client(), 80)?;
    connection.ask("small", &[])?;
    assert_eq!(connection.answer()?.body, b"small");

    // The head goes before; its length does not matter here.
    connection.ask("file", &[])?;
    let mut got = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let forwarded = |topology: &Topology| -> Result<_, String> {
        Ok(topology.logger()?.hello()?.fast.map(|fast| fast.forwarded))
    };
    let mut before = None;
    for part in [1, 2, 3, 4, 9] {
        while (got.len() as u64) < FILE * part / 10 {
            let count = connection.stream().read(&mut buffer)?;
            assert!(count > 0, "ended after {}", got.len());
            got.extend_from_slice(&buffer[..count]);
        }
        if part == 9 {
            // Half of the file came since, more than waits in any buffer: the kernel has it back, if it had it.
            let after = forwarded(&topology)?;
            println!("forwarded by the kernel: {before:?} {after:?}");
            assert!(after.is_none() || after > before);
        }
        crash(&topology)?;
        topology.wait_moved()?;
        topology.renew_standby()?;
        before = forwarded(&topology)?;
    }
    let head = memchr(&got).ok_or("no head")?;
    while (got.len() - head) as u64 != FILE {
        let count = connection.stream().read(&mut buffer)?;
        assert!(count > 0, "ended after {}", got.len());
        got.extend_from_slice(&buffer[..count]);
    }
    assert!(got[head..] == content, "the file is another");

    for _ in 0..2 {
        connection.ask("small", &[])?;
        assert_eq!(connection.answer()?.body, b"small");
        crash(&topology)?;
        topology.wait_moved()?;
        topology.renew_standby()?;
    }
    connection.ask("small", &[])?;
    assert_eq!(connection.answer()?.body, b"small");
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.recovered, counters.lost), (7, 0), "{log}");
    assert_eq!(
        (counters.resumed, counters.resumes_refused),
        (5, 0),
        "{log}"
    );
    Ok(())
}

/// Where the body begins.
fn memchr(response: &[u8]) -> Option<usize> {
    let head = response.windows(4).position(|it| it == b"\r\n\r\n")?;
    Some(head + 4)
}

#[test]
fn range_that_was_asked_for_is_resumed() -> Outcome {
    let mut topology = house()?;
    let content = Random::new(9).bytes(20 << 20);
    topology.put("file", &content)?;
    topology.serve()?;
    topology.shape(LINE)?;
    let part = &content[1_000_000..=14_999_999];
    let file = Served {
        name: "file".to_owned(),
        bytes: part.len() as u64,
        sha256: hex(&Sha256::digest(part)),
    };
    let mut download = file.download(&topology, Some(4 * MIB));
    download.curl = curl(topology.client(), &["-r", "1000000-14999999"], &["file"]);
    let (run, _) = client::run(&download, &mut || crash(&topology).map(|()| String::new()))?;
    assert_eq!((run.curl_exit, run.sha256_ok), (0, true));
    assert_eq!(topology.wait_moved()?.counters.resumed, 1);
    let (code, sent) = wait_answer(&topology)?;
    assert_eq!(code, 206);
    assert!(sent <= file.bytes - 4 * MIB, "{sent}");
    Ok(())
}

/// A download of a coded response, whose server dies. Each server makes one chunk of as much as its `buffers` hold; the
/// standby's are others than those of the first.
fn coded(buffers: [&str; 2]) -> Result<(Topology, DemoRun, Counters), Box<dyn Error>> {
    let mut topology = Topology::build(Layout {
        kind: "http",
        // The whole file is read at once, so that only the buffers say where a chunk ends.
        nginx: "access_log access.log; gzip on; gzip_types *; sendfile off; output_buffers 1 16m;
            include ../buffers.conf;",
        ..Layout::default()
    })?;
    let file = Served::new(&topology, "file", 12 * MIB, 5)?;
    let config = topology.folder().join("buffers.conf");
    fs::write(&config, format!("gzip_buffers {};", buffers[0]))?;
    topology.serve()?;
    fs::write(&config, format!("gzip_buffers {};", buffers[1]))?;
    topology.restart_standby()?;
    topology.shape(LINE)?;
    let mut download = file.download(&topology, Some(5 * MIB));
    download.curl = curl(topology.client(), &["--compressed"], &["file"]);
    let (run, _) = client::run(&download, &mut || crash(&topology).map(|()| String::new()))?;
    let counters = topology.wait_moved()?.counters;
    assert_eq!((counters.resumed, counters.resumes_refused), (0, 0));
    Ok((topology, run, counters))
}

#[test]
fn coded_response_in_the_same_chunks_is_replayed() -> Outcome {
    let (topology, run, counters) = coded(["4096 4k"; 2])?;
    assert_eq!((run.curl_exit, run.sha256_ok), (0, true));
    assert_eq!((counters.recovered, counters.diverged), (1, 0));
    assert_eq!(wait_answer(&topology)?.0, 200);
    Ok(())
}

#[test]
fn coded_response_in_other_chunks_ends_honestly() -> Outcome {
    let (mut topology, run, counters) = coded(["4096 4k", "8 4k"])?;
    assert_ne!(run.curl_exit, 0);
    assert_eq!((counters.recovered, counters.diverged), (0, 1));
    let log = topology.stop_logger()?;
    assert!(log.contains("differ"), "{log}");
    Ok(())
}

#[test]
fn file_that_is_another_on_the_standby_ends_the_download() -> Outcome {
    let mut topology = house()?;
    let file = Served::new(&topology, "file", 12 * MIB, 5)?;
    topology.serve()?;
    topology.shape(LINE)?;
    let (run, _) = client::run(&file.download(&topology, Some(4 * MIB)), &mut || {
        // The dying server has the old one open.
        let files = topology.folder().join("files");
        let (new, old) = (files.join("new"), files.join("file"));
        let other = Random::new(6).bytes(12 << 20);
        let changed = fs::write(&new, other).and_then(|()| fs::rename(&new, &old));
        changed.map_err(|error| format!("cannot change the file: {error}"))?;
        crash(&topology).map(|()| String::new())
    })?;
    assert_ne!(run.curl_exit, 0);
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!(
        (counters.resumed, counters.resumes_refused),
        (0, 1),
        "{log}"
    );
    assert_eq!((counters.recovered, counters.diverged), (0, 1), "{log}");
    assert!(log.contains("not resumed, to be replayed"), "{log}");
    Ok(())
}

/// What a replacement says again does not depend on how much was done.
#[test]
fn four_megabytes_done_or_four_hundred_cost_the_same() -> Outcome {
    const FILE: usize = 440 << 20;
    const WINDOW: usize = 256 << 10;
    let mut topology = house()?;
    topology.put("file", &Random::new(3).bytes(FILE))?;
    topology.serve()?;
    let mut costs = Vec::new();
    for done in [4 << 20, 400 << 20] {
        let mut connection = Connection::open(topology.client(), 80)?;
        // What is on its way is a part of the cost.
        set_socket_recv_buffer_size(connection.stream(), WINDOW)?;
        connection.ask("file", &["Connection: close".to_owned()])?;
        let mut buffer = vec![0; 256 << 10];
        let (mut received, mut killed) = (0, None);
        loop {
            let count = connection.stream().read(&mut buffer)?;
            if count == 0 {
                break;
            }
            received += count;
            if received >= done && killed.is_none() {
                killed = Some(received);
                crash(&topology)?;
            }
        }
        assert!(received > FILE);
        let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
        let (code, sent) = wait_answer(&topology)?;
        assert_eq!(code, 206);
        let lacked = (received - killed.ok_or("not killed")?) as u64;
        // What the client's kernel had, and had not given to the client, is not said again.
        println!(
            "{} MiB done: {lacked} bytes lacked, the replacement said {sent}, of that again {}; first new byte after {:?} us",
            done >> 20,
            failover.discarded_bytes,
            failover.first_new_byte_us
        );
        assert!(sent <= lacked, "{sent} of {lacked}");
        costs.push(failover.discarded_bytes);
        drop(connection);
        topology.wait_idle()?;
        topology.renew_standby()?;
    }
    assert!(
        costs.iter().all(|&cost| cost < 2 * WINDOW as u64),
        "{costs:?}"
    );
    let log = topology.stop_logger()?;
    assert_eq!(log.matches("resumed at byte ").count(), 2, "{log}");
    Ok(())
}
