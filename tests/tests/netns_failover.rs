// SPDX-License-Identifier: GPL-3.0-only
//! Real kernels and stock programs: nginx is killed with SIGKILL at any moment, and curl does not notice.

use std::error::Error;
use std::thread;
use std::time::Duration;

use rxl_tests::demo::client;
use rxl_tests::netns::demo::{Served, hex};
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{GROUP, Middle, SERVER6, Topology};
use rxl_tests::netns::victim::{Told, Victim};
use sha2::{Digest, Sha256};

type Outcome = Result<(), Box<dyn Error>>;

/// Kills nginx this often in the long test.
const RUNS: u64 = 50;
/// Size of the file; the head and one burst of the server are a small part of it.
const FILE: u64 = 6 << 20;
/// The client's line, in Mbit/s: a download takes about 100 ms.
const LINE: u32 = 500;

/// When the server is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Some time after curl was started: before it connects, before the request, before the head, or later.
    After(Duration),
    /// When the client has this many bytes of the file.
    At(u64),
}

impl Moment {
    /// One moment in five is early, one is within the last bytes, the others are anywhere.
    fn any(run: u64, random: &mut Random) -> Self {
        match run % 5 {
            0 => Self::After(Duration::from_micros(random.below(12_000))),
            1 => Self::At(FILE - 1 - random.below(100_000)),
            2 if run < 5 => Self::At(1),
            _ => Self::At(1 + random.below(FILE - 1)),
        }
    }
}

/// Kills and joins the teller.
fn kill(victim: Victim) -> Result<Told, String> {
    victim
        .kill()?
        .join()
        .map_err(|_| "the watching thread panicked")?
}

/// One download with its server killed at `moment`; the exit code of curl and whether the file is right.
fn download(topology: &Topology, file: &Served, moment: Moment) -> Result<(i32, bool), String> {
    let victim = topology.victim()?;
    match moment {
        Moment::After(delay) => {
            // Not a wait for something: the moment of the fault is what is tried out.
            let killer = thread::spawn(move || {
                thread::sleep(delay);
                kill(victim)
            });
            let (run, _) = client::run(&file.download(topology, None), &mut || Ok(String::new()))?;
            killer.join().map_err(|_| "the killing thread panicked")??;
            Ok((run.curl_exit, run.sha256_ok))
        }
        Moment::At(bytes) => {
            let mut victim = Some(victim);
            let mut teller = None;
            let (run, _) = client::run(&file.download(topology, Some(bytes)), &mut || {
                let victim = victim.take().ok_or("killed already")?;
                teller = Some(victim.kill()?);
                Ok(String::new())
            })?;
            let teller = teller.ok_or("the server was never killed")?;
            teller
                .join()
                .map_err(|_| "the watching thread panicked")??;
            Ok((run.curl_exit, run.sha256_ok))
        }
    }
}

#[test]
fn download_survives_kill_at_any_moment() -> Outcome {
    let mut random = Random::announced("download_survives_kill_at_any_moment");
    let mut topology = Topology::new(Middle::Protected)?;
    let file = Served::new(&topology, "file", FILE, random.number())?;
    topology.serve()?;
    topology.shape(LINE)?;
    let mut failed = Vec::new();

    for run in 0..RUNS {
        let moment = Moment::any(run, &mut random);
        let (exit, right) = download(&topology, &file, moment)?;
        if exit != 0 || !right {
            failed.push(format!(
                "run {run}, {moment:?}: exit {exit}, sha256 right: {right}"
            ));
        }
        topology.renew_standby()?;
    }

    let counters = topology.wait_moved()?.counters;
    let log = topology.stop_logger()?;
    assert!(failed.is_empty(), "{}\n{log}", failed.join("\n"));
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    assert!(counters.recovered >= RUNS / 2, "{counters:?}\n{log}");
    Ok(())
}

