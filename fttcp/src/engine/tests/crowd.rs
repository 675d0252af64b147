// SPDX-License-Identifier: GPL-3.0-only
//! Many connections are moved at the same time.

use super::moving::HEAD;
use super::*;

const COUNT: u16 = 48;

/// A download of which 20,000 bytes have come, or a connection on which little was said.
fn told(bench: &mut Bench, port: u16, long: bool) {
    bench.client_port = port;
    bench.open(7);
    let asked = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &asked.data(b"GET"));
    let length = if long { 20_000 } else { HEAD.len() as u32 };
    let said = vec![b'x'; length as usize];
    for (at, piece) in (0..).step_by(1000).zip(said.chunks(1000)) {
        let say = Say::new(bench.s(at), bench.c(3), PUSH).stamp(7005, 102);
        bench.say(ACTIVE, &say.data(piece));
    }
    let had = Say::new(bench.c(3), bench.s(length), ACK).stamp(103, 7005);
    bench.say(NORTH, &had);
}

fn asked(sent: &[Seen]) -> usize {
    let syns = sent.iter().filter(|seen| seen.head.flags == Flags::SYN);
    syns.count()
}

#[test]
fn downloads_are_moved_a_few_at_a_time_and_others_at_once() {
    let mut bench = Bench::new();
    for port in 0..COUNT {
        told(&mut bench, 40_000 + port, true);
        told(&mut bench, 50_000 + port, false);
    }
    let sent = bench.fail_over();
    assert_eq!(asked(&sent), usize::from(COUNT) + 32);

    // One of the first is moved: another's turn has come.
    bench.client_port = 40_000;
    let ack = bench.c(0);
    bench.say(STANDBY, &Say::new(5, ack, SYN_ACK).offer(7).stamp(40, 103));
    let mut sent = Vec::new();
    for at in (0..20_000).step_by(1000) {
        let again = Say::new(6 + at, bench.c(3), PUSH).stamp(41, 103);
        sent.extend(bench.say(STANDBY, &again.data(&[b'x'; 1000])));
    }
    assert_eq!(bench.counters().recovered, 1);
    assert_eq!(asked(&sent), 1);

    // The rest does not wait for ever, though nothing answers.
    let sent = bench.wait(Duration::from_millis(20));
    assert_eq!(asked(&sent), 7);
    let sent = bench.wait(Duration::from_millis(20));
    assert_eq!(asked(&sent), 8);
    let sent = bench.wait(Duration::from_millis(20));
    assert_eq!(asked(&sent), 0);
}

/// Of a crowd, the first connection has been moved, and its client has 1000 new bytes. What the replacement hears of that.
fn first_of(crowd: u16) -> (Bench, Vec<Seen>) {
    let mut bench = Bench::new();
    for port in 0..crowd {
        told(&mut bench, 40_000 + port, false);
    }
    bench.fail_over();
    bench.client_port = 40_000;
    let ack = bench.c(0);
    bench.say(STANDBY, &Say::new(5, ack, SYN_ACK).offer(7).stamp(40, 103));
    let again = Say::new(6, bench.c(3), PUSH).stamp(41, 103);
    bench.say(STANDBY, &again.data(&[b'x'; HEAD.len()]));
    assert_eq!(bench.counters().recovered, 1);
    let at = HEAD.len() as u32;
    let say = Say::new(6 + at, bench.c(3), PUSH).stamp(42, 103);
    let sent = bench.say(STANDBY, &say.data(&[b'x'; 1000]));
    assert!(
        sent.iter()
            .any(|it| it.port == NORTH && it.data.len() == 1000)
    );
    let had = Say::new(bench.c(3), bench.s(at + 1000), ACK).stamp(104, 7007);
    let sent = bench.say(NORTH, &had);
    (bench, sent)
}

/// The one thing that the replacement hears is where the client is.
#[track_caller]
fn hears_all(sent: &[Seen]) {
    let south: Vec<_> = sent
        .iter()
        .filter(|it| it.port == STANDBY && it.head.flags == ACK)
        .collect();
    assert_eq!(south.len(), 1, "{sent:?}");
    assert_eq!(south[0].head.ack.0, 6 + HEAD.len() as u32 + 1000);
}

#[test]
fn one_of_few_that_was_moved_goes_on_at_once() {
    let (_, sent) = first_of(64);
    hears_all(&sent);
}

#[test]
fn one_of_a_crowd_that_was_moved_steps_aside_for_a_moment() {
    let (mut bench, sent) = first_of(65);
    assert!(sent.is_empty(), "{sent:?}");
    // What the client asks is told at once.
    let at = bench.s(HEAD.len() as u32 + 1000);
    let more = Say::new(bench.c(3), at, PUSH).stamp(105, 7007);
    let sent = bench.say(NORTH, &more.data(b"GET"));
    assert_eq!((sent[0].port, &sent[0].data[..]), (STANDBY, &b"GET"[..]));
    let had = Say::new(bench.c(6), at, ACK).stamp(106, 7007);
    assert!(bench.say(NORTH, &had).is_empty());
    let sent = bench.wait(Duration::from_millis(499));
    assert!(
        sent.iter()
            .all(|it| it.ports[1] != 40_000 && it.ports[0] != 40_000)
    );
    let sent = bench.wait(Duration::from_millis(1));
    let ours: Vec<_> = sent
        .into_iter()
        .filter(|it| it.ports[0] == 40_000)
        .collect();
    hears_all(&ours);
}

#[test]
fn one_that_stepped_aside_goes_on_when_the_others_are_done() {
    let (mut bench, _) = first_of(75);
    // All others are given up by their clients.
    let mut sent = Vec::new();
    for port in 40_001..40_075 {
        bench.client_port = port;
        let at = bench.s(HEAD.len() as u32);
        let reset = Say::new(bench.c(3), at, RST).stamp(104, 7005);
        sent.extend(bench.say(NORTH, &reset));
    }
    let ours: Vec<_> = sent
        .into_iter()
        .filter(|it| it.ports[0] == 40_000)
        .collect();
    hears_all(&ours);
}
