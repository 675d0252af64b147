// SPDX-License-Identifier: GPL-3.0-only
//! The logger's process is gone for longer than the kernel's program waits for it: connections that are there keep flowing,
//! new ones wait or pass unprotected as the operator has chosen, and the next logger protects what can be protected.

use std::error::Error;
use std::thread;
use std::time::Duration;

use rxl_tests::demo::client;
use rxl_tests::netns::bpf_folder::BpfFolder;
use rxl_tests::netns::demo::Served;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// Size of the file.
const FILE: u64 = 6 << 20;
/// The client's line, in Mbit/s: a download takes 2.5 s.
const LINE: u32 = 20;
/// Longer than the program believes that a logger which is silent is still there (2 s).
const AWAY: Duration = Duration::from_millis(2500);
/// curl's exit code when it was told to wait no longer.
const TIMED_OUT: i32 = 28;

/// The folder comes last: it is dropped when no logger runs any more.
fn house(name: &str, options: &[&str]) -> Result<(Topology, Served, BpfFolder), String> {
    let folder = BpfFolder::mount(name)?;
    let mut logger = folder.options();
    logger.extend(options.iter().map(|&option| option.to_owned()));
    let mut topology = Topology::build(Layout {
        logger,
        ..Layout::default()
    })?;
    let file = Served::new(&topology, "file", FILE, 3)?;
    topology.serve()?;
    topology.shape(LINE)?;
    Ok((topology, file, folder))
}

/// What curl's exit code is when it may take so many seconds for a page.
fn new_connection(topology: &Topology, seconds: &str) -> Result<i32, Box<dyn Error>> {
    let url = format!("http://{SERVER}/");
    let mut curl = topology.client().command("curl");
    curl.args([
        "-s",
        "-o",
        "/dev/null",
        "--noproxy",
        "*",
        "--max-time",
        seconds,
        &url,
    ]);
    Ok(curl.status()?.code().unwrap_or(-1))
}

/// A download during which the logger goes, and does not come back; then new connections; then another logger.
fn absent(name: &str, options: &[&str], new: i32) -> Outcome {
    let (mut topology, file, _folder) = house(name, options)?;
    let download = file.download(&topology, Some(FILE / 8));
    let mut log = String::new();
    let (run, _) = client::run(&download, &mut || {
        log = topology.kill_logger()?;
        Ok(String::new())
    })?;
    assert_eq!((run.curl_exit, run.sha256_ok), (0, true), "{log}");
    assert_eq!(new_connection(&topology, "8")?, new, "{log}");

    topology.start_logger()?;
    let (run, _) = client::run(&download, &mut || {
        topology.end(End::Killed)?;
        Ok(String::new())
    })?;
    let log = topology.logger()?.log();
    assert_eq!((run.curl_exit, run.sha256_ok), (0, true), "{log}");
    let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
    // Nobody has told the logger that the first is over.
    assert!(failover.recovered >= 1 && failover.lost == 0, "{log}");
    assert_eq!(topology.logger()?.status(GROUP)?.counters.diverged, 0);
    Ok(())
}

#[test]
fn without_a_logger_downloads_go_on_and_new_connections_wait() -> Outcome {
    absent("closed", &[], TIMED_OUT)
}

#[test]
fn without_a_logger_that_may_fail_open_new_connections_pass() -> Outcome {
    absent("open", &["--fail-open"], 0)
}

/// The connection lives through both: the logger is away, then comes back, then the server dies.
#[test]
fn connection_that_was_there_before_is_protected_by_the_next_logger() -> Outcome {
    for options in [&[][..], &["--fail-open"]] {
        let (mut topology, file, _folder) = house("through", options)?;
        let download = file.download(&topology, Some(FILE / 4));
        let (run, _) = client::run(&download, &mut || {
            topology.kill_logger()?;
            // The fault's length: what happens at its end is what is tried out.
            thread::sleep(AWAY);
            topology.start_logger()?;
            topology.end(End::Killed)?;
            Ok(String::new())
        })?;
        let log = topology.logger()?.log();
        assert_eq!((run.curl_exit, run.sha256_ok), (0, true), "{log}");
        let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
        assert_eq!((failover.recovered, failover.lost), (1, 0), "{log}");
    }
    Ok(())
}
