// SPDX-License-Identifier: GPL-3.0-only
//! Acknowledgements, windows, repetitions and timers around a failover.

use super::moving::{HEAD, adopt, moved};
use super::*;

const NEW_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nDate: 22:22\r\n\r\n";

/// A request is through and answered, the answer not acknowledged; then the server dies.
fn served(bench: &mut Bench) -> Vec<Seen> {
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &request.data(b"GET"));
    let answer = Say::new(bench.s(0), bench.c(3), PUSH).stamp(7001, 102);
    bench.say(ACTIVE, &answer.data(HEAD));
    bench.fail_over()
}

/// The replacement says what had been said.
fn again(bench: &mut Bench) -> Vec<Seen> {
    let say = Say::new(6, bench.c(3), PUSH).stamp(41, 103);
    bench.say(STANDBY, &say.data(NEW_HEAD))
}

fn pure(sent: &[Seen]) -> Vec<u32> {
    sent.iter()
        .filter(|seen| seen.port == NORTH && seen.data.is_empty() && seen.head.flags == ACK)
        .map(|seen| seen.head.ack.0)
        .collect()
}

#[test]
fn trap_07_no_three_equal_acknowledgements_unless_something_was_dropped() {
    let mut bench = Bench::new();
    let mut acks = pure(&served(&mut bench));
    for part in 0..5 {
        let say = Say::new(bench.c(3 + part * 100), bench.s(0), PUSH).stamp(103 + part, 7001);
        acks.extend(pure(&bench.say(NORTH, &say.data(&[1; 100]))));
    }
    acks.extend(pure(&adopt(&mut bench, 5, 40, 7)));
    let say = Say::new(6, bench.c(503), PUSH).stamp(41, 103);
    acks.extend(pure(&bench.say(STANDBY, &say.data(NEW_HEAD))));
    assert_eq!(bench.state(), "established");
    assert!(acks.contains(&bench.c(503)));
    for ack in &acks {
        let equal = acks.iter().filter(|other| *other == ack).count();
        assert!(equal < 3, "{equal} times {ack} in {acks:?}");
    }
}

#[test]
fn trap_08_acknowledgements_never_go_back() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let end = HEAD.len() as u32;
    let more = Say::new(bench.c(3), bench.s(end), PUSH).stamp(110, 7006);
    bench.say(NORTH, &more.data(&[1; 50]));
    let mut highest = bench.c(0);
    // The replacement acknowledges out of order, as when its segments overtake each other.
    for (at, acked) in [(0, 53), (1, 3), (2, 20), (3, 0), (4, 53)] {
        let say = Say::new(6 + end + at, bench.c(acked), PUSH).stamp(42, 110);
        let sent = bench.say(STANDBY, &say.data(b"x"));
        let ack = sent[0].head.ack.0;
        assert!(ack >= highest, "{ack} after {highest}");
        highest = ack;
    }
    assert_eq!(highest, bench.c(53));
}

#[test]
fn trap_11_what_is_logged_does_not_depend_on_how_it_was_cut() {
    let bytes: Vec<u8> = (0..3000u32).map(|n| (n * 7) as u8).collect();
    for cuts in [
        &[(0, 3000)][..],
        &[(0, 1448), (1448, 1448), (2896, 104)],
        // Sent in pieces, repeated as one, and the other way round.
        &[(0, 1000), (1000, 500), (0, 3000)],
        &[(1500, 1500), (0, 700), (600, 1000)],
    ] {
        let mut bench = Bench::new();
        bench.open(7);
        for &(at, len) in cuts {
            let say = Say::new(bench.c(at as u32), bench.s(0), PUSH).stamp(102, 7000);
            bench.say(NORTH, &say.data(&bytes[at..at + len]));
        }
        bench.fail_over();
        let mut answer = Say::new(5, bench.c(0), SYN_ACK).offer(7).stamp(40, 103);
        answer.window = 60_000;
        let sent = bench.say(STANDBY, &answer);
        let fed: Vec<u8> = sent.iter().flat_map(|seen| seen.data.clone()).collect();
        assert!(fed == bytes, "{cuts:?}");
    }
}

