// SPDX-License-Identifier: GPL-3.0-only
//! FTP servers that crash at random points of sessions, while files go both ways: every file is the same at both ends, no
//! client hangs, and none hears of it. Every server with every client, in passive and in active mode; and servers of two
//! products that replace each other.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::process::ends_within;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// How many crashes each pair of server and client goes through.
const CRASHES: &str = "FT_CRASHES";
const USUALLY: usize = 3;
/// No session takes so long, with a crash or without.
const PATIENCE: Duration = Duration::from_secs(20);
const DOWN: usize = 2_000_000;
const UP: usize = 1_500_000;
/// More files, for clients that fetch and store folders.
const TREE: [&str; 4] = ["tree/1", "tree/2", "tree/b/3", "tree/b/4"];
const LEAF: usize = 200_000;

/// What the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Curl,
    Lftp,
    /// lftp with some connections at a time: a file in pieces, and folders.
    LftpMany,
    Wget,
    Python,
}

/// Who opens the data connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The client.
    Passive,
    /// The server.
    Active,
}

impl Client {
    fn uploads(self) -> bool {
        self != Self::Wget
    }

    /// Fetches `down`, a list, and stores `sent` as `in/up`.
    fn command(
        self,
        mode: Mode,
        topology: &Topology,
        (user, password): (&str, &str),
        into: &Path,
        sent: &Path,
    ) -> Command {
        let (got, sent) = (into.join("down").display().to_string(), sent.display());
        let at = |path: &str| format!("ftp://{user}:{password}@{SERVER}/{path}");
        let usual = ["-s", "-S", "--noproxy", "*", "--max-time", "18"];
        let opens = match mode {
            Mode::Passive => "--ftp-pasv",
            Mode::Active => "-P-",
        };
        let usual = usual.into_iter().chain([opens]);
        let passive = mode == Mode::Passive;
        let lftp = format!(
            "set net:timeout 18; set net:max-retries 1; set ftp:use-allo no; set cmd:fail-exit yes; \
             set ftp:passive-mode {passive}; set xfer:clobber yes; open -u {user},{password} {SERVER}"
        );
        let (program, args): (_, Vec<String>) = match self {
            Self::Curl => {
                let usual: Vec<String> = usual.map(str::to_owned).collect();
                let mut args = usual.clone();
                args.extend(["-o".to_owned(), got, at("down"), "--next".to_owned()]);
                args.extend(usual);
                args.extend(["-T".to_owned(), sent.to_string(), at("in/up")]);
                ("curl", args)
            }
            Self::Lftp => {
                let text = format!("{lftp}; get down -o {got}; cls; put {sent} -o in/up; bye");
                ("lftp", vec!["-c".to_owned(), text])
            }
            Self::LftpMany => {
                let into = into.display();
                let text = format!(
                    "{lftp}; pget -n 3 down -o {got}; \
                     mirror -P 2 tree {into}/tree; put {sent} -o in/up; mirror -R -P 2 {into}/tree in/tree; bye"
                );
                ("lftp", vec!["-c".to_owned(), text])
            }
            Self::Wget => {
                let usual = ["-q", "--no-proxy", "-T", "18", "-t", "1", "-O"];
                let mut args = usual.map(str::to_owned).to_vec();
                if mode == Mode::Active {
                    args.insert(0, "--no-passive-ftp".to_owned());
                }
                args.extend([got, at("down")]);
                ("wget", args)
            }
            Self::Python => {
                let passive = if passive { "True" } else { "False" };
                let text = format!(
                    "import ftplib
ftp = ftplib.FTP('{SERVER}', timeout=18)
ftp.set_pasv({passive})
ftp.login('{user}', '{password}')
with open('{got}', 'wb') as file:
    assert ftp.retrbinary('RETR down', file.write).startswith('226')
assert 'down' in ftp.nlst()
with open('{sent}', 'rb') as file:
    assert ftp.storbinary('STOR in/up', file).startswith('226')
assert ftp.pwd() == '/'
ftp.quit()
"
                );
                ("python3", vec!["-c".to_owned(), text])
            }
        };
        let mut command = topology.client().command(program);
        command.args(args).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// A client that is killed if it hangs.
struct Session(Child);

impl Session {
    /// It must end with success.
    fn finish(&mut self) -> Outcome {
        if !ends_within(&self.0, PATIENCE)? {
            return Err("the client hangs".into());
        }
        let status = self.0.wait()?;
        if status.success() {
            return Ok(());
        }
        let stderr = self.0.stderr.take().ok_or("no standard error")?;
        Err(format!("{status}: {}", std::io::read_to_string(stderr)?).into())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct House {
    topology: Topology,
    client: Client,
    mode: Mode,
    login: (&'static str, &'static str),
    down: Vec<u8>,
    up: Vec<u8>,
}

impl House {
    fn new(
        [first, second]: [FtpServer; 2],
        client: Client,
        mode: Mode,
    ) -> Result<Self, Box<dyn Error>> {
        let mut topology = Topology::build(Layout {
            serves: Serves::Ftp(first),
            second: Some(Serves::Ftp(second)),
            group: Some(GroupSpec {
                services: vec![ServiceSpec {
                    buffer_bytes: 16 << 20,
                    ..ServiceSpec::new(21, "ftp")
                }],
                ..GroupSpec::default()
            }),
            ..Layout::default()
        })?;
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
            login: first.login(),
            down,
            up,
        })
    }

    fn start(&self) -> Result<Session, Box<dyn Error>> {
        let folder = self.topology.folder();
        let (into, sent) = (folder.join("got"), folder.join("sent"));
        let _ = fs::remove_file(folder.join("files/in/up"));
        for tree in ["files/in/tree", "got/tree"] {
            let _ = fs::remove_dir_all(folder.join(tree));
        }
        let mut command = self
            .client
            .command(self.mode, &self.topology, self.login, &into, &sent);
        Ok(Session(command.spawn()?))
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

fn crashes(servers: [FtpServer; 2], client: Client, mode: Mode) -> Outcome {
    let mut random = Random::announced(&format!("{servers:?} {client:?} {mode:?}"));
    let count = std::env::var(CRASHES).ok().and_then(|it| it.parse().ok());
    let mut house = House::new(servers, client, mode)?;
    let start = Instant::now();
    house.start()?.finish()?;
    let usual = start.elapsed();
    house.check()?;
    for crash in 0..count.unwrap_or(USUALLY) {
        let after = usual.mul_f64(random.below(1000) as f64 / 1000.0);
        // A domain goes at once. Processes that are killed one after the other would say so first: `500 OOPS` of vsftpd.
        let end = [End::Unplugged, End::Killed][crash % 2];
        let mut session = house.start()?;
        // Not a wait for something: the moment of the fault is what is tried out.
        std::thread::sleep(after);
        house.topology.end(end)?;

        let finished = session.finish().and_then(|()| house.check());

        if let Err(error) = finished {
            let status = house.topology.logger()?.status(GROUP)?;
            let log = house.topology.stop_logger()?;
            return Err(format!(
                "crash {crash}, {end:?} after {after:?} of {usual:?}: {error}\n{status:#?}\n{log}"
            )
            .into());
        }
        house.topology.wait_moved()?;
        house.topology.new_standby()?;
    }
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
    ($($server:ident $mode:ident: $($name:ident $client:ident),*;)*) => { $($(
        #[test]
        fn $name() -> Outcome {
            crashes([FtpServer::$server; 2], Client::$client, Mode::$mode)
        }
    )*)* };
}

pairs! {
    Vsftpd Passive:
        vsftpd_crashes_while_curl_transfers Curl,
        vsftpd_crashes_while_lftp_transfers Lftp,
        vsftpd_crashes_while_wget_transfers Wget,
        vsftpd_crashes_while_python_transfers Python;
    Pyftpdlib Passive:
        pyftpdlib_crashes_while_curl_transfers Curl,
        pyftpdlib_crashes_while_lftp_transfers Lftp,
        pyftpdlib_crashes_while_wget_transfers Wget,
        pyftpdlib_crashes_while_python_transfers Python;
    Proftpd Passive:
        proftpd_crashes_while_curl_transfers Curl,
        proftpd_crashes_while_lftp_transfers Lftp,
        proftpd_crashes_while_wget_transfers Wget,
        proftpd_crashes_while_python_transfers Python;
    PureFtpd Passive:
        pure_ftpd_crashes_while_curl_transfers Curl,
        pure_ftpd_crashes_while_lftp_transfers Lftp,
        pure_ftpd_crashes_while_wget_transfers Wget,
        pure_ftpd_crashes_while_python_transfers Python;
    Vsftpd Active:
        vsftpd_in_active_mode_crashes_while_curl_transfers Curl,
        vsftpd_in_active_mode_crashes_while_lftp_transfers Lftp,
        vsftpd_in_active_mode_crashes_while_wget_transfers Wget,
        vsftpd_in_active_mode_crashes_while_python_transfers Python,
        vsftpd_in_active_mode_crashes_while_lftp_mirrors LftpMany;
    Pyftpdlib Active:
        pyftpdlib_in_active_mode_crashes_while_curl_transfers Curl,
        pyftpdlib_in_active_mode_crashes_while_lftp_transfers Lftp,
        pyftpdlib_in_active_mode_crashes_while_python_transfers Python;
    Proftpd Active:
        proftpd_in_active_mode_crashes_while_curl_transfers Curl,
        proftpd_in_active_mode_crashes_while_lftp_transfers Lftp,
        proftpd_in_active_mode_crashes_while_python_transfers Python;
    PureFtpd Active:
        pure_ftpd_in_active_mode_crashes_while_curl_transfers Curl,
        pure_ftpd_in_active_mode_crashes_while_lftp_transfers Lftp,
        pure_ftpd_in_active_mode_crashes_while_python_transfers Python;
}

#[test]
fn vsftpd_crashes_while_lftp_mirrors_with_many_connections() -> Outcome {
    crashes([FtpServer::Vsftpd; 2], Client::LftpMany, Mode::Passive)
}

#[test]
fn pure_ftpd_crashes_while_lftp_mirrors_with_many_connections() -> Outcome {
    crashes([FtpServer::PureFtpd; 2], Client::LftpMany, Mode::Passive)
}

/// Another product takes over in the middle of a transfer, and the first one after that.
#[test]
fn vsftpd_and_proftpd_take_over_from_each_other_while_lftp_transfers() -> Outcome {
    let servers = [FtpServer::Vsftpd, FtpServer::Proftpd];
    crashes(servers, Client::Lftp, Mode::Passive)
}

#[test]
fn vsftpd_and_proftpd_take_over_from_each_other_while_python_transfers() -> Outcome {
    let servers = [FtpServer::Vsftpd, FtpServer::Proftpd];
    crashes(servers, Client::Python, Mode::Passive)
}

#[test]
fn vsftpd_and_proftpd_take_over_from_each_other_in_active_mode() -> Outcome {
    let servers = [FtpServer::Vsftpd, FtpServer::Proftpd];
    crashes(servers, Client::Python, Mode::Active)
}
