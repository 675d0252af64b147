// SPDX-License-Identifier: GPL-3.0-only
//! The kv demo's protocol, as its definition tells it.

use proptest::prelude::*;

use super::*;
use crate::service::{Service, Verb};

const KV: &str = include_str!("../../../examples/kv.toml");

/// A connection: what was said, and how far the client has acknowledged.
struct Said {
    service: Talk<DefinedProtocol>,
    client: u64,
    server: u64,
}

impl Said {
    fn new(text: &str) -> Self {
        Self {
            service: Defined::parse(text).unwrap().plugin(),
            client: 0,
            server: 0,
        }
    }

    fn ask(&mut self, bytes: &[u8]) {
        self.service.client_bytes(self.client, bytes);
        self.client += bytes.len() as u64;
    }

    fn say(&mut self, bytes: &[u8]) {
        self.service.server_bytes(self.server, bytes);
        self.server += bytes.len() as u64;
    }

    /// The client acknowledges everything; the point that its plug-in names is taken.
    fn cut(&mut self) -> Option<(u64, u64)> {
        let restart = self.service.restart(self.server)?;
        self.service.restarted(restart);
        Some((restart.client, restart.server))
    }

    fn ends(&self) -> bool {
        matches!(self.service.verb(self.server), Verb::End(_))
    }
}

#[test]
fn replay_begins_behind_the_last_answer_that_the_client_has() {
    let mut kv = Said::new(KV);
    kv.ask(b"SET a 1\nGET a\nGE");
    kv.say(b"OK\n");
    assert_eq!(kv.service.restart(2), None);
    assert_eq!(kv.cut(), Some((8, 3)));
    assert_eq!(kv.cut(), None);
    kv.say(b"1\n");
    assert_eq!(kv.cut(), Some((14, 5)));
    kv.ask(b"T b\n");
    assert_eq!(kv.cut(), None);
    assert!(!kv.ends());
}

#[test]
fn answer_of_many_lines_ends_with_its_last() {
    let mut kv = Said::new(KV);
    kv.ask(b"LIST\n");
    kv.say(b"a\nENDING\n");
    assert_eq!(kv.cut(), None);
    kv.say(b"END\n");
    assert_eq!(kv.cut(), Some((5, 13)));
}

#[test]
fn request_that_must_not_be_issued_twice_ends_the_connection_until_it_is_cut_away() {
    let mut kv = Said::new(KV);
    kv.ask(b"ADD n");
    assert!(!kv.ends(), "it is not whole, and not carried out");
    kv.ask(b" 1\n");
    assert!(kv.ends());
    kv.say(b"1\n");
    // The client has it, but it may be that the streams cannot be cut there.
    let restart = kv.service.restart(2);
    assert!(kv.ends());
    assert_eq!(kv.service.restart(2), restart);
    kv.cut();
    assert!(!kv.ends());
}

#[test]
fn log_is_kept_from_what_the_session_remembers_until_it_forgets() {
    let mut kv = Said::new(KV);
    kv.ask(b"GET a\nUSE s\nGET b\n");
    kv.say(b"1\nOK\n2\n");
    assert_eq!(kv.cut(), Some((6, 2)));
    kv.ask(b"ADD n 1\n");
    kv.say(b"1\n");
    assert_eq!(kv.cut(), None);
    assert!(kv.ends(), "a replay would add once more");
    kv.ask(b"RESET\nUSE t\nGET c\n");
    kv.say(b"OK\nOK\n3\n");
    let reset = b"GET a\nUSE s\nGET b\nADD n 1\nRESET\n".len() as u64;
    assert_eq!(kv.cut(), Some((reset, 12)));
    assert!(!kv.ends());
}

#[test]
fn close_is_expected_behind_the_answer_to_the_last_request() {
    let mut kv = Said::new(KV);
    kv.ask(b"GET a\nQUIT\n");
    kv.say(b"1\n");
    assert!(!kv.service.close_expected(2));
    kv.say(b"BYE\n");
    assert!(kv.service.close_expected(6));
    assert!(!kv.service.close_expected(5));
    kv.cut();
    assert!(kv.service.close_expected(6));
}

#[test]
fn request_without_answer_is_cut_away_with_a_later_one_that_has_one() {
    let text = format!("{KV}\n[[command]]\nmatch = [\"TELL\"]\nanswers = \"none\"\n");
    let mut kv = Said::new(&text);
    kv.ask(b"TELL x\n");
    assert_eq!(kv.cut(), None, "nobody knows whether it was carried out");
    kv.ask(b"PING\nTELL y\n");
    kv.say(b"PONG\n");
    assert_eq!(kv.cut(), Some((12, 5)));
}

impl Said {
    /// Where the request under way is, and whether none of its answer was said.
    fn under_way(&self) -> Option<(std::ops::Range<u64>, bool)> {
        let under_way = self.service.under_way(self.server)?;
        Some((under_way.request, under_way.untouched))
    }
}

