// SPDX-License-Identifier: GPL-3.0-only
//! Requests and replies as redis-cli 7 and redis-server 7 make them.

use proptest::prelude::*;

use super::*;
use crate::service::dialogue::Talk;
use crate::service::{Service, Verb};

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    bytes.into_bytes()
}

#[derive(Debug)]
struct Said {
    service: Talk<Redis>,
    client: u64,
    server: u64,
}

impl Said {
    fn new() -> Self {
        Self {
            service: Talk::new(Redis::default()),
            client: 0,
            server: 0,
        }
    }

    /// A request byte by byte, and its reply.
    fn exchange(&mut self, words: &[&str], reply: &[u8]) {
        for byte in command(words) {
            self.service.client_bytes(self.client, &[byte]);
            self.client += 1;
        }
        for byte in reply {
            self.service.server_bytes(self.server, &[*byte]);
            self.server += 1;
        }
    }

    /// The client acknowledges everything, and the log is cut. Whether nothing is left of it.
    fn is_cut(&mut self) -> bool {
        let Some(restart) = self.service.restart(self.server) else {
            return false;
        };
        self.service.restarted(restart);
        (restart.client, restart.server) == (self.client, self.server)
    }

    fn ends(&self) -> bool {
        matches!(self.service.verb(self.server), Verb::End(_))
    }
}

#[test]
fn every_form_of_a_reply_is_taken_apart() {
    for reply in [
        &b"+OK\r\n"[..],
        b"-ERR no such key\r\n",
        b":-7\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$6\r\na\r\nb\r\n\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*3\r\n*2\r\n:1\r\n$-1\r\n*0\r\n+x\r\n",
    ] {
        let mut said = Said::new();
        said.exchange(&["get", "a"], reply);
        assert!(said.is_cut(), "{}", reply.escape_ascii());
        said.exchange(&["GET", "b"], b"$1\r\nx\r\n");
        assert!(said.is_cut() && !said.ends());
    }
}

#[test]
fn command_that_changes_something_each_time_is_not_replayed() {
    for words in [
        &["INCR", "n"][..],
        &["LPUSH", "l", "x"],
        &["SET", "a", "1", "NX"],
        &["EVAL", "return 1", "0"],
        &["NEWCOMMAND"],
    ] {
        let mut said = Said::new();
        said.exchange(words, b"");
        assert!(said.ends(), "{words:?}");
        said.exchange(&["SET", "a", "1"], b":1\r\n+OK\r\n");
        assert!(said.ends(), "the client has no reply yet");
        assert!(said.is_cut() && !said.ends());
    }
}

#[test]
fn log_is_kept_from_what_the_session_remembers() {
    let mut said = Said::new();
    said.exchange(&["GET", "a"], b"$1\r\n1\r\n");
    assert!(said.is_cut());
    said.exchange(&["SELECT", "3"], b"+OK\r\n");
    assert!(!said.is_cut() && !said.ends());
    said.exchange(&["INCR", "n"], b":1\r\n");
    assert!(!said.is_cut() && said.ends(), "it would be replayed");
}

#[test]
fn close_is_expected_after_quit() {
    let mut said = Said::new();
    said.exchange(&["QUIT"], b"");
    assert!(!said.service.close_expected(0));
    said.exchange(&[], b"+OK\r\n");
    assert!(said.service.close_expected(5));
}

#[test]
fn what_is_not_followed_is_complained_of_and_ends() {
    for (words, reply) in [
        (&["SUBSCRIBE", "news"][..], &b""[..]),
        (&["multi"], b""),
        (&["GET", "a"], b"%1\r\n"),
        (&["GET", "a"], b":1\r\n:2\r\n"),
    ] {
        let mut said = Said::new();
        said.exchange(words, reply);
        assert!(
            said.service.complaint().is_some() && said.ends(),
            "{words:?}"
        );
    }
    let mut inline = Said::new();
    inline.service.client_bytes(0, b"PING\r\n");
    assert!(inline.service.complaint().is_some());
}

#[test]
fn content_of_a_bulk_string_may_be_left_out() {
    let mut said = Said::new();
    said.exchange(&["GET", "a"], b"$1000\r\nabc");
    said.server += 990;
    said.exchange(&["GET", "a"], b"1234567\r\n$1\r\nx\r\n");
    assert!(said.is_cut());
    said.exchange(&["GET", "a"], b"$10");
    said.server += 1;
    said.exchange(&[], b"\r\n");
    assert!(said.service.complaint().is_some());
}

proptest! {
    #[test]
    fn senseless_streams_never_panic_and_restored_it_says_the_same(
        pieces in proptest::collection::vec((any::<bool>(), 0_u64..9, "[*$:+GET0-9\r\n-]{0,20}"), 0..40),
    ) {
        let mut said = Said::new();
        for (client, skip, text) in pieces {
            let bytes = text.replace('T', "\r\n").into_bytes();
            let mut other = Said::new();
            prop_assert!(other.service.restore(&said.service.save()));
            for service in [&mut said.service, &mut other.service] {
                if client {
                    service.client_bytes(said.client, &bytes);
                } else {
                    service.server_bytes(said.server + skip, &bytes);
                }
            }
            prop_assert_eq!(said.service.save(), other.service.save());
            let len = bytes.len() as u64;
            if client { said.client += len } else { said.server += skip + len }
        }
    }
}
