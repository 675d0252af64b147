// SPDX-License-Identifier: GPL-3.0-only
//! Upgrades of an FTP server to another product: sessions at rest are moved with what they had come to, a transfer stays with
//! the server that began it and its session follows when it is over.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use fttcp::control::Request;
use rxl_tests::netns::ftp::script::Script;
use rxl_tests::netns::ftp::{self, FtpServer};
use rxl_tests::netns::http::Connection;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{CLIENT, GROUP, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// An FTP client of three lines.
struct Ftp(BufReader<std::net::TcpStream>);

impl Ftp {
    fn open(topology: &Topology) -> Result<Self, Box<dyn Error>> {
        let connection = Connection::open(topology.client(), 21)?;
        let mut ftp = Self(BufReader::new(connection.stream().try_clone()?));
        ftp.hear("220")?;
        Ok(ftp)
    }

    fn hear(&mut self, code: &str) -> Result<String, Box<dyn Error>> {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            if line.starts_with(&format!("{code} ")) {
                return Ok(line);
            }
            if !line.starts_with(code) {
                return Err(format!("{code} expected: {line:?}").into());
            }
        }
    }

    fn say(&mut self, command: &str, code: &str) -> Result<String, Box<dyn Error>> {
        self.0
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())?;
        self.hear(code)
    }
}

#[test]
fn ftp_session_goes_on_with_pyftpdlib() -> Outcome {
    ftp_session_goes_on_with(FtpServer::Pyftpdlib)
}

#[test]
fn ftp_session_goes_on_with_proftpd() -> Outcome {
    ftp_session_goes_on_with(FtpServer::Proftpd)
}

/// vsftpd, with a file, and another product beside it.
fn ftp_house(other: FtpServer) -> Result<Topology, Box<dyn Error>> {
    let mut topology = Topology::build(ftp::layout([FtpServer::Vsftpd, other]))?;
    topology.put("file", b"12345")?;
    let folder = topology.folder().join("files/in");
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    topology.serve()?;
    Ok(topology)
}

/// An end that the client has named, to which no connection has come yet, is told to the other server; that opens it.
#[test]
fn ftp_session_in_active_mode_is_moved_when_time_is_up() -> Outcome {
    let topology = ftp_house(FtpServer::Proftpd)?;
    let mut ftp = Ftp::open(&topology)?;
    ftp.say("USER anonymous", "230")?;
    ftp.say("PASS x@example.org", "230")?;
    let listener = topology
        .client()
        .enter(|| TcpListener::bind((CLIENT, 0)))??;
    let [high, low] = listener.local_addr()?.port().to_be_bytes();
    let host = CLIENT.replace('.', ",");
    ftp.say(&format!("PORT {host},{high},{low}"), "200")?;
    topology.upgrade(0)?;
    let progress = topology.wait_drained()?;
    assert_eq!(
        (progress.moved_by_replay, progress.returned),
        (1, 0),
        "{}",
        topology.logger()?.log()
    );
    ftp.say("RETR file", "150")?;
    let mut got = Vec::new();
    listener.accept()?.0.read_to_end(&mut got)?;
    assert_eq!(got, b"12345");
    ftp.hear("226")?;
    Ok(())
}

/// Another product than vsftpd, and vsftpd after that.
fn ftp_session_goes_on_with(other: FtpServer) -> Outcome {
    let topology = ftp_house(other)?;
    let mut ftp = Ftp::open(&topology)?;
    // vsftpd wants no password of this user, the other one does.
    ftp.say("USER anonymous", "230")?;
    ftp.say("PASS x@example.org", "230")?;
    ftp.say("TYPE I", "200")?;
    ftp.say("CWD in", "250")?;
    // What another server says to the short list must be shorter than what was said: it takes its place.
    for _ in 0..10 {
        ftp.say("PWD", "257")?;
    }
    topology.upgrade(60_000)?;
    let progress = topology.wait_drained()?;
    assert_eq!(
        (progress.moved_quiet, progress.returned),
        (1, 0),
        "{}",
        topology.logger()?.log()
    );
    let folder = ftp.say("PWD", "257")?;
    assert!(folder.contains("\"/in\""), "{folder}");
    let size = ftp.say("SIZE /file", "213")?;
    assert_eq!(size.trim(), "213 5");
    topology.rollback()?;
    assert_eq!(topology.wait_drained()?.moved_quiet, 1);
    assert_eq!(ftp.say("SIZE /file", "213")?.trim(), "213 5");
    Ok(())
}

