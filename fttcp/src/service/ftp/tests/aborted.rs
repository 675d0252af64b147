// SPDX-License-Identifier: GPL-3.0-only
//! Transfers whose clients have ended the data connection when their server dies.

use super::*;

#[test]
fn transfer_whose_data_connection_is_over_is_said_to_be_aborted() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)"]);
    let before = talk.said[0];
    talk.more(&["C: RETR x", "S: 150 x"]);
    let (_, from) = told(&talk, talk.said[1]).expect("it is the end of a reply");
    assert_eq!(from, before);
    let (end, heard) = (talk.said[0], talk.said[1]);
    talk.more(&["C: ABOR"]);
    assert_eq!(moves(&mut talk, None), (String::new(), Moves::default()));
    // No other server hears of ABOR, either.
    let lacks = hears_of(&talk, heard);
    let codes: Vec<_> = lacks.lines().map(|line| &line[..4]).collect();
    assert_eq!(codes, ["426 ", "226 "]);
    assert!(talk.said[0] > end);
    // The next server dies, too: it is said once.
    assert_eq!(moves(&mut talk, None), (String::new(), Moves::default()));
    assert_eq!(hears_of(&talk, heard), lacks);
}

#[test]
fn client_that_ends_its_data_connection_changes_what_is_asked() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: TYPE I", "S: 200 x", "C: EPSV", "S: 229 (|||5001|)"]);
    talk.more(&["C: RETR x", "S: 150 x"]);
    let heard = talk.said[1];
    assert!(moves(&mut talk, Some(STANDS)).0.ends_with("RETR x\r\n"));
    assert!(talk.ftp.linked_is_gone(heard));
    assert!(!talk.ftp.linked_is_gone(heard), "once");
    let (told, _) = told(&talk, heard).expect("it is short");
    assert_eq!(told, "USER bob\r\nPASS x\r\nTYPE I\r\n");
    assert!(talk.ftp.said(heard).1.starts_with(b"426 "));
    // Half a reply cannot be taken back: the replacement says what comes of the transfer.
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: RETR x", "S: 150 x"]);
    let heard = talk.said[1];
    talk.say(true, b"22");
    moves(&mut talk, Some(STANDS));
    assert!(talk.ftp.linked_is_gone(heard));
    assert_eq!(talk.ftp.said(heard).1, b"");
}

#[test]
fn client_that_aborts_while_another_server_is_asked_is_answered() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: EPSV", "S: 229 (|||5001|)", "C: RETR x", "S: 150 x"]);
    let heard = talk.said[1];
    moves(&mut talk, None);
    assert!(!talk.ftp.asks_anew(heard), "nothing came");
    talk.say(false, b"\xff\xf4\xff\xf2ABO");
    assert!(!talk.ftp.asks_anew(heard), "it is not whole");
    talk.say(false, b"R\r\n");
    assert!(talk.ftp.asks_anew(heard));
    assert!(!talk.ftp.asks_anew(heard), "once");
    let said = hears_of(&talk, heard);
    assert!(said.contains("426 ") && said.contains("\r\n226 "), "{said}");
    // The replacement's own word is the last now: it answers what comes.
    talk.more(&["C: NOOP", "S: 200 x", "C: ABOR"]);
    assert!(!talk.ftp.asks_anew(talk.said[1]));
}

/// What the client hears of the transfer, and that no server is told of it.
fn hears_of(talk: &Talk, heard: u64) -> String {
    let (told, from) = told(talk, heard).expect("it is short");
    assert!(!told.contains("APPE") && !told.contains("STOU"), "{told}");
    assert_eq!(from, talk.said[0], "it is behind what was asked");
    String::from_utf8(talk.ftp.said(heard).1).expect("text")
}

#[test]
fn transfer_that_cannot_be_asked_for_again_is_over() {
    let stands = Stands {
        heard: 70,
        ..Stands::default()
    };
    for (lines, code) in [
        (&["C: APPE x", "S: 150 go"][..], "426 "),
        (&["C: STOU", "S: 150 go"], "426 "),
        // It may have been done, though nothing was said of it.
        (&["C: APPE x"], "425 "),
        (&["C: STOU"], "425 "),
    ] {
        let mut talk = Talk::new(&LOGIN);
        talk.more(&["C: EPSV", "S: 229 (|||5001|)"]);
        talk.more(lines);
        let heard = talk.said[1];
        let goes = talk.ftp.linked_stands(heard, Some(stands));
        assert_eq!(goes, Moves::default(), "{lines:?}");
        let said = hears_of(&talk, heard);
        assert!(said.starts_with(code), "{lines:?}: {said}");
    }
}

#[test]
fn transfer_that_another_server_refuses_is_over_behind_its_data_connection() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: TYPE I", "S: 200 x", "C: EPSV", "S: 229 (|||5001|)"]);
    talk.more(&["C: RETR x", "S: 150 x"]);
    talk.heard();
    let heard = talk.said[1];
    talk.ftp.linked_stands(heard, Some(STANDS));
    assert!(matches!(talk.ftp.refused(), Verb::Resume(_)));
    assert!(hears_of(&talk, heard).starts_with("426 "));
    talk.say(false, b"");
    // In this order: half of a file must not look like a whole one.
    assert_eq!(talk.heard(), [News::Lost, News::Over]);
}

#[test]
fn one_reply_to_a_transfer_and_its_end_is_to_both() {
    let begun = ["C: EPSV", "S: 229 (|||5001|)", "C: RETR x", "S: 150 x"];
    for replies in [
        &["S: 226 Since you see this ABOR must've succeeded"][..],
        &["S: 426 aborted", "S: 226 ABOR successful"],
        &["S: 226 complete", "S: 225 No transfer to ABOR."],
    ] {
        let mut talk = Talk::new(&LOGIN);
        talk.more(&begun);
        talk.more(&["C: ABOR"]);
        talk.more(replies);
        talk.heard();
        // What is said next is understood as what it is.
        talk.more(&["C: EPSV", "S: 229 (|||5002|)"]);
        assert_eq!(talk.heard(), [News::Expects(Some((None, 5002)))]);
    }
}
