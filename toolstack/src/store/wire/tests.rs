// SPDX-License-Identifier: GPL-3.0-only
//! Round trips, arbitrary chunking, and peers that do not speak the protocol.

use proptest::prelude::*;

use super::server::{Parsed, parse};
use super::*;
use crate::ids::{Gfn, Port};

fn path() -> impl Strategy<Value = XsPath> {
    "/[a-z0-9/_@-]{0,40}".prop_map(XsPath::new)
}

fn perms() -> impl Strategy<Value = Vec<Permission>> {
    let one =
        (any::<u16>(), any::<bool>(), any::<bool>()).prop_map(|(id, read, write)| Permission {
            domain: DomId(id),
            read,
            write,
        });
    prop::collection::vec(one, 0..5)
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        path().prop_map(Request::Read),
        path().prop_map(Request::Directory),
        path().prop_map(Request::Mkdir),
        path().prop_map(Request::Rm),
        path().prop_map(Request::GetPerms),
        (path(), prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(path, value)| Request::Write(path, value)),
        (path(), perms()).prop_map(|(path, perms)| Request::SetPerms(path, perms)),
        (any::<u16>(), any::<u64>(), any::<u32>()).prop_map(|(domain, frame, port)| {
            Request::Introduce {
                domain: DomId(domain),
                frame: Gfn(frame),
                port: Port(port),
            }
        }),
        any::<u16>().prop_map(|id| Request::Release(DomId(id))),
    ]
}

fn decode_all(chunks: &[&[u8]]) -> Vec<Message> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        while let Some(message) = decoder.next_message().unwrap() {
            messages.push(message);
        }
    }
    messages
}

proptest! {
    #[test]
    fn every_request_survives_the_wire(request in request(), id: u32, tx: u32) {
        let bytes = encode(Outgoing::Request(&request), id, Some(Tx(tx))).unwrap();
        let messages = decode_all(&[&bytes]);
        prop_assert_eq!(messages.len(), 1);
        prop_assert_eq!((messages[0].id, messages[0].tx), (id, tx));
        prop_assert_eq!(parse(&messages[0]), Some(Parsed::Request(request)));
    }

    #[test]
    fn chunking_does_not_matter(
        requests in prop::collection::vec(request(), 1..6),
        size in 1usize..50,
    ) {
        let mut bytes = Vec::new();
        for (id, request) in (1..).zip(&requests) {
            bytes.extend(encode(Outgoing::Request(request), id, None).unwrap());
        }
        let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
        prop_assert_eq!(decode_all(&chunks), decode_all(&[&bytes]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), asked in 0u32..30) {
        let mut decoder = Decoder::default();
        decoder.feed(&bytes);
        while let Ok(Some(message)) = decoder.next_message() {
            let _ = event(&message);
        }
        let message = Message { kind: asked, id: 0, tx: 0, payload: bytes };
        let _ = reply(asked, &message);
        let _ = event(&message);
        let _ = parse(&message);
    }
}

fn answer(kind: u32, payload: &[u8]) -> Message {
    Message {
        kind,
        id: 1,
        tx: 0,
        payload: payload.to_vec(),
    }
}

#[test]
fn header_is_four_little_endian_words() {
    let request = Request::Read(XsPath::new("ab"));
    let bytes = encode(Outgoing::Request(&request), 0x0102, Some(Tx(7))).unwrap();
    let expected = [
        2, 0, 0, 0, 2, 1, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', 0,
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn too_long_a_message_is_an_error_for_good() {
    let mut decoder = Decoder::default();
    decoder.feed(&frame(kind::READ, 1, 0, &[0; PAYLOAD_MAX + 1]));
    let error = Err(WireError::Length(4097));
    assert_eq!(decoder.next_message(), error);
    assert_eq!(decoder.next_message(), error);
}

#[test]
fn request_above_the_limit_is_refused_before_it_is_sent() {
    let fits = Request::Write(XsPath::new("/a"), vec![b'x'; PAYLOAD_MAX - 3]);
    assert!(encode(Outgoing::Request(&fits), 1, None).is_ok());
    let big = Request::Write(XsPath::new("/a"), vec![b'x'; PAYLOAD_MAX - 2]);
    assert_eq!(
        encode(Outgoing::Request(&big), 1, None),
        Err(Errno("E2BIG".into()))
    );
    let nul = Request::Read(XsPath::new("/a\0b"));
    assert_eq!(
        encode(Outgoing::Request(&nul), 1, None),
        Err(Errno("EINVAL".into()))
    );
}

#[test]
fn errors_come_by_name() {
    for name in ["ENOENT", "ENOSPC", "EQUOTA", "E2BIG"] {
        let message = answer(kind::ERROR, format!("{name}\0").as_bytes());
        assert_eq!(reply(kind::WRITE, &message), Ok(Err(Errno(name.into()))));
    }
    assert_eq!(
        reply(kind::WRITE, &answer(kind::ERROR, b"")),
        Err(WireError::Malformed(16))
    );
}

#[test]
fn answers_are_read_by_the_type_of_the_request() {
    let read = reply(kind::READ, &answer(kind::READ, b"a\0b"));
    assert_eq!(read, Ok(Ok(Reply::Value(b"a\0b".to_vec()))));
    let names = reply(kind::DIRECTORY, &answer(kind::DIRECTORY, b"a\0bc\0"));
    assert_eq!(names, Ok(Ok(Reply::Names(vec!["a".into(), "bc".into()]))));
    let empty = reply(kind::DIRECTORY, &answer(kind::DIRECTORY, b""));
    assert_eq!(empty, Ok(Ok(Reply::Names(Vec::new()))));
    let perms = reply(kind::GET_PERMS, &answer(kind::GET_PERMS, b"n0\0r5\0"));
    let expected = vec![Permission::owner(DomId(0)), Permission::read(DomId(5))];
    assert_eq!(perms, Ok(Ok(Reply::Perms(expected))));
    assert_eq!(
        reply(kind::GET_PERMS, &answer(kind::GET_PERMS, b"x0\0")),
        Err(WireError::Malformed(kind::GET_PERMS))
    );
    assert_eq!(
        reply(kind::READ, &answer(kind::WRITE, b"OK\0")),
        Err(WireError::Mismatch {
            asked: kind::READ,
            got: kind::WRITE
        })
    );
}

#[test]
fn event_needs_path_and_token() {
    let good = event(&answer(kind::WATCH_EVENT, b"/a\0t\0")).unwrap();
    assert_eq!((good.path.as_str(), good.token.as_str()), ("/a", "t"));
    assert_eq!(
        event(&answer(kind::WATCH_EVENT, b"/a\0")),
        Err(WireError::Malformed(15))
    );
}
