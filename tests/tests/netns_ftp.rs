// SPDX-License-Identifier: GPL-3.0-only
//! FTP as stock servers and clients speak it, with only port 21 named: the logger finds the data connections by itself,
//! and knows when they may close.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fttcp::control::{GroupSpec, ServiceSpec};
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

/// A house whose servers run `serves`, with three files, and a folder into which clients may write.
fn house(serves: Serves) -> Result<(Topology, Contents), Box<dyn Error>> {
    let mut topology = Topology::build(Layout {
        serves,
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
fn session_of_curl(serves: Serves, passive: &str) -> Outcome {
    let (mut topology, contents) = house(serves)?;
    let into = topology.folder().join("got");
    fs::create_dir(&into)?;
    let to = |name: &str| into.join(name).display().to_string();
    let at = |path: &str| format!("ftp://{SERVER}/{path}");
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
    // curl asks for the size of a file first, and opens a connection for each of the five.
    assert_linked(&mut topology, [1, 5])
}

#[test]
fn session_of_curl_with_vsftpd_extended_passive() -> Outcome {
    session_of_curl(Serves::Ftp, "--ftp-pasv")
}

#[test]
fn session_of_curl_with_vsftpd_passive() -> Outcome {
    session_of_curl(Serves::Ftp, "--disable-epsv")
}

#[test]
fn session_of_curl_with_pyftpdlib_extended_passive() -> Outcome {
    session_of_curl(Serves::PyFtp, "--ftp-pasv")
}

#[test]
fn session_of_curl_with_pyftpdlib_passive() -> Outcome {
    session_of_curl(Serves::PyFtp, "--disable-epsv")
}

#[test]
fn other_clients_are_not_held_up_either() -> Outcome {
    let (mut topology, contents) = house(Serves::Ftp)?;
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

/// A Python program in the client's namespace, which says `ready` and waits for a line wherever it calls `pause()`.
struct Script {
    child: Child,
}

impl Script {
    fn start(topology: &Topology, text: &str) -> Result<Self, Box<dyn Error>> {
        let text = format!(
            "import ftplib, io, sys
def pause():
    print('ready', flush=True)
    sys.stdin.readline()
ftp = ftplib.FTP('{SERVER}', timeout=10)
ftp.login()
{text}"
        );
        let mut command = topology.client().command("python3");
        command.arg("-c").arg(text);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn()?;
        Ok(Self { child })
    }

    /// Waits until it pauses.
    fn wait_ready(&mut self) -> Outcome {
        let stdout = self.child.stdout.as_mut().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::with_capacity(1, stdout).read_line(&mut line)?;
        if line == "ready\n" {
            Ok(())
        } else {
            Err(self.error().into())
        }
    }

    fn go_on(&mut self) -> Outcome {
        let stdin = self.child.stdin.as_mut().ok_or("no standard input")?;
        Ok(stdin.write_all(b"\n")?)
    }

    fn error(&mut self) -> String {
        let stderr = self.child.stderr.take();
        stderr.map_or_else(String::new, |it| {
            std::io::read_to_string(it).unwrap_or_default()
        })
    }

    /// It must end with success.
    fn finish(mut self, topology: &Topology) -> Outcome {
        self.child.stdin = None;
        let error = self.error();
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(format!("{status}: {error}\n{}", topology.logger()?.log()).into())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session with finished transfers goes on at the next server, and at the one after that.
fn session_is_moved(serves: Serves) -> Outcome {
    let (mut topology, contents) = house(serves)?;
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
    let mut script = Script::start(&topology, &text)?;
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
    session_is_moved(Serves::Ftp)
}

#[test]
fn session_with_finished_transfers_is_moved_from_pyftpdlib() -> Outcome {
    session_is_moved(Serves::PyFtp)
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

#[test]
fn rest_of_a_transfer_that_was_cut_is_asked_for_in_the_same_session() -> Outcome {
    let (mut topology, contents) = house(Serves::Ftp)?;
    topology.shape(20)?;
    let path = topology.folder().join("files/file0").display().to_string();
    let text = format!(
        "data = ftp.transfercmd('RETR file0')
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
    assert str(error).startswith('425'), error
rest = io.BytesIO()
ftp.retrbinary('RETR file0', rest.write, rest=len(got))
assert got + rest.getvalue() == open('{path}', 'rb').read()
ftp.quit()
"
    );
    let mut script = Script::start(&topology, &text)?;
    script.wait_ready()?;
    wait_heard(&topology)?;
    topology.end(End::Destroyed)?;
    script.go_on()?;

    script.finish(&topology)?;

    let status = topology.wait_moved()?;
    let log = topology.stop_logger()?;
    assert_eq!(
        (status.counters.resumed, status.counters.lost),
        (1, 1),
        "{log}"
    );
    assert!(log.contains("can ask for the rest"), "{log}");
    assert_eq!(contents[0].len(), 3_000_000);
    Ok(())
}
