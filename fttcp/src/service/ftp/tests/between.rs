// SPDX-License-Identifier: GPL-3.0-only
//! What is asked, and answered, while a transfer is under way.

use super::*;

const UPLOAD: [&str; 6] = [
    "C: TYPE I",
    "S: 200 x",
    "C: EPSV",
    "S: 229 (|||5001|)",
    "C: STOR x",
    "S: 150 x",
];

/// As proftpd, pure-ftpd and pyftpdlib say it.
const ANSWERS: [&str; 3] = [
    "S: 200 NOOP: data transfer in progress",
    "S: 500 Unknown command",
    "S: 450 NOOP: data transfer in progress",
];

#[test]
fn what_is_answered_meanwhile_is_not_the_end_of_the_transfer() {
    for answer in ANSWERS {
        let mut talk = Talk::new(&LOGIN);
        talk.more(&UPLOAD);
        talk.heard();
        for _ in 0..3 {
            talk.more(&["C: NOOP", answer]);
        }
        assert_eq!(talk.heard(), [], "{answer}");
        // The true end changes something, and is known for it.
        let end = b"226 done\r\n";
        let at = talk.said[1];
        assert_eq!(talk.ftp.commits(at, end), Some(at), "{answer}");
        talk.say(true, end);
        assert_eq!(talk.heard(), [News::Over], "{answer}");
        assert!(talk.ftp.rests(talk.said[1]), "{answer}");
    }
}

#[test]
fn what_was_answered_meanwhile_is_not_told_to_another() {
    let stands = Stands {
        from: 0,
        said: 0,
        heard: 70,
    };
    for answer in ANSWERS {
        let mut talk = Talk::new(&LOGIN);
        talk.more(&UPLOAD);
        talk.more(&["C: NOOP", answer]);
        let client = talk.said[0];
        talk.more(&["C: NOOP"]);
        let (told_first, _) = moves(&mut talk, Some(stands));
        assert!(told_first.ends_with("STOR x\r\n"), "{told_first}");
        let from = told(&talk, talk.said[1]).map(|it| it.1);
        assert_eq!(from, Some(client), "{answer}");
    }
}

#[test]
fn last_word_was_none_if_others_follow() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&UPLOAD);
    talk.more(&["S: 421 Passive data channel timed out."]);
    assert!(talk.ftp.close_expected(talk.said[1]));
    talk.more(&["C: NOOP", "S: 200 ok"]);
    assert!(talk.ftp.waiting.is_empty());
    assert!(talk.ftp.rests(talk.said[1]));
}

#[test]
fn what_changes_the_session_meanwhile_ends_its_short_list() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&UPLOAD);
    talk.more(&["C: TYPE A", "S: 200 x"]);
    assert_eq!(talk.heard().len(), 1);
    assert_eq!(told(&talk, talk.said[1]), None);
}

#[test]
fn a_reply_that_was_not_asked_for_does_not_make_what_was_done_be_done_twice() {
    for done in [
        &["C: MKD x", "S: 257 made"][..],
        &["C: DELE x"],
        &["C: EPSV", "S: 229 (|||5001|)", "C: APPE x", "S: 150 x"],
    ] {
        let mut talk = Talk::new(&LOGIN);
        talk.more(done);
        talk.more(&["S: 200 x", "S: 425 who is that", "S: 425 who is that"]);
        assert!(talk.ftp.foreign);
        assert!(
            matches!(talk.ftp.verb(talk.said[1]), Verb::End(_)),
            "{done:?}"
        );
    }
}
