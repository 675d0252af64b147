// SPDX-License-Identifier: GPL-3.0-only
//! FTP servers that crash at random points of sessions, while files go both ways: every file is the same at both ends, no
//! client hangs, and none hears of it. Every server with every client, in passive and in active mode, by IPv4 and IPv6; and
//! servers of two products that replace each other.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rxl_tests::netns::ftp::client::{Client, Errand, Family, Mode, Session};
use rxl_tests::netns::ftp::{self, FtpServer};
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{GROUP, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// How many crashes each pair of server and client goes through.
const CRASHES: &str = "FT_CRASHES";
const USUALLY: usize = 3;
/// So many more are tried if none has hit a connection: what hits nobody shows nothing.
const MORE: usize = 30;
/// For how many seconds nothing may come to a client.
const SILENCE: u32 = 18;
const DOWN: usize = 2_000_000;
const UP: usize = 1_500_000;
/// More files, for clients that fetch and store folders.
const TREE: [&str; 4] = ["tree/1", "tree/2", "tree/b/3", "tree/b/4"];
const LEAF: usize = 200_000;

struct House {
    topology: Topology,
    client: Client,
    mode: Mode,
    family: Family,
    server: FtpServer,
    down: Vec<u8>,
    up: Vec<u8>,
}

impl House {
    fn new(
        [first, second]: [FtpServer; 2],
        client: Client,
        mode: Mode,
        family: Family,
    ) -> Result<Self, Box<dyn Error>> {
        let mut topology = Topology::build(ftp::layout([first, second]))?;
        let mut random = Random::new(7);
        let (down, up) = (random.bytes(DOWN), random.bytes(UP));
        topology.put("down", &down)?;
        fs::write(topology.folder().join("sent"), &up)?;
        let into = topology.folder().join("files/in");
        fs::create_dir(&into)?;
        fs::set_permissions(&into, fs::Permissions::from_mode(0o777))?;
        fs::create_dir_all(topology.folder().join("files/tree/b"))?;
        for path in TREE {
            topology.put(path, &random.bytes(LEAF))?;
        }
        fs::create_dir(topology.folder().join("got"))?;
        topology.serve()?;
        topology.shape(60)?;
        Ok(Self {
            topology,
            client,
            mode,
            family,
            server: first,
            down,
            up,
        })
    }

    fn start(&self) -> Result<Session, Box<dyn Error>> {
        // A client that has ended may have left a session that is still being closed, in a folder that goes now.
        self.topology.wait_idle()?;
        let folder = self.topology.folder();
        let (into, sent) = (folder.join("got"), folder.join("sent"));
        let _ = fs::remove_file(folder.join("files/in/up"));
        for tree in ["files/in/tree", "got/tree"] {
            let _ = fs::remove_dir_all(folder.join(tree));
        }
        let errand = Errand {
            mode: self.mode,
            family: self.family,
            server: self.server,
            into: &into,
            sent: &sent,
            name: "up",
            silence: SILENCE,
            folders: true,
        };
        Ok(self.client.start(self.topology.client(), &errand)?)
    }

    /// Both files are at both ends.
    fn check(&self) -> Outcome {
        let folder = self.topology.folder();
        let same = |path: &str, want: &[u8]| -> Outcome {
            let got = fs::read(folder.join(path))?;
            let first = got.iter().zip(want).position(|(a, b)| a != b);
            if got == want {
                return Ok(());
            }
            Err(format!("{path} has {} bytes, and differs at {first:?}", got.len()).into())
        };
        same("got/down", &self.down)?;
        if self.client.uploads() {
            same("files/in/up", &self.up)?;
        }
        if self.client == Client::LftpMany {
            for path in TREE {
                let want = fs::read(folder.join("files").join(path))?;
                same(&format!("got/{path}"), &want)?;
                same(&format!("files/in/{path}"), &want)?;
            }
        }
        Ok(fs::remove_file(folder.join("got/down"))?)
    }
}

fn crashes(servers: [FtpServer; 2], client: Client, mode: Mode, family: Family) -> Outcome {
    let mut random = Random::announced(&format!("{servers:?} {client:?} {mode:?} {family:?}"));
    let count = std::env::var(CRASHES).ok().and_then(|it| it.parse().ok());
    let mut house = House::new(servers, client, mode, family)?;
    let start = Instant::now();
    house.start()?.finish()?;
    let usual = start.elapsed();
    house.check()?;
    let count = count.unwrap_or(USUALLY);
    let (mut moved, mut tried) = (0, 0);
    while tried < count || moved == 0 && tried < count + MORE {
        let crash = tried;
        tried += 1;
        let after = usual.mul_f64(random.below(1000) as f64 / 1000.0);
        // A domain goes at once. Processes that are killed one after the other would say so first: `500 OOPS` of vsftpd.
        let end = [End::Unplugged, End::Killed][crash % 2];
        let mut session = house.start()?;
        // Not a wait for something: the moment of the fault is what is tried out.
        std::thread::sleep(after);
        house.topology.end(end)?;

        let finished = session.finish().map_err(Into::into);
        let finished: Outcome = finished.and_then(|()| house.check());

        if let Err(error) = finished {
            let status = house.topology.logger()?.status(GROUP)?;
            let log = house.topology.stop_logger()?;
            return Err(format!(
                "crash {crash}, {end:?} after {after:?} of {usual:?}: {error}\n{status:#?}\n{log}"
            )
            .into());
        }
        let failover = house.topology.wait_moved()?.failover;
        moved += failover.ok_or("no failover")?.recovered;
        house.topology.new_standby()?;
    }
    assert!(moved > 0, "no crash hit a connection");
    let counters = house.topology.logger()?.status(GROUP)?.counters;
    let log = house.topology.stop_logger()?;
    assert_eq!(
        (counters.lost, counters.diverged, counters.resumes_refused),
        (0, 0, 0),
        "{log}"
    );
    Ok(())
}

/// Each of these clients with a server, which is replaced by another of its kind.
macro_rules! pairs {
    ($($server:ident $mode:ident $family:ident: $($name:ident $client:ident),*;)*) => { $($(
        #[test]
        fn $name() -> Outcome {
            crashes([FtpServer::$server; 2], Client::$client, Mode::$mode, Family::$family)
        }
    )*)* };
}

// Not here: pyftpdlib in active mode with lftp's mirror. These two hang by themselves, with nothing between them.
pairs! {
    Vsftpd Passive V4:
        vsftpd_crashes_while_curl_transfers Curl,
        vsftpd_crashes_while_lftp_transfers Lftp,
        vsftpd_crashes_while_wget_transfers Wget,
        vsftpd_crashes_while_python_transfers Python,
        vsftpd_crashes_while_lftp_mirrors_with_many_connections LftpMany;
    Pyftpdlib Passive V4:
        pyftpdlib_crashes_while_curl_transfers Curl,
        pyftpdlib_crashes_while_lftp_transfers Lftp,
        pyftpdlib_crashes_while_wget_transfers Wget,
        pyftpdlib_crashes_while_python_transfers Python,
        pyftpdlib_crashes_while_lftp_mirrors_with_many_connections LftpMany;
    Proftpd Passive V4:
        proftpd_crashes_while_curl_transfers Curl,
        proftpd_crashes_while_lftp_transfers Lftp,
        proftpd_crashes_while_wget_transfers Wget,
        proftpd_crashes_while_python_transfers Python,
        proftpd_crashes_while_lftp_mirrors_with_many_connections LftpMany;
    PureFtpd Passive V4:
        pure_ftpd_crashes_while_curl_transfers Curl,
        pure_ftpd_crashes_while_lftp_transfers Lftp,
        pure_ftpd_crashes_while_wget_transfers Wget,
        pure_ftpd_crashes_while_python_transfers Python,
        pure_ftpd_crashes_while_lftp_mirrors_with_many_connections LftpMany;
    Vsftpd Active V4:
        vsftpd_in_active_mode_crashes_while_curl_transfers Curl,
        vsftpd_in_active_mode_crashes_while_lftp_transfers Lftp,
        vsftpd_in_active_mode_crashes_while_wget_transfers Wget,
        vsftpd_in_active_mode_crashes_while_python_transfers Python,
        vsftpd_in_active_mode_crashes_while_lftp_mirrors LftpMany;
    Pyftpdlib Active V4:
        pyftpdlib_in_active_mode_crashes_while_curl_transfers Curl,
        pyftpdlib_in_active_mode_crashes_while_lftp_transfers Lftp,
        pyftpdlib_in_active_mode_crashes_while_wget_transfers Wget,
        pyftpdlib_in_active_mode_crashes_while_python_transfers Python;
    Proftpd Active V4:
        proftpd_in_active_mode_crashes_while_curl_transfers Curl,
        proftpd_in_active_mode_crashes_while_lftp_transfers Lftp,
        proftpd_in_active_mode_crashes_while_wget_transfers Wget,
        proftpd_in_active_mode_crashes_while_python_transfers Python,
        proftpd_in_active_mode_crashes_while_lftp_mirrors LftpMany;
    PureFtpd Active V4:
        pure_ftpd_in_active_mode_crashes_while_curl_transfers Curl,
        pure_ftpd_in_active_mode_crashes_while_lftp_transfers Lftp,
        pure_ftpd_in_active_mode_crashes_while_wget_transfers Wget,
        pure_ftpd_in_active_mode_crashes_while_python_transfers Python,
        pure_ftpd_in_active_mode_crashes_while_lftp_mirrors LftpMany;
    Vsftpd Passive V6:
        vsftpd_by_ipv6_crashes_while_curl_transfers Curl,
        vsftpd_by_ipv6_crashes_while_lftp_transfers Lftp;
    Pyftpdlib Passive V6:
        pyftpdlib_by_ipv6_crashes_while_python_transfers Python;
    Proftpd Passive V6:
        proftpd_by_ipv6_crashes_while_curl_transfers Curl;
    PureFtpd Passive V6:
        pure_ftpd_by_ipv6_crashes_while_python_transfers Python;
    Vsftpd Active V6:
        vsftpd_by_ipv6_in_active_mode_crashes_while_python_transfers Python,
        vsftpd_by_ipv6_in_active_mode_crashes_while_wget_transfers Wget;
    Pyftpdlib Active V6:
        pyftpdlib_by_ipv6_in_active_mode_crashes_while_curl_transfers Curl;
    Proftpd Active V6:
        proftpd_by_ipv6_in_active_mode_crashes_while_python_transfers Python;
    PureFtpd Active V6:
        pure_ftpd_by_ipv6_in_active_mode_crashes_while_curl_transfers Curl;
}

/// Another product takes over in the middle of a transfer, and the first one after that.
fn take_over_from_each_other(client: Client, mode: Mode) -> Outcome {
    let servers = [FtpServer::Vsftpd, FtpServer::Proftpd];
    crashes(servers, client, mode, Family::V4)
}

#[test]
fn vsftpd_and_proftpd_take_over_from_each_other_while_lftp_transfers() -> Outcome {
    take_over_from_each_other(Client::Lftp, Mode::Passive)
}

#[test]
fn vsftpd_and_proftpd_take_over_from_each_other_while_python_transfers() -> Outcome {
    take_over_from_each_other(Client::Python, Mode::Passive)
}

#[test]
fn vsftpd_and_proftpd_take_over_from_each_other_in_active_mode() -> Outcome {
    take_over_from_each_other(Client::Python, Mode::Active)
}
