// SPDX-License-Identifier: GPL-3.0-only
//! Requests and responses are paired however their streams are cut.

mod left_out;

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
    // Nothing of the rest.
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

#[test]
fn client_that_has_asked_awaits_an_answer_and_one_that_still_asks_does_not() {
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    let end = SHORT.len() as u64;
    for step in [1, 7, 1000] {
        assert!(!told(b"", b"", step).awaits(0));
        for part in [1, GET.len() - 1] {
            assert!(!told(&GET[..part], b"", step).awaits(0));
        }
        for part in [POST.len() - 4, POST.len() - 1] {
            assert!(!told(&POST[..part], b"", step).awaits(0), "{part}");
        }
        assert!(told(GET, b"", step).awaits(0) && told(POST, b"", step).awaits(0));
        let http = told(GET, &SHORT[..SHORT.len() - 1], step);
        assert!(http.awaits(end - 1) && !http.awaits(end));
        assert!(told(&GET.repeat(2), SHORT, step).awaits(end));
    }
    assert!(!told(b"\x16\x03\x01\n\n", b"", 1000).awaits(0));
}

#[test]
fn something_is_owed_until_every_request_is_answered_to_the_last_byte() {
    let end = SHORT.len() as u64;
    for step in [1, 7, 1000] {
        assert!(!told(b"", b"", step).owes(0));
        assert!(
            told(&GET[..5], b"", step).owes(0),
            "the server may complain"
        );
        assert!(told(GET, b"", step).owes(0));
        // Where it will end is known with its head.
        let http = told(GET, &SHORT[..SHORT.len() - 1], step);
        assert!(http.owes(end - 1) && !http.owes(end));
        assert!(told(&GET.repeat(2), SHORT, step).owes(end));
        let mut http = told(&GET.repeat(2), &SHORT.repeat(2), step);
        assert!(http.owes(end) && !http.owes(2 * end));
        assert!(http.restart(2 * end).is_some());
        assert!(!http.owes(2 * end));
    }
    assert!(told(b"\x16\x03\x01\n\n", b"", 1000).owes(0));
}

#[test]
fn error_reply_stands_only_where_a_response_is_due() {
    for step in [1, 7, 1000] {
        let end = SHORT.len() as u64;
        let http = told(&[GET, POST].concat(), SHORT, step);
        let reply = http.error_reply(end).expect("the second is not answered");
        let text = String::from_utf8(reply.clone()).expect("it is text");
        assert!(text.starts_with("HTTP/1.1 502 "), "{text}");
        // It is understood as what it is meant for.
        let mut http = http;
        http.server_bytes(end, &reply);
        assert!(http.close_expected(end + reply.len() as u64));
        assert_eq!(http.error_reply(end + reply.len() as u64), None);
        // Not within a response, nor where it has ended and nothing else is due, nor elsewhere.
        let http = told(&[GET, POST].concat(), &SHORT[..SHORT.len() - 1], step);
        assert_eq!(http.error_reply(end - 1), None);
        let http = told(GET, SHORT, step);
        assert_eq!(http.error_reply(end), None);
        let http = told(GET, b"", step);
        assert!(http.error_reply(0).is_some());
        assert_eq!(http.error_reply(1), None);
        let http = told(b"GET / HTTP/1.1\r\nHo", b"", step);
        assert_eq!(http.error_reply(0), None);
    }
}

#[test]
fn error_reply_follows_a_body_that_was_left_out_and_an_interim_response() {
    let end = SHORT.len() as u64;
    let http = told(&[GET, POST].concat(), &SHORT[..SHORT.len() - 5], 1000);
    assert!(http.error_reply(end).is_some());
    let http = told(GET, &SHORT[..SHORT.len() - 5], 1000);
    assert_eq!(http.error_reply(end), None);
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let http = told(POST, go_on, 3);
    assert!(http.error_reply(go_on.len() as u64).is_some());
    let head = told(b"HEAD / HTTP/1.1\r\n\r\n", b"", 1000).error_reply(0);
    assert!(head.expect("it is due").ends_with(b"\r\n\r\n"));
}

