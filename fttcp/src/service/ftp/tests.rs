// SPDX-License-Identifier: GPL-3.0-only
//! Sessions as clients and servers hold them.

mod aborted;
mod active;
mod between;
mod durable;
mod logins;
mod once;
mod suspect;

use std::net::Ipv4Addr;

use super::*;
use crate::service::Goes;

/// Both streams so far.
#[derive(Default)]
struct Talk {
    ftp: Ftp,
    said: [u64; 2],
    heard: Vec<News>,
}

impl Talk {
    /// `C: ` and `S: ` lines, each one segment.
    fn new(lines: &[&str]) -> Self {
        let mut talk = Self::default();
        talk.more(lines);
        talk
    }

    fn more(&mut self, lines: &[&str]) {
        for line in lines {
            let (from, text) = line.split_once(": ").expect("who says it");
            self.say(from == "S", format!("{text}\r\n").as_bytes());
        }
    }

    fn say(&mut self, server: bool, bytes: &[u8]) {
        let at = &mut self.said[usize::from(server)];
        if server {
            self.ftp.server_bytes(*at, bytes);
        } else {
            self.ftp.client_bytes(*at, bytes);
        }
        *at += bytes.len() as u64;
        self.heard.extend(std::iter::from_fn(|| self.ftp.news()));
    }

    fn heard(&mut self) -> Vec<News> {
        std::mem::take(&mut self.heard)
    }
}

const LOGIN: [&str; 5] = [
    "S: 220 here",
    "C: USER bob",
    "S: 331 password?",
    "C: PASS x",
    "S: 230 in",
];
const PORT: Option<(Option<Ipv4Addr>, u16)> = Some((Some(Ipv4Addr::new(10, 0, 0, 2)), 5000));

#[test]
fn passive_ports_are_expected_until_their_transfer_is_over() {
    let mut talk = Talk::new(&LOGIN);
    assert_eq!(talk.heard(), []);
    talk.more(&["C: PASV", "S: 227 Passive (10,0,0,2,19,136)."]);
    assert_eq!(talk.heard(), [News::Expects(PORT)]);
    talk.more(&["C: RETR x", "S: 150 coming"]);
    assert_eq!(talk.heard(), []);
    let link = Link::Expects(Some(Ipv4Addr::new(10, 0, 0, 2)), 5000);
    assert_eq!(talk.ftp.link(), Some(link));
    talk.more(&["S: 226 done"]);
    assert_eq!(talk.heard(), [News::Over]);
    assert_eq!(talk.ftp.link(), None);
    talk.more(&["C: EPSV", "S: 229 Extended (|||5001|)"]);
    assert_eq!(talk.heard(), [News::Expects(Some((None, 5001)))]);
    talk.more(&["C: PORT 10,0,0,1,4,4", "S: 200 ok"]);
    let at = "10.0.0.1:1028".parse().expect("an end");
    assert_eq!(talk.heard(), [News::Opens(at)]);
}

#[test]
fn refused_and_aborted_transfers_are_over_too() {
    for replies in [
        &["S: 550 none"][..],
        &["S: 150 x", "S: 426 cut"],
        &["S: 421 bye"],
    ] {
        let mut talk = Talk::new(&LOGIN);
        talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: RETR x"]);
        talk.heard();
        talk.more(replies);
        assert_eq!(talk.heard(), [News::Over], "{replies:?}");
    }
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: RETR x", "S: 150 x"]);
    talk.heard();
    talk.say(false, b"\xff\xf4\xff\xf2ABOR\r\n");
    talk.more(&["S: 426 cut", "S: 226 aborted"]);
    assert_eq!(talk.heard(), [News::Over, News::Over]);
    assert!(talk.ftp.waiting.is_empty());
}

#[test]
fn status_is_answered_before_the_transfer_that_was_asked_for_earlier() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: RETR x", "S: 150 x"]);
    talk.heard();
    talk.more(&["C: STAT", "S: 213-half", "S: 213 done"]);
    assert_eq!(talk.heard(), []);
    talk.more(&["S: 226 done"]);
    assert_eq!(talk.heard(), [News::Over]);
}

#[test]
fn close_is_expected_after_the_last_word_only() {
    let mut talk = Talk::new(&LOGIN);
    assert!(!talk.ftp.close_expected(talk.said[1]));
    talk.more(&["C: QUIT", "S: 221-bye"]);
    assert!(!talk.ftp.close_expected(talk.said[1]));
    talk.more(&["S: 221 bye"]);
    assert!(talk.ftp.close_expected(talk.said[1]));
    assert!(!talk.ftp.close_expected(talk.said[1] - 1));
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["S: 421 timeout"]);
    assert!(talk.ftp.close_expected(talk.said[1]));
}

