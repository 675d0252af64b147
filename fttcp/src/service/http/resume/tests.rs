// SPDX-License-Identifier: GPL-3.0-only
//! What is asked for, of which responses, and which answers are taken.

use super::*;

const GET: &str = "GET /file HTTP/1.1\r\nHost: web\r\n\r\n";
const SIZE: u64 = 1_000_000;
const TAG: &str = "ETag: \"5f-9\"\r\n";
const CHANGED: &str =
    "Date: Sun, 06 Nov 1994 09:00:00 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:59:00 GMT\r\n";

fn response(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n{fields}\r\n")
}

fn rest_of(request: &str, response: &str) -> Option<Rest> {
    let wanted = wanted(request.as_bytes())?;
    Rest::of(wanted, response.as_bytes(), 500, false)
}

fn rest(fields: &str) -> Option<Rest> {
    rest_of(GET, &response(fields))
}

fn asked(rest: &Rest, request: &str, at: u64) -> Option<String> {
    let asked = rest.ask(request.as_bytes(), at)?;
    Some(String::from_utf8(asked).expect("it is text"))
}

#[test]
fn rest_is_asked_for_by_range_and_validator() {
    let tagged = rest(TAG).expect("it has a tag");
    let want =
        "GET /file HTTP/1.1\r\nHost: web\r\nRange: bytes=70000-\r\nIf-Range: \"5f-9\"\r\n\r\n";
    assert_eq!(asked(&tagged, GET, 70_500).as_deref(), Some(want));
    // What the client said of ranges is in the way only if it was not heeded.
    let odd = "GET /file HTTP/1.1\r\niF-rANGE: \"x\"\r\nHost: web\r\n\r\n";
    assert_eq!(asked(&tagged, odd, 70_500).as_deref(), Some(want));
    assert_eq!(asked(&tagged, GET, 499), None);
    assert_eq!(asked(&tagged, GET, 500 + SIZE), None);

    let dated = rest(CHANGED).expect("it has a date");
    let asked = asked(&dated, GET, 501).expect("it is within");
    let fields = "Range: bytes=1-\r\nIf-Range: Sun, 06 Nov 1994 08:59:00 GMT\r\n\r\n";
    assert!(asked.ends_with(fields), "{asked}");
}

#[test]
fn range_that_was_asked_for_is_narrowed() {
    let request = |range| format!("GET / HTTP/1.1\r\nRange: {range}\r\nHost: x\r\n\r\n");
    let answer = |code, range: &str| {
        format!("HTTP/1.1 {code} x\r\nContent-Length: 100000\r\n{range}{TAG}\r\n")
    };
    let part = answer(206, "Content-Range: bytes 1000-100999/200000\r\n");
    for range in ["bytes=1000-100999", "bytes=1000-", "bytes=-7"] {
        let rest = rest_of(&request(range), &part).expect("it is a part");
        let want =
            "GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=71000-100999\r\nIf-Range: \"5f-9\"\r\n\r\n";
        assert_eq!(asked(&rest, &request(range), 70_500).as_deref(), Some(want));
    }
    let one = request("bytes=1000-");
    for (request, answer) in [
        (request("bytes=0-1,5-6"), part.clone()),
        (request("lines=0-1"), part.clone()),
        (one.clone(), answer(200, "")),
        (GET.to_owned(), part.clone()),
        (one.clone(), answer(206, "")),
        (
            one.clone(),
            answer(206, "Content-Range: bytes 1000-100999/*\r\n"),
        ),
        (
            one,
            answer(206, "Content-Range: bytes 1000-100998/200000\r\n"),
        ),
    ] {
        assert_eq!(rest_of(&request, &answer), None, "{request} {answer}");
    }
}

#[test]
fn responses_that_cannot_be_told_from_others_are_replayed() {
    for fields in [
        "",
        "ETag: W/\"5f-9\"\r\n",
        "ETag: 5f-9\r\n",
        "ETag: \"a\"\r\nETag: \"b\"\r\n",
        "ETag: W/\"a\"\r\nDate: Sun, 06 Nov 1994 09:00:00 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:00:00 GMT\r\n",
        "Last-Modified: Sun, 06 Nov 1994 08:00:00 GMT\r\n",
        "Date: Sun, 06 Nov 1994 09:00:00 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:59:01 GMT\r\n",
        "Date: x\r\nLast-Modified: Sun, 06 Nov 1994 08:59:01 GMT\r\n",
        "ETag: \"a\"\r\nAccept-Ranges: none\r\n",
        "ETag: \"a\"\r\nTransfer-Encoding: chunked\r\n",
        "ETag: \"a\"\r\nContent-Length: 7\r\n",
    ] {
        assert_eq!(rest(fields), None, "{fields}");
    }
    let coded = "Content-Encoding: gzip\r\n";
    assert_eq!(rest(&format!("{CHANGED}{coded}")), None);
    assert!(rest(&format!("{TAG}{coded}")).is_some());
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\nETag: \"a\"\r\n\r\n";
    assert_eq!(rest_of(GET, short), None);
    let not_found = response(TAG).replace("200", "404");
    assert_eq!(rest_of(GET, &not_found), None);
}

