// SPDX-License-Identifier: GPL-3.0-only
//! Malformed FTP: whatever a client sends, its server's answer is the same with the logger between them as without;
//! whatever a server answers, its client gets. What the plug-in does not understand it says.

mod ftp_corpus;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use ftp_corpus::{Entry, Means, QUESTIONS, commands, replies};
use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::space::Space;
use rxl_tests::netns::talk::{How, hear, say};
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// A server that says nothing for so long waits for more. vsftpd thinks about a wrong password for a second.
const SILENCE: Duration = Duration::from_secs(4);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    text: Vec<u8>,
    how: How,
    /// The client's end.
    from: SocketAddr,
}

impl Answer {
    /// Its lines, with one sign for each number behind the codes: ports, times and counts differ.
    fn plain(&self) -> String {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        let mask = |line: &str| {
            let (code, rest) = line.split_at_checked(3).unwrap_or((line, ""));
            let mut masked = code.to_owned();
            for letter in rest.chars() {
                let shown = if letter.is_ascii_digit() { '#' } else { letter };
                if shown != '#' || !masked.ends_with('#') {
                    masked.push(shown);
                }
            }
            masked
        };
        let mut lines: Vec<String> = text.split_inclusive('\n').map(mask).collect();
        // Of one long command a server complains once for each piece that it reads.
        lines.dedup_by(|one, other| one == other && one.contains("too long"));
        lines.concat()
    }

    fn same(&self, other: &Self) -> bool {
        if self.how == How::Reset || other.how == How::Reset {
            return self.alike(other) && (self.how == How::Open) == (other.how == How::Open);
        }
        self.plain() == other.plain() && self.how == other.how
    }

    /// One of them is the beginning of the other.
    fn alike(&self, other: &Self) -> bool {
        let (one, two) = (self.plain(), other.plain());
        one.starts_with(&two) || two.starts_with(&one)
    }
}

/// Adds to `text` what the server says, up to the end of a reply (RFC 959 section 4.2).
fn read_reply(stream: &mut TcpStream, text: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => text.extend_from_slice(&buffer[..count]),
        }
        let last = text
            .strip_suffix(b"\n")
            .and_then(|it| it.rsplit(|byte| *byte == b'\n').next());
        if last.is_some_and(|line| line.get(3) == Some(&b' ')) {
            return Ok(());
        }
    }
}

/// `login`: these lines are said first, each when the one before is answered. What is said meanwhile, proftpd drops now and
/// then.
fn exchange(login: &str, pieces: &[Vec<u8>]) -> std::io::Result<Answer> {
    let address = SocketAddr::new(SERVER.parse().map_err(std::io::Error::other)?, 21);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let from = stream.local_addr()?;
    let mut text = Vec::new();
    for line in login.split_inclusive('\n') {
        read_reply(&mut stream, &mut text)?;
        stream.write_all(line.as_bytes())?;
    }
    if !login.is_empty() {
        read_reply(&mut stream, &mut text)?;
    }
    say(&mut stream, pieces);
    let how = hear(&mut stream, &mut text)?;
    Ok(Answer { text, how, from })
}

/// An exchange under way.
type Run = JoinHandle<Result<std::io::Result<Answer>, String>>;

/// Sends these from this namespace, after a login.
fn send(space: &Space, login: &str, pieces: &[Vec<u8>]) -> Result<Run, String> {
    let (login, pieces) = (login.to_owned(), pieces.to_vec());
    space.spawn(move || exchange(&login, &pieces))
}

fn answer(run: Run) -> Result<Answer, Box<dyn Error>> {
    Ok(run.join().map_err(|_| "a client panicked")???)
}

