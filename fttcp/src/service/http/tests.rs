// SPDX-License-Identifier: GPL-3.0-only
//! Requests and responses are paired however their streams are cut.

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const PUT: &[u8] = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n";

fn point(client: usize, server: usize) -> Restart {
    Restart {
        client: client as u64,
        server: server as u64,
    }
}

/// Both streams, cut into pieces of `step` bytes.
fn told(requests: &[u8], responses: &[u8], step: usize) -> Http {
    let mut http = Http::default();
    for (index, piece) in requests.chunks(step).enumerate() {
        http.client_bytes((index * step) as u64, piece);
    }
    for (index, piece) in responses.chunks(step).enumerate() {
        http.server_bytes((index * step) as u64, piece);
    }
    http
}

#[test]
fn replay_begins_behind_the_last_response_that_the_client_has_whole() {
    let requests = [GET, PUT, GET].concat();
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let responses = [SHORT, go_on, CHUNKED, SHORT].concat();
    let second = SHORT.len() + go_on.len() + CHUNKED.len();
    for step in [1, 2, 3, 7, 1000] {
        let mut http = told(&requests, &responses, step);
        assert_eq!(http.restart(SHORT.len() as u64 - 1), None);
        let first = Some(point(GET.len(), SHORT.len()));
        assert_eq!(http.restart(SHORT.len() as u64), first);
        assert_eq!(http.restart(second as u64 - 1), None);
        let both = Some(point(GET.len() + PUT.len(), second));
        assert_eq!(http.restart(second as u64), both);
        let all = Some(point(requests.len(), responses.len()));
        assert_eq!(http.restart(u64::MAX), all);
        assert_eq!(http.restart(u64::MAX), None);
    }
}

#[test]
fn request_that_is_not_whole_is_kept_though_it_is_answered() {
    let mut http = told(&PUT[..PUT.len() - 1], SHORT, 1000);
    assert_eq!(http.restart(u64::MAX), None);
    http.client_bytes(PUT.len() as u64 - 1, b"\n");
    assert_eq!(http.restart(u64::MAX), Some(point(PUT.len(), SHORT.len())));
}

#[test]
fn bodies_may_be_left_out_and_a_gap_in_chunks_ends_with_the_next_response() {
    let mut http = told(&GET.repeat(2), &SHORT[..SHORT.len() - 5], 1000);
    http.server_bytes(SHORT.len() as u64, &SHORT[..SHORT.len() - 5]);
    let twice = Some(point(2 * GET.len(), 2 * SHORT.len()));
    http.server_bytes(2 * SHORT.len() as u64 - 1, b"5");
    assert_eq!(http.restart(u64::MAX), twice);

    let mut http = told(GET, CHUNKED, 1000);
    http.rewind(Restart::default());
    http.client_bytes(0, GET);
    http.server_bytes(0, &CHUNKED[..50]);
    // Nothing of the rest but its last byte.
    http.server_bytes(7999, b"\n");
    assert_eq!(http.restart(u64::MAX), None);
    http.client_bytes(GET.len() as u64, GET);
    http.server_bytes(8000, SHORT);
    let bridged = Some(point(2 * GET.len(), 8000 + SHORT.len()));
    assert_eq!(http.restart(u64::MAX), bridged);
}

#[test]
fn request_that_must_not_be_made_twice_ends_the_connection_until_it_is_answered() {
    let mut http = told(&GET.repeat(2), SHORT, 1000);
    assert_eq!(http.verb(0), Verb::Replay);
    http.client_bytes(2 * GET.len() as u64, POST);
    assert!(matches!(http.verb(0), Verb::End(_)));
    http.server_bytes(SHORT.len() as u64, &SHORT.repeat(2));
    assert!(matches!(http.verb(0), Verb::End(_)));
    let had = 3 * SHORT.len() as u64;
    assert!(matches!(http.verb(had), Verb::End(_)));
    // It may be that the streams cannot be cut here.
    let cut = http.restart(had).expect("everything is answered");
    assert!(matches!(http.verb(had), Verb::End(_)));
    http.restarted(cut);
    assert_eq!(http.verb(had), Verb::Replay);
}

/// A long response, of which some bytes are known.
fn long(length: u64) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), b"some"].concat()
}

