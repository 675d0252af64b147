// SPDX-License-Identifier: GPL-3.0-only
//! The logger's process is killed and started again while curl downloads: it goes on from its journal.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;
use std::time::Duration;

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::demo::client;
use rxl_tests::netns::bpf_folder::BpfFolder;
use rxl_tests::netns::demo::Served;
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{GROUP, Middle, SERVER, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// Size of the file.
const FILE: u64 = 6 << 20;
/// The client's line, in Mbit/s: a download takes about 100 ms.
const LINE: u32 = 500;

/// The folder comes last: it is dropped when no logger runs any more.
fn house(name: &str, seed: u64) -> Result<(Topology, Served, BpfFolder), String> {
    let folder = BpfFolder::mount(name)?;
    let mut topology = Topology::build(Layout {
        logger: folder.options(),
        ..Layout::default()
    })?;
    let file = Served::new(&topology, "file", FILE, seed)?;
    topology.serve()?;
    topology.shape(LINE)?;
    Ok((topology, file, folder))
}

fn restart(topology: &mut Topology) -> Result<(), String> {
    topology.kill_logger()?;
    topology.start_logger()
}

/// One download, with `fault` when the client has `at` bytes.
fn download(
    topology: &mut Topology,
    file: &Served,
    at: u64,
    fault: impl Fn(&mut Topology) -> Result<(), String>,
) -> Result<(i32, bool), String> {
    let download = file.download(topology, Some(at));
    let (run, _) = client::run(&download, &mut || fault(topology).map(|()| String::new()))?;
    Ok((run.curl_exit, run.sha256_ok))
}

#[test]
fn download_survives_a_logger_killed_and_started_again_at_any_moment() -> Outcome {
    let mut random = Random::announced("logger_killed_at_any_moment");
    let (mut topology, file, _folder) = house("any", random.number())?;
    for run in 0..15 {
        let at = 1 + random.below(FILE - 1);
        let outcome = download(&mut topology, &file, at, restart)?;
        assert_eq!(
            outcome,
            (0, true),
            "run {run} at {at}: {}",
            topology.logger()?.log()
        );
    }
    let log = topology.logger()?.log();
    assert!(log.contains("restored 1 groups"), "{log}");
    let counters = topology.logger()?.status(GROUP)?.counters;
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    Ok(())
}

#[test]
fn server_killed_after_the_logger_was_started_again_is_replaced() -> Outcome {
    let mut random = Random::announced("server_killed_after_restart");
    let (mut topology, file, _folder) = house("after", random.number())?;
    for run in 0..8 {
        let at = 1 + random.below(FILE - 1);
        let outcome = download(&mut topology, &file, at, |topology| {
            restart(topology)?;
            let told = topology.victim()?.kill()?;
            told.join().map_err(|_| "the watching thread panicked")??;
            Ok(())
        })?;
        let log = topology.logger()?.log();
        assert_eq!(outcome, (0, true), "run {run} at {at}: {log}");
        let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
        assert_eq!((failover.lost, failover.number), (0, run + 1), "{log}");
        topology.renew_standby()?;
    }
    Ok(())
}

/// The connection that the server has opened is known as the session's, also by the next logger.
#[test]
fn ftp_in_active_mode_survives_a_logger_killed_and_started_again_and_its_server() -> Outcome {
    let mut random = Random::announced("ftp_logger_killed");
    let folder = BpfFolder::mount("ftp")?;
    let mut topology = Topology::build(Layout {
        serves: Serves::Ftp(FtpServer::Vsftpd),
        group: Some(GroupSpec {
            services: vec![ServiceSpec::new(21, "ftp")],
            ..GroupSpec::default()
        }),
        logger: folder.options(),
        ..Layout::default()
    })?;
    let content = random.bytes(FILE as usize);
    topology.put("file", &content)?;
    topology.serve()?;
    topology.shape(LINE)?;
    let got = topology.folder().join("got");
    for run in 0..8 {
        let mut curl = topology.client().command("curl");
        curl.args(["-s", "-S", "-P-", "--noproxy", "*", "--max-time", "15"]);
        curl.arg("-o").arg(&got).arg(format!("ftp://{SERVER}/file"));
        let mut curl = curl.spawn()?;
        // Not a wait for something: the moment of the fault is what is tried out.
        thread::sleep(Duration::from_millis(random.below(150)));
        restart(&mut topology)?;
        let dies = run % 2 == 1;
        if dies {
            topology.end(End::Unplugged)?;
        }
        let ended = curl.wait()?;
        let log = topology.logger()?.log();
        assert!(ended.success(), "run {run}: {ended}\n{log}");
        assert!(fs::read(&got)? == content, "run {run}\n{log}");
        if dies {
            topology.wait_moved()?;
            topology.new_standby()?;
        }
    }
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    Ok(())
}

#[test]
fn logger_killed_in_the_middle_of_a_failover_goes_on_with_it() -> Outcome {
    let mut random = Random::announced("logger_killed_in_failover");
    let (mut topology, file, _folder) = house("within", random.number())?;
    for run in 0..8 {
        let at = 1 + random.below(FILE - 1);
        let later = Duration::from_micros(random.below(20_000));
        let outcome = download(&mut topology, &file, at, |topology| {
            let told = topology.victim()?.kill()?;
            told.join().map_err(|_| "the watching thread panicked")??;
            // Not a wait for something: the moment of the fault is what is tried out.
            thread::sleep(later);
            restart(topology)
        })?;
        let log = topology.logger()?.log();
        assert_eq!(outcome, (0, true), "run {run} at {at}, {later:?}: {log}");
        topology.renew_standby()?;
    }
    Ok(())
}

#[test]
fn ended_for_an_upgrade_it_goes_on_and_a_torn_journal_does_no_harm() -> Outcome {
    let (mut topology, file, _folder) = house("ended", 5)?;
    let outcome = download(&mut topology, &file, FILE / 2, |topology| {
        topology.stop_logger()?;
        let path = topology.logger_folder().join("ftlogger.journal");
        let mut journal = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|error| error.to_string())?;
        // The head of a record whose contents never came.
        journal
            .write_all(&[200, 0, 0, 0, 1, 2, 3, 4, 5])
            .map_err(|error| error.to_string())?;
        topology.start_logger()
    })?;
    assert_eq!(outcome, (0, true), "{}", topology.logger()?.log());
    Ok(())
}