#[test]
fn trap_05_and_20_replacement_that_does_not_scale_windows_is_told_them_in_bytes() {
    for (scale, client) in [(7, 500 << 7), (0, 500 << 7)] {
        let mut bench = Bench::new();
        bench.open(scale);
        let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
        bench.say(NORTH, &request.data(b"GET"));
        bench.fail_over();
        let mut answer = Say::new(5, bench.c(0), SYN_ACK).stamp(40, 103);
        answer.options.mss = Some(1460);
        let sent = bench.say(STANDBY, &answer);
        assert_eq!(u32::from(sent[0].head.window), client);
        let ack = Say::new(6, bench.c(3), ACK).window(65_000).stamp(41, 103);
        bench.say(STANDBY, &ack);
        assert_eq!(bench.state(), "established");
        for (window, read) in [(500, 64_000), (600, 65_535), (1, 128)] {
            let ack = Say::new(bench.c(3), bench.s(0), ACK).window(window);
            let passed = bench.say(NORTH, &ack.stamp(104, 7001));
            assert_eq!(passed[0].head.window, read);
        }
        let ack = Say::new(6, bench.c(3), ACK).window(65_000).stamp(42, 104);
        let passed = bench.say(STANDBY, &ack);
        let told = u32::from(passed[0].head.window) << scale;
        assert!((65_000..65_128).contains(&told), "{told}");
    }
}

#[test]
fn trap_33_tail_loss_probes_are_counted_once() {
    let mut bench = Bench::new();
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &request.data(b"request"));
    // The last segment again, with a new timestamp; then only its last byte.
    for (at, data, value) in [(0, &b"request"[..], 110), (6, b"t", 120)] {
        let probe = Say::new(bench.c(at), bench.s(0), PUSH).stamp(value, 7000);
        assert_eq!(bench.say(NORTH, &probe.data(data)).len(), 1);
    }
    for value in [7001, 7011] {
        let answer = Say::new(bench.s(0), bench.c(7), PUSH).stamp(value, 120);
        assert_eq!(bench.say(ACTIVE, &answer.data(HEAD)).len(), 1);
    }
    let connection = &bench.status().connections[0];
    assert_eq!(connection.logged_bytes, 7);
    assert_eq!(connection.sent_bytes, HEAD.len() as u64);
    bench.fail_over();
    let sent = adopt(&mut bench, 5, 40, 7);
    assert_eq!(sent.last().unwrap().data, b"request");
    let say = Say::new(6, bench.c(7), PUSH).stamp(41, 120);
    bench.say(STANDBY, &say.data(NEW_HEAD));
    assert_eq!(bench.counters().recovered, 1);
}

#[test]
fn trap_23_window_of_the_replacement_is_told_at_hand_over_and_again_until_the_client_is_heard() {
    let mut bench = Bench::new();
    bench.open_with(ACTIVE, 7, 500);
    let full = Say::new(bench.s(0), bench.c(0), PUSH).window(0);
    bench.say(ACTIVE, &full.stamp(7001, 101).data(HEAD));
    // The client fills the window that it was told with the SYN-ACK.
    let rest = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7001);
    bench.say(NORTH, &rest.data(&[1; 500]));
    bench.fail_over();
    let mut answer = Say::new(5, bench.c(0), SYN_ACK).offer(7).stamp(40, 103);
    answer.window = 5000;
    bench.say(STANDBY, &answer);
    let said = Say::new(6, bench.c(500), PUSH).window(300);
    let told = bench.say(STANDBY, &said.stamp(41, 103).data(NEW_HEAD));
    assert_eq!(bench.state(), "established");
    let windows = |sent: &[Seen]| -> Vec<u32> {
        let north = sent.iter().filter(|seen| seen.port == NORTH);
        north.map(|seen| u32::from(seen.head.window) << 7).collect()
    };
    assert_eq!(windows(&told), [0, 300 << 7], "the answer, then the window");
    // Each was lost.
    for wait in [200, 400, 800] {
        let again = bench.wait(Duration::from_millis(wait));
        assert_eq!(windows(&again), [300 << 7], "{wait}");
        assert!(again.iter().any(|seen| seen.port == STANDBY));
    }
    assert_eq!(bench.wait(Duration::from_secs(60)).len(), 0, "enough");
}

#[test]
fn trap_24_client_that_is_heard_is_not_told_again() {
    let mut bench = Bench::new();
    served(&mut bench);
    adopt(&mut bench, 5, 40, 7);
    let kick = pure(&again(&mut bench));
    assert_eq!(kick, [bench.c(3)]);
    let ack = Say::new(bench.c(3), bench.s(HEAD.len() as u32), ACK);
    bench.say(NORTH, &ack.stamp(104, 7002));
    assert_eq!(bench.wait(Duration::from_secs(10)).len(), 0);
}