#[test]
fn encrypted_sessions_are_told_of() {
    let mut talk = Talk::new(&["S: 220 here", "C: AUTH TLS", "S: 530 no", "C: AUTH TLS"]);
    assert_eq!(talk.heard(), []);
    talk.more(&["S: 234 go"]);
    assert!(talk.heard().contains(&News::Encrypted));
    talk.say(false, b"\x16\x03\x01");
    assert_eq!(talk.heard(), []);
}

#[test]
fn what_is_not_ftp_is_replayed_whole_and_told_once() {
    let long = format!("C: {}", "a".repeat(command::LONGEST + 1));
    let many: Vec<&str> = std::iter::repeat_n("C: NOOP", MAX_WAITING + 1).collect();
    for lines in [
        &["S: SSH-2.0-OpenSSH"][..],
        &["S: 220 here", "S: 226 unasked"],
        &["S: 220 here", &long],
        &many,
    ] {
        let mut talk = Talk::new(lines);
        talk.more(&["C: EPSV", "S: 229 (|||5001|)"]);
        assert!(talk.ftp.complaint().is_some());
        assert!(talk.ftp.complaint().is_none(), "it is said once");
        assert!(!talk.ftp.sees_all() && talk.ftp.link().is_none());
    }
}

#[test]
fn bytes_in_any_pieces_mean_the_same_and_so_does_a_restart_anywhere() {
    let exchange: [(bool, &[u8]); 6] = [
        (true, b"220-a\r\n220 b\r\n"),
        (false, b"USER bob\r\n"),
        (true, b"230 in\n"),
        (false, b"\xff\xf2PASV\r\n"),
        (true, b"227 x (10,0,0,2,19,136)\r\n"),
        (false, b"RETR x"),
    ];
    let mut talk = Talk::default();
    for (server, bytes) in exchange {
        for &byte in bytes {
            let mut next = Ftp::default();
            assert!(next.restore(&talk.ftp.save()));
            talk.ftp = next;
            talk.say(server, &[byte]);
        }
    }
    assert_eq!(talk.heard(), [News::Expects(PORT)]);
    let mut again = Ftp::default();
    assert!(again.restore(&talk.ftp.save()));
    assert_eq!(again.link(), talk.ftp.link());
    assert!(!Ftp::default().restore(&[7; 3]));
}

/// The commands with which another server goes on, and from where in the client's stream.
fn told(talk: &Talk, acknowledged: u64) -> Option<(String, u64)> {
    match talk.ftp.verb(acknowledged) {
        Verb::Resume(at) => {
            assert_eq!(at.start, at.end);
            let told = talk.ftp.ask(acknowledged, &[])?;
            Some((String::from_utf8_lossy(&told).into_owned(), at.start))
        }
        Verb::Replay | Verb::End(_) => None,
    }
}

#[test]
fn another_server_is_told_the_session_and_no_transfer() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: CWD in", "S: 250 ok", "C: EPSV", "S: 229 (|||5001|)"]);
    talk.more(&["C: RETR x", "S: 150 x", "S: 226 done"]);
    let [server, client] = [talk.said[1], talk.said[0]];
    let want = Some(("USER bob\r\nPASS x\r\nCWD in\r\n".to_owned(), client));
    assert_eq!(told(&talk, server), want);
    // Told of it early or late, it says the same.
    talk.ftp.restart(server);
    assert_eq!(told(&talk, server), want);
    // What was not answered is told as it was said.
    talk.more(&["C: CWD out"]);
    assert_eq!(told(&talk, server), want);
}

#[test]
fn what_the_client_may_not_have_heard_is_repeated_to_it() {
    let mut talk = Talk::new(&LOGIN);
    let heard = talk.said[1];
    talk.more(&["C: CWD in", "S: 250 ok"]);
    let [client, all] = talk.said;
    for acknowledged in heard..=all {
        let (told, from) = told(&talk, acknowledged).expect("it is short");
        assert!(told.ends_with("CWD in\r\n"), "{told}");
        assert_eq!(from, client);
        let lacks = &b"250 ok\r\n"[(acknowledged - heard) as usize..];
        assert_eq!(talk.ftp.said(acknowledged), (all, lacks.to_vec()));
    }
    // Half a reply is none: it is asked for again.
    talk.more(&["C: CWD out"]);
    talk.say(true, b"250 o");
    assert_eq!(talk.ftp.said(talk.said[1]), (all, Vec::new()));
    assert_eq!(told(&talk, talk.said[1]).map(|it| it.1), Some(client));
    // Nor is it known what a client lacks that has not acknowledged the login.
    talk.ftp.restart(heard);
    assert_eq!(told(&talk, heard - 1), None);
}

