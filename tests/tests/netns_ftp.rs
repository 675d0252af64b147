// SPDX-License-Identifier: GPL-3.0-only
//! FTP as stock servers and clients speak it, with only port 21 named: the logger finds the data connections by itself,
//! and knows when they may close.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::ftp::script::Script;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;
type Contents = Vec<Vec<u8>>;

/// So long is a close held for which there is no reason: longer than any test may take.
const HOLD: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// A house with such servers, with three files, and a folder into which clients may write.
fn house(server: FtpServer) -> Result<(Topology, Contents), Box<dyn Error>> {
    let mut topology = Topology::build(Layout {
        serves: Serves::Ftp(server),
        group: Some(GroupSpec {
            services: vec![ServiceSpec {
                fin_hold_ms: HOLD.as_millis() as u32,
                buffer_bytes: 16 << 20,
                ..ServiceSpec::new(21, "ftp")
            }],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    let mut random = Random::new(21);
    let contents: Contents = [3_000_000, 1, 70_000]
        .into_iter()
        .map(|length| random.bytes(length))
        .collect();
    for (index, content) in contents.iter().enumerate() {
        topology.put(&format!("file{index}"), content)?;
    }
    let upload = topology.folder().join("files/in");
    fs::create_dir(&upload)?;
    fs::set_permissions(&upload, fs::Permissions::from_mode(0o777))?;
    topology.serve()?;
    Ok((topology, contents))
}

/// Every connection that `clients` made was protected: `control` ones, and `data` ones that they announced.
fn assert_linked(topology: &mut Topology, [control, data]: [u64; 2]) -> Outcome {
    if let Err(log) = topology.wait_idle() {
        let open = topology.logger()?.status(GROUP)?.connections;
        return Err(format!("{open:#?}\n{log}").into());
    }
    let counters = topology.logger()?.status(GROUP)?.counters;
    let log = topology.stop_logger()?;
    assert_eq!(
        (counters.closed, counters.unprotected),
        (control + data, 0),
        "{log}"
    );
    Ok(())
}

/// curl in one session: a list, downloads, an upload, a file that is not there, another download.
fn session_of_curl(server: FtpServer, passive: &str) -> Outcome {
    let (mut topology, contents) = house(server)?;
    let (user, password) = server.login();
    let into = topology.folder().join("got");
    fs::create_dir(&into)?;
    let to = |name: &str| into.join(name).display().to_string();
    let at = |path: &str| format!("ftp://{user}:{password}@{SERVER}/{path}");
    let sent = topology.folder().join("files/file2");
    let words = ["-s", "-S", passive, "--noproxy", "*", "--max-time", "15"];
    let transfers = [
        ["-o", &to("list"), &at("")],
        ["-o", &to("file0"), &at("file0")],
        ["-T", &sent.display().to_string(), &at("in/up")],
        ["-o", &to("none"), &at("none")],
        ["-o", &to("file1"), &at("file1")],
    ];
    let mut args = words.map(str::to_owned).to_vec();
    for (index, transfer) in transfers.iter().enumerate() {
        if index > 0 {
            args.push("--next".to_owned());
            args.extend(words.map(str::to_owned));
        }
        args.extend(transfer.map(str::to_owned));
    }
    let start = Instant::now();

    let output = topology.client().command("curl").args(&args).output()?;

    // Had a close been held, it would have taken that long.
    let log = topology.logger()?.log();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        start.elapsed() < PATIENCE,
        "{:?}: {said}\n{log}",
        start.elapsed()
    );
    let list = fs::read_to_string(to("list"))?;
    assert!(
        list.contains("file0") && list.contains("in"),
        "{list}\n{said}"
    );
    assert!(fs::read(to("file0"))? == contents[0], "{said}");
    assert!(fs::read(to("file1"))? == contents[1], "{said}");
    let uploaded = topology.folder().join("files/in/up");
    assert!(fs::read(uploaded)? == contents[2], "{said}");
    // A client opens a connection for each of the five; most servers none for a file that is not there.
    let opened = if passive == "-P-" && server != FtpServer::Pyftpdlib {
        4
    } else {
        5
    };
    assert_linked(&mut topology, [1, opened])
}

/// Each of these as a test: the server, and curl's word on who opens the data connections.
macro_rules! sessions {
    ($($name:ident $server:ident $passive:literal;)*) => { $(
        #[test]
        fn $name() -> Outcome {
            session_of_curl(FtpServer::$server, $passive)
        }
    )* };
}

sessions! {
    session_of_curl_with_vsftpd_extended_passive Vsftpd "--ftp-pasv";
    session_of_curl_with_vsftpd_passive Vsftpd "--disable-epsv";
    session_of_curl_with_pyftpdlib_extended_passive Pyftpdlib "--ftp-pasv";
    session_of_curl_with_pyftpdlib_passive Pyftpdlib "--disable-epsv";
    session_of_curl_with_proftpd_extended_passive Proftpd "--ftp-pasv";
    session_of_curl_with_proftpd_passive Proftpd "--disable-epsv";
    session_of_curl_with_pure_ftpd_extended_passive PureFtpd "--ftp-pasv";
    session_of_curl_with_pure_ftpd_passive PureFtpd "--disable-epsv";
    session_of_curl_with_vsftpd_extended_active Vsftpd "-P-";
    session_of_curl_with_pyftpdlib_extended_active Pyftpdlib "-P-";
    session_of_curl_with_proftpd_extended_active Proftpd "-P-";
    session_of_curl_with_pure_ftpd_extended_active PureFtpd "-P-";
}

#[test]
fn other_clients_are_not_held_up_either() -> Outcome {
    let (mut topology, contents) = house(FtpServer::Vsftpd)?;
    let into = topology.folder().join("got");
    fs::create_dir(&into)?;
    let into = into.display().to_string();
    let python = format!(
        "import ftplib
ftp = ftplib.FTP('{SERVER}', timeout=10)
ftp.login()
assert 'file0' in ftp.nlst()
with open('{into}/python', 'wb') as file:
    ftp.retrbinary('RETR file0', file.write)
ftp.quit()
"
    );
    let lftp = format!(
        "set net:timeout 10; set net:max-retries 1; set ftp:use-allo no; open {SERVER}; get file0 -o {into}/lftp; bye"
    );
    let address = format!("ftp://{SERVER}/file0");
    let wget = format!("{into}/wget");
    let clients = [
        ("python3", vec!["-c", &python]),
        ("lftp", vec!["-c", &lftp]),
        (
            "wget",
            vec![
                "-q",
                "--no-proxy",
                "-T",
                "10",
                "-t",
                "1",
                "-O",
                &wget,
                &address,
            ],
        ),
    ];
    let start = Instant::now();

    for (client, args) in &clients {
        topology.client().run(client, args)?;
    }

    let log = topology.logger()?.log();
    assert!(start.elapsed() < PATIENCE, "{:?}\n{log}", start.elapsed());
    for name in ["python", "lftp", "wget"] {
        assert!(fs::read(format!("{into}/{name}"))? == contents[0], "{name}");
    }
    // Python asks for a list, too.
    assert_linked(&mut topology, [3, 4])
}

/// A session with finished transfers goes on at the next server, and at the one after that.
fn session_is_moved(server: FtpServer) -> Outcome {
    let (mut topology, contents) = house(server)?;
    let text = format!(
        "ftp.cwd('in')
got = io.BytesIO()
for failover in range(2):
    ftp.retrbinary('RETR ../file1', got.write)
    ftp.nlst()
    pause()
    assert ftp.pwd() == '/in', ftp.pwd()
    ftp.storbinary('STOR up%d' % failover, io.BytesIO(b'content'))
    ftp.retrbinary('RETR ../file2', got.write)
assert len(got.getvalue()) == 2 * ({} + {})
ftp.quit()
",
        contents[1].len(),
        contents[2].len()
    );
    let mut script = Script::start(&topology, server.login(), &text)?;
    for _ in 0..2 {
        script.wait_ready()?;
        topology.end(End::Destroyed)?;
        topology.wait_moved()?;
        script.go_on()?;
        topology.renew_standby()?;
    }

    script.finish(&topology)?;

    for failover in 0..2 {
        let path = topology.folder().join(format!("files/in/up{failover}"));
        assert_eq!(fs::read(path)?, b"content");
    }
    let counters = topology.logger()?.status(GROUP)?.counters;
    let log = topology.stop_logger()?;
    assert_eq!(
        (counters.resumed, counters.resumes_refused, counters.lost),
        (2, 0, 0),
        "{log}"
    );
    assert_eq!(counters.diverged, 0, "{log}");
    Ok(())
}

#[test]
fn session_with_finished_transfers_is_moved_from_vsftpd() -> Outcome {
    session_is_moved(FtpServer::Vsftpd)
}

#[test]
fn session_with_finished_transfers_is_moved_from_pyftpdlib() -> Outcome {
    session_is_moved(FtpServer::Pyftpdlib)
}

#[test]
fn session_with_finished_transfers_is_moved_from_proftpd() -> Outcome {
    session_is_moved(FtpServer::Proftpd)
}

#[test]
fn session_with_finished_transfers_is_moved_from_pure_ftpd() -> Outcome {
    session_is_moved(FtpServer::PureFtpd)
}

/// Waits until the client has acknowledged everything on its control connection.
fn wait_heard(topology: &Topology) -> Outcome {
    let control = format!("{SERVER}:21");
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let status = topology.logger()?.status(GROUP)?;
        let mut connections = status.connections.iter();
        if connections.any(|it| it.server == control && it.acked_bytes == it.sent_bytes) {
            return Ok(());
        }
    }
    Err("the client does not acknowledge".into())
}

/// A file that changed meanwhile is not put together from two: the client is told, and may ask for it again.
#[test]
fn file_that_changed_meanwhile_is_refused_in_the_same_session() -> Outcome {
    let (mut topology, contents) = house(FtpServer::Vsftpd)?;
    topology.shape(20)?;
    let path = topology.folder().join("files/file0");
    let shown = path.display();
    let text = format!(
        "ftp.voidcmd('TYPE I')
data = ftp.transfercmd('RETR file0')
got = data.recv(10000)
pause()
try:
    while True:
        more = data.recv(100000)
        assert more, 'the end of half a file looks like that of a whole one'
        got += more
except ConnectionResetError:
    data.close()
try:
    ftp.voidresp()
    assert False, 'half a transfer was said to be complete'
except ftplib.error_temp as error:
    assert str(error).startswith('426'), error
whole = io.BytesIO()
ftp.retrbinary('RETR file0', whole.write)
assert whole.getvalue() == open('{shown}', 'rb').read()
ftp.quit()
"
    );
    let mut script = Script::start(&topology, FtpServer::Vsftpd.login(), &text)?;
    script.wait_ready()?;
    wait_heard(&topology)?;
    let changed = topology.folder().join("files/changed");
    fs::write(&changed, &contents[0][1..])?;
    fs::rename(&changed, &path)?;
    topology.end(End::Destroyed)?;
    script.go_on()?;

    script.finish(&topology)?;

    let status = topology.wait_moved()?;
    let log = topology.stop_logger()?;
    let counters = status.counters;
    assert_eq!((counters.resumes_refused, counters.lost), (1, 1), "{log}");
    // The session; and its data connection, if that was faster than the reply that names the size.
    assert!((1..=2).contains(&counters.resumed), "{log}");
    assert!(log.contains("the file has changed"), "{log}");
    Ok(())
}

/// What has been said of a renaming, a list of settings and a transfer of text goes on at the next server.
fn unusual_session_is_moved(server: FtpServer) -> Outcome {
    let (mut topology, _) = house(server)?;
    let lines: String = (0..60_000).map(|line| format!("line {line}\n")).collect();
    topology.put("text", lines.as_bytes())?;
    topology.shape(20)?;
    let text = "ftp.storbinary('STOR in/a', io.BytesIO(b'content'))
reply = ftp.sendcmd('RNFR in/a')
assert reply.startswith('350'), reply
pause()
assert ftp.sendcmd('RNTO in/b').startswith('250')
ftp.sendcmd('TYPE A')
data = ftp.transfercmd('RETR text')
got = data.recv(10000)
pause()
while more := data.recv(100000):
    got += more
data.close()
assert ftp.voidresp().startswith('226')
want = b''.join(b'line %d\\r\\n' % line for line in range(60000))
assert got in (want, want.replace(b'\\r', b'')), len(got)
ftp.quit()
";
    let mut script = Script::start(&topology, server.login(), text)?;
    for _ in 0..2 {
        script.wait_ready()?;
        topology.end(End::Unplugged)?;
        // A client that does not read would never have everything.
        script.go_on()?;
        topology.wait_moved()?;
        topology.new_standby()?;
    }

    script.finish(&topology)?;

    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    let renamed = topology.folder().join("files/in/b");
    assert_eq!(fs::read(renamed)?, b"content", "{log}");
    Ok(())
}

#[test]
fn renaming_and_text_go_on_after_vsftpd() -> Outcome {
    unusual_session_is_moved(FtpServer::Vsftpd)
}

#[test]
fn renaming_and_text_go_on_after_proftpd() -> Outcome {
    unusual_session_is_moved(FtpServer::Proftpd)
}

/// An upload to which its client adds nothing before it is moved: its server is at the beginning of the transfer then, and
/// pyftpdlib has answered PORT after what was told behind that.
#[test]
fn upload_in_active_mode_is_moved_before_it_ends() -> Outcome {
    let server = FtpServer::Pyftpdlib;
    let (mut topology, contents) = house(server)?;
    let sent = topology.folder().join("files/file0");
    let text = format!(
        "content = open('{}', 'rb').read()
ftp.set_pasv(False)
ftp.voidcmd('TYPE I')
data = ftp.transfercmd('STOR in/up')
data.sendall(content[:100000])
pause()
data.sendall(content[100000:])
data.close()
assert ftp.voidresp().startswith('226')
ftp.quit()
",
        sent.display()
    );
    let mut script = Script::start(&topology, server.login(), &text)?;
    script.wait_ready()?;
    topology.crash()?;
    topology.wait_moved()?;
    script.go_on()?;

    script.finish(&topology)?;

    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.resumes_refused, counters.lost), (0, 0), "{log}");
    let stored = fs::read(topology.folder().join("files/in/up"))?;
    assert!(stored == contents[0], "{log}");
    Ok(())
}

