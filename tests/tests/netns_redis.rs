// SPDX-License-Identifier: GPL-3.0-only
//! Debian's redis-server and its replica: connections of clients go on at the replica when the first one dies.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::space::{Space, join};
use rxl_tests::netns::topology::{GROUP, PATIENCE, SERVER, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

const PORT: u16 = 6379;
/// The first server, as its replica knows it: on a line of their own, for the standby is dark.
const PRIMARY: &str = "10.78.0.1";

/// Both servers run; the second is the first's replica and has what that has.
fn house() -> Result<Topology, String> {
    let mut topology = Topology::build(Layout {
        serves: Serves::Redis,
        group: Some(GroupSpec {
            services: vec![ServiceSpec::new(PORT, "redis")],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    let [primary, replica] = topology.servers();
    join((primary, "repl"), (replica, "repl"))?;
    primary.ip(&["address", "add", "10.78.0.1/24", "dev", "repl"])?;
    replica.ip(&["address", "add", "10.78.0.2/24", "dev", "repl"])?;
    topology.serve()?;
    let replica = topology.servers()[1];
    local(replica, &["replicaof", PRIMARY, "6379"])?;
    wait_for(replica, &["info", "replication"], "master_link_status:up")?;
    Ok(topology)
}

/// Asks the server in `space`, beside the logger.
fn local(space: &Space, words: &[&str]) -> Result<String, String> {
    space.run("redis-cli", words)
}

fn wait_for(space: &Space, words: &[&str], expected: &str) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if local(space, words)?.contains(expected) {
            return Ok(());
        }
    }
    Err(format!("{words:?} does not say {expected}"))
}

/// Kills the primary; when it is dead its replica becomes one, and then the logger is told.
fn fail_over(topology: &Topology) -> Outcome {
    let victim = topology.victim()?;
    victim.kill_untold()?;
    local(topology.servers()[1], &["replicaof", "no", "one"])?;
    victim.tell_end(End::Killed)?;
    Ok(())
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(topology: &Topology) -> Result<Self, Box<dyn Error>> {
        let connect = || TcpStream::connect((SERVER, PORT));
        let stream = topology.client().enter(connect)??;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn say(&mut self, request: &str) -> std::io::Result<()> {
        let words: Vec<&str> = request.split(' ').collect();
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(text.as_bytes())
    }

    /// A simple reply, or a bulk string's content.
    fn reply(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err("closed".into());
        }
        let Some(length) = line.trim_end().strip_prefix('$') else {
            return Ok(line.trim_end().to_owned());
        };
        let mut content = vec![0; length.parse::<usize>()? + 2];
        self.0.read_exact(&mut content)?;
        content.truncate(content.len() - 2);
        Ok(String::from_utf8(content)?)
    }

    fn ask(&mut self, request: &str) -> Result<String, Box<dyn Error>> {
        self.say(request)?;
        self.reply()
    }
}

#[test]
fn connection_goes_on_at_the_replica_and_the_last_request_is_replayed() -> Outcome {
    let mut topology = house()?;
    let mut client = Client::connect(&topology)?;
    for number in 0..500 {
        assert_eq!(client.ask(&format!("SET a {number}"))?, "+OK");
    }
    assert_eq!(client.ask("INCR a")?, ":500");
    assert_eq!(client.ask("GET a")?, "500");
    wait_for(topology.servers()[1], &["get", "a"], "500")?;

    fail_over(&topology)?;
    assert_eq!(client.ask("INCR a")?, ":501");
    assert_eq!(client.ask("GET a")?, "501");

    let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
    let log = topology.stop_logger()?;
    assert_eq!((failover.recovered, failover.lost), (1, 0), "{log}");
    assert!(failover.replayed_bytes < 100, "{failover:?}");
    Ok(())
}

#[test]
fn selected_database_is_selected_at_the_replica() -> Outcome {
    let mut topology = house()?;
    let mut client = Client::connect(&topology)?;
    assert_eq!(client.ask("SELECT 3")?, "+OK");
    assert_eq!(client.ask("SET a x")?, "+OK");
    wait_for(topology.servers()[1], &["-n", "3", "get", "a"], "x")?;

    fail_over(&topology)?;
    assert_eq!(client.ask("GET a")?, "x");

    let counters = topology.wait_moved()?.counters;
    let log = topology.stop_logger()?;
    assert_eq!((counters.recovered, counters.lost), (1, 0), "{log}");
    Ok(())
}

#[test]
fn increment_under_way_is_not_made_twice() -> Outcome {
    let mut topology = house()?;
    let mut client = Client::connect(&topology)?;
    assert_eq!(client.ask("INCR n")?, ":1");
    wait_for(topology.servers()[1], &["get", "n"], "1")?;
    let victim = topology.victim()?;
    victim.stop()?;
    client.say("INCR n")?;
    topology.wait_logged(20)?;
    fail_over(&topology)?;

    let reply = client.reply();
    assert!(reply.is_err(), "{reply:?}");
    let mut other = Client::connect(&topology)?;
    assert_eq!(other.ask("GET n")?, "1");
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.lost, counters.recovered), (1, 0), "{log}");
    assert!(log.contains("must not be made twice"), "{log}");
    Ok(())
}

#[test]
fn benchmark_of_many_clients_does_not_notice_the_failover() -> Outcome {
    let mut topology = house()?;
    let mut command = topology.client().command("redis-benchmark");
    command.args([
        "-h", SERVER, "-c", "20", "-n", "60000", "-t", "set,get", "-P", "4", "--csv",
    ]);
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let benchmark = command.spawn()?;
    let start = Instant::now();
    while topology.logger()?.totals(GROUP)?.counters.truncations < 1000 {
        assert!(start.elapsed() < PATIENCE, "it does not get going");
    }
    fail_over(&topology)?;

    let output = benchmark.wait_with_output()?;
    let (said, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
    let log = topology.stop_logger()?;
    assert!(output.status.success(), "{said}{wrong}{log}");
    assert!(
        said.contains("\"SET\"") && said.contains("\"GET\""),
        "{said}"
    );
    assert!(
        !said.contains("Error") && !wrong.contains("Error"),
        "{said}{wrong}"
    );
    assert!(failover.recovered >= 20, "{failover:?}\n{log}");
    assert_eq!(failover.lost, 0, "{log}");
    Ok(())
}