const STANDS: Stands = Stands {
    from: 5,
    said: 9,
    heard: 0,
};

/// The commands after the login, and how the data connection goes on.
fn moves(talk: &mut Talk, stands: Option<Stands>) -> (String, Moves) {
    let at = talk.said[1];
    let moves = talk.ftp.linked_stands(at, stands);
    let (told, _) = told(talk, at).expect("it is short");
    let rest = told.strip_prefix("USER bob\r\nPASS x\r\n");
    (rest.expect("the login comes first").to_owned(), moves)
}

#[test]
fn download_under_way_is_asked_for_from_where_the_client_has_it() {
    let begun = ["C: EPSV", "S: 229 (|||5001|)", "C: RETR x", "S: 150 x"];
    let asks = |linked| Moves {
        asks: true,
        linked: Some(linked),
    };
    for (before, want, goes) in [
        (
            &["C: TYPE I", "S: 200 x"][..],
            "TYPE I\r\nEPSV\r\nREST 5\r\nRETR x\r\n",
            Goes::From(5),
        ),
        (
            &["C: TYPE I", "S: 200 x", "C: REST 10", "S: 350 x"],
            "TYPE I\r\nEPSV\r\nREST 15\r\nRETR x\r\n",
            Goes::From(5),
        ),
        (&[], "EPSV\r\nRETR x\r\n", Goes::Again),
        (
            &["C: REST 10", "S: 350 x"],
            "EPSV\r\nREST 10\r\nRETR x\r\n",
            Goes::Again,
        ),
        (
            &[
                "C: TYPE I",
                "S: 200 x",
                "C: SIZE x",
                "S: 213 9",
                "C: SIZE y",
                "S: 213 8",
            ],
            "TYPE I\r\nSIZE x\r\nEPSV\r\nREST 5\r\nRETR x\r\n",
            Goes::From(5),
        ),
    ] {
        // The port is asked for before the offset is told, or behind that.
        let (first, last) = before.split_at(before.len().saturating_sub(2));
        for order in [[first, &begun[..2], last], [first, last, &begun[..2]]] {
            let mut talk = Talk::new(&LOGIN);
            talk.more(&order.concat());
            talk.more(&begun[2..]);
            assert_eq!(
                moves(&mut talk, Some(STANDS)),
                (want.to_owned(), asks(goes)),
                "{before:?}"
            );
            let end = talk.said[0];
            assert_eq!(told(&talk, talk.said[1]).map(|it| it.1), Some(end));
        }
    }
}

#[test]
fn upload_under_way_is_said_again_unless_it_may_be_there_already() {
    for (command, again) in [("STOR x", true), ("APPE x", false), ("STOU", false)] {
        let mut talk = Talk::new(&LOGIN);
        talk.more(&["C: PASV", "S: 227 Passive (10,0,0,2,19,136)."]);
        talk.more(&[&format!("C: {command}"), "S: 125 go"]);
        let stands = Stands {
            from: 0,
            said: 0,
            heard: 70,
        };
        let (told, goes) = moves(&mut talk, Some(stands));
        let want = if again {
            format!("PASV\r\n{command}\r\n")
        } else {
            String::new()
        };
        assert_eq!(told, want);
        assert_eq!(goes.linked, again.then_some(Goes::Again));
    }
}

#[test]
fn port_that_was_announced_and_not_used_is_asked_for_again() {
    let asks = |linked| Moves { asks: true, linked };
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)"]);
    let none = Some(Stands::default());
    let again = asks(Some(Goes::Again));
    assert_eq!(moves(&mut talk, none), ("EPSV\r\n".to_owned(), again));
    // It has come, and is over.
    assert_eq!(moves(&mut talk, None), (String::new(), Moves::default()));
    talk.more(&["C: LIST"]);
    let (told, goes) = moves(
        &mut talk,
        Some(Stands {
            from: 0,
            said: 0,
            heard: 0,
        }),
    );
    assert_eq!((told.as_str(), goes), ("EPSV\r\n", asks(Some(Goes::Again))));
    let mut other = Talk::new(&LOGIN);
    other.more(&["C: EPSV", "S: 229 (|||5001|)", "C: APPE x"]);
    let heard = Stands {
        from: 0,
        said: 0,
        heard: 1,
    };
    assert_eq!(
        moves(&mut other, Some(heard)),
        (String::new(), Moves::default())
    );
}

