// SPDX-License-Identifier: GPL-3.0-only
//! As for HTTP (`netns_poison`), for protocols of commands: what a server dies of is given to one more server and to no third,
//! its client is reset, and others live on. If it is a file that is being stored, its client is told so, and its session lives on.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::kv::PORT;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{SERVER, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// How long a dying server's close waits for news of its death: before the second is told, another standby has to be made.
const HOLD_MS: u32 = 20_000;

/// A client that says lines and hears one for each.
struct Client(BufReader<TcpStream>);

impl Client {
    /// `opening`: what is said first, to a server that has greeted.
    fn connect(
        topology: &Topology,
        port: u16,
        opening: Option<&str>,
    ) -> Result<Self, Box<dyn Error>> {
        let connect = move || TcpStream::connect((SERVER, port));
        let stream = topology.client().enter(connect)??;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut client = Self(BufReader::new(stream));
        if let Some(opening) = opening {
            client.line()?;
            client.ask(opening)?;
        }
        Ok(client)
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        let line = format!("{line}\r\n");
        self.0.get_mut().write_all(line.as_bytes())
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        self.say(line)?;
        self.line()
    }

    /// Has a file with this content stored. The thread says it, and waits for the server's close.
    fn store(&mut self, topology: &Topology, content: Vec<u8>) -> Result<Storing, Box<dyn Error>> {
        let told = self.ask("PASV")?;
        let inner = told.split(['(', ')']).nth(1).ok_or("it names no port")?;
        let numbers: Result<Vec<u16>, _> = inner.split(',').map(str::parse).collect();
        let &[.., high, low] = numbers?.as_slice() else {
            return Err(told.into());
        };
        let port = high * 256 + low;
        let connect = move || TcpStream::connect((SERVER, port));
        let mut stream = topology.client().enter(connect)??;
        assert_eq!(self.ask("STOR up")?, "150 go on");
        Ok(std::thread::spawn(move || {
            stream.write_all(&content)?;
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_end(&mut Vec::new()).map(|_| ())
        }))
    }
}

type Storing = JoinHandle<std::io::Result<()>>;

/// On this port `deadly` kills the server, and of it `told` may stand in the log. All else is answered with `fine`.
fn is_given_to_two(
    service: ServiceSpec,
    opening: Option<&str>,
    (deadly, told): (&str, &str),
    (harmless, fine): (&str, &str),
) -> Outcome {
    let port = service.port;
    let mut topology = Topology::build(Layout {
        serves: Serves::Own(env!("CARGO_BIN_EXE_deadly-server")),
        group: Some(GroupSpec {
            services: vec![ServiceSpec {
                fin_hold_ms: HOLD_MS,
                ..service
            }],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    topology.serve()?;
    let mut other = Client::connect(&topology, port, opening)?;
    let mut bad = Client::connect(&topology, port, opening)?;
    for client in [&mut other, &mut bad] {
        assert_eq!(client.ask(harmless)?, fine);
    }
    let victim = topology.victim()?;
    bad.say(deadly)?;
    victim.tell()?;
    // The next one has it, and is dead or dies.
    topology.renew_standby()?;
    topology.victim()?.tell()?;

    let end = bad.0.read_to_end(&mut Vec::new());
    let reset = end.map_err(|error| error.kind());
    assert_eq!(reset, Err(ErrorKind::ConnectionReset));
    assert_eq!(other.ask(harmless)?, fine);
    topology.wait_moved()?;
    let died = fs::read_to_string(topology.folder().join("files/died"))?;
    assert_eq!(died, format!("{deadly}\n").repeat(2));
    let (counters, log) = topology.end_of_logger()?;
    let line =
        format!("2 servers have died with this request under way, no other gets it: \"{told}\"\n");
    assert!(log.contains(&line), "{log}");
    assert_eq!((counters.poisoned, counters.lost), (1, 1), "{log}");
    assert_eq!(counters.diverged, 0, "{log}");
    Ok(())
}

/// A file of which servers die is stored by one more and no third. So many bytes stand behind the deadly line.
fn is_stored_by_two(behind: usize) -> Outcome {
    let mut topology = Topology::build(Layout {
        serves: Serves::Own(env!("CARGO_BIN_EXE_deadly-server")),
        group: Some(GroupSpec {
            services: vec![ServiceSpec {
                fin_hold_ms: HOLD_MS,
                ..ServiceSpec::new(21, "ftp")
            }],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    topology.serve()?;
    let mut other = Client::connect(&topology, 21, Some("USER x"))?;
    let mut bad = Client::connect(&topology, 21, Some("USER x"))?;
    let victim = topology.victim()?;
    let content = [
        b"harmless\nnow die\n".to_vec(),
        b"line\n".repeat(behind / 5),
    ]
    .concat();
    let stored = bad.store(&topology, content)?;
    victim.tell()?;
    // The next one has it, and is dead or dies.
    topology.renew_standby()?;
    topology.victim()?.tell()?;

    assert_eq!(bad.line()?, "426 Transfer aborted.");
    let end = stored.join().map_err(|_| "the client panicked")?;
    let reset = end.map_err(|error| error.kind());
    // Whether its client was saying something, or was waiting for the close.
    let ways = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(ways.map(Err).contains(&reset), "{reset:?}");
    for client in [&mut other, &mut bad] {
        assert_eq!(client.ask("NOOP")?, "200 done");
        client.store(&topology, b"harmless\n".to_vec())?;
        assert_eq!(client.line()?, "226 stored");
    }
    topology.wait_moved()?;
    let died = fs::read_to_string(topology.folder().join("files/died"))?;
    assert_eq!(died, "now die\n".repeat(2));
    let (counters, log) = topology.end_of_logger()?;
    let line = "2 servers have died with this request under way, no other gets it: \"STOR up\"\n";
    assert!(log.contains(line), "{log}");
    // The data connection, and no session.
    assert_eq!((counters.poisoned, counters.lost), (1, 1), "{log}");
    assert_eq!(counters.diverged, 0, "{log}");
    Ok(())
}

#[test]
fn file_of_which_ftp_servers_die_is_given_to_one_more_and_no_third() -> Outcome {
    is_stored_by_two(0)
}

#[test]
fn file_whose_client_goes_on_is_given_to_one_more_and_no_third() -> Outcome {
    // More than waits in a server's buffers: each is sent more than the one before.
    is_stored_by_two(4 << 20)
}

#[test]
fn command_of_which_ftp_servers_die_is_followed_by_one_more_and_no_third() -> Outcome {
    is_given_to_two(
        ServiceSpec::new(21, "ftp"),
        Some("USER x"),
        ("SIZE die", "SIZE die"),
        ("NOOP", "200 done"),
    )
}

#[test]
fn request_of_a_defined_protocol_is_followed_by_one_more_and_no_third() -> Outcome {
    let mut service = ServiceSpec::new(PORT, "opaque");
    service.define(include_str!("../../fttcp/examples/kv.toml"))?;
    // What follows the verb may be anybody's secret.
    is_given_to_two(service, None, ("GET die", "GET"), ("GET a", "OK"))
}
