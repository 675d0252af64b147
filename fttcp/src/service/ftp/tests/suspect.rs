// SPDX-License-Identifier: GPL-3.0-only
//! Which command a server may have died of.

use std::ops::Range;

use super::*;

/// Where it stands, whether nothing was said to it, and whether it may hold a password.
fn suspect(talk: &Talk) -> Option<(Range<u64>, bool, bool)> {
    let it = talk.ftp.under_way(talk.said[1])?;
    Some((it.request, it.untouched, it.secret))
}

#[test]
fn command_without_an_answer_is_under_way() {
    let mut talk = Talk::new(&LOGIN);
    assert_eq!(suspect(&talk), None);
    let at = talk.said[0];
    talk.more(&["C: SIZE x", "C: DELE x"]);
    assert_eq!(suspect(&talk), Some((at..at + 8, true, false)));
    talk.say(true, b"213 ");
    assert_eq!(suspect(&talk), Some((at..at + 8, false, false)));
    talk.say(true, b"7\r\n");
    assert_eq!(suspect(&talk), Some((at + 8..at + 16, true, false)));
    // Whether the client has acknowledged the answer changes nothing.
    talk.ftp.restart(talk.said[1]);
    assert_eq!(suspect(&talk), Some((at + 8..at + 16, true, false)));
}

#[test]
fn passwords_are_secret() {
    for (line, secret) in [
        ("PASS x", true),
        ("SITE PSWD old new", true),
        ("XYZZ x", true),
        ("CWD x", false),
    ] {
        let mut talk = Talk::new(&LOGIN);
        talk.more(&[&format!("C: {line}")]);
        assert_eq!(suspect(&talk).map(|it| it.2), Some(secret), "{line}");
    }
}

#[test]
fn what_comes_of_a_transfer_that_has_begun_comes_elsewhere() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: RETR x"]);
    let linked = |talk: &Talk| Some(talk.ftp.under_way(talk.said[1])?.linked);
    assert_eq!(linked(&talk), Some(false));
    talk.more(&["S: 150 x"]);
    assert_eq!(linked(&talk), Some(true));
    talk.more(&["S: 226 x"]);
    assert_eq!(linked(&talk), None);
}

#[test]
fn what_is_not_understood_is_innocent() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["S: what?", "C: SIZE x"]);
    assert_eq!(suspect(&talk), None);
}

#[test]
fn while_all_is_said_again_nothing_is_known() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: SIZE x"]);
    let end = talk.said[1];
    talk.ftp.rewind(Restart::default());
    talk.ftp
        .client_bytes(0, b"USER bob\r\nPASS x\r\nSIZE x\r\n");
    assert_eq!(talk.ftp.under_way(end), None);
}
