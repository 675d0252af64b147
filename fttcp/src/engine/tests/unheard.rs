// SPDX-License-Identifier: GPL-3.0-only
//! A request that must not be made twice was answered whole when its server died, and its client had not said yet that it
//! has the answer.

use super::*;

const POST: &[u8] = b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd";
const GET: &[u8] = b"GET /f HTTP/1.1\r\nHost: x\r\n\r\n";
const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n12345";

/// A client has asked, and the server has said `answer` whole.
fn answered(answer: &[u8]) -> Bench {
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    bench.open(7);
    let ask = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &ask.data(POST));
    let say = Say::new(bench.s(0), bench.c(POST.len() as u32), PUSH).stamp(7001, 102);
    bench.say(ACTIVE, &say.data(answer));
    bench
}

/// The client says `data`, having everything below `seen`.
fn say(bench: &mut Bench, data: &[u8], seen: usize) -> Vec<Seen> {
    let (at, seen) = (bench.c(POST.len() as u32), bench.s(seen as u32));
    bench.say(NORTH, &Say::new(at, seen, PUSH).stamp(104, 7001).data(data))
}

/// The client was asked what it has, and nobody was told anything else.
#[track_caller]
fn only_asked(bench: &Bench, sent: &[Seen]) {
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!((sent[0].port, sent[0].head.flags), (NORTH, ACK));
    assert_eq!(sent[0].head.seq.0, bench.s(0).wrapping_sub(1));
    assert!(sent[0].data.is_empty());
}

/// The failover is done, with so many connections moved and lost.
#[track_caller]
fn done(bench: &Bench, ended: (u64, u64)) {
    let counters = bench.counters();
    assert_eq!((counters.recovered, counters.lost), ended);
    let failover = bench.status().failover;
    assert!(failover.is_some_and(|it| it.done_us.is_some()));
}

/// The replacement is told everything from here on.
#[track_caller]
fn taken_over(bench: &mut Bench, sent: &[Seen], told: &[u8]) {
    let south: Vec<_> = sent.iter().filter(|it| it.port == STANDBY).collect();
    assert_eq!(south.len(), 1, "{sent:?}");
    assert_eq!(south[0].head.flags, Flags::SYN);
    let start = bench.c(POST.len() as u32);
    assert_eq!(south[0].head.seq.0, start.wrapping_sub(1));
    let answer = Say::new(70, start, SYN_ACK).offer(7).stamp(40, 104);
    let fed = bench.say(STANDBY, &answer);
    let fed: Vec<u8> = fed
        .into_iter()
        .filter(|it| it.port == STANDBY)
        .flat_map(|it| it.data)
        .collect();
    assert_eq!(fed, told);
    let all = start.wrapping_add(told.len() as u32);
    bench.say(STANDBY, &Say::new(71, all, ACK).stamp(41, 104));
    assert_eq!(bench.state(), "established");
    done(bench, (1, 0));
}

#[test]
fn client_that_has_the_answer_is_moved_without_the_request() {
    let mut bench = answered(SHORT);
    let sent = bench.fail_over();
    only_asked(&bench, &sent);
    let sent = bench.wait(Duration::from_millis(250));
    only_asked(&bench, &sent);
    let sent = say(&mut bench, b"", SHORT.len());
    taken_over(&mut bench, &sent, b"");
}

#[test]
fn what_the_client_has_asked_since_is_told_whatever_it_is() {
    for again in [GET, POST] {
        let mut bench = answered(SHORT);
        bench.fail_over();
        let sent = say(&mut bench, again, SHORT.len());
        taken_over(&mut bench, &sent, again);
    }
}

