// SPDX-License-Identifier: GPL-3.0-only
//! Of what the kernel forwards, the plug-in is shown no more than the beginning of each answer.

use super::*;

/// A connection, with how far its streams are.
#[derive(Default)]
struct Shown {
    http: Http,
    asked: usize,
    said: usize,
}

impl Shown {
    fn asks(&mut self, request: &[u8]) {
        self.http.client_bytes(self.asked as u64, request);
        self.asked += request.len();
    }

    /// The server says all of `answer`.
    fn says(&mut self, answer: &[u8]) {
        let shown = &answer[..answer.len().min(CAPTURE as usize)];
        self.http.server_bytes(self.said as u64, shown);
        self.said += answer.len();
    }

    /// The client has everything.
    fn cut(&mut self) -> Option<Restart> {
        let cut = self.http.restart(self.said as u64);
        if let Some(cut) = cut {
            self.http.restarted(cut);
        }
        cut
    }

    fn here(&self) -> Restart {
        point(self.asked, self.said)
    }
}

/// A response of many such chunks.
fn chunked(size: usize) -> Vec<u8> {
    let mut all = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        all.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        all.resize(all.len() + size, b'x');
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

/// A response of known length, with this line in its head.
fn lengthy(line: &str) -> Vec<u8> {
    let mut all = format!("HTTP/1.1 200 OK\r\n{line}Content-Length: 9000\r\n\r\n").into_bytes();
    all.resize(all.len() + 9000, b'x');
    all
}

#[test]
fn long_chunked_response_ends_where_the_next_begins() {
    // What is shown may end in a chunk, or anywhere near its end.
    for size in [1000, 1337, 4037, 4038, 4040, 4042, 4043, 100_000] {
        let answer = chunked(size);
        let mut shown = Shown::default();
        shown.asks(POST);
        shown.says(&answer);
        assert_eq!(shown.cut(), None);
        for _ in 0..3 {
            let before = shown.here();
            shown.asks(GET);
            assert!(shown.cut().is_none());
            shown.says(&answer);
            assert_eq!(shown.cut(), Some(before), "{size}");
            assert_eq!(shown.http.verb(0), Verb::Replay);
        }
        shown.asks(GET);
        shown.says(SHORT);
        let end = shown.here();
        assert_eq!(shown.cut(), Some(end));
    }
}

#[test]
fn what_looks_like_a_response_in_a_chunk_is_none() {
    let answer = chunked(100_000);
    let mut shown = Shown::default();
    shown.asks(GET);
    shown.says(&answer);
    shown.asks(GET);
    shown.http.server_bytes(50_000, SHORT);
    assert_eq!(shown.cut(), None);
    shown.says(SHORT);
    let end = shown.here();
    assert_eq!(shown.cut(), Some(end));
}

#[test]
fn response_of_known_length_ends_when_the_client_has_it() {
    for request in [GET, POST] {
        let mut shown = Shown::default();
        shown.asks(request);
        shown.says(&lengthy(""));
        let (here, end) = (shown.here(), shown.said as u64);
        assert!(shown.http.under_way(end - 1).is_some());
        assert_eq!(shown.http.under_way(end), None);
        assert!(!shown.http.answered(end - 1) && shown.http.answered(end));
        assert!(!shown.http.close_expected(end));
        assert_eq!(shown.http.restart(end - 1), None);
        assert_eq!(shown.cut(), Some(here));
        assert_eq!(shown.http.verb(end), Verb::Replay);
        // What comes next begins there.
        shown.asks(GET);
        shown.says(SHORT);
        let here = shown.here();
        assert_eq!(shown.cut(), Some(here));
    }
}

#[test]
fn client_that_may_lack_the_end_of_a_known_length_is_waited_for() {
    let mut shown = Shown::default();
    shown.asks(POST);
    shown.says(&lengthy(""));
    let end = shown.said as u64;
    let whole = Once {
        answered: Some(end),
        open: false,
    };
    let part = Once {
        answered: None,
        open: true,
    };
    assert_eq!(
        (shown.http.once(end - 1), shown.http.once(end)),
        (part, whole)
    );
    shown.asks(GET);
    assert_eq!(shown.http.once(end), whole);
    shown.asks(POST);
    let both = Once {
        open: true,
        ..whole
    };
    assert_eq!(shown.http.once(end), both);
}

#[test]
fn close_behind_a_known_length_is_expected_of_one_who_said_so() {
    let old = b"GET / HTTP/1.0\r\n\r\n";
    for (request, line) in [(GET, "Connection: close\r\n"), (old, "")] {
        let mut shown = Shown::default();
        shown.asks(request);
        shown.says(&lengthy(line));
        let end = shown.said as u64;
        for _ in 0..2 {
            assert!(!shown.http.close_expected(end - 1));
            assert!(shown.http.close_expected(end));
            assert!(!shown.http.close_expected(end + 1));
            shown.cut();
        }
    }
}

#[test]
fn client_that_may_have_the_whole_response_awaits_nothing_until_it_asks_again() {
    for size in [1000, 100_000] {
        let answer = chunked(size);
        let mut shown = Shown::default();
        for _ in 0..3 {
            shown.asks(GET);
            // A server that hangs now is noticed, whatever was left out before.
            assert!(shown.http.awaits(shown.said as u64), "{size}");
            let begun = shown.said as u64 + 3000;
            shown.says(&answer);
            assert!(shown.http.awaits(begun));
            assert!(!shown.http.awaits(shown.said as u64), "{size}");
        }
    }
    // It is known that there is more of a chunk.
    let mut shown = Shown::default();
    shown.asks(GET);
    shown.says(&chunked(100_000));
    assert!(shown.http.awaits(100_000) && !shown.http.awaits(100_200));
    // The second of two that were asked together was left out.
    let mut shown = Shown::default();
    shown.asks(&GET.repeat(2));
    shown.says(&[lengthy(""), lengthy("")].concat());
    assert!(!shown.http.awaits(shown.said as u64));
}
