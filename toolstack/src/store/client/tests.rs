// SPDX-License-Identifier: GPL-3.0-only
//! The client against a server in a thread that answers in chunks, out of order, with events in between.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::memory::MemoryStore;
use super::super::wire::{self, Decoder, Message, server};
use super::super::{Request, Store, StoreExt, Watch, XsPath};
use super::XsClient;
use crate::error::Code;

/// How a server treats the answers to what it read at once.
#[derive(Clone, Copy)]
struct Manners {
    /// Bytes written at a time.
    chunk: usize,
    /// The last answer first.
    reversed: bool,
    /// Requests to read before the first answer is written.
    gather: usize,
}

const POLITE: Manners = Manners {
    chunk: 4096,
    reversed: false,
    gather: 1,
};

fn serve(mut stream: UnixStream, store: &MemoryStore, manners: Manners) -> std::io::Result<()> {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 4096];
    let mut pending: Vec<Message> = Vec::new();
    let mut gather = manners.gather;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        decoder.feed(&buffer[..count]);
        while let Some(message) = decoder
            .next_message()
            .expect("the client speaks the protocol")
        {
            pending.push(message);
        }
        if pending.len() < gather {
            continue;
        }
        gather = 1;
        let mut out: Vec<Vec<u8>> = Vec::new();
        for message in pending.drain(..) {
            out.push(server::serve(store, &message));
            out.extend(server::events(store));
        }
        if manners.reversed {
            out.reverse();
        }
        for chunk in out.concat().chunks(manners.chunk) {
            stream.write_all(chunk)?;
        }
    }
}

/// A client whose server keeps its nodes in the returned store.
fn connected(manners: Manners) -> (XsClient, MemoryStore, JoinHandle<()>) {
    let (near, far) = UnixStream::pair().unwrap();
    let store = MemoryStore::new();
    let observer = store.connect(crate::ids::DomId(0));
    let server = std::thread::spawn(move || {
        // The client going away in the middle of an answer ends the server as well.
        let _ = serve(far, &store, manners);
    });
    (
        XsClient::from_socket(near.into()).unwrap(),
        observer,
        server,
    )
}

fn writes(count: usize) -> Vec<Request> {
    (0..count)
        .map(|i| Request::write(XsPath::new(format!("/vm/{i}")), "v".repeat(i % 300)))
        .collect()
}

#[test]
fn answers_in_small_chunks_and_out_of_order_find_their_requests() {
    let manners = Manners {
        chunk: 7,
        reversed: true,
        gather: 40,
    };
    let (client, _, server) = connected(manners);
    let mut requests = writes(20);
    requests.extend((0..20).map(|i| Request::Read(XsPath::new(format!("/vm/{i}")))));
    let replies = client.all(&requests).unwrap();
    for (i, reply) in replies[20..].iter().enumerate() {
        assert_eq!(reply, &super::Reply::Value("v".repeat(i).into_bytes()));
    }
    assert_eq!(client.flights(), 1);
    drop(client);
    server.join().unwrap();
}

#[test]
fn batch_larger_than_all_socket_buffers_does_not_lock_up() {
    let (client, _, server) = connected(POLITE);
    let value = vec![b'x'; 4000];
    let path = XsPath::new("/vm/big");
    let mut requests = vec![Request::Write(path.clone(), value.clone())];
    // Each answer is as long as a request: neither side may insist on writing first.
    for _ in 0..400 {
        requests.push(Request::Write(path.clone(), value.clone()));
        requests.push(Request::Read(path.clone()));
    }
    let replies = client.all(&requests).unwrap();
    assert_eq!(replies.len(), 801);
    assert_eq!(replies[800], super::Reply::Value(value));
    drop(client);
    server.join().unwrap();
}

