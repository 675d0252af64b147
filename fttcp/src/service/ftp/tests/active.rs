// SPDX-License-Identifier: GPL-3.0-only
//! Sessions in active mode: what another server is told of the data connection that it is to open.

use super::*;

const PORT: &str = "C: PORT 10,0,0,1,19,136";
const NONE: Stands = Stands {
    from: 0,
    said: 0,
    heard: 0,
};

fn opens(at: &str) -> News {
    News::Opens(at.parse().expect("an end"))
}

/// A session with these lines behind the login, to which nothing has been listened yet.
fn after(lines: &[&str]) -> Talk {
    let mut talk = Talk::new(&LOGIN);
    talk.more(lines);
    talk
}

const fn goes(on: Goes) -> Moves {
    Moves {
        asks: false,
        linked: Some(on),
    }
}

#[test]
fn end_that_the_client_names_is_told_before_it_is_answered() {
    // pyftpdlib opens the connection first.
    let mut talk = after(&[PORT]);
    assert_eq!(talk.heard(), [opens("10.0.0.1:5000")]);
    talk.more(&["S: 200 ok"]);
    assert_eq!(talk.heard(), []);
    assert!(matches!(talk.ftp.link(), Some(Link::Opens(_))));
    talk.more(&["C: LIST", "S: 150 x", "S: 226 done"]);
    assert_eq!(talk.heard(), [News::Over]);
    assert_eq!(talk.ftp.link(), None);
    talk.more(&["C: EPRT |2|fd00::1|5001|", "S: 200 ok"]);
    assert_eq!(talk.heard(), [opens("[fd00::1]:5001")]);
    talk.more(&["C: EPRT |2|fd00::1|5002|"]);
    assert_eq!(talk.heard(), [opens("[fd00::1]:5002")]);
    talk.more(&["S: 522 no"]);
    assert_eq!(talk.heard(), [News::Expects(None)]);
    assert_eq!(talk.ftp.link(), None);
    // Behind something that is under way, it counts when it is answered.
    talk.more(&["C: NOOP", PORT]);
    assert_eq!(talk.heard(), []);
    talk.more(&["S: 200 ok", "S: 200 ok"]);
    assert_eq!(talk.heard(), [opens("10.0.0.1:5000")]);
}

#[test]
fn end_to_which_no_connection_came_is_told_again() {
    let mut talk = after(&[PORT, "S: 200 ok"]);
    let port = "PORT 10,0,0,1,19,136\r\n".to_owned();
    assert_eq!(
        moves(&mut talk, Some(NONE)),
        (port.clone(), goes(Goes::Again))
    );
    talk.more(&["C: RETR x"]);
    assert_eq!(
        moves(&mut talk, Some(NONE)),
        (port.clone(), goes(Goes::Again))
    );
    // It has come, and is over: nobody waits for another there. Or it is the end of another host.
    assert_eq!(moves(&mut talk, None), (String::new(), Moves::default()));
    // One that was not answered is told as the client said it.
    let mut talk = after(&[PORT]);
    assert_eq!(
        moves(&mut talk, Some(NONE)),
        (String::new(), goes(Goes::Again))
    );
    talk.more(&["S: 200 ok"]);
    assert_eq!(moves(&mut talk, Some(NONE)).0, port);
}

#[test]
fn transfer_under_way_is_asked_for_behind_the_end() {
    for (command, stands, want, on) in [
        (
            "RETR x",
            STANDS,
            "REST 5\r\nRETR x\r\n",
            Some(Goes::From(5)),
        ),
        ("RETR x", NONE, "RETR x\r\n", Some(Goes::From(0))),
        ("LIST", STANDS, "LIST\r\n", Some(Goes::Again)),
        ("STOR x", STANDS, "STOR x\r\n", Some(Goes::Again)),
        ("APPE x", NONE, "APPE x\r\n", Some(Goes::Again)),
        ("APPE x", Stands { heard: 1, ..NONE }, "", None),
        ("STOU", NONE, "", None),
    ] {
        let mut talk = after(&["C: TYPE I", "S: 200 ok", PORT, "S: 200 ok"]);
        talk.more(&[&format!("C: {command}"), "S: 150 x"]);
        let (told, moves) = moves(&mut talk, Some(stands));
        let port = if want.is_empty() {
            ""
        } else {
            "PORT 10,0,0,1,19,136\r\n"
        };
        assert_eq!(told, format!("TYPE I\r\n{port}{want}"), "{command}");
        assert_eq!(moves.linked, on, "{command}");
        assert!(!moves.asks);
    }
}

#[test]
fn end_survives_a_restart() {
    let talk = after(&[PORT, "S: 200 ok"]);
    let mut again = Ftp::default();
    assert!(again.restore(&talk.ftp.save()));
    assert_eq!(again.link(), talk.ftp.link());
    let mut talk = Talk { ftp: again, ..talk };
    assert_eq!(moves(&mut talk, Some(NONE)).0, "PORT 10,0,0,1,19,136\r\n");
}

#[test]
fn answer_to_the_end_may_come_behind_others() {
    let mut talk = after(&["C: TYPE I", "S: 200 ok", PORT, "S: 200 ok"]);
    talk.more(&["C: RETR x", "S: 150 x"]);
    let (told, _) = moves(&mut talk, Some(STANDS));
    assert!(told.ends_with("PORT 10,0,0,1,19,136\r\nREST 5\r\nRETR x\r\n"));
    let login = "220 a\r\n331 b\r\n230 c\r\n200 d\r\n";
    let judge = |replies: &str| {
        let answer = format!("{login}{replies}");
        let judged = talk.ftp.judge(talk.said[1], answer.as_bytes());
        (judged == Heard::Head(answer.len()), judged)
    };
    for replies in [
        "200 port\r\n350 rest\r\n150 x\r\n",
        "350 rest\r\n200 port\r\n150 x\r\n",
        "350 rest\r\n150 x\r\n200 port\r\n",
    ] {
        assert!(judge(replies).0, "{replies}");
        let lines: Vec<&str> = replies.split_inclusive("\r\n").collect();
        assert_eq!(judge(&lines[..2].concat()).1, Heard::Partial, "{replies}");
    }
    for refused in ["350 rest\r\n150 x\r\n425 no\r\n", "500 no\r\n"] {
        assert!(matches!(judge(refused).1, Heard::Refused(_)), "{refused}");
    }
}
