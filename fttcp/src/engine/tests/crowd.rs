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