#[test]
fn client_that_lacks_a_byte_of_the_answer_is_reset() {
    let mut bench = answered(SHORT);
    bench.fail_over();
    let sent = say(&mut bench, b"", SHORT.len() - 1);
    assert!(sent.iter().all(|it| it.port == NORTH), "{sent:?}");
    assert_eq!(bench.state(), "recovering");
    // Not before a second has passed, in which it is asked again.
    let mut sent = bench.wait(Duration::from_millis(900));
    assert!(sent.iter().all(|it| it.head.flags == ACK), "{sent:?}");
    sent.extend(bench.wait(Duration::from_millis(100)));
    assert!(sent.iter().all(|it| it.port == NORTH), "{sent:?}");
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::RST)));
    done(&bench, (0, 1));
}

#[test]
fn another_that_was_not_answered_ends_the_connection_at_once() {
    let mut bench = answered(SHORT);
    say(&mut bench, POST, 0);
    let sent = bench.fail_over();
    // Behind the answer that was said, as if its client had that.
    assert_eq!(
        sent.last().map(|it| it.head.flags.has(Flags::FIN)),
        Some(true)
    );
    let counters = bench.counters();
    assert_eq!((counters.lost, counters.error_replies), (1, 1));
}

#[test]
fn server_that_had_closed_behind_the_answer_need_not_be_replaced() {
    let mut bench = answered(LAST);
    let fin = Say::new(bench.s(LAST.len() as u32), bench.c(POST.len() as u32), FIN);
    let sent = bench.say(ACTIVE, &fin.stamp(7001, 102));
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::FIN)));
    let sent = bench.fail_over();
    only_asked(&bench, &sent);
    let sent = say(&mut bench, b"", LAST.len() + 1);
    assert!(sent.iter().all(|it| it.port == NORTH), "{sent:?}");
    let leaves = Say::new(
        bench.c(POST.len() as u32),
        bench.s(LAST.len() as u32 + 1),
        FIN,
    );
    let sent = bench.say(NORTH, &leaves.stamp(105, 7001));
    assert_eq!(sent[0].head.ack.0, bench.c(POST.len() as u32 + 1));
    done(&bench, (0, 0));
}

#[test]
fn logger_that_is_killed_meanwhile_waits_again() {
    let mut bench = answered(SHORT);
    bench.fail_over();
    // It may have asked for more since.
    say(&mut bench, POST, 0);
    bench.restart(STANDBY, vec![SECOND], EngineConfig::default());
    let sent = bench.wait(Duration::from_millis(250));
    only_asked(&bench, &sent);
    let at = bench.c(2 * POST.len() as u32);
    let all = bench.s(SHORT.len() as u32);
    let sent = bench.say(NORTH, &Say::new(at, all, ACK).stamp(105, 7001));
    taken_over(&mut bench, &sent, POST);
}

#[test]
fn next_server_that_dies_meanwhile_changes_nothing() {
    let mut bench = answered(SHORT);
    bench.fail_over();
    let sent = bench.fail_over();
    only_asked(&bench, &sent);
    let sent = say(&mut bench, b"", SHORT.len());
    assert!(
        sent.iter()
            .any(|it| it.port == SECOND && it.head.flags == Flags::SYN)
    );
    assert!(sent.iter().all(|it| it.port != STANDBY));
}

#[test]
fn command_of_a_definition_that_was_answered_is_waited_for_too() {
    let spec = ServiceSpec {
        definition: Some(include_str!("../../../examples/kv.toml").to_owned()),
        ..ServiceSpec::new(80, "kv")
    };
    let mut bench = Bench::with(vec![spec]);
    bench.open(7);
    let ask = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &ask.data(b"ADD 1\n"));
    let answer = Say::new(bench.s(0), bench.c(6), PUSH).stamp(7001, 102);
    bench.say(ACTIVE, &answer.data(b"1\n"));
    let sent = bench.fail_over();
    only_asked(&bench, &sent);
    let heard = Say::new(bench.c(6), bench.s(2), ACK).stamp(104, 7001);
    let sent = bench.say(NORTH, &heard);
    assert!(
        sent.iter()
            .any(|it| it.port == STANDBY && it.head.flags == Flags::SYN)
    );
}
