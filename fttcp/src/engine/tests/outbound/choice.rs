// SPDX-License-Identifier: GPL-3.0-only
//! Which connection a replacement means, and which port its peer sees.

use super::*;

#[test]
fn trap_35_requests_that_run_at_the_same_time_are_told_apart_by_what_they_say() {
    let (one, two) = (ORIGIN, (ORIGIN.0, 33_001));
    let mut bench = bench(Outbound::Keep);
    open(&mut bench, one, ISN, PEER_ISN);
    open(&mut bench, two, 2 * ISN, 2 * PEER_ISN);
    talk(&mut bench, one, ISN, PEER_ISN, b"GET /one", b"first");
    talk(
        &mut bench,
        two,
        2 * ISN,
        2 * PEER_ISN,
        b"GET /two",
        b"other",
    );
    fail_over(&mut bench);
    // The replacement asks for the second first. Its connection is taken for the first one.
    let from = (ORIGIN.0, 50_000);
    let answer = reopen(&mut bench, from, 42).remove(0);
    assert_eq!(answer.head.seq.0, PEER_ISN);
    complete(&mut bench, from, 42, &answer);
    let said = Say::new(43, PEER_ISN + 1, PUSH)
        .stamp(52, 100)
        .data(b"GET /two");
    let sent = say(&mut bench, STANDBY, from, &said);
    let fed = sent.iter().find(|it| !it.data.is_empty()).unwrap();
    assert_eq!((fed.data.as_slice(), fed.port), (&b"other"[..], STANDBY));
    assert_eq!((fed.head.seq.0, fed.head.ack.0), (PEER_ISN + 1, 51));
    assert_eq!(fed.head.options.timestamps.unwrap().value, 101);
    let took = Say::new(51, PEER_ISN + 6, ACK).stamp(53, 101);
    say(&mut bench, STANDBY, from, &took);
    // From then on, both ends' numbers are mapped.
    let new = Say::new(51, PEER_ISN + 6, PUSH)
        .stamp(54, 101)
        .data(b"more");
    let sent = say(&mut bench, STANDBY, from, &new);
    assert_eq!((sent[0].port, sent[0].ports), (NORTH, two));
    assert_eq!(sent[0].head.seq.0, 2 * ISN + 9);
    assert_eq!(sent[0].head.ack.0, 2 * PEER_ISN + 6);
    let back = Say::new(2 * PEER_ISN + 6, 2 * ISN + 13, PUSH)
        .stamp(110, 7100)
        .data(b"!");
    let sent = say(&mut bench, NORTH, two, &back);
    assert_eq!((sent[0].port, sent[0].ports), (STANDBY, from));
    assert_eq!((sent[0].head.seq.0, sent[0].head.ack.0), (PEER_ISN + 6, 55));
    // The first one is still there for the one that asks for it.
    let answer = reopen(&mut bench, one, 900).remove(0);
    assert_eq!((answer.head.seq.0, answer.port), (PEER_ISN, STANDBY));
    assert_eq!(bench.counters().recovered, 1);
}

#[test]
fn trap_35_what_overtakes_the_first_words_does_not_tell_who_is_meant() {
    let (one, two) = (ORIGIN, (ORIGIN.0, 33_001));
    // Data, or a close.
    for flags in [PUSH, FIN] {
        let mut bench = bench(Outbound::Keep);
        for (ports, times, request) in [(one, 1, &b"GET /one"[..]), (two, 2, b"GET /two")] {
            let (isn, peer_isn) = (times * ISN, times * PEER_ISN);
            open(&mut bench, ports, isn, peer_isn);
            talk(&mut bench, ports, isn, peer_isn, request, b"answer");
        }
        fail_over(&mut bench);
        let from = (ORIGIN.0, 50_000);
        let answer = reopen(&mut bench, from, 42).remove(0);
        complete(&mut bench, from, 42, &answer);
        let (first, rest) = b"GET /two".split_at(if flags == PUSH { 6 } else { 8 });
        let part = |at: usize, flags, data| {
            let say = Say::new(43 + at as u32, PEER_ISN + 1, flags);
            say.stamp(52, 100).data(data)
        };
        let rest = part(first.len(), flags, rest);
        say(&mut bench, STANDBY, from, &rest);
        let said = say(&mut bench, STANDBY, from, &part(0, PUSH, first));
        let again = say(&mut bench, STANDBY, from, &rest);
        let all = said.iter().chain(&again);
        let fed: Vec<u8> = all
            .filter(|it| it.port == STANDBY)
            .flat_map(|it| it.data.clone())
            .collect();
        let totals = bench.counters();
        assert_eq!((totals.diverged, totals.lost), (0, 0), "{said:?} {again:?}");
        assert_eq!(fed, b"answer");
    }
}

