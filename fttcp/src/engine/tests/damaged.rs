// SPDX-License-Identifier: GPL-3.0-only
//! Journals and images as a killed logger, a bad disk or another version may leave them: they are refused, or what is
//! taken in does no harm. And the layout has a number.

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::moving::{HEAD, NEW_HEAD, adopt};
use super::*;
use crate::conn::StoredRef;
use crate::engine::image::VERSION;
use crate::journal::{Kind, Log, Records, Replay, Writer, header};

/// Keeps what is written to the journal.
#[derive(Default)]
struct Tape(Vec<u8>);

impl Output for Tape {
    fn transmit(&mut self, _: PortId, _: &[u8], _: &Offload) {}

    fn log(&mut self, log: Log<'_>) {
        match log {
            Log::Begin => self.0 = header().to_vec(),
            Log::Records(records) => self.0.extend_from_slice(records),
            Log::Complete => {}
        }
    }
}

/// The kind and the contents of a record.
type Entry = (Kind, Vec<u8>);

/// A session with everything in it: a moved connection, one that is being moved, bytes beyond a gap, one that is half-open,
/// one that is over. What was written, and what the engine is then.
fn session() -> (Bench, Vec<u8>) {
    let mut bench = Bench::with(vec![ServiceSpec {
        mask: vec!["Date".to_owned()],
        ..ServiceSpec::new(80, "exchange")
    }]);
    let mut tape = Tape::default();
    bench.engine.start_journal(bench.now, &mut tape);
    let mut say = |bench: &mut Bench, port, say: &Say<'_>| {
        let mut frame = bench.frame(port == NORTH, say);
        let (engine, now) = (&mut bench.engine, bench.now);
        engine.handle_frame(now, port, &mut frame, Offload::default(), &mut tape);
    };
    for port in 40_000..40_003 {
        bench.client_port = port;
        let (client, server) = (bench.client_isn, bench.server_isn);
        let syn = Say::new(client, 0, Flags::SYN).offer(7).stamp(100, 0);
        say(&mut bench, NORTH, &syn);
        let answer = Say::new(server, client + 1, SYN_ACK).offer(7);
        say(&mut bench, ACTIVE, &answer.window(60_000).stamp(7000, 100));
        if port == 40_002 {
            break;
        }
        for (at, data) in [
            (0, &b"PUT\r\nContent-Length: 10\r\n\r\n"[..]),
            (40, b"more"),
        ] {
            let ask = Say::new(bench.c(at), bench.s(0), PUSH).stamp(102, 7000);
            say(&mut bench, NORTH, &ask.data(data));
        }
        let reply = Say::new(bench.s(0), bench.c(29), PUSH).stamp(7001, 102);
        say(&mut bench, ACTIVE, &reply.data(HEAD));
    }
    bench.client_port = 40_001;
    let fin = Say::new(bench.c(44), bench.s(5), FIN).stamp(103, 7001);
    say(&mut bench, NORTH, &fin);
    let (engine, now) = (&mut bench.engine, bench.now);
    let told = engine.failover(now, 0, "web", "a test", &mut tape);
    told.expect("there is a standby");
    engine.sync_journal(now, &mut tape);
    (bench, tape.0)
}

fn entries(journal: &[u8]) -> Vec<Entry> {
    let mut records = Records::new(journal).expect("it is a journal");
    let mut entries = Vec::new();
    while let Some((_, kind, contents)) = records.next().expect("it is whole") {
        entries.push((Kind::of(kind).expect("it is known"), contents.to_vec()));
    }
    entries
}

fn journal(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (kind, contents) in entries {
        writer.put(*kind, &(), contents).expect("it has a form");
    }
    [&header()[..], writer.bytes()].concat()
}

/// Takes in what was read and lets it live: servers die, clients and servers speak, time passes.
fn live_on(image: Image) {
    let mut bench = Bench::new();
    let mut sent = Sent::default();
    bench.engine = Engine::new(EngineConfig::default());
    let ports = GroupPorts {
        north: NORTH,
        active: ACTIVE,
        standbys: vec![STANDBY, SECOND],
    };
    let mut groups = 0;
    let taken = bench.engine.import(
        bench.now,
        image,
        |spec| {
            groups += 1;
            spec.standbys = vec!["vif2".to_owned(), "vif3".to_owned()];
            (groups == 1).then(|| ports.clone())
        },
        &mut sent,
    );
    if taken.is_err() {
        return;
    }
    for round in 0..2 {
        for port in 40_000..40_003 {
            bench.client_port = port;
            let ask = Say::new(bench.c(29), bench.s(0), PUSH).stamp(110, 7001);
            bench.say(NORTH, &ask.data(b"GET\r\n\r\n"));
            adopt(&mut bench, 5, 40, 7);
            let reply = Say::new(6, bench.c(29), PUSH).stamp(41, 110);
            bench.say(STANDBY, &reply.data(NEW_HEAD));
        }
        bench.wait(Duration::from_secs(1 + 40 * round));
        let mut sent = Sent::default();
        let _ = bench
            .engine
            .failover(bench.now, 0, "web", "a test", &mut sent);
        let _ = bench.engine.export(bench.now);
    }
}

