// SPDX-License-Identifier: GPL-3.0-only
//! Malformed HTTP: whatever a client sends, its server's answer is the same with the logger between them as without, and
//! what the plug-in does not understand it says.

mod malformed;

use std::error::Error;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use malformed::{Entry, corpus};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::space::Space;
use rxl_tests::netns::talk::{How, hear, say};
use rxl_tests::netns::topology::{CLIENT, GROUP, SERVER, Topology};
use rxl_tests::netns::web::WebServer;
use rxl_tests::netns::web::origin::{Origin, PORT};

type Outcome = Result<(), Box<dyn Error>>;

/// A server that says nothing for so long waits for more.
const SILENCE: Duration = Duration::from_secs(3);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    /// Without the values of its dates.
    text: String,
    how: How,
}

fn exchange(pieces: &[Vec<u8>]) -> std::io::Result<Answer> {
    let address = SocketAddr::new(SERVER.parse().map_err(std::io::Error::other)?, 80);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    say(&mut stream, pieces);
    let mut text = Vec::new();
    let how = hear(&mut stream, &mut text)?;
    let _ = stream.shutdown(Shutdown::Both);
    let text = String::from_utf8_lossy(&text);
    let lines = text.split_inclusive('\n');
    // squid's pages say when they were made.
    let dated = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("date:") || line.starts_with("<p>generated ")
    };
    let text = lines.filter(|line| !dated(line)).collect();
    Ok(Answer { text, how })
}

/// An exchange under way.
type Run = JoinHandle<Result<std::io::Result<Answer>, String>>;

/// Sends an entry from this namespace.
fn send(space: &Space, entry: &Entry) -> Result<Run, String> {
    let pieces = entry.pieces.clone();
    space.spawn(move || exchange(&pieces))
}

/// Where a server has its answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// It has them itself.
    Nothing,
    /// It stands before an origin.
    Origin,
    /// It is a proxy, and is told the origin's address.
    NamedOrigin,
}

fn compare(serves: Serves, behind: Behind) -> Outcome {
    let mut topology = Topology::build(Layout {
        serves,
        kind: "http",
        ..Layout::default()
    })?;
    topology.put("small", b"small\n")?;
    let origin = match behind {
        Behind::Nothing => None,
        Behind::Origin | Behind::NamedOrigin => Some(Origin::start(&topology)?),
    };
    topology.serve()?;
    let corpus = match behind {
        Behind::Nothing | Behind::Origin => corpus(""),
        Behind::NamedOrigin => corpus(&format!("http://{CLIENT}:{PORT}")),
    };
    // From the server's own namespace, nothing is between.
    let (active, client) = (topology.servers()[0], topology.client());
    let mut runs = Vec::new();
    for entry in &corpus {
        runs.push((entry, send(active, entry)?, send(client, entry)?));
    }
    let mut wrong = Vec::new();
    let mut unclear = 0;
    for (entry, direct, through) in runs {
        let [direct, through] = [direct, through].map(JoinHandle::join);
        let direct = direct.map_err(|_| "a client panicked")???;
        let through = through.map_err(|_| "a client panicked")???;
        let cut_short = direct.how == How::Reset || through.how == How::Reset;
        let alike = |one: &str, other: &str| one.starts_with(other) || other.starts_with(one);
        let same = if cut_short {
            alike(&direct.text, &through.text)
                && (direct.how == How::Open) == (through.how == How::Open)
        } else {
            direct == through
        };
        if !same {
            wrong.push(format!("{}:\n{direct:?}\n{through:?}", entry.name));
        }
        unclear += usize::from(entry.unclear);
        // Two refusals of everything would be the same, too.
        let good = entry.name == "a good request";
        assert!(!good || through.text.contains(" 200 OK\r\n"), "{through:?}");
    }
    let status = topology.logger()?.status(GROUP)?;
    let log = topology.stop_logger()?;
    assert!(wrong.is_empty(), "{}\n{log}", wrong.join("\n"));
    let said = log
        .matches("not understood as http any more: a request")
        .count();
    // A server may close before all of it came.
    assert!(
        said <= unclear && said * 10 >= unclear * 8,
        "{said} of {unclear}:\n{log}"
    );
    assert_eq!(status.counters.diverged + status.counters.lost, 0, "{log}");
    println!("{} entries, {said} not understood", corpus.len());
    drop(origin);
    Ok(())
}

#[test]
fn nginx_answers_malformed_requests_as_without_a_logger() -> Outcome {
    compare(Serves::Web, Behind::Nothing)
}

#[test]
fn apache_answers_malformed_requests_as_without_a_logger() -> Outcome {
    compare(Serves::Http(WebServer::Apache), Behind::Nothing)
}

#[test]
fn haproxy_answers_malformed_requests_as_without_a_logger() -> Outcome {
    compare(Serves::Http(WebServer::Haproxy), Behind::Origin)
}

#[test]
fn squid_answers_malformed_requests_as_without_a_logger() -> Outcome {
    compare(Serves::Http(WebServer::Squid), Behind::NamedOrigin)
}

#[test]
fn tinyproxy_answers_malformed_requests_as_without_a_logger() -> Outcome {
    compare(Serves::Proxy, Behind::NamedOrigin)
}