#[test]
fn events_between_answers_are_queued() {
    let (client, observer, server) = connected(Manners { chunk: 5, ..POLITE });
    let watch = Watch {
        path: XsPath::new("/vm"),
        token: "w".into(),
    };
    client.watch(&watch).unwrap();
    client.all(&writes(3)).unwrap();
    let now = Instant::now() + Duration::from_secs(20);
    let paths: Vec<String> = (0..4)
        .map(|_| {
            client
                .next_event(Some(now))
                .unwrap()
                .unwrap()
                .path
                .to_string()
        })
        .collect();
    assert_eq!(paths, ["/vm", "/vm/0", "/vm/1", "/vm/2"]);
    assert_eq!(client.next_event(Some(Instant::now())).unwrap(), None);
    client.unwatch(&watch).unwrap();
    assert_eq!(observer.peek("/vm/1").as_deref(), Some("v"));
    drop(client);
    server.join().unwrap();
}

#[test]
fn transactions_commit_and_conflict() {
    let (client, observer, server) = connected(POLITE);
    client.atomic(&writes(2)).unwrap();
    let tx = client.begin().unwrap();
    client
        .batch_in(tx, &[Request::Read(XsPath::new("/vm/1"))])
        .unwrap();
    observer
        .request(Request::write(XsPath::new("/vm/1"), "other"))
        .unwrap();
    assert!(!client.end(tx, true).unwrap());
    drop(client);
    server.join().unwrap();
}

#[test]
fn refusals_are_named_and_the_others_take_effect() {
    let (client, _, server) = connected(POLITE);
    let big = Request::Write(XsPath::new("/vm/big"), vec![0; 5000]);
    let missing = Request::Read(XsPath::new("/vm/none"));
    let replies = client
        .batch(&[missing, big, Request::write(XsPath::new("/vm/a"), 1)])
        .unwrap();
    assert_eq!(replies[0].as_ref().unwrap_err().0, "ENOENT");
    assert_eq!(replies[1].as_ref().unwrap_err().0, "E2BIG");
    assert!(replies[2].is_ok());
    drop(client);
    server.join().unwrap();
}

#[test]
fn server_that_goes_away_breaks_the_connection_for_good() {
    let (near, far) = UnixStream::pair().unwrap();
    let client = XsClient::from_socket(near.into()).unwrap();
    drop(far);
    for _ in 0..2 {
        let error = client.batch(&writes(1)).unwrap_err();
        assert_eq!(error.code, Code::Store);
    }
    client.next_event(Some(Instant::now())).unwrap_err();
}

#[test]
fn answers_that_break_the_protocol_are_an_error() {
    let bad = [
        wire::frame(wire::kind::WRITE, 99, 0, b"OK\0"),
        wire::frame(wire::kind::READ, 1, 0, b""),
        wire::frame(wire::kind::WRITE, 1, 0, &[0; 5000]),
        wire::frame(wire::kind::WATCH_EVENT, 0, 0, b"only-path\0"),
    ];
    for bytes in bad {
        let (near, mut far) = UnixStream::pair().unwrap();
        let client = XsClient::from_socket(near.into()).unwrap();
        far.write_all(&bytes).unwrap();
        let error = client.batch(&writes(1)).unwrap_err();
        assert_eq!(error.code, Code::Store, "{error}");
    }
}

#[test]
fn watch_acknowledged_by_the_kernel_without_an_id_is_accepted() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let client = XsClient::from_socket(near.into()).unwrap();
    far.write_all(&wire::frame(wire::kind::WATCH, 0, 0, b"OK\0"))
        .unwrap();
    client
        .watch(&Watch {
            path: XsPath::new("backend"),
            token: "b".into(),
        })
        .unwrap();
}

#[test]
fn deadline_passes_without_an_event() {
    let (client, _, server) = connected(POLITE);
    let start = Instant::now();
    let deadline = start + Duration::from_millis(30);
    assert_eq!(client.next_event(Some(deadline)).unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(30));
    drop(client);
    server.join().unwrap();
}
