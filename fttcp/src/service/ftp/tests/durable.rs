// SPDX-License-Identifier: GPL-3.0-only
//! Which replies wait until the server's disk has what they tell of.

use super::*;

/// How many bytes of these, which the server says next, need not wait. `None`: all.
fn passes(lines: &[&str], bytes: &[u8]) -> Option<u64> {
    let mut talk = Talk::new(&LOGIN);
    talk.more(lines);
    let at = talk.said[1];
    let from = talk.ftp.commits(at, bytes);
    from.map(|from| from - at)
}

#[test]
fn end_of_an_upload_and_every_other_change_wait() {
    for line in [
        "DELE x", "RNTO y", "MKD d", "XMKD d", "RMD d", "XRMD d", "STOR x", "STOU", "APPE x",
    ] {
        let asked = format!("C: {line}");
        assert_eq!(passes(&[&asked], b"250 done\r\n"), Some(0), "{line}");
        assert_eq!(passes(&[&asked], b"2"), Some(0), "{line}");
        assert_eq!(passes(&[&asked], b"550 no\r\n"), None, "{line}");
    }
    for line in [
        "RETR x", "LIST", "CWD d", "SIZE x", "RNFR x", "NOOP", "QUIT",
    ] {
        assert_eq!(
            passes(&[&format!("C: {line}")], b"250 done\r\n"),
            None,
            "{line}"
        );
    }
}

#[test]
fn what_comes_before_a_reply_that_waits_does_not() {
    let begun = b"150 go on\r\n226 done\r\n";
    assert_eq!(passes(&["C: STOR x"], begun), Some(11));
    assert_eq!(passes(&["C: STOR x"], &begun[..11]), None);
    assert_eq!(
        passes(&["C: STOR x", "S: 150 go on"], b"226-a\r\n226 b\r\n"),
        Some(0)
    );
    let many = b"200 yes\r\n211-a\r\n2 b\r\n211 c\r\n550 no\r\n257 made\r\n";
    let asked = ["C: NOOP", "C: FEAT", "C: DELE x", "C: MKD d"];
    assert_eq!(passes(&asked, many), Some(36));
    // What is behind it is asked about when it has passed.
    assert_eq!(
        passes(&["C: NOOP", "C: DELE x"], b"200 yes\r\n250 gone\r\n"),
        Some(9)
    );
}

#[test]
fn positions_are_those_of_the_stream_and_gaps_are_not_judged() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: DELE x", "C: NOOP"]);
    let at = talk.said[1];
    assert_eq!(talk.ftp.commits(at - 4, b"in\r\n250 gone\r\n"), Some(at));
    assert_eq!(talk.ftp.commits(at - 4, b"in\r\n"), None);
    assert_eq!(talk.ftp.commits(at + 1, b"50 gone\r\n"), None);
    // A reply of which a part has passed goes on.
    talk.say(true, b"2");
    assert_eq!(talk.ftp.commits(at + 1, b"50 gone\r\n200 yes\r\n"), None);
}

#[test]
fn session_that_is_not_followed_any_more_keeps_nothing_back() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: AUTH TLS", "S: 234 go ahead", "C: DELE x"]);
    assert_eq!(talk.ftp.commits(talk.said[1], b"250 gone\r\n"), None);
}
