// SPDX-License-Identifier: GPL-3.0-only
//! Sessions as clients and servers hold them.

use super::*;

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
    assert_eq!(talk.heard(), [News::Expects(None)]);
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
fn what_the_client_may_not_have_heard_does_not_count() {
    let mut talk = Talk::new(&LOGIN);
    let [client, heard] = talk.said;
    talk.more(&["C: CWD in", "S: 250 ok"]);
    let want = "USER bob\r\nPASS x\r\n".to_owned();
    assert_eq!(told(&talk, heard), Some((want, client)));
    assert_eq!(told(&talk, heard + 1), None, "half a reply");
    let all = talk.said[1];
    assert!(told(&talk, all).is_some_and(|(told, _)| told.ends_with("CWD in\r\n")));
}

#[test]
fn transfer_under_way_is_asked_for_again_and_will_be_refused() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)"]);
    let before = talk.said[0];
    talk.more(&["C: RETR x", "S: 150 x"]);
    let (_, from) = told(&talk, talk.said[1]).expect("it is the end of a reply");
    assert_eq!(from, before);
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