/// How a server is left while it transfers files.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    /// It has so long until what it still does is moved.
    Drained(u32),
    /// The upgrade ends before the transfers: it is stopped, and the logger is told that it is gone.
    Stopped,
}

/// A download and an upload are under way while their server is left.
fn transfers_end_and_their_sessions_follow(left: Left) -> Outcome {
    let mut topology = ftp_house(FtpServer::Proftpd)?;
    let content = Random::new(5).bytes(2_000_000);
    topology.put("big", &content)?;
    topology.shape(40)?;
    let text = format!(
        "content = open('{}', 'rb').read()
def opened():
    ftp = session()
    ftp.voidcmd('TYPE I')
    # What another server says to the short list must be shorter than what was said: it takes its place.
    for _ in range(10):
        ftp.pwd()
    return ftp
def is_of_the_new_server(ftp):
    return ftp.cwd('in') == '250 CWD command successful'
down, up, idle = opened(), opened(), opened()
fetched = down.transfercmd('RETR big')
got = fetched.recv(10000)
stored = up.transfercmd('STOR in/up')
stored.sendall(content[:100000])
pause()
assert is_of_the_new_server(idle)
assert is_of_the_new_server(session())
pause()
stored.sendall(content[100000:])
stored.close()
assert up.voidresp().startswith('226')
while piece := fetched.recv(100000):
    got += piece
fetched.close()
assert down.voidresp().startswith('226')
assert got == content, len(got)
pause()
for ftp in (down, up):
    assert is_of_the_new_server(ftp)
    again = io.BytesIO()
    ftp.retrbinary('RETR up', again.write)
    assert again.getvalue() == content
    ftp.quit()
",
        topology.folder().join("files/big").display()
    );
    let mut script = Script::start(&topology, FtpServer::Vsftpd.login(), &text)?;
    script.wait_ready()?;
    let old = topology.victim()?;
    topology.upgrade(match left {
        Left::Drained(ms) => ms,
        Left::Stopped => 0,
    })?;
    script.go_on()?;
    script.wait_ready()?;
    // Both transfers, and their sessions.
    let progress = topology.logger()?.status(GROUP)?.upgrade;
    let log = topology.logger()?.log();
    assert!(progress.is_some_and(|it| it.waiting >= 4), "{log}");
    if left == Left::Stopped {
        old.stop()?;
        let request = Request::ServerDied {
            group: GROUP.to_owned(),
            interface: "vif1".to_owned(),
            reason: "the upgrade is over".to_owned(),
        };
        topology.logger()?.request(&request)?;
    }
    script.go_on()?;
    script.wait_ready()?;
    if left == Left::Stopped {
        let failover = topology.wait_moved()?.failover;
        let log = topology.logger()?.log();
        assert_eq!(
            failover.map(|it| (it.recovered, it.lost)),
            Some((4, 0)),
            "{log}"
        );
    } else {
        let progress = topology.wait_drained()?;
        let log = topology.logger()?.log();
        assert_eq!((progress.lost, progress.returned), (0, 0), "{log}");
        // A session to which something is being said when time is up is not at rest.
        assert!(
            progress.moved_quiet + progress.moved_by_replay >= 4,
            "{log}"
        );
    }
    script.go_on()?;

    script.finish(&topology)?;

    let log = topology.stop_logger()?;
    let stored = fs::read(topology.folder().join("files/in/up"))?;
    assert!(stored == content, "{log}");
    Ok(())
}

#[test]
fn transfers_end_with_vsftpd_and_their_sessions_go_on_with_proftpd() -> Outcome {
    transfers_end_and_their_sessions_follow(Left::Drained(60_000))
}

/// A file that is being transferred stays though the time is up: what the old server would yet write cannot be taken back.
#[test]
fn transfers_end_with_vsftpd_also_when_time_is_up() -> Outcome {
    transfers_end_and_their_sessions_follow(Left::Drained(0))
}

/// Who ends an upgrade stops the old server first: then another may go on with what it has not ended.
#[test]
fn transfers_go_on_with_proftpd_when_the_upgrade_is_over() -> Outcome {
    transfers_end_and_their_sessions_follow(Left::Stopped)
}
