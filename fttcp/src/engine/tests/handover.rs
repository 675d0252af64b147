// SPDX-License-Identifier: GPL-3.0-only
//! One connection goes to another logger, which has connections of its own.

use super::moving::{HEAD, NEW_HEAD, adopt, orphan};
use super::*;

/// Where the replacement began to number.
const ISN: u32 = 5;

/// A connection that was moved to another server, where it has said a response of which its client has four bytes.
fn moved() -> Bench {
    let mut bench = Bench::new();
    orphan(&mut bench, 7, 4);
    adopt(&mut bench, ISN, 40, 7);
    let again = Say::new(ISN + 1, bench.c(3), PUSH).stamp(41, 103);
    bench.say(STANDBY, &again.data(NEW_HEAD));
    assert_eq!(bench.state(), "established");
    bench
}

/// Another logger, with a connection of another port of the same client.
fn other(services: Vec<ServiceSpec>) -> Bench {
    let mut bench = Bench::with(services);
    // Its clock is another, too.
    bench.now = Time(77_000_000_000);
    bench.client_port = 50_000;
    bench.open(7);
    bench.client_port = 40_000;
    bench
}

fn ends(bench: &Bench) -> Ends {
    Ends {
        client: bench.end(1, 40_000).socket,
        server: bench.end(2, 80).socket,
    }
}

fn take_out(bench: &mut Bench) -> Result<Vec<u8>, EngineError> {
    let ends = ends(bench);
    let mut sent = Sent::default();
    let taken = bench.engine.take_out(bench.now, "web", ends, &mut sent);
    assert!(sent.0.is_empty(), "nobody is told");
    taken
}

fn take_in(bench: &mut Bench, bytes: &[u8]) -> Result<usize, EngineError> {
    let image = Image::parse(bytes).expect("an image");
    let mut sent = Sent::default();
    let taken = bench.engine.take_in(bench.now, image, &mut sent);
    assert!(sent.0.is_empty(), "nobody is told");
    taken
}

#[test]
fn connection_goes_on_at_another_logger_and_is_moved_there() {
    let (mut from, mut to) = (moved(), other(vec![service()]));

    let bytes = take_out(&mut from).expect("it is known");
    assert!(from.status().connections.is_empty());
    assert_eq!(take_in(&mut to, &bytes), Ok(1));

    assert_eq!(to.status().connections.len(), 2);
    // The server's numbers are the client's on the way north, and again the server's on the way south.
    let done = HEAD.len() as u32;
    let more = Say::new(ISN + 1 + done, to.c(3), PUSH).stamp(45, 103);
    let sent = to.say(ACTIVE, &more.data(b"more"));
    assert_eq!((sent[0].port, sent[0].head.seq.0), (NORTH, to.s(done)));
    let next = Say::new(to.c(3), to.s(done + 4), PUSH).stamp(110, sent[0].stamps().value);
    let sent = to.say(NORTH, &next.data(b"next"));
    let asked = sent.iter().find(|seen| seen.port == ACTIVE);
    let asked = asked.expect("it is forwarded");
    assert_eq!(
        (asked.head.ack.0, asked.data.as_slice()),
        (ISN + 1 + done + 4, &b"next"[..])
    );
    assert_eq!(asked.stamps().echo, 45);

    let sent = to.fail_over();

    let syns: Vec<&Seen> = sent
        .iter()
        .filter(|seen| seen.port == STANDBY && seen.head.flags == Flags::SYN)
        .collect();
    assert_eq!(syns.len(), 2, "its own, and the one that came");
    // The whole log came along, and what the server had said when the client said it.
    let sent = adopt(&mut to, 9000, 40, 7);
    assert_eq!(said(&sent), b"GET");
    let again = Say::new(9001, to.c(3), PUSH).stamp(41, 103);
    let sent = to.say(STANDBY, &again.data(&[NEW_HEAD, b"more"].concat()));
    assert_eq!(said(&sent), b"next");
    assert_eq!((to.counters().diverged, to.counters().lost), (0, 0));
}

/// What a replacement is told.
fn said(sent: &[Seen]) -> Vec<u8> {
    let south = sent.iter().filter(|seen| seen.port == STANDBY);
    south.flat_map(|seen| seen.data.clone()).collect()
}

#[test]
fn connection_that_sleeps_goes_too() {
    let mut from = moved();
    let done = HEAD.len() as u32;
    let had = Say::new(from.c(3), from.s(done), ACK).stamp(120, 0);
    from.say(NORTH, &had);
    from.wait(Duration::from_secs(600));
    let mut to = other(vec![service()]);

    let bytes = take_out(&mut from).expect("it is known");

    assert_eq!(take_in(&mut to, &bytes), Ok(1));
    let more = Say::new(ISN + 1 + done, to.c(3), PUSH).stamp(45, 103);
    let sent = to.say(ACTIVE, &more.data(b"more"));
    assert_eq!((sent[0].port, sent[0].head.seq.0), (NORTH, to.s(done)));
}

#[test]
fn what_cannot_be_handed_over_stays_where_it_is() {
    let mut from = moved();
    let (now, known) = (from.now, ends(&from));
    let stranger = Ends {
        client: from.end(1, 40_001).socket,
        ..known
    };
    let mut out = Sent::default();
    let engine = &mut from.engine;
    let error = engine.take_out(now, "web", stranger, &mut out).unwrap_err();
    let text = "group web: 10.0.0.1:40001 -> 10.0.0.2:80 cannot be handed over: it is not known";
    assert_eq!(error.to_string(), text);
    let error = engine.take_out(now, "ftp", known, &mut out).unwrap_err();
    assert_eq!(error, EngineError::NoGroup("ftp".to_owned()));
    assert_eq!(from.status().connections.len(), 1);

    let bytes = take_out(&mut from).expect("it is known");

    let mut different = other(vec![ServiceSpec {
        buffer_bytes: 99,
        ..service()
    }]);
    let error = take_in(&mut different, &bytes).unwrap_err().to_string();
    assert!(error.contains("protects other services"), "{error}");
    assert_eq!(different.status().connections.len(), 1);
    let mut none = Engine::new(EngineConfig::default());
    let image = Image::parse(&bytes).expect("an image");
    let error = none.take_in(now, image, &mut out).unwrap_err();
    assert_eq!(error, EngineError::NoGroup("web".to_owned()));

    // Nothing is lost: who took it out can have it back, once.
    assert_eq!(take_in(&mut from, &bytes), Ok(1));
    let error = take_in(&mut from, &bytes).unwrap_err().to_string();
    assert!(error.contains("it is known already"), "{error}");
    assert_eq!(from.state(), "established");
}

#[test]
fn connection_of_the_server_that_an_upgrade_leaves_is_refused() {
    let mut from = Bench::new();
    from.open(7);
    let asked = Say::new(from.c(0), from.s(0), PUSH).stamp(102, 7000);
    from.say(NORTH, &asked.data(b"GET"));
    let mut out = Sent::default();
    let begun = from
        .engine
        .upgrade(from.now, "web", "vif2", 600_000, &mut out);
    assert_eq!(begun, Ok(()));
    assert_eq!(from.state(), "established", "it waits for its answer");

    let bytes = take_out(&mut from).expect("it is known");

    let error = take_in(&mut other(vec![service()]), &bytes).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("an upgrade was leaving its server")
    );
}