/// How lftp says it: what is urgent stands before it.
const TELNET: &str = "ftp.sock.sendall(b'\\xff\\xf4\\xff\\xf2', socket.MSG_OOB)
ftp.putcmd('ABOR')";
/// How Python says it.
const PLAIN: &str = "ftp.sock.sendall(b'ABOR\\r\\n', socket.MSG_OOB)";

/// A client that aborts its transfer when the server dies, with urgent data, hears of the end at once and goes on.
fn abort_is_answered_once(server: FtpServer, passive: &str, abort: &str) -> Outcome {
    let (mut topology, _) = house(server)?;
    topology.shape(20)?;
    let text = "ftp.voidcmd('TYPE I')
data = ftp.transfercmd('RETR file0')
data.recv(10000)
pause()
data.close()
@ABORT
ftp.putcmd('NOOP')
replies = [ftp.getmultiline()]
while not replies[-1].startswith('200'):
    replies.append(ftp.getmultiline())
assert [it[:3] for it in replies] in (['426', '225', '200'], ['426', '226', '200']), replies
got = io.BytesIO()
ftp.retrbinary('RETR file2', got.write)
assert len(got.getvalue()) == 70000
ftp.quit()
";
    let text = format!("ftp.set_pasv({passive})\n{}", text.replace("@ABORT", abort));
    let mut script = Script::start(&topology, server.login(), &text)?;
    script.wait_ready()?;
    topology.end(End::Unplugged)?;
    script.go_on()?;
    script.finish(&topology)?;

    topology.wait_moved()?;
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    Ok(())
}

#[test]
fn abort_is_answered_once_after_vsftpd() -> Outcome {
    abort_is_answered_once(FtpServer::Vsftpd, "True", PLAIN)?;
    abort_is_answered_once(FtpServer::Vsftpd, "True", TELNET)
}

#[test]
fn abort_is_answered_once_after_pure_ftpd() -> Outcome {
    abort_is_answered_once(FtpServer::PureFtpd, "True", TELNET)
}

#[test]
fn abort_is_answered_once_after_proftpd() -> Outcome {
    abort_is_answered_once(FtpServer::Proftpd, "True", TELNET)
}

#[test]
fn abort_is_answered_once_in_active_mode() -> Outcome {
    abort_is_answered_once(FtpServer::Vsftpd, "False", PLAIN)?;
    abort_is_answered_once(FtpServer::Pyftpdlib, "False", TELNET)
}