#[test]
fn only_plain_gets_are_taken_up() {
    for request in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "PUT / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nRange: bytes=0-1\r\nRange: bytes=0-1\r\n\r\n",
    ] {
        assert_eq!(wanted(request.as_bytes()), None, "{request}");
    }
}

#[test]
fn little_is_rather_said_again() {
    let rest = rest(TAG).expect("it has a tag");
    assert!(!rest.is_worth_it(0));
    assert!(!rest.is_worth_it(500 + LEAST));
    assert!(rest.is_worth_it(501 + LEAST));
    assert!(!rest.is_worth_it(500 + SIZE));
}

/// The answer to a request for what begins at byte 70,000.
fn answer(changes: &[(&str, &str)]) -> String {
    let right = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 930000\r\nContent-Range: bytes 70000-999999/1000000\r\n{TAG}\r\n"
    );
    changes
        .iter()
        .fold(right, |answer, (from, to)| answer.replace(from, to))
}

#[test]
fn answer_of_the_same_version_is_taken_and_its_head_cut_off() {
    let rest = rest(TAG).expect("it has a tag");
    let answer = answer(&[]);
    for end in 0..answer.len() {
        let partial = rest.judge(&answer.as_bytes()[..end], 70_500);
        assert_eq!(partial, Heard::Partial, "{end}");
    }
    let more = format!("{answer}body");
    let head = Heard::Head(answer.len());
    assert_eq!(rest.judge(more.as_bytes(), 70_500), head);
    let early = format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{answer}");
    let head = Heard::Head(early.len());
    assert_eq!(rest.judge(early.as_bytes(), 70_500), head);
}

#[test]
fn other_answers_are_refused() {
    let rest = rest(TAG).expect("it has a tag");
    for changes in [
        &[("206 Partial Content", "200 OK")][..],
        &[("206", "416")],
        &[("206", "101")],
        &[("5f-9", "5f-8")],
        &[("\"5f-9\"", "W/\"5f-9\"")],
        &[("bytes 70000", "bytes 70001")],
        &[("-999999/", "-999998/")],
        &[("/1000000", "/1000001")],
        &[("/1000000", "/*")],
        &[("930000", "929999")],
        &[("930000", "+930000")],
        &[("Content-Length: 930000\r\n", "")],
        &[("ETag", "Transfer-Encoding: chunked\r\nETag")],
        &[("ETag", "Content-Encoding: gzip\r\nETag")],
        &[("ETag", "Connection: close\r\nETag")],
        &[("ETag", "ETag: \"5f-9\"\r\nETag")],
        &[("HTTP/1.1", "SSH-2.0")],
    ] {
        let answer = answer(changes);
        let judged = rest.judge(answer.as_bytes(), 70_500);
        assert!(matches!(judged, Heard::Refused(_)), "{answer}: {judged:?}");
    }
    let endless = format!("HTTP/1.1 206 x\r\nX: {}", "x".repeat(MAX_ANSWER));
    let judged = rest.judge(endless.as_bytes(), 70_500);
    assert!(matches!(judged, Heard::Refused(_)));
}

#[test]
fn dated_answer_must_have_the_same_date() {
    let rest = rest(CHANGED).expect("it has a date");
    let right = "Last-Modified: Sun, 06 Nov 1994 08:59:00 GMT\r\n";
    let judged = rest.judge(answer(&[(TAG, right)]).as_bytes(), 70_500);
    assert!(matches!(judged, Heard::Head(_)), "{judged:?}");
    let other = right.replace("08:59", "08:58");
    let judged = rest.judge(answer(&[(TAG, &other)]).as_bytes(), 70_500);
    assert!(matches!(judged, Heard::Refused(_)), "{judged:?}");
}