/// The origin's connection waits, and the replacement opens a new one to the same remote end: gives what is sent when it
/// has said what it wants, and from where it speaks.
fn ask_anew(bench: &mut Bench) -> (Vec<Out>, Ports) {
    let from = (ORIGIN.0, 50_000);
    open(bench, ORIGIN, ISN, PEER_ISN);
    talk(bench, ORIGIN, ISN, PEER_ISN, b"GET /one", b"first");
    fail_over(bench);
    let answer = reopen(bench, from, 42).remove(0);
    complete(bench, from, 42, &answer);
    let other = Say::new(43, PEER_ISN + 1, PUSH)
        .stamp(52, 101)
        .data(b"POST /x");
    (say(bench, STANDBY, from, &other), from)
}

#[test]
fn trap_35_what_fits_no_connection_is_opened_at_the_peer_after_all() {
    let mut bench = bench(Outbound::Keep);
    let (sent, from) = ask_anew(&mut bench);
    assert_eq!((sent.len(), sent[0].port, sent[0].ports), (1, NORTH, from));
    assert_eq!((sent[0].head.flags, sent[0].head.seq.0), (Flags::SYN, 42));
    assert_eq!(sent[0].head.options.window_scale, Some(6));

    let answer = Say::new(5_000_000, 43, SYN_ACK).offer(9).stamp(9000, 52);
    let sent = say(&mut bench, NORTH, from, &answer);
    assert_eq!(
        (sent.len(), sent[0].port, sent[0].head.flags),
        (1, NORTH, ACK)
    );
    assert_eq!((sent[0].head.seq.0, sent[0].head.ack.0), (43, 5_000_001));

    // What the server repeats passes, with the peer's numbers and clock.
    let other = Say::new(43, PEER_ISN + 1, PUSH)
        .stamp(60, 101)
        .data(b"POST /x");
    let sent = say(&mut bench, STANDBY, from, &other);
    assert_eq!(
        (sent[0].port, sent[0].data.as_slice()),
        (NORTH, &b"POST /x"[..])
    );
    assert_eq!((sent[0].head.seq.0, sent[0].head.ack.0), (43, 5_000_001));
    assert_eq!(sent[0].head.options.timestamps.unwrap().echo, 9000);
    let back = Say::new(5_000_001, 50, PUSH).stamp(9001, 60).data(b"yes");
    let sent = say(&mut bench, NORTH, from, &back);
    assert_eq!((sent[0].port, sent[0].head.seq.0), (STANDBY, PEER_ISN + 1));
    assert_eq!(sent[0].head.options.timestamps.unwrap().value, 102);

    // The one that waited waits on.
    let answer = reopen(&mut bench, ORIGIN, 77).remove(0);
    assert_eq!((answer.head.seq.0, answer.head.ack.0), (PEER_ISN, 78));
}

#[test]
fn trap_35_peer_that_answers_otherwise_than_the_server_was_told_is_refused() {
    for scale in [7, 9] {
        let mut bench = bench(Outbound::Keep);
        let (_, from) = ask_anew(&mut bench);
        let answer = Say::new(5_000_000, 43, SYN_ACK)
            .offer(scale)
            .stamp(9000, 52);
        let sent = say(&mut bench, NORTH, from, &answer);
        let resets = sent
            .iter()
            .filter(|it| it.head.flags.has(Flags::RST))
            .count();
        assert_eq!(resets, if scale == 9 { 0 } else { 2 }, "{sent:?}");
    }
    let mut bench = bench(Outbound::Keep);
    let (_, from) = ask_anew(&mut bench);
    let sent = say(&mut bench, NORTH, from, &Say::new(0, 43, RST));
    assert_eq!((sent.len(), sent[0].port), (1, STANDBY));
    assert_eq!(
        (sent[0].head.flags, sent[0].head.seq.0),
        (RST, PEER_ISN + 1)
    );
}

#[test]
fn trap_35_port_that_the_peer_still_knows_is_replaced_by_a_free_one() {
    let mut bench = bench(Outbound::Keep);
    open(&mut bench, ORIGIN, ISN, PEER_ISN);
    talk(&mut bench, ORIGIN, ISN, PEER_ISN, b"hello", b"abc");
    fail_over(&mut bench);
    let moved = (ORIGIN.0, 50_000);
    let answer = reopen(&mut bench, moved, 42).remove(0);
    complete(&mut bench, moved, 42, &answer);
    let said = Say::new(43, PEER_ISN + 4, PUSH)
        .stamp(52, 103)
        .data(b"hello");
    say(&mut bench, STANDBY, moved, &said);
    assert_eq!(bench.state(), "established");
    // The replacement opens one more, from the port that its predecessor had.
    let sent = reopen(&mut bench, ORIGIN, 900);
    assert_eq!((sent[0].port, sent[0].head.flags), (NORTH, Flags::SYN));
    let seen = sent[0].ports;
    assert_ne!(seen, ORIGIN);
    let answer = Say::new(3, 901, SYN_ACK).offer(9).stamp(5, 50);
    let sent = say(&mut bench, NORTH, seen, &answer);
    assert_eq!((sent[0].port, sent[0].ports), (STANDBY, ORIGIN));
    let old = Say::new(PEER_ISN + 4, ISN + 6, PUSH)
        .stamp(104, 7003)
        .data(b"old");
    let sent = say(&mut bench, NORTH, ORIGIN, &old);
    assert_eq!((sent[0].port, sent[0].ports), (STANDBY, moved));
}