#[test]
fn request_under_way_is_the_first_whose_answer_is_not_whole() {
    let text = format!("{KV}\n[[command]]\nmatch = [\"TELL\"]\nanswers = \"none\"\n");
    let mut kv = Said::new(&text);
    assert_eq!(kv.under_way(), None);
    kv.ask(b"TELL x\nGET a\nLIST\n");
    assert_eq!(kv.under_way(), Some((7..13, true)));
    kv.say(b"1\n");
    assert_eq!(kv.under_way(), Some((13..18, true)));
    kv.say(b"a\nEN");
    assert_eq!(kv.under_way(), Some((13..18, false)));
    kv.say(b"D\n");
    assert_eq!(kv.under_way(), None);
    kv.ask(b"GET");
    assert_eq!(kv.under_way(), None, "it is not whole");
    kv.ask(b" a\nHELP\n");
    assert_eq!(kv.under_way(), None, "nothing is understood any more");
}

#[test]
fn request_under_way_is_the_same_while_answers_before_it_are_said_again() {
    let mut kv = Said::new(&format!("greeting = true\n{KV}"));
    kv.say(b"hello\n");
    kv.ask(b"USE s\nGET a\n");
    kv.say(b"OK\n");
    assert_eq!(kv.under_way(), Some((6..12, true)));
    // Twice: also the second replacement dies before it has said anything again.
    for _ in 0..2 {
        kv.service.rewind(Restart::default());
        kv.service.client_bytes(0, b"USE s\nGET a\n");
        assert_eq!(kv.under_way().map(|it| it.0), Some(6..12));
    }
    kv.service.server_bytes(0, b"hello\nOK\n");
    assert_eq!(kv.under_way(), Some((6..12, true)));
    kv.say(b"1\n");
    kv.service.rewind(Restart::default());
    kv.service.client_bytes(0, b"USE s\nGET a\n");
    assert_eq!(kv.under_way(), None, "all is answered");
}

#[test]
fn greeting_is_said_by_each_server_so_that_nothing_is_cut() {
    let mut kv = Said::new(&format!("greeting = true\n{KV}"));
    assert!(!kv.service.truncates());
    kv.say(b"hello\n");
    kv.ask(b"GET a\n");
    kv.say(b"1\n");
    assert_eq!(kv.cut(), None);
    assert_eq!(kv.service.complaint(), None);
}

#[test]
fn what_the_definition_does_not_tell_is_complained_of_once_and_kept() {
    for (asked, said) in [
        (&b"HELLO\n"[..], &b""[..]),
        (b"", b"1\n"),
        (&[b'x'; 5000], b""),
        (b"GET\n", &[b'x'; 5000]),
    ] {
        let mut kv = Said::new(KV);
        kv.ask(b"GET a\n");
        kv.say(b"1\n");
        kv.ask(asked);
        kv.say(said);
        assert!(kv.service.complaint().is_some());
        assert_eq!(kv.service.complaint(), None);
        assert!(kv.ends(), "it may be that it must not be issued twice");
        assert!(!kv.service.close_expected(kv.server));
    }
    let harmless = KV.replace("verb = \"end\"", "");
    let mut kv = Said::new(&harmless);
    kv.ask(b"HELLO\n");
    assert!(!kv.ends());
}

#[test]
fn restored_anywhere_it_goes_on_as_before() {
    let asked = b"SET a 1\nUSE s\nLIST\nRESET\nADD n 1\nQUIT\n";
    let said = b"OK\nOK\na\nEND\nOK\n1\nBYE\n";
    let mut whole = Said::new(KV);
    whole.ask(asked);
    whole.say(said);
    for cut in 0..asked.len() {
        for half in 0..said.len() {
            let mut first = Said::new(KV);
            first.ask(&asked[..cut]);
            let may = said.len().min(half * cut / asked.len());
            // No answer comes before its request.
            let lines = asked[..cut].iter().filter(|byte| **byte == b'\n').count();
            let may = if lines < 6 { 0 } else { may };
            first.say(&said[..may]);
            let mut second = Said::new(KV);
            assert!(second.service.restore(&first.service.save()));
            (second.client, second.server) = (first.client, first.server);
            second.ask(&asked[cut..]);
            second.say(&said[may..]);
            assert_eq!(second.service.save(), whole.service.save());
        }
    }
    assert!(!Said::new(KV).service.restore(&[9; 40]));
}

proptest! {
    #[test]
    fn senseless_streams_never_panic(
        pieces in proptest::collection::vec((any::<bool>(), 0_u64..20, proptest::collection::vec(any::<u8>(), 0..50)), 0..30),
        lengths in any::<bool>(),
    ) {
        let lengths = lengths.then(|| KV.replace("{ delimiter = \"\\n\" }", "{ length = { offset = 1, width = 2, adjust = -1 } }"));
        let mut talk = Said::new(lengths.as_deref().unwrap_or(KV));
        for (client, skip, bytes) in pieces {
            if client {
                talk.ask(&bytes);
            } else {
                talk.server += skip;
                talk.say(&bytes);
            }
            let before = talk.service.restart(talk.server);
            prop_assert!(before.is_none_or(|at| at.client <= talk.client && at.server <= talk.server));
        }
        let mut other = Said::new(lengths.as_deref().unwrap_or(KV));
        prop_assert!(other.service.restore(&talk.service.save()));
    }
}
