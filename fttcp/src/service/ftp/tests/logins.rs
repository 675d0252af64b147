// SPDX-License-Identifier: GPL-3.0-only
//! Logins and what comes before transfers, as servers of several products want them.

use super::*;

#[test]
fn login_under_way_goes_on_where_it_was() {
    let mut talk = Talk::new(&LOGIN[..3]);
    let at = talk.said[1];
    assert_eq!(told(&talk, at).map(|it| it.0), Some("USER bob\r\n".into()));
    let asked = b"220 there\r\n331 what is it?\r\n";
    assert_eq!(talk.ftp.judge(at, asked), Heard::Head(asked.len()));
    // Nobody asked this client, when it had logged in.
    talk.more(&["C: USER bob", "S: 230 in"]);
    assert!(matches!(
        talk.ftp.judge(talk.said[1], asked),
        Heard::Refused(_)
    ));
}

#[test]
fn anonymous_user_has_a_password_for_a_server_that_wants_one() {
    let talk = Talk::new(&["S: 220 here", "C: USER Anonymous", "S: 230 in"]);
    let at = talk.said[1];
    let (told, _) = told(&talk, at).expect("it is short");
    assert_eq!(told, "USER Anonymous\r\nPASS guest@\r\n");
    for (answer, taken) in [
        (&b"220 a\r\n331 who?\r\n230 in\r\n"[..], true),
        (b"220 a\r\n230 in\r\n230 in already\r\n", true),
        (b"220 a\r\n230 in\r\n503 in already\r\n", true),
        (b"220 a\r\n230 in\r\n421 full\r\n", false),
        (b"220 a\r\n530 no\r\n530 no\r\n", false),
    ] {
        let judged = talk.ftp.judge(at, answer);
        assert_eq!(judged == Heard::Head(answer.len()), taken, "{judged:?}");
    }
}

#[test]
fn what_was_said_before_the_login_is_told_before_it() {
    let mut talk = Talk::new(&["S: 220 here", "C: HOST a", "S: 220 ok"]);
    talk.more(&["C: OPTS UTF8 ON", "S: 200 on", "C: USER bob", "S: 230 in"]);
    talk.more(&["C: OPTS UTF8 OFF", "S: 200 off"]);
    let at = talk.said[1];
    let (told, _) = told(&talk, at).expect("it is short");
    assert_eq!(told, "HOST a\r\nUSER bob\r\nOPTS UTF8 OFF\r\n");
    for (reply, taken) in [("220 ok", true), ("500 what", true), ("504 who", false)] {
        let answer = format!("220 there\r\n{reply}\r\n230 in\r\n200 off\r\n");
        let judged = talk.ftp.judge(at, answer.as_bytes());
        assert_eq!(judged == Heard::Head(answer.len()), taken, "{judged:?}");
    }
}

#[test]
fn format_of_lists_may_be_unknown_to_another_product() {
    let mut talk = Talk::new(&["S: 220 here", "C: USER bob", "S: 230 in"]);
    talk.more(&["C: OPTS MLST size;", "S: 200 on"]);
    let judge = |talk: &Talk| {
        let answer = b"220 there\r\n230 in\r\n501 what\r\n";
        talk.ftp.judge(talk.said[1], answer)
    };
    assert!(matches!(judge(&talk), Heard::Head(_)));
    let mut talk = Talk::new(&["S: 220 here", "C: USER bob", "S: 230 in"]);
    talk.more(&["C: TYPE I", "S: 200 on"]);
    assert!(matches!(judge(&talk), Heard::Refused(_)));
}

#[test]
fn preparation_of_a_transfer_is_told_before_its_port_is_asked_for() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: PRET RETR x", "S: 200 ready", "C: CWD a", "S: 250 ok"]);
    talk.more(&["C: PRET RETR y", "S: 200 ready", "C: PASV"]);
    talk.more(&["S: 227 Passive (10,0,0,2,19,136)."]);
    let none = Some(Stands::default());
    assert_eq!(moves(&mut talk, none).0, "CWD a\r\nPRET RETR y\r\nPASV\r\n");
    talk.more(&["C: TYPE I", "S: 200 x", "C: SIZE y", "S: 213 9"]);
    talk.more(&["C: PRET RETR y", "S: 200 ready", "C: RETR y", "S: 150 x"]);
    let (told, _) = moves(&mut talk, Some(STANDS));
    assert!(told.contains("SIZE y\r\n"), "{told}");
}
