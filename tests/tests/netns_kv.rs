// SPDX-License-Identifier: GPL-3.0-only
//! A service that a file defines (fttcp/examples/kv.toml): its connections go on at a replacement, which is told no more
//! than it must know, and what must not be carried out twice is not.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::bpf_folder::BpfFolder;
use rxl_tests::netns::kv::PORT;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::topology::{SERVER, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

fn house(logger: Vec<String>) -> Result<Topology, Box<dyn Error>> {
    let mut service = ServiceSpec::new(PORT, "opaque");
    service.define(include_str!("../../fttcp/examples/kv.toml"))?;
    let mut topology = Topology::build(Layout {
        kv: Some(env!("CARGO_BIN_EXE_kv-server").into()),
        group: Some(GroupSpec {
            services: vec![service],
            ..GroupSpec::default()
        }),
        logger,
        ..Layout::default()
    })?;
    topology.serve()?;
    Ok(topology)
}

/// A client's connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(topology: &Topology) -> Result<Self, Box<dyn Error>> {
        let connect = || TcpStream::connect((SERVER, PORT));
        let stream = topology.client().enter(connect)??;
        Ok(Self(BufReader::new(stream)))
    }

    fn say(&mut self, request: &str) -> std::io::Result<()> {
        // In one segment: of two, the second would wait for the acknowledgement of the first.
        let line = format!("{request}\n");
        self.0.get_mut().write_all(line.as_bytes())
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, request: &str) -> std::io::Result<String> {
        self.say(request)?;
        self.line()
    }
}

#[test]
fn session_goes_on_with_the_values_and_the_last_request_only() -> Outcome {
    let mut topology = house(Vec::new())?;
    let mut client = Client::connect(&topology)?;
    for number in 1..=500 {
        assert_eq!(client.ask(&format!("set a {number}"))?, "OK");
    }
    assert_eq!(client.ask("ADD a 1")?, "501");
    assert_eq!(client.ask("GET a")?, "501");

    topology.end(End::Killed)?;
    assert_eq!(client.ask("ADD a 1")?, "502");

    let status = topology.wait_moved()?;
    let failover = status.failover.ok_or("no failover")?;
    let log = topology.stop_logger()?;
    assert_eq!((failover.recovered, failover.lost), (1, 0), "{log}");
    assert!(failover.replayed_bytes < 100, "{failover:?}");
    Ok(())
}

#[test]
fn replacement_is_told_what_the_session_remembers_also_by_another_logger() -> Outcome {
    let folder = BpfFolder::mount("kv")?;
    let mut topology = house(folder.options())?;
    let mut client = Client::connect(&topology)?;
    assert_eq!(client.ask("SET a outer")?, "OK");
    assert_eq!(client.ask("USE shop")?, "OK");
    assert_eq!(client.ask("SET a inner")?, "OK");
    topology.kill_logger()?;
    topology.start_logger()?;

    topology.end(End::Killed)?;
    assert_eq!(client.ask("GET a")?, "inner");
    assert_eq!(client.ask("RESET")?, "OK");
    assert_eq!(client.ask("GET a")?, "outer");
    client.say("LIST")?;
    let lines: Result<Vec<_>, _> = (0..2).map(|_| client.line()).collect();
    assert_eq!(lines?, ["a", "END"]);

    let counters = topology.wait_moved()?.counters;
    let log = topology.stop_logger()?;
    assert_eq!((counters.recovered, counters.lost), (1, 0), "{log}");
    Ok(())
}

#[test]
fn request_that_must_not_be_carried_out_twice_is_not() -> Outcome {
    let mut topology = house(Vec::new())?;
    let mut client = Client::connect(&topology)?;
    assert_eq!(client.ask("ADD n 1")?, "1");
    // A server that stands still carries it out when it goes on, or never: nobody can know.
    topology.victim()?.stop()?;
    client.say("ADD n 1")?;
    topology.wait_logged(8)?;
    topology.victim()?.tell_end(End::Stopped)?;

    assert!(client.line().is_err());
    let mut other = Client::connect(&topology)?;
    assert_eq!(other.ask("GET n")?, "1");
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.lost, counters.recovered), (1, 0), "{log}");
    assert!(log.contains("must not be made twice"), "{log}");
    Ok(())
}

#[test]
fn what_the_definition_does_not_tell_is_logged_and_passes() -> Outcome {
    let mut topology = house(Vec::new())?;
    let mut client = Client::connect(&topology)?;
    assert_eq!(client.ask("SET a 1")?, "OK");
    assert!(client.ask("HELP")?.starts_with("? PING"));
    assert_eq!(client.ask("GET a")?, "1");
    assert_eq!(client.ask("QUIT")?, "BYE");
    assert_eq!(client.line()?, "");
    let log = topology.stop_logger()?;
    let told = "not understood as kv any more: a request that its definition does not tell";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    Ok(())
}