#[test]
fn rest_of_a_long_response_is_asked_for_in_the_place_of_its_request() {
    let requests = [PUT, GET].concat();
    let request = PUT.len() as u64..requests.len() as u64;
    let head = (long(200_000).len() - 4) as u64;
    let begins = CHUNKED.len() as u64;
    let body = begins + head;
    let http = told(&requests, &[CHUNKED, &long(200_000)].concat(), 7);
    assert_eq!(http.verb(begins), Verb::Replay);
    assert_eq!(http.verb(body + resume::LEAST), Verb::Replay);
    let resume = Verb::Resume(request);
    assert_eq!(http.verb(body + resume::LEAST + 1), resume);
    assert_eq!(http.verb(body + 199_999), resume);
    let asked = http.ask(body + 100_000, GET).expect("there is a rest");
    let asked = String::from_utf8(asked).expect("it is text");
    assert!(asked.contains("\r\nRange: bytes=100000-\r\nIf-Range: \"x\"\r\n\r\n"));
    assert_eq!(http.ask(begins, GET), None);
    let heard = http.judge(body + 100_000, b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(matches!(heard, Heard::Refused(_)));

    // What is asked behind it changes nothing, unless it must not be made twice.
    let mut http = http;
    http.client_bytes(requests.len() as u64, GET);
    assert_eq!(http.verb(body + 100_000), resume);
    let mut other = Http::default();
    assert!(other.restore(&http.save()));
    assert_eq!(other.verb(body + 100_000), resume);
    http.client_bytes((requests.len() + GET.len()) as u64, POST);
    assert!(matches!(http.verb(body + 100_000), Verb::End(_)));
}

#[test]
fn close_is_expected_behind_the_last_response_of_one_who_said_so() {
    let close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    let end = close.len() as u64;
    let http = told(GET, close, 1);
    assert!(http.close_expected(end));
    assert!(!http.close_expected(end - 1));
    assert!(!told(GET, &close[..close.len() - 1], 1).close_expected(end - 1));
    assert!(!told(GET, SHORT, 1).close_expected(SHORT.len() as u64));
    let old = b"GET / HTTP/1.0\r\n\r\n";
    assert!(told(old, SHORT, 1).close_expected(SHORT.len() as u64));
    // Its end is its close: nothing says whether it was the right one.
    let unframed = b"HTTP/1.0 200 OK\r\n\r\nabc";
    assert!(!told(old, unframed, 1).close_expected(unframed.len() as u64));
}

#[test]
fn foreign_streams_and_tunnels_are_replayed_whole() {
    let connect = b"CONNECT x:443 HTTP/1.1\r\n\r\n";
    let opened = b"HTTP/1.1 200 OK\r\n\r\n";
    let tunnel = [&connect[..], &b"\x16\x03\x01"[..], POST].concat();
    for (requests, responses) in [
        (&b"\x16\x03\x01\x02\x00"[..], &b"\x16\x03"[..]),
        (&tunnel, opened),
        (GET, b"SSH-2.0-x\r\n"),
        (&[b'a'; 20_000], SHORT),
    ] {
        let mut http = told(requests, responses, 1000);
        http.client_bytes(requests.len() as u64, GET);
        http.server_bytes(responses.len() as u64, SHORT);
        assert_eq!(http.restart(u64::MAX), None);
        assert!(!http.close_expected((responses.len() + SHORT.len()) as u64));
    }
    let refused = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    let requests = [connect, GET].concat();
    let mut http = told(&requests, &[refused, SHORT].concat(), 1);
    let all = Some(point(requests.len(), refused.len() + SHORT.len()));
    assert_eq!(http.restart(u64::MAX), all);
}

#[test]
fn restored_anywhere_it_goes_on_as_before() {
    let responses = [CHUNKED, SHORT].concat();
    for cut in 0..=responses.len() {
        let first = told(&[PUT, GET].concat(), &responses[..cut], 1000);
        let mut second = Http::default();
        assert!(second.restore(&first.save()));
        second.server_bytes(cut as u64, &responses[cut..]);
        let all = Some(point(PUT.len() + GET.len(), responses.len()));
        assert_eq!(second.restart(u64::MAX), all);
    }
    assert!(!Http::default().restore(&[9, 9]));
}

proptest::proptest! {
    #[test]
    fn senseless_streams_never_panic(
        pieces in proptest::collection::vec(
            (proptest::bool::ANY, 0_u64..300, "(GET / HTTP/1.1|HTTP/1.1 200 OK|Content-Length: [0-9]{1,3}|Transfer-Encoding: chunked|\r\n|[0-9a-f]{1,16}|.){0,9}"),
            0..30,
        )
    ) {
        let mut http = Http::default();
        for (client, at, text) in pieces {
            if client {
                http.client_bytes(at, text.as_bytes());
            } else {
                http.server_bytes(at, text.as_bytes());
            }
            let _ = (http.restart(at), http.verb(at), http.close_expected(at));
        }
        proptest::prop_assert!(Http::default().restore(&http.save()));
    }
}