fn layout(serves: Serves) -> Layout {
    Layout {
        serves,
        group: Some(GroupSpec {
            services: vec![ServiceSpec {
                fin_hold_ms: 500,
                ..ServiceSpec::new(21, "ftp")
            }],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    }
}

/// What the plug-in made of each entry, by the logger's log, is what it should.
fn check_said(said: &[(Entry, SocketAddr)], log: &str) -> Vec<String> {
    let wrong = said.iter().filter_map(|(entry, from)| {
        let line = format!("{from}");
        let unclear = log
            .lines()
            .any(|it| it.contains(&line) && it.contains("not understood as ftp any more"));
        let right = match entry.means {
            Means::Clear => !unclear,
            Means::Unclear => unclear,
            Means::Either => true,
        };
        (!right).then(|| format!("{} ({from}): {:?}, {unclear}", entry.name, entry.means))
    });
    wrong.collect()
}

/// Nothing was `wrong`, the plug-in made of everything `said` what it should, and nothing was lost.
fn judge(topology: &mut Topology, mut wrong: Vec<String>, said: &[(Entry, SocketAddr)]) -> Outcome {
    let status = topology.logger()?.status(GROUP)?;
    let log = topology.stop_logger()?;
    wrong.extend(check_said(said, &log));
    assert!(wrong.is_empty(), "{}\n{log}", wrong.join("\n"));
    assert_eq!(status.counters.diverged + status.counters.lost, 0, "{log}");
    Ok(())
}

fn compare(server: FtpServer) -> Outcome {
    let mut topology = Topology::build(layout(Serves::Ftp(server)))?;
    topology.put("file", b"content\n")?;
    topology.serve()?;
    let (user, password) = server.login();
    let login = format!("USER {user}\r\nPASS {password}\r\n");
    // From the server's own namespace, nothing is between.
    let (active, client) = (topology.servers()[0], topology.client());
    let mut runs = Vec::new();
    for entry in commands() {
        let pieces = entry.pieces.clone();
        let login = if entry.logs_in { &login } else { "" };
        let direct = send(active, login, &pieces)?;
        runs.push((entry, direct, send(client, login, &pieces)?));
    }
    let (mut wrong, mut said) = (Vec::new(), Vec::new());
    for (entry, direct, through) in runs {
        let (direct, through) = (answer(direct)?, answer(through)?);
        // Of a command that comes in pieces proftpd loses some now and then, with whatever is between.
        let loses = server == FtpServer::Proftpd && entry.pieces.len() > 1;
        let same = direct.same(&through) || loses && direct.alike(&through);
        if !same {
            wrong.push(format!(
                "{}: {:?}, {:?}\n{}\nthrough the logger:\n{}",
                entry.name,
                direct.how,
                through.how,
                direct.plain(),
                through.plain()
            ));
        }
        said.push((entry, through.from));
    }
    judge(&mut topology, wrong, &said)
}

#[test]
fn vsftpd_answers_malformed_commands_as_without_a_logger() -> Outcome {
    compare(FtpServer::Vsftpd)
}

#[test]
fn pyftpdlib_answers_malformed_commands_as_without_a_logger() -> Outcome {
    compare(FtpServer::Pyftpdlib)
}

#[test]
fn proftpd_answers_malformed_commands_as_without_a_logger() -> Outcome {
    compare(FtpServer::Proftpd)
}

#[test]
fn pure_ftpd_answers_malformed_commands_as_without_a_logger() -> Outcome {
    compare(FtpServer::PureFtpd)
}

/// Says what the client's first line asks for, and waits until the client leaves.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while !heard.ends_with(QUESTIONS.as_bytes()) {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        heard.extend_from_slice(&buffer[..count]);
    }
    let number = String::from_utf8_lossy(&heard);
    let number = number
        .lines()
        .next()
        .and_then(|it| it.parse::<usize>().ok());
    let entry = number.and_then(|at| replies().into_iter().nth(at));
    let entry = entry.ok_or_else(|| std::io::Error::other("no such entry"))?;
    stream.set_nodelay(true)?;
    say(&mut stream, &entry.pieces);
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

#[test]
fn clients_get_whatever_a_server_replies() -> Outcome {
    let mut topology = Topology::build(layout(Serves::Ftp(FtpServer::Vsftpd)))?;
    let listener = topology.servers()[0].enter(|| TcpListener::bind("0.0.0.0:21"))??;
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    let mut runs = Vec::new();
    for (number, entry) in replies().into_iter().enumerate() {
        let question = format!("{number}\r\n{QUESTIONS}").into_bytes();
        runs.push((entry, send(topology.client(), "", &[question])?));
    }
    let (mut wrong, mut said) = (Vec::new(), Vec::new());
    for (entry, run) in runs {
        let answer = answer(run)?;
        if answer.text != entry.pieces.concat() || answer.how != How::Open {
            wrong.push(format!("{}: {answer:?}", entry.name));
        }
        said.push((entry, answer.from));
    }
    judge(&mut topology, wrong, &said)
}
