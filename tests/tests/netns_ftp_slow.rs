// SPDX-License-Identifier: GPL-3.0-only
//! A crowd of clients that say a command byte by byte, or log in and say nothing (slow loris), while others fetch and store a
//! file and vsftpd dies: those two get and store theirs, each of the crowd goes on where it was, and the logger stays small.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use rxl_tests::netns::ftp::script::Script;
use rxl_tests::netns::ftp::{self, FtpServer};
use rxl_tests::netns::random::Random;
use rxl_tests::netns::space::Space;
use rxl_tests::netns::topology::{PATIENCE, SERVER, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// The crowd.
const CLIENTS: usize = 120;
/// Between the bytes that each says: how slow they are.
const PACE: Duration = Duration::from_millis(5);
/// So many bytes each says before the server dies, and after that, if it has so much to say.
const ROUNDS: usize = 60;
/// How long a path one of them names so slowly: it is not done by then.
const SLOWLY: usize = 500;
/// Of the files that the others transfer.
const FILE: usize = 12 << 20;
/// What the logger may need more than without the crowd, in KiB: 32 for each connection, and the upload.
const MEMORY: u64 = 32 * CLIENTS as u64 + 2 * (FILE as u64 >> 10);

const LOGIN: &str = "USER anonymous\r\n";

/// How a client is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It says nothing, and has only been greeted.
    Greeted,
    /// In its login.
    Login,
    /// In a command.
    Command,
    /// It has logged in, and says nothing more.
    Idle,
}

struct Slow {
    kind: Kind,
    stream: BufReader<TcpStream>,
    /// The line that it is at, and how much of it is said.
    line: Vec<u8>,
    said: usize,
    /// How the answer to it must begin.
    answer: &'static str,
}

impl Slow {
    fn new(space: &Space, number: usize) -> Result<Self, Box<dyn Error>> {
        let kinds = [Kind::Greeted, Kind::Login, Kind::Command, Kind::Idle];
        let kind = kinds[number % kinds.len()];
        let stream = space.enter(|| TcpStream::connect((SERVER, 21)))??;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let (line, answer) = match kind {
            Kind::Greeted | Kind::Login => (LOGIN.to_owned(), "230 "),
            Kind::Command => (format!("CWD {}\r\n", "/".repeat(SLOWLY)), "250 "),
            Kind::Idle => ("PWD\r\n".to_owned(), "257 \"/\""),
        };
        let mut slow = Self {
            kind,
            stream: BufReader::new(stream),
            line: line.into_bytes(),
            said: 0,
            answer,
        };
        slow.hears("220 ")?;
        if matches!(kind, Kind::Command | Kind::Idle) {
            slow.stream.get_mut().write_all(LOGIN.as_bytes())?;
            slow.hears("230 ")?;
        }
        Ok(slow)
    }

    fn hears(&mut self, beginning: &str) -> Outcome {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.starts_with(beginning) {
            return Ok(());
        }
        Err(format!("{:?}: {line:?} in the place of {beginning}", self.kind).into())
    }

    /// Says a byte, unless it is one that says nothing, or its line would end with it.
    fn step(&mut self) -> io::Result<()> {
        let speaks = matches!(self.kind, Kind::Login | Kind::Command);
        if speaks && self.said + 1 < self.line.len() {
            let byte = &self.line[self.said..=self.said];
            self.stream.get_mut().write_all(byte)?;
            self.said += 1;
        }
        Ok(())
    }

    /// Says the rest, and must be answered.
    fn end(mut self) -> Outcome {
        let rest = self.line.split_off(self.said);
        self.stream.get_mut().write_all(&rest)?;
        self.hears(self.answer)
    }
}

/// The crowd at work.
struct Crowd {
    worker: JoinHandle<io::Result<Vec<Slow>>>,
    rounds: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    fn start(space: &Space) -> Result<Self, Box<dyn Error>> {
        let crowd: Result<Vec<_>, _> = (0..CLIENTS).map(|it| Slow::new(space, it)).collect();
        let crowd = crowd?;
        let (tell, rounds) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = std::thread::spawn(move || go_round(crowd, &tell, &stopped));
        Ok(Self {
            worker,
            rounds,
            stop,
        })
    }

    /// Until each has had so many chances more to say something.
    fn await_rounds(&self) -> Outcome {
        while self.rounds.try_recv().is_ok() {}
        for _ in 0..ROUNDS {
            self.rounds.recv()?;
        }
        Ok(())
    }

    fn end(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let crowd = self.worker.join().map_err(|_| "the crowd panicked")??;
        crowd.into_iter().try_for_each(Slow::end)
    }
}

fn go_round(
    mut crowd: Vec<Slow>,
    tell: &Sender<()>,
    stopped: &AtomicBool,
) -> io::Result<Vec<Slow>> {
    while !stopped.load(Ordering::Relaxed) {
        crowd.iter_mut().try_for_each(Slow::step)?;
        // Nobody may listen any more.
        let _ = tell.send(());
        // How the clients behave, not a wait for something.
        sleep(PACE);
    }
    Ok(crowd)
}

/// Stores a file in one session and fetches one in another, and pauses in the middle of both.
fn transfers(topology: &Topology) -> Result<Script, Box<dyn Error>> {
    let folder = topology.folder();
    let (sent, got) = (folder.join("sent"), folder.join("got"));
    let third = FILE / 3;
    let text = format!(
        "other = session()
with open('{}', 'rb') as file:
    sent = file.read()
data = other.transfercmd('STOR in/up')
data.sendall(sent[:{third}])
got = open('{}', 'wb')
def take(block):
    if got.tell() < {third} <= got.tell() + len(block):
        pause()
    got.write(block)
assert ftp.retrbinary('RETR down', take).startswith('226')
got.close()
data.sendall(sent[{third}:])
data.close()
assert other.voidresp().startswith('226')
for one in ftp, other:
    assert one.pwd() == '/'
    one.quit()
",
        sent.display(),
        got.display()
    );
    Script::start(topology, FtpServer::Vsftpd.login(), &text)
}

#[test]
fn crowd_of_slow_ftp_clients_harms_nobody() -> Outcome {
    let mut topology = Topology::build(ftp::layout([FtpServer::Vsftpd; 2]))?;
    let content = Random::new(1).bytes(FILE);
    topology.put("down", &content)?;
    fs::write(topology.folder().join("sent"), &content)?;
    let into = topology.folder().join("files/in");
    fs::create_dir(&into)?;
    fs::set_permissions(&into, fs::Permissions::from_mode(0o777))?;
    topology.serve()?;
    let before = topology.logger()?.hello()?.memory_kib;
    let crowd = Crowd::start(topology.client())?;
    crowd.await_rounds()?;
    let mut script = transfers(&topology)?;
    script.wait_ready()?;

    topology.crash()?;
    script.go_on()?;
    script.finish(&topology)?;

    for path in ["got", "files/in/up"] {
        let whole = fs::read(topology.folder().join(path))? == content;
        assert!(whole, "{path} is another file");
    }
    topology.wait_moved()?;
    crowd.await_rounds()?;
    let memory = topology.logger()?.hello()?.memory_kib;
    println!("{before} KiB before, {memory} KiB with the crowd");
    assert!(
        memory < before + MEMORY,
        "{before} KiB before, {memory} KiB"
    );
    crowd.end()?;
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.lost, counters.diverged), (0, 0), "{log}");
    // Beside the crowd: two sessions and their data connections.
    assert_eq!(counters.recovered, CLIENTS as u64 + 4, "{log}");
    assert_eq!(counters.full_buffers + counters.full_memory, 0, "{log}");
    Ok(())
}