fn read(journal: &[u8]) {
    let mut replay = Replay::new();
    if replay.read(journal).is_ok()
        && let Ok(image) = replay.finish()
    {
        live_on(image);
    }
}

#[test]
fn session_is_read_as_it_was_written() {
    let (bench, bytes) = session();
    let mut replay = Replay::new();
    replay.read(&bytes).expect("it is whole");
    let image = replay.finish().expect("it is sound");
    assert_eq!(image.connections.len(), bench.engine.table.len());
    assert_eq!(journal(&entries(&bytes)), bytes);
    live_on(image);
    live_on(Image::parse(&bench.engine.export(bench.now)).expect("it is sound"));
}

/// A connection with bytes beyond a gap, written whole, and then the bytes that close it.
#[test]
fn bytes_that_are_added_to_a_damaged_connection_do_no_harm() {
    let mut bench = Bench::new();
    bench.open(7);
    let early = Say::new(bench.c(10), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &early.data(b"more"));
    let image = Image::parse(&bench.engine.export(bench.now)).expect("it is sound");
    let mut gaps = image.connections.iter().filter(|(_, it)| it.log.has_gap());
    let (&slot, connection) = gaps.next().expect("one has a gap");
    let whole = postcard::to_allocvec(&(slot, StoredRef::from(connection))).expect("it has a form");
    let mut added = postcard::to_allocvec(&(slot, connection.log.stable())).expect("numbers");
    added.extend([b'x'; 20]);
    let damaged = |at: usize, byte: u8| {
        let mut whole = whole.clone();
        whole[at] = byte;
        let entries = [(Kind::Connection, whole), (Kind::Client, added.clone())];
        Replay::new().read(&journal(&entries))
    };
    assert_eq!(damaged(0, whole[0]), Ok(()));
    let mut refused = 0;
    for (at, byte) in whole.iter().enumerate() {
        for byte in [0, 0xff, byte.wrapping_sub(1), byte.wrapping_add(1)] {
            refused += u32::from(damaged(at, byte).is_err());
        }
    }
    assert!(refused > 10, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes);
        read(&[&header()[..], &bytes].concat());
        let version = postcard::to_allocvec(&VERSION).expect("a number has a form");
        if let Ok(image) = Image::parse(&[version, bytes].concat()) {
            live_on(image);
        }
    }

    /// Records whose checksums are right and whose contents are not.
    #[test]
    fn damaged_records_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..5), 1..4),
    ) {
        let (_, bytes) = session();
        let mut entries = entries(&bytes);
        for (record, place, byte, how) in changes {
            let at = record.index(entries.len());
            let place = place.index(entries[at].1.len().max(1));
            match how {
                0 if entries.len() > 1 => drop(entries.remove(at)),
                1 => entries[at].1.truncate(place),
                2 => {
                    let again = entries[at].clone();
                    entries.push(again);
                }
                3 => entries[at].1.insert(place, byte),
                _ => {
                    if let Some(place) = entries[at].1.get_mut(place) {
                        *place = byte;
                    }
                }
            }
        }
        read(&journal(&entries));
    }

    #[test]
    fn damaged_images_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (bench, _) = session();
        let mut bytes = bench.engine.export(bench.now);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(image) = Image::parse(&bytes) {
            live_on(image);
        }
    }
}

#[test]
fn group_that_has_had_impossibly_many_servers_is_refused() {
    for numbers in [(3, 2), (0, u32::MAX)] {
        let (bench, _) = session();
        let mut group = bench.engine.group_image(0).expect("there is one");
        group.numbers = numbers;
        let head = (VERSION, bench.now, vec![(0_u32, group)], 0_u32);
        let bytes = postcard::to_allocvec(&head).expect("it has a form");
        let error = Image::parse(&bytes).unwrap_err().to_string();
        assert!(error.contains("group 0 contradicts itself"), "{error}");
    }
}

/// A journal of another layout must not be taken for one of this: whoever changes what is in an image raises
/// [`VERSION`], and writes down here what this test then says. If only the values in this session are others, the version
/// may stay.
#[test]
fn layout_has_not_changed_without_a_new_version() {
    const KNOWN: (u32, u64, u64) = (17, 5_944_913_836_478_308_186, 13_721_588_925_004_249_180);
    let (bench, journal) = session();
    let image = bench.engine.export(bench.now);
    let found = (VERSION, xxh3_64(&image), xxh3_64(&journal));
    assert_eq!(found, KNOWN, "raise VERSION if the layout has changed");
}
