// SPDX-License-Identifier: GPL-3.0-only
//! Uploads that must not be made twice: what is appended, and what gets a name of the server's choice.

use super::*;

const HEARD: Stands = Stands {
    from: 0,
    said: 0,
    heard: 70,
};

/// A session in which this upload has begun in passive mode, behind these lines.
fn begun(before: &[&str], upload: &str, begins: &[&str]) -> Talk {
    let mut talk = Talk::new(&LOGIN);
    talk.more(before);
    talk.more(&["C: PASV", "S: 227 Passive (10,0,0,2,19,136)."]);
    talk.more(&[&format!("C: {upload}")]);
    talk.more(begins);
    talk
}

const ASKED: [&str; 4] = ["C: TYPE I", "S: 200 x", "C: SIZE x", "S: 213 9"];

#[test]
fn append_to_a_file_of_known_size_is_written_over_from_there() {
    let mut talk = begun(&ASKED, "APPE x", &["S: 150 go"]);
    // The same again, as if the second server had died, too.
    for _ in 0..2 {
        let (told, goes) = moves(&mut talk, Some(HEARD));
        assert_eq!(told, "TYPE I\r\nSIZE x\r\nPASV\r\nREST 9\r\nSTOR x\r\n");
        assert_eq!(goes.linked, Some(Goes::Again));
    }
    let judge = |size: u64| {
        let answer = format!(
            "220 a\r\n331 b\r\n230 c\r\n200 d\r\n213 {size}\r\n227 (10,0,0,2,19,137)\r\n350 e\r\n150 f\r\n"
        );
        let judged = talk.ftp.judge(talk.said[1], answer.as_bytes());
        judged == Heard::Head(answer.len())
    };
    // All of what came may be there, or nothing of it; less or more is of somebody else.
    for (size, goes) in [(8, false), (9, true), (79, true), (80, false)] {
        assert_eq!(judge(size), goes, "{size}");
    }
}

#[test]
fn append_to_an_empty_file_needs_no_offset() {
    let asked = ["C: TYPE I", "S: 200 x", "C: SIZE x", "S: 213 0"];
    let mut talk = begun(&asked, "APPE x", &["S: 150 go"]);
    let told = moves(&mut talk, Some(HEARD)).0;
    assert_eq!(told, "TYPE I\r\nSIZE x\r\nPASV\r\nSTOR x\r\n");
}

#[test]
fn append_is_not_said_again_if_the_size_may_be_another() {
    for before in [
        &[][..],
        // It may be that of the converted file.
        &["C: SIZE x", "S: 213 9"],
        &["C: TYPE I", "S: 200 x", "C: SIZE y", "S: 213 9"],
        &["C: TYPE I", "S: 200 x", "C: SIZE x", "S: 550 none"],
        &[&ASKED[..], &["C: DELE x", "S: 250 gone"]].concat(),
        &[&ASKED[..], &["C: CWD in", "S: 250 ok"]].concat(),
    ] {
        let mut talk = begun(before, "APPE x", &["S: 150 go"]);
        let (told, goes) = moves(&mut talk, Some(HEARD));
        assert!(!told.contains("STOR") && !told.contains("PASV"), "{told}");
        assert_eq!(goes, Moves::default(), "{before:?}");
    }
    // Where the client wants it is not clear.
    let mut talk = Talk::new(&LOGIN);
    talk.more(&ASKED);
    talk.more(&["C: PASV", "S: 227 Passive (10,0,0,2,19,136)."]);
    talk.more(&["C: REST 5", "S: 350 ok", "C: APPE x", "S: 150 go"]);
    let told = moves(&mut talk, Some(HEARD)).0;
    assert_eq!(told, "TYPE I\r\n");
}

#[test]
fn size_is_known_behind_the_end_that_a_client_names() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&ASKED);
    talk.more(&["C: PORT 10,0,0,1,19,136", "S: 200 ok"]);
    talk.more(&["C: APPE x", "S: 150 go"]);
    let told = moves(&mut talk, Some(HEARD)).0;
    assert!(told.ends_with("REST 9\r\nSTOR x\r\n"), "{told}");
}

#[test]
fn file_with_a_name_of_the_servers_choice_is_stored_under_that_name() {
    for (upload, begins, stores) in [
        ("STOU", &["S: 150 FILE: u.1"][..], Some("u.1")),
        ("STOU u", &["S: 125 FILE: u 1"], Some("u 1")),
        ("STOU in/u", &["S: 150 FILE: in/u.1"], Some("in/u.1")),
        ("STOU", &["S: 150-FILE: u.1", "S: 150 go"], Some("u.1")),
        ("STOU", &["S: 150-go", "S: 150 FILE: u.1"], Some("u.1")),
        ("STOU", &["S: 150 go"], None),
        ("STOU", &["S: 150 FILE: "], None),
        // In which folder it is, is not told.
        ("STOU in/u", &["S: 150 FILE: u.1"], None),
    ] {
        let mut talk = begun(&[], upload, begins);
        let want = stores.map_or_else(String::new, |name| format!("PASV\r\nSTOR {name}\r\n"));
        for _ in 0..2 {
            let (told, goes) = moves(&mut talk, Some(HEARD));
            assert_eq!(told, want, "{upload} {begins:?}");
            assert_eq!(goes.linked, stores.map(|_| Goes::Again));
        }
    }
}

#[test]
fn name_of_one_upload_is_not_that_of_the_next() {
    let mut talk = begun(&[], "STOU", &["S: 150-FILE: u.1", "S: 150 go", "S: 226 x"]);
    talk.more(&["C: PASV", "S: 227 Passive (10,0,0,2,19,136)."]);
    talk.more(&["C: STOU", "S: 150 go"]);
    assert_eq!(
        moves(&mut talk, Some(HEARD)),
        (String::new(), Moves::default())
    );
}

#[test]
fn upload_in_the_middle_of_a_file_is_said_again_if_all_before_it_is_there() {
    let mut talk = Talk::new(&LOGIN);
    talk.more(&["C: TYPE I", "S: 200 x", "C: PASV"]);
    talk.more(&["S: 227 Passive (10,0,0,2,19,136)."]);
    talk.more(&["C: REST 9", "S: 350 ok", "C: STOR x"]);
    let asks = "TYPE I\r\nSIZE x\r\nPASV\r\nREST 9\r\n".to_owned();
    let none = Some(Stands::default());
    assert_eq!(moves(&mut talk, none).0, asks);
    talk.more(&["S: 150 go"]);
    let (told, goes) = moves(&mut talk, Some(HEARD));
    assert_eq!(told, asks + "STOR x\r\n");
    assert_eq!(goes.linked, Some(Goes::Again));
    let judge = |size: &str| {
        let answer = format!("220 a\r\n331 b\r\n230 c\r\n200 d\r\n{size}\r\n");
        talk.ftp.judge(talk.said[1], answer.as_bytes())
    };
    for size in ["213 9", "213 1000"] {
        assert_eq!(judge(size), Heard::Partial, "{size}");
    }
    for size in ["213 8", "550 none", "213 what"] {
        assert!(matches!(judge(size), Heard::Refused(_)), "{size}");
    }
}

#[test]
fn upload_of_text_in_the_middle_of_a_file_is_not_said_again() {
    let mut talk = begun(&[], "REST 9", &["S: 350 ok", "C: STOR x", "S: 150 go"]);
    let (_, goes) = moves(&mut talk, Some(HEARD));
    assert_eq!(goes, Moves::default());
    assert!(talk.ftp.waiting.is_empty(), "its client is told");
}