/// Nothing ends these loggers but this test; they cannot tell.
#[test]
fn journal_of_which_loggers_die_is_put_aside_and_its_groups_are_protected() -> Outcome {
    let (mut topology, file, _folder) = house("deadly", 1)?;
    for _ in 0..20 {
        restart(&mut topology)?;
        let log = topology.logger()?.log();
        assert!(log.contains("restored 1 groups"), "{log}");
    }
    restart(&mut topology)?;
    let log = topology.logger()?.log();
    assert!(log.contains("20 loggers in a row"), "{log}");
    let journal = topology.logger_folder().join("ftlogger.journal");
    assert!(journal.with_extension("journal.bad").exists(), "{log}");
    let outcome = download(&mut topology, &file, FILE / 2, |topology| {
        topology.end(End::Killed)
    })?;
    assert_eq!(outcome, (0, true), "{}", topology.logger()?.log());
    Ok(())
}

#[test]
fn damaged_journal_is_put_aside_and_the_logger_starts_empty() -> Outcome {
    let mut topology = Topology::new(Middle::Protected)?;
    topology.kill_logger()?;
    let path = topology.logger_folder().join("ftlogger.journal");
    let mut bytes = fs::read(&path)?;
    bytes[22] ^= 1;
    fs::write(&path, &bytes)?;
    topology.start_logger()?;
    assert!(
        topology.logger()?.status(GROUP).is_err(),
        "nothing is known"
    );
    assert_eq!(fs::read(path.with_extension("journal.bad"))?, bytes);
    let log = topology.stop_logger()?;
    assert!(log.contains("damaged at byte"), "{log}");
    Ok(())
}