#[test]
fn new_port_is_told_as_soon_as_it_is_known() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: TYPE I", "S: 200 x", "C: EPSV", "S: 229 (|||5001|)"]);
    talk.more(&["C: RETR x", "S: 150 x (9 bytes)"]);
    talk.heard();
    let at = talk.said[1];
    talk.ftp.linked_stands(at, Some(STANDS));
    let mut answer = b"220 a\r\n331 b\r\n230 c\r\n200 d\r\n229 (|||6001".to_vec();
    talk.ftp.hears(at, &answer);
    assert_eq!(talk.heard(), []);
    talk.say(false, b"");
    answer.extend(b"|)\r\n");
    talk.ftp.hears(at, &answer);
    talk.ftp.hears(at, &answer);
    talk.say(false, b"");
    assert_eq!(talk.heard(), [News::Moved(6001)]);
    assert_eq!(talk.ftp.linked_port(), Some(6001));
    assert_eq!(talk.ftp.judge(at, &answer), Heard::Partial);
    answer.extend(b"350 f\r\n");
    let judge = |last: &str| talk.ftp.judge(at, &[&answer, last.as_bytes()].concat());
    // It may tell the size of the file, or of the rest.
    for (last, whole) in [
        ("150 x (9 bytes)\r\n", true),
        ("150 x (4 bytes)\r\n", true),
        ("226 x\r\n", false),
    ] {
        let length = answer.len() + if whole { last.len() } else { 0 };
        assert_eq!(judge(last), Heard::Head(length), "{last}");
    }
    assert_eq!(
        judge("150 x (8 bytes)\r\n"),
        Heard::Refused("the file has changed")
    );
    assert!(matches!(judge("550 none\r\n"), Heard::Refused(_)));
    // Then it is asked without the transfer; if that is refused too, all is said again.
    assert!(matches!(talk.ftp.refused(), Verb::Resume(_)));
    talk.say(false, b"");
    assert!(talk.heard().contains(&News::Lost));
    let (told, _) = told(&talk, at).expect("it is short");
    assert_eq!(told, "USER bob\r\nPASS x\r\nTYPE I\r\n");
    assert_eq!(talk.ftp.refused(), Verb::Replay);
}

#[test]
fn greeting_of_another_server_is_swallowed_before_the_login() {
    let talk = Talk::new(&["S: 220 here", "C: USER bob"]);
    let at = talk.said[1];
    assert_eq!(told(&talk, at), Some((String::new(), 0)));
    assert_eq!(talk.ftp.judge(at, b""), Heard::Partial);
    assert_eq!(talk.ftp.judge(at, b"220 there\r\n331"), Heard::Head(11));
}

#[test]
fn session_that_changed_something_is_never_replayed_whole() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: DELE x", "S: 250 gone", "C: XYZZ", "S: 200 done"]);
    assert!(matches!(talk.ftp.verb(talk.said[1]), Verb::End(_)));
}

#[test]
fn end_of_a_download_can_be_withheld_and_nothing_else() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: RETR x"]);
    let at = talk.said[1];
    let from = |talk: &Talk, bytes: &[u8]| talk.ftp.withholds(talk.said[1], bytes);
    assert_eq!(from(&talk, b"150 x\r\n"), None);
    talk.more(&["S: 150 x"]);
    assert_eq!(from(&talk, b"226 x\r\n"), Some(at + 7));
    assert_eq!(from(&talk, b"2"), Some(at + 7));
    assert_eq!(from(&talk, b"426 x\r\n"), None);
    assert_eq!(talk.ftp.withholds(at, b"150 x\r\n226 x\r\n"), Some(at + 7));
    assert_eq!(
        from(&talk, b"150-x\r\n2\r\n150 x\r\n226"),
        Some(at + 7 + 17)
    );
    talk.more(&["C: ABOR"]);
    assert_eq!(from(&talk, b"226 x\r\n"), None);
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: STOR x", "S: 150 x"]);
    assert_eq!(from(&talk, b"226 x\r\n"), None);
}

#[test]
fn replies_to_the_session_are_swallowed_to_the_last_and_no_further() {
    let talk = Talk::new(&LOGIN);
    let judge = |answer: &str| talk.ftp.judge(talk.said[1], answer.as_bytes());
    let replies = "220-other\r\n220 server\r\n331 x\r\n230-a\r\n b\r\n230 in\r\n";
    assert_eq!(judge(&format!("{replies}226")), Heard::Head(replies.len()));
    for end in 0..replies.len() {
        assert_eq!(judge(&replies[..end]), Heard::Partial, "{end}");
    }
    for other in ["220 x\r\n530 no\r\n", "421 full\r\n", "SSH-2.0\r\n"] {
        assert!(matches!(judge(other), Heard::Refused(_)), "{other}");
    }
}

#[test]
fn what_cannot_be_told_shortly_is_replayed() {
    let mut talk = Talk::default();
    assert_eq!(told(&talk, 0), None);
    talk.more(&LOGIN);
    talk.more(&["C: XYZZ", "S: 200 done"]);
    assert_eq!(told(&talk, talk.said[1]), None);
}