#[test]
fn request_under_way_is_the_first_whose_response_is_not_whole() {
    let requests = [GET, POST].concat();
    let (get, post) = (GET.len() as u64, requests.len() as u64);
    let first = SHORT.len() as u64;
    let at = |http: &Http, end| http.under_way(end).map(|it| (it.request, it.untouched));
    let http = told(&requests, SHORT, 7);
    assert_eq!(at(&http, first - 1), Some((0..get, false)));
    assert_eq!(at(&http, first), Some((get..post, true)));
    let http = told(&requests[..requests.len() - 1], SHORT, 7);
    assert_eq!(at(&http, first), Some((get..u64::MAX, true)));
    // One whose head is not whole. No error reply may be said to it yet.
    let http = told(&requests[..GET.len() + 9], SHORT, 7);
    assert_eq!(at(&http, first), Some((get..u64::MAX, false)));
    let http = told(GET, SHORT, 7);
    assert_eq!(http.under_way(first), None);
    assert_eq!(told(b"\x16\x03", b"", 7).under_way(0), None);
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
fn what_is_not_understood_is_told_once_and_not_made_twice() {
    let smuggled = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for (method, once) in [
        ("GET", false),
        ("POST", true),
        ("PRI", true),
        ("put", false),
    ] {
        let text = format!("{method} / HTTP/1.1\r\n{smuggled}");
        for step in [1, 9, 1000] {
            let mut http = told(&[GET, text.as_bytes()].concat(), SHORT, step);
            assert_eq!(http.complaint(), Some(UNCLEAR_REQUEST), "{method}");
            http.client_bytes((GET.len() + text.len()) as u64, GET);
            assert_eq!(http.complaint(), None);
            let end = matches!(http.verb(0), Verb::End(_));
            assert_eq!(end, once, "{method}");
            let mut other = Http::default();
            assert!(other.restore(&http.save()));
            assert_eq!(other.verb(0), http.verb(0));
            assert_eq!(http.error_reply(SHORT.len() as u64), None);
        }
    }
    // What was under way before is not forgotten.
    let http = told(&[POST, b"\x00\x01\x02\x03"].concat(), b"", 1000);
    assert!(matches!(http.verb(0), Verb::End(_)));
    // A head that never ends.
    let long = [&b"POST / HTTP/1.1\r\nX: "[..], &[b'a'; 20_000]].concat();
    assert!(matches!(told(&long, b"", 700).verb(0), Verb::End(_)));
    // Tunnels and bodies without a length are nothing to complain of.
    let mut http = told(b"CONNECT x:1 HTTP/1.1\r\n\r\n\x16\x03", b"", 1000);
    assert_eq!((http.complaint(), http.verb(0)), (None, Verb::Replay));
    let mut http = told(GET, b"HTTP/1.0 200 OK\r\n\r\nabc", 1000);
    assert_eq!(http.complaint(), None);
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n";
    for foreign in [&b"SSH-2.0-x\r\n"[..], endless] {
        let mut http = told(GET, foreign, 1000);
        assert_eq!(http.complaint(), Some(UNCLEAR_RESPONSE));
        // A replacement says the same.
        http.rewind(Restart::default());
        http.client_bytes(0, GET);
        http.server_bytes(0, foreign);
        assert_eq!(http.complaint(), None);
    }
}

#[test]
fn request_behind_one_that_is_not_understood_is_not_made_twice_either() {
    let folded = b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n";
    let long = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 20_000], b"\r\n\r\n"].concat();
    let chunk = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n";
    for first in [&folded[..], &long, chunk] {
        for step in [1, 9, 30_000] {
            let mut http = told(&[first, GET, PUT].concat(), b"", step);
            assert_eq!(http.complaint(), Some(UNCLEAR_REQUEST));
            assert_eq!(http.verb(0), Verb::Replay);
            let mut other = Http::default();
            assert!(other.restore(&http.save()));
            let said = (first.len() + GET.len() + PUT.len()) as u64;
            other.client_bytes(said, POST);
            assert!(matches!(other.verb(0), Verb::End(_)));
            let both = told(&[first, POST].concat(), b"", step);
            assert!(matches!(both.verb(0), Verb::End(_)));
        }
    }
}

#[test]
fn what_is_in_a_tunnel_is_the_tunnels_whatever_is_known_first() {
    let connect = &b"CONNECT x:80 HTTP/1.1\r\n\r\n"[..];
    let upgrade = &b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"[..];
    let switched = &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"[..];
    let refused = &b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"[..];
    for (request, granted) in [
        (connect, &b"HTTP/1.1 200 OK\r\n\r\n"[..]),
        (upgrade, switched),
    ] {
        // A replacement is told all that the client has said before it says anything.
        for inside in [POST, b"\x81\x85\x00\nPOST /"] {
            let said = [request, inside].concat();
            let mut http = told(&said, b"", 1000);
            http.server_bytes(0, granted);
            assert_eq!((http.complaint(), http.verb(0)), (None, Verb::Replay));
            http.client_bytes(said.len() as u64, POST);
            http.server_bytes(granted.len() as u64, b"more");
            assert_eq!((http.complaint(), http.verb(0)), (None, Verb::Replay));
            assert_eq!(http.restart(u64::MAX), None);
            // It is not, if that is refused.
            let mut http = told(&said, b"", 1000);
            http.server_bytes(0, refused);
            http.client_bytes(said.len() as u64, b" x");
            assert!(matches!(http.verb(0), Verb::End(_)));
        }
    }
    let first = [POST, connect, b"\x16\x03"].concat();
    let mut http = told(&first, b"", 1000);
    http.server_bytes(0, &[SHORT, b"HTTP/1.1 200 OK\r\n\r\n"].concat());
    assert!(matches!(http.verb(0), Verb::End(_)));
}

#[test]
fn what_the_server_says_unasked_belongs_to_the_response_before_it() {
    let end = SHORT.len() as u64;
    let requests = GET.repeat(2);
    for step in [1, 1000] {
        let mut http = told(&requests, &[SHORT, SHORT, b"more"].concat(), step);
        assert_eq!(http.complaint(), Some(UNCLEAR_RESPONSE));
        assert_eq!(http.restart(u64::MAX), Some(point(GET.len(), SHORT.len())));
        assert_eq!(http.verb(2 * end), Verb::Replay);
    }
    // If that was cut off already, no replacement says it again.
    let mut http = told(&requests, &SHORT.repeat(2), 1000);
    let cut = http.restart(2 * end).expect("everything is answered");
    http.restarted(cut);
    http.server_bytes(2 * end, b"more");
    assert!(matches!(http.verb(2 * end), Verb::End(_)));
    let mut other = Http::default();
    assert!(other.restore(&http.save()));
    assert_eq!(other.verb(2 * end), http.verb(2 * end));
    // A server that greets says so to everybody.
    assert_eq!(told(b"", b"SSH-2.0-x\r\n", 1000).verb(0), Verb::Replay);
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
