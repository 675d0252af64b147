// SPDX-License-Identifier: GPL-3.0-only
//! Malformed responses: whatever a server says, its client gets the same bytes and the same end, the logger says what it does
//! not understand, and when the server dies every connection goes on, whether it was understood or not.

use std::error::Error;

use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::Topology;
use rxl_tests::netns::web::origin::odd::{Odd, PATH, corpus};
use rxl_tests::netns::web::talker::Talker;

type Outcome = Result<(), Box<dyn Error>>;

/// Of the file that a neighbour is fetching when the server dies: more than waits in all buffers.
const FILE: usize = 24 << 20;
/// What the plug-in says of what it gives up.
const UNCLEAR: &str = "not understood as http any more: a response";

fn house(content: &[u8]) -> Result<Topology, String> {
    let mut topology = Topology::build(Layout {
        serves: Serves::Own(env!("CARGO_BIN_EXE_http-server")),
        kind: "http",
        ..Layout::default()
    })?;
    topology.put("small", b"small\n")?;
    topology.put("file", content)?;
    topology.serve()?;
    Ok(topology)
}

/// A client asks for a bad response, and gets it as it was said; its connection.
fn get(topology: &Topology, number: usize, odd: &Odd) -> Result<Talker, Box<dyn Error>> {
    let mut client = Talker::connect(topology.client())?;
    client.ask(odd.method, &format!("{PATH}{number}"), "")?;
    let said = odd.bytes();
    assert!(client.hear(said.len())? == said, "{}", odd.name);
    if odd.closes {
        assert_eq!(client.rest()?, (Vec::new(), true), "{}", odd.name);
    }
    Ok(client)
}

#[test]
fn clients_get_malformed_responses_as_they_were_said_and_outlive_the_server() -> Outcome {
    let content = Random::new(1).bytes(FILE);
    let mut topology = house(&content)?;
    let mut idle = Talker::connect(topology.client())?;
    idle.ask("GET", "/small", "")?;
    let small = idle.answer("GET")?;
    assert_eq!((small.status(), &small.body[..]), (200, &b"small\n"[..]));
    let mut busy = Talker::connect(topology.client())?;
    busy.ask("GET", "/file", "")?;
    let head = busy.head()?;
    let mut got = busy.hear(FILE / 3)?;

    let corpus = corpus();
    let mut clients = Vec::new();
    for (number, odd) in corpus.iter().enumerate() {
        clients.push((odd, get(&topology, number, odd)?));
    }
    let teller = topology.victim()?.kill()?;
    teller.join().map_err(|_| "the teller panicked")??;

    // Those whose server had not closed go on, and end as they would have ended.
    let mut open: Vec<_> = clients.iter_mut().filter(|(odd, _)| !odd.closes).collect();
    let after = |odd: &Odd, error: std::io::Error| format!("after {}: {error}", odd.name);
    let expected = [small.head.as_bytes(), &small.body].concat();
    for (odd, client) in &mut open {
        let asked = client.ask("GET", "/small", "");
        asked.map_err(|error| after(odd, error))?;
    }
    for (odd, client) in &mut open {
        let answer = client.hear(expected.len());
        assert!(answer.map_err(|error| after(odd, error))? == expected);
        client.finish().map_err(|error| after(odd, error))?;
    }
    for (odd, client) in &mut open {
        let end = client.rest().map_err(|error| after(odd, error))?;
        assert_eq!(end, (Vec::new(), true), "after {}", odd.name);
    }
    let open = open.len();
    // Their neighbours, too.
    got.extend(busy.hear(FILE - FILE / 3)?);
    assert!(got == content, "the file is another: {head}");
    for client in [&mut idle, &mut busy] {
        client.ask("GET", "/small", "")?;
        assert_eq!(client.answer("GET")?, small);
    }
    topology.wait_moved()?;

    let names = clients.iter().map(|(odd, client)| (odd, client.name()));
    let names: Vec<_> = names.collect();
    let (counters, log) = topology.end_of_logger()?;
    for (odd, name) in names {
        let name = format!("{} ", name?);
        let said = |line: &&str| line.contains(&name) && line.contains(UNCLEAR);
        let times = log.lines().filter(said).count();
        assert_eq!(
            times,
            usize::from(odd.unclear),
            "{}: {name}\n{log}",
            odd.name
        );
    }
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    // Those whose server had closed, and whose clients had not, are moved as well.
    assert_eq!(counters.recovered, corpus.len() as u64 + 2, "{log}");
    println!("{} responses, {open} connections went on", corpus.len());
    Ok(())
}
