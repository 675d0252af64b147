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
use rxl_tests::netns::web::origin::{Origin, PORT};
use rxl_tests::netns::web::{REVERSE, WebServer};

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

/// What was answered, and the client's end.
fn exchange(pieces: &[Vec<u8>]) -> std::io::Result<(Answer, SocketAddr)> {
    let address = SocketAddr::new(SERVER.parse().map_err(std::io::Error::other)?, 80);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let from = stream.local_addr()?;
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
    Ok((Answer { text, how }, from))
}

/// An exchange under way.
type Run = JoinHandle<Result<std::io::Result<(Answer, SocketAddr)>, String>>;

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

/// nginx refuses this when the line has come that makes it wrong. The plug-in judges the whole head, the rest of which its client
/// may have said by then or not.
const REFUSED_EARLY: (Serves, &str) = (Serves::Web, "one byte at a time, malformed");

/// What the plug-in made of each entry, by the logger's log, is what it should.
fn check_said(serves: Serves, said: &[(&Entry, SocketAddr)], log: &str) -> Vec<String> {
    const UNCLEAR: &str = "not understood as http any more: a request";
    let wrong = said.iter().filter_map(|(entry, from)| {
        let from = from.to_string();
        let unclear = log
            .lines()
            .any(|line| line.contains(&from) && line.contains(UNCLEAR));
        let wrong = unclear != entry.unclear && (serves, entry.name) != REFUSED_EARLY;
        wrong.then(|| format!("{} ({from}): not understood: {unclear}", entry.name))
    });
    wrong.collect()
}

fn compare(serves: Serves, behind: Behind) -> Outcome {
    let nginx = if behind == Behind::Origin {
        REVERSE
    } else {
        ""
    };
    let mut topology = Topology::build(Layout {
        serves,
        nginx,
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
    let (mut wrong, mut said) = (Vec::new(), Vec::new());
    for (entry, direct, through) in runs {
        let [direct, through] = [direct, through].map(JoinHandle::join);
        let (direct, _) = direct.map_err(|_| "a client panicked")???;
        let (through, from) = through.map_err(|_| "a client panicked")???;
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
        said.push((entry, from));
        // Two refusals of everything would be the same, too.
        let good = entry.name == "a good request";
        assert!(!good || through.text.contains(" 200 OK\r\n"), "{through:?}");
    }
    let status = topology.logger()?.status(GROUP)?;
    let log = topology.stop_logger()?;
    wrong.extend(check_said(serves, &said, &log));
    assert!(wrong.is_empty(), "{}\n{log}", wrong.join("\n"));
    assert_eq!(status.counters.diverged + status.counters.lost, 0, "{log}");
    drop(origin);
    Ok(())
}

#[test]
fn nginx_answers_malformed_requests_as_without_a_logger() -> Outcome {
    compare(Serves::Web, Behind::Nothing)
}

#[test]
fn nginx_before_an_origin_answers_malformed_requests_as_without_a_logger() -> Outcome {
    compare(Serves::Web, Behind::Origin)
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