#[test]
fn trap_24_client_whose_segment_was_dropped_repeats_it_at_once() {
    let mut bench = Bench::new();
    served(&mut bench);
    for part in 0..3 {
        let say = Say::new(bench.c(3 + part * 4000), bench.s(0), PUSH).stamp(103, 7001);
        bench.say(NORTH, &say.data(&[1; 4000]));
    }
    let mut answer = Say::new(5, bench.c(0), SYN_ACK).offer(7).stamp(40, 103);
    answer.window = 60_000;
    bench.say(STANDBY, &answer);
    let kept = bench.counters().logged_bytes as u32;
    assert_eq!(kept, 8003, "there was no room for the third");
    let say = Say::new(6, bench.c(kept), PUSH).stamp(41, 103);
    let sent = bench.say(STANDBY, &say.data(NEW_HEAD));
    assert_eq!(bench.state(), "established");
    assert_eq!(pure(&sent), [bench.c(kept); 3]);
}

#[test]
fn trap_26_keep_alive_is_mapped_to_the_byte_before_the_next() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let end = HEAD.len() as u32;
    // Of the client: its numbers are the same on both sides.
    let probe = Say::new(bench.c(2), bench.s(end), ACK).stamp(110, 7006);
    let passed = bench.say(NORTH, &probe);
    assert_eq!(
        (passed[0].port, passed[0].head.seq.0),
        (STANDBY, bench.c(2))
    );
    // Of the replacement.
    let probe = Say::new(6 + end - 1, bench.c(3), ACK).stamp(41, 110);
    let passed = bench.say(STANDBY, &probe);
    assert_eq!(
        (passed[0].port, passed[0].head.seq.0),
        (NORTH, bench.s(end - 1))
    );
}

/// What a connection tracker makes of one connection (Rooij, "Real Stateful TCP Packet Filtering in IP Filter"): data
/// within the announced window, acknowledgements of what was sent.
#[derive(Default)]
struct Tracker {
    ends: [Option<u32>; 2],
    edges: [Option<u32>; 2],
}

impl Tracker {
    fn sees(&mut self, from_client: bool, head: &Head, len: u32) {
        let (me, peer) = if from_client { (0, 1) } else { (1, 0) };
        let after = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() > 0;
        let open = head.flags.has(Flags::SYN.with(Flags::FIN));
        let end = head.seq.0.wrapping_add(len + u32::from(open));
        if let Some(edge) = self.edges[me] {
            assert!(!after(end, edge), "{head:?}: data beyond the window");
        }
        if let (true, Some(sent)) = (head.flags.has(ACK), self.ends[peer]) {
            assert!(
                !after(head.ack.0, sent),
                "{head:?}: acknowledges what was not sent"
            );
        }
        if self.ends[me].is_none_or(|known| after(end, known)) {
            self.ends[me] = Some(end);
        }
        if head.flags.has(ACK) && !head.flags.has(Flags::SYN) {
            let edge = head.ack.0.wrapping_add(u32::from(head.window) << 7);
            if self.edges[peer].is_none_or(|known| after(edge, known)) {
                self.edges[peer] = Some(edge);
            }
        }
    }

    fn sees_all(&mut self, sent: &[Seen], port: PortId) {
        for seen in sent.iter().filter(|seen| seen.port == port) {
            self.sees(port != NORTH, &seen.head, seen.data.len() as u32);
        }
    }
}

#[test]
fn trap_30_tracker_on_either_side_sees_one_connection_in_order() {
    let mut bench = Bench::new();
    let (mut north, mut south) = (Tracker::default(), Tracker::default());
    let mut step = |bench: &mut Bench, port: PortId, say: &Say<'_>| {
        let mut frame = bench.frame(port == NORTH, say);
        let layout = locate(&frame).unwrap();
        let segment = Segment::parse(&mut frame, layout, &Offload::default()).unwrap();
        let (head, len) = (*segment.head(), segment.payload().len() as u32);
        match port {
            NORTH => north.sees(true, &head, len),
            STANDBY => south.sees(false, &head, len),
            _ => {}
        }
        let sent = bench.say(port, say);
        north.sees_all(&sent, NORTH);
        south.sees_all(&sent, STANDBY);
    };
    let (c, s) = (bench.c(0), bench.s(0));
    let end = HEAD.len() as u32;
    let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    step(&mut bench, NORTH, &syn.stamp(100, 0));
    let answer = Say::new(bench.server_isn, c, SYN_ACK).offer(7);
    step(&mut bench, ACTIVE, &answer.stamp(7000, 100));
    step(&mut bench, NORTH, &Say::new(c, s, ACK).stamp(101, 7000));
    step(
        &mut bench,
        NORTH,
        &Say::new(c, s, PUSH).stamp(102, 7000).data(b"GET"),
    );
    step(
        &mut bench,
        ACTIVE,
        &Say::new(s, c + 3, PUSH).stamp(7001, 102).data(HEAD),
    );
    bench.fail_over();
    step(
        &mut bench,
        NORTH,
        &Say::new(c + 3, s + 4, PUSH).stamp(103, 7001).data(b"more"),
    );
    step(
        &mut bench,
        STANDBY,
        &Say::new(5, c, SYN_ACK).offer(7).stamp(40, 103),
    );
    step(
        &mut bench,
        STANDBY,
        &Say::new(6, c + 3, PUSH).stamp(41, 103).data(NEW_HEAD),
    );
    step(
        &mut bench,
        STANDBY,
        &Say::new(6 + end, c + 7, PUSH).stamp(42, 103).data(b"new"),
    );
    step(
        &mut bench,
        NORTH,
        &Say::new(c + 7, s + end + 3, ACK).stamp(104, 7003),
    );
    assert_eq!(bench.state(), "established");
    assert_eq!(
        (south.ends[1], north.ends[1]),
        (Some(6 + end + 3), Some(s + end + 3))
    );
}