#[test]
fn failover_is_reported_as_it_went() -> Outcome {
    let mut topology = Topology::new(Middle::Protected)?;
    let file = Served::new(&topology, "file", FILE, 3)?;
    topology.serve()?;
    topology.shape(LINE)?;

    let (exit, right) = download(&topology, &file, Moment::At(FILE / 2))?;

    let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
    let log = topology.stop_logger()?;
    assert_eq!((exit, right), (0, true), "{log}");
    assert_eq!((failover.recovered, failover.lost), (1, 0), "{log}");
    assert_eq!(failover.reason, "nginx was killed");
    assert!(failover.first_handshake_us <= failover.done_us && failover.done_us.is_some());
    assert!(failover.discarded_bytes >= FILE / 2, "{failover:?}");
    Ok(())
}

#[test]
fn download_over_ipv6_survives_kill() -> Outcome {
    let mut random = Random::announced("download_over_ipv6_survives_kill");
    let mut topology = Topology::new(Middle::Protected)?;
    let file = Served::new(&topology, "file", FILE, 9)?;
    topology.serve()?;
    topology.shape(LINE)?;
    for _ in 0..5 {
        let mut victim = Some(topology.victim()?);
        let mut download = file.download(&topology, Some(1 + random.below(FILE - 1)));
        let address = download.curl.last_mut().ok_or("no address")?;
        *address = format!("http://[{SERVER6}]/{}", file.name);

        let (run, _) = client::run(&download, &mut || {
            kill(victim.take().ok_or("killed already")?)?;
            Ok(String::new())
        })?;

        let log = topology.logger()?.log();
        assert_eq!((run.curl_exit, run.sha256_ok), (0, true), "{log}");
        topology.renew_standby()?;
    }
    // At least: a connection that the client has just closed is moved too.
    let counters = topology.logger()?.status(GROUP)?.counters;
    assert!(counters.recovered >= 5, "{counters:?}");
    assert_eq!((counters.diverged, counters.lost), (0, 0));
    assert_eq!(topology.kernel_drops()?, 0);
    Ok(())
}

#[test]
fn download_survives_kill_with_one_percent_loss() -> Outcome {
    let mut random = Random::announced("download_survives_kill_with_one_percent_loss");
    for _ in 0..4 {
        let mut topology = Topology::new(Middle::Protected)?;
        let file = Served::new(&topology, "file", FILE, 5)?;
        topology.serve()?;
        topology.shape(LINE)?;
        topology.lose(1)?;
        let moment = Moment::At(1 + random.below(FILE - 1));

        let (exit, right) = download(&topology, &file, moment)?;

        let log = topology.stop_logger()?;
        assert_eq!((exit, right), (0, true), "{moment:?}\n{log}");
    }
    Ok(())
}

#[test]
fn two_failovers_in_a_row_on_one_connection() -> Outcome {
    let mut topology = Topology::new(Middle::Protected)?;
    let file = Served::new(&topology, "file", 4 * FILE, 7)?;
    topology.serve()?;
    topology.shape(LINE)?;
    // Asked for twice on one connection, so that both crashes come in the middle of a response.
    let mut twice = file.download(&topology, Some(FILE));
    twice
        .curl
        .push(twice.curl.last().cloned().ok_or("no address")?);
    twice.file_bytes *= 2;
    let content = Random::new(7).bytes(4 * FILE as usize);
    twice.sha256 = hex(&Sha256::digest([content.as_slice(), &content].concat()));

    let (run, _) = client::run(&twice, &mut || {
        kill(topology.victim()?)?;
        topology.wait_moved()?;
        topology.renew_standby()?;
        kill(topology.victim()?)?;
        Ok(String::new())
    })?;

    let status = topology.wait_moved()?;
    let log = topology.stop_logger()?;
    assert_eq!((run.curl_exit, run.sha256_ok), (0, true), "{log}");
    assert_eq!(status.counters.recovered, 2, "{log}");
    Ok(())
}
