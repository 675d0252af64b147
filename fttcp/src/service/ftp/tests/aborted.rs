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
    // ABOR has still to be answered.
    assert_eq!(told(&talk, heard).map(|it| it.1), Some(end));
    let (_, lacks) = talk.ftp.said(heard);
    assert!(lacks.starts_with(b"426 "), "{lacks:?}");
    // The next server dies, too: it is said once.
    assert_eq!(moves(&mut talk, None), (String::new(), Moves::default()));
    assert_eq!(talk.ftp.said(heard).1, lacks);
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