#[test]
fn trap_26_client_that_does_not_read_is_waited_for_but_not_a_replacement_that_says_nothing() {
    const SENT: u32 = 5000;
    let stream = |head: &[u8]| [head, &[b'x'; SENT as usize]].concat();
    for reads in [true, false] {
        let mut bench = Bench::new();
        bench.open(7);
        let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
        bench.say(NORTH, &request.data(b"GET"));
        let answer = Say::new(bench.s(0), bench.c(3), PUSH).stamp(7001, 102);
        bench.say(ACTIVE, &answer.data(&stream(HEAD)));
        bench.fail_over();
        adopt(&mut bench, 5, 40, 7);
        // Its congestion window lets it say only a part.
        let part = Say::new(6, bench.c(3), PUSH).stamp(41, 103);
        bench.say(STANDBY, &part.data(&stream(NEW_HEAD)[..2000]));
        if reads {
            // The client has all that the replacement has said.
            let ack = Say::new(bench.c(3), bench.s(2000), ACK).stamp(104, 7001);
            bench.say(NORTH, &ack);
        }
        let moved = |bench: &Bench| {
            let status = bench.status().failover.expect("it is told");
            let done = status.done_us.is_some();
            (done, status.recovered, status.lost, status.waiting)
        };
        bench.wait(Duration::from_millis(500));
        assert_eq!(moved(&bench), (false, 0, 0, 0));
        bench.wait(Duration::from_secs(1));
        // What a client does that does not read is no reason why others should wait, or an operator.
        assert_eq!(moved(&bench), (!reads, 0, 0, u64::from(!reads)));
        for _ in 0..5 {
            bench.wait(Duration::from_secs(31));
        }
        if reads {
            assert_eq!(bench.counters().lost, 1);
            assert_eq!(moved(&bench), (true, 0, 1, 0));
            continue;
        }
        assert_eq!(bench.state(), "recovering");
        assert_eq!(moved(&bench), (true, 0, 0, 1));
        // It has dropped all that it was sent, and reads on: it does not wait for a timer of the replacement, which has
        // backed off as long as it did not read.
        let mut repeated = |window| {
            let opens = Say::new(bench.c(3), bench.s(0), ACK).stamp(105, 7001);
            let seen = bench.say(NORTH, &opens.window(window));
            let north = seen.into_iter().filter(|seen| seen.port == NORTH);
            north
                .map(|seen| (seen.head.seq.0, seen.data))
                .collect::<Vec<_>>()
        };
        assert!(repeated(0).is_empty());
        let again = repeated(500);
        assert_eq!((again.len(), again[0].0), (1, bench.s(0)));
        assert_eq!(again[0].1, stream(HEAD)[..again[0].1.len()]);
        let ack = Say::new(bench.c(3), bench.s(2000), ACK).stamp(105, 7001);
        let told = bench.say(NORTH, &ack);
        let south = told.iter().find(|seen| seen.port == STANDBY);
        assert_eq!(south.expect("it is told").head.ack.0, 6 + 2000);
        let rest = Say::new(6 + 2000, bench.c(3), PUSH).stamp(42, 105);
        bench.say(STANDBY, &rest.data(&stream(NEW_HEAD)[2000..]));
        assert_eq!(bench.state(), "established");
        assert_eq!(bench.counters().lost, 0);
        assert_eq!(moved(&bench), (true, 1, 0, 0));
    }
}
